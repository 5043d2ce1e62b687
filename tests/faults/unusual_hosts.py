"""Hosts of every kind: what a caller's process may be like when it runs a workflow, and what must not matter.

Each host is a function that makes its process unusual and then calls `runs()`, which runs a direct, a broadcast and a
spilling graph and finds out whether every byte arrived and nothing was left. It returns what was wrong.
"""

# ruff: noqa: S103 - folders and devices for an ordinary user, who is somebody else

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import faulthandler
import gc
import io
import logging
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import threading
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterator

import inside
import warm
from evil.catalogue import STREAM

import teastreams as ts

Host = Callable[[], Any]


@dataclass(frozen=True)
class Kind:
    """One kind of host. One that `prints` may write to stderr; `possible` says whether this machine has it."""

    host: Host
    prints: bool = False
    possible: Callable[[], bool] = lambda: True


HOSTS: dict[str, Kind] = {}
HAS_ROOT = os.geteuid() == 0
NOBODY = 54321


def host(**options: Any) -> Callable[[Host], Host]:
    """Enter a kind of host under its function's name."""

    def enter(function: Host) -> Host:
        HOSTS[function.__name__] = Kind(function, **options)
        return function

    return enter


def main(names: list[str]) -> None:
    """Try each of these hosts and tell what was wrong with it."""
    warm.load()
    for name in names:
        kind = HOSTS[name]
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o777)
            found, told = warm.attempt(kind.host, Path(folder), prints=kind.prints)
        inside.tell(**{name: [*found, *(told or [])]})


# -- what every host runs ---------------------------------------------------------------------------------------


def produce(state: dict[str, Any]) -> dict[str, Any]:
    """Everything, with a word on stderr."""
    sys.stdout.buffer.write(STREAM)
    print("made", file=sys.stderr)
    return {"made": len(STREAM)}


def consume(state: dict[str, Any], node: str) -> dict[str, Any]:
    """Everything again, compared."""
    data = sys.stdin.buffer.read()
    return {node: data == STREAM, "state": state.get("made") == len(STREAM)}


WANTED = {"made": len(STREAM), "state": True}


def graph(readers: int = 1, on_threads: str = "allow", **settings: Any) -> ts.CompiledGraph:
    """`produce` and so many `consume`, joined directly or by a broadcast."""
    streams = ts.StreamSettings(**{"grace_seconds": 0.2, "drain_seconds": 0.3, "timeout": 10.0, **settings})
    g = ts.StateGraph(parallel_config=ts.ParallelConfig(strategy="process", streams=streams, on_threads=on_threads))
    g.add_node("p", produce, streams={"stdout": "x"})
    names = [f"c{number}" for number in range(readers)]
    for name in names:
        g.add_node(name, consume, streams={"stdin": "x"})
    g.add_edge("p", names[0]) if readers == 1 else g.add_parallel_edge("p", names, stream_mode="broadcast")
    return g.set_entry_point("p").compile()


def runs(wraps: Callable[[], Any] = inside.untouched) -> list[str]:
    """Run the graphs; what was wrong."""
    found = []
    for app, readers in ((graph(), 1), (graph(2), 2), (graph(2, overflow="spill", buffer_limit=4096), 2)):
        try:
            with wraps():
                state = dict(app.run(echo_output=False).state)
        except Exception as error:
            found.append(f"{readers} readers: {type(error).__name__}: {error}")
            continue
        wanted = {**WANTED, **{f"c{number}": True for number in range(readers)}}
        if state != wanted:
            found.append(f"{readers} readers: {state}")
    return found


def fails(code: str, *texts: str, **settings: Any) -> Iterator[str]:
    """A node that fails is named all the same; what was wrong."""
    g = ts.StateGraph(parallel_config=ts.ParallelConfig(strategy="process", on_threads="allow"))
    g.add_node("p", lambda state: exec(code), streams={"stdout": "x"})  # noqa: S102
    g.add_node("c", consume, streams={"stdin": "x"})
    app = g.add_edge("p", "c").set_entry_point("p").compile()
    try:
        app.run(echo_output=False)
    except ts.WorkflowFailed as failed:
        yield from (f"{text!r} is not in {failed.primary}" for text in ("node 'p'", *texts) if text not in str(failed))
    else:
        yield "a node that failed was taken to have ended well"


# -- threads ----------------------------------------------------------------------------------------------------


def beside(work: Callable[[threading.Event, threading.Event], None]) -> Callable[[], None]:
    """Start `work(ready, done)` in a thread and wait until it is ready; the returned function ends it."""
    ready, done = threading.Event(), threading.Event()
    thread = threading.Thread(target=work, args=(ready, done))
    thread.start()
    ready.wait()

    def end() -> None:
        done.set()
        thread.join()

    return end


@host()
def with_a_thread_that_holds_its_own_lock() -> list[str]:
    lock = threading.Lock()

    def hold(ready: threading.Event, done: threading.Event) -> None:
        with lock:
            ready.set()
            done.wait()

    end = beside(hold)
    found = runs()
    end()
    return found


@host()
def with_a_thread_that_logs() -> list[str]:
    """The lock of logging is made anew in a fork."""
    logger = logging.getLogger("host")
    logger.addHandler(logging.StreamHandler(io.StringIO()))

    def hold(ready: threading.Event, done: threading.Event) -> None:
        logger.handlers[0].acquire()
        ready.set()
        done.wait()
        logger.handlers[0].release()

    end = beside(hold)
    found = runs()
    end()
    return found


@host()
def with_a_thread_in_the_middle_of_an_import() -> list[str]:
    """Nodes import other modules meanwhile."""
    folder = tempfile.mkdtemp()
    Path(folder, "slow_module.py").write_text("import builtins\nbuiltins.slow_ready.set()\nbuiltins.slow_done.wait()\n")
    sys.path.insert(0, folder)
    import builtins

    def imports(ready: threading.Event, done: threading.Event) -> None:
        builtins.slow_ready, builtins.slow_done = ready, done  # type: ignore[attr-defined]
        __import__("slow_module")

    end = beside(imports)
    found = [*runs(), *fails("import mailbox; raise ValueError(mailbox.__name__)", "ValueError: mailbox")]
    end()
    return found


class Slow(io.RawIOBase):
    """A stdout on which a thread stands in the middle of a write for a while."""

    def __init__(self) -> None:
        self.ready, self.done = threading.Event(), threading.Event()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.ready.set()
        self.done.wait(0.02)
        return len(data)


@host()
def with_a_thread_that_holds_the_lock_of_stdout() -> list[str]:
    """Our flush before the fork waits for it; the child, whose copy stays locked, never touches the old object."""
    slow = Slow()
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(slow), write_through=True)

    def prints(ready: threading.Event, done: threading.Event) -> None:
        while not done.is_set():
            print("x" * 100)
            ready.set()

    end = beside(prints)
    found = runs()
    end()
    return found


@host()
def with_threads_that_allocate() -> list[str]:
    def allocate(ready: threading.Event, done: threading.Event) -> None:
        ready.set()
        while not done.is_set():
            [bytes(size) for size in range(0, 20_000, 97)]

    ends = [beside(allocate) for _ in range(2)]
    found = runs()
    for end in ends:
        end()
    return found


@host()
def warns_about_threads_by_default() -> list[str]:
    end = beside(lambda ready, done: (ready.set(), done.wait()))  # type: ignore[arg-type,return-value]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        state = dict(graph(on_threads="warn").run(echo_output=False).state)
    end()
    said = [str(each.message) for each in caught]
    return [] if state["c0"] and any("this process has 2 threads" in text for text in said) else [repr((state, said))]


@host()
def off_the_main_thread() -> list[str]:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(runs, contextlib.nullcontext).result()


@host()
def with_two_runs_at_once_in_two_threads() -> list[str]:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        each = [pool.submit(runs, contextlib.nullcontext) for _ in range(2)]
        return [text for one in each for text in one.result()]


@host()
def with_eight_runs_at_once_of_which_some_fail() -> list[str]:
    def failing() -> list[str]:
        return [*fails("raise ValueError('mine')", "ValueError: mine")]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        works = [lambda: runs(contextlib.nullcontext), failing] * 4
        each = [pool.submit(work) for work in works]
        return [text for one in each for text in one.result()]


@host()
def with_a_running_event_loop() -> list[str]:
    async def main() -> list[str]:
        return runs()

    return asyncio.run(main())


@host(prints=True)
def with_an_event_loop_that_runs_two_at_once() -> list[str]:
    async def main() -> list[Any]:
        return await asyncio.gather(graph().arun(), graph(2).arun())

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = asyncio.run(main())
    return [repr(dict(each.state)) for each in results if not each.state["c0"]]


# -- descriptors and standard objects ---------------------------------------------------------------------------


@host()
def without_descriptor_0() -> list[str]:
    os.close(0)
    return runs()


@host()
def without_descriptor_1() -> list[str]:
    os.close(1)
    return runs()


@host()
def without_descriptor_2() -> list[str]:
    os.close(2)
    return runs()


@host()
def without_descriptors_0_1_and_2() -> list[str]:
    os.closerange(0, 3)
    return runs()


@host()
def without_standard_objects() -> list[str]:
    sys.stdin = sys.stdout = sys.stderr = sys.__stdin__ = sys.__stdout__ = sys.__stderr__ = None  # type: ignore[misc, assignment]
    return runs()


@host()
def with_closed_standard_objects() -> list[str]:
    for stream in (sys.stdin, sys.stdout):
        stream.close()
    return runs()


@host()
def with_other_standard_objects() -> list[str]:
    sys.stdout, sys.stdin = io.StringIO("mine"), io.StringIO("mine")
    return runs()


@host(possible=lambda: os.path.exists("/dev/full"))
def with_a_stdout_that_is_full() -> list[str]:
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stdout.write("never fits")
    found = runs()
    with contextlib.suppress(OSError):
        sys.stdout.close()
    return found


@host()
def with_every_descriptor_that_the_limit_allows() -> list[str]:
    """Starting costs by what we own, not by what is open or allowed."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    started = time.monotonic()
    found = runs()
    before = time.monotonic() - started
    many = 60_000 if hard == resource.RLIM_INFINITY else min(60_000, hard - 300)
    for _ in range(many):
        os.dup(0)
    started = time.monotonic()
    found += runs(contextlib.nullcontext)
    after = time.monotonic() - started
    # A fork copies the table of descriptors: some milliseconds for each of the eleven workers. No more than that.
    return found if after < 5 * before + 1 else [*found, f"{many} descriptors: {after:.2f} s instead of {before:.2f} s"]


@host()
def with_non_blocking_standard_streams() -> list[str]:
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    os.dup2(read, 0)
    os.dup2(write, 1)
    return runs()


# -- signals ----------------------------------------------------------------------------------------------------


@host()
def that_ignores_every_signal_it_can() -> list[str]:
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_IGN)
    return [*runs(), *fails("import os; os.kill(os.getpid(), 9)", "SIGKILL")]


@host()
def that_blocks_every_signal() -> list[str]:
    signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
    return [*runs(), *fails("import os; os.kill(os.getpid(), 15)", "SIGTERM")]


@host()
def that_ignores_sigchld_sigpipe_and_sighup() -> list[str]:
    for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    return [*runs(), *fails("import os; os.kill(os.getpid(), 9)", "SIGKILL")]


@host()
def that_dies_of_sigpipe() -> list[str]:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    return [*runs(), *fails("import os; os.kill(os.getpid(), 9)", "SIGKILL")]


@host()
def that_collects_every_child_in_a_handler() -> list[str]:
    """The status of a worker may be lost: then its report alone says how it ended, and no report is no success."""
    stolen = []

    def collect(*_: Any) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, _status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                stolen.append(pid)

    signal.signal(signal.SIGCHLD, collect)
    found = [*runs(), *fails("import os; os.kill(os.getpid(), 9)"), *fails("raise ValueError('mine')", "mine")]
    return found if stolen else ["nothing was stolen"]


@host()
def that_is_interrupted_every_millisecond() -> list[str]:
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    found = [*runs(), *runs(), *fails("raise ValueError('mine')", "mine")]
    signal.setitimer(signal.ITIMER_REAL, 0)
    return found


@host()
def whose_handler_raises_in_the_middle_of_a_run() -> list[str]:
    """Wherever in our code it comes: the run ends, the error is the caller's, and the next run works."""

    class Alarm(Exception):
        pass

    def handler(*_: Any) -> None:
        raise Alarm

    signal.signal(signal.SIGALRM, handler)
    raised, found = 0, []
    app = graph(2)
    for number in range(40):
        try:
            with inside.untouched():
                try:
                    signal.setitimer(signal.ITIMER_REAL, 0.0005 + number * 0.001)
                    app.run(echo_output=False)
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
        except Alarm:
            raised += 1
        except AssertionError as changed:
            found.append(f"after {number} ms: {changed}")
    return [*found, *runs(), *([] if raised else ["the handler never raised"])]


@host()
def with_a_wake_up_descriptor_of_its_own() -> list[str]:
    _read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write)
    found = runs()
    return found if signal.set_wakeup_fd(-1) == write else [*found, "the wake-up descriptor was not put back"]


@host()
def that_runs_in_a_handler() -> list[str]:
    found: list[str] = ["the handler did not run"]
    signal.signal(signal.SIGUSR1, lambda *_: found.__setitem__(slice(None), runs()))
    os.kill(os.getpid(), signal.SIGUSR1)
    return found


# -- places, limits, environment --------------------------------------------------------------------------------


@host()
def whose_directory_is_gone() -> list[str]:
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    os.rmdir(folder)
    return runs(contextlib.nullcontext)  # getcwd() itself fails here


def _with_tmpdir(path: str) -> None:
    os.environ["TMPDIR"] = path
    tempfile.tempdir = None


@host()
def whose_tmpdir_is_missing() -> list[str]:
    _with_tmpdir("/no/such/folder")
    return runs()


@host()
def whose_tmpdir_is_a_file() -> list[str]:
    _with_tmpdir(__file__)
    return runs()


@host(possible=lambda: HAS_ROOT)
def whose_temporary_folders_are_all_forbidden() -> list[str]:
    """An ordinary user who can write nowhere: the producer is held instead of spilling, and nothing is lost."""
    os.chroot(_bare_root())
    os.chdir("/")
    os.setuid(NOBODY)
    tempfile.tempdir = None
    return runs(contextlib.nullcontext)


def _bare_root() -> str:
    """A root with nothing in it but /dev/null: no /tmp, no /proc."""
    root = tempfile.mkdtemp()
    os.chmod(root, 0o755)
    Path(root, "dev").mkdir()
    os.mknod(f"{root}/dev/null", 0o666 | 0o020000, os.makedev(1, 3))
    os.chmod(f"{root}/dev/null", 0o666)
    return root


@host()
def with_an_umask_that_forbids_everything() -> list[str]:
    os.umask(0o777)
    return runs()


@host(possible=lambda: HAS_ROOT)
def with_an_umask_that_forbids_everything_as_an_ordinary_user() -> list[str]:
    os.setuid(NOBODY)
    os.umask(0o777)
    return runs()


@host()
def without_an_environment() -> list[str]:
    os.environ.clear()
    return runs()


@host()
def that_may_write_no_files() -> list[str]:
    """Spilling is refused (EFBIG): the producer is held."""
    told = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, told[1]))
    found = runs()
    resource.setrlimit(resource.RLIMIT_FSIZE, told)
    return found


@host()
def with_little_recursion_left() -> list[str]:
    frame, depth = sys._getframe(), 0
    while frame is not None:
        frame, depth = frame.f_back, depth + 1  # type: ignore[assignment]
    sys.setrecursionlimit(depth + 150)
    return runs()


@host()
def that_traces_and_profiles() -> list[str]:
    sys.settrace(lambda *_: None)
    sys.setprofile(lambda *_: None)
    threading.settrace(lambda *_: None)  # type: ignore[arg-type,return-value]
    return runs()


@host()
def without_a_collector() -> list[str]:
    gc.disable()
    gc.freeze()
    faulthandler.enable()
    return runs()


@host()
def with_another_start_method() -> list[str]:
    multiprocessing.set_start_method("spawn", force=True)
    found = runs()
    return found if multiprocessing.get_start_method() == "spawn" else [*found, "the start method was changed"]


@host()
def with_children_of_its_own() -> list[str]:
    """They are not ours: neither collected nor ended."""
    pid = os.fork()
    if pid == 0:
        os._exit(7)
    found = runs(contextlib.nullcontext)
    return found if os.waitpid(pid, 0) == (pid, 7 << 8) else [*found, "the host's child was collected"]


@host()
def that_runs_at_its_end() -> list[str]:
    """In an exit function of the interpreter."""
    found: list[str] = ["it did not run"]
    atexit._clear()  # what others have there would be done in this copy, too
    atexit.register(lambda: found.__setitem__(slice(None), runs()))
    atexit._run_exitfuncs()
    return found


@host()
def that_abandons_a_run() -> list[str]:
    """Events that nobody asks for any more end the run when they are dropped."""
    with inside.untouched():
        events = graph(2).stream()
        next(events)
        events.close()
    with inside.untouched():
        events = graph(2).stream()
        next(events)
        del events
        gc.collect()
    return runs()


@host()
def that_is_a_worker_of_a_pool() -> list[str]:
    """Daemons of multiprocessing may have no children of multiprocessing; a run's end with it, so they may."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(runs, (contextlib.nullcontext,))


@host()
def that_is_a_process_of_multiprocessing() -> list[str]:
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    process = context.Process(target=lambda: queue.put(runs()))
    process.start()
    found = queue.get()
    process.join()
    return found


def _nested(depth: int) -> dict[str, Any]:
    """A node that runs a workflow whose node runs a workflow."""

    def node(state: dict[str, Any]) -> dict[str, Any]:
        sys.stdout.buffer.write(STREAM)
        return {"inner": _nested(depth - 1) if depth else runs(contextlib.nullcontext)}

    g = ts.StateGraph()
    g.add_node("p", node, streams={"stdout": "x"})
    g.add_node("c", consume, streams={"stdin": "x"})
    return dict(g.add_edge("p", "c").set_entry_point("p").compile().run().state)


@host()
def that_runs_three_deep() -> list[str]:
    state = _nested(2)
    innermost = state["inner"]["inner"]["inner"]
    return [] if innermost == [] and state["c"] else [repr(state)]


@host()
def that_runs_itself_for_ever() -> list[str]:
    """No machine has room for that: it ends with the limit named."""

    def node(state: dict[str, Any]) -> Any:
        return dict(app.run(echo_output=False).state)

    g = ts.StateGraph()
    g.add_node("p", node, streams={"stdout": "x"})
    g.add_node("c", lambda state: sys.stdin.read() and None, streams={"stdin": "x"})
    app = g.add_edge("p", "c").set_entry_point("p").compile()
    try:
        with inside.untouched():
            app.run(echo_output=False)
    except ts.WorkflowFailed as failed:
        return [] if "too deep inside of others" in str(failed) else [str(failed)[:500]]
    return ["it ended well"]
