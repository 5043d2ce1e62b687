"""Checkpoints in one SQLite file that is ours alone.

Laws: the file is made with mode 0600 before SQLite opens it, is never reached through a symbolic link, and is refused
where others could have planted or could change it. A file with any other table, index or trigger is refused before a
byte is written to it. What `save` returned for survives a crash of the machine. No connection stays open between calls,
so none crosses a fork. What a row means is decided in `records`.
"""

from __future__ import annotations

import os
import stat
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Iterator, Optional, Sequence, Union
from urllib.parse import quote

from teastreams.checkpoint.records import (
    COLUMNS,
    FORMAT,
    MAX_STATE_BYTES,
    Checkpoint,
    Row,
    checkpoint_of,
    missing,
    row_of,
)
from teastreams.checkpoint.values import CheckpointError

if TYPE_CHECKING:
    import sqlite3

BUSY_SECONDS = 30.0
_SQL_TYPES = {int: "INTEGER", str: "TEXT"}
_NAMES = ", ".join(COLUMNS)
_SCHEMA = "CREATE TABLE checkpoints (sequence INTEGER PRIMARY KEY AUTOINCREMENT, {})".format(
    ", ".join(f"{name} {_SQL_TYPES[kind]} NOT NULL" for name, kind in COLUMNS.items())
)
_INSERT = f"INSERT INTO checkpoints ({_NAMES}) VALUES ({', '.join('?' for _ in COLUMNS)})"  # noqa: S608  constants only
# A state beyond the limit is not loaded to be measured; the NULL that comes instead counts as damage.
_LIMITED = _NAMES.replace("state", f"CASE WHEN length(state) <= {MAX_STATE_BYTES} THEN state END")
_SELECT = f"SELECT {_LIMITED} FROM checkpoints"  # noqa: S608  constants only
_OBJECTS = "SELECT sql FROM sqlite_master WHERE name NOT LIKE 'sqlite~_%' ESCAPE '~'"
_COMPANIONS = ("-wal", "-shm", "-journal")


class SqliteCheckpointer:
    """Keeps checkpoints in the file `path`, made by the first `save`; several runs and processes may share it.

    While it is open SQLite keeps `path-wal` and `path-shm` beside it. A call waits up to 30 seconds for other writers.
    """

    def __init__(self, path: Union[str, os.PathLike[str]]) -> None:
        self._path = os.path.abspath(os.fspath(path))

    def save(self, record: Checkpoint) -> str:
        """Keep `record` durably and return its id.

        Raises:
            CheckpointError: a value of the state cannot be kept (the text names its key), or the file cannot be made,
                written or trusted.
        """
        row = row_of(record)
        _make_private(self._path)
        with self._connected() as database:
            database.execute("BEGIN IMMEDIATE")
            if not _has_table(database, self._path):
                database.execute(_SCHEMA)
            database.execute(_INSERT, row)
            database.execute("COMMIT")
        return str(row[1])

    def load(self, checkpoint_id: Optional[str] = None) -> Checkpoint:
        """The checkpoint of that id, or the newest one; CheckpointError if there is none or it cannot be trusted."""
        found = self._rows("checkpoint_id", checkpoint_id, "DESC LIMIT 1")
        if not found:
            raise missing(checkpoint_id, self._path)
        return checkpoint_of(found[0], self._path)

    def list(self, run_id: Optional[str] = None) -> tuple[Checkpoint, ...]:
        """The checkpoints of one run, or of all, oldest first; CheckpointError if one cannot be trusted."""
        return tuple(checkpoint_of(row, self._path) for row in self._rows("run_id", run_id, "ASC"))

    def _rows(self, column: str, value: Optional[str], order: str) -> Sequence[Row]:
        condition, values = ("", ()) if value is None else (f" WHERE {column} = ?", (value,))
        with self._connected() as database:
            if not _has_table(database, self._path):
                return []
            return database.execute(f"{_SELECT}{condition} ORDER BY sequence {order}", values).fetchall()

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        import sqlite3  # only here: most runs keep no checkpoints, and it would be a good part of the start-up

        _check_private(self._path)
        # mode=rw: had the file vanished since the check, SQLite must not make it again with rights of its own.
        address = f"file:{quote(self._path)}?mode=rw"
        try:
            with closing(sqlite3.connect(address, timeout=BUSY_SECONDS, isolation_level=None, uri=True)) as database:
                _prepare(database, self._path)
                yield database
        except sqlite3.Error as error:
            raise CheckpointError(f"the checkpoint file {self._path} cannot be used: {error}") from error


def _prepare(database: sqlite3.Connection, path: str) -> None:
    database.execute("PRAGMA trusted_schema = OFF")
    database.execute("PRAGMA synchronous = FULL")
    _has_table(database, path)  # before anything is written: the file may be somebody else's database
    database.execute("PRAGMA journal_mode = WAL")


def _has_table(database: sqlite3.Connection, path: str) -> bool:
    """True for a file of ours, False for an empty one; anything else is refused."""
    found = [sql for (sql,) in database.execute(_OBJECTS)]
    if found not in ([], [_SCHEMA]):
        raise CheckpointError(f"{path} is a database, but not a checkpoint file of format {FORMAT}; name another file")
    return bool(found)


def _make_private(path: str) -> None:
    """Make the file if it is not there: SQLite alone would make it with the rights that the umask leaves."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        pass  # also for a symbolic link, wherever it leads; the check before opening refuses it
    except OSError as error:
        raise CheckpointError(f"the checkpoint file {path} cannot be made: {error.strerror}") from error


def _check_private(path: str) -> None:
    """Refuse a file, or a companion of it, that others could have planted or could change.

    By lstat, not by a descriptor: closing any descriptor of a database drops the locks that SQLite holds on it for
    other connections of this process.
    """
    for one in (path, *(path + companion for companion in _COMPANIONS)):
        try:
            found, folder = os.lstat(one), os.stat(os.path.dirname(one))
        except FileNotFoundError as error:
            if one == path:
                raise CheckpointError(f"there is no checkpoint file {path}; name the one the run printed") from error
            continue
        except OSError as error:
            raise CheckpointError(f"the checkpoint file {one} cannot be looked at: {error.strerror}") from error
        reason = distrust(found, folder, os.geteuid())
        if reason:
            raise CheckpointError(f"the checkpoint file {one} is not safe to use: {reason}; name another file")


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
