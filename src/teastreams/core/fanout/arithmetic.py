"""Broadcast arithmetic: bytes in, what is owed to each consumer, how much may be read, who is finished.

                          ┌─ block, fail: a position in the window ───────────────▶ owed
    source ─ feed ─▶ window ─ spill: a position in the window, or in the log on disk ─▶ owed
       │                  └─ drop_oldest, drop_newest: a queue of whole records ──▶ owed
       └─── begin_round ─▶ what lies in a consumer's private pipe: owed before all else

Laws: the source is read only as far as the fullest lossless consumer has room (`demand`, the minimum over those that
still live); one window and one log on disk serve all; a consumer that has everything is finished at once, a slow one
beside it changes nothing for it; a log that cannot be written holds the producer instead of losing a byte; bytes in a
private pipe count as lag like bytes in memory, so that the limits mean the same however the bytes travel.
Decides only: `runtime/fanout/pump.py` reads, writes and keeps the log, and tells this file what came of it.
"""

from __future__ import annotations

from enum import Enum
from typing import KeysView, Mapping, Optional, Sequence, Union

from teastreams.core.endings import SinkEnd
from teastreams.core.fanout.records import RecordQueue
from teastreams.core.fanout.staging import Staged
from teastreams.core.fanout.window import Buffer, Window
from teastreams.core.graph import DEFAULT_SPILL_BYTES, OVERFLOWS
from teastreams.values import dataclass

# As much as the largest pipe that an ordinary user may have: more cannot come at once.
READ_BYTES = 1024 * 1024
# Less room than this is no room: a consumer that takes a page at a time would make the producer creep.
LEAST_READ_BYTES = 64 * 1024
FETCH_BYTES = 256 * 1024
# One page, whatever the limit: byte by byte, 200 KB behind a limit of 1 took 2.2 s of CPU; by pages 0.05 s.
LEAST_FETCH_BYTES = 4096


@dataclass(frozen=True)
class Terms:
    """How one consumer is served: a policy of `OVERFLOWS`, and how far it may lag in memory (at least one byte)."""

    overflow: str
    limit_bytes: int

    def __post_init__(self) -> None:
        if self.overflow not in OVERFLOWS:
            raise ValueError(f"unknown overflow policy {self.overflow!r}; use one of {', '.join(OVERFLOWS)}")
        if self.limit_bytes < 1:
            raise ValueError(f"a buffer limit of {self.limit_bytes} bytes holds nothing; use 1 or more")


@dataclass(frozen=True)
class Counters:
    """What became of the bytes for one consumer. `spilled_bytes` reached it by way of the disk."""

    delivered_bytes: int
    dropped_bytes: int
    dropped_records: int
    spilled_bytes: int
    high_water_bytes: int


@dataclass(frozen=True)
class LogRead:
    """To do: read up to `length` bytes at `offset` from the log on disk and give them to `Fanout.fetched`."""

    offset: int
    length: int


class _Log(Enum):
    OFF = "everything owed is in memory"
    ON = "somebody lags beyond its memory"
    BROKEN = "the disk refused; what was written is still served"


class _Consumer:
    """One consumer: where it is, and its queue if its policy drops."""

    __slots__ = (
        "delivered", "fetched", "from_log", "high_water", "least_read", "limit", "overflow", "position", "queue",
        "spilled", "staged",
    )  # fmt: skip

    def __init__(self, terms: Terms) -> None:
        self.overflow, self.limit = terms.overflow, terms.limit_bytes
        self.least_read = max(1, min(self.limit // 2, LEAST_READ_BYTES))
        self.position = self.delivered = self.spilled = self.high_water = 0
        self.staged = 0  # in its private pipe, from `position` on
        self.fetched, self.from_log = memoryview(b""), False
        self.queue: Optional[RecordQueue] = None
        if terms.overflow in ("drop_oldest", "drop_newest"):
            self.queue = RecordQueue(terms.limit_bytes, keep_oldest=terms.overflow == "drop_newest")

    @property
    def next(self) -> int:
        """The first byte that it must get from memory or from the log, because it does not hold it alone."""
        return self.position + self.staged + (0 if self.from_log else len(self.fetched))


class Fanout:
    """One broadcast. Consumers are known by their index in `terms`; `live` holds those that are not finished.

    After every call the caller asks `settled` who is finished and closes those. In each round: write what is
    `owed`, bring the log up to date (`to_append`), then read at most `demand` bytes and `feed` them.
    """

    def __init__(
        self, terms: Sequence[Terms], spill_limit_bytes: int = DEFAULT_SPILL_BYTES, read_bytes: int = READ_BYTES
    ) -> None:
        self._all = [_Consumer(each) for each in terms]
        self._live = dict(enumerate(self._all))
        self._settled: list[tuple[int, SinkEnd]] = []
        self._window = Window()
        self.read_bytes, self._spill_limit = read_bytes, spill_limit_bytes
        self._log, self._log_end = _Log.OFF, 0
        self._round_left = 0
        self._append_bytes = min([FETCH_BYTES, *(each.limit_bytes for each in terms if each.overflow == "spill")])
        self.ended = False
        self.delivered_bytes = 0
        self.spill_errors = 0
        self.spill_error = ""

    @property
    def head(self) -> int:
        """How many bytes the source has given."""
        return self._window.end

    @property
    def live(self) -> KeysView[int]:
        """The consumers that are not finished; a view that changes with every `leave`."""
        return self._live.keys()

    @property
    def held_bytes(self) -> int:
        """Bytes in memory, all together."""
        own = sum(len(each.fetched) + (each.queue.held if each.queue else 0) for each in self._live.values())
        return len(self._window) + own

    def counters(self, index: int) -> Counters:
        """What became of the bytes for one consumer, live or not."""
        consumer = self._all[index]
        queue = consumer.queue
        return Counters(
            consumer.delivered,
            queue.dropped_bytes if queue else 0,
            queue.dropped_records if queue else 0,
            consumer.spilled,
            consumer.high_water,
        )

    def standing(self, index: int) -> tuple[int, int, int]:
        """Bytes delivered to a consumer, its lag, and bytes dropped: what is shown of it many times a second."""
        consumer = self._all[index]
        return consumer.delivered, self.lag_bytes(index), consumer.queue.dropped_bytes if consumer.queue else 0

    def lag_bytes(self, index: int) -> int:
        """How far a consumer is behind, in memory and in the log; 0 once it is finished."""
        consumer = self._all[index]
        if index not in self._live:
            return 0
        return consumer.queue.held if consumer.queue else max(0, self.head - consumer.position)

    def settled(self) -> tuple[tuple[int, SinkEnd], ...]:
        """Who was finished since this was asked last, and how: report and close them."""
        news, self._settled = tuple(self._settled), []
        return news

    # -- the source -----------------------------------------------------------------------------------------

    def demand(self) -> int:
        """How many bytes may be read from the source now; 0 is none. Forgets what nobody needs any more.

        Ask when everything that could be written has been: the lag seen here is the one that counts.
        """
        self._forget()
        if self.ended or not self._live:
            return 0
        if self._round_left:  # these were wanted when the round began
            return min(self._round_left, self.read_bytes)
        return max(0, min([self.read_bytes, *map(self._room, self._live.values())]))

    def feed(self, data: bytes) -> None:
        """Take what was read. A consumer of policy fail that is now too far behind is finished."""
        self._window.append(data)
        self._round_left = max(0, self._round_left - len(data))
        for index, consumer in tuple(self._live.items()):
            if consumer.queue:
                consumer.queue.feed(data)
            elif consumer.overflow == "fail" and self.head - consumer.position > consumer.limit:
                self.leave(index, SinkEnd.OVERFLOWED)

    def end(self) -> None:
        """The source is at its end: whoever has everything is finished."""
        self.ended = True
        for index, consumer in tuple(self._live.items()):
            if consumer.queue:
                consumer.queue.finish()
            self._finish_if_served(index, consumer)

    # -- rounds through private pipes -----------------------------------------------------------------------

    @property
    def round_left(self) -> int:
        """How many bytes of the round are still to be taken from the source: `passed`, or read and fed."""
        return self._round_left

    def members(self) -> tuple[int, ...]:
        """Who can take part in a round: those who have everything, and whose policy needs no whole records."""
        return tuple(i for i, each in self._live.items() if each.position == self._window.end and not each.queue)

    def begin_round(self, size: int, staged: Mapping[int, int]) -> None:
        """The next `size` bytes, at most `demand`, are a round: of these, members have so many in their private pipes.

        The last of them may still be in the source: until all are taken, `demand` asks for them and nothing else.
        """
        self._round_left = size
        for index, count in staged.items():
            self._live[index].staged = count

    def passed(self, count: int) -> None:
        """`count` bytes have left the source for private pipes alone: all who live are members and have them."""
        self._switch_log()
        self._forget()
        self._window.skip(count)
        self._round_left -= count

    def unstaged(self, index: int, data: bytes) -> None:
        """`data` was read back from a private pipe."""
        consumer = self._live[index]
        consumer.staged -= len(data)
        consumer.fetched, consumer.from_log = memoryview(data), False

    def behind(self) -> dict[int, int]:
        """Lossless readers that lag and need nothing from the log, and how much each was given so far."""
        head, start = self.head, self._window.start
        return {
            index: each.delivered
            for index, each in self._live.items()
            if not each.queue and each.position < head and each.next >= start
        }

    # -- the consumers --------------------------------------------------------------------------------------

    def owed(self, index: int) -> Union[Buffer, LogRead, Staged, None]:
        """What a live consumer gets next: bytes to write or move, a read of the log to do first, or None: nothing."""
        consumer = self._live[index]
        if consumer.queue:
            return consumer.queue.owed()
        if consumer.fetched:
            return consumer.fetched
        if consumer.staged:
            return Staged(consumer.staged)
        position = consumer.position
        if position >= self._window.end:
            return None
        if position < self._window.start:
            return LogRead(position, min(self._window.start - position, self.fetch_bytes(index)))
        return self._window.view(position)

    def fetch_bytes(self, index: int) -> int:
        """How much of what lies outside of memory is brought in for a consumer at a time: its limit is room for it."""
        return min(FETCH_BYTES, max(self._all[index].limit, min(LEAST_FETCH_BYTES, self.read_bytes)))

    def fetched(self, index: int, data: bytes) -> None:
        """The log gave `data`, not empty and not more than was asked for."""
        consumer = self._live[index]
        consumer.fetched, consumer.from_log = memoryview(data), True

    def wrote(self, index: int, count: int) -> None:
        """A consumer took the first `count` bytes of what it was owed."""
        consumer = self._live[index]
        consumer.delivered += count
        self.delivered_bytes += count
        if consumer.queue:
            consumer.queue.wrote(count)
        else:
            consumer.position += count
            if consumer.fetched:
                consumer.spilled += count if consumer.from_log else 0
                consumer.fetched = consumer.fetched[count:]
            else:
                consumer.staged -= min(count, consumer.staged)
        if self.ended:
            self._finish_if_served(index, consumer)

    def leave(self, index: int, end: SinkEnd = SinkEnd.LEFT) -> None:
        """A consumer is finished, by its own doing or because it cannot be served; again is harmless."""
        consumer = self._live.pop(index, None)
        if consumer is not None:
            consumer.fetched = memoryview(b"")
            self._settled.append((index, end))

    # -- the log on disk ------------------------------------------------------------------------------------

    def to_append(self, whole: bool = False) -> Optional[tuple[int, Buffer]]:
        """The offset and the next bytes to append to the log, or None; ask until None. `whole`: small pieces, too."""
        self._switch_log()
        least = 1 if whole else self._append_bytes
        if self._log is not _Log.ON or self.ended or self.head - self._log_end < least:
            return None
        return self._log_end, self._window.view(self._log_end)

    def appended(self, count: int) -> None:
        """The log took the first `count` bytes of what `to_append` returned."""
        self._log_end += count

    def past_memory(self) -> bool:
        """May what is left of the round go into the log without ever being in memory?

        Then whoever is not a member lags beyond its memory already, and will read it from the log in any case.
        """
        end = self.head + self._round_left
        return self._log is _Log.ON and all(
            each.next >= end or (each.overflow == "spill" and self.head - each.next > each.limit)
            for each in self._live.values()
        )

    def logged(self, count: int) -> None:
        """The log, in which everything before was, took `count` bytes of the round straight from the source."""
        self._window.release(self.head)
        self._window.skip(count)
        self._log_end += count
        self._round_left -= count

    @property
    def log_end(self) -> int:
        """Where the next byte of the log goes."""
        return self._log_end

    def append_failed(self, reason: str) -> None:
        """The log cannot grow: keep what is in memory and hold the producer until the laggards have caught up."""
        self._log = _Log.BROKEN
        self.spill_errors += 1
        self.spill_error = self.spill_error or reason

    def log_floor(self) -> int:
        """Nobody needs the log below this offset."""
        if self._log is _Log.OFF:
            return self.head
        return min(each.next for each in self._spillers())

    # -- inside ---------------------------------------------------------------------------------------------

    def _spillers(self) -> list[_Consumer]:
        return [each for each in self._live.values() if each.overflow == "spill"]

    def _switch_log(self) -> None:
        """On when somebody lags beyond its memory, off when all are well inside: half the limit, or it would flap."""
        if self._log is _Log.OFF and not self._window:  # nobody needs anything from memory, let alone from a disk
            return
        spillers = self._spillers()
        if self._log is _Log.OFF:
            if any(self.head - each.next > each.limit for each in spillers):
                self._log, self._log_end = _Log.ON, min(each.next for each in spillers)
        elif all(self._well_inside(each) for each in spillers):
            self._log, self._log_end = _Log.OFF, 0

    def _well_inside(self, consumer: _Consumer) -> bool:
        return consumer.next >= self._window.start and self.head - consumer.next <= consumer.limit // 2

    def _needed(self, consumer: _Consumer) -> int:
        """The lowest offset that must stay in memory for this consumer."""
        if consumer.queue:
            return self.head
        alone = min(consumer.next, self.head)  # a member may hold more of a round than was taken from the source
        if consumer.overflow != "spill":
            return alone
        # The log ends at 0 while it is off: then everything owed stays in memory.
        return max(alone, min(self._log_end, self.head - consumer.limit))

    def _forget(self) -> None:
        if not self._window:  # rounds through private pipes leave nothing to look for
            return
        lowest = min([self._needed(each) for each in self._live.values()], default=self.head)
        if lowest > self._window.start:
            self._window.release(lowest)

    def _room(self, consumer: _Consumer) -> int:
        """How many bytes this consumer lets the source give."""
        queue, limit = consumer.queue, consumer.limit
        lag = queue.held if queue else self._window.end - consumer.position
        if not lag and consumer.overflow == "block":  # nearly always, between two rounds
            return limit
        consumer.high_water = max(consumer.high_water, lag)
        free = limit - lag
        if queue:  # never holds the producer; but a reader that keeps up must not lose records to one large read
            return free if free >= consumer.least_read else limit
        if consumer.overflow == "fail":  # one byte more than `free` is the end of it, an end of file is not
            return free or self.read_bytes
        if consumer.overflow == "spill":
            free = min(self._room_for_spill(consumer), max(limit, LEAST_READ_BYTES))
        return free if free >= consumer.least_read or not lag else 0

    def _room_for_spill(self, consumer: _Consumer) -> int:
        if self._log is _Log.BROKEN:
            return consumer.limit - (self.head - max(consumer.position, self._log_end))
        return max(consumer.limit, self._spill_limit) - (self.head - consumer.position)

    def _finish_if_served(self, index: int, consumer: _Consumer) -> None:
        if consumer.queue.idle if consumer.queue else consumer.position == self.head:
            self.leave(index, SinkEnd.DELIVERED)
