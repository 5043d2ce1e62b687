"""The part of a stream that is held in memory: immutable chunks, found by their absolute offset.

Laws: offsets count from the first byte of the stream and never start again; a byte is stored once, however many
readers are behind; small chunks are joined, so that a producer which writes ten bytes at a time costs about as
much memory as one which writes a megabyte. Knows no reader and no limit: `fanout` and `records` decide what goes.
"""

from __future__ import annotations

from typing import Union

Buffer = Union[bytes, memoryview]

# A bytes object costs 33 bytes and two list entries: below this size chunks are copied together instead.
JOIN_BYTES = 4096


class Window:
    """Bytes `start` to `end` of one stream. Appended at the end, released at the front."""

    __slots__ = ("_chunks", "_starts", "end", "start")

    def __init__(self) -> None:
        self.start = 0
        self.end = 0
        self._chunks: list[bytes] = []
        self._starts: list[int] = []

    def __len__(self) -> int:
        return self.end - self.start

    def append(self, data: bytes) -> None:
        """Hold `data` as the bytes that follow `end`."""
        if self._chunks and len(self._chunks[-1]) + len(data) <= JOIN_BYTES:
            self._chunks[-1] += data
        else:
            self._chunks.append(data)
            self._starts.append(self.end)
        self.end += len(data)

    def skip(self, count: int) -> None:
        """`count` bytes went by that nobody needs from here; only while nothing is held."""
        self.start += count
        self.end += count

    def view(self, offset: int) -> Buffer:
        """The bytes from `offset`, which must be held, to the end of their chunk; never copied."""
        index = self._index(offset)
        chunk, skip = self._chunks[index], offset - self._starts[index]
        return memoryview(chunk)[skip:] if skip else chunk

    def release(self, offset: int) -> None:
        """Forget everything below `offset`. The chunk that `offset` lies in stays whole."""
        self.start = offset
        if offset == self.end:
            self._chunks.clear()
            self._starts.clear()
        else:
            gone = self._index(offset)
            del self._chunks[:gone]
            del self._starts[:gone]

    def truncate(self, offset: int) -> None:
        """Take back everything from `offset` on."""
        while self._starts and self._starts[-1] >= offset:
            self._chunks.pop()
            self._starts.pop()
        if self._starts:
            self._chunks[-1] = self._chunks[-1][: offset - self._starts[-1]]
        self.end = offset

    def find(self, byte: bytes, offset: int) -> int:
        """Where `byte` stands first at or after `offset`; -1 if nowhere."""
        index = self._index(offset) if offset < self.end else len(self._chunks)
        for start, chunk in zip(self._starts[index:], self._chunks[index:]):
            place = chunk.find(byte, max(0, offset - start))
            if place >= 0:
                return start + place
        return -1

    def count(self, byte: bytes, offset: int, end: int) -> int:
        """How often `byte` stands in `offset` up to, not including, `end`."""
        return sum(
            chunk.count(byte, max(0, offset - start), max(0, end - start))
            for start, chunk in zip(self._starts, self._chunks)
        )

    def copy(self, offset: int, end: int) -> bytes:
        """The bytes from `offset` up to, not including, `end`."""
        return b"".join(
            chunk[max(0, offset - start) : max(0, end - start)] for start, chunk in zip(self._starts, self._chunks)
        )

    def _index(self, offset: int) -> int:
        """The last chunk that starts at or below `offset` (bisect is an import that `core` does without)."""
        starts = self._starts
        low, high = 0, len(starts) - 1
        if offset >= starts[high]:
            return high
        while low < high - 1:
            middle = (low + high) // 2
            if starts[middle] <= offset:
                low = middle
            else:
                high = middle
        return low
