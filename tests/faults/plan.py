"""The fault plan: which call of which process fails, and how. Planted in the call table before anything is forked.

    Fault("fan-out", "temporary_file", 1, "ENOSPC")      the first overflow file of the fan-out worker has no room

Children inherit the table by fork, so a plan needs no channel; a shared page says afterwards whether it fired, and how
often each role made each call. A role is the name of a process of multiprocessing: of its node, fan-out, supervisor.
Faults are those a kernel may give: what cannot happen (EINTR, which Python answers itself since PEP 475; EAGAIN on a
blocking descriptor, EIO on a pipe) is passed through and does not count as fired. A `close` that fails has closed.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from multiprocessing import process
from typing import Any, Callable, Optional

from teastreams.runtime import calls

MOVING = ("read", "readv", "write", "pread", "pwrite")
OPENING = ("pipe", "open", "fcntl", "pidfd_open", "temporary_file", "dup2")
# What each action can befall. `fcntl` stands for copies of descriptors and sizes of pipes, `open` for any file.
BEFALLS: dict[str, tuple[str, ...]] = {
    "EMFILE": OPENING,
    "ENFILE": ("pipe", "open", "pidfd_open", "temporary_file"),
    "ENOMEM": (
        *("pipe", "open", "fcntl", "pidfd_open", "temporary_file", "shared_memory", "poll", "fork", "tee", "splice"),
    ),
    "EAGAIN": ("fork", "read", "readv", "write"),
    "EIO": (*MOVING, "close", "fstat"),
    "ENOSPC": ("pwrite", "temporary_file"),
    "EPERM": ("fcntl", "pidfd_open"),
    "short": (*MOVING, "tee", "splice"),
    "kill": (),
    "stop": (),
    "exit": (),
}
ANYTHING = ("kill", "stop", "exit")
# EPIPE is not planted: a writer that gets it while its reader lives is no machine that there is. Readers that leave are
# made by nodes that leave (`evil/streams.py`).
# Not calls that can fail or at which anything could be seen to happen.
NEVER = {"monotonic", "getpid", "geteuid", "urandom", "get_handler", "exit", "raise_signal"}
ROLES = ("supervisor", "producer", "consumer", "fan-out", "other")
NAMES = tuple(field.name for field in fields(calls.Calls) if field.name not in NEVER)


@dataclass(frozen=True)
class Fault:
    """The `nth` call of that name in that role does what `action` says; with `lasting`, and every one after it."""

    role: str
    call: str
    nth: int
    action: str
    lasting: bool = False


class Page:
    """Memory shared by all processes of an attempt: one cell for "it fired", one for each call of each role."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8 * (1 + len(ROLES) * len(NAMES)))
        self._cells = memoryview(self._memory).cast("Q")

    @property
    def fired(self) -> bool:
        return bool(self._cells[0])

    def fire(self) -> None:
        self._cells[0] = 1

    def count(self, role: str, call: str) -> int:
        """Count a call; how many there have been, this one included."""
        place = self._place(role, call)
        self._cells[place] += 1
        return int(self._cells[place])

    def counted(self, role: str, call: str) -> int:
        return int(self._cells[self._place(role, call)])

    def clear(self) -> None:
        for place in range(len(self._cells)):
            self._cells[place] = 0

    def _place(self, role: str, call: str) -> int:
        return 1 + ROLES.index(role) * len(NAMES) + NAMES.index(call)


def role() -> str:
    """The role of this process."""
    name = process.current_process().name
    if name == "MainProcess":
        return "supervisor"
    if name.startswith("fan-out"):
        return "fan-out"
    return name if name in ROLES else "consumer" if name.startswith("consumer") else "other"


@contextmanager
def planted(page: Page, fault: Optional[Fault] = None) -> Iterator[None]:
    """Every call is counted on `page`, and `fault` befalls one of them."""
    real, table = calls.table, calls.Calls()
    for name in NAMES:
        setattr(table, name, _watched(getattr(real, name), name, page, fault))
    calls.table = table
    try:
        yield
    finally:
        calls.table = real


def _watched(call: Callable[..., Any], name: str, page: Page, fault: Optional[Fault]) -> Callable[..., Any]:
    if name == "poll":
        return lambda: _WatchedPoll(call(), page, fault)

    def watched(*args: Any, **named: Any) -> Any:
        return _made(lambda *given: call(*given, **named), name, page, fault, args)

    return watched


class _WatchedPoll:
    """A poll set whose waits count as the call `poll`."""

    def __init__(self, real: Any, page: Page, fault: Optional[Fault]) -> None:
        self._real, self._page, self._fault = real, page, fault
        self.register, self.unregister = real.register, real.unregister

    def poll(self, timeout_seconds: Optional[float] = None) -> Any:
        return _made(self._real.poll, "poll", self._page, self._fault, (timeout_seconds,))


def _made(call: Callable[..., Any], name: str, page: Page, fault: Optional[Fault], args: tuple[Any, ...]) -> Any:
    own = role()
    number = page.count(own, name)
    if fault is None or (fault.role, fault.call) != (own, name):
        return call(*args)
    if number != fault.nth and not (fault.lasting and number > fault.nth):
        return call(*args)
    return _befallen(call, name, page, fault.action, args)


def _befallen(call: Callable[..., Any], name: str, page: Page, action: str, args: tuple[Any, ...]) -> Any:
    if not _possible(name, action, args):
        return call(*args)
    page.fire()
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
        return call(*args)
    elif action == "exit":
        os._exit(0)
    elif action == "short":
        return call(*_shortened(name, args))
    elif name == "close":
        call(*args)
    number = getattr(errno, action)
    raise OSError(number, os.strerror(number))


def _possible(name: str, action: str, args: tuple[Any, ...]) -> bool:
    """May a kernel give this? A pipe has no EIO, a blocking descriptor no EAGAIN, a copy of a descriptor no EPERM."""
    if name == "fcntl":
        copies = args[1] in (fcntl.F_DUPFD, fcntl.F_DUPFD_CLOEXEC)
        return copies if action == "EMFILE" else args[1] == calls.F_SETPIPE_SZ
    if name in ("read", "readv", "write") and action in ("EAGAIN", "EIO"):
        return not os.get_blocking(args[0]) if action == "EAGAIN" else not stat.S_ISFIFO(os.fstat(args[0]).st_mode)
    return True


def _shortened(name: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Half of what was asked for, at least one byte."""
    if name in ("tee", "splice"):
        return (*args[:2], max(1, args[2] // 2), *args[3:])
    if name in ("read", "pread"):
        return (args[0], max(1, args[1] // 2), *args[2:])
    if name == "readv":
        buffer = memoryview(args[1][0]).cast("B")
        return (args[0], [buffer[: max(1, len(buffer) // 2)]])
    data = memoryview(args[1]).cast("B")
    return (args[0], data[: max(1, len(data) // 2)], *args[2:])


def applicable(action: str) -> tuple[str, ...]:
    """The calls that an action can befall."""
    return NAMES if action in ANYTHING else BEFALLS[action]
