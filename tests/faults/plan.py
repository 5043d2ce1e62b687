"""The fault plan: which call of which process fails, and how. Planted in the call table before anything is forked.

    Fault("fan-out", "temporary_file", 1, "ENOSPC")      the first overflow file of the fan-out worker has no room

Children inherit the table by fork, so a plan needs no channel; a shared page says afterwards whether it fired, and how
often each role made each call. A role is the name of a process of multiprocessing: of its node, fan-out, supervisor.
Faults are those a kernel may give: what cannot happen (EINTR, which Python answers itself since PEP 475; EAGAIN on a
blocking descriptor, EIO on a pipe) is passed through and does not count as fired. A `close` that fails has closed.

Signals are actions as well: the process sends them to itself at that call, so that every phase of a run has them. After
"stop" nobody wakes it, after "pause" whoever looks from outside does (`Page.victim`), shortly after.
"""

from __future__ import annotations

import errno
import faulthandler
import fcntl
import mmap
import os
import resource
import signal
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from multiprocessing import process
from typing import Any, Callable, Optional

from teastreams.runtime import calls

MOVING = ("read", "readv", "write", "pread", "pwrite")
OPENING = ("pipe", "open", "fcntl", "pidfd_open", "temporary_file", "dup2")
DUPLICATING = ("tee", "splice")
# What each action can befall. Not EPIPE: a writer that gets it while its reader lives is on no machine that there is.
# `fcntl` stands for copies of descriptors and sizes of pipes, `open` for any file.
BEFALLS: dict[str, tuple[str, ...]] = {
    "EMFILE": (*OPENING, "listdir"),
    "ENFILE": ("pipe", "open", "pidfd_open", "temporary_file", "listdir"),
    "ENOMEM": ("pipe", "open", "fcntl", "pidfd_open", "temporary_file", "shared_memory", "poll", "fork", *DUPLICATING),
    "EAGAIN": ("fork", "read", "readv", "write", *DUPLICATING),
    "EIO": (*MOVING, "close", "fstat"),
    "ENOSPC": ("pwrite", "temporary_file", "splice"),
    "EINVAL": DUPLICATING,
    "EACCES": ("open", "setpgid", "listdir", "execvpe", "temporary_file"),
    "EPERM": ("fcntl", "pidfd_open", "setpgid", "killpg"),
    "ESRCH": ("setpgid", "killpg", "kill", "getpgid", "pidfd_open"),
    "ECHILD": ("wait4",),
    "short": (*MOVING, *DUPLICATING),
    **dict.fromkeys(("kill", "term", "int", "segv", "stop", "pause", "exit"), ()),
}
SIGNALS = {
    "kill": signal.SIGKILL,
    "term": signal.SIGTERM,
    "int": signal.SIGINT,
    "segv": signal.SIGSEGV,
    "stop": signal.SIGSTOP,
    "pause": signal.SIGSTOP,
}
# What fails and has happened all the same: a stranger may have collected the child, a group holds zombies.
ALSO_DONE = ("close", "wait4", "kill", "killpg")
ANYTHING = (*SIGNALS, "exit")
FATAL = ("kill", "segv", "term")
# Not calls that can fail or at which anything could be seen to happen.
NEVER = {
    *("monotonic", "monotonic_ns", "sched_yield", "getpid", "geteuid", "urandom"),
    *("get_handler", "handled_signals", "exit", "raise_signal"),
}
ROLES = ("supervisor", "producer", "consumer", "fan-out", "other")
FIRST_COUNT = 3
LINUX = sys.platform == "linux"
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
    """Memory shared by all processes of an attempt: who was befallen, how far the fan-out grew, and the calls."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8 * (FIRST_COUNT + len(ROLES) * len(NAMES)))
        self._cells = memoryview(self._memory).cast("Q")

    @property
    def fired(self) -> bool:
        return bool(self._cells[0])

    @property
    def victim(self) -> int:
        """The pid of whoever was befallen last; 0 before."""
        return int(self._cells[0])

    @property
    def grown_pages(self) -> int:
        """By how many pages the fan-out worker has grown, as seen whenever it waited."""
        return int(self._cells[2] - self._cells[1])

    def fire(self) -> None:
        self._cells[0] = os.getpid()

    def weigh(self) -> None:
        with open("/proc/self/statm", "rb") as file:
            resident = int(file.read().split()[1])
        self._cells[1] = self._cells[1] or resident
        self._cells[2] = max(self._cells[2], resident)

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
        return FIRST_COUNT + ROLES.index(role) * len(NAMES) + NAMES.index(call)


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
    if (own, name) == ("fan-out", "poll") and LINUX:
        page.weigh()
    if fault is None or (fault.role, fault.call) != (own, name):
        return call(*args)
    if number != fault.nth and not (fault.lasting and number > fault.nth):
        return call(*args)
    return _befallen(call, name, page, fault.action, args)


def _befallen(call: Callable[..., Any], name: str, page: Page, action: str, args: tuple[Any, ...]) -> Any:
    if not _possible(name, action, args):
        return call(*args)
    page.fire()
    if action in SIGNALS:
        _signal_oneself(action)
        return call(*args)
    if action == "exit":
        os._exit(0)
    elif action == "short":
        return call(*_shortened(name, args))
    elif name in ALSO_DONE:
        call(*args)
    number = getattr(errno, action)
    raise OSError(number, os.strerror(number))


def _signal_oneself(action: str) -> None:
    if action == "segv":  # neither a stack in the output nor a core file: it is meant
        faulthandler.disable()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.kill(os.getpid(), SIGNALS[action])


def _possible(name: str, action: str, args: tuple[Any, ...]) -> bool:
    """May a kernel give this? A pipe has no EIO, a blocking descriptor no EAGAIN, a copy of a descriptor no EPERM."""
    if name == "fcntl":
        copies = args[1] in (fcntl.F_DUPFD, fcntl.F_DUPFD_CLOEXEC)
        return copies if action == "EMFILE" else args[1] == calls.F_SETPIPE_SZ
    if name == "execvpe" and action == "exit":  # the program itself may do that, and be well
        return False
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
    if name in DUPLICATING:
        return (*args[:2], max(1, args[2] // 2), *args[3:])
    data = memoryview(args[1]).cast("B")
    return (args[0], data[: max(1, len(data) // 2)], *args[2:])


def applicable(action: str) -> tuple[str, ...]:
    """The calls that an action can befall."""
    return NAMES if action in ANYTHING else BEFALLS[action]


# Calls that no errno befalls, and why. They are points at which a process is signalled, as all are.
CANNOT_FAIL = {
    "group_lives": "has no error: it answers no",
    "has_exited": "fails only when somebody else collected the child: `unusual_hosts` has such a host",
    "closerange": "ignores every error by its definition",
    "getrlimit": "fails for an unknown limit only",
    "isatty": "has no error: it answers no",
    "set_blocking": "fails for a descriptor that is not open only",
    "set_handler": "fails for an unknown signal only",
    "set_inheritable": "fails for a descriptor that is not open only",
    "set_wakeup_fd": "fails for a descriptor that blocks only",
    "sigmask": "fails for an unknown operation only",
    "waitpid": "fails when there is no child only, and that is an ordinary answer",
}
