"""Records in a stream of bytes, found incrementally: lines, and frames with their length before them.

Laws: whatever pieces the bytes come in, the records are the same; nothing is copied twice for a record that comes in
one piece, and a long one that comes in many is joined once; a record over `limit_bytes` is an error before it is held
as a whole. `offset` is where the record begins that is not complete yet, so that an error can name the place. What a
record means is the business of `runtime/node/records.py`.
"""

from __future__ import annotations

import struct

from teastreams.errors import RecordError

LENGTH = struct.Struct(">I")
"""Before each frame: four bytes, the most significant one first, as most programs have it."""
MAX_FRAME_BYTES = (1 << 32) - 1
DEFAULT_LIMIT_BYTES = 64 * 1024 * 1024


def framed(record: bytes) -> bytes:
    """A record with its length before it; RecordError for one of 4 GiB or more."""
    if len(record) > MAX_FRAME_BYTES:
        raise RecordError(f"a record of {len(record)} bytes cannot be framed; divide it into parts below 4 GiB")
    return LENGTH.pack(len(record)) + record


class Held:
    """The beginning of a record, in the pieces that it came in."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes, self.offset = limit_bytes, 0
        self.size = 0
        self._pieces: list[bytes] = []

    def add(self, piece: bytes) -> None:
        """It goes on; RecordError when it is longer than it may be."""
        if piece:
            self._pieces.append(piece)
            self.size += len(piece)
        if self.size > self.limit_bytes:
            raise self.too_long(self.size)

    def take(self, last: bytes) -> bytes:
        """The whole, whose last piece is `last`; nothing is held then."""
        if not self._pieces:
            return last
        whole = b"".join((*self._pieces, last))
        self._pieces.clear()
        self.size = 0
        return whole

    def too_long(self, size: int) -> RecordError:
        return RecordError(
            f"the record at byte {self.offset} has more than {self.limit_bytes} bytes ({size} so far); "
            "raise limit_bytes, or see whether the stream really consists of such records"
        )


class Lines:
    """Splits a stream at newlines. The last line may lack its newline, as in a file."""

    def __init__(self, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        self._held = Held(limit_bytes)

    @property
    def offset(self) -> int:
        """Where the line begins that is not complete."""
        return self._held.offset

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete now, without their newlines."""
        lines = data.split(b"\n")
        rest = lines.pop()
        if lines:
            taken = self._held.size + len(data) - len(rest)
            lines[0] = self._held.take(lines[0])
            if max(len(data), len(lines[0])) > self._held.limit_bytes:
                self._check(lines)
            self._held.offset += taken
        self._held.add(rest)
        return lines

    def end(self) -> list[bytes]:
        """What stands behind the last newline, if anything does."""
        rest = self._held.take(b"")
        return [rest] if rest else []

    def _check(self, lines: list[bytes]) -> None:
        sizes = list(map(len, lines))
        longest = max(sizes)
        if longest > self._held.limit_bytes:
            before = sizes[: sizes.index(longest)]
            self._held.offset += sum(before) + len(before)
            raise self._held.too_long(longest)


class Frames:
    """Takes a stream of frames apart. An end within a frame is an error: something of the stream is missing."""

    def __init__(self, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        self._held = Held(limit_bytes + LENGTH.size)
        self._limit_bytes = limit_bytes
        self._needed = LENGTH.size

    @property
    def offset(self) -> int:
        """Where the frame begins that is not complete."""
        return self._held.offset

    def feed(self, data: bytes) -> list[bytes]:
        """The records that are complete now."""
        if self._held.size + len(data) < self._needed:
            self._held.add(data)
            return []
        whole, start, records = self._held.take(data), 0, []
        self._needed = LENGTH.size
        while len(whole) - start >= self._needed:
            stop = start + LENGTH.size + self._length(whole, start)
            if stop > len(whole):
                self._needed = stop - start
                break
            records.append(whole[start + LENGTH.size : stop])
            self._held.offset += stop - start
            start = stop
        self._held.add(whole[start:])
        return records

    def end(self) -> list[bytes]:
        """Nothing more comes; RecordError when a frame has begun."""
        if self._held.size:
            raise RecordError(
                f"the stream ends within the record at byte {self.offset}: {self._held.size} bytes of it are there, "
                f"at least {self._needed} were announced; see whether its producer writes the same codec"
            )
        return []

    def _length(self, whole: bytes, start: int) -> int:
        length: int = LENGTH.unpack_from(whole, start)[0]
        if length > self._limit_bytes:
            raise RecordError(
                f"the record at byte {self.offset} is announced with {length} bytes, at most {self._limit_bytes} are "
                "allowed; raise limit_bytes, or see whether its producer writes the same codec"
            )
        return length


MOST_IN_A_BATCH = 512
BATCH_SECONDS = 0.005


def next_batch(count: int, seconds: float) -> int:
    """How many records to gather after `count` of them took so long: twice as many while that is quick, else half."""
    return min(2 * count, MOST_IN_A_BATCH) if seconds < BATCH_SECONDS else max(1, count // 2)
