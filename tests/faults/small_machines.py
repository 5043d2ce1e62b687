"""Machines that have run out of something: descriptors, processes, disk, memory, room in pipes.

Each is a function for a host of its own (see `warm`) that makes its machine small step by step, runs workflows on it,
and returns what was wrong. Too small for a run is a `LimitError`, once, with nothing left, and the next run works when
there is room again; small but enough costs speed, never a byte.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable, Iterator, Optional
from unittest import mock

import inside
import warm
from evil.catalogue import STREAM
from unusual_hosts import HAS_ROOT, NOBODY, WANTED, Kind, consume, graph, produce

import teastreams as ts
from teastreams.executors import process
from teastreams.runtime import calls
from teastreams.runtime.preflight import MOST_FORKS_AT_ONCE

MACHINES: dict[str, Kind] = {}


def machine(**options: Any) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Enter a small machine under its function's name."""

    def enter(function: Callable[[], Any]) -> Callable[[], Any]:
        MACHINES[function.__name__] = Kind(function, **options)
        return function

    return enter


def main(names: list[str]) -> None:
    """Try each of these machines and tell what was wrong on it."""
    warm.load()
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o777)  # noqa: S103 - the host may become another user
            found, told = warm.attempt(MACHINES[name].host, Path(folder), prints=MACHINES[name].prints)
        inside.tell(**{name: [*found, *(told or [])]})


# -- what runs on them ------------------------------------------------------------------------------------------


def diamond() -> ts.CompiledGraph:
    """A stream to two readers that meet at a node which gets the results of both."""
    streams = ts.StreamSettings(grace_seconds=0.2, drain_seconds=0.3, timeout=10.0)
    g = ts.StateGraph(parallel_config=ts.ParallelConfig(strategy="process", streams=streams))
    g.add_node("p", produce, streams={"stdout": "x"})
    for name in ("c0", "c1"):
        g.add_node(name, consume, streams={"stdin": "x"})
    g.add_node("join", lambda state, parallel_results: {each.branch: each.success for each in parallel_results})
    g.add_parallel_edge("p", ["c0", "c1"], stream_mode="broadcast", fan_in="join")
    g.set_entry_point("p").set_finish_point("join")
    return g.compile()


def on_stderr() -> ts.CompiledGraph:
    """A stream that is the producer's stderr, beside its stdout."""

    def both(state: dict[str, Any]) -> dict[str, Any]:
        for start in range(0, len(STREAM), 1000):
            sys.stdout.buffer.write(STREAM[start : start + 1000])
            sys.stderr.buffer.write(STREAM[start : start + 1000])
        return {"made": len(STREAM)}

    streams = ts.StreamSettings(grace_seconds=0.2, drain_seconds=0.3, timeout=10.0)
    g = ts.StateGraph(parallel_config=ts.ParallelConfig(strategy="process", streams=streams))
    g.add_node("p", both, streams={"stdout": "x", "stderr": "y"})
    g.add_node("c0", consume, streams={"stdin": "x"})
    g.add_node("c1", consume, streams={"stdin": "y"})
    g.add_edge("p", "c0").add_edge("p", "c1")
    return g.set_entry_point("p").compile()


def program() -> ts.CompiledGraph:
    """An external program in the middle."""
    streams = ts.StreamSettings(grace_seconds=0.2, drain_seconds=0.3, timeout=10.0)
    g = ts.StateGraph(parallel_config=ts.ParallelConfig(strategy="process", streams=streams))
    g.add_node("p", produce, streams={"stdout": "x"})
    g.add_node("cat", command=["cat"], streams={"stdin": "x", "stdout": "y"})
    g.add_node("c0", consume, streams={"stdin": "y"})
    return g.add_edge("p", "cat").add_edge("cat", "c0").set_entry_point("p").compile()


def spilling(gate: Optional[tuple[int, int]] = None) -> ts.CompiledGraph:
    """Two readers with next to no buffer each, the rest on disk: the second begins when the first has everything.

    Or when somebody opens the `gate` (a pipe): on a full disk it is itself what the first one waits for.
    """
    opened, opens = gate or os.pipe()

    def quick(state: dict[str, Any]) -> dict[str, Any]:
        read = consume(state, "c0")
        os.write(opens, b"x")
        return read

    def slow(state: dict[str, Any]) -> dict[str, Any]:
        os.read(opened, 1)
        return consume(state, "c1")

    streams = ts.StreamSettings(
        grace_seconds=0.2, drain_seconds=0.3, timeout=10.0, overflow="spill", buffer_limit=4096, buffer_size=4096
    )
    g = ts.StateGraph(parallel_config=ts.ParallelConfig(strategy="process", streams=streams))
    g.add_node("p", produce, streams={"stdout": "x"})
    g.add_node("c0", quick, streams={"stdin": "x"})
    g.add_node("c1", slow, streams={"stdin": "x"})
    g.add_parallel_edge("p", ["c0", "c1"], stream_mode="broadcast")
    return g.set_entry_point("p").compile()


def spills(refused: bool = True, small: Any = contextlib.nullcontext) -> list[str]:
    """Everything arrives by way of the disk, or, when it `refused`, past it with a warning; what was wrong."""
    gate = os.pipe()
    app = spilling(gate)

    def seen(call: Callable[..., int]) -> Callable[..., int]:
        """The second reader begins as soon as the disk refuses something."""

        def made(*args: Any) -> int:
            try:
                return call(*args)
            except OSError:
                os.write(gate[1], b"x")
                raise

        return made

    spied = {name: seen(getattr(calls.table, name)) for name in ("pwrite", "temporary_file")}
    try:
        with mock.patch.multiple(calls.table, **spied), inside.untouched(), small():
            result = app.run(echo_output=False)
    except ts.TeaStreamsError as failed:
        return [f"{type(failed).__name__}: {failed}"]
    finally:
        for end in gate:
            os.close(end)
    found = [f"{name} read something else" for name in ("c0", "c1") if result.state[name] is not True]
    channel = result.channels["x"]
    if ("could not spill" in channel.warning) != refused:
        found.append(f"the warning is {channel.warning!r}")
    if not refused and channel.consumers["c1"].spilled_bytes < 100_000:
        found.append(f"only {channel.consumers['c1'].spilled_bytes} bytes were spilled")
    return found


TOPOLOGIES: dict[str, Callable[[], ts.CompiledGraph]] = {
    "direct": graph,
    "broadcast to 2": lambda: graph(2),
    "broadcast to 8": lambda: graph(8),
    "diamond": diamond,
    "stderr": on_stderr,
    "program": program,
    "spill": spilling,
}


def tried(app: ts.CompiledGraph, small: Any = contextlib.nullcontext) -> str:
    """`ok`, or the kind of error; everything else is an AssertionError. The machine is `small()` during the run."""
    try:
        with inside.untouched(), small():
            state = dict(app.run(echo_output=False).state)
    except ts.LimitError as refused:
        return "LimitError" if str(refused) else "a refusal without a word"
    except ts.TeaStreamsError as failed:
        return f"{type(failed).__name__}: {failed}"
    wrong = {key: state.get(key) for key in WANTED if key != "state" and state.get(key) != WANTED[key]}
    wrong.update({key: value for key, value in state.items() if key.startswith("c") and value is False})
    return f"ok but {wrong}" if wrong else "ok"


@contextlib.contextmanager
def limit(what: int, soft: int) -> Iterator[None]:
    """A soft limit, put back afterwards."""
    before = resource.getrlimit(what)
    resource.setrlimit(what, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(what, before)


# -- descriptors ------------------------------------------------------------------------------------------------


def _descriptors(name: str, blind: bool) -> list[str]:
    """From nothing until a run succeeds: each refusal is one LimitError; then, and after each, a run works."""
    app, found, ended = TOPOLOGIES[name](), [], ""
    seeing = process.preflight
    lowest = max(int(number) for number in os.listdir("/dev/fd")) + 2 if blind else 3
    for allowed in range(lowest, 400, 3 if name == "broadcast to 8" else 1):
        with mock.patch.object(process, "preflight", (lambda *_: MOST_FORKS_AT_ONCE) if blind else seeing):
            ended = tried(app, functools.partial(limit, resource.RLIMIT_NOFILE, allowed))
        if ended == "ok":
            break
        if ended != "LimitError":
            found.append(f"{allowed} descriptors: {ended}")
    if ended != "ok":
        found.append(f"never enough: {ended}")
    if allowed == lowest:
        found.append("the first limit was enough already")
    return [*found, *([] if tried(app) == "ok" else ["the run after them failed"])]


for _name in ("direct", "broadcast to 2", "broadcast to 8", "diamond", "program"):
    for _blind in (False, True):

        def _machine(name: str = _name, blind: bool = _blind) -> list[str]:
            return _descriptors(name, blind)

        MACHINES[f"descriptors {'blindly ' if _blind else ''}for {_name}"] = Kind(_machine)


# -- processes --------------------------------------------------------------------------------------------------


class Fork:
    """A fork that fails at the `nth` call of a run, once or from then on."""

    def __init__(self, nth: int, number: int, once: bool) -> None:
        self.calls, self.nth, self.number, self.once = 0, nth, number, once
        self.fork = calls.table.fork

    def __call__(self) -> int:
        self.calls += 1
        if self.calls == self.nth or (self.calls > self.nth and not self.once):
            raise OSError(self.number, os.strerror(self.number))
        return self.fork()


def _processes(name: str) -> list[str]:
    """EAGAIN and ENOMEM at every worker of n: from then on it is a LimitError, once it is not even seen."""
    app, found = TOPOLOGIES[name](), []
    for number in (errno.EAGAIN,) if name == "broadcast to 8" else (errno.EAGAIN, errno.ENOMEM):
        for once in (False, True):
            for nth in range(1, 100):
                fork = Fork(nth, number, once)
                with mock.patch.object(calls.table, "fork", fork), mock.patch.object(calls.table, "sleep", _no_wait):
                    ended = tried(app)
                if fork.calls < nth:
                    break
                if ended != ("ok" if once else "LimitError"):
                    found.append(f"fork {nth} {errno.errorcode[number]} {'once' if once else 'on'}: {ended}")
            if nth < 3:
                found.append(f"only {nth} forks were seen")
    return [*found, *([] if tried(app) == "ok" else ["the run after them failed"])]


def _no_wait(_seconds: float) -> None:
    return


for _name in ("direct", "broadcast to 2", "broadcast to 8", "diamond", "program"):

    def _without_processes(name: str = _name) -> list[str]:
        return _processes(name)

    MACHINES[f"processes for {_name}"] = Kind(_without_processes)


@machine(possible=lambda: HAS_ROOT)
def processes_that_the_kernel_refuses() -> list[str]:
    """RLIMIT_NPROC, as an ordinary user: whatever it lets through."""
    os.setuid(NOBODY)
    found, refused = [], 0
    app = graph(2)
    with mock.patch.object(calls.table, "sleep", _no_wait):
        for allowed in range(1, 8):
            with limit(resource.RLIMIT_NPROC, allowed):
                ended = tried(app)
            refused += ended == "LimitError"
            if ended not in ("ok", "LimitError"):
                found.append(f"{allowed} processes: {ended}")
    return [*found, *([] if refused and ended == "ok" else [f"refused {refused} times, then {ended}"])]


# -- disk -------------------------------------------------------------------------------------------------------


class Disk:
    """A disk that takes so many writes and then refuses with an errno, once or for good."""

    def __init__(self, takes: int, number: int, once: bool) -> None:
        self.takes, self.number, self.once, self.refused = takes, number, once, 0
        self.real_pwrite, self.real_splice = calls.table.pwrite, calls.table.splice

    def pwrite(self, fd: int, data: Any, offset: int) -> int:
        self._take()
        return self.real_pwrite(fd, data, offset)

    def splice(self, source: int, target: int, count: int, offset: Any = None) -> int:
        if offset is not None:  # into a file, not into another pipe
            self._take()
        return self.real_splice(source, target, count, offset)

    def _take(self) -> None:
        self.takes -= 1
        if self.takes == -1 or (self.takes < 0 and not self.once):
            raise OSError(self.number, os.strerror(self.number))


@machine()
def disks_that_refuse() -> list[str]:
    """Full, over quota, broken, too large a file: the producer is held instead, and nobody loses a byte."""
    found = []
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG):
        for takes in (0, 1):  # how many more there are depends on who is quick
            for once in (False, True):
                disk = Disk(takes, number, once)
                with mock.patch.multiple(calls.table, pwrite=disk.pwrite, splice=disk.splice):
                    wrong = spills()
                found += [f"{errno.errorcode[number]} after {takes} writes: {each}" for each in wrong]
    return [*found, *spills(refused=False)]


@machine()
def disks_without_a_file() -> list[str]:
    """Nowhere to put it, no descriptor for it, no right to it."""
    found = []
    for number in (errno.ENOENT, errno.EACCES, errno.EROFS, errno.EMFILE, errno.ENOSPC):

        def refuse(*_: Any, number: int = number) -> int:
            raise OSError(number, os.strerror(number))

        with mock.patch.object(calls.table, "temporary_file", refuse):
            found += [f"{errno.errorcode[number]}: {each}" for each in spills()]
    return found


def _full(*_: Any) -> int:
    return fcntl.fcntl(os.open("/dev/full", os.O_RDWR), fcntl.F_DUPFD_CLOEXEC, 32)


@machine(possible=lambda: os.path.exists("/dev/full"))
def a_disk_that_is_full_from_the_start() -> list[str]:
    with mock.patch.object(calls.table, "temporary_file", _full):
        return spills()


@machine()
def policies_that_need_no_disk() -> list[str]:
    """Only `spill` ever opens a file."""

    def fail(*_: Any) -> int:
        raise AssertionError("a file was opened")

    found = []
    with mock.patch.object(calls.table, "temporary_file", fail):
        for overflow in ("block", "drop_oldest", "drop_newest", "fail"):
            ended = tried(graph(2, overflow=overflow, buffer_limit=1 << 20))
            if ended != "ok":
                found.append(f"{overflow}: {ended}")
    return found


@machine()
def files_that_may_not_grow() -> list[str]:
    """RLIMIT_FSIZE: a short write first, EFBIG then; SIGXFSZ kills nobody."""
    found = []
    for most in (0, 1, 4096, 70_000, 150_000):
        small = functools.partial(limit, resource.RLIMIT_FSIZE, most)
        found += [f"files of {most} bytes: {each}" for each in spills(True, small)]
    return [*found, *spills(False, functools.partial(limit, resource.RLIMIT_FSIZE, 1_000_000))]


def _has_mount() -> bool:
    folder = tempfile.mkdtemp()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder]
    try:
        if not HAS_ROOT or subprocess.run(command, capture_output=True).returncode != 0:
            return False
        subprocess.run(["umount", folder], check=True)
        return True
    except OSError:
        return False
    finally:
        os.rmdir(folder)


@machine(possible=_has_mount)
def a_real_disk_of_64_kibibytes() -> list[str]:
    """Filled by what is spilled, and by somebody else before; a warning tells, the bytes come all the same."""
    folder = tempfile.mkdtemp()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=True)
    tempfile.tempdir = folder
    try:
        found = spills()
        if os.listdir(folder):
            found.append(f"left on the disk: {os.listdir(folder)}")
        Path(folder, "full").write_bytes(bytes(65536))
        found += spills()
    finally:
        subprocess.run(["umount", folder], check=True)
        os.rmdir(folder)
    return found


# -- memory -----------------------------------------------------------------------------------------------------


@machine()
def a_fan_out_worker_without_memory() -> list[str]:
    """It is the cause, by the name of its channel."""

    def fail(*_: Any) -> bytes:
        raise MemoryError

    before = calls.table.fork

    def fork() -> int:
        pid = before()
        fork.count += 1  # type: ignore[attr-defined]
        if pid == 0 and fork.count == 2:  # type: ignore[attr-defined]
            calls.table.read = fail  # type: ignore[assignment]
            calls.table.readv = fail  # type: ignore[assignment]
        return pid

    fork.count = 0  # type: ignore[attr-defined]
    with mock.patch.object(calls.table, "fork", fork):
        ended = tried(graph(2))
    return [] if "WorkflowFailed" in ended and "MemoryError" in ended else [ended]


HOST: list[int] = []


@machine()
def calls_without_memory() -> list[str]:
    """ENOMEM from pipe, fcntl and the shared page: a LimitError, and everything undone."""
    found = []
    HOST[:] = [os.getpid()]
    for name in ("pipe", "fcntl", "shared_memory"):
        before = getattr(calls.table, name)
        for nth in range(1, 200):
            count = [0]

            def fails(*args: Any, before: Any = before, nth: int = nth, count: list[int] = count) -> Any:
                count[0] += os.getpid() == HOST[0]
                if count[0] == nth and os.getpid() == HOST[0]:
                    raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
                return before(*args)

            with mock.patch.object(calls.table, name, fails):
                ended = tried(graph(1 if name == "fcntl" else 2))
            if count[0] < nth:
                break
            if ended not in ("LimitError", "ok"):
                found.append(f"{name} {nth}: {ended}")
    return found


# -- pipes ------------------------------------------------------------------------------------------------------


@machine()
def pipes_of_one_and_two_pages() -> list[str]:
    found = []
    for size in ("4096", "8192"):
        with mock.patch.dict(os.environ, {calls.PIPE_SIZE: size}):
            for name, make in TOPOLOGIES.items():
                ended = tried(make())
                if ended != "ok":
                    found.append(f"{size} bytes, {name}: {ended}")
    return found


F_SETPIPE_SZ, F_GETPIPE_SZ = 1031, 1032


@machine(possible=lambda: sys.platform == "linux" and HAS_ROOT)
def a_user_whose_room_in_pipes_is_used_up() -> list[str]:
    """New pipes have one page or two, and enlarging is refused. As another user: root is exempt."""
    os.setuid(NOBODY + 1)
    held: list[tuple[int, int]] = []
    size = 1 << 20
    while size > 8192:
        held.append(os.pipe())
        try:
            fcntl.fcntl(held[-1][1], F_SETPIPE_SZ, size)
        except PermissionError:
            size //= 2
        if len(held) > 5000:
            return ["the quota has no end"]
    small = os.pipe()
    if fcntl.fcntl(small[1], F_GETPIPE_SZ) > 8192:
        return ["new pipes are as large as ever"]
    return [f"{name}: {ended}" for name, make in TOPOLOGIES.items() if (ended := tried(make())) != "ok"]
