"""The loop of a fan-out worker: one source in, several sinks out, one place that waits.

    source ─read─▶ core.fanout ─write─▶ sink 0 … sink n
       │             │     ▲                       ▲         control: "the producer has ended", or end of file:
       │          append  read                     │         the supervisor is gone, leave at once
       │             ▼     │                       │
       │          fanout.spill                     │
       └─tee──────────────── fanout.splice ─splice─┘         where the kernel can, once there is much at a time

Laws: decides nothing about bytes, `core/fanout` does; waits only in poll(2), and never with something it could do; a
sink whose reader has gone is noticed without writing to it (POLLERR comes with mask 0, too); a consumer is reported
first and its pipe closed then, so that nobody sees an end of file that was not vouched for; returns with every
descriptor it was given closed. Expects SIGPIPE and SIGXFSZ to be ignored, as Python sets them at start.
"""

from __future__ import annotations

import select
from typing import Callable, Collection, Optional, Sequence, Union

from teastreams.core.endings import SinkEnd
from teastreams.core.fanout.arithmetic import READ_BYTES, Fanout, LogRead, Terms
from teastreams.core.fanout.staging import FIRST_ASK_BYTES, Patience, Staged, next_ask
from teastreams.core.fanout.window import Buffer
from teastreams.core.graph import DEFAULT_SPILL_BYTES
from teastreams.runtime import calls
from teastreams.runtime.fanout.reports import Instruction, PumpReport, Sink, SinkReport, SourceEnd
from teastreams.runtime.fanout.spill import SpillLog
from teastreams.runtime.fanout.splice import NOW_OR_LATER, Staging
from teastreams.runtime.fds import Fd

GONE = select.POLLERR | select.POLLHUP | select.POLLNVAL
CONTROL_BYTES = 65536
# One sink that reads as fast as we write must not keep the others waiting for longer than this.
TURN_BYTES = 1024 * 1024


def pump(
    source: Fd,
    sinks: Sequence[Sink],
    report: Callable[[SinkReport], None],
    *,
    spill_limit_bytes: int = DEFAULT_SPILL_BYTES,
    spill_directory: Optional[str] = None,
    control: Optional[Fd] = None,
    on_control: Callable[[bytes], Optional[Instruction]] = lambda _: None,
    ended_readers: Collection[str] = (),
    drain_seconds: float = 5.0,
    gauge: Optional[Callable[[Fanout], None]] = None,
    read_bytes: int = READ_BYTES,
) -> PumpReport:
    """Copy `source` to every sink until all are finished; blocks until then and closes what it was given.

    `report` is called once per consumer, just before its pipe is closed; not when the supervisor is gone. `gauge` is
    called after each round and may look at what was read, delivered and held, and change nothing. `on_control` may add
    to `ended_readers`: nobody reads there, though a stranger holds the pipe. `control` stays open. `source` is read
    only when poll says so, and its flags are left alone: others may hold it, but nobody else may read it. Sets
    O_NONBLOCK on the sinks' ends, which must be pipe ends that nobody else uses.
    ValueError for an unknown policy or a limit below one byte; what `report` and `on_control` raise passes through.
    """
    spill, staging = SpillLog(spill_directory, spill_limit_bytes), None
    try:
        terms = [Terms(sink.overflow, sink.buffer_limit_bytes) for sink in sinks]
        fanout = Fanout(terms, spill_limit_bytes, read_bytes)
        staging = Staging(source, [sink.fd.number for sink in sinks], fanout)
        return _Pump(
            source,
            sinks,
            fanout,
            spill,
            staging,
            report=report,
            gauge=gauge,
            control=control,
            on_control=on_control,
            ended_readers=ended_readers,
            drain_seconds=drain_seconds,
        ).run()
    finally:
        for fd in (source, *(sink.fd for sink in sinks)):
            fd.close()
        spill.close()
        if staging is not None:
            staging.close()


class _Pump:
    """The state of one loop: what is watched for what, what was reported."""

    def __init__(
        self,
        source: Fd,
        sinks: Sequence[Sink],
        fanout: Fanout,
        spill: SpillLog,
        staging: Staging,
        *,
        report: Callable[[SinkReport], None],
        gauge: Optional[Callable[[Fanout], None]],
        control: Optional[Fd],
        on_control: Callable[[bytes], Optional[Instruction]],
        ended_readers: Collection[str],
        drain_seconds: float,
    ) -> None:
        self._source, self._sinks, self._fanout = source, sinks, fanout
        self._spill, self._staging, self._patience = spill, staging, Patience()
        self._hold_seconds = 0.0
        self._report, self._on_control, self._gauge = report, on_control, gauge
        self._control, self._drain_seconds, self._ended_readers = control, drain_seconds, ended_readers
        self._read, self._write = calls.table.read, calls.table.write
        self._poll = calls.table.poll()
        self._numbers = [sink.fd.number for sink in sinks]
        self._index = {number: index for index, number in enumerate(self._numbers)}
        self._masks = dict.fromkeys(self._index.values(), 0)
        self._ask, self._most = FIRST_ASK_BYTES, fanout.read_bytes
        self._want = 0  # how much may be read; the source is watched while it is not 0
        self._source_ended = False
        self._quiet_since: Optional[float] = None
        self._source_end: Optional[SourceEnd] = None
        self._details: dict[int, str] = {}
        self._reports: dict[int, SinkReport] = {}

    def run(self) -> PumpReport:
        self._start()
        while self._fanout.live:
            self._keep_log()
            self._watch_source()
            self._round(self._wait())
            if self._gauge is not None:
                self._gauge(self._fanout)
        return self._totals()

    def _start(self) -> None:
        for number in self._numbers:
            calls.table.set_blocking(number, False)
            self._poll.register(number, 0)
        if self._control is not None:
            self._poll.register(self._control.number, select.POLLIN)

    # -- waiting --------------------------------------------------------------------------------------------

    def _watch_source(self) -> None:
        """A source that may not be read is not watched at all: its POLLHUP could not be switched off."""
        want = self._fanout.demand()
        self._hold_seconds = self._patience_left() if want and self._staging.busy else 0.0
        if self._hold_seconds:
            want = 0
        if want and not self._want:
            self._poll.register(self._source.number, select.POLLIN)
        elif self._want and not want:
            self._poll.unregister(self._source.number)
        self._want = want

    def _patience_left(self) -> float:
        """How long the source waits for readers that are about to have everything: the next round is theirs, too."""
        behind = {} if self._fanout.round_left else self._fanout.behind()
        return self._patience.seconds_left(calls.table.monotonic(), behind) if behind else 0.0

    def _wait(self) -> list[tuple[int, int]]:
        if self._staging.busy:
            # Where cores are short, whoever writes and reads has its turn first: rounds are larger then, and a
            # broadcast to three on two cores is faster by 5 to 8 %. Where nobody waits for a core it costs nothing.
            calls.table.sched_yield()
        try:
            return self._poll.poll(self._seconds_left())
        except InterruptedError:
            return []

    def _seconds_left(self) -> Optional[float]:
        """Time is limited while a round is held, and while the producer has ended and its stream is open and empty."""
        if not (self._source_ended and self._want):
            self._quiet_since = None
            return self._hold_seconds or None
        now = calls.table.monotonic()
        if self._quiet_since is None:
            self._quiet_since = now
        return max(0.0, self._quiet_since + self._drain_seconds - now)

    def _round(self, events: list[tuple[int, int]]) -> None:
        """Sinks first: a consumer of policy fail or drop gets every chance before more is read."""
        source, control = self._source.number, self._control.number if self._control else -1
        readable = False
        for number, mask in events:
            if number == source:
                readable = True
            elif number == control:
                self._hear(mask)
            else:
                self._serve(self._index[number], mask)
        if readable and self._fanout.live:
            self._pull()
        elif self._quiet_since is not None and self._seconds_left() == 0:
            self._stop(SourceEnd.HELD, SinkEnd.HELD, SourceEnd.HELD.value)
        self._close_settled()

    # -- moving bytes ---------------------------------------------------------------------------------------

    def _pull(self) -> None:
        if self._staging.busy and not self._fanout.round_left and self._staging.round(self._want):
            self._quiet_since = None
            self._patience.next_round()
            self._log_rest()
            if not self._fanout.round_left:
                self._push_all()
                return
        self._pull_into_memory()

    def _pull_into_memory(self) -> None:
        rest = self._fanout.round_left
        try:
            data = self._read(self._source.number, rest or min(self._want, self._ask))
        except NOW_OR_LATER:
            return
        except OSError as error:
            self._stop(SourceEnd.FAILED, SinkEnd.CUT, f"reading the channel failed: {error.strerror}")
            return
        self._quiet_since = None
        if not data:
            self._end_source()
            return
        if not rest:
            self._ask = next_ask(self._ask, len(data), self._most)
            self._staging.saw(len(data))
        self._fanout.feed(data)
        self._push_all()

    def _end_source(self) -> None:
        if self._fanout.round_left:
            self._stop(SourceEnd.FAILED, SinkEnd.CUT, "somebody else reads the channel, too: bytes are missing")
            return
        self._source_end = SourceEnd.EOF
        self._close_source()
        self._fanout.end()
        self._push_all()  # the beginning of a record may be a whole one now

    def _push_all(self) -> None:
        """Write to everybody whose pipe is not known to be full."""
        for index in tuple(self._fanout.live):
            if not self._masks[index]:
                self._push(index)

    def _serve(self, index: int, mask: int) -> None:
        if mask & GONE:
            self._fanout.leave(index)
        else:
            self._push(index)

    def _push(self, index: int) -> None:
        """Write what is owed, as far as the pipe has room and the turn lasts."""
        fanout, live, written = self._fanout, self._fanout.live, 0
        while index in live:
            piece = self._piece(index)
            if piece is None:
                self._watch(index, 0)
                return
            if written >= TURN_BYTES:
                break
            count = self._write_some(index, piece)
            if count:
                fanout.wrote(index, count)
            elif isinstance(piece, Staged) and self._staging.refused:
                continue  # it is read back instead
            if count < len(piece):
                break
            written += count
        if index in live:
            self._watch(index, select.POLLOUT)

    def _piece(self, index: int) -> Union[Buffer, Staged, None]:
        owed = self._fanout.owed(index)
        if isinstance(owed, Staged):
            return self._read_back(index) if self._staging.refused else owed
        if not isinstance(owed, LogRead):
            return owed
        try:
            self._fanout.fetched(index, self._spill.read(owed.offset, owed.length))
        except OSError as error:
            self._cut(index, f"its overflow log in {self._directory} cannot be read back: {error.strerror}")
            return None
        return self._piece(index)

    def _read_back(self, index: int) -> Optional[Buffer]:
        data = self._staging.read_back(index, self._fanout.fetch_bytes(index))
        if not data:
            self._cut(index, "bytes of its staging pipe are gone")
            return None
        self._fanout.unstaged(index, data)
        return data

    def _write_some(self, index: int, piece: Union[Buffer, Staged]) -> int:
        try:
            if isinstance(piece, Staged):
                return self._staging.hand_over(index, piece.length)
            return self._write(self._numbers[index], piece)
        except NOW_OR_LATER:
            return 0
        except (BrokenPipeError, ConnectionResetError):
            self._fanout.leave(index)
        except OSError as error:
            self._cut(index, f"writing to it failed: {error.strerror}")
        return 0

    def _watch(self, index: int, mask: int) -> None:
        if self._masks[index] != mask:
            self._masks[index] = mask
            self._poll.register(self._numbers[index], mask)

    # -- the log --------------------------------------------------------------------------------------------

    @property
    def _directory(self) -> str:
        return self._spill.directory or "the temporary directory"

    def _log_rest(self) -> None:
        """For those who are far behind, the round goes to the log without being read, where that is possible."""
        if self._fanout.round_left and self._fanout.past_memory():
            self._keep_log(whole=True)
            self._staging.log_rest(self._spill)

    def _keep_log(self, whole: bool = False) -> None:
        fanout = self._fanout
        todo = fanout.to_append(whole)
        while todo is not None:
            try:
                fanout.appended(self._spill.append(*todo))
            except OSError as error:
                fanout.append_failed(f"spilling to {self._directory} failed: {error.strerror}")
            todo = fanout.to_append(whole)
        if self._spill:
            self._spill.drop_below(fanout.log_floor())

    # -- ending ---------------------------------------------------------------------------------------------

    def _hear(self, mask: int) -> None:
        """The supervisor spoke, or is gone; then nobody is left to report to."""
        data = b""
        if mask & select.POLLIN and self._control is not None:
            try:
                data = self._read(self._control.number, CONTROL_BYTES)
            except NOW_OR_LATER:
                return
        if not data:
            self._report = lambda _: None
            self._stop(SourceEnd.ABANDONED, SinkEnd.CUT, SourceEnd.ABANDONED.value)
        elif self._on_control(data) is Instruction.SOURCE_ENDED:
            self._source_ended = True
        for index in [each for each in self._fanout.live if self._sinks[each].name in self._ended_readers]:
            self._fanout.leave(index)

    def _cut(self, index: int, detail: str) -> None:
        self._details[index] = detail
        self._fanout.leave(index, SinkEnd.CUT)

    def _stop(self, source_end: SourceEnd, end: SinkEnd, detail: str) -> None:
        self._source_end = source_end
        for index in tuple(self._fanout.live):
            self._details[index] = detail
            self._fanout.leave(index, end)

    def _close_source(self) -> None:
        self._poll.unregister(self._source.number)
        self._want = 0
        self._source.close()

    def _close_settled(self) -> None:
        for index, end in self._fanout.settled():
            self._reports[index] = self._sink_report(index, end)
            self._report(self._reports[index])
            self._poll.unregister(self._numbers[index])
            del self._masks[index]
            self._staging.drop(index)
            self._sinks[index].fd.close()

    def _sink_report(self, index: int, end: SinkEnd) -> SinkReport:
        count = self._fanout.counters(index)
        return SinkReport(
            self._sinks[index].name,
            end,
            count.delivered_bytes,
            count.dropped_bytes,
            count.dropped_records,
            count.spilled_bytes,
            count.high_water_bytes,
            self._details.get(index, ""),
        )

    def _totals(self) -> PumpReport:
        fanout = self._fanout
        return PumpReport(
            self._source_end or SourceEnd.NO_READERS,
            fanout.head,
            fanout.delivered_bytes,
            tuple(self._reports[index] for index in sorted(self._reports)),
            fanout.spill_errors,
            fanout.spill_error,
        )
