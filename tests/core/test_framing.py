"""core/framing.py: the same records, whatever pieces the bytes come in."""

from __future__ import annotations

import random

import pytest

from teastreams.core.framing import BATCH_SECONDS, LENGTH, MOST_IN_A_BATCH, Frames, Lines, framed, next_batch
from teastreams.errors import RecordError

TEXT = b"one\n\ntwo\r\nthree \xff\n" + b"x" * 5000 + b"\n\nend"
RECORDS = [b"", b"a", b"\n", b"x" * 70_000, bytes(range(256))]


def pieces(data: bytes, dice: random.Random) -> list[bytes]:
    """The data in pieces of random lengths, some of them empty."""
    cuts = sorted(dice.randrange(len(data) + 1) for _ in range(dice.randrange(12)))
    return [data[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(data)])]


@pytest.mark.parametrize("seed", range(50))
def test_lines_are_those_of_split(seed: int) -> None:
    """In whatever pieces; the last one may lack its newline."""
    splitter = Lines()
    found = [line for piece in pieces(TEXT, random.Random(seed)) for line in splitter.feed(piece)]
    assert found + splitter.end() == TEXT.split(b"\n")


def test_a_stream_that_ends_with_a_newline_has_no_line_behind_it() -> None:
    splitter = Lines()
    assert splitter.feed(b"a\nb\n") == [b"a", b"b"]
    assert (splitter.end(), splitter.offset) == ([], 4)


@pytest.mark.parametrize("seed", range(50))
def test_frames_are_what_was_framed(seed: int) -> None:
    """Also when a length comes in two pieces."""
    splitter = Frames()
    data = b"".join(map(framed, RECORDS))
    found = [record for piece in pieces(data, random.Random(seed)) for record in splitter.feed(piece)]
    assert found + splitter.end() == RECORDS
    assert splitter.offset == len(data)


def test_a_frame_byte_by_byte() -> None:
    splitter = Frames()
    assert [record for byte in framed(b"abc") for record in splitter.feed(bytes([byte]))] == [b"abc"]


@pytest.mark.parametrize("missing", [1, 3, 5, 6])
def test_a_stream_that_ends_in_a_frame_is_an_error_with_its_place(missing: int) -> None:
    """Never an ordinary end: something is missing."""
    splitter = Frames()
    assert splitter.feed((framed(b"first") + framed(b"abc"))[:-missing]) == [b"first"]
    with pytest.raises(RecordError, match="ends within the record at byte 9"):
        splitter.end()


@pytest.mark.parametrize("kind", [Lines, Frames])
def test_the_limit_is_the_longest_record_that_passes(kind: type) -> None:
    """One byte more is an error that names the place; in one piece and in many."""
    wrap = framed if kind is Frames else (lambda record: record + b"\n")
    assert kind(10).feed(wrap(b"x" * 10)) == [b"x" * 10]
    place = 6 if kind is Frames else 3
    for feeds in ([wrap(b"ab") + wrap(b"x" * 11)], [wrap(b"ab"), wrap(b"x" * 11)[:-1], wrap(b"x" * 11)[-1:]]):
        splitter = kind(10)
        with pytest.raises(RecordError, match=f"at byte {place} .*limit_bytes"):
            list(map(splitter.feed, feeds))


def test_a_line_that_never_ends_is_refused_before_it_is_held_as_a_whole() -> None:
    splitter = Lines(100)
    with pytest.raises(RecordError, match="more than 100 bytes"):
        list(map(splitter.feed, [b"x" * 10] * 11))


def test_a_record_of_four_gigabytes_cannot_be_framed() -> None:
    class Long(bytes):
        def __len__(self) -> int:
            return 1 << 32

    with pytest.raises(RecordError, match="divide it into parts"):
        framed(Long())
    assert framed(b"ab") == LENGTH.pack(2) + b"ab"


def test_batches_grow_while_gathering_is_quick_and_shrink_when_it_is_not() -> None:
    """Between one record and the most."""
    assert [next_batch(count, 0.0) for count in (1, 2, 300, MOST_IN_A_BATCH)] == [2, 4, 512, MOST_IN_A_BATCH]
    assert [next_batch(count, BATCH_SECONDS) for count in (1, 2, 512)] == [1, 1, 256]
