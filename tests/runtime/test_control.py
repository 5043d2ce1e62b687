"""runtime/node/control.py: what a worker hears from its supervisor, over a real pipe."""

from __future__ import annotations

import os
import pickle
import signal
from typing import Any, Iterator

import pytest

from teastreams.core.frames import HEADER_BYTES, Kind, frame
from teastreams.core.merge import Update
from teastreams.core.outcome import ALL_WELL, Verdict
from teastreams.runtime import calls
from teastreams.runtime.fds import Fd, make_pipe
from teastreams.runtime.node.control import Control
from teastreams.runtime.node.pickles import Parcel, pickled


class Line:
    """Both ends of a control pipe, and the updates that were merged."""

    def __init__(self) -> None:
        self.reader, self.writer = make_pipe("control")
        self.merged: list[Update] = []
        self.control = Control(self.reader, self.merged.append)

    def say(self, kind: Kind, payload: Any = None) -> None:
        data = b"" if payload is None else pickle.dumps(payload, protocol=5)
        os.write(self.writer.number, frame(kind, data))


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    for end in (line.reader, line.writer):
        end.close()


def dumped(**values: Any) -> Parcel:
    return Parcel((b"".join(pickled(Update(values)).pieces),))


class TestGo:
    def test_is_waited_for(self, line: Line) -> None:
        line.say(Kind.GO)
        line.control.wait_go()

        assert not line.control.has_verdict
        assert line.control.fileno() == line.reader.number

    def test_what_comes_before_it_is_kept(self, line: Line) -> None:
        line.say(Kind.VERDICT, (ALL_WELL, ()))
        line.say(Kind.GO)
        line.control.wait_go()

        assert line.control.verdict() == ALL_WELL

    def test_what_is_not_for_a_node_is_passed_over(self, line: Line) -> None:
        line.say(Kind.SOURCE_ENDED)
        line.say(Kind.GO)
        line.control.wait_go()


class TestVerdict:
    def test_is_waited_for_and_stays(self, line: Line) -> None:
        failed = Verdict(False, "p", "killed by signal 9")
        line.say(Kind.VERDICT, (failed, ()))

        assert line.control.verdict() == failed
        assert line.control.verdict() == failed

    def test_comes_together_from_pieces(self, line: Line) -> None:
        """A pipe may be full in the middle of a message."""
        whole = frame(Kind.VERDICT, pickle.dumps((ALL_WELL, (dumped(a=1),)), protocol=5))
        for piece in (whole[:3], whole[3 : HEADER_BYTES + 5], whole[HEADER_BYTES + 5 :]):
            assert not line.control.has_verdict
            os.write(line.writer.number, piece)
            line.control.receive()

        assert line.control.has_verdict

    def test_to_have_it_is_not_to_have_been_told(self, line: Line) -> None:
        """Only a read that is answered with it tells the node's own code."""
        line.say(Kind.VERDICT, (Verdict(False, "p"), ()))
        line.control.verdict()

        assert not line.control.told


class TestUpdates:
    def test_are_merged_in_their_order_and_once(self, line: Line) -> None:
        line.say(Kind.VERDICT, (ALL_WELL, (dumped(a=1), dumped(a=2))))
        line.control.verdict()
        assert line.merged == []

        line.control.take_updates()
        line.control.take_updates()
        assert line.merged == [Update({"a": 1}), Update({"a": 2})]

    def test_there_are_none_before_the_verdict(self, line: Line) -> None:
        line.control.take_updates()

        assert line.merged == []


class TestEndOfFile:
    def test_takes_the_whole_group_along(self, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
        """The supervisor has gone: nothing may outlive it."""

        class Killed(Exception):
            pass

        def killpg(group: int, number: int) -> None:
            raise Killed(group, number)

        monkeypatch.setattr(calls.table, "killpg", killpg)
        line.writer.close()
        with pytest.raises(Killed) as killed:
            line.control.verdict()

        assert killed.value.args == (os.getpid(), signal.SIGKILL)


def test_a_control_reads_its_own_descriptor_only() -> None:
    """It must not take bytes out of another pipe."""
    asked = []
    reader = Fd(12345, "no such")
    control = Control(reader, lambda _: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calls.table, "read", lambda fd, count: asked.append(fd) or frame(Kind.GO))
        control.wait_go()
    reader.take()

    assert asked == [12345]
