"""What another user of the machine may have planted, decided from what `lstat` tells.

Laws: in a folder that everybody may write and that has the sticky bit (`/tmp`), a link counts only when we or the
folder's owner made it, and a file is written to only when it is ours or the folder owner's. Linux has the same rules
(`protected_symlinks`, `protected_regular`), but they are switched off on some machines, macOS has none, and they never
see a link that was resolved by its text.

Pure: the calls that look at the disk are given. Says nothing about folders without a sticky bit: who may rename in a
folder can exchange anything in it at any time, and no look before the opening helps.
"""

from __future__ import annotations

import errno
import stat
from typing import Callable, Protocol

MOST_LINKS = 40
"""As many links one path may lead through; Linux has the same limit."""


class Status(Protocol):
    """What is asked of an `os.stat_result`."""

    @property
    def st_mode(self) -> int:
        """Kind and rights."""
        ...

    @property
    def st_uid(self) -> int:
        """Whose it is."""
        ...

    @property
    def st_nlink(self) -> int:
        """How many names it has."""
        ...


def planted(found: Status, folder: Status, user_id: int) -> bool:
    """May somebody else have put this into a folder in which everybody may put things?"""
    return _shared(folder) and found.st_uid not in (user_id, folder.st_uid)


def unsafe_to_write(found: Status, folder: Status, user_id: int) -> str:
    """Why what is there must not be written to; "" when nothing speaks against it."""
    if planted(found, folder, user_id):
        return f"it belongs to user {found.st_uid}, in a folder that everybody may write"
    # Its other name may be that of a file which nobody meant to be written.
    if stat.S_ISREG(found.st_mode) and found.st_nlink > 1 and _shared(folder):
        return f"it has {found.st_nlink} names (hard links), in a folder that everybody may write"
    return ""


def _shared(folder: Status) -> bool:
    return bool(folder.st_mode & stat.S_ISVTX and folder.st_mode & stat.S_IWOTH)


def without_links(
    path: str, lstat: Callable[[str], Status], readlink: Callable[[str], str], user_id: int, folder: str = "/"
) -> str:
    """The absolute path that `path` leads to from `folder`; what is not there is kept as it is written.

    PermissionError for a link that may be planted, OSError for links without an end.
    """
    at, rest, links = folder, path.split("/")[::-1], 0
    if path.startswith("/"):
        at = "/"
    while rest:
        name = rest.pop()
        here = _step(at, name)
        if here == at or not _is_link(here, lstat):
            at = here
            continue
        if planted(lstat(here), lstat(at), user_id):
            reason = f"{here} is a link that another user has put into a folder that everybody may write"
            raise PermissionError(errno.EACCES, reason)
        links += 1
        if links > MOST_LINKS:
            raise OSError(errno.ELOOP, "its links have no end")
        target = readlink(here)
        at = "/" if target.startswith("/") else at
        rest += target.split("/")[::-1]
    return at


def _step(at: str, name: str) -> str:
    if name in ("", "."):
        return at
    if name == "..":
        return at.rpartition("/")[0] or "/"
    return f"{'' if at == '/' else at}/{name}"


def _is_link(path: str, lstat: Callable[[str], Status]) -> bool:
    try:
        return stat.S_ISLNK(lstat(path).st_mode)
    except OSError:  # not there, or not to be seen: whoever opens it is told
        return False
