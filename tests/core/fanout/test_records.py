"""core/fanout/records.py: whole records, a limit, exact counts."""

from __future__ import annotations

import random

import pytest

from teastreams.core.fanout.records import RecordQueue

OLDEST, NEWEST = False, True  # the value of keep_oldest for drop_oldest and drop_newest
POLICIES = pytest.mark.parametrize("keep_oldest", [OLDEST, NEWEST], ids=["drop_oldest", "drop_newest"])


def drain(queue: RecordQueue, count: int = 10**9) -> bytes:
    """Write everything owed, at most `count` bytes."""
    got = b""
    while count > 0:
        piece = queue.owed()
        if piece is None:
            break
        part = bytes(piece[:count])
        got, count = got + part, count - len(part)
        queue.wrote(len(part))
    return got


def dropped(queue: RecordQueue) -> tuple[int, int]:
    return queue.dropped_bytes, queue.dropped_records


class TestRecords:
    @POLICIES
    def test_only_whole_records_are_owed(self, keep_oldest):
        """The beginning of a record waits until its newline has come."""
        queue = RecordQueue(100, keep_oldest=keep_oldest)
        queue.feed(b"one\ntw")

        assert drain(queue) == b"one\n"
        assert queue.idle
        queue.feed(b"o\n")
        assert drain(queue) == b"two\n"

    @POLICIES
    def test_the_rest_at_the_end_is_a_record(self, keep_oldest):
        """An unterminated rest that fits is delivered at end of file."""
        queue = RecordQueue(100, keep_oldest=keep_oldest)
        queue.feed(b"one\nrest")
        queue.finish()

        assert drain(queue) == b"one\nrest"
        assert dropped(queue) == (0, 0)

    @POLICIES
    def test_a_rest_that_is_too_long_is_one_dropped_record(self, keep_oldest):
        """It is counted once, however many pieces it came in, and nothing of it is delivered."""
        queue = RecordQueue(10, keep_oldest=keep_oldest)
        for _ in range(5):
            queue.feed(b"xxxx")
        queue.finish()

        assert drain(queue) == b""
        assert dropped(queue) == (20, 1)

    @POLICIES
    def test_a_record_longer_than_the_limit_is_dropped_whole(self, keep_oldest):
        """Records before and after it are not touched by it while the reader keeps up."""
        queue = RecordQueue(10, keep_oldest=keep_oldest)
        got = b""
        for piece in (b"a\n", b"0123456", b"789012", b"34\nb\n", b"c\n"):
            queue.feed(piece)
            got += drain(queue)

        assert got == b"a\nb\nc\n"
        assert dropped(queue) == (16, 1)

    @POLICIES
    def test_a_record_of_exactly_the_limit_passes(self, keep_oldest):
        """Limit - 1 and limit pass, limit + 1 does not; the newline counts."""
        for length, fate in ((9, (0, 0)), (10, (0, 0)), (11, (11, 1))):
            queue = RecordQueue(10, keep_oldest=keep_oldest)
            queue.feed(b"x" * (length - 1) + b"\n")

            assert fate == dropped(queue)
            assert length - fate[0] == len(drain(queue))

    @POLICIES
    def test_empty_records_count(self, keep_oldest):
        """A newline alone is a record of one byte."""
        queue = RecordQueue(3, keep_oldest=keep_oldest)
        queue.feed(b"\n" * 5)

        assert drain(queue) == b"\n\n\n"
        assert dropped(queue) == (2, 2)


class TestDropNewest:
    def test_what_arrives_goes_when_full(self):
        """A reader that stands still keeps the oldest records."""
        queue = RecordQueue(6, keep_oldest=NEWEST)
        queue.feed(b"a\nb\nc\nd\ne\n")

        assert dropped(queue) == (4, 2)
        assert drain(queue) == b"a\nb\nc\n"

    def test_a_short_record_still_fits_where_a_long_one_did_not(self):
        """Every record is judged for itself."""
        queue = RecordQueue(8, keep_oldest=NEWEST)
        queue.feed(b"aaa\nlong one\nb\nlong two\nc\nd\n")

        assert drain(queue) == b"aaa\nb\nc\n"
        assert dropped(queue) == (9 + 9 + 2, 3)

    def test_the_held_beginning_of_a_record_goes_with_it(self):
        """A record that outgrows the room gives back what was held of it."""
        queue = RecordQueue(8, keep_oldest=NEWEST)
        queue.feed(b"aaa\nbbb")
        queue.feed(b"bbbb\nc\n")

        assert drain(queue) == b"aaa\nc\n"
        assert dropped(queue) == (8, 1)

    def test_room_made_by_the_reader_is_used(self):
        """After some reading new records are accepted again."""
        queue = RecordQueue(4, keep_oldest=NEWEST)
        queue.feed(b"a\nb\nc\n")
        got = drain(queue, 2)
        queue.feed(b"d\ne\n")

        assert got + drain(queue) == b"a\nb\nd\n"
        assert dropped(queue) == (4, 2)


class TestDropOldest:
    def test_the_oldest_goes_when_full(self):
        """A reader that stands still gets the newest records."""
        queue = RecordQueue(6, keep_oldest=OLDEST)
        queue.feed(b"a\nb\nc\nd\ne\n")

        assert dropped(queue) == (4, 2)
        assert drain(queue) == b"c\nd\ne\n"

    def test_a_record_in_flight_is_finished(self):
        """Its first byte was written: the rest follows, then what is newest."""
        queue = RecordQueue(8, keep_oldest=OLDEST)
        queue.feed(b"abc\ndef\n")
        got = drain(queue, 1)
        queue.feed(b"ghi\n")
        queue.feed(b"jk\n")

        assert got + drain(queue) == b"abc\njk\n"
        assert dropped(queue) == (8, 2)

    def test_a_record_in_flight_is_finished_byte_by_byte(self):
        """More arrives, and is dropped, between each of its bytes; nothing is torn."""
        queue = RecordQueue(6, keep_oldest=OLDEST)
        queue.feed(b"abcd\n")
        got = drain(queue, 1)
        for _ in range(4):
            queue.feed(b"x\ny\nz\n")
            got += drain(queue, 1)
        queue.finish()
        got += drain(queue)

        assert got.startswith(b"abcd\n")
        assert len(got) + queue.dropped_bytes == 5 + 24
        assert got.count(b"\n") + queue.dropped_records == 1 + 12

    def test_a_growing_record_pushes_out_the_older_ones_and_then_itself(self):
        """Until it has proved too long, the newest counts for more than the oldest."""
        queue = RecordQueue(6, keep_oldest=OLDEST)
        for piece in (b"a\nb\n", b"xxx", b"xxx", b"x", b"x\nc\n"):
            queue.feed(piece)

        assert drain(queue) == b"c\n"
        assert dropped(queue) == (4 + 9, 3)


def reference(stream: bytes, limit: int, keep_oldest: bool) -> list[bytes]:
    """What a reader that stands still is owed in the end, record by record, as slowly and plainly as possible."""
    kept: list[bytes] = []
    for record in stream.splitlines(keepends=True):
        if keep_oldest:
            if sum(map(len, kept)) + len(record) <= limit:
                kept.append(record)
            continue
        kept.append(record)
        while sum(map(len, kept)) > limit:
            kept.pop(0)
    return kept


@POLICIES
@pytest.mark.parametrize("seed", range(40))
def test_for_a_still_reader_the_cutting_into_chunks_makes_no_difference(seed, keep_oldest):
    """Whatever the chunks, the outcome is that of the plain record-by-record rule."""
    dice = random.Random(seed)
    for _ in range(10):
        limit, typical = dice.randint(1, 60), dice.choice((2, 8, 40))
        length = dice.randint(0, 300)
        stream = bytes(10 if dice.random() < 1 / typical else dice.randint(97, 122) for _ in range(length))
        queue, place = RecordQueue(limit, keep_oldest=keep_oldest), 0
        while place < len(stream):
            size = dice.choice((1, 7, 90, 300))
            queue.feed(stream[place : place + size])
            place += size
            assert queue.held <= limit
        queue.finish()

        expected = reference(stream, limit, keep_oldest)
        assert b"".join(expected) == drain(queue), (seed, limit, stream)
        assert len(stream.splitlines()) - len(expected) == queue.dropped_records, (seed, limit, stream)
        assert len(stream) - sum(map(len, expected)) == queue.dropped_bytes, (seed, limit, stream)
