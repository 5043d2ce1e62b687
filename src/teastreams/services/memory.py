"""Long-term memory: values under keys that outlive a run, with a search over their words.

Laws: one private SQLite file, and no connection stays open between calls, so none crosses a fork and any number of
threads and forked workers may use it at once; a call is one transaction, so that a killed worker leaves the file whole.
Values are checked JSON and the few kinds that checkpoints keep, never a pickle. Words that are searched for are words
and nothing else: no query can be made of them. Where SQLite has no full-text search, the same words are looked for one
by one, with the same result.
"""

from __future__ import annotations

import os
import re
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Callable, Iterator, Mapping, Optional, Union

from teastreams.checkpoint.private_file import UntrustedFile, check_private, make_private
from teastreams.checkpoint.protocol import CheckpointError
from teastreams.errors import TeaStreamsError

if TYPE_CHECKING:
    import sqlite3

KIND = "memory file"
BUSY_SECONDS = 30.0
# What stands in the head of a file of ours, in the place that SQLite keeps for it: "tea1".
APPLICATION = 0x74656131
MAX_RESULTS = 1000
_COLUMNS = "number INTEGER PRIMARY KEY, key TEXT UNIQUE NOT NULL, kept TEXT NOT NULL, words TEXT NOT NULL"
_TABLE = f"CREATE TABLE memories ({_COLUMNS})"
_WORDS = "CREATE VIRTUAL TABLE memory_words USING fts5(words, content='memories', content_rowid='number')"
# The index follows the table by itself, whoever writes.
_ADDED = """CREATE TRIGGER memory_added AFTER INSERT ON memories BEGIN
    INSERT INTO memory_words(rowid, words) VALUES (new.number, new.words); END"""
_REMOVED = """CREATE TRIGGER memory_removed AFTER DELETE ON memories BEGIN
    INSERT INTO memory_words(memory_words, rowid, words) VALUES ('delete', old.number, old.words); END"""


class MemoryFileError(TeaStreamsError, ValueError):
    """The long-term memory cannot keep a value, or its file cannot be used; the text says which and why."""


class Memory:
    """The memory in the file `path`, made by the first `store`."""

    def __init__(self, path: Union[str, os.PathLike[str]]) -> None:
        self._path = os.path.abspath(os.fspath(path))

    def store(self, key: str, value: Any, metadata: Optional[Mapping[str, Any]] = None) -> None:
        """Keep `value` under `key`, in the place of what was there. It is found again by the words in both.

        MemoryFileError for a value that cannot be kept (the text names its place), or a file that cannot be used.
        """
        kept = _kept(key, value, dict(metadata or {}))
        words = " ".join(words_of((key, value)))
        with self._written() as database:
            database.execute("DELETE FROM memories WHERE key = ?", (key,))
            database.execute("INSERT INTO memories (key, kept, words) VALUES (?, ?, ?)", (key, kept, f" {words} "))

    def retrieve(self, key: str, default: Any = None) -> Any:
        """The value under `key`, or `default`."""
        found = self._found(key, [], 1)
        return found[0]["value"] if found else default

    def search(
        self, query: str = "", limit: int = 10, metadata: Optional[Mapping[str, Any]] = None
    ) -> list[dict[str, Any]]:
        """What holds all words of `query`, the newest first: mappings with `key`, `value` and `metadata`.

        Words are letters and digits; case and accents do not count. Without a word everything is found. `metadata`
        keeps those that have these values. At most `limit` (up to 1000) are given.
        """
        words = words_of(query)
        limit = max(0, min(limit, MAX_RESULTS))
        wanted = dict(metadata or {})
        found = self._found(None, words, None if wanted else limit)
        fitting = (each for each in found if wanted.items() <= each["metadata"].items())
        return [each for _, each in zip(range(limit), fitting)]

    def delete(self, key: str) -> bool:
        """Forget what is under `key`; was there anything?"""
        if not os.path.exists(self._path):
            return False
        with self._written() as database:
            return database.execute("DELETE FROM memories WHERE key = ?", (key,)).rowcount > 0

    def _found(self, key: Optional[str], words: list[str], limit: Optional[int]) -> list[dict[str, Any]]:
        if not os.path.exists(self._path):
            return []
        with self._connected() as database:
            condition, values = _condition(key, words, _indexed(database))
            select = f"SELECT key, kept FROM memories {condition} ORDER BY number DESC LIMIT ?"  # noqa: S608  constants
            rows = database.execute(select, (*values, -1 if limit is None else limit)).fetchall()
        return [{"key": key, **_unkept(kept, self._path)} for key, kept in rows]

    @contextmanager
    def _written(self) -> Iterator[sqlite3.Connection]:
        """A connection in one transaction."""
        with _told():
            make_private(self._path, KIND)
        with self._connected() as database:
            database.execute("BEGIN IMMEDIATE")
            yield database
            database.execute("COMMIT")

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        import sqlite3  # only here: most runs remember nothing
        from urllib.parse import quote

        with _told():
            check_private(self._path, KIND)
        address = f"file:{quote(self._path)}?mode=rw"
        try:
            with closing(sqlite3.connect(address, timeout=BUSY_SECONDS, isolation_level=None, uri=True)) as database:
                _prepare(database, self._path)
                yield database
        # SQLite's own words about damage may repeat bytes that are no text, and then cannot be said.
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise MemoryFileError(f"the {KIND} {self._path} cannot be used: {error}") from error


def _condition(key: Optional[str], words: list[str], indexed: bool) -> tuple[str, tuple[str, ...]]:
    if key is not None:
        return "WHERE key = ?", (key,)
    if not words:
        return "", ()
    if indexed:
        # Each word in quotes: a word of the user's is never an operator of the query.
        matching = " ".join(f'"{word}"' for word in words)
        return "WHERE number IN (SELECT rowid FROM memory_words WHERE words MATCH ?)", (matching,)
    return f"WHERE {' AND '.join('instr(words, ?)' for _ in words)}", tuple(f" {word} " for word in words)


def _indexed(database: sqlite3.Connection) -> bool:
    return database.execute("SELECT 1 FROM sqlite_master WHERE name = 'memory_words'").fetchone() is not None


def words_of(value: Any) -> list[str]:
    """The words in a value and all that it holds, without case and accents, in their order."""
    if isinstance(value, str):
        import unicodedata  # a MiB of tables, for who remembers

        plain = unicodedata.normalize("NFKD", value.casefold())
        return re.findall(r"[^\W_]+", "".join(each for each in plain if not unicodedata.combining(each)))
    if isinstance(value, Mapping):
        return [word for pair in value.items() for part in pair for word in words_of(part)]
    if isinstance(value, (list, tuple, set, frozenset)):
        return [word for part in value for word in words_of(part)]
    return words_of(str(value)) if isinstance(value, (int, float)) else []


def full_text() -> bool:
    """Has this SQLite a full-text search?"""
    import sqlite3

    with closing(sqlite3.connect(":memory:")) as database:
        options = {name for (name,) in database.execute("PRAGMA compile_options")}
    return "ENABLE_FTS5" in options


def _prepare(database: sqlite3.Connection, path: str) -> None:
    """Make the tables of an empty file; refuse a file that is somebody else's, before a byte of it is written.

    The journal stays SQLite's own (DELETE). A write-ahead log pays for connections that stay open; ours close after
    each call, and eight processes that make a file at once and set `journal_mode = WAL` get "database is locked",
    whatever the timeout: 23 of 480 measured.
    """
    database.execute("PRAGMA synchronous = FULL")
    # Both questions in one transaction: between two, another process may make the file.
    database.execute("BEGIN")
    empty = _is_empty(database, path)
    database.execute("COMMIT")
    if empty:
        _make(database, path)


def _make(database: sqlite3.Connection, path: str) -> None:
    database.execute("BEGIN IMMEDIATE")
    if _is_empty(database, path):
        for statement in (_TABLE, *((_WORDS, _ADDED, _REMOVED) if full_text() else ())):
            database.execute(statement)
        database.execute(f"PRAGMA application_id = {APPLICATION}")
    database.execute("COMMIT")


def _is_empty(database: sqlite3.Connection, path: str) -> bool:
    (application,) = database.execute("PRAGMA application_id").fetchone()
    used = database.execute("SELECT 1 FROM sqlite_master").fetchone() is not None
    if used and application != APPLICATION:
        raise MemoryFileError(f"{path} is a database, but not a {KIND}; name another file")
    return not used


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except UntrustedFile as error:
        raise MemoryFileError(str(error)) from error


def _kept(key: str, value: Any, metadata: Mapping[str, Any]) -> str:
    if type(key) is not str or not key:
        raise MemoryFileError(f"a key of the memory is text, not {key!r}; write memory.store('some key', value)")
    from teastreams.checkpoint.values import text_of  # 5 ms, and most workflows remember nothing

    try:
        return text_of({"value": value, "metadata": metadata})
    except CheckpointError as error:
        raise MemoryFileError(f"what was to be stored under {key!r} cannot be kept: {error}") from error


def _unkept(kept: str, path: str) -> Mapping[str, Any]:
    from teastreams.checkpoint.values import state_of

    try:
        return state_of(kept)
    except CheckpointError as error:
        raise MemoryFileError(f"the {KIND} {path} is damaged: {error}") from error


# -- actions ----------------------------------------------------------------------------------------------------------


def _store(context: Any, key: str, value: Any, metadata: Optional[Mapping[str, Any]] = None) -> dict[str, Any]:
    context.memory.store(key, value, metadata)
    return {"success": True, "stored": True, "key": key}


def _retrieve(context: Any, key: str, default: Any = None) -> dict[str, Any]:
    nothing = object()
    value = context.memory.retrieve(key, nothing)
    found = value is not nothing
    return {"success": True, "found": found, "key": key, "value": value if found else default}


def _search(
    context: Any, query: str = "", limit: int = 10, metadata_filter: Optional[Mapping[str, Any]] = None
) -> dict[str, Any]:
    results = context.memory.search(query, limit, metadata_filter)
    return {"success": True, "results": results, "count": len(results)}


def _delete(context: Any, key: str) -> dict[str, Any]:
    return {"success": True, "deleted": context.memory.delete(key), "key": key}


ACTIONS: Mapping[str, Callable[..., Any]] = {
    "ltm.store": _store,
    "ltm.retrieve": _retrieve,
    "ltm.search": _search,
    "ltm.delete": _delete,
}
"""Called as f(context, **arguments)."""
