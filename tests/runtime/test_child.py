"""runtime/supervision/child.py.

One worker as the supervisor sees it, with the worker's ends of its pipes in the test's hands.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Iterator

import pytest

from teastreams.core.endings import How
from teastreams.core.frames import FrameReader, Kind, frame, header
from teastreams.core.lifecycle import State
from teastreams.core.security.redaction import Redaction
from teastreams.runtime import calls
from teastreams.runtime.fds import Fd, copy_of, make_pipe
from teastreams.runtime.fork import STATUS_LOST
from teastreams.runtime.loop import Loop
from teastreams.runtime.node.ending import Report
from teastreams.runtime.secrecy import guarding
from teastreams.runtime.supervision.child import FRAME_LIMIT, LINE_LIMIT, TAIL_LINES, Child, Log, parse_report


class TestLog:
    @pytest.fixture
    def lines(self) -> list[str]:
        return []

    @pytest.fixture
    def log(self, lines: list[str]) -> Iterator[Log]:
        reader, writer = make_pipe("log")
        yield Log(reader, lines.append)
        reader.close()
        writer.close()

    def test_lines_come_whole_however_their_bytes_come_in(self, log: Log, lines: list[str]) -> None:
        for piece in (b"o", b"ne\ntw", b"", b"o\n\nth", b"ree"):
            log.feed(piece)

        assert lines == ["one", "two", ""]
        log.end()
        log.end()
        assert lines == ["one", "two", "", "three"]

    def test_what_is_no_text_is_shown_as_well_as_it_can_be(self, log: Log, lines: list[str]) -> None:
        """And a character that comes in two pieces is one."""
        log.feed("grün".encode()[:3])
        log.feed("grün".encode()[3:] + b" \xff\n")

        assert lines == ["grün \ufffd"]

    @pytest.mark.parametrize("step", [1000, 65536, 10**9])
    @pytest.mark.parametrize(
        ("length", "pieces"),
        [
            (LINE_LIMIT, [LINE_LIMIT]),
            (LINE_LIMIT + 1, [LINE_LIMIT, 1]),
            (2 * LINE_LIMIT + 5, [LINE_LIMIT, LINE_LIMIT, 5]),
        ],
    )
    def test_a_long_line_is_cut_in_the_same_places_however_it_comes_in(
        self, length: int, pieces: list[int], step: int, log: Log, lines: list[str]
    ) -> None:
        data = b"x" * length + b"\nshort\n"
        for start in range(0, len(data), step):
            log.feed(data[start : start + step])

        assert [len(line) for line in lines] == [*pieces, 5]

    def test_a_line_without_an_end_does_not_pile_up(self, log: Log, lines: list[str]) -> None:
        for _ in range(100):
            log.feed(b"x" * 10_000)

        assert sum(map(len, lines)) >= 1_000_000 - LINE_LIMIT

    @pytest.mark.parametrize("step", [1, 7, 10**9])
    def test_what_is_guarded_is_masked_however_its_bytes_come_in(self, log: Log, lines: list[str], step: int) -> None:
        data = b"one secret-text two\nsecret-text\nsecret-"
        with guarding(Redaction.of(["secret-text"])):
            for start in range(0, len(data), step):
                log.feed(data[start : start + step])
            log.feed(b"text")
            log.end()

        assert lines == ["one *** two", "***", "***"]
        assert list(log.tail) == lines

    @pytest.mark.parametrize("before", range(LINE_LIMIT - 12, LINE_LIMIT + 2))
    def test_the_cut_through_a_long_line_leaves_no_half_of_what_is_guarded(
        self, log: Log, lines: list[str], before: int
    ) -> None:
        with guarding(Redaction.of(["secret-text"])):
            for piece in (b"x" * before, b"secret", b"-te", b"xt", b"y" * 3 * LINE_LIMIT, b"\n"):
                log.feed(piece)

        assert "".join(lines) == "x" * before + "***" + "y" * 3 * LINE_LIMIT

    def test_the_last_lines_are_kept(self, log: Log) -> None:
        log.feed(b"".join(b"%d\n" % number for number in range(100)))

        assert list(log.tail) == [str(number) for number in range(100 - TAIL_LINES, 100)]


class Stage:
    """A child, and its ends: what it says, and what it hears."""

    def __init__(self) -> None:
        self.loop = Loop()
        result, self.mouth = make_pipe("result")
        self.ear, control = make_pipe("control")
        self.hand, lifeline = make_pipe("lifeline")
        log, self.pen = make_pipe("log")
        for ours in (result, control, log):
            os.set_blocking(ours.number, False)
        self.child = Child("n", self.loop, result, control, lifeline)
        self.lines: list[str] = []
        self.child.logs[2] = Log(log, self.lines.append)
        self.frames: list[tuple[Kind, bytes]] = []
        self.drained = 0
        self.child.watch(lambda kind, payload: self.frames.append((kind, payload)), self._on_drained)

    def _on_drained(self) -> None:
        self.drained += 1

    def say(self, data: bytes) -> None:
        os.write(self.mouth.number, data)
        self.loop.wait()

    def give_back(self) -> None:
        self.child.close()
        for end in (self.mouth, self.ear, self.hand, self.pen):
            end.close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.give_back()


class TestListening:
    def test_frames_are_handed_on_when_they_are_whole(self, stage: Stage) -> None:
        whole = frame(Kind.READY) + frame(Kind.EVENT, b"hello")
        stage.say(whole[:12])
        assert stage.frames == [(Kind.READY, b"")]

        stage.say(whole[12:])
        assert stage.frames[1:] == [(Kind.EVENT, b"hello")]

    def test_output_is_cut_into_lines(self, stage: Stage) -> None:
        os.write(stage.pen.number, b"one\ntw")
        stage.loop.wait()
        stage.pen.close()
        stage.loop.wait()

        assert (stage.lines, list(stage.child.logs[2].tail)) == (["one", "tw"], ["one", "tw"])
        assert not stage.child.drained

    def test_it_is_drained_when_all_its_pipes_are_at_their_end(self, stage: Stage) -> None:
        stage.pen.close()
        stage.loop.wait()
        assert (stage.child.drained, stage.drained) == (False, 0)

        stage.mouth.close()
        stage.loop.wait()
        assert (stage.child.drained, stage.drained) == (True, 1)

    @pytest.mark.parametrize("noise", [b"\xff" * 100, header(Kind.EVENT, FRAME_LIMIT + 1)], ids=["noise", "endless"])
    def test_who_speaks_no_language_of_ours_is_not_listened_to(self, noise: bytes, stage: Stage) -> None:
        """A node that writes into the pipe of its worker, say; its exit will tell."""
        stage.say(frame(Kind.READY) + noise)

        assert stage.frames == [(Kind.READY, b"")]
        assert not stage.child.result

    def test_an_update_may_be_larger_than_anything_else(self, stage: Stage) -> None:
        size = FRAME_LIMIT + 1
        stage.say(header(Kind.UPDATE, size))
        for start in range(0, size, 32768):
            stage.say(bytes(min(32768, size - start)))

        assert stage.frames == [(Kind.UPDATE, bytes(size))]

    def test_being_woken_for_nothing_is_harmless(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        def nothing(_fd: int, _count: int) -> bytes:
            raise BlockingIOError

        with monkeypatch.context() as patch:
            patch.setattr(calls.table, "read", nothing)
            stage.say(frame(Kind.READY))
            os.write(stage.pen.number, b"x\n")
            stage.loop.wait()
        assert (stage.frames, stage.lines) == ([], [])

        stage.loop.wait()
        assert (stage.frames, stage.lines) == ([(Kind.READY, b"")], ["x"])


class TestSpeaking:
    def hear(self, stage: Stage) -> list[tuple[Kind, bytes]]:
        return list(FrameReader({}, 1 << 40).feed(os.read(stage.ear.number, 1 << 20)))

    def test_it_is_heard_at_once(self, stage: Stage) -> None:
        stage.child.send(Kind.GO)
        stage.child.send(Kind.VERDICT, b"well")

        assert self.hear(stage) == [(Kind.GO, b""), (Kind.VERDICT, b"well")]

    def test_what_a_full_pipe_does_not_take_now_follows_later_in_order(self, stage: Stage) -> None:
        """A worker that computes does not hold the supervisor up."""
        large = os.urandom(1 << 20)
        stage.child.send(Kind.VERDICT, large)
        stage.child.send(Kind.GO)
        reader, heard = FrameReader({}, 1 << 40), []
        while len(heard) < 2:
            heard += reader.feed(os.read(stage.ear.number, 1 << 16))
            stage.loop.at("a look", 0.0, lambda: None)
            stage.loop.wait()

        assert heard == [(Kind.VERDICT, large), (Kind.GO, b"")]

    def test_who_has_gone_is_spoken_to_in_vain(self, stage: Stage) -> None:
        stage.ear.close()
        stage.child.send(Kind.GO)
        stage.child.close()
        stage.child.send(Kind.GO)

        assert not stage.child.control


class TestSignals:
    @pytest.fixture
    def sent(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
        sent: list[tuple[int, int]] = []
        monkeypatch.setattr(calls.table, "killpg", lambda group, number: sent.append((group, number)))
        monkeypatch.setattr(calls.table, "getpgid", lambda pid: pid)
        return sent

    def test_a_stopped_process_is_woken_after_each(self, stage: Stage, sent: list[tuple[int, int]]) -> None:
        """It could not die politely."""
        stage.child.pid = 4711
        stage.child.signal(signal.SIGTERM)

        assert sent == [(4711, signal.SIGTERM), (4711, signal.SIGCONT)]

    def test_a_sweep_kills_what_is_left_of_the_group(self, stage: Stage, sent: list[tuple[int, int]]) -> None:
        stage.child.pid = 4711
        stage.child.sweep()

        assert sent == [(4711, signal.SIGKILL)]

    @pytest.mark.parametrize(("group", "alone"), [(4711, []), (1, [signal.SIGKILL, signal.SIGCONT])])
    def test_who_left_the_group_is_signalled_alone(
        self, group: int, alone: list[int], stage: Stage, sent: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The group may be empty then, and the node would never be told to end."""
        killed: list[int] = []
        monkeypatch.setattr(calls.table, "getpgid", lambda _pid: group)
        monkeypatch.setattr(calls.table, "kill", lambda _pid, number: killed.append(number))
        stage.child.pid = 4711
        stage.child.signal(signal.SIGKILL)

        assert (len(sent), killed) == (2, alone)

    @pytest.mark.parametrize("error", [ProcessLookupError, PermissionError])
    def test_a_group_that_has_gone_is_no_error(
        self, error: type[OSError], stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """macOS says EPERM of a group of zombies."""

        def gone(_group: int, _number: int) -> None:
            raise error

        monkeypatch.setattr(calls.table, "killpg", gone)
        monkeypatch.setattr(calls.table, "getpgid", lambda _pid: gone(0, 0))
        stage.child.signal(signal.SIGTERM)
        stage.child.sweep()


class TestEnd:
    def test_it_lives_until_its_exit_was_seen(self, stage: Stage) -> None:
        alive = [state for state in State if self._state(stage, state)]

        assert alive == [each for each in State if each not in (State.DRAINING, State.FINISHED)]

    @staticmethod
    def _state(stage: Stage, state: State) -> bool:
        stage.child.state = state
        return stage.child.live

    @pytest.mark.parametrize(("status", "exit_code"), [(0, 0), (-9, -9), (STATUS_LOST, None)])
    def test_a_status_that_somebody_else_collected_is_unknown(
        self, status: int, exit_code: int, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Process:
            class _popen:
                usage = None

                @staticmethod
                def poll(_flag: int) -> int:
                    return status

        stage.child.process = Process()  # type: ignore[assignment]
        stage.child.reap()
        stage.child.process = None

        assert stage.child.exit_code == exit_code

    def test_closing_hands_out_the_last_words(self, stage: Stage) -> None:
        os.write(stage.pen.number, b"no newline")
        stage.loop.wait()
        stage.child.close()
        stage.child.close()

        assert stage.lines == ["no newline"]

    def test_it_knows_how_long_it_ran(self, stage: Stage) -> None:
        stage.child.finished_at = stage.child.started_at + 2.5

        assert stage.child.seconds == 2.5


class TestReports:
    def test_a_report_is_read(self) -> None:
        report = Report(How.RAISED, 3)

        assert parse_report(json.dumps(report.as_dict()).encode()) == report

    @pytest.mark.parametrize(
        "payload", [b"", b"\xff\xfe", b"{}", b"[]", b'"text"', b'{"error": null, "how": "x", "broken": []}', b"null"]
    )
    def test_what_is_none_is_none(self, payload: bytes) -> None:
        assert parse_report(payload) is None


class TestWitnesses:
    """Copies of a program's outputs, asked at its exit."""

    @pytest.fixture
    def ends(self) -> Iterator[tuple[Fd, Fd, Fd]]:
        """The reader's end, the program's end, and the witness."""
        reader, writer = make_pipe("channel")
        ends = (reader, writer, copy_of(writer))
        yield ends
        for fd in ends:
            fd.close()

    @pytest.fixture
    def child(self, ends: tuple[Fd, Fd, Fd]) -> Iterator[Child]:
        child = Child("p", Loop(), Fd(-1, ""), Fd(-1, ""), Fd(-1, ""), program=True)
        child.witnesses = {1: ends[2]}
        yield child
        child.close()

    def test_a_reader_that_has_gone_is_seen(self, child: Child, ends: tuple[Fd, Fd, Fd]) -> None:
        ends[0].close()
        ends[1].close()
        child.hear_witnesses()

        assert (child.broken, child.drained, bool(ends[2])) == (frozenset({1}), True, False)

    def test_a_reader_that_is_there_is_not_and_gets_its_end_of_file(
        self, child: Child, ends: tuple[Fd, Fd, Fd]
    ) -> None:
        ends[1].close()
        child.hear_witnesses()

        assert child.broken == frozenset()
        assert os.read(ends[0].number, 1) == b""

    def test_a_writer_that_is_left_is_waited_for(
        self, child: Child, ends: tuple[Fd, Fd, Fd], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Linux; unless others than the program may write there anyway."""
        monkeypatch.setenv(calls.PORTABLE, "")
        drained: list[bool] = []
        child._on_drained = lambda: drained.append(True)
        child.hear_witnesses()
        waits = sys.platform == "linux"
        assert child.drained is not waits

        ends[1].close()
        child._loop.at("deadline", 5, lambda: None)
        child._loop.wait()
        assert (child.drained, drained) == (True, [True] if waits else [])

    def test_a_lent_stream_has_other_writers_anyway(self, child: Child) -> None:
        child.lent = frozenset({1})
        child.hear_witnesses()

        assert child.drained


class TestLeftInTheGroup:
    """After an exit: could whoever is left be cut off, and the end look good all the same?"""

    @pytest.fixture
    def child(self) -> Iterator[Child]:
        result, mouth = make_pipe("result")
        child = Child("n", Loop(), result, Fd(-1, ""), Fd(-1, ""))
        child.outputs, child.state = frozenset({1}), State.RUNNING
        yield child
        child.close()
        mouth.close()

    def test_before_its_report_was_read_it_may_have_returned(self, child: Child) -> None:
        assert child.could_be_cut

        child.result.close()  # it was killed: there is none
        assert not child.could_be_cut

        child.program = True
        assert child.could_be_cut

    @pytest.mark.parametrize(
        ("report", "cut"),
        [
            (Report(How.RETURNED), True),
            (Report(How.RETURNED, broken=frozenset({1})), False),
            (Report(How.RETURNED, left_running=True), False),
            (Report(How.RAISED), False),
            (Report(How.EPIPE), False),
        ],
    )
    def test_only_a_node_that_returned_to_readers_could(self, report: Report, cut: bool, child: Child) -> None:
        child.report, child.state = report, State.ENDING

        assert child.could_be_cut == frozenset({1} if cut else ())

    @pytest.mark.parametrize("state", [State.TERMED, State.KILLED])
    def test_what_was_stopped_does_not_look_good(self, state: State, child: Child) -> None:
        child.state = state
        assert not child.could_be_cut

        child.report = Report(How.RETURNED)
        assert not child.could_be_cut

    @pytest.mark.parametrize("why", ["outputs", "lent", "broken", "unread"])
    def test_nor_could_who_writes_to_nobody_of_ours(self, why: str, child: Child) -> None:
        setattr(child, why, frozenset() if why == "outputs" else {1})

        assert not child.could_be_cut
