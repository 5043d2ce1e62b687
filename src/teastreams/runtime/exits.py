"""Tell me when this pid ends, without collecting its status.

The exit must be seen before the status is collected: the number of an uncollected child cannot be given to a
stranger, so its group can still be signalled safely. Three ways with one face: pidfd (Linux), kqueue NOTE_EXIT
(macOS), and peeking with waitid every 20 ms, the documented last resort and the portable path. multiprocessing's own
sentinel is not used: a grandchild that inherits it keeps it silent after the node has gone.
"""

from __future__ import annotations

import sys
from typing import Optional, Protocol

from teastreams.runtime import calls
from teastreams.runtime.fds import Fd, adopt

PEEK_SECONDS = 0.02


class ExitWatch(Protocol):
    """One child. `fd` is readable at its exit, or None when `exited` must be asked every PEEK_SECONDS."""

    fd: Optional[Fd]

    def exited(self) -> bool:
        """Has it ended? Asks the kernel, collects nothing."""
        ...

    def close(self) -> None:
        """Stop watching."""
        ...


class _PidFd:
    def __init__(self, pid: int, number: int) -> None:
        self.fd: Optional[Fd] = adopt(number, f"exit notice of {pid}")
        self._pid = pid

    def exited(self) -> bool:
        return _peek(self._pid)

    def close(self) -> None:
        if self.fd is not None:
            self.fd.close()


class _Peek:
    fd: Optional[Fd] = None

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def exited(self) -> bool:
        return _peek(self._pid)

    def close(self) -> None:
        return


class _Kqueue:  # pragma: no cover - macOS
    fd: Optional[Fd] = None

    def __init__(self, pid: int) -> None:
        self._gone = False
        try:
            self._queue = calls.table.exit_queue(pid)
        except ProcessLookupError:  # it has ended already; its status waits
            self._gone, self._queue = True, None

    def exited(self) -> bool:
        self._gone = self._gone or bool(self._queue.control(None, 1, 0))
        return self._gone

    def close(self) -> None:
        if self._queue is not None:
            self._queue.close()


def watch_exit(pid: int) -> ExitWatch:
    """Watch one child of this process by the best way this machine has."""
    if sys.platform == "darwin":  # pragma: no cover - macOS
        return _Kqueue(pid)
    if not calls.portable():
        try:
            return _PidFd(pid, calls.table.pidfd_open(pid))
        except OSError:  # seccomp forbids it, or a kernel before 5.3
            return _Peek(pid)
    return _Peek(pid)


def _peek(pid: int) -> bool:
    try:
        return calls.table.has_exited(pid)
    except ChildProcessError:  # somebody else collected it: it has certainly ended
        return True
