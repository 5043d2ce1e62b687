"""A database file of ours alone: made with mode 0600, never reached by a link, refused where others could change it.

Used for checkpoints and for the long-term memory. What is in the file is the business of those.
"""

from __future__ import annotations

import os
import stat

from teastreams.core.security.trust import without_links

CHECKPOINTS = "checkpoint file"
COMPANIONS = ("-wal", "-shm", "-journal")


class UntrustedFile(Exception):
    """A file that cannot be made, or that others could have planted or could change; the text says which and why."""


class MissingFile(UntrustedFile):
    """There is no such file."""


def make_private(path: str, kind: str = CHECKPOINTS) -> None:
    """Make the file if it is not there: SQLite alone would make it with the rights that the umask leaves."""
    _refuse_planted_folder(path, kind)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        pass  # also for a symbolic link, wherever it leads; the check before opening refuses it
    except OSError as error:
        raise UntrustedFile(f"the {kind} {path} cannot be made: {error.strerror}") from error


def check_private(path: str, kind: str = CHECKPOINTS) -> None:
    """Refuse a file, or a companion of it, that others could have planted or could change.

    By lstat, not by a descriptor: closing any descriptor of a database drops the locks that SQLite holds on it for
    other connections of this process.
    """
    _refuse_planted_folder(path, kind)
    for one in (path, *(path + companion for companion in COMPANIONS)):
        try:
            found, folder = os.lstat(one), os.stat(os.path.dirname(one))
        except FileNotFoundError as error:
            if one == path:
                raise MissingFile(f"there is no {kind} {path}") from error
            continue
        except OSError as error:
            raise UntrustedFile(f"the {kind} {one} cannot be looked at: {error.strerror}") from error
        reason = distrust(found, folder, os.geteuid())
        if reason:
            raise UntrustedFile(f"the {kind} {one} is not safe to use: {reason}; name another file")


def _refuse_planted_folder(path: str, kind: str) -> None:
    """What lies behind a link that another user has put into a folder like /tmp may be a folder of his own."""
    try:
        without_links(os.path.dirname(path), os.lstat, os.readlink, os.geteuid())
    except OSError as error:
        raise UntrustedFile(f"the {kind} {path} is not safe to use: {error.strerror}; name another file") from error


def distrust(found: os.stat_result, folder: os.stat_result, user_id: int) -> str:
    """Why a file in a folder cannot be trusted by a user; "" if it can. Root is trusted: it could change us as well."""
    mode, links = found.st_mode, found.st_nlink
    open_folder = folder.st_mode & stat.S_IWOTH and not folder.st_mode & stat.S_ISVTX
    reasons = {
        "it is a symbolic link": stat.S_ISLNK(mode),
        "it is not a regular file": not stat.S_ISREG(mode),
        f"it belongs to user {found.st_uid}": found.st_uid not in (0, user_id),
        f"others may write to it (mode {stat.S_IMODE(mode):04o})": mode & (stat.S_IWGRP | stat.S_IWOTH),
        f"it has {links} names (hard links)": links != 1,
        "its folder may be written by everybody and has no sticky bit": open_folder,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")
