"""Drives the lives of all workers of one section; the only place that kills and reaps.

    plan ──▶ start ──▶ all ready ──▶ GO ──▶ frames, exits, deadlines ──▶ verdicts ──▶ all finished ──▶ outcome

Laws: every wait has the failure event in it (L5); the first stop is asked (TERM and CONT, grace, KILL), a second is
at once; a verdict goes out only when everything upstream has returned and reported, or has exited and was reaped (L2);
when `run` ends, by return or by exception, no process and no descriptor of the section is left (L4). What happens is
decided by the lifecycle table and the judge; this file turns decisions into calls.
"""

from __future__ import annotations

import pickle
import signal
from collections import deque
from functools import partial
from typing import Iterator, Optional, Sequence

from teastreams.core.events import (
    NodeFinished,
    NodeOutput,
    NodeStarted,
    RunEvent,
    SectionFinished,
    SectionStarted,
    Waiting,
    Warned,
)
from teastreams.core.frames import Kind, Payload
from teastreams.core.lifecycle import Action, Event, State, step
from teastreams.core.outcome import Judge
from teastreams.errors import LimitError
from teastreams.runtime import calls
from teastreams.runtime.fanout.reports import SinkReport
from teastreams.runtime.fanout.tee import load_sink
from teastreams.runtime.gauges import Gauges
from teastreams.runtime.interrupts import Interrupts
from teastreams.runtime.loop import Loop
from teastreams.runtime.masking import signals_blocked
from teastreams.runtime.supervision.accounts import Accounts
from teastreams.runtime.supervision.child import Child, parse_report
from teastreams.runtime.supervision.departures import Departures, Readers
from teastreams.runtime.supervision.figures import SectionOutcome
from teastreams.runtime.supervision.hire import Hire
from teastreams.runtime.supervision.order import Job, Order
from teastreams.runtime.supervision.outside import Feed
from teastreams.runtime.supervision.sampling import Sampler, sink_count
from teastreams.runtime.supervision.stall import StallWatch


class Supervisor:
    """Runs one section (or one batch of workers without channels) from its plan to its outcome."""

    def __init__(self, order: Order, stepwise: bool = False) -> None:
        self.order, self._stepwise = order, stepwise
        self.judge = Judge(order.plan)
        self.loop = Loop()
        self.children: dict[str, Child] = {}
        self.interrupts = Interrupts(self.loop, self._on_signal)
        self._gauges = Gauges(len(order.plan.workers), sink_count(order.plan))
        self._hire = Hire(order, self.loop, self._gauges)
        self._accounts = Accounts(order, self.judge, self._gauges)
        self._stall = StallWatch(self, self._gauges, order.settings.stall_timeout)
        readers, drain_seconds = Readers(order.plan, self._gauges, self.judge), order.settings.drain_seconds
        self._departures = Departures(self.loop, drain_seconds, readers, lambda child: self._feed(child, Event.EXITED))
        self._sampler = Sampler(self, self._gauges)
        self._waiting = deque(order.plan.workers)
        self._events: deque[RunEvent] = deque()
        self._over: set[str] = set()
        self._unready = self._unfinished = 0
        self._attached = self._gone = False
        self._signal: Optional[int] = None
        self._doomed: set[str] = set()

    def run(self) -> Iterator[RunEvent]:
        """Start everything, yield events until everything has ended; `outcome` is valid afterwards.

        `stepwise`: it yields `Waiting` before each wait, so that whoever drives it can do the waiting.
        Raises LimitError when the machine has no room; whatever was started is ended first.
        """
        try:
            self.interrupts.capture()
            self._start_some()
            self._arm_section_deadlines()
            self._settle()  # what the caller itself writes has nobody upstream who could end
            while self._waiting or len(self._over) < len(self.children):
                if self._stepwise:
                    yield Waiting()
                self.loop.wait()
                self._start_some()
                yield from self._drain_events()
            self.judge.conclude()
            self._tell_taps()
            self._events.append(SectionFinished(self.order.plan.nodes, self._accounts.seconds))
            yield from self._drain_events()
        finally:
            try:
                self.interrupts.capture()  # the host's own handler may have raised between two events
            finally:
                self._end_at_once()

    def excuse(self, seconds: float) -> None:
        """For so long the driver was busy with its own: what stood still meanwhile is no stall."""
        self._stall.excuse(seconds)

    def outcome(self) -> SectionOutcome:
        """What the section left behind."""
        return self._accounts.outcome(self.children, self._signal)

    # -- starting -------------------------------------------------------------------------------------------

    def _start_some(self) -> None:
        """Start what may start: the whole section at once, a batch as far as `max_at_once` allows."""
        limit = self.order.max_at_once
        while self._waiting and (limit is None or self._unfinished < limit):
            with signals_blocked():  # a handler that raised here would leave a child that nobody watches
                self._hire.start_some(self._waiting, self.children, self._on_start)
        if not self._waiting and not self._attached:
            self._attached = True
            self._attach_caller()

    def _on_start(self, child: Child) -> None:
        self._unready += 1
        self._unfinished += 1
        child.watch(partial(self._on_frame, child), partial(self._on_drained, child))
        self._departures.watch(child)
        if child.name not in self.order.plan.fanouts:
            self._events.append(NodeStarted(child.name, child.pid))

    def _attach_caller(self) -> None:
        """Everybody has been forked: what is left of the pipes is the caller's."""
        take, hands_off = self._hire.take, self.interrupts.released
        self.judge.feeding.update(self.order.outside.attach(self.order.plan, self.loop, take, hands_off, self._on_fed))

    def _on_fed(self, channel: str, feed: Feed) -> None:
        """A feed has come to its end: its readers can be told."""
        self.judge.feeding.discard(channel)
        if feed.error is not None:
            self.judge.feed_failures[channel] = self._accounts.feed_failed(channel, feed.error)
        self._settle()

    def _open_gate(self, came: Child) -> None:
        """GO to everybody, when everybody is ready. A batch has no gate: nobody waits for anybody."""
        if self.order.gated and (self._waiting or self._unready):
            return
        asked = self.children.values() if self.order.gated else (came,)
        ready = [child for child in asked if child.state is State.READY]
        for child in ready:
            self._feed(child, Event.GO)
        if self.order.gated and ready and not self._gone:
            self._gone = True
            self._events.append(SectionStarted(self.order.plan.nodes))

    # -- what workers say -----------------------------------------------------------------------------------

    def _on_frame(self, child: Child, kind: Kind, payload: Payload) -> None:
        if kind is Kind.READY:
            self._feed(child, Event.SAID_READY)
            self._open_gate(child)
        elif kind is Kind.UPDATE:
            child.take_update(payload)
        elif kind is Kind.BUFFER:
            child.take_buffer(payload)
        elif kind is Kind.FIGURES:
            child.figures = payload
        elif kind is Kind.REPORT:
            child.report = child.report or parse_report(payload)
            if child.report is not None and child.report.left_early:
                self.judge.leaving.add(child.name)
            self._feed(child, Event.REPORTED)
            self._on_report(child)
        elif kind is Kind.CLOSED and payload:
            self.judge.closed.add((child.name, payload[0]))
            self._settle()
        elif kind is Kind.EVENT:
            self._events.append(Warned(payload.decode(errors="replace")))
            self._accounts.warnings[child.name] = payload.decode(errors="replace")
        elif kind is Kind.SINK:
            self._on_sink(child, load_sink(payload))

    def _on_report(self, child: Child) -> None:
        """Those below need not wait until the kernel has taken its process down."""
        if child.has_returned:
            self._accounts.enter_ending(child)
            self._settle()

    def _on_sink(self, child: Child, sink: Optional[SinkReport]) -> None:
        channel = self.order.channel_of(child.name)
        if sink is not None and channel is not None:
            self._accounts.sinks[channel, sink.name] = sink
            self.judge.sinks[channel, sink.name] = sink.end
            self._settle()

    def _on_drained(self, child: Child) -> None:
        if child.state is State.DRAINING:  # before its exit, an end of its pipes means only that it closed them
            self._feed(child, Event.DRAINED)
        else:
            self._departures.drained(child)

    # -- the table ------------------------------------------------------------------------------------------

    def _feed(self, child: Child, event: Event) -> None:
        before = child.state
        child.state, actions = step(child.state, event)
        self._unready -= before is State.FORKED and child.state is not State.FORKED
        for action in actions:
            self._act(child, action)
        if child.state is State.DRAINING and before is not State.DRAINING and child.drained:
            self._feed(child, Event.DRAINED)
        elif child.state is State.FINISHED and before is not State.FINISHED:
            self._unfinished -= 1
            # Not at once: what others said before this exit is in the same round, and may explain it.
            self.loop.at(("finished", child.name), 0.0, partial(self._on_finished, child))

    def _act(self, child: Child, action: Action) -> None:
        settings = self.order.settings
        deadline = partial(self._feed, child, Event.DEADLINE)
        if action is Action.SEND_GO:
            self._arm_node_deadline(child)
            child.send(Kind.GO)
        elif action is Action.TERM:
            child.signal(signal.SIGTERM)
        elif action is Action.KILL:
            child.signal(signal.SIGKILL)
        elif action is Action.SWEEP:
            child.sweep()
        elif action is Action.REAP:
            self._accounts.look_last(child)
            child.reap()
        elif action is Action.ARM_GRACE:
            self.loop.at(child, settings.grace_seconds, deadline)
        elif action is Action.ARM_DRAIN:
            self.loop.at(child, settings.drain_seconds, deadline)
        elif action is Action.DISARM:
            self.loop.forget(child)

    def _on_finished(self, child: Child) -> None:
        """Exited, reaped, and everything it wrote was read: now its end is known."""
        child.finished_at = calls.table.monotonic()
        for key in (child, ("timeout", child.name), ("doomed", child.name)):
            self.loop.forget(key)
        self._departures.forget(child)
        self._accounts.count(child)
        self._accounts.enter_ending(child)
        self._over.add(child.name)
        child.close()
        self._tell_fanouts(child.name)
        self._tell_stragglers(child.name)
        self._announce(child.name)
        self._settle()
        if self.order.gated and not self._gone:
            self.stop(f"stopped because {child.name!r} could not start")

    def _tell_fanouts(self, ended: str) -> None:
        for name in self.order.plan.outputs.get(ended, ()):
            fanout = self.order.plan.channels[name].fanout
            if fanout in self.children:
                self.children[fanout].send(Kind.SOURCE_ENDED)
        source = self.order.plan.channels.get(self.order.plan.inputs.get(ended, ""))
        if source is not None and source.fanout in self.children:
            self.children[source.fanout].send(Kind.READER_ENDED, ended.encode())

    def _tell_stragglers(self, reader: str) -> None:
        """Whoever a program left behind gets its broken pipe when the reader has gone."""
        channel = self.order.plan.channels.get(self.order.channel_of(reader) or self.order.plan.inputs.get(reader, ""))
        if channel is not None and channel.fanout in (None, reader) and channel.producer in self.children:
            self.children[channel.producer].forget_stragglers(channel.fd)

    # -- conclusions ----------------------------------------------------------------------------------------

    def _settle(self) -> None:
        for name in self.judge.settle():
            self._send_verdict(name)
        for name in self.judge.settled():
            self._announce(name)
        for name in self.judge.doomed():
            self._doom(name)
        self._tell_taps()
        if self.order.fail_fast and self.judge.failed:
            self.stop("stopped because another branch failed (fail_fast)")

    def _tell_taps(self) -> None:
        for channel, tap in self.order.outside.taps.items():
            tap.verdict = tap.verdict or self.judge.verdict_outside(channel)

    def _send_verdict(self, name: str) -> None:
        if name not in self.order.plan.inputs or name not in self.children:
            return
        message = (self.judge.verdicts[name], self._accounts.updates_above(name, self.children))
        self.children[name].send(Kind.VERDICT, pickle.dumps(message, protocol=5))

    def _announce(self, name: str) -> None:
        """A node has finished when its status is known and its process has gone, whichever comes last."""
        status = self.judge.statuses.get(name)
        if status is not None and name in self._over:
            child = self.children[name]
            self._events.append(NodeFinished(name, status.name.lower(), child.seconds, child.exit_code))

    def _doom(self, name: str) -> None:
        """It was told, or writes to nobody: it has the grace to clean up, then it is asked, then forced to end."""
        child = self.children.get(name)
        if child is None or name in self._doomed:
            return
        self._doomed.add(name)
        stop = partial(self._stop_one, child, "stopped: it did not end by itself after a failure next to it")
        self.loop.at(("doomed", name), self.order.settings.grace_seconds, stop)

    # -- stopping -------------------------------------------------------------------------------------------

    def stop(self, reason: str, event: Event = Event.STOP) -> None:
        """Ask every worker to end; those not started yet never will."""
        self._waiting.clear()
        self._end_feeds()
        for child in list(self.children.values()):
            self._stop_one(child, reason, event)

    def _end_feeds(self) -> None:
        """No more of the caller's code runs. Its readers are given no verdict: this is no end of file."""
        for feed in self.order.outside.feeds.values():
            feed.detach()

    def _stop_one(self, child: Child, reason: str, event: Event = Event.STOP) -> None:
        if child.live and not child.stop_reason:
            child.stop_reason = reason
        self._feed(child, event)

    def _on_signal(self, number: int) -> None:
        again = self._signal is not None
        self._signal = self._signal or number
        self.stop(f"stopped by signal {number}", Event.STOP_NOW if again else Event.STOP)

    def _arm_section_deadlines(self) -> None:
        settings = self.order.settings
        if self.order.timeout_seconds is not None:
            self.loop.at("timeout", self.order.timeout_seconds, self._on_timeout)
        if settings.stall_timeout is not None:
            self._stall.arm()
        self.loop.at("progress", self.order.progress_seconds, self._on_progress)

    def _on_progress(self) -> None:
        self._events.append(self._sampler.progress())
        self.loop.at("progress", self.order.progress_seconds, self._on_progress)

    def _on_timeout(self) -> None:
        text = f"timed out after {self.order.timeout_seconds:g} s: {self._stall.waits()}"
        self.fault("timeout", f"{text}; raise the timeout of the section, or make the busy node faster")

    def fault(self, phase: str, message: str) -> None:
        """The section as a whole failed: remember why and end it."""
        self._accounts.fault(phase, message)
        self.stop(f"the section {'stalled' if phase == 'stall' else 'timed out'}")

    def _arm_node_deadline(self, child: Child) -> None:
        job = self.order.jobs.get(child.name)
        if job is not None and job.timeout_seconds is not None:
            self.loop.at(("timeout", child.name), job.timeout_seconds, partial(self._on_node_timeout, child, job))

    def _on_node_timeout(self, child: Child, job: Job) -> None:
        child.timed_out = True
        self._stop_one(child, f"timed out after {job.timeout_seconds:g} s")

    def _end_now(self) -> None:
        """Leave nothing, however `run` ends. After an ordinary end there is nothing to do here."""
        self._waiting.clear()
        self._end_feeds()
        for child in self.children.values():
            if child.live:
                self._stop_one(child, "stopped", Event.STOP_NOW)
        try:
            while self.running():
                self.loop.wait()
        except LimitError:  # no memory to wait with; they were killed, and whoever is collected is waited for
            for child in self.running():
                self._feed(child, Event.EXITED)
        for child in self.children.values():
            self._feed(child, Event.STOP_NOW)
            child.close()
        for tap in self.order.outside.taps.values():
            tap.detach()
        self._hire.close()
        self._accounts.close()

    def _end_at_once(self) -> None:
        with signals_blocked():
            try:
                self._end_now()
            finally:
                self.interrupts.release()

    def _drain_events(self) -> Iterator[RunEvent]:
        self._events.extend(NodeOutput(*line) for line in self._hire.lines)
        self._hire.lines.clear()
        while self._events:
            yield self._events.popleft()

    def running(self) -> Sequence[Child]:
        """The workers whose exit has not been seen."""
        return [child for child in self.children.values() if child.live]
