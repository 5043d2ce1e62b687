"""Deeds with the interpreter of the node: threads, hooks, timers, limits, environment, our own modules.

A worker leaves by `os._exit`: no exit function runs, no thread is waited for.
"""

from __future__ import annotations

import atexit
import builtins
import gc
import locale
import logging
import os
import random
import resource
import signal
import sys
import threading
import time
import warnings
import weakref
from typing import Any

from evil.catalogue import BOUNDED, WELL, evil, failed, is_consumer, rest_of_stdin, write


@evil()
def leaves_a_thread_running(state: dict[str, Any]) -> None:
    threading.Thread(target=time.sleep, args=(1000,)).start()


@evil()
def leaves_a_daemon_running(state: dict[str, Any]) -> None:
    threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()


@evil()
def leaves_a_thread_that_computes(state: dict[str, Any]) -> None:
    def spin() -> None:
        while True:
            sum(range(1000))

    threading.Thread(target=spin, daemon=True).start()


@evil()
def leaves_a_thread_that_holds_every_lock_of_its_streams(state: dict[str, Any]) -> None:
    """A lock of its stderr is held for ever by a thread that logs into it."""
    logging.basicConfig()
    taken = threading.Event()

    def hold() -> None:
        logging._acquireLock() if hasattr(logging, "_acquireLock") else logging._lock.acquire()
        taken.set()
        time.sleep(1000)

    threading.Thread(target=hold, daemon=True).start()
    taken.wait()


@evil()
def leaves_a_thread_that_dies_of_an_error(state: dict[str, Any]) -> None:
    threading.excepthook = lambda args: None
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()


@evil()
def registers_exit_functions(state: dict[str, Any]) -> None:
    """They never run: a node that needs to clean up uses `with`."""
    atexit.register(os.abort)
    weakref.finalize(sys, os.abort)


@evil()
def installs_handlers(state: dict[str, Any]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE, signal.SIGIO, signal.SIGALRM):
        signal.signal(number, lambda *_: None)


@evil()
def is_interrupted_every_millisecond(state: dict[str, Any]) -> Any:
    """EINTR everywhere, in its code and in ours; nothing is lost and nothing doubled."""
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    if is_consumer():
        return rest_of_stdin()
    for _ in range(200):
        write(b"storm" * 1000)
    return None


@evil(failed("run", "SIGALRM"))
def is_ended_by_its_own_alarm(state: dict[str, Any]) -> None:
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    time.sleep(1000)


@evil(failed("run", "from a handler"))
def raises_from_a_handler(state: dict[str, Any]) -> None:
    def handler(*_: Any) -> None:
        raise TimeoutError("from a handler")

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    time.sleep(1000)


@evil(BOUNDED)
def raises_from_a_handler_while_we_end(state: dict[str, Any]) -> None:
    """The storm goes on in our own last acts."""

    def handler(*_: Any) -> None:
        raise TimeoutError("from a handler")

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)


@evil(failed())
def traces_and_raises(state: dict[str, Any]) -> None:
    """A trace function of the node that raises, from then on everywhere."""

    def trace(*_: Any) -> Any:
        raise ValueError("traced")

    sys.settrace(trace)
    warnings.resetwarnings()


@evil()
def traces_and_profiles(state: dict[str, Any]) -> None:
    sys.settrace(lambda *_: None)
    sys.setprofile(lambda *_: None)


@evil()
def turns_the_collector_off(state: dict[str, Any]) -> None:
    gc.disable()
    gc.freeze()


@evil()
def goes_elsewhere(state: dict[str, Any]) -> None:
    os.chdir("/")
    os.umask(0o777)
    os.environ.clear()
    time.tzset()
    locale.setlocale(locale.LC_ALL, "C")


@evil()
def tightens_its_limits(state: dict[str, Any]) -> None:
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    os.nice(5)


@evil()
def makes_every_warning_an_error(state: dict[str, Any]) -> None:
    warnings.simplefilter("error")


@evil()
def shuts_logging_down(state: dict[str, Any]) -> None:
    logging.shutdown()
    logging.disable()


@evil()
def spoils_the_hooks(state: dict[str, Any]) -> None:
    sys.excepthook = sys.unraisablehook = threading.excepthook = None  # type: ignore[assignment]
    sys.displayhook = None  # type: ignore[assignment]


class Undying:
    def __del__(self) -> None:
        raise RuntimeError("at its end")


@evil()
def drops_what_raises_when_it_is_collected(state: dict[str, Any]) -> None:
    Undying()


@evil(BOUNDED)
def takes_builtins_away(state: dict[str, Any]) -> None:
    """Our own code cannot go on in that process; the run does."""
    for name in ("len", "isinstance", "print", "open", "sorted", "frozenset"):
        setattr(builtins, name, None)


@evil(BOUNDED)
def takes_modules_away(state: dict[str, Any]) -> None:
    sys.modules.clear()
    sys.path.clear()


@evil(BOUNDED)
def takes_functions_of_os_away(state: dict[str, Any]) -> None:
    for name in ("write", "read", "close", "_exit", "getpid", "kill"):
        setattr(os, name, None)


@evil(BOUNDED)
def takes_our_calls_away(state: dict[str, Any]) -> None:
    """Whoever reaches into our modules ends without a result, not with a hang."""
    from teastreams.runtime import calls

    calls.table = None  # type: ignore[assignment]


@evil(BOUNDED)
def spoils_our_frames(state: dict[str, Any]) -> None:
    from teastreams.runtime.node import worker

    worker.frame = lambda kind, payload=b"": random.Random(7).randbytes(100)


@evil(WELL)
def runs_a_workflow_in_itself(state: dict[str, Any]) -> Any:
    from evil.driver import ordinary

    return {"inner": dict(ordinary().run().state)}
