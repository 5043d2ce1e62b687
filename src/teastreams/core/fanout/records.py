"""What a consumer with a dropping policy is owed: whole records, at most `limit_bytes` of them.

Laws: a record is a line with its newline; the rest at end of file is one, too. Only whole records go out, in
order; a record whose first byte was written is always finished; delivered + dropped == fed, counted exactly. For
a consumer that stands still the outcome does not depend on how the stream was cut into chunks. Nothing here
ever holds the producer, and `held` never exceeds the limit, not even by a record that is still growing.
"""

from __future__ import annotations

from typing import Optional

from teastreams.core.fanout.window import Buffer, Window

NEWLINE = b"\n"


class RecordQueue:
    """Records on their way to one consumer. `keep_oldest` drops what arrives, otherwise the oldest goes.

    Dropped at once: a record longer than the limit, and one that does not fit beside a record in flight.
    """

    __slots__ = (
        "_keep_oldest", "_limit", "_midway", "_ready", "_rest", "_skipping", "_window",
        "dropped_bytes", "dropped_records",
    )  # fmt: skip

    def __init__(self, limit_bytes: int, *, keep_oldest: bool) -> None:
        self._limit, self._keep_oldest = limit_bytes, keep_oldest
        self._window = Window()
        self._ready = 0  # below it the window holds whole records, above it the beginning of one
        self._rest = memoryview(b"")  # of a record in flight, when what followed it was dropped
        self._midway = False  # the last byte written was not the last of its record
        self._skipping = False  # inside a record that is being dropped
        self.dropped_bytes = 0
        self.dropped_records = 0

    @property
    def held(self) -> int:
        """Bytes in memory for this consumer."""
        return len(self._window) + len(self._rest)

    @property
    def idle(self) -> bool:
        """Is nothing owed now?"""
        return self._ready == self._window.start and not self._rest

    def feed(self, data: bytes) -> None:
        """Take `data` from the stream; whatever has no room is dropped and counted."""
        if self._skipping:
            data = data[self._skip(data, 0) :]
        if self.held + len(data) <= self._limit:
            self._accept(data)
        elif self._keep_oldest:
            self._accept_what_fits(data)
        else:
            self._accept(data)
            self._drop_oldest()

    def finish(self) -> None:
        """The stream has ended: a rest without a newline is a record."""
        self._ready = self._window.end

    def owed(self) -> Optional[Buffer]:
        """The next bytes to write, or None when there is no whole record."""
        if self._rest:
            return self._rest
        start, ready = self._window.start, self._ready
        if start == ready:
            return None
        piece = self._window.view(start)
        return piece if start + len(piece) <= ready else memoryview(piece)[: ready - start]

    def wrote(self, count: int) -> None:
        """The consumer took the first `count` bytes of what `owed` returned."""
        piece = self.owed()
        self._midway = piece is not None and piece[count - 1] != NEWLINE[0]
        if self._rest:
            self._rest = self._rest[count:]
        else:
            self._window.release(self._window.start + count)

    # -- taking and dropping --------------------------------------------------------------------------------

    def _accept(self, data: bytes) -> None:
        last = data.rfind(NEWLINE) + 1
        if last:
            self._ready = self._window.end + last
        if data:
            self._window.append(data)

    def _skip(self, data: bytes, at: int) -> int:
        """Drop the bytes of one record from `at`; returns where the next record begins."""
        end = data.find(NEWLINE, at) + 1
        self._skipping = not end
        self.dropped_bytes += (end or len(data)) - at
        return end or len(data)

    def _accept_what_fits(self, data: bytes) -> None:
        at, surveyed = 0, False
        while at < len(data):
            room = self._limit - self.held
            if len(data) - at <= room:
                self._accept(data[at:])
                return
            fit = data.rfind(NEWLINE, at, at + room) + 1
            if fit:
                self._accept(data[at:fit])
                at = fit
            at = self._reject(data, at)
            if not surveyed:
                at, surveyed = self._reject_all(data, at), True

    def _reject(self, data: bytes, at: int) -> int:
        """Drop the one record that continues at `at`, with its beginning if that is already held."""
        self.dropped_bytes += self._window.end - self._ready
        self._window.truncate(self._ready)
        self.dropped_records += 1
        return self._skip(data, at)

    def _reject_all(self, data: bytes, at: int) -> int:
        """Drop all whole records from `at` in one step if none of them fits: ten times faster than one by one."""
        *records, tail = data[at:].split(NEWLINE)
        if not records or min(map(len, records)) < self._limit - self.held:
            return at
        end = len(data) - len(tail)
        self.dropped_bytes += end - at
        self.dropped_records += len(records)
        return end

    def _drop_oldest(self) -> None:
        window, excess = self._window, self.held - self._limit
        first = window.start  # of what may go: a record in flight stays
        if self._midway and not self._rest:
            first = window.find(NEWLINE, first) + 1
        cut = window.find(NEWLINE, first + excess - 1) + 1
        if not cut:  # the newest record alone is too long, and has not even ended
            cut, self._skipping = window.end, True
            self._ready = cut
        self.dropped_bytes += cut - first
        self.dropped_records += window.count(NEWLINE, first, cut) + self._skipping
        if first > window.start:
            self._rest = memoryview(window.copy(window.start, first))
        window.release(cut)
