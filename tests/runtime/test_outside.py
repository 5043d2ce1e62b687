"""The caller's ends of channels, on real pipes and a real loop, without a worker at the other end."""

from __future__ import annotations

import io
import os
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

import pytest

from teastreams.core.outcome import ALL_WELL
from teastreams.runtime.fds import make_pipe
from teastreams.runtime.loop import Loop
from teastreams.runtime.supervision.outside import PIECE_BYTES, Feed, Outside, Tap, pieces_of


class Wired:
    """A feed at its pipe: what it said, and what can be read at the other end."""

    def __init__(self, source: object) -> None:
        self.loop, self.feed = Loop(), Feed(source)
        self.reader, writer = make_pipe("test")
        os.set_blocking(self.reader.number, False)
        self.ends = self.hands = 0
        self.feed.attach(self.loop, writer, self.hands_off, self.ended)

    @contextmanager
    def hands_off(self) -> Iterator[None]:
        self.hands += 1
        yield

    def ended(self) -> None:
        self.ends += 1

    def turn(self) -> bytes:
        """One wait that cannot block, and what has come by then."""
        self.loop.at("test", 0.0, lambda: None)
        self.loop.wait()
        try:
            return os.read(self.reader.number, 1 << 20)
        except BlockingIOError:
            return b""

    def all(self) -> bytes:
        whole = b""
        while not self.ends:
            whole += self.turn()
        return whole


@pytest.fixture
def wired() -> Iterator[Any]:
    made: list[Wired] = []

    def make(source: object) -> Wired:
        made.append(Wired(source))
        return made[-1]

    yield make
    for each in made:
        each.feed.detach()
        each.reader.close()


class TestPieces:
    @pytest.mark.parametrize(
        "source",
        [
            b"a\nb\n",
            "a\nb\n",
            bytearray(b"a\nb\n"),
            memoryview(b"a\nb\n"),
            ["a\n", b"b\n"],
            iter(("a\n", "b", "\n")),
            io.BytesIO(b"a\nb\n"),
            io.StringIO("a\nb\n"),
            io.BufferedReader(io.BytesIO(b"a\nb\n")),
        ],
    )
    def test_what_can_be_fed(self, source: object) -> None:
        """One text or bytes object is one piece, not an iterable of letters or numbers."""
        assert b"".join(pieces_of(source)) == b"a\nb\n"

    def test_what_is_no_source_is_refused_at_once(self) -> None:
        with pytest.raises(TypeError, match="not by 3"):
            pieces_of(3)

    def test_a_piece_that_is_no_text_is_refused_by_its_type(self) -> None:
        """Numbers are not guessed at."""
        with pytest.raises(TypeError, match="not with int"):
            list(pieces_of([b"a", 3]))

    def test_a_raw_file_is_read_to_its_end(self, tmp_path: Path) -> None:
        path = tmp_path / "data"
        path.write_bytes(b"x" * (3 * PIECE_BYTES + 7))
        with open(path, "rb", buffering=0) as file:
            assert [len(piece) for piece in pieces_of(file)] == [PIECE_BYTES] * 3 + [7]


class TestFeed:
    def test_every_byte_goes_out_and_the_end_is_told_once(self, wired: Any) -> None:
        """Also of more than the pipe holds; the pipe is closed, and the bytes are counted."""
        pieces = [os.urandom(5000) for _ in range(100)]
        one = wired(pieces)

        assert one.all() == b"".join(pieces)
        assert (one.ends, one.feed.moved_bytes, one.feed.error) == (1, 500_000, None)
        assert os.read(one.reader.number, 1) == b""

    def test_the_source_is_asked_only_for_what_the_pipe_takes(self, wired: Any) -> None:
        """Memory is one piece, however quick the source is; the caller's code runs with hands off."""
        given = []

        def source() -> Iterator[bytes]:
            while True:
                given.append(1)
                yield b"x" * 1000

        one = wired(source())
        for _ in range(50):
            one.loop.at("test", 0.0, lambda: None)
            one.loop.wait()
        full = len(given)
        assert full * 1000 <= 65536 + 2 * PIECE_BYTES
        assert 0 < one.hands < full, "small pieces are gathered"

        for _ in range(10):
            one.loop.at("test", 0.0, lambda: None)
            one.loop.wait()
        assert len(given) == full

    def test_what_came_before_an_error_goes_out_first(self, wired: Any) -> None:
        def source() -> Iterator[str]:
            yield "before"
            raise LookupError("why")

        one = wired(source())
        assert one.all() == b"before"
        assert isinstance(one.feed.error, LookupError)

    def test_what_is_no_error_of_the_source_passes_through(self, wired: Any) -> None:
        """Ctrl-C in the caller's own code is the caller's."""

        def source() -> Iterator[str]:
            raise KeyboardInterrupt
            yield ""

        one = wired(source())
        with pytest.raises(KeyboardInterrupt):
            one.turn()

    def test_a_reader_that_leaves_is_a_good_end(self, wired: Any) -> None:
        one = wired(iter(lambda: "more", None))
        one.turn()
        one.reader.close()
        one.loop.wait()
        assert (one.ends, one.feed.error) == (1, None)

    def test_a_pipe_is_asked_only_when_it_has_something(self, wired: Any) -> None:
        """Between its pieces nothing waits for it, and the reader's leaving is seen."""
        read, write = os.pipe()
        with open(read, "rb") as source:
            one = wired(source)
            assert one.turn() == b""
            assert one.hands == 0

            os.write(write, b"first")
            assert one.turn() + one.turn() == b"first"
            assert one.turn() == b""

            one.reader.close()
            one.loop.wait()
            assert one.ends == 1
        os.close(write)

    def test_the_end_of_a_pipe_is_the_end_of_the_feed(self, wired: Any) -> None:
        read, write = os.pipe()
        os.write(write, b"all")
        os.close(write)
        with open(read, "rb") as source:
            assert wired(source).all() == b"all"

    def test_detached_it_asks_for_nothing_more(self, wired: Any) -> None:
        """Nor does it say that it ended: this is no end of file."""
        one = wired(iter(lambda: "more", None))
        one.feed.detach()
        one.feed.detach()
        assert one.turn() == b""
        assert (one.ends, one.hands) == (0, 0)


class TestTap:
    def tapped(self, limit_bytes: int = 1 << 20) -> tuple[Loop, Tap, Any]:
        loop, tap = Loop(), Tap(limit_bytes)
        reader, writer = make_pipe("test")
        tap.attach(loop, reader)
        return loop, tap, writer

    def test_bytes_can_be_taken_without_waiting(self) -> None:
        """Straight from the pipe; nothing there is nothing."""
        _loop, tap, writer = self.tapped()
        assert tap.take(100) == b""
        os.write(writer.number, b"abcdef")
        assert [tap.take(4), tap.take(4), tap.take(4)] == [b"abcd", b"ef", b""]
        assert not tap.at_end
        writer.close()
        assert tap.take(1) == b""
        assert tap.at_end
        assert tap.moved_bytes == 6

    def test_it_takes_in_what_comes_up_to_its_limit(self) -> None:
        """Then it leaves the rest in the pipe, until something was taken."""
        loop, tap, writer = self.tapped(limit_bytes=10)
        os.write(writer.number, b"x" * 10)
        loop.wait()
        assert tap.full
        assert loop.interests() == []

        os.write(writer.number, b"y")
        assert tap.take(4) == b"xxxx"
        assert not tap.full
        loop.wait()
        assert tap.take(100) == b"x" * 6 + b"y"
        tap.close()
        writer.close()

    def test_what_is_in_the_pipe_outlives_the_loop(self) -> None:
        """The section has ended; its last bytes have not been read yet."""
        _loop, tap, writer = self.tapped()
        os.write(writer.number, b"last")
        writer.close()
        tap.detach()
        assert not tap.at_end
        assert tap.take(100) == b"last"
        assert tap.take(100) == b""
        assert tap.at_end
        assert not tap.cut

    def test_a_pipe_that_somebody_holds_open_is_cut_after_the_section(self) -> None:
        """It has no end of file to wait for."""
        _loop, tap, writer = self.tapped()
        tap.detach()
        assert tap.take(1) == b""
        assert tap.cut
        tap.close()
        writer.close()

    def test_closing_is_leaving(self) -> None:
        """The writer gets its broken pipe; also when it was closed before it began."""
        _loop, tap, writer = self.tapped()
        tap.close()
        tap.close()
        with pytest.raises(BrokenPipeError):
            os.write(writer.number, b"x")
        writer.close()

        late = Tap(10)
        late.close()
        reader, writer = make_pipe("test")
        late.attach(Loop(), reader)
        with pytest.raises(BrokenPipeError):
            os.write(writer.number, b"x")
        writer.close()


def test_a_section_gets_the_ends_of_its_own_channels() -> None:
    """Those of others stay where they are."""
    here, there, tap = Feed("a"), Feed("b"), Tap(1)
    tap.verdict = ALL_WELL
    own = Outside({"x": here, "y": there}, {"z": tap}).among(["x", "z", "other"])
    assert own == Outside({"x": here}, {"z": tap})
