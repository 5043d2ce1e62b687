"""Checkpoints: what goes in comes out or is refused by name, files are private, and nothing is ever executed.

Hostile files are made by hand, with SQLite and the record's own checksum: whoever can do that must still not get more
than an error.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import pickle
import signal
import sqlite3
import stat
import subprocess
import sys
from collections import OrderedDict, namedtuple
from contextlib import closing
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone, tzinfo
from enum import IntEnum
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Optional, Union

import pytest

from teastreams.checkpoint import Checkpoint, CheckpointError, Codec, MemoryCheckpointer, SqliteCheckpointer
from teastreams.checkpoint import records as records_module
from teastreams.checkpoint.private_file import distrust
from teastreams.checkpoint.records import COLUMNS, rows_of
from teastreams.checkpoint.values import state_of, text_of

Keeper = Union[MemoryCheckpointer, SqliteCheckpointer]
Point = namedtuple("Point", "x y")


class Color(IntEnum):
    RED = 1


class Elsewhere(tzinfo):
    """A time zone object of the user's own."""

    def utcoffset(self, dt: Optional[datetime]) -> timedelta:
        return timedelta(hours=1)

    def dst(self, dt: Optional[datetime]) -> timedelta:
        return timedelta(0)


def record(step: int = 0, run_id: str = "run", **state: Any) -> Checkpoint:
    return Checkpoint(run_id, step, "node", "after", "hash", state)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints.db"


@pytest.fixture(params=["memory", "sqlite"])
def keeper(request: pytest.FixtureRequest, path: Path) -> Keeper:
    return MemoryCheckpointer() if request.param == "memory" else SqliteCheckpointer(path)


def change(path: Path, statement: str, *values: Any) -> None:
    """Do something to the file that only another program would do."""
    with closing(sqlite3.connect(path)) as database:
        database.execute(statement, values)
        database.commit()


def plant(path: Path, **columns: Any) -> None:
    """Put a row into the file that differs from a good one in these columns; the checksum fits."""
    SqliteCheckpointer(path).save(record())
    good = dict(zip(COLUMNS, rows_of(record())[0]))
    row = tuple({**good, **columns}.values())
    row = (*row[:-1], columns.get("sha256", records_module._digest(row[:-1])))
    change(path, f"INSERT INTO checkpoints ({', '.join(COLUMNS)}) VALUES ({', '.join('?' for _ in row)})", *row)


PLAIN: dict[str, Any] = {
    "nothing": None,
    "truth": [True, False],
    "numbers": [0, -1, 2**63, -(2**4000), 0.1, -0.0, 1e308, 5e-324],
    "text": ["", "ascii", "Grüße 🌊", "\x00\x1b[31m", "\ud800", 'quote " and \\'],
    "nested": {"a": [{"b": [[], {}]}], "": 1},
}
KINDS: dict[str, Any] = {
    "bytes": [b"", bytes(range(256)), bytearray(b"\x00\xff")],
    "tuples": ((), (1, (2, [3])), [(b"x",)]),
    "sets": [set(), {1, "1", 1.5, (1, 2), None}, frozenset({b"a", b"b"}), {frozenset({1})}],
    "paths": [Path("/tmp/x y"), Path("relative"), Path()],
    "dates": [date(2024, 2, 29), timedelta(days=-1, microseconds=7), timedelta.max],
    "moments": [datetime(2024, 1, 1, 12, 30, 1, 5), datetime.min, datetime(2024, 1, 1, tzinfo=timezone.utc)],
    "zone": datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=-3, minutes=-30))),
    "infinite": [math.inf, -math.inf],
    "keys": {1: "int", (1, 2): "tuple", None: "none", "s": {True: "bool", b"k": "bytes"}},
    "own": {"$kind": "tuple", "value": [1, 2]},
    "twice": [{"$kind": {"$kind": "bytes"}}],
}


def same(one: Any, other: Any) -> bool:
    """Equal and of the same types all the way down, with dicts in the same order."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return same(list(one.items()), list(other.items()))
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, (set, frozenset)):
        return same(sorted(map(repr, one)), sorted(map(repr, other)))
    return bool(one == other) and repr(one) == repr(other)


class TestValues:
    @pytest.mark.parametrize("key", [*PLAIN, *KINDS])
    def test_a_value_comes_back_as_it_was(self, keeper: Keeper, key: str) -> None:
        """Equal, of the same types, in the same order."""
        value = {**PLAIN, **KINDS}[key]
        keeper.save(record(value=value))
        assert same(keeper.load().state["value"], value)

    def test_not_a_number_comes_back(self, keeper: Keeper) -> None:
        """nan equals nothing, and is still nan."""
        keeper.save(record(value=math.nan))
        assert math.isnan(keeper.load().state["value"])

    def test_the_second_of_two_equal_hours_comes_back(self, keeper: Keeper) -> None:
        """The fold of a datetime is not in its ISO text, and is kept."""
        keeper.save(record(value=datetime(2024, 10, 27, 2, 30, fold=1)))
        assert keeper.load().state["value"].fold == 1

    def test_the_text_is_plain_json(self) -> None:
        """Other tools can read it: ASCII, no NaN, and a name for what is not JSON."""
        text = text_of({"a": [1, "ü"], "b": (math.inf,)})
        assert text.isascii()
        assert json.loads(text) == {
            "a": [1, "ü"],
            "b": {"$kind": "tuple", "value": [{"$kind": "float", "value": "inf"}]},
        }

    def test_equal_sets_are_equal_text(self) -> None:
        """Whatever order the members have in memory."""
        assert text_of({"s": {8, 0}}) == text_of({"s": {0, 8}})

    @pytest.mark.parametrize(
        ("state", "where"),
        [
            ({"a": {"b": [0, object()]}}, "state['a']['b'][1] is a builtins.object"),
            ({"f": len}, "state['f'] is a builtins.builtin_function_or_method"),
            ({"o": OrderedDict()}, "state['o'] is a collections.OrderedDict"),
            ({"p": (Point(1, 2),)}, "state['p'][0] is a "),
            ({"c": Color.RED}, "state['c'] is a "),
            ({"e": [ValueError("x")]}, "state['e'][0] is a builtins.ValueError"),
            ({3: {"x": 1j}}, "state[3]['x'] is a builtins.complex"),
            ({"k": {Point(1, 2): 0}}, "state['k'][Point(x=1, y=2)] is a "),
            ({"s": {1j}}, "state['s'][1j] is a builtins.complex"),
            ({"t": datetime(2024, 1, 1, tzinfo=Elsewhere())}, "state['t'] is a datetime with a "),
            ({"i": 2**4096}, "state['i'] is an integer of 4097 bits"),
        ],
    )
    def test_anything_else_is_refused_by_the_path_of_its_key(
        self, keeper: Keeper, state: dict[Any, Any], where: str
    ) -> None:
        """Nothing is saved, and the text says what to do."""
        with pytest.raises(CheckpointError) as caught:
            keeper.save(Checkpoint("run", 0, "node", "after", "hash", state))
        assert str(caught.value).startswith(where)
        assert "keep " in str(caught.value)

    def test_the_refusal_does_not_show_the_value(self, keeper: Keeper) -> None:
        """It may be a secret."""

        class Token:
            def __repr__(self) -> str:
                return "hunter2"

        with pytest.raises(CheckpointError) as caught:
            keeper.save(record(token=Token()))
        assert "hunter2" not in str(caught.value)

    def test_a_value_that_contains_itself_is_refused(self, keeper: Keeper) -> None:
        """A hundred levels are enough; the path in the text is short."""
        loop: list[Any] = []
        loop.append(loop)
        with pytest.raises(CheckpointError, match="nested deeper than 100 levels") as caught:
            keeper.save(record(loop=loop))
        assert len(str(caught.value)) < 400

    @pytest.mark.parametrize(("depth", "fits"), [(99, True), (100, True), (101, False)])
    def test_the_limit_of_depth(self, keeper: Keeper, depth: int, fits: bool) -> None:
        """`depth` counts the levels of a value below the state."""
        value: Any = 1
        for _ in range(depth - 1):
            value = [value]
        if fits:
            keeper.save(record(deep=value))
            assert keeper.load().state["deep"] == value
        else:
            with pytest.raises(CheckpointError, match="nested deeper"):
                keeper.save(record(deep=value))

    @pytest.mark.parametrize(("characters", "fits"), [(999, True), (1000, True), (1001, False)])
    def test_the_limit_of_size(self, monkeypatch: pytest.MonkeyPatch, characters: int, fits: bool) -> None:
        """Counted on the JSON text."""
        monkeypatch.setattr(records_module, "MAX_STATE_BYTES", 1000)
        state = {"s": "x" * (characters - len('{"s":""}'))}
        if fits:
            rows_of(record(**state))
        else:
            with pytest.raises(CheckpointError, match="1001 bytes as JSON, at most 1000"):
                rows_of(record(**state))


class TestRecords:
    def test_a_record_comes_back_whole(self, keeper: Keeper) -> None:
        """With the id that save returned and the time of saving."""
        saved = Checkpoint("run-1", 7, "step seven", "before", "abc", {"x": 1})
        before = datetime.now(timezone.utc)
        checkpoint_id = keeper.save(saved)
        loaded = keeper.load(checkpoint_id)
        assert (loaded.run_id, loaded.step, loaded.node, loaded.when) == ("run-1", 7, "step seven", "before")
        assert (loaded.workflow_hash, loaded.state, loaded.checkpoint_id) == ("abc", {"x": 1}, checkpoint_id)
        assert loaded.created_at is not None
        assert before <= loaded.created_at <= datetime.now(timezone.utc)

    def test_load_gives_the_newest(self, keeper: Keeper) -> None:
        """The one saved last, whichever step it is of."""
        for step in (1, 3, 2):
            keeper.save(record(step))
        assert keeper.load().step == 2

    def test_list_is_in_the_order_of_saving(self, keeper: Keeper) -> None:
        """Of one run, or of all."""
        for step, run_id in enumerate(("a", "b", "a")):
            keeper.save(record(step, run_id))
        assert [one.step for one in keeper.list("a")] == [0, 2]
        assert [one.step for one in keeper.list()] == [0, 1, 2]
        assert keeper.list("c") == ()

    def test_ids_are_never_the_same(self, keeper: Keeper) -> None:
        """The same record saved twice is two checkpoints."""
        assert keeper.save(record()) != keeper.save(record())
        assert len(keeper.list()) == 2

    def test_an_unknown_id_is_an_error(self, keeper: Keeper) -> None:
        """Quoted and cut, whatever it holds."""
        keeper.save(record())
        with pytest.raises(CheckpointError, match="no checkpoint 'zz"):
            keeper.load("zz\x1b" + "x" * 1000)

    def test_a_moment_is_before_or_after(self, keeper: Keeper) -> None:
        """Nothing else."""
        with pytest.raises(CheckpointError, match="'during'"):
            keeper.save(Checkpoint("run", 0, "node", "during", "hash", {}))

    def test_what_was_saved_does_not_change_with_the_state(self, keeper: Keeper) -> None:
        """A checkpoint is of its moment."""
        items = [1]
        keeper.save(record(items=items))
        items.append(2)
        keeper.load().state["items"].append(3)
        assert keeper.load().state["items"] == [1]

    def test_nothing_saved_is_an_error_at_load(self) -> None:
        """Empty memory holds no newest one."""
        with pytest.raises(CheckpointError, match="no checkpoint yet"):
            MemoryCheckpointer().load()


class TestFile:
    def test_the_file_is_private_whatever_the_umask(self, path: Path) -> None:
        """0600, and nothing else is left beside it."""
        old = os.umask(0)
        try:
            SqliteCheckpointer(path).save(record())
        finally:
            os.umask(old)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert os.listdir(path.parent) == [path.name]

    def test_the_file_keeps_a_write_ahead_log(self, path: Path) -> None:
        """Readers do not stop a run that saves; the mode is in the header."""
        SqliteCheckpointer(path).save(record())
        assert path.read_bytes()[18:20] == b"\x02\x02"

    def test_making_a_checkpointer_touches_nothing(self, path: Path) -> None:
        """The file appears at the first save; reading does not make one."""
        checkpointer = SqliteCheckpointer(path)
        with pytest.raises(CheckpointError, match="there is no checkpoint file"):
            checkpointer.load()
        with pytest.raises(CheckpointError, match="there is no checkpoint file"):
            checkpointer.list()
        assert not path.exists()

    def test_another_process_reads_what_this_one_wrote(self, path: Path) -> None:
        """The file is all that is needed."""
        checkpoint_id = SqliteCheckpointer(path).save(record(x=[1, (2,)]))
        program = (
            "import sys; from teastreams.checkpoint import SqliteCheckpointer as S\n"
            "print(S(sys.argv[1]).load(sys.argv[2]).state)"
        )
        command = [sys.executable, "-c", program, str(path), checkpoint_id]
        done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=True)
        assert done.stdout == "{'x': [1, (2,)]}\n"

    def test_a_kill_right_after_save_loses_nothing(self, path: Path) -> None:
        """What save returned for is in the file."""
        program = (
            "import os, signal, sys; from teastreams.checkpoint import Checkpoint as C, SqliteCheckpointer as S\n"
            "S(sys.argv[1]).save(C('run', 1, 'n', 'after', 'h', {'x': 1})); os.kill(os.getpid(), signal.SIGKILL)"
        )
        done = subprocess.run([sys.executable, "-c", program, str(path)], timeout=50, check=False)
        assert done.returncode == -signal.SIGKILL
        assert SqliteCheckpointer(path).load().state == {"x": 1}

    def test_several_processes_may_save_at_once(self, path: Path) -> None:
        """Into a file that none of them finds: every record arrives."""
        program = (
            "import sys; from teastreams.checkpoint import Checkpoint as C, SqliteCheckpointer as S\n"
            "sys.stdin.read()\n"
            "for step in range(10): S(sys.argv[1]).save(C(sys.argv[2], step, 'n', 'after', 'h', {}))"
        )
        writers = [
            subprocess.Popen([sys.executable, "-c", program, str(path), str(number)], stdin=subprocess.PIPE)
            for number in range(4)
        ]
        for writer in writers:
            writer.communicate(timeout=50)
        assert [writer.returncode for writer in writers] == [0] * 4
        for number in range(4):
            assert [one.step for one in SqliteCheckpointer(path).list(str(number))] == list(range(10))

    def test_no_descriptor_stays_open(self, path: Path) -> None:
        """After good calls and after refused ones."""
        before = sorted(os.listdir("/dev/fd"))
        checkpointer = SqliteCheckpointer(path)
        checkpointer.save(record())
        checkpointer.list()
        change(path, "UPDATE checkpoints SET node = 'x'")
        with pytest.raises(CheckpointError):
            checkpointer.load()
        assert sorted(os.listdir("/dev/fd")) == before

    def test_the_path_may_hold_any_character(self, tmp_path: Path) -> None:
        """Also those that mean something in an address."""
        path = tmp_path / "50% of ?mode=memory&x#y ü.db"
        SqliteCheckpointer(path).save(record(x=1))
        assert SqliteCheckpointer(path).load().state == {"x": 1}
        assert os.listdir(tmp_path) == [path.name]

    def test_a_later_change_of_directory_does_not_matter(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A relative path is meant from where the checkpointer was made."""
        monkeypatch.chdir(tmp_path)
        checkpointer = SqliteCheckpointer("here.db")
        monkeypatch.chdir("/")
        checkpointer.save(record())
        assert (tmp_path / "here.db").exists()

    def test_a_folder_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        """With the reason of the system."""
        with pytest.raises(CheckpointError, match=r"no/x\.db cannot be made: No such file or directory"):
            SqliteCheckpointer(tmp_path / "no" / "x.db").save(record())

    def test_another_writer_that_does_not_end_is_an_error(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """After the waiting time, by name."""
        monkeypatch.setattr("teastreams.checkpoint.sqlite.BUSY_SECONDS", 0.01)
        SqliteCheckpointer(path).save(record())
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(CheckpointError, match="cannot be used: database is locked"):
                SqliteCheckpointer(path).save(record())
        SqliteCheckpointer(path).save(record())
        assert len(SqliteCheckpointer(path).list()) == 2


def symlink_to_a_good_one(path: Path) -> None:
    SqliteCheckpointer(path.with_name("good.db")).save(record())
    path.symlink_to("good.db")


def symlink_into_the_void(path: Path) -> None:
    path.symlink_to("victim")


def fifo(path: Path) -> None:
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.mkdir()


def writable_by_the_group(path: Path) -> None:
    SqliteCheckpointer(path).save(record())
    path.chmod(0o660)


def second_name(path: Path) -> None:
    SqliteCheckpointer(path).save(record())
    os.link(path, path.with_name("other"))


def folder_of_everybody(path: Path) -> None:
    SqliteCheckpointer(path).save(record())
    path.parent.chmod(0o777)


def planted_log(path: Path) -> None:
    SqliteCheckpointer(path).save(record())
    Path(f"{path}-wal").symlink_to("victim")


def no_database(path: Path) -> None:
    path.write_bytes(b"not a database " * 1000)
    path.chmod(0o600)


def a_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps(SimpleNamespace(x=1)))
    path.chmod(0o600)


def another_database(path: Path) -> None:
    change(path, "CREATE TABLE accounts (x)")
    path.chmod(0o600)


def a_trigger(path: Path) -> None:
    SqliteCheckpointer(path).save(record())
    change(path, "CREATE TRIGGER t AFTER INSERT ON checkpoints BEGIN DELETE FROM checkpoints; END")


def a_view_instead(path: Path) -> None:
    change(path, "CREATE VIEW checkpoints AS SELECT 1")
    path.chmod(0o600)


def cut_in_half(path: Path) -> None:
    SqliteCheckpointer(path).save(record(x="x" * 20000))
    os.truncate(path, path.stat().st_size // 2)


def a_schema_that_is_no_text(path: Path) -> None:
    SqliteCheckpointer(path).save(record())
    change(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    data = path.read_bytes()
    path.write_bytes(data.replace(b"CREATE TABLE checkpoints", b"CRE\xa4TE TABLE checkpoints"))


HOSTILE = [
    (a_schema_that_is_no_text, "cannot be used"),
    (symlink_to_a_good_one, "symbolic link"),
    (symlink_into_the_void, "symbolic link"),
    (fifo, "not a regular file"),
    (folder, "not a regular file"),
    (writable_by_the_group, "others may write to it"),
    (second_name, "2 names"),
    (folder_of_everybody, "no sticky bit"),
    (planted_log, "-wal is not safe to use: it is a symbolic link"),
    (no_database, "not a database"),
    (a_pickle, "not a database"),
    (another_database, "not a checkpoint file"),
    (a_trigger, "not a checkpoint file"),
    (a_view_instead, "not a checkpoint file"),
    (cut_in_half, "malformed"),
]


class TestHostileFiles:
    @pytest.mark.parametrize(("prepare", "reason"), HOSTILE, ids=lambda value: getattr(value, "__name__", ""))
    def test_a_file_that_cannot_be_trusted_is_refused(
        self, path: Path, prepare: Callable[[Path], None], reason: str
    ) -> None:
        """For reading and for writing, by name, without following, changing or making anything."""
        prepare(path)
        before = {one.name: one.read_bytes() for one in path.parent.iterdir() if one.is_file()}
        checkpointer = SqliteCheckpointer(path)
        for call in (checkpointer.load, checkpointer.list, lambda: checkpointer.save(record())):
            with pytest.raises(CheckpointError, match=reason) as caught:
                call()
            assert str(path) in str(caught.value)
        assert {one.name: one.read_bytes() for one in path.parent.iterdir() if one.is_file()} == before

    @pytest.mark.parametrize(("owner", "reason"), [(1000, ""), (0, ""), (1001, "it belongs to user 1001")])
    def test_a_file_of_another_user_is_refused(self, owner: int, reason: str) -> None:
        """Ours and root's are trusted."""
        found: Any = SimpleNamespace(st_mode=stat.S_IFREG | 0o600, st_uid=owner, st_nlink=1)
        private: Any = SimpleNamespace(st_mode=stat.S_IFDIR | 0o755)
        assert distrust(found, private, 1000) == reason

    def test_a_sticky_folder_is_good_enough(self) -> None:
        """As /tmp is."""
        found: Any = SimpleNamespace(st_mode=stat.S_IFREG | 0o600, st_uid=1000, st_nlink=1)
        shared: Any = SimpleNamespace(st_mode=stat.S_IFDIR | 0o1777)
        assert distrust(found, shared, 1000) == ""

    def test_an_empty_file_of_ours_is_an_empty_store(self, path: Path) -> None:
        """A crash between making the file and filling it leaves one."""
        path.touch(0o600)
        with pytest.raises(CheckpointError, match="no checkpoint yet"):
            SqliteCheckpointer(path).load()
        SqliteCheckpointer(path).save(record(x=1))
        assert SqliteCheckpointer(path).load().state == {"x": 1}


class TestHostileRows:
    @pytest.mark.parametrize("column", [name for name in COLUMNS if name not in ("sha256", "checkpoint_id")])
    def test_a_changed_column_is_noticed(self, path: Path, column: str) -> None:
        """Each column is under the checksum."""
        SqliteCheckpointer(path).save(record(x=1))
        change(path, f"UPDATE checkpoints SET {column} = 77")
        with pytest.raises(CheckpointError, match="damaged"):
            SqliteCheckpointer(path).load()
        with pytest.raises(CheckpointError, match="damaged"):
            SqliteCheckpointer(path).list()

    def test_a_damaged_row_does_not_hide_the_good_ones(self, path: Path) -> None:
        """An earlier checkpoint can still be loaded by its id."""
        checkpointer = SqliteCheckpointer(path)
        first = checkpointer.save(record(1))
        checkpointer.save(record(2))
        change(path, "UPDATE checkpoints SET state = '{}' || ' ' WHERE step = 2")
        assert checkpointer.load(first).step == 1

    @pytest.mark.parametrize(
        "state",
        [
            "",
            "{",
            "[]",
            "null",
            "[" * 100_000,
            '{"a": ' * 100_000,
            '{"x": ' + "9" * 5000 + "}",
            '{"$kind": "object", "value": "os.system"}',
            '{"$kind": ["tuple"], "value": []}',
            '{"$kind": "tuple"}',
            '{"x": {"$kind": "tuple", "value": 5}}',
            '{"x": {"$kind": "bytes", "value": "@@"}}',
            '{"x": {"$kind": "bytes", "value": "ü"}}',
            '{"x": {"$kind": "set", "value": [[]]}}',
            '{"x": {"$kind": "dict", "value": [[1]]}}',
            '{"x": {"$kind": "path", "value": 3}}',
            '{"x": {"$kind": "date", "value": "yesterday"}}',
            '{"x": {"$kind": "datetime", "value": ["2024-01-01", 7]}}',
            '{"x": {"$kind": "timedelta", "value": [1e300]}}',
            '{"x": {"$kind": "timedelta", "value": [9999999999]}}',
            '{"$kind": "tuple", "value": []}',
        ],
    )
    def test_a_state_of_foreign_making_is_an_error(self, path: Path, state: str) -> None:
        """Its checksum fits; it is still no more than an error that names the checkpoint's fault."""
        plant(path, state=state)
        with pytest.raises(CheckpointError, match="state of a checkpoint"):
            SqliteCheckpointer(path).load()

    def test_an_unreadable_time_is_an_error(self, path: Path) -> None:
        """As is every other field that does not hold what it should."""
        plant(path, created_at="soon")
        with pytest.raises(CheckpointError, match="no readable time"):
            SqliteCheckpointer(path).load()

    def test_another_format_is_refused_by_number(self, path: Path) -> None:
        """A newer version's file is not guessed at."""
        plant(path, format=3)
        with pytest.raises(CheckpointError, match="has format 3, and this version reads format 2"):
            SqliteCheckpointer(path).load()

    def test_a_state_over_the_limit_is_not_loaded(self, path: Path) -> None:
        """The limit holds for reading, too."""
        limit = "teastreams.checkpoint.sqlite._SELECT"
        from teastreams.checkpoint import sqlite as module

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(limit, module._SELECT.replace(str(records_module.MAX_STATE_BYTES), "10"))
            SqliteCheckpointer(path).save(record(x="long enough"))
            with pytest.raises(CheckpointError, match="damaged"):
                SqliteCheckpointer(path).load()

    def test_reading_builds_nothing_by_name(self) -> None:
        """The kinds are a closed list; text that looks like a call is text."""
        state = {"x": "__import__('os').system('true')", "y": ["!!python/object/apply:os.getcwd []"]}
        assert state_of(text_of(state)) == state


class TestParts:
    def test_a_large_value_that_does_not_change_is_written_once(self, path: Path) -> None:
        """Of ten checkpoints with one value of a megabyte: the file does not hold ten of it."""
        checkpointer = SqliteCheckpointer(path)
        for step in range(10):
            checkpointer.save(record(step, state={"large": "x" * 1_000_000, "step": step}))
        assert path.stat().st_size < 1_500_000
        assert [one.state["state"] for one in checkpointer.list()] == [
            {"large": "x" * 1_000_000, "step": step} for step in range(10)
        ]

    def test_a_value_of_every_size_comes_back(self, keeper: Keeper) -> None:
        """Around the length from which a value is kept apart, at both levels and below them."""
        for size in (4093, 4094, 4095, 10_000):
            state = {"a": "x" * size, "state": {"b": ["x" * size], "c": {"d": "x" * size}, "e": ("x" * size,)}}
            keeper.save(Checkpoint("run", 0, "node", "after", "hash", state))
            assert same(keeper.load().state, state)

    @pytest.mark.parametrize(
        ("damage", "reason"),
        [
            ("UPDATE parts SET text = replace(text, 'x', 'y')", "a part of a checkpoint in .* is damaged"),
            ("DELETE FROM parts", "its part .* is not there"),
        ],
    )
    def test_a_damaged_part_is_noticed(self, path: Path, damage: str, reason: str) -> None:
        """The name of a part is the checksum of its text."""
        SqliteCheckpointer(path).save(record(state={"large": "x" * 10_000}))
        change(path, damage)
        with pytest.raises(CheckpointError, match=reason):
            SqliteCheckpointer(path).load()

    def test_a_history_reads_no_state(self, path: Path) -> None:
        """So it is there also for states that are damaged or large; it says how large."""
        SqliteCheckpointer(path).save(record(state={"large": "x" * 10_000}))
        change(path, "DELETE FROM parts")
        (one,) = SqliteCheckpointer(path).history()
        assert (one.state, one.run_id, one.size_bytes > 10_000) == ({}, "run", True)


OLD_COLUMNS = (
    "format INTEGER NOT NULL, checkpoint_id TEXT NOT NULL, run_id TEXT NOT NULL, step INTEGER NOT NULL, "
    "node TEXT NOT NULL, moment TEXT NOT NULL, workflow_hash TEXT NOT NULL, created_at TEXT NOT NULL, "
    "state TEXT NOT NULL, sha256 TEXT NOT NULL"
)


def old_file(path: Path, **changes: Any) -> None:
    """A file as the version before wrote it, with one record."""
    old: dict[str, Any] = {"format": 1, "checkpoint_id": "0123456789ab", "run_id": "old", "step": 3, "node": "ask"}
    old.update(moment="before", workflow_hash="hash", created_at="2024-01-01T00:00:00+00:00", state='{"x":1}')
    digest = hashlib.sha256(json.dumps(tuple(old.values())).encode()).hexdigest()
    row = tuple({**old, "sha256": digest, **changes}.values())
    change(path, f"CREATE TABLE checkpoints (sequence INTEGER PRIMARY KEY AUTOINCREMENT, {OLD_COLUMNS})")
    change(path, f"INSERT INTO checkpoints VALUES (1, {', '.join('?' for _ in row)})", *row)
    path.chmod(0o600)


class TestFormatOne:
    def test_an_old_file_is_read_as_it_is(self, path: Path) -> None:
        """Its records were all written at pauses. Reading does not change the file's tables."""
        old_file(path)
        one = SqliteCheckpointer(path).load("0123456789ab")
        assert (one.run_id, one.step, one.node, one.when, one.state) == ("old", 3, "ask", "before", {"x": 1})
        assert (one.status, one.parent, one.size_bytes) == ("paused", "", len('{"x":1}'))
        with closing(sqlite3.connect(path)) as database:
            assert database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'parts'").fetchone() == (0,)

    def test_the_first_save_turns_it_into_a_new_one(self, path: Path) -> None:
        """In one transaction; the old records stay readable, and the file is like one that was made new."""
        old_file(path)
        SqliteCheckpointer(path).save(record(state={"large": "x" * 10_000}))
        assert [one.run_id for one in SqliteCheckpointer(path).list()] == ["old", "run"]
        SqliteCheckpointer(path.with_name("new.db")).save(record())
        tables = "SELECT sql FROM sqlite_master ORDER BY name"
        with closing(sqlite3.connect(path)) as one, closing(sqlite3.connect(path.with_name("new.db"))) as other:
            assert one.execute(tables).fetchall() == other.execute(tables).fetchall()

    @pytest.mark.parametrize("migrated", [False, True])
    def test_damage_in_an_old_record_is_noticed(self, path: Path, migrated: bool) -> None:
        """Before the file is made new and afterwards."""
        old_file(path, state='{"x":2}')
        if migrated:
            SqliteCheckpointer(path).save(record())
        with pytest.raises(CheckpointError, match="damaged"):
            SqliteCheckpointer(path).load("0123456789ab")

    def test_the_new_columns_of_an_old_record_cannot_lie(self, path: Path) -> None:
        """They are not under its checksum, so they must say what holds for every record of that format."""
        old_file(path)
        SqliteCheckpointer(path).save(record())
        change(path, "UPDATE checkpoints SET status = 'finished' WHERE run_id = 'old'")
        with pytest.raises(CheckpointError, match="damaged"):
            SqliteCheckpointer(path).load("0123456789ab")


def test_a_status_is_one_of_four(keeper: Keeper) -> None:
    """And comes back, with the parent."""
    for status in ("running", "paused", "finished", "failed"):
        keeper.save(replace(record(), status=status, parent="p"))
        assert (keeper.load().status, keeper.load().parent) == (status, "p")
    with pytest.raises(CheckpointError, match="running, paused, finished, failed, not 'done'"):
        keeper.save(replace(record(), status="done"))


class Celsius:
    def __init__(self, degrees: float) -> None:
        self.degrees = degrees


class Boiling(Celsius):
    """A subclass: no codec is for it."""


CELSIUS = Codec(Celsius, "celsius", lambda value: value.degrees, Celsius)


@pytest.fixture(params=["memory", "sqlite"])
def coded(request: pytest.FixtureRequest, path: Path) -> Callable[..., Keeper]:
    """Opens a checkpointer with codecs."""
    kind = MemoryCheckpointer if request.param == "memory" else partial(SqliteCheckpointer, path)
    return lambda *codecs: kind(codecs=codecs)


class TestCodecs:
    def test_a_value_of_a_declared_type_comes_back(self, coded: Callable[..., Keeper]) -> None:
        """Wherever it stands in the state."""
        keeper = coded(CELSIUS)
        keeper.save(record(water=[{"t": Celsius(99.5)}], large=[Celsius(n) for n in range(500)]))
        state = keeper.load().state
        assert type(state["water"][0]["t"]) is Celsius
        assert [state["water"][0]["t"].degrees, *(one.degrees for one in state["large"])] == [99.5, *range(500)]

    def test_a_subclass_is_refused_by_its_key(self, coded: Callable[..., Keeper]) -> None:
        """It would come back as its base."""
        with pytest.raises(CheckpointError, match=r"state\['t'\] is a .*Boiling .* give the checkpointer a Codec"):
            coded(CELSIUS).save(record(t=Boiling(100)))

    def test_what_encode_gives_must_be_kept_values(self, coded: Callable[..., Keeper]) -> None:
        """Else the error names the key and what was given; as when it raises, or never ends."""
        for encode, reason in (
            (lambda value: object(), r"state\['t'\]\['celsius'\] is a builtins.object"),
            (lambda value: value.fahrenheit, r"state\['t'\] could not be kept: the codec 'celsius' raised Attribute"),
            (lambda value: [value], "nested deeper than 100 levels"),
        ):
            with pytest.raises(CheckpointError, match=reason):
                coded(Codec(Celsius, "celsius", encode, Celsius)).save(record(t=Celsius(1)))

    def test_two_of_a_name_or_a_type_and_one_for_a_kept_type_are_refused(self, coded: Callable[..., Keeper]) -> None:
        """When the checkpointer is made."""
        for codecs in ((CELSIUS, replace(CELSIUS, name="c")), (CELSIUS, replace(CELSIUS, type=Boiling))):
            with pytest.raises(ValueError, match="has the name or the type of another one"):
                coded(*codecs)
        for kind in (dict, str, bool, Path().__class__):
            with pytest.raises(ValueError, match="which is kept as it is"):
                coded(replace(CELSIUS, type=kind))

    @pytest.mark.parametrize(
        ("codecs", "reason"),
        [
            ([], "was written with the codec 'celsius'; give the checkpointer a Codec of that name"),
            ([replace(CELSIUS, decode=lambda value: value[0])], "the codec 'celsius' raised TypeError"),
        ],
    )
    def test_a_codec_that_is_missing_or_broken_at_reading_is_named(
        self, path: Path, codecs: list[Codec], reason: str
    ) -> None:
        """And the history, which reads no state, is there all the same."""
        SqliteCheckpointer(path, codecs=[CELSIUS]).save(record(t=Celsius(1.0)))
        reader = SqliteCheckpointer(path, codecs=codecs)
        with pytest.raises(CheckpointError, match=reason):
            reader.load()
        assert len(reader.history()) == 1
