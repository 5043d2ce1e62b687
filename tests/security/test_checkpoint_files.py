"""A file of checkpoints that somebody prepared: gigantic, with a pickle in it, with journals beside it."""

from __future__ import annotations

import base64
import json
import os
import pickle
import sqlite3
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Union

import harness
import pytest

from teastreams.checkpoint import Checkpoint, CheckpointError, SqliteCheckpointer
from teastreams.checkpoint.parts import digest_of
from teastreams.checkpoint.records import COLUMNS, FORMAT, MAX_NAME_CHARACTERS, rows_of
from teastreams.services.memory import Memory, MemoryFileError

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files to another user")
RECORD = Checkpoint("run", 1, "a", "after", "hash", {"x": 1})


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> Any:
        return Path.touch, (self.proof,)


def uses(path: Path) -> dict[str, Callable[[], Any]]:
    keeper = SqliteCheckpointer(path)
    return {"load": keeper.load, "list": keeper.list, "history": keeper.history, "save": lambda: keeper.save(RECORD)}


def forge(path: Path, column: str, value: Union[str, bytes]) -> None:
    """Put a value there, under a checksum that fits: whoever may write the file can make one."""
    SqliteCheckpointer(path).save(RECORD)
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"UPDATE checkpoints SET {column} = ?", (value,))
        if isinstance(value, str):
            row = database.execute(f"SELECT {', '.join(COLUMNS)} FROM checkpoints").fetchone()
            database.execute("UPDATE checkpoints SET sha256 = ?", (digest_of(json.dumps(row[:-1])),))
        database.commit()


@pytest.mark.parametrize("column", ["state", "run_id", "node", "parent"])
@pytest.mark.parametrize("form", ["bytes", "text", "base64", "an object of JSON"])
def test_a_pickle_in_it_is_never_loaded(column: str, form: str, tmp_path: Path) -> None:
    """Whatever column it stands in and however it is written; a state of it is an error, or the values of JSON."""
    path, proof = tmp_path / "run.db", tmp_path / "proof"
    data = pickle.dumps(Touch(proof))
    forms: dict[str, Union[str, bytes]] = {
        "bytes": data,
        "text": data.decode("latin-1").replace("\0", ""),
        "base64": base64.b64encode(data).decode(),
        "an object of JSON": '{"py/reduce": [{"py/type": "os.system"}, {"py/tuple": ["touch proof"]}], "$": "pickle"}',
    }
    forge(path, column, forms[form])
    for name, use in uses(path).items():
        is_state = column == "state" and form != "an object of JSON" and name in ("load", "list")
        if (form == "bytes" and name != "save") or is_state:
            with pytest.raises(CheckpointError):
                use()
        else:
            use()
    assert not proof.exists()
    pickle.loads(data)  # it would have
    assert proof.exists()


@as_root
def test_a_pickle_in_the_place_of_a_database_of_another_user_is_not_even_read(tmp_path: Path) -> None:
    path, proof = tmp_path / "run.db", tmp_path / "proof"
    path.write_bytes(pickle.dumps(Touch(proof)))
    path.chmod(0o600)
    os.chown(path, NOBODY, NOBODY)
    for use in uses(path).values():
        with pytest.raises(CheckpointError, match="belongs to user 65534"):
            use()
    os.chown(path, 0, 0)
    for use in uses(path).values():
        with pytest.raises(CheckpointError, match="file is not a database"):
            use()
    assert not proof.exists()


@pytest.mark.parametrize("column", ["run_id", "node", "workflow_hash", "parent"])
@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_a_name_has_a_limit(column: str, beyond: int, tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    forge(path, column, "x" * (MAX_NAME_CHARACTERS + beyond))
    if beyond > 0:
        with pytest.raises(CheckpointError, match="damaged, its checksum does not fit; resume from another"):
            SqliteCheckpointer(path).history()
    else:
        assert len(SqliteCheckpointer(path).history()) == 1


def test_a_name_beyond_the_limit_is_not_written() -> None:
    """Or it could never be read again."""
    with pytest.raises(CheckpointError, match=f"at most {MAX_NAME_CHARACTERS}; give a shorter one"):
        rows_of(replace(RECORD, run_id="x" * (MAX_NAME_CHARACTERS + 1)))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps to a limit of memory")
def test_what_is_gigantic_is_refused_without_being_loaded(tmp_path: Path) -> None:
    """128 MiB in a column of numbers, where SQLite keeps whatever it was given; there is room for half of it."""
    path = tmp_path / "run.db"
    SqliteCheckpointer(path).save(RECORD)
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = OFF")
        database.execute(f"UPDATE checkpoints SET step = zeroblob({128 << 20})")
        database.commit()
    ended = harness.run(
        """
        import resource
        keeper, errors = ts.SqliteCheckpointer(sys.argv[1]), []
        try:
            ts.SqliteCheckpointer("/gone/run.db").history()  # everything is imported then
        except ts.CheckpointError:
            pass
        taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + (64 << 20), resource.RLIM_INFINITY))
        for use in (keeper.load, keeper.history):
            try:
                use()
            except ts.CheckpointError as error:
                errors.append(str(error))
        tell(errors=errors)
        """,
        arguments=(str(path),),
    )
    path.unlink()
    assert len(ended.told["errors"]) == 2
    assert all(error.endswith("its checksum does not fit; resume from another") for error in ended.told["errors"])


@pytest.mark.parametrize("companion", ["-wal", "-shm", "-journal"])
@pytest.mark.parametrize("kind", ["a link", "a second name", "a FIFO", "a folder", "another user's"])
def test_a_companion_that_somebody_prepared_is_refused(companion: str, kind: str, tmp_path: Path) -> None:
    """SQLite would play a journal back into the database, and write its log through a link."""
    path, victim = tmp_path / "run.db", tmp_path / "victim"
    victim.write_bytes(b"precious")
    victim.chmod(0o600)
    SqliteCheckpointer(path).save(RECORD)
    planted = Path(f"{path}{companion}")
    if kind == "a link":
        planted.symlink_to(victim)
    elif kind == "a second name":
        os.link(victim, planted)
    elif kind == "a FIFO":
        os.mkfifo(planted, 0o600)
    elif kind == "a folder":
        planted.mkdir()
    else:
        if os.geteuid() != 0:
            pytest.skip("needs root, to give files to another user")
        planted.write_bytes(b"")
        os.chown(planted, NOBODY, NOBODY)
    for use in uses(path).values():
        with pytest.raises(CheckpointError, match=f"{companion} is not safe to use: it .*; name another file"):
            use()
    assert victim.read_bytes() == b"precious"


@as_root
def test_a_folder_behind_a_link_that_another_user_planted_is_not_used(tmp_path: Path) -> None:
    """He may have put there a folder of his own, in which he can exchange what he likes; nothing is made in it."""
    shared, theirs = tmp_path / "shared", tmp_path / "theirs"
    for folder, mode in ((shared, 0o1777), (theirs, 0o755)):
        folder.mkdir()
        folder.chmod(mode)
    (shared / "project").symlink_to(theirs)
    os.chown(shared / "project", NOBODY, NOBODY, follow_symlinks=False)
    path = shared / "project" / "run.db"
    for use in uses(path).values():
        with pytest.raises(CheckpointError, match=r"is a link that another user has put into .*; name another file"):
            use()
    with pytest.raises(MemoryFileError, match="is a link that another user has put"):
        Memory(path).store("k", 1)
    assert list(theirs.iterdir()) == []


def test_a_link_that_comes_between_our_look_and_the_opening_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder that others may write. SQLite follows it: what is no file of ours stays as it is."""
    path, victim = tmp_path / "run.db", tmp_path / "victim.db"
    SqliteCheckpointer(path).save(RECORD)
    with closing(sqlite3.connect(victim)) as database:
        database.execute("CREATE TABLE precious (x)")
    before = victim.read_bytes()
    real = sqlite3.connect

    def exchanged(*arguments: Any, **named: Any) -> Any:
        path.unlink()
        path.symlink_to(victim)
        return real(*arguments, **named)

    monkeypatch.setattr(sqlite3, "connect", exchanged)
    with pytest.raises(CheckpointError, match=f"not a checkpoint file of format {FORMAT}; name another file"):
        SqliteCheckpointer(path).save(RECORD)
    assert victim.read_bytes() == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["run.db", "victim.db"]


def test_a_file_that_vanishes_between_our_look_and_the_opening_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite would make it with the rights that the umask leaves."""
    path, real = tmp_path / "run.db", sqlite3.connect

    def exchanged(*arguments: Any, **named: Any) -> Any:
        path.unlink()
        return real(*arguments, **named)

    monkeypatch.setattr(sqlite3, "connect", exchanged)
    with pytest.raises(CheckpointError, match="unable to open database file"):
        SqliteCheckpointer(path).save(RECORD)
    assert list(tmp_path.iterdir()) == []
