"""The fan-out worker: one process in a channel that must be duplicated or buffered.

                        control (GO, "your producer has ended") ◀── supervisor
    producer ──source──▶ fan-out worker ──▶ consumer 1 … consumer n
                        result (READY, one SINK per consumer, report) ──▶ supervisor

It has no channel on 0, 1 and 2, runs no user code, and speaks the same protocol as a node's worker. How bytes are
copied is the pump's business, what is owed to whom `core.fanout.arithmetic`'s. A consumer's end is reported before its
pipe is closed; what a dead fan-out worker had not reported as delivered is not delivered.
"""

from __future__ import annotations

import json
import signal
from dataclasses import asdict
from typing import Any, Callable, Mapping, Optional, Sequence

from teastreams.core.endings import How, SinkEnd
from teastreams.core.fanout.arithmetic import Fanout
from teastreams.core.frames import FrameReader, Kind, Payload
from teastreams.core.plan import Channel
from teastreams.runtime import calls
from teastreams.runtime.fanout.pump import pump
from teastreams.runtime.fanout.reports import Instruction, Sink, SinkReport
from teastreams.runtime.fds import Fd
from teastreams.runtime.gauges import Gauge, SinkGauge
from teastreams.runtime.node.control import Control
from teastreams.runtime.node.ending import Report, error_text
from teastreams.runtime.node.worker import Line, Seat, enter, wire
from teastreams.values import dataclass

MESSAGE_LIMIT = 1 << 16


@dataclass(frozen=True)
class Post:
    """The place of one fan-out worker: its channel, its source, its consumers' pipe ends, and their gauges."""

    channel: Channel
    source: Fd
    sinks: Mapping[str, Fd]
    sink_gauges: Sequence[SinkGauge] = ()
    spill_directory: Optional[str] = None


def run_fanout(seat: Seat, post: Post) -> None:
    """Everything a fan-out worker does; never returns."""
    run_pump(seat, lambda _control, line: _serve(seat, post, line))


def run_pump(seat: Seat, serve: Callable[[Control, Line], None]) -> None:
    """The life of a worker without user code, round `serve`, which moves the bytes; never returns."""
    line = Line(seat.result)
    code = 1
    try:
        enter(seat)
        control = Control(seat.control, lambda _update: None)
        wire(seat, control, line)
        calls.table.sigmask(signal.SIG_SETMASK, [])
        line.send(Kind.READY)
        control.wait_go()
        serve(control, line)
        line.report(Report(How.RETURNED))
        code = 0
    except BaseException as error:  # nothing of ours may unwind into the caller's stack
        line.report(Report(How.RAISED, exit_code=1, error=error_text(error), phase="fan-out"))
    finally:
        calls.table.exit(code)


def _serve(seat: Seat, post: Post, line: Line) -> None:
    consumers = post.channel.consumers
    calls.table.set_blocking(post.source.number, False)
    ended_readers: set[str] = set()
    totals = pump(
        post.source,
        [Sink(c.node, post.sinks[c.node], c.overflow, c.buffer_limit) for c in consumers],
        lambda sink: line.send(Kind.SINK, dump_sink(sink)),
        spill_limit_bytes=max(consumer.spill_limit for consumer in consumers),
        spill_directory=post.spill_directory,
        control=seat.control,
        on_control=_listener(ended_readers),
        ended_readers=ended_readers,
        drain_seconds=seat.drain_seconds,
        gauge=_gauge_hook(seat.gauge, post.sink_gauges),
    )
    if totals.spill_errors:
        what = f"channel {post.channel.name!r} could not spill to disk ({totals.spill_error})"
        text = f"{what}; its producer was held instead"
        line.send(Kind.EVENT, text.encode())


def _listener(ended_readers: set[str]) -> Any:
    """Turns frames of the control pipe into the pump's instructions, and notes which readers have ended."""
    frames = FrameReader({}, MESSAGE_LIMIT)

    def listen(data: bytes) -> Optional[Instruction]:
        heard = list(frames.feed(data))
        ended_readers.update(bytes(payload).decode() for kind, payload in heard if kind is Kind.READER_ENDED)
        return Instruction.SOURCE_ENDED if any(kind is Kind.SOURCE_ENDED for kind, _payload in heard) else None

    return listen


def _gauge_hook(gauge: Gauge, sinks: Sequence[SinkGauge]) -> Callable[[Fanout], None]:
    def count(fanout: Fanout) -> None:
        gauge.add(0, fanout.head - gauge.moved(0))
        gauge.add(1, fanout.delivered_bytes - gauge.moved(1))
        for index, sink in enumerate(sinks):
            sink.show(*fanout.standing(index))

    return count


def dump_sink(sink: SinkReport) -> bytes:
    """A sink's report as plain data for its frame."""
    return json.dumps({**asdict(sink), "end": sink.end.value}).encode()


def load_sink(payload: Payload) -> Optional[SinkReport]:
    """The inverse; None when it is none."""
    try:
        data = json.loads(payload)
        return SinkReport(**{**data, "end": SinkEnd(data["end"])})
    except (ValueError, TypeError, KeyError):
        return None
