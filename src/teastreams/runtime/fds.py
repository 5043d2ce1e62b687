"""Descriptors and their owners.

Laws: one owner per descriptor; a closed owner holds -1, so that a stale number can never reach somebody else's
file; every descriptor is close-on-exec and numbered 32 or above, so that it cannot collide with 0, 1 and 2
while those are being wired; `ledger` knows all that this process owns, because a forked child must close what
it was not given (one forgotten write end and a reader never sees its end of file).
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from contextlib import contextmanager, suppress
from typing import Iterable, Iterator, Sequence

from teastreams.errors import LimitError
from teastreams.runtime import calls

LOWEST = 32


class Ledger:
    """All open `Fd` of this process. The descriptor table is process-wide, and so must be its book.

    `guard` is held while descriptors appear or disappear and during a fork, so that a run in another thread
    cannot lose a write end into our child. The forking thread owns it on both sides of the fork; the child, which never
    comes back to give it up, makes a new one, or its threads would wait for it for ever.
    """

    def __init__(self) -> None:
        self.guard = threading.RLock()
        self.open: set[Fd] = set()
        self.depth = 0
        """Of how many nodes inside of each other this process is one: 0 in a caller's process."""

    def close_all_but(self, keep: Iterable[Fd]) -> None:
        """Close every descriptor of ours except `keep`: what a child does first."""
        self.depth += 1
        self.guard = threading.RLock()
        kept = set(keep)
        foreign = [fd for fd in self.open if fd not in kept]
        # A child of a section of 500 inherits 3 000 of them, and 500 children do: whole runs of numbers go in one call.
        for first, after in _runs(sorted(fd.take() for fd in foreign)):
            calls.table.closerange(first, after)


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Sorted numbers as (first, behind the last) of each unbroken run of them; -1 is none. Nobody else's is in one."""
    first = after = -1
    for number in numbers:
        if number != after and first >= 0:
            yield first, after
        if number != after or first < 0:
            first = number
        after = number + 1
    if first >= 0:
        yield first, after


ledger = Ledger()


class Fd:
    """Owns one descriptor. `number` is -1 once it was closed or taken; `label` says what it is for."""

    def __init__(self, number: int, label: str) -> None:
        self.number, self.label = number, label
        ledger.open.add(self)

    def __repr__(self) -> str:
        return f"<Fd {self.number}: {self.label}>"

    def __bool__(self) -> bool:
        return self.number >= 0

    def fileno(self) -> int:
        """The number, or -1 when closed."""
        return self.number

    def __enter__(self) -> Fd:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def take(self) -> int:
        """Give the number away and forget it: the caller owns it now."""
        number, self.number = self.number, -1
        ledger.open.discard(self)
        return number

    def close(self) -> None:
        """Close once; again is harmless. Linux frees the number even when close fails, so an error is final."""
        number = self.take()
        if number >= 0:
            give_back(number)


def give_back(number: int) -> None:
    """Close a number without an owner. Linux frees it even when close fails, so an error is final: nothing is left."""
    with suppress(OSError):
        calls.table.close(number)


def adopt(number: int, label: str) -> Fd:
    """Own a descriptor that was just made: moved to 32 or above, close-on-exec."""
    if number >= LOWEST:
        return Fd(number, label)
    try:
        return Fd(_raised(number), label)
    finally:
        give_back(number)


def copy_of(fd: Fd) -> Fd:
    """A second descriptor of the same open file."""
    return duplicate(fd.number, f"copy of {fd.label}")


def duplicate(number: int, label: str) -> Fd:
    """Own a copy of a descriptor that is not ours; OSError when it is closed."""
    if number < 0:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    return Fd(_raised(number), label)


def _raised(number: int) -> int:
    """A copy at LOWEST or above."""
    try:
        return int(calls.table.fcntl(number, fcntl.F_DUPFD_CLOEXEC, LOWEST))
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # What the kernel says when LOWEST itself lies beyond the limit of open files.
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE)) from error


@contextmanager
def room_for(what: str) -> Iterator[None]:
    """Running out of descriptors or memory is a `LimitError` that says for what; other errors stay as they are."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS):
            raise
        raise LimitError(
            f"no room to start {what}: {error.strerror}; raise the limit of open files (ulimit -n), free memory, "
            "or run fewer nodes at once"
        ) from error


@contextmanager
def room_to_wait(count: int) -> Iterator[None]:
    """No memory to poll so many descriptors with is a `LimitError`; other errors stay as they are."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOMEM:
            raise
        raise LimitError(
            f"the system has no memory left to wait for {count} descriptors; free memory, or run fewer nodes at once"
        ) from error


def open_numbers() -> Sequence[int]:
    """Every descriptor of this process, ours or not, and one that was open only while we looked."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        with suppress(OSError):
            return [int(name) for name in calls.table.listdir(folder) if name.isdigit()]
    return range(1024)


def make_pipe(label: str) -> tuple[Fd, Fd]:
    """A pipe as (read end, write end), both blocking. Nothing is left open when the second end fails."""
    with ledger.guard:
        read, write = calls.table.pipe()
        try:
            reader = adopt(read, f"read end of {label}")
        except OSError:
            give_back(write)
            raise
        try:
            return reader, adopt(write, f"write end of {label}")
        except OSError:
            reader.close()
            raise


def resize(fd: Fd, size_bytes: int) -> int:
    """Wish for a pipe of `size_bytes`; returns the size it has, 0 where that cannot be known.

    A wish, not an assumption: beyond the user's quota the kernel answers EPERM and the pipe works on.
    """
    if calls.portable():
        return 0
    with suppress(OSError):
        calls.table.fcntl(fd.number, calls.F_SETPIPE_SZ, size_bytes)
    with suppress(OSError):
        return int(calls.table.fcntl(fd.number, calls.F_GETPIPE_SZ))
    return 0
