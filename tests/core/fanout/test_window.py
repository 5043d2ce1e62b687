"""core/fanout/window.py: bytes in memory by absolute offset."""

from __future__ import annotations

import pytest

from teastreams.core.fanout.window import JOIN_BYTES, Window

BIG = bytes(range(256)) * (JOIN_BYTES // 256) + b"!"


def window_of(*chunks: bytes) -> Window:
    window = Window()
    for chunk in chunks:
        window.append(chunk)
    return window


def content(window: Window) -> bytes:
    pieces, place = [], window.start
    while place < window.end:
        pieces.append(bytes(window.view(place)))
        place += len(pieces[-1])
    return b"".join(pieces)


class TestHolding:
    def test_what_went_by_elsewhere_is_counted_and_not_held(self):
        """Offsets go on behind it."""
        window = Window()
        window.skip(10)
        window.append(BIG)

        assert (window.start, window.end) == (10, 10 + len(BIG))
        assert window.view(10) is BIG

    def test_a_whole_chunk_is_handed_out_as_it_came(self):
        """Nobody lags: the very object that was read is written, without a copy or a view."""
        window = window_of(BIG)

        assert window.view(0) is BIG

    def test_a_part_of_a_chunk_is_a_view(self):
        """A reader in the middle of a chunk gets the rest of it, uncopied."""
        view = window_of(BIG).view(100)

        assert isinstance(view, memoryview)
        assert BIG[100:] == view

    @pytest.mark.parametrize("offset", range(0, 5 * len(BIG), 997))
    def test_every_offset_is_found_among_many_chunks(self, offset):
        """The bytes at an offset are those that were appended there."""
        window = window_of(BIG, BIG, BIG, BIG, BIG)

        assert (BIG * 5)[offset] == window.view(offset)[0]

    def test_small_chunks_are_joined(self):
        """Ten bytes at a time cost about as much memory as one big read."""
        window = Window()
        for _ in range(2000):
            window.append(b"ten bytes\n")

        pieces = [len(window.view(offset)) for offset in (0, JOIN_BYTES)]

        assert content(window) == b"ten bytes\n" * 2000
        assert min(pieces) > JOIN_BYTES // 2


class TestReleasing:
    def test_offsets_go_on_after_everything_was_released(self):
        """Offsets are those of the stream, not of what is left."""
        window = window_of(b"abc")
        window.release(3)
        window.append(b"def")

        assert (window.start, window.end, bytes(window.view(4))) == (3, 6, b"ef")

    def test_whole_chunks_below_the_offset_are_forgotten(self):
        """Memory goes chunk by chunk, what lies above stays readable."""
        window = window_of(BIG, BIG, BIG)
        window.release(len(BIG) + 5)

        assert 2 * len(BIG) - 5 == len(window)
        assert (BIG + BIG)[5:] == content(window)
        assert len(window._chunks) == 2

    def test_releasing_inside_the_first_chunk_keeps_it(self):
        """A chunk that is needed in part stays whole."""
        window = window_of(BIG, BIG)
        window.release(5)

        assert (BIG + BIG)[5:] == content(window)


class TestTruncating:
    def test_the_end_is_taken_back(self):
        """What was appended last is gone, and appending goes on from there."""
        window = window_of(BIG, BIG, b"tail")
        window.truncate(len(BIG) + 3)
        window.append(b"new")

        assert BIG + BIG[:3] + b"new" == content(window)

    def test_a_chunk_that_is_taken_back_leaves_no_trace(self):
        """At the border of two chunks nothing empty stays behind, which would be owed for ever."""
        window = window_of(BIG, BIG)
        window.truncate(len(BIG))
        window.append(BIG)

        assert window.view(len(BIG)) is BIG

    def test_everything_can_be_taken_back(self):
        """Truncating to the start leaves nothing."""
        window = window_of(b"abc")
        window.truncate(0)

        assert (len(window), content(window)) == (0, b"")


class TestSearching:
    def test_find_goes_across_chunks(self):
        """The first occurrence at or after an offset, wherever it lies."""
        window = window_of(b"a" * JOIN_BYTES, b"b\nc", b"c" * JOIN_BYTES, b"\n")

        assert window.find(b"\n", 0) == JOIN_BYTES + 1
        assert window.find(b"\n", JOIN_BYTES + 1) == JOIN_BYTES + 1
        assert window.end - 1 == window.find(b"\n", JOIN_BYTES + 2)

    def test_find_says_when_there_is_none(self):
        """-1, also when asked at the very end."""
        window = window_of(b"abc")

        assert (window.find(b"\n", 0), window.find(b"\n", 3)) == (-1, -1)

    def test_count_and_copy_take_exactly_the_range(self):
        """Both respect a range that begins and ends inside chunks."""
        window = window_of(b"\n" * JOIN_BYTES, b"x\nx", b"\n" * JOIN_BYTES)
        first, last = JOIN_BYTES - 1, JOIN_BYTES + 4

        assert window.count(b"\n", first, last) == 3
        assert window.copy(first, last) == b"\nx\nx\n"

    def test_an_empty_window_can_be_searched(self):
        """There is nothing in it."""
        assert Window().find(b"\n", 0) == -1
