"""One broadcast into FIFOs: the worker that feeds them, and the record of it on the caller's side.

    source ──▶ forked worker (runtime/fanout/pump.py) ──▶ FIFO 1 … FIFO n ──▶ programs that opened them

Laws: not a byte is read before every FIFO has a reader; the worker waits for nobody but its readers, so what it
has to say to a caller who does not listen is kept until the streams are done; a stop is TERM and CONT, a grace,
KILL; a worker that ended is always collected. There is no verdict here: a program outside knows an end of file and
nothing else, only the caller learns from the report whether it was the true end.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
from contextlib import ExitStack, suppress
from dataclasses import field
from functools import partial
from typing import Callable, Mapping, Optional

from teastreams.core.endings import SinkEnd
from teastreams.core.fanout.arithmetic import Fanout
from teastreams.core.frames import Kind, frame
from teastreams.core.lifecycle import Action, Event, State, step
from teastreams.core.plan import fanout_name
from teastreams.runtime import calls, fork
from teastreams.runtime.exits import PEEK_SECONDS, watch_exit
from teastreams.runtime.fanout.fifos import FifoFolder
from teastreams.runtime.fanout.pump import pump
from teastreams.runtime.fanout.reports import Sink, SinkReport
from teastreams.runtime.fanout.tee import dump_sink, load_sink, run_pump
from teastreams.runtime.fds import Fd, make_pipe, open_numbers, resize
from teastreams.runtime.gauges import Gauge, Gauges
from teastreams.runtime.loop import Loop
from teastreams.runtime.node.control import Control
from teastreams.runtime.node.stdio import give_up
from teastreams.runtime.node.worker import Line, Seat
from teastreams.runtime.supervision.child import Child, parse_report
from teastreams.runtime.supervision.figures import ConsumerFigures
from teastreams.values import dataclass

# A kernel tells nobody that a FIFO got its reader: only trying again finds out.
ATTACH_SECONDS = 0.01
GRACE_SECONDS = 5.0
DRAIN_SECONDS = 5.0
WELL_ENDS = {SinkEnd.DELIVERED.value, SinkEnd.LEFT.value}


@dataclass(frozen=True)
class BroadcastReport:
    """How one broadcast ended.

    `bytes` were read from the source; `consumers` says what each consumer got. A consumer that the worker was not
    finished with when it was ended has the end "cut", and its bytes are not known. `reason` is "" when the worker came
    to its own end and nobody was cut, `exit_code` the worker's, or the negative number of the signal that ended it.
    """

    bytes: int
    consumers: Mapping[str, ConsumerFigures] = field(default_factory=dict)
    exit_code: Optional[int] = None
    reason: str = ""

    @property
    def well(self) -> bool:
        """Did every consumer get everything, or leave by itself?"""
        return not self.reason and all(each.end in WELL_ENDS for each in self.consumers.values())


@dataclass(frozen=True)
class Policy:
    """How every consumer of one broadcast is served."""

    overflow: str
    buffer_limit_bytes: int
    spill_limit_bytes: int


# -- the worker -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Post:
    """What the worker of one broadcast is given. `fifos` maps consumers to names in the folder."""

    source: Fd
    folder: FifoFolder
    fifos: Mapping[str, str]
    policy: Policy


class _Outbox:
    """Sends what the pipe takes now and keeps the rest: a caller who does not listen must not hold up a reader."""

    def __init__(self, fd: Fd) -> None:
        self._fd, self._rest = fd, bytearray()

    def post(self, sink: SinkReport) -> None:
        self._rest += frame(Kind.SINK, dump_sink(sink))
        try:
            self._write_some()
        except BlockingIOError:
            return

    def __enter__(self) -> _Outbox:
        calls.table.set_blocking(self._fd.number, False)
        return self

    def __exit__(self, *_exc: object) -> None:
        calls.table.set_blocking(self._fd.number, True)
        self._write_some()

    def _write_some(self) -> None:
        while self._rest:
            del self._rest[: calls.table.write(self._fd.number, bytes(self._rest))]


def _serve(seat: Seat, post: _Post, control: Control, _line: Line) -> None:
    """What the worker does once it is ready."""
    _give_up_strangers(seat)
    ends = _attach(post, control)
    policy = post.policy
    with _Outbox(seat.result) as outbox:
        pump(
            post.source,
            [Sink(name, end, policy.overflow, policy.buffer_limit_bytes) for name, end in ends.items()],
            outbox.post,
            spill_limit_bytes=policy.spill_limit_bytes,
            spill_directory=post.folder.path,
            control=seat.control,
            gauge=partial(_count, seat.gauge),
        )


def _give_up_strangers(seat: Seat) -> None:
    """Let go of what the caller had open: a write end of our own source among it would keep the end of file from us.

    Each number stays taken, by /dev/null: an object of the caller's that closes it late must not hit a file of ours.
    """
    kept = {0, 1, 2, *(fd.number for fd in seat.own())}
    for number in open_numbers():
        if number not in kept:
            with suppress(OSError):
                calls.table.fcntl(number, fcntl.F_GETFD)
                give_up(number, os.O_RDWR)


def _attach(post: _Post, control: Control) -> dict[str, Fd]:
    """The write end of every FIFO, in the order of the consumers, once each of them has a reader."""
    watch = calls.table.poll()
    watch.register(control.fileno(), select.POLLIN)
    ends: dict[str, Fd] = {}
    while len(ends) < len(post.fifos):
        for consumer, fifo in post.fifos.items():
            end = None if consumer in ends else post.folder.open_writer(fifo)
            if end is not None:
                ends[consumer] = _sized(end)
        if len(ends) < len(post.fifos) and watch.poll(ATTACH_SECONDS):
            control.receive()  # nothing more is ever said: this is the end of the caller, and of us
    return {consumer: ends[consumer] for consumer in post.fifos}


def _sized(end: Fd) -> Fd:
    size = calls.forced_pipe_bytes()
    if size is not None:
        resize(end, size)
    return end


def _count(gauge: Gauge, fanout: Fanout) -> None:
    gauge.add(0, fanout.head - gauge.moved(0))


# -- the caller's side ----------------------------------------------------------------------------------------------


class Broadcast:
    """One broadcast: declared, then started, then finished. `fifos` maps its consumers to names in the folder."""

    def __init__(self, name: str, folder: FifoFolder, fifos: Mapping[str, str], policy: Policy) -> None:
        self.name, self.fifos = name, fifos
        self._folder, self._policy = folder, policy
        self._loop = Loop()
        self._child: Optional[Child] = None
        self._gauges: Optional[Gauges] = None
        self._bytes = 0
        self._sinks: dict[str, SinkReport] = {}
        self._grace_seconds = GRACE_SECONDS
        self._stopped = False

    @property
    def started(self) -> bool:
        """Was its worker forked?"""
        return self._child is not None

    def start(self, source: Fd) -> None:
        """Fork the worker, which takes `source` over. LimitError or OSError leave nothing of it behind."""
        with ExitStack() as theirs, ExitStack() as ours:
            theirs.callback(source.close)
            gauges = Gauges(1)
            ours.callback(gauges.close)
            child, seat = self._seat(source, gauges, theirs, ours)
            post = _Post(source, self._folder, self.fifos, self._policy)
            target = partial(run_pump, seat, partial(_serve, seat, post))
            child.process = fork.start(child.name, target, seat.lifeline.number)
            child.pid = child.process.pid or -1
            self._child, self._gauges = child, gauges
            ours.pop_all()
        child.watch(partial(self._on_frame, child), self._on_drained)
        self._watch_exit(child)
        child.send(Kind.GO)  # there is nobody else to be ready

    def finish(self, timeout_seconds: Optional[float]) -> bool:
        """Wait until the worker has ended and everything it said was heard; False when that takes longer."""
        child, late = self._child, []
        self._loop.at("wait", timeout_seconds, lambda: late.append(True))
        while child is not None and child.state is not State.FINISHED and not late:
            self._loop.wait()
        self._loop.forget("wait")
        return not late

    def stop(self, grace_seconds: float) -> None:
        """End the worker if it runs, collect it, and let go everybody who still waits at a FIFO."""
        child = self._child
        try:
            if child is not None:
                self._grace_seconds = grace_seconds
                self.finish(0)  # it may have ended by itself, unseen
                self._stopped = self._stopped or child.live
                self._feed(child, Event.STOP)
                self.finish(None)
        finally:
            for fifo in self.fifos.values():
                self._folder.remove(fifo)

    def report(self) -> BroadcastReport:
        """How it ended; call it when it has."""
        child = self._child
        return BroadcastReport(
            bytes=self._bytes,
            consumers={name: self._figures(name) for name in self.fifos},
            exit_code=child.exit_code if child is not None else None,
            reason=self._reason(child),
        )

    def _seat(self, source: Fd, gauges: Gauges, theirs: ExitStack, ours: ExitStack) -> tuple[Child, Seat]:
        """The descriptors of both sides, entered in the stack that closes them."""
        name = fanout_name(self.name)
        result, result_end = make_pipe(f"result of {name}")
        ours.callback(result.close)
        theirs.callback(result_end.close)
        control_end, control = make_pipe(f"control of {name}")
        ours.callback(control.close)
        theirs.callback(control_end.close)
        lifeline_end, lifeline = make_pipe(f"lifeline of {name}")
        ours.callback(lifeline.close)
        theirs.callback(lifeline_end.close)
        for fd in (result, control):
            calls.table.set_blocking(fd.number, False)
        seat = Seat(name, result_end, control_end, lifeline_end, gauges.gauge(0), keep=(source, self._folder.fd))
        return Child(name, self._loop, result, control, lifeline), seat

    def _watch_exit(self, child: Child) -> None:
        exit_watch = child.exit = watch_exit(child.pid)
        if exit_watch.fd is not None:
            self._loop.watch(exit_watch.fd, select.POLLIN, lambda _events: self._feed(child, Event.EXITED))
        else:
            self._loop.peek_seconds = PEEK_SECONDS
            self._loop.on_peek = lambda: self._feed(child, Event.EXITED) if child.live and exit_watch.exited() else None

    # -- its life -------------------------------------------------------------------------------------------

    def _on_frame(self, child: Child, kind: Kind, payload: bytes) -> None:
        if kind is Kind.READY:
            self._feed(child, Event.SAID_READY)
            if child.state is State.READY:
                self._feed(child, Event.GO)
        elif kind is Kind.SINK:
            sink = load_sink(payload)
            if sink is not None:
                self._sinks[sink.name] = sink
        elif kind is Kind.REPORT:
            child.report = parse_report(payload)
            self._feed(child, Event.REPORTED)

    def _on_drained(self) -> None:
        if self._child is not None and self._child.state is State.DRAINING:
            self._feed(self._child, Event.DRAINED)

    def _feed(self, child: Child, event: Event) -> None:
        before = child.state
        child.state, actions = step(child.state, event)
        for action in actions:
            self._act(child, action)
        if child.state is State.DRAINING and before is not State.DRAINING and child.drained:
            self._feed(child, Event.DRAINED)
        elif child.state is State.FINISHED and before is not State.FINISHED:
            self._close(child)

    def _act(self, child: Child, action: Action) -> None:
        acts: Mapping[Action, Callable[[], None]] = {
            Action.TERM: partial(child.signal, signal.SIGTERM),
            Action.KILL: partial(child.signal, signal.SIGKILL),
            Action.SWEEP: child.sweep,
            Action.REAP: child.reap,
            Action.ARM_GRACE: partial(self._arm, child, self._grace_seconds),
            Action.ARM_DRAIN: partial(self._arm, child, DRAIN_SECONDS),
            Action.DISARM: partial(self._arm, child, None),
        }
        acts.get(action, _nothing)()

    def _arm(self, child: Child, seconds: Optional[float]) -> None:
        self._loop.at("deadline", seconds, partial(self._feed, child, Event.DEADLINE))

    def _close(self, child: Child) -> None:
        if self._gauges is not None:
            self._bytes = self._gauges.gauge(0).moved(0)
            self._gauges.close()
        self._loop.peek_seconds = None
        child.close()

    # -- figures --------------------------------------------------------------------------------------------

    def _figures(self, name: str) -> ConsumerFigures:
        sink = self._sinks.get(name, SinkReport(name, SinkEnd.CUT))
        return ConsumerFigures(
            bytes=sink.delivered_bytes,
            overflow=self._policy.overflow,
            end=sink.end.value,
            dropped_bytes=sink.dropped_bytes,
            dropped_records=sink.dropped_records,
            spilled_bytes=sink.spilled_bytes,
            high_water_bytes=sink.high_water_bytes,
            counted="fan-out",
        )

    def _reason(self, child: Optional[Child]) -> str:
        if child is None:
            return "never started"
        if child.report is not None:
            error = child.report.error
            details = [f"{sink.name}: {sink.detail}" for sink in self._sinks.values() if sink.detail]
            return f"{error.type}: {error.message}" if error is not None else "; ".join(details)
        if self._stopped:
            return "stopped"
        if child.exit_code is not None and child.exit_code < 0:
            return f"killed by signal {-child.exit_code}"
        return f"ended without a report, exit code {child.exit_code}"


def _nothing() -> None:
    return
