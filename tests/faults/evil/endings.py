"""Ways to leave a node: exits, signals, crashes, and interpreters that cannot go on.

No way to leave reaches the caller raw, and an exit status of 0 without a result is no success.
"""

from __future__ import annotations

import asyncio
import ctypes
import faulthandler
import os
import pickle
import resource
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import teastreams as ts
from evil.catalogue import BOUNDED, WELL, evil, failed


@evil(failed("run", "ended without a result, exit code 0"))
def leaves_by_os_exit_0(state: dict[str, Any]) -> None:
    os._exit(0)


@evil(failed("run", "ended without a result, exit code 3"))
def leaves_by_os_exit_3(state: dict[str, Any]) -> None:
    os._exit(3)


@evil(WELL)
def leaves_by_sys_exit(state: dict[str, Any]) -> None:
    sys.exit()


@evil(failed("run", "said so"))
def leaves_by_sys_exit_with_a_text(state: dict[str, Any]) -> None:
    sys.exit("said so")


@evil(failed("run", "44"))
def leaves_by_sys_exit_300(state: dict[str, Any]) -> None:
    sys.exit(300)


@evil(failed("run", "255"))
def leaves_by_sys_exit_minus_1(state: dict[str, Any]) -> None:
    sys.exit(-1)


@evil(failed())
def leaves_by_sys_exit_with_a_gigantic_number(state: dict[str, Any]) -> None:
    sys.exit((1 << 4000) + 1)


class Unprintable:
    def __str__(self) -> str:
        raise ZeroDivisionError

    __repr__ = __str__


@evil(failed())
def leaves_by_sys_exit_with_an_object_that_cannot_be_printed(state: dict[str, Any]) -> None:
    sys.exit(Unprintable())  # type: ignore[arg-type]


@evil(WELL)
def leaves_by_exit_in_a_thread(state: dict[str, Any]) -> None:
    thread = threading.Thread(target=sys.exit)
    thread.start()
    thread.join()


@evil(failed("run", "ended without a result, exit code 9"))
def leaves_by_os_exit_in_a_thread(state: dict[str, Any]) -> None:
    thread = threading.Thread(target=lambda: os._exit(9))
    thread.start()
    thread.join()


@evil(failed())
def leaves_by_exit_of_the_interactive_prompt(state: dict[str, Any]) -> None:
    """`exit()` closes sys.stdin before it raises."""
    exit(2)  # noqa: PLR1722


@evil(failed("run", "KeyboardInterrupt"))
def raises_keyboard_interrupt(state: dict[str, Any]) -> None:
    raise KeyboardInterrupt


@evil(failed("run", "GeneratorExit"))
def raises_generator_exit(state: dict[str, Any]) -> None:
    raise GeneratorExit


@evil(failed("run", "StopIteration"))
def raises_stop_iteration(state: dict[str, Any]) -> None:
    raise StopIteration


@evil(failed("run", "CancelledError"))
def raises_cancelled_error(state: dict[str, Any]) -> None:
    raise asyncio.CancelledError


class Own(BaseException):
    pass


@evil(failed("run", "Own: mine"))
def raises_its_own_base_exception(state: dict[str, Any]) -> None:
    raise Own("mine")


@evil(failed("run", "UpstreamFailed"))
def raises_upstream_failed_of_its_own_making(state: dict[str, Any]) -> None:
    """Nothing failed upstream: this is the node's own error."""
    raise ts.UpstreamFailed("nobody", "a lie")


@evil(failed("run", "BrokenPipeError"))
def raises_broken_pipe_of_its_own_making(state: dict[str, Any]) -> None:
    """Its readers are still there: this is no early end."""
    raise BrokenPipeError(32, "a lie")


@evil(failed("run", "KeyboardInterrupt"))
def interrupts_itself(state: dict[str, Any]) -> None:
    os.kill(os.getpid(), signal.SIGINT)


@evil(failed("run", "SIGTERM"))
def terminates_itself(state: dict[str, Any]) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@evil(failed("run", "SIGKILL", "out of memory"))
def is_killed_as_by_the_out_of_memory_killer(state: dict[str, Any]) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@evil(failed("run", "SIGABRT"))
def aborts(state: dict[str, Any]) -> None:
    os.abort()


@evil(failed("run", "SIGSEGV"))
def crashes_in_c(state: dict[str, Any]) -> None:
    ctypes.string_at(0)


@evil(failed("run", "SIGSEGV"))
def crashes_in_c_with_faulthandler(state: dict[str, Any]) -> None:
    faulthandler.enable()
    ctypes.string_at(0)


@evil(failed("run", "killed by signal 7"), possible=lambda: sys.platform == "linux")
def crashes_with_a_bus_error(state: dict[str, Any]) -> None:
    os.kill(os.getpid(), signal.SIGBUS)


@evil(failed("run", "ended without a result"))
def is_ended_by_faulthandlers_clock(state: dict[str, Any]) -> None:
    faulthandler.dump_traceback_later(0.01, exit=True)
    threading.Event().wait()


@evil(failed("run", "signal"))
def ends_by_a_real_time_signal(state: dict[str, Any]) -> None:
    os.kill(os.getpid(), getattr(signal, "SIGRTMIN", signal.SIGUSR1))


@evil(failed("run", "RecursionError"))
def overflows_pythons_stack(state: dict[str, Any]) -> Any:
    return overflows_pythons_stack(state)


@evil(BOUNDED)
def overflows_the_stack_of_c(state: dict[str, Any]) -> bytes:
    """Without a limit on recursion the pickler runs into the end of the stack; newer Pythons count differently."""
    deep: list[Any] = []
    for _ in range(500_000):
        deep = [deep]
    sys.setrecursionlimit(1 << 30)
    return pickle.dumps(deep)


@evil(failed())
def leaves_itself_no_recursion(state: dict[str, Any]) -> None:
    """Not even our own last acts have room; the node is named all the same."""
    depth, frame = 0, sys._getframe()
    while frame is not None:
        depth, frame = depth + 1, frame.f_back  # type: ignore[assignment]
    sys.setrecursionlimit(depth + 3)


@evil(failed("run", "MemoryError"), possible=lambda: sys.platform == "linux")
def runs_into_its_memory_limit(state: dict[str, Any]) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    state["large"] = bytearray(1 << 31)


@evil(failed("result"), possible=lambda: sys.platform == "linux")
def has_no_memory_to_send_its_result(state: dict[str, Any]) -> Any:
    """The pickler needs memory that the node has taken away from itself."""
    value = {"text": "x" * (1 << 26)}
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 20), used + (1 << 20)))
    return value


@evil(failed("run", "SIGXCPU"))
def runs_into_its_cpu_limit(state: dict[str, Any]) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (1, 2))
    while True:
        pass


@evil(WELL)
def runs_out_of_descriptors_and_files(state: dict[str, Any]) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
