"""Checkpoints in one SQLite file that is ours alone.

Laws: the file is made with mode 0600 before SQLite opens it, is never reached through a symbolic link, and is refused
where others could have planted or could change it. A file with any other table, index or trigger is refused before a
byte is written to it. What `save` returned for survives a crash of the machine. No connection stays open between calls,
so none crosses a fork. What a row means is decided in `records`.
"""

from __future__ import annotations

import os
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Iterable, Iterator, Optional, Sequence, Union
from urllib.parse import quote

from teastreams.checkpoint.private_file import MissingFile, UntrustedFile, check_private, make_private
from teastreams.checkpoint.protocol import Checkpoint, CheckpointError
from teastreams.checkpoint.records import (
    COLUMNS,
    FORMAT,
    MAX_NAME_CHARACTERS,
    MAX_STATE_BYTES,
    NEW_COLUMNS,
    OLD_FORMAT,
    Part,
    Row,
    checkpoint_of,
    missing,
    outline_of,
    rows_of,
)
from teastreams.checkpoint.values import Codec, checked_codecs

if TYPE_CHECKING:
    import sqlite3

BUSY_SECONDS = 30.0
_SQL_TYPES = {int: "INTEGER", str: "TEXT"}
_NAMES = ", ".join(COLUMNS)
_OLD_SCHEMA = "CREATE TABLE checkpoints (sequence INTEGER PRIMARY KEY AUTOINCREMENT, {})".format(
    ", ".join(f"{name} {_SQL_TYPES[kind]} NOT NULL" for name, kind in COLUMNS.items() if name not in NEW_COLUMNS)
)
_ADDED = [f"{name} {_SQL_TYPES[COLUMNS[name]]} NOT NULL DEFAULT {value!r}" for name, value in NEW_COLUMNS.items()]
# As a file of format 1 reads after the columns were added to it: a new file and a migrated one are the same.
_SCHEMA = f"{_OLD_SCHEMA[:-1]}, {', '.join(_ADDED)})"
_PARTS = "CREATE TABLE parts (sha256 TEXT PRIMARY KEY NOT NULL, text TEXT NOT NULL)"
_MAKING = {
    None: (_SCHEMA, _PARTS),
    OLD_FORMAT: (*(f"ALTER TABLE checkpoints ADD COLUMN {each}" for each in _ADDED), _PARTS),
    FORMAT: (),
}
"""What makes a file of the newest format from one of the format that was found; None is an empty file."""
_KNOWN = {(): None, (_OLD_SCHEMA,): OLD_FORMAT, (_SCHEMA, _PARTS): FORMAT}
_INSERT = f"INSERT INTO checkpoints ({_NAMES}) VALUES ({', '.join('?' for _ in COLUMNS)})"  # noqa: S608  constants only
_KEEP_PART = "INSERT OR IGNORE INTO parts (sha256, text) VALUES (?, ?)"
_FIND_PART = f"SELECT text FROM parts WHERE sha256 = ? AND length(text) <= {MAX_STATE_BYTES}"  # noqa: S608
# A value beyond its limit is not loaded to be measured; the NULL that comes instead counts as damage. All of them: in a
# column of numbers, too, SQLite keeps whatever was put there.
_LIMITED = {
    name: f"CASE WHEN length({name}) <= {MAX_STATE_BYTES if name == 'state' else MAX_NAME_CHARACTERS} THEN {name} END"
    for name in COLUMNS
}
_SELECT = f"SELECT {', '.join(_LIMITED.values())} FROM checkpoints"  # noqa: S608  constants only
_OLD = {**_LIMITED, **{name: repr(value) for name, value in NEW_COLUMNS.items()}}
_SELECT_OLD = f"SELECT {', '.join(_OLD.values())} FROM checkpoints"  # noqa: S608  constants only
_OBJECTS = "SELECT sql FROM sqlite_master WHERE name NOT LIKE 'sqlite~_%' ESCAPE '~'"


class SqliteCheckpointer:
    """Keeps checkpoints in the file `path`, made by the first `save`; several runs and processes may share it.

    While it is open SQLite keeps `path-wal` and `path-shm` beside it. A call waits up to 30 seconds for other writers.
    """

    def __init__(self, path: Union[str, os.PathLike[str]], *, codecs: Iterable[Codec] = ()) -> None:
        self._codecs = checked_codecs(codecs)
        self._path = os.path.abspath(os.fspath(path))

    def save(self, record: Checkpoint) -> str:
        """Keep `record` durably and return its id.

        Raises:
            CheckpointError: a value of the state cannot be kept (the text names its key), or the file cannot be made,
                written or trusted.
        """
        row, parts = rows_of(record, self._codecs)
        with _told():
            make_private(self._path)
        with self._connected() as database:
            database.execute("BEGIN IMMEDIATE")
            for statement in _MAKING[_format(database, self._path)]:
                database.execute(statement)
            database.executemany(_KEEP_PART, parts.items())
            database.execute(_INSERT, row)
            database.execute("COMMIT")
        return str(row[1])

    def load(self, checkpoint_id: Optional[str] = None) -> Checkpoint:
        """The checkpoint of that id, or the newest one; CheckpointError if there is none or it cannot be trusted."""
        with self._connected() as database:
            found = self._rows(database, "checkpoint_id", checkpoint_id, "DESC LIMIT 1")
            if not found:
                raise missing(checkpoint_id, self._path)
            return checkpoint_of(found[0], self._path, _part_of(database), self._codecs)

    def list(self, run_id: Optional[str] = None) -> tuple[Checkpoint, ...]:
        """The checkpoints of one run, or of all, oldest first; CheckpointError if one cannot be trusted."""
        with self._connected() as database:
            found, part = self._rows(database, "run_id", run_id, "ASC"), _part_of(database)
            return tuple(checkpoint_of(row, self._path, part, self._codecs) for row in found)

    def history(self, run_id: Optional[str] = None) -> tuple[Checkpoint, ...]:
        """What `list` gives, without the states: the large values in them are not read."""
        with self._connected() as database:
            return tuple(outline_of(row, self._path) for row in self._rows(database, "run_id", run_id, "ASC"))

    def _rows(self, database: sqlite3.Connection, column: str, value: Optional[str], order: str) -> Sequence[Row]:
        condition, values = ("", ()) if value is None else (f" WHERE {column} = ?", (value,))
        found = _format(database, self._path)
        if found is None:
            return []
        select = _SELECT if found == FORMAT else _SELECT_OLD
        return database.execute(f"{select}{condition} ORDER BY sequence {order}", values).fetchall()

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        import sqlite3  # only here: most runs keep no checkpoints, and it would be a good part of the start-up

        with _told():
            check_private(self._path)
        # mode=rw: had the file vanished since the check, SQLite must not make it again with rights of its own.
        address = f"file:{quote(self._path)}?mode=rw"
        try:
            with closing(sqlite3.connect(address, timeout=BUSY_SECONDS, isolation_level=None, uri=True)) as database:
                _prepare(database, self._path)
                yield database
        # SQLite's own words about damage may repeat bytes that are no text, and then cannot be said.
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise CheckpointError(f"the checkpoint file {self._path} cannot be used: {error}") from error


@contextmanager
def _told() -> Iterator[None]:
    """What is wrong with the file, as an error of checkpoints."""
    try:
        yield
    except MissingFile as error:
        raise CheckpointError(f"{error}; name the one the run printed") from error
    except UntrustedFile as error:
        raise CheckpointError(str(error)) from error


def _prepare(database: sqlite3.Connection, path: str) -> None:
    database.execute("PRAGMA trusted_schema = OFF")
    database.execute("PRAGMA synchronous = FULL")
    _format(database, path)  # before anything is written: the file may be somebody else's database
    database.execute("PRAGMA journal_mode = WAL")


def _format(database: sqlite3.Connection, path: str) -> Optional[int]:
    """The format of a file of ours, None for an empty one; anything else is refused."""
    found = tuple(sql for (sql,) in database.execute(_OBJECTS))
    if found not in _KNOWN:
        raise CheckpointError(f"{path} is a database, but not a checkpoint file of format {FORMAT}; name another file")
    return _KNOWN[found]


def _part_of(database: sqlite3.Connection) -> Part:
    def part(name: str) -> str:
        found = database.execute(_FIND_PART, (str(name),)).fetchone()
        if found is None:
            raise LookupError(f"its part {name} is not there")
        return str(found[0])

    return part
