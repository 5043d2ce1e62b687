"""runtime/bound.py: what is opened for a plan, and what is left after a good end, a bad one and a fault.

The ends are opened and settled in this process; nothing is forked. Whole runs on files are in tests/cli/test_filter.py.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, Iterator, Optional

import pytest

from teastreams.core.graph import Binding, NodeStreamsConfig, StreamSettings
from teastreams.core.plan import plan_section
from teastreams.errors import LimitError, NodeError
from teastreams.runtime import calls
from teastreams.runtime.bound import BoundEnds
from teastreams.runtime.fds import LOWEST

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> Iterator[calls.Calls]:
    """A table of this test's own; nothing may stay open."""
    before = set(os.listdir("/dev/fd"))
    table = calls.Calls()
    monkeypatch.setattr(calls, "table", table)
    yield table
    assert set(os.listdir("/dev/fd")) == before


@pytest.fixture(params=["fast", "portable"], autouse=True)
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(calls.PORTABLE, "1" if request.param == "portable" else "")
    return str(request.param)


def ends(own: Optional[dict[str, int]] = None, **bindings: Binding) -> BoundEnds:
    """The ends of one node `a` with these bindings."""
    plan = plan_section([("a", NodeStreamsConfig(bindings=bindings))], StreamSettings())
    return BoundEnds(plan, own or {"stdin": 0, "stdout": 1, "stderr": 2})


def to(path: Path, **more: Any) -> Binding:
    return Binding(str(path), **more)


def failing(error: OSError) -> Any:
    def call(*_arguments: Any, **_named: Any) -> Any:
        raise error

    return call


def written(outside: BoundEnds, data: bytes = b"new") -> None:
    (end,) = outside.open().values()
    os.write(end.number, data)


class TestOpening:
    def test_ends_are_high_and_not_inheritable(self, tmp_path: Path) -> None:
        (tmp_path / "in").write_bytes(b"x")
        outside = ends(stdin=to(tmp_path / "in"), stdout=to(tmp_path / "out"), stderr=Binding())
        given = outside.open()

        assert sorted(side for _pipe, side in given) == ["r", "w", "w"]
        assert all(fd.number >= LOWEST and not os.get_inheritable(fd.number) for fd in given.values())
        outside.settle(well=True)

    def test_the_callers_streams_are_lent(self) -> None:
        """A copy goes to the node; the caller's own is open afterwards."""
        reader, writer = os.pipe()
        outside = ends({"stdin": reader}, stdin=Binding())
        (end,) = outside.open().values()
        outside.settle(well=True)

        assert end.number == -1
        assert os.fstat(reader).st_ino == os.fstat(writer).st_ino
        os.close(reader)
        os.close(writer)

    @pytest.mark.parametrize("number", [-1, 987])
    def test_a_closed_one_is_the_nodes_failure(self, number: int) -> None:
        with pytest.raises(NodeError, match="its stdout is bound to the workflow's own, which is closed") as caught:
            ends({"stdout": number}, stdout=Binding()).open()
        assert (caught.value.node, caught.value.phase) == ("a", "start")

    def test_when_one_cannot_be_opened_the_others_are_undone(self, tmp_path: Path) -> None:
        (tmp_path / "log").write_bytes(b"old")
        outside = ends(
            stdin=to(tmp_path / "gone"), stdout=to(tmp_path / "out"), stderr=to(tmp_path / "log", append=True)
        )
        with pytest.raises(NodeError, match="gone"):
            outside.open()
        assert (os.listdir(tmp_path), (tmp_path / "log").read_bytes()) == (["log"], b"old")

    def test_no_room_for_descriptors_is_a_limit_of_the_machine(self, tmp_path: Path, table: calls.Calls) -> None:
        table.open = failing(OSError(errno.EMFILE, "too many"))
        with pytest.raises(LimitError, match="no room to start the stdout of 'a'"):
            ends(stdout=to(tmp_path / "out")).open()

    def test_the_number_of_a_descriptor_of_ours_is_no_file(self, tmp_path: Path) -> None:
        """A path from the state could name it."""
        outside = ends(stdout=to(tmp_path / "out"))
        (end,) = outside.open().values()
        with pytest.raises(NodeError, match="Bad file descriptor"):
            ends(stdin=Binding(f"/dev/fd/{end.number}")).open()
        outside.settle(well=False)

    def test_dev_fd_is_the_open_file_itself(self, tmp_path: Path) -> None:
        """Not opened anew: nothing is cut, replaced or written from its beginning."""
        number = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
        os.write(number, b"before ")
        outside = ends(stdout=Binding(f"/dev/fd/{number}"))
        written(outside)
        outside.settle(well=False)
        os.close(number)

        assert (tmp_path / "out").read_bytes() == b"before new"

    def test_a_fifo_is_refused_without_opening_it(self, tmp_path: Path) -> None:
        """Opening waits for the other side."""
        os.mkfifo(tmp_path / "fifo")
        for binding in ({"stdin": to(tmp_path / "fifo")}, {"stdout": to(tmp_path / "fifo")}):
            with pytest.raises(NodeError, match="it is a FIFO"):
                ends(**binding).open()


class TestSettling:
    def test_a_file_has_its_name_only_after_a_good_end(self, tmp_path: Path, path: str) -> None:
        outside = ends(stdout=to(tmp_path / "out"))
        written(outside)
        assert len(os.listdir(tmp_path)) == (1 if path == "portable" else 0)
        assert not (tmp_path / "out").exists()

        outside.settle(well=True)
        outside.settle(well=False)
        assert (os.listdir(tmp_path), (tmp_path / "out").read_bytes()) == (["out"], b"new")

    def test_where_no_file_can_be_without_a_name_it_has_one_of_its_own(
        self, tmp_path: Path, table: calls.Calls
    ) -> None:
        """Not every file system knows O_TMPFILE."""
        real = table.open

        def without(name: str, flags: int, *more: Any, **place: Any) -> int:
            if flags & getattr(os, "O_TMPFILE", 0) == getattr(os, "O_TMPFILE", -1):
                raise OSError(errno.EOPNOTSUPP, "not supported")
            return real(name, flags, *more, **place)

        table.open = without
        outside = ends(stdout=to(tmp_path / "out"))
        written(outside)
        (beside,) = os.listdir(tmp_path)
        assert beside.startswith(".out.")
        assert beside.endswith(".partial")
        outside.settle(well=False)
        assert os.listdir(tmp_path) == []

    @pytest.mark.parametrize("call", ["link", "rename"])
    def test_a_name_that_cannot_be_given_is_the_nodes_failure(
        self, call: str, tmp_path: Path, table: calls.Calls, path: str
    ) -> None:
        """The old file is as it was, and nothing is left beside it."""
        (tmp_path / "out").write_bytes(b"old")
        setattr(table, call if path == "fast" else "rename", failing(FULL))
        outside = ends(stdout=to(tmp_path / "out"))
        written(outside)
        with pytest.raises(NodeError, match="cannot be given its name: No space left on device") as caught:
            outside.settle(well=True)

        assert (caught.value.node, caught.value.phase) == ("a", "result")
        assert (os.listdir(tmp_path), (tmp_path / "out").read_bytes()) == (["out"], b"old")

    def test_one_that_cannot_be_named_spoils_what_comes_after_it(self, tmp_path: Path, table: calls.Calls) -> None:
        table.rename = failing(FULL)
        outside = ends(stdout=to(tmp_path / "out"), stderr=to(tmp_path / "log"))
        outside.open()
        with pytest.raises(NodeError):
            outside.settle(well=True)
        assert os.listdir(tmp_path) == []

    def test_what_cannot_be_undone_hides_no_error(self, tmp_path: Path, table: calls.Calls) -> None:
        """A bad end stays the one that it was."""
        outside = ends(stdout=to(tmp_path / "log", append=True))
        written(outside)
        table.ftruncate = failing(FULL)
        outside.settle(well=False)
        assert (tmp_path / "log").read_bytes() == b"new"

    def test_what_was_appended_is_cut_off(self, tmp_path: Path) -> None:
        (tmp_path / "log").write_bytes(b"old ")
        outside = ends(stdout=to(tmp_path / "log", append=True))
        written(outside)
        outside.settle(well=False)
        assert (tmp_path / "log").read_bytes() == b"old "

    def test_the_mode_of_the_old_file_is_kept_as_far_as_the_system_lets(
        self, tmp_path: Path, table: calls.Calls
    ) -> None:
        """A file system without modes is no reason to fail."""
        (tmp_path / "out").write_bytes(b"old")
        (tmp_path / "out").chmod(0o604)
        outside = ends(stdout=to(tmp_path / "out"))
        written(outside)
        outside.settle(well=True)
        assert (tmp_path / "out").stat().st_mode & 0o777 == 0o604
        table.fchmod = failing(OSError(errno.EPERM, "no"))
        outside = ends(stdout=to(tmp_path / "out"))
        written(outside, b"newer")
        outside.settle(well=True)
        assert (tmp_path / "out").read_bytes() == b"newer"
