"""The child's side: group, lifeline, wiring, run, report, leave.

First acts, in this order: signals back to default, own group, lifeline, foreign ends closed, 0/1/2 wired, mask opened,
`ready` said; only then, when everybody is ready, user code. Last acts: streams flushed inside the node's own
phase, the update and the report sent, `os._exit`: no exit functions, no waiting for threads of the node, and
never a return into the caller's copy of the stack.

    supervisor ──control (GO, verdict)──▶ worker ──result (READY, update, report)──▶ supervisor
    supervisor ──lifeline (never written)──▶ worker          logs of 1 and 2 that are no channel ──▶ supervisor
"""

from __future__ import annotations

import io
import os
import signal
import sys
from dataclasses import field
from typing import Any, Callable, Mapping, Optional

from teastreams.core.endings import ErrorText, How
from teastreams.core.frames import Kind, Memory, frame, header
from teastreams.core.graph import DEFAULT_RESULT_BYTES
from teastreams.core.state.reducers import NONE, ReducerFailed, Reducers
from teastreams.runtime import calls
from teastreams.runtime.fds import Fd, ledger
from teastreams.runtime.gauges import Gauge
from teastreams.runtime.lifeline import arm
from teastreams.runtime.node import stdio
from teastreams.runtime.node.branch import dump_figures
from teastreams.runtime.node.control import Control
from teastreams.runtime.node.ending import Report, classify, dump_report, error_text
from teastreams.runtime.node.leftover import wait_for_children, wait_for_writers
from teastreams.runtime.node.pickles import Parcel, Unsendable, dump_update
from teastreams.runtime.node.tracked import TrackedState
from teastreams.runtime.secrecy import forget_environment
from teastreams.values import dataclass


@dataclass(frozen=True)
class Seat:
    """What a worker is given at its fork: its descriptors, its gauge and its limits.

    `wires` maps 0, 1, 2 to pipe ends of channels, `logs` 1 and 2 to the pipes that carry output which is no stream.
    `keep` holds further descriptors it owns (a fan-out worker's ends), `producer` names who writes its stdin. Those
    outputs that are `lent` are the caller's, and may have other writers.
    """

    name: str
    result: Fd
    control: Fd
    lifeline: Fd
    gauge: Gauge
    wires: Mapping[int, Fd] = field(default_factory=dict)
    logs: Mapping[int, Fd] = field(default_factory=dict)
    keep: tuple[Fd, ...] = ()
    producer: str = ""
    drain_seconds: float = 5.0
    counts_records: bool = False
    result_limit_bytes: int = DEFAULT_RESULT_BYTES
    lent: frozenset[int] = frozenset()

    def own(self) -> tuple[Fd, ...]:
        """Every descriptor this worker keeps; it closes all others of ours."""
        ends = (self.result, self.control, self.lifeline)
        return (*ends, *self.wires.values(), *self.logs.values(), *self.keep)


@dataclass
class Streams:
    """The wired standard streams of a node."""

    stdin: Optional[stdio.InputPipe]
    pipes: dict[int, stdio.OutputPipe]
    outputs: dict[int, io.TextIOWrapper]
    buffers: tuple[Any, ...]  # held, because a node may detach them from their text
    old: list[Any]


class Line:
    """The worker's end of the result pipe. Blocking: the supervisor always reads."""

    def __init__(self, fd: Fd) -> None:
        self._fd = fd

    def send(self, kind: Kind, payload: Memory = b"") -> None:
        """Send one frame; a large payload is not copied behind its header."""
        if len(payload) < 4096:
            self._write(frame(kind, payload))
        else:
            self._write(header(kind, len(payload)))
            self._write(payload)

    def update(self, parcel: Parcel) -> None:
        """What the node returned: its buffers, then the pickle that refers to them. Nothing is copied."""
        for buffer in parcel.buffers:
            self.send(Kind.BUFFER, buffer)
        self._write(header(Kind.UPDATE, sum(map(len, parcel.pieces))))
        for piece in parcel.pieces:
            self._write(piece)

    def _write(self, data: Memory) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[calls.table.write(self._fd.number, rest) :]

    def report(self, report: Report) -> None:
        """The last frame of every worker: how it ended, as plain data."""
        self.send(Kind.REPORT, dump_report(report))


def enter(seat: Seat) -> None:
    """The first acts of every worker, up to its own group and descriptors. Signals are still blocked."""
    default_signals()
    calls.table.setpgid(0, 0)
    arm(seat.lifeline)
    ledger.close_all_but(seat.own())
    forget_environment()


def default_signals() -> None:
    """Every inherited handler back to what a fresh Python has: a host's handler would make us immune to TERM."""
    calls.table.set_wakeup_fd(-1)
    # Ignored, a write says EPIPE or EFBIG instead of killing.
    ignored = {int(signal.SIGPIPE): signal.SIG_IGN, int(signal.SIGXFSZ): signal.SIG_IGN}
    fresh: dict[int, Any] = {**ignored, int(signal.SIGINT): signal.default_int_handler}
    for number in {*calls.table.handled_signals(), *fresh}:
        calls.table.set_handler(number, fresh.get(number, signal.SIG_DFL))


def run_node(
    seat: Seat, body: Callable[[dict[str, Any]], Any], entry: Mapping[str, Any], reducers: Reducers = NONE
) -> None:
    """Everything one node's worker does; never returns."""
    line = Line(seat.result)
    code, phase = 1, "start"
    try:
        enter(seat)
        state = TrackedState(entry, reducers)
        control = Control(seat.control, state.given)
        streams = wire(seat, control, line)
        calls.table.sigmask(signal.SIG_SETMASK, [])
        line.send(Kind.READY)
        control.wait_go()
        phase = "result"
        code = _perform(seat, body, state, control, streams, line)
    except BaseException as error:  # nothing of ours may unwind into the caller's stack
        line.report(Report(How.RAISED, exit_code=1, error=error_text(error), phase=phase))
    finally:
        calls.table.exit(code)


def wire(seat: Seat, control: Control, line: Line) -> Streams:
    """Put the ends on 0, 1 and 2 and fitting objects on sys.std*; what was there before is dropped."""
    for fd in (0, 1, 2):
        end = seat.wires.get(fd) or seat.logs.get(fd)
        if end is None:
            stdio.give_up(fd, os.O_RDONLY if fd == 0 else os.O_WRONLY)
        else:
            calls.table.dup2(end.number, fd)
            end.close()
    return _streams(seat, control, line)


def _streams(seat: Seat, control: Control, line: Line) -> Streams:
    def closed(fd: int) -> None:
        # A worker that fails while it is wired drops its streams, and that closes them: nobody has vouched for these.
        if control.has_go:
            line.send(Kind.CLOSED, bytes([fd]))

    stdin = None
    if 0 in seat.wires:
        counts = seat.counts_records
        stdin = stdio.InputPipe(0, control, seat.gauge, seat.drain_seconds, seat.producer, closed, counts)
    some_pipe = seat.control.number
    reader = stdio.text_reader(stdin, some_pipe) if stdin else stdio.text_reader(io.FileIO(0, "r", closefd=False))
    pipes = {fd: _output(fd, seat, closed) for fd in (1, 2)}
    outputs = {
        fd: stdio.text_writer(
            pipe,
            errors="strict" if fd == 1 else "backslashreplace",
            line_buffering=fd == 2 or fd not in seat.wires or calls.table.isatty(fd),
            some_pipe=some_pipe,
        )
        for fd, pipe in pipes.items()
    }
    buffers = tuple(text.buffer for text in outputs.values())
    return Streams(stdin, pipes, outputs, buffers, stdio.install(reader, outputs[1], outputs[2]))


def _output(fd: int, seat: Seat, closed: Callable[[int], None]) -> stdio.OutputPipe:
    wired = fd in seat.wires
    return stdio.OutputPipe(fd, seat.gauge, closed if wired else None, wired and seat.counts_records)


def _perform(
    seat: Seat,
    body: Callable[[dict[str, Any]], Any],
    state: TrackedState,
    control: Control,
    streams: Streams,
    line: Line,
) -> int:
    """Run the node, flush, send what it returned, report; the exit code."""
    value: Any = None
    error: Optional[BaseException] = None
    worker = calls.table.getpid()
    try:
        value = body(state)
    except BaseException as raised:
        error = raised
    left_early = streams.stdin is not None and streams.stdin.left_early()
    error = _flush(streams, error)
    if calls.table.getpid() != worker:
        # A copy that the node itself forked has come out of its code: the report is not its to make.
        return 0 if error is None else 1
    broken = frozenset(fd for fd in (1, 2) if fd in seat.wires and streams.pipes[fd].reader_left())
    report = classify(error, broken).having(left_early=left_early, told=control.told, held=control.held)
    if report.how is How.RETURNED:
        report = _send_update(seat, value, state, report, line)
    if report.how is How.RETURNED:
        report = report.having(left_running=_leaves_writers(seat, broken))
    figures = dump_figures(body)
    if figures:
        line.send(Kind.FIGURES, figures)
    line.report(report)
    return report.exit_code


def _leaves_writers(seat: Seat, broken: frozenset[int]) -> bool:
    """Will something that it started write to a channel of this node after its end, and be cut off?"""
    outputs = seat.wires.keys() & {1, 2}
    own = outputs - seat.lent - broken
    return bool(outputs) and not (wait_for_children(seat.drain_seconds) and wait_for_writers(own, seat.drain_seconds))


def _flush(streams: Streams, error: Optional[BaseException]) -> Optional[BaseException]:
    """Flush what the node left in its buffers; an error of the node itself is not covered by one of the flush."""
    theirs = (getattr(sys, name, None) for name in ("stdout", "stderr"))
    for stream in (*theirs, *streams.outputs.values(), *streams.buffers):
        try:
            if stream is not None and not _is_over(stream):
                stream.flush()
        except BaseException as raised:
            # A reader that left with the last bytes unread does not undo what the node returned.
            if error is None and not stdio.is_broken_pipe(raised):
                error = raised if isinstance(raised, Exception) else _cut_off(raised)
    return error


def _is_over(stream: Any) -> bool:
    """Closed, or without its buffer: whoever detached that has it."""
    try:
        return bool(stream.closed)
    except ValueError:
        return True


def _cut_off(raised: BaseException) -> Exception:
    """A `sys.exit` in a handler of the node, or in a stream of its own: bytes are missing, so it is no return."""
    return RuntimeError(f"the flush of its streams was cut off by {type(raised).__name__}: {raised}")


def _send_update(seat: Seat, value: Any, state: TrackedState, report: Report, line: Line) -> Report:
    try:
        line.update(dump_update(value, state, seat.result_limit_bytes))
        return report
    except Unsendable as refused:
        error = ErrorText(refused.error_type, str(refused))
    except ReducerFailed as refused:
        error = error_text(refused)
    return Report(How.RAISED, exit_code=1, error=error, phase="result")
