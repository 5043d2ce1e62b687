"""`TeeOrchestrator` up to the fork: what is made, what is refused, what is removed.

Nothing here forks. What flows through the FIFOs once a broadcast is started stands in
tests/scenarios/test_orchestrator_live.py.
"""

from __future__ import annotations

import errno
import fcntl
import gc
import os
import stat
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

import teastreams as ts
from teastreams.runtime import calls
from teastreams.runtime.fds import ledger

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scenarios"))

import harness


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The temporary directory is the test's own and empty afterwards, and no descriptor of ours is open."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    before = set(ledger.open)
    yield
    assert list(temporary.iterdir()) == []
    assert set(ledger.open) == before


@pytest.fixture
def tee() -> Iterator[ts.TeeOrchestrator]:
    with ts.TeeOrchestrator() as orchestrator:
        yield orchestrator


def fault(monkeypatch: pytest.MonkeyPatch, **entries: Callable[..., Any]) -> None:
    monkeypatch.setattr(calls, "table", replace(calls.table, **entries))


def mode(path: Path) -> str:
    return stat.filemode(path.stat().st_mode)


# -- creating ---------------------------------------------------------------------------------------------------------


@pytest.mark.scenario("001.3-UNIT-001")
def test_the_endpoints_are_fifos_for_our_user_alone(tee: ts.TeeOrchestrator) -> None:
    """Each is a FIFO of mode 0600, in a directory of mode 0700."""
    endpoints = tee.create_broadcast("lines", ["a", "b"])

    assert [mode(endpoint) for endpoint in endpoints] == ["prw-------", "prw-------"]
    assert mode(tee.directory) == "drwx------"
    assert {endpoint.parent for endpoint in endpoints} == {tee.directory}
    assert all(endpoint.is_absolute() for endpoint in endpoints)


@pytest.mark.scenario("001.3-UNIT-001")
def test_a_generous_umask_opens_nothing(tmp_path: Path) -> None:
    """The modes hold under umask 0, and the umask is the caller's own again."""
    old = os.umask(0)
    try:
        with ts.TeeOrchestrator() as tee:
            endpoints = tee.create_broadcast("lines", 2)
            modes = [mode(path) for path in (tee.directory, *endpoints)]
    finally:
        after = os.umask(old)

    assert modes == ["drwx------", "prw-------", "prw-------"]
    assert after == 0


@pytest.mark.scenario("001.3-UNIT-004")
@pytest.mark.parametrize("consumers", [2, 3, 64, ["a", "b"], ("x", "y", "z")])
def test_creating_returns_one_endpoint_per_consumer(tee: ts.TeeOrchestrator, consumers: Any) -> None:
    """As many different paths as there are consumers."""
    endpoints = tee.create_broadcast("lines", consumers)

    assert len(set(endpoints)) == (consumers if isinstance(consumers, int) else len(consumers))
    assert sorted(tee.directory.iterdir()) == sorted(endpoints)


@pytest.mark.scenario("QA-001.3-UNIT-004")
def test_the_name_of_a_fifo_contains_that_of_its_broadcast_and_consumer(tee: ts.TeeOrchestrator) -> None:
    """So that whoever looks at the directory knows what is what."""
    endpoints = tee.create_broadcast("data_stream", ["logger", "counter"])

    assert all("data_stream" in endpoint.name for endpoint in endpoints)
    assert "logger" in endpoints[0].name
    assert "counter" in endpoints[1].name


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/absolute", "..", ".", "a/b", "a\0b", "line\nbreak", "ü" * 300, "x" * 300]
)
def test_no_name_leads_out_of_the_directory(tee: ts.TeeOrchestrator, name: str) -> None:
    """Whatever the names are, the FIFOs stand in the private directory and nowhere else."""
    endpoints = tee.create_broadcast(name, [name, "other"])

    assert sorted(tee.directory.iterdir()) == sorted(endpoints)
    assert all(stat.S_ISFIFO(endpoint.lstat().st_mode) for endpoint in endpoints)


@pytest.mark.scenario("001.3-UNIT-002")
def test_endpoints_of_different_broadcasts_never_collide(tee: ts.TeeOrchestrator) -> None:
    """Neither equal consumers nor names that look alike on disk make two endpoints one."""
    names = ["a/b", "a:b", "a_b", "a.b", "x" * 200, "x" * 201]
    endpoints = [endpoint for name in names for endpoint in tee.create_broadcast(name, ["c/d", "c_d"])]

    assert len(set(endpoints)) == 2 * len(names)
    assert len(list(tee.directory.iterdir())) == 2 * len(names)


@pytest.mark.scenario("001.3-UNIT-002")
def test_two_orchestrators_never_collide() -> None:
    """Each has a directory of its own, even in the same work_dir."""
    with ts.TeeOrchestrator() as one, ts.TeeOrchestrator() as other:
        assert set(one.create_broadcast("lines", 2)).isdisjoint(other.create_broadcast("lines", 2))


@pytest.mark.scenario("001.3-UNIT-003")
def test_a_creation_that_fails_half_way_is_rolled_back(
    tee: ts.TeeOrchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third FIFO is refused: the first two are gone, the name is free, and other broadcasts stay."""
    kept, made = tee.create_broadcast("kept", 2), []
    real = calls.table.mkfifo

    def third_fails(*arguments: Any) -> None:
        if len(made) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        made.append(arguments)
        real(*arguments)

    fault(monkeypatch, mkfifo=third_fails)
    with pytest.raises(OSError, match="No space"):
        tee.create_broadcast("lines", 4)

    assert len(made) == 2
    assert sorted(tee.directory.iterdir()) == sorted(kept)
    fault(monkeypatch, mkfifo=real)
    assert len(tee.create_broadcast("lines", 4)) == 4


@pytest.mark.scenario("001.3-UNIT-007")
def test_more_consumers_than_the_maximum_are_refused(tee: ts.TeeOrchestrator) -> None:
    """256 are the most unless told otherwise; the error says what to do, and nothing is made."""
    with pytest.raises(ValueError, match="257 consumers, and at most 256") as refusal:
        tee.create_broadcast("lines", 257)

    assert isinstance(refusal.value, ts.WorkflowError)
    assert "max_consumers" in refusal.value.problems[0].fix
    assert list(tee.directory.iterdir()) == []
    assert len(tee.create_broadcast("lines", 64)) == 64


@pytest.mark.scenario("001.3-UNIT-007")
def test_the_maximum_can_be_set() -> None:
    """At the maximum it works, one above it is refused."""
    with ts.TeeOrchestrator(max_consumers=3) as tee:
        assert len(tee.create_broadcast("three", 3)) == 3
        with pytest.raises(ts.WorkflowError, match="at most 3"):
            tee.create_broadcast("four", ["a", "b", "c", "d"])


@pytest.mark.scenario("001.3-UNIT-007")
def test_more_consumers_than_this_process_may_open_files_are_refused(
    tee: ts.TeeOrchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit of descriptors is looked at before the first byte, and both numbers are in the error."""
    fault(monkeypatch, getrlimit=lambda _which: (96, 4096))

    assert len(tee.create_broadcast("forty", 40)) == 40
    with pytest.raises(ts.LimitError, match="ulimit -n") as refusal:
        tee.create_broadcast("forty-one", 41)

    assert (refusal.value.need, refusal.value.have) == (65, 64)
    assert len(list(tee.directory.iterdir())) == 40


@pytest.mark.scenario("001.3-UNIT-008")
@pytest.mark.parametrize("consumers", [0, 1, -1, True, [], ["alone"]])
def test_fewer_than_two_consumers_are_refused(tee: ts.TeeOrchestrator, consumers: Any) -> None:
    """A single reader needs no broadcast: it is told to read the source itself."""
    with pytest.raises(ValueError, match="needs two or more consumers") as refusal:
        tee.create_broadcast("lines", consumers)

    assert isinstance(refusal.value, ts.WorkflowError)
    assert "read the source itself" in refusal.value.problems[0].fix
    assert list(tee.directory.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "consumers", "message"),
    [
        ("", 2, "the name '' is empty"),
        ("taken", 2, "the name 'taken' is taken"),
        ("lines", ["a", "a"], "the consumers of 'lines' are 'a', 'a'"),
        ("lines", ["a", ""], "the consumers of 'lines' are 'a', ''"),
        ("lines", "ab", "the consumers of 'lines' are one text"),
    ],
)
def test_names_that_name_nothing_are_refused(tee: ts.TeeOrchestrator, name: str, consumers: Any, message: str) -> None:
    """Empty, taken and doubled names; a text where a list of names is due."""
    taken = tee.create_broadcast("taken", 2)

    with pytest.raises(ts.WorkflowError, match=message) as refusal:
        tee.create_broadcast(name, consumers)

    assert all(problem.fix for problem in refusal.value.problems)
    assert tee.endpoints("taken") == taken


def test_all_mistakes_are_told_at_once(tee: ts.TeeOrchestrator) -> None:
    """An empty name and too few consumers are two problems of one error."""
    with pytest.raises(ts.WorkflowError) as refusal:
        tee.create_broadcast("", 1)

    assert len(refusal.value.problems) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_consumers": 1}, "max_consumers is 1"),
        ({"overflow": "explode"}, "unknown overflow policy 'explode'"),
        ({"buffer_limit_bytes": 0}, "holds nothing"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    """Before anything is made."""
    with pytest.raises(ts.WorkflowError, match=message):
        ts.TeeOrchestrator(**settings)


# -- looking up -------------------------------------------------------------------------------------------------------


@pytest.mark.scenario("QA-001.3-UNIT-008")
def test_endpoints_can_be_looked_up(tee: ts.TeeOrchestrator) -> None:
    """By the broadcast's name all of them, with a consumer's name or position one."""
    lines = tee.create_broadcast("lines", ["a", "b", "c"])
    counted = tee.create_broadcast("counted", 2)

    assert tee.endpoints("lines") == lines
    assert tee.endpoints("counted") == counted
    assert [tee.endpoint("lines", name) for name in "abc"] == lines
    assert [tee.endpoint("lines", position) for position in range(3)] == lines
    assert [tee.endpoint("counted", name) for name in "01"] == counted


@pytest.mark.scenario("QA-001.3-UNIT-008")
@pytest.mark.parametrize("consumer", ["d", 2, -1])
def test_an_unknown_consumer_is_a_key_error(tee: ts.TeeOrchestrator, consumer: Any) -> None:
    """It says who the consumers are."""
    tee.create_broadcast("lines", ["a", "b"])

    with pytest.raises(KeyError, match=r"it has 'a', 'b'"):
        tee.endpoint("lines", consumer)


@pytest.mark.scenario("QA-001.3-UNIT-009")
@pytest.mark.parametrize(
    "ask",
    [
        lambda tee: tee.start_broadcast("nothing", 0),
        lambda tee: tee.stop_broadcast("nothing"),
        lambda tee: tee.wait("nothing"),
        lambda tee: tee.endpoints("nothing"),
        lambda tee: tee.endpoint("nothing", "a"),
    ],
    ids=["start", "stop", "wait", "endpoints", "endpoint"],
)
def test_an_unknown_broadcast_is_a_key_error(tee: ts.TeeOrchestrator, ask: Callable[[Any], Any]) -> None:
    """It says which broadcasts there are."""
    with pytest.raises(KeyError, match="none; call create_broadcast"):
        ask(tee)
    tee.create_broadcast("lines", 2)
    with pytest.raises(KeyError, match="there is no broadcast 'nothing'; there is 'lines'"):
        ask(tee)


# -- starting ---------------------------------------------------------------------------------------------------------


@pytest.mark.scenario("001.3-UNIT-005")
def test_starting_launches_one_worker_of_ours() -> None:
    """One forked child in a group of its own, named after its broadcast, no other program; it moves the bytes."""
    told = harness.run("""
        import multiprocessing
        read, write = os.pipe()
        with ts.TeeOrchestrator() as tee:
            endpoints = tee.create_broadcast("lines", ["a", "b"])
            tell(before=len(multiprocessing.active_children()))
            tee.start_broadcast("lines", read)
            os.close(read)
            children = multiprocessing.active_children()
            tell(names=[child.name for child in children], own_group=[os.getpgid(c.pid) == c.pid for c in children])
            readers = [os.open(endpoint, os.O_RDONLY) for endpoint in endpoints]
            os.write(write, b"hello")
            os.close(write)
            tell(got=[os.read(reader, 100).decode() for reader in readers], ends=[len(os.read(r, 1)) for r in readers])
            for reader in readers:
                os.close(reader)
            report = tee.wait("lines", 10)
            tell(well=report.well, bytes=report.bytes, code=report.exit_code,
                 each={name: [c.bytes, c.end, c.overflow] for name, c in report.consumers.items()})
        """).told

    assert told["before"] == 0
    assert told["names"] == ["fan-out of 'lines'"]
    assert told["own_group"] == [True]
    assert told["got"] == ["hello", "hello"]
    assert told["ends"] == [0, 0]
    assert (told["well"], told["bytes"], told["code"]) == (True, 5, 0)
    assert told["each"] == {"a": [5, "delivered", "spill"], "b": [5, "delivered", "spill"]}


def test_a_source_that_cannot_be_read_is_refused(tee: ts.TeeOrchestrator) -> None:
    """The wrong end of a pipe, a closed descriptor, a terminal; the broadcast can still be started afterwards."""
    tee.create_broadcast("lines", 2)
    read, write = os.pipe()
    master, slave = os.openpty()
    try:
        with pytest.raises(ts.WorkflowError, match="can only be written; give the read end"):
            tee.start_broadcast("lines", write)
        with pytest.raises(ts.WorkflowError, match="terminal"):
            tee.start_broadcast("lines", slave)
        with pytest.raises(OSError, match="Bad file descriptor"):
            tee.start_broadcast("lines", 1_000_000)
    finally:
        for fd in (read, write, master, slave):
            os.close(fd)


def test_a_start_without_room_for_a_process_leaves_nothing(
    tee: ts.TeeOrchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fork fails with EAGAIN for good: LimitError, every descriptor is back, and the endpoints are still there."""

    def refuse() -> int:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    endpoints = tee.create_broadcast("lines", 2)
    read, write = os.pipe()
    before = set(ledger.open)
    fault(monkeypatch, fork=refuse, sleep=lambda _seconds: None)
    try:
        with pytest.raises(ts.LimitError, match="refused to start a process"):
            tee.start_broadcast("lines", read)
    finally:
        os.close(read)
        os.close(write)

    assert set(ledger.open) == before
    assert all(endpoint.exists() for endpoint in endpoints)
    assert tee.stop_broadcast("lines").reason == "never started"


@pytest.mark.parametrize("failing", range(1, 10))
def test_a_start_that_runs_out_of_descriptors_leaves_nothing(
    tee: ts.TeeOrchestrator, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """EMFILE at any descriptor on the way: everything opened before it is closed again."""
    count, real = [0], calls.table.fcntl

    def limited(fd: int, command: int, *rest: int) -> Any:
        if command == fcntl.F_DUPFD_CLOEXEC:
            count[0] += 1
            if count[0] == failing:
                raise OSError(errno.EMFILE, "Too many open files")
        return real(fd, command, *rest)

    def refuse() -> int:
        raise OSError(errno.EPERM, "no fork in this process")

    tee.create_broadcast("lines", 2)
    read, write = os.pipe()
    before = set(ledger.open)
    numbers = os.listdir("/dev/fd")
    fault(monkeypatch, fcntl=limited, fork=refuse)
    try:
        with pytest.raises(OSError, match=r"Too many open files|no fork"):
            tee.start_broadcast("lines", read)
        assert os.listdir("/dev/fd") == numbers
    finally:
        os.close(read)
        os.close(write)

    assert set(ledger.open) == before


def test_waiting_for_what_was_never_started_is_refused(tee: ts.TeeOrchestrator) -> None:
    """It would never end; stopping it is harmless and says so."""
    tee.create_broadcast("lines", ["a", "b"])

    with pytest.raises(RuntimeError, match="call start_broadcast first"):
        tee.wait("lines", 1)
    report = tee.stop_broadcast("lines")

    assert (report.well, report.reason, report.exit_code) == (False, "never started", None)
    assert {name: each.end for name, each in report.consumers.items()} == {"a": "cut", "b": "cut"}
    assert list(tee.directory.iterdir()) == []


# -- removing ---------------------------------------------------------------------------------------------------------


@pytest.mark.scenario("001.3-UNIT-006")
def test_leaving_the_block_cleans_up() -> None:
    """FIFOs and directory are gone."""
    with ts.TeeOrchestrator() as tee:
        endpoints = [*tee.create_broadcast("lines", 3), *tee.create_broadcast("more", 2)]

    assert not any(endpoint.exists() for endpoint in endpoints)
    assert not tee.directory.exists()


@pytest.mark.scenario("001.3-UNIT-006")
def test_leaving_the_block_by_an_exception_cleans_up() -> None:
    """The exception comes through as it was, and nothing is left."""
    mine = ValueError("mine")
    tee = ts.TeeOrchestrator()
    endpoints = tee.create_broadcast("lines", 3)
    with pytest.raises(ValueError, match="mine") as raised, tee:
        raise mine

    assert raised.value is mine
    assert not any(path.exists() for path in (tee.directory, *endpoints))


def test_cleaning_up_again_is_harmless() -> None:
    """And afterwards nothing new can be made, but everything can still be asked."""
    tee = ts.TeeOrchestrator()
    endpoints = tee.create_broadcast("lines", 2)
    for _ in range(3):
        tee.cleanup()

    assert tee.endpoints("lines") == endpoints
    assert tee.stop_broadcast("lines").reason == "never started"
    for forbidden in (lambda: tee.create_broadcast("more", 2), lambda: tee.start_broadcast("lines", 0)):
        with pytest.raises(RuntimeError, match="cleaned up"):
            forbidden()


def test_an_orchestrator_that_is_forgotten_cleans_up() -> None:
    """What nobody holds any more is removed with it."""
    tee = ts.TeeOrchestrator()
    tee.create_broadcast("lines", 2)
    directory = tee.directory
    del tee
    gc.collect()

    assert not directory.exists()


def test_a_work_dir_that_was_there_is_kept(tmp_path: Path) -> None:
    """Only the directory of our own in it goes; what others keep beside it stays."""
    work = tmp_path / "work"
    work.mkdir()
    (work / "neighbour").write_text("stays")

    with ts.TeeOrchestrator(work) as tee:
        endpoints = tee.create_broadcast("lines", 2)
        assert tee.directory.parent == work
        assert all(work in endpoint.parents for endpoint in endpoints)

    assert [path.name for path in work.iterdir()] == ["neighbour"]


def test_a_work_dir_that_was_missing_is_made_and_removed(tmp_path: Path) -> None:
    """It is ours then, and private."""
    work = tmp_path / "work"

    with ts.TeeOrchestrator(str(work)) as tee:
        tee.create_broadcast("lines", 2)
        assert mode(work) == "drwx------"

    assert not work.exists()


def test_the_work_dir_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths are absolute, and found again when the program has moved elsewhere."""
    monkeypatch.chdir(tmp_path)
    with ts.TeeOrchestrator("work") as tee:
        endpoints = tee.create_broadcast("lines", 2)
        monkeypatch.chdir("/")
        assert all(endpoint.is_absolute() and endpoint.exists() for endpoint in endpoints)

    assert not (tmp_path / "work").exists()


def test_what_others_put_into_the_directory_stays() -> None:
    """Nothing that is not ours is removed, and so its directory is not."""
    with ts.TeeOrchestrator() as tee:
        endpoints = tee.create_broadcast("lines", 2)
        note = tee.directory / "note"
        note.write_text("mine")

    assert note.read_text() == "mine"
    assert not any(endpoint.exists() for endpoint in endpoints)
    note.unlink()
    tee.directory.rmdir()


def test_an_endpoint_that_somebody_removed_is_no_trouble(tee: ts.TeeOrchestrator) -> None:
    """Cleaning up removes what is there."""
    tee.create_broadcast("lines", 2)[0].unlink()
    tee.cleanup()

    assert not tee.directory.exists()


def test_removing_follows_the_directory_not_its_name(tmp_path: Path) -> None:
    """The directory was renamed and another one put in its place: ours loses its FIFOs, the other one nothing."""
    tee = ts.TeeOrchestrator(tmp_path / "work")
    fifo = tee.create_broadcast("lines", 2)[0].name
    moved = tmp_path / "moved"
    tee.directory.rename(moved)
    tee.directory.mkdir()
    (tee.directory / fifo).write_text("somebody else's")
    tee.cleanup()

    assert list(moved.iterdir()) == []
    assert (tee.directory / fifo).read_text() == "somebody else's"


# -- other users of the machine ---------------------------------------------------------------------------------------


def test_a_work_dir_open_to_all_is_refused(tmp_path: Path) -> None:
    """Where anybody may rename, a path would lead a reader to somebody else's FIFO; with a sticky bit it cannot."""
    work = tmp_path / "work"
    work.mkdir()
    work.chmod(0o777)
    with pytest.raises(PermissionError, match="sticky bit"):
        ts.TeeOrchestrator(work)
    assert list(work.iterdir()) == []

    work.chmod(0o1777)
    with ts.TeeOrchestrator(work) as tee:
        assert tee.directory.parent == work


def test_a_directory_that_is_not_ours_alone_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody was quicker than we: what stands at the new path is open to others, or belongs to them, or is a link."""
    prepared = tmp_path / "prepared"
    prepared.mkdir(0o700)
    link = tmp_path / "link"
    link.symlink_to(prepared)

    fault(monkeypatch, mkdtemp=lambda **_options: str(link))
    with pytest.raises(OSError, match="link"):
        ts.TeeOrchestrator()
    prepared.chmod(0o770)
    fault(monkeypatch, mkdtemp=lambda **_options: str(prepared), rmdir=lambda _path: None)
    with pytest.raises(PermissionError, match="not ours alone"):
        ts.TeeOrchestrator()
    prepared.chmod(0o700)
    fault(monkeypatch, geteuid=lambda: os.geteuid() + 1)
    with pytest.raises(PermissionError, match="not ours alone"):
        ts.TeeOrchestrator()

    assert list(prepared.iterdir()) == []


def test_a_name_that_is_prepared_is_not_used(tee: ts.TeeOrchestrator) -> None:
    """A link at the place of a FIFO is an error: it is neither followed nor replaced."""
    victim = tee.directory / "victim"
    trap = tee.directory / "lines.1.0.fifo"
    trap.symlink_to(victim)
    try:
        with pytest.raises(FileExistsError):
            tee.create_broadcast("lines", 2)
        assert not victim.exists()
        assert list(tee.directory.iterdir()) == [trap]
    finally:
        trap.unlink()


def test_windows_has_no_orchestrator(monkeypatch: pytest.MonkeyPatch) -> None:
    """PlatformError, before anything is made."""
    monkeypatch.setattr("sys.platform", "win32")
    with pytest.raises(ts.PlatformError):
        ts.TeeOrchestrator()
