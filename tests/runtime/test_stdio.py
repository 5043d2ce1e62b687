"""runtime/node/stdio.py.

The standard streams of a node, on descriptors of this process's own choice and over real pipes.
"""

from __future__ import annotations

import errno
import io
import os
import pickle
import sys
from contextlib import suppress
from typing import Any, Iterator, Optional

import pytest

from teastreams.core.frames import Kind, frame
from teastreams.core.merge import Update
from teastreams.core.outcome import ALL_WELL, Verdict
from teastreams.errors import UpstreamFailed
from teastreams.runtime import calls
from teastreams.runtime.fds import make_pipe
from teastreams.runtime.gauges import Gauges, Phase
from teastreams.runtime.node import stdio
from teastreams.runtime.node.control import Control
from teastreams.runtime.node.pickles import pickled

FAILED = Verdict(False, "p", "killed by signal 9")


class Node:
    """One node's side, with the producer's and the supervisor's ends in the hands of the test."""

    def __init__(self, producer: str = "p", drain_seconds: float = 0.01) -> None:
        self.stdin, self.source = make_pipe("stdin")
        self.stdout, self.sink = reversed(make_pipe("stdout"))
        self.ear, self.mouth = make_pipe("control")
        self.merged: list[Update] = []
        self.closed: list[int] = []
        self.gauges = Gauges(100)  # the numbers are not 0, 1 and 2 here
        self.gauge = self.gauges.gauge(0)
        self.control = Control(self.ear, self.merged.append)
        self.input = stdio.InputPipe(
            self.stdin.number, self.control, self.gauge, drain_seconds, producer, self.closed.append
        )
        self.output = stdio.OutputPipe(self.stdout.number, self.gauge, self.closed.append)

    def produce(self, data: bytes, *, end: bool = False) -> None:
        os.write(self.source.number, data)
        if end:
            self.source.close()

    def tell(self, verdict: Verdict, *updates: Update) -> None:
        message = (verdict, tuple(pickled(update) for update in updates))
        os.write(self.mouth.number, frame(Kind.VERDICT, pickle.dumps(message, protocol=5)))

    def give_back(self) -> None:
        """Close the objects first: collected later, they would put /dev/null on numbers that are somebody else's."""
        for pipe, end in ((self.input, self.stdin), (self.output, self.stdout)):
            number = pipe.fileno()
            pipe.close()
            os.close(number)
            end.take()
        for end in (self.source, self.sink, self.ear, self.mouth):
            end.close()
        self.gauges.close()


@pytest.fixture
def node() -> Iterator[Node]:
    node = Node()
    yield node
    node.give_back()


def is_null(number: int) -> bool:
    return os.fstat(number).st_rdev == os.stat(os.devnull).st_rdev


class TestReading:
    def test_bytes_come_before_any_verdict(self, node: Node) -> None:
        node.produce(b"abc")

        assert (node.input.read(2), node.input.read(10)) == (b"ab", b"c")
        assert (node.gauge.moved(0), node.gauge.phase) == (3, Phase.OWN_CODE)
        assert not node.control.told

    def test_the_end_is_said_after_the_updates_were_merged(self, node: Node) -> None:
        """L3: who has drained its input can use what its producer returned."""
        node.produce(b"abc", end=True)
        node.tell(ALL_WELL, Update({"count": 1}))

        assert node.input.read(10) == b"abc"
        assert node.merged == []
        assert node.input.read(10) == b""
        assert (node.merged, node.control.told) == ([Update({"count": 1})], True)
        assert node.input.read(10) == b""

    def test_a_cut_stream_raises_at_its_end_and_ever_after(self, node: Node) -> None:
        """L2, and the bytes that came first are still the node's to read."""
        node.produce(b"abc", end=True)
        node.tell(FAILED, Update({"never": 1}))

        assert node.input.read(10) == b"abc"
        for _ in range(2):
            with pytest.raises(UpstreamFailed) as raised:
                node.input.read(10)
            assert (raised.value.culprit, raised.value.reason) == ("p", "killed by signal 9")
        assert (node.merged, node.control.told, node.gauge.phase) == ([], True, Phase.OWN_CODE)

    def test_a_bad_verdict_cuts_the_wait_for_an_end_that_may_never_come(self, node: Node) -> None:
        """A stranger may hold the write end for ever."""
        node.produce(b"abc")
        node.tell(FAILED)

        assert node.input.read(10) == b"abc"
        with pytest.raises(UpstreamFailed, match="'p' failed upstream"):
            node.input.read(10)
        assert (node.control.told, node.control.held) == (True, False)

    def test_a_stream_that_is_held_open_after_a_good_verdict_is_not_the_end(self, node: Node) -> None:
        node.produce(b"abc")
        node.tell(ALL_WELL)

        assert node.input.read(10) == b"abc"
        with pytest.raises(
            UpstreamFailed, match=r"'p' failed upstream \(a process that it started kept its stream open"
        ):
            node.input.read(10)
        assert (node.control.told, node.control.held) == (True, True)

    def test_a_caller_who_writes_may_take_for_ever(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nobody upstream can hold the stream open but the caller, and it may."""
        waits: list[Optional[float]] = []
        nodes: list[Node] = []
        real = calls.table.poll

        class Watched(real):  # type: ignore[misc,valid-type]
            def poll(self, seconds: Optional[float] = None) -> Any:
                waits.append(seconds)
                if nodes[0].control.has_verdict:
                    nodes[0].produce(b"late")
                return super().poll(seconds)

        monkeypatch.setattr(calls.table, "poll", Watched)
        nodes.append(Node(producer=""))
        nodes[0].tell(ALL_WELL)

        assert nodes[0].input.read(10) == b"late"
        assert waits == [0, None, None]
        nodes[0].give_back()

    def test_reading_nothing_waits_for_nothing(self, node: Node) -> None:
        assert node.input.readinto(bytearray()) == 0
        assert node.input.read(0) == b""

    def test_it_is_a_raw_file(self, node: Node) -> None:
        assert (node.input.readable(), node.input.writable(), node.input.fileno()) == (True, False, node.stdin.number)

    def test_text_has_universal_newlines_and_is_strict_utf_8(self, node: Node) -> None:
        node.produce("grün\r\nrot\n".encode() + b"\xff\n", end=True)
        node.tell(ALL_WELL)
        text = stdio.text_reader(node.input)

        with pytest.raises(UnicodeDecodeError):
            text.read()
        assert text.encoding == "utf-8"

    def test_lines_of_text(self, node: Node) -> None:
        node.produce("grün\r\nrot\nlast".encode(), end=True)
        node.tell(ALL_WELL)

        assert list(stdio.text_reader(node.input)) == ["grün\n", "rot\n", "last"]


class TestLeaving:
    def test_closing_tells_the_producer_at_its_next_write(self, node: Node) -> None:
        """The number stays taken, so that the next file cannot become this node's stdin."""
        node.input.close()

        assert (node.closed, is_null(node.stdin.number)) == ([node.stdin.number], True)
        with pytest.raises(BrokenPipeError):
            os.write(node.source.number, b"x")
        node.input.close()
        assert node.closed == [node.stdin.number]

    def test_while_a_writer_is_there_it_is_early(self, node: Node) -> None:
        """Even with unread bytes, and whatever was read before."""
        assert node.input.left_early()
        node.produce(b"abc")
        node.input.read(2)
        assert node.input.left_early()

    def test_when_no_writer_is_left_it_is_no_proof(self, node: Node) -> None:
        node.produce(b"abc", end=True)

        assert not node.input.left_early()

    def test_what_was_true_at_the_close_stays_true(self, node: Node) -> None:
        node.input.close()
        node.source.close()

        assert node.input.left_early()

    @pytest.mark.parametrize("how", ["closed", "replaced"])
    def test_what_the_node_did_behind_our_back_is_no_proof(self, how: str, node: Node) -> None:
        if how == "closed":
            os.close(node.stdin.take())
        else:
            os.dup2(node.ear.number, node.stdin.number)

        assert not node.input.left_early()


class TestWriting:
    def test_bytes_are_counted(self, node: Node) -> None:
        fd = node.stdout.number
        counted = []
        node.gauge.add = lambda fd, count: counted.append((fd, count))  # type: ignore[method-assign]

        assert node.output.write(b"abc") == 3
        assert (os.read(node.sink.number, 10), counted, node.gauge.phase) == (b"abc", [(fd, 3)], Phase.OWN_CODE)
        assert (node.output.writable(), node.output.readable(), node.output.fileno()) == (True, False, fd)

    def test_nobody_reads(self, node: Node) -> None:
        node.sink.close()

        with pytest.raises(BrokenPipeError) as raised:
            node.output.write(b"abc")
        assert stdio.is_broken_pipe(raised.value)
        assert node.gauge.phase is Phase.OWN_CODE

    def test_closing_ends_the_stream_there_and_then(self, node: Node) -> None:
        node.output.close()
        node.output.close()

        assert os.read(node.sink.number, 10) == b""
        assert (node.closed, is_null(node.stdout.number)) == ([node.stdout.number], True)

    def test_closing_without_somebody_to_tell(self, node: Node) -> None:
        """stdout that is no channel."""
        stdio.OutputPipe(node.stdout.number, node.gauge).close()

        assert os.read(node.sink.number, 10) == b""

    def test_closed_on_the_way_out_of_a_failure_it_vouches_for_nothing(self, node: Node) -> None:
        """`with sys.stdout:` round code that fails is no clean end of a stream."""
        with pytest.raises(ValueError, match="in the middle"), node.output:
            raise ValueError("in the middle")

        assert node.output.closed
        assert node.closed == []
        assert os.read(node.sink.number, 10) == b""

    def test_text_is_written_as_it_is(self, node: Node) -> None:
        """No newline is translated; stderr shows what it cannot encode instead of failing."""
        text = stdio.text_writer(node.output, "backslashreplace", line_buffering=True)
        text.write("grün \udc80\r\n")

        assert os.read(node.sink.number, 100) == "grün \\udc80\r\n".encode()
        text.close()

    def test_no_line_asks_whether_the_stream_is_closed(self, node: Node) -> None:
        """That is a fifth of the time of a print. Its bytes go where they should all the same."""
        asked: list[bool] = []

        class Curious(stdio.OutputPipe):
            @property
            def closed(self) -> bool:
                asked.append(True)
                return super().closed

        raw = Curious(node.stdout.number, node.gauge)
        text = stdio.text_writer(raw, "strict", line_buffering=False, some_pipe=node.ear.number)
        asked.clear()
        for number in range(100):
            print(number, file=text)
        assert asked == []
        text.flush()
        assert os.read(node.sink.number, 1000).endswith(b"98\n99\n")
        text.close()

    def test_a_closed_stdout_says_so(self, node: Node) -> None:
        """The pipe that stood in for it stays open."""
        text = stdio.text_writer(node.output, "strict", line_buffering=False, some_pipe=node.ear.number)
        print("tea", file=text)
        text.close()
        assert os.read(node.sink.number, 1000) == b"tea\n"
        with pytest.raises(ValueError, match="closed file"):
            print("more", file=text)
        os.fstat(node.ear.number)

    def test_a_closed_stdin_says_so(self, node: Node) -> None:
        text = stdio.text_reader(node.input, some_pipe=node.ear.number)
        node.produce(b"a\nb\n")
        assert (next(text), text.closed) == ("a\n", False)
        text.close()
        with pytest.raises(ValueError, match="closed file"):
            next(text)

    def test_a_block_is_written_when_it_is_full_or_flushed(self, node: Node) -> None:
        text = stdio.text_writer(node.output, "strict", line_buffering=False)
        text.write("line\n")
        assert not calls.table.poll().poll(0)

        text.flush()
        assert os.read(node.sink.number, 100) == b"line\n"
        with pytest.raises(UnicodeEncodeError):
            text.write("\udc80")
        text.close()


class TestReaderLeft:
    def test_only_when_every_reader_has_gone(self, node: Node) -> None:
        second = os.dup(node.sink.number)
        assert not node.output.reader_left()
        node.sink.close()
        assert not node.output.reader_left()
        os.close(second)
        assert node.output.reader_left()

    def test_a_full_pipe_is_not_a_broken_one(self, node: Node) -> None:
        os.set_blocking(node.stdout.number, False)
        with suppress(BlockingIOError):
            while os.write(node.stdout.number, bytes(65536)):
                continue

        assert not node.output.reader_left()

    @pytest.mark.parametrize("how", ["closed by the node itself", "closed behind our back", "replaced"])
    def test_what_is_not_held_any_more_proves_nothing(self, how: str, node: Node) -> None:
        """The reader may have seen an end of file since."""
        broken, other = make_pipe("another pipe, broken")
        broken.close()
        if how == "closed by the node itself":
            node.output.close()
        elif how == "closed behind our back":
            os.close(node.stdout.take())
        else:
            os.dup2(other.number, node.stdout.number)
        other.close()
        node.sink.close()

        assert not node.output.reader_left()


class TestGiveUp:
    def test_works_on_a_number_that_is_free(self) -> None:
        """The lowest free number is the one that /dev/null gets by itself."""
        free = os.open(os.devnull, os.O_RDONLY)
        os.close(free)
        stdio.give_up(free, os.O_RDONLY)

        assert is_null(free)
        os.close(free)


class TestInstall:
    def test_moves_both_names_and_hands_the_old_ones_over(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Collected, the old ones would flush what belongs to the parent."""
        names = [prefix + name + prefix for name in ("stdin", "stdout", "stderr") for prefix in ("", "__")]
        before = [getattr(sys, name) for name in names]
        for name in names:
            monkeypatch.setattr(sys, name, getattr(sys, name))
        new = [io.StringIO() for _ in range(3)]
        old = stdio.install(*new)
        now = [getattr(sys, name) for name in names]
        monkeypatch.undo()

        assert old == before
        assert now == [each for each in new for _ in range(2)]


@pytest.mark.parametrize(
    ("error", "broken"),
    [
        (BrokenPipeError(errno.EPIPE, "x"), True),
        (OSError(errno.EPIPE, "x"), True),
        (BrokenPipeError(), False),
        (ConnectionResetError(errno.ECONNRESET, "x"), False),
        (ValueError("x"), False),
    ],
)
def test_a_broken_pipe_is_known_by_its_number(error: Exception, broken: bool) -> None:
    assert stdio.is_broken_pipe(error) is broken
