"""A private directory of FIFOs: pipe ends that have a name, for programs that no workflow starts.

Laws: the directory is made for us alone (0700, checked through its own descriptor), and everything in it is made,
opened and removed relative to that descriptor, so that nobody who renames or links can lead us elsewhere; a FIFO is
opened only if it is one. A reader that waits for a writer which will never come is let go with an end of file.
Nothing here blocks. What others put into the directory stays, and the directory with it.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import Optional

from teastreams.runtime import calls
from teastreams.runtime.fds import Fd, adopt, ledger

PREFIX = "teastreams-"


class FifoFolder:
    """A directory of its own in `work_dir`, which is made when it is missing; None is the temporary directory."""

    def __init__(self, work_dir: Optional[str] = None) -> None:
        self._made = work_dir if work_dir is not None and _make(work_dir) else None
        try:
            if work_dir is not None:
                _refuse_open_to_all(work_dir)
            self.path = os.path.abspath(calls.table.mkdtemp(prefix=PREFIX, dir=work_dir))
        except BaseException:
            self._forget_made()
            raise
        try:
            if work_dir is None:  # TMPDIR may name any folder
                _refuse_open_to_all(os.path.dirname(self.path))
            self.fd = _own_directory(self.path)
        except BaseException:
            self._remove_directories()
            raise

    def make(self, name: str) -> None:
        """Make a FIFO that only we and programs of our user can open. FileExistsError when something has that name."""
        calls.table.mkfifo(name, self.fd.number, self.path)

    def open_writer(self, name: str) -> Optional[Fd]:
        """The write end, non-blocking; None while nobody has the FIFO open for reading.

        OSError when it has gone, or something else stands in its place.
        """
        try:
            end = self._open(name, os.O_WRONLY)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return None
            raise
        if not stat.S_ISFIFO(calls.table.fstat(end.number).st_mode):
            end.close()
            raise OSError(errno.EINVAL, "what stands here is no FIFO any more", os.path.join(self.path, name))
        return end

    def remove(self, name: str) -> None:
        """Remove a FIFO, and let go whoever waits for it to be written; again is harmless."""
        # Open for both while the name goes: whoever came in before sees a writer, and its end when we close.
        held: Optional[Fd] = None
        with suppress(OSError):
            held = self._open(name, os.O_RDWR)
        with suppress(OSError):
            calls.table.unlink(name, dir_fd=self.fd.number)
        if held is not None:
            held.close()

    def close(self) -> None:
        """Remove the directory, which must be empty, and `work_dir` if it was made for us."""
        self.fd.close()
        self._remove_directories()

    def _open(self, name: str, mode: int) -> Fd:
        flags = mode | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY
        with ledger.guard:
            return adopt(calls.table.open(name, flags, dir_fd=self.fd.number), f"FIFO {name}")

    def _remove_directories(self) -> None:
        with suppress(OSError):
            calls.table.rmdir(self.path)
        self._forget_made()

    def _forget_made(self) -> None:
        if self._made is not None:
            with suppress(OSError):
                calls.table.rmdir(self._made)


def _make(directory: str) -> bool:
    """Make it, for us alone; False when it was there."""
    try:
        calls.table.mkdir(directory, 0o700)
    except FileExistsError:
        return False
    return True


def _open_directory(path: str, follow: bool) -> Fd:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    with ledger.guard:
        return adopt(calls.table.open(path, flags), f"directory {path}")


def _own_directory(path: str) -> Fd:
    """Open the directory that was just made, and make sure that it is the one."""
    directory = _open_directory(path, follow=False)
    found = calls.table.fstat(directory.number)
    if found.st_uid == calls.table.geteuid() and stat.S_IMODE(found.st_mode) & 0o777 == 0o700:
        return directory
    directory.close()
    raise PermissionError(errno.EPERM, "the directory just made here is not ours alone; give another work_dir", path)


def _refuse_open_to_all(path: str) -> None:
    """Where anybody may rename, a path handed to a reader can lead to somebody else's FIFO."""
    directory = _open_directory(path, follow=True)
    mode = calls.table.fstat(directory.number).st_mode
    directory.close()
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        reason = "anybody may rename files in this directory; give another work_dir, or set its sticky bit (chmod +t)"
        raise PermissionError(errno.EPERM, reason, path)
