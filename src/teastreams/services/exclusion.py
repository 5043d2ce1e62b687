"""A lock between all threads of all processes that were forked after it was made.

The lock of a file without a name: the kernel gives it back when its holder dies, even by SIGKILL, and a child of a fork
does not inherit it. Such a lock belongs to the whole process, so a lock of Python stands before it, one for each
process: that of the parent may have been held at the fork, by a thread which the child does not have. It is held for
microseconds, and never while anybody sleeps.
"""

from __future__ import annotations

import fcntl
import threading
from contextlib import contextmanager
from typing import Iterator

from teastreams.runtime import calls


class Exclusion:
    """Make it before the fork; `close` it in the process that made it. OSError when there is no room for a file."""

    def __init__(self) -> None:
        self._file = calls.table.temporary_file()
        self._locks: dict[int, threading.Lock] = {}

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else is inside meanwhile."""
        # setdefault is one step of the interpreter: two threads that come first get the same lock.
        with self._locks.setdefault(calls.table.getpid(), threading.Lock()):
            try:
                calls.table.lock_file(self._file, fcntl.LOCK_EX)
                yield
            finally:
                calls.table.lock_file(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give the file back."""
        calls.table.close(self._file)
