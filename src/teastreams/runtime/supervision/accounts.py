"""The books of one section: endings, figures, and the errors made of them.

Turns what the supervisor collected (reports, exit codes, sinks, gauges) into plain data. Decides nothing about what
comes next; who is to blame is `core.outcome`'s judgement.
"""

from __future__ import annotations

import signal
from typing import Collection, Mapping, Optional

from teastreams.core.endings import Ending, ErrorText, How
from teastreams.core.merge import Update
from teastreams.core.outcome import WELL, Judge, Status
from teastreams.core.plan import OUTSIDE, Channel, feed_name
from teastreams.errors import NodeError
from teastreams.runtime import calls
from teastreams.runtime.fanout.reports import SinkReport
from teastreams.runtime.gauges import Gauge, Gauges, Phase
from teastreams.runtime.node.branch import load_figures
from teastreams.runtime.node.ending import current_error_text, error_text
from teastreams.runtime.node.pickles import Parcel, load_update, pickled
from teastreams.runtime.secrecy import safe_cause
from teastreams.runtime.supervision.child import STREAM_NAMES, Child
from teastreams.runtime.supervision.figures import ChannelFigures, ConsumerFigures, NodeFigures, SectionOutcome
from teastreams.runtime.supervision.order import Order
from teastreams.runtime.supervision.sampling import NOBODY, Moved, kernel_bytes, moved

EXIT_CODE = "ExitCode"
SHELL_SIGPIPE = 128 + signal.SIGPIPE


class Accounts:
    """Collects while the section runs, sums up at the end."""

    def __init__(self, order: Order, judge: Judge, gauges: Gauges) -> None:
        self._order, self._judge, self._gauges = order, judge, gauges
        self._indexes = {worker.name: index for index, worker in enumerate(order.plan.workers)}
        self._started = calls.table.monotonic()
        self._updates: dict[str, Update] = {}
        self._above: dict[str, tuple[Parcel, ...]] = {}
        self._fault: Optional[NodeError] = None
        self._moved: dict[tuple[str, int], Moved] = {}
        self._records: dict[tuple[str, int], int] = {}
        self._waited: dict[tuple[str, int], float] = {}
        self._phases: dict[str, str] = {}
        self.feed_errors: dict[str, NodeError] = {}
        self.warnings: dict[str, str] = {}
        self.sinks: dict[tuple[str, str], SinkReport] = {}

    @property
    def seconds(self) -> float:
        """Wall clock since the section began."""
        return calls.table.monotonic() - self._started

    def fault(self, phase: str, message: str) -> None:
        """The section as a whole failed; the first fault counts."""
        name = ", ".join(self._order.plan.nodes)
        self._fault = self._fault or NodeError(name, phase, message, error_type="TimeoutError", exit_code=-1)

    def look_last(self, child: Child) -> None:
        """Right before its status is collected: the kernel forgets then what a program that counts nothing moved."""
        if self._gauge(child).phase is Phase.PROGRAM:
            child.kernel_bytes = kernel_bytes(child.pid)

    def count(self, child: Child) -> None:
        """The last look at its gauge."""
        gauge = self._gauge(child)
        for fd in (0, 1, 2):
            self._moved[child.name, fd] = moved(gauge, child, fd)
            self._records[child.name, fd] = gauge.records(fd)
            self._waited[child.name, fd] = gauge.waited_seconds(fd)

    def feed_failed(self, channel: str, error: Exception) -> str:
        """What the caller gave raised: kept with its traceback, and as one phrase for others."""
        name, text = feed_name(channel), error_text(error)
        made = NodeError(
            name, "run", text.message, error_type=text.type, traceback=text.traceback, error_type_names=text.names
        )
        made.__cause__ = safe_cause(error)
        self.feed_errors[name] = made
        return f"{text.type}: {text.message}"

    def enter_ending(self, child: Child) -> None:
        """Tell the judge how it ended, once: what comes after the word of a worker that returned changes nothing."""
        endings = self._judge.endings
        if child.name not in endings:
            endings[child.name] = self._ending(child, len(endings))

    def outcome(self, children: Mapping[str, Child], stopped_by: Optional[int]) -> SectionOutcome:
        """Everything as plain data, after the section has ended."""
        errors = {name: self._error(name, children[name]) for name in self._bad(children)}
        blame = self._judge.blame()
        primary, collateral = self._fault, list(errors.values())
        if primary is None and blame is not None:
            known = {**self.feed_errors, **errors}
            primary = known.get(blame.primary) or self._channel_error(blame.primary)
            collateral = [known[name] for name in blame.collateral if name in known]
        return SectionOutcome(
            updates={n: self._updates[n] for n in self._order.plan.nodes if self._ended_well(n) and n in self._updates},
            nodes={n: self._figures(n, children[n], errors.get(n)) for n in self._order.plan.nodes if n in children},
            channels={name: self._channel(channel) for name, channel in self._order.plan.channels.items()},
            seconds=self.seconds,
            primary=primary,
            collateral=tuple(collateral),
            signal=stopped_by,
            branches={n: load_figures(child.figures) for n, child in children.items() if child.figures},
        )

    def updates_above(self, name: str, children: Mapping[str, Child]) -> tuple[Parcel, ...]:
        """What the nodes above it returned that have ended well, in topological order.

        Kept for those below once everybody above has a status: a walk up a chain for each of its members is quadratic.
        """
        plan, way = self._order.plan, []
        while name in plan.inputs and name not in self._above:
            way.append(name)
            name = plan.producer_of(name)
        given, final = self._above.get(name, ()), True
        for name in reversed(way):
            producer = plan.producer_of(name)
            update = children[producer].update if self._ended_well(producer) else None
            given = given if update is None else (*given, update)
            final = final and (producer == OUTSIDE or producer in self._judge.statuses)
            if final:
                self._above[name] = given
        return given

    def close(self) -> None:
        """Give the gauges' page back; figures have been copied."""
        self._gauges.close()

    def _load(self, child: Child, parcel: Parcel) -> None:
        self._updates[child.name] = load_update(parcel)
        if not self._updates[child.name] or not self._order.plan.outputs.get(child.name):
            child.update = None  # nothing to tell, or nobody downstream to tell it: a large one is not kept twice

    # -- endings --------------------------------------------------------------------------------------------

    def _ending(self, child: Child, order: int) -> Ending:
        """How a worker ended, from its report, its update and, unless it returned, its exit status."""
        cut = child.left_running and bool(child.stop_reason)  # while those that it left behind were waited for
        if child.report is None or cut or (child.timed_out and child.report.how is not How.RETURNED):
            return self._ending_without_report(child, order)
        self._phases[child.name] = child.report.phase
        if child.report.how is not How.RETURNED:
            return child.report.ending(order, child.exit_code)
        if child.update is not None:
            try:
                self._load(child, child.update)
            except BaseException:  # loading runs what the node's objects say, and they may say exit
                return self._bad_update(child, order, current_error_text())
        left_running = child.report.left_running or child.left_running
        return child.report.having(left_running=left_running).ending(order, child.exit_code)

    def _ending_without_report(self, child: Child, order: int) -> Ending:
        how = How.SILENT
        if child.timed_out:
            how = How.TIMED_OUT
        elif child.stop_reason:
            how = How.STOPPED
        elif self._was_stopped_by_epipe(child):
            how = How.EPIPE
        self._phases[child.name] = "timeout" if child.timed_out else "run"
        program = self._order.program_of(child.name) if self._gauge(child).phase is Phase.PROGRAM else None
        if how is How.SILENT and program is not None and child.exit_code is not None and child.exit_code >= 0:
            return self._program_ending(child, child.exit_code, program.ok_exit_codes, order)
        exit_code = -1 if child.timed_out else child.exit_code
        if how is How.EPIPE:
            exit_code = -signal.SIGPIPE
        return Ending(how, order, exit_code, reason=child.stop_reason, broken=child.broken)

    def _was_stopped_by_epipe(self, child: Child) -> bool:
        """SIGPIPE says so; a shell says 141 of a pipeline in it, which counts when its reader has gone indeed."""
        if child.exit_code == SHELL_SIGPIPE and child.broken:
            program = self._order.program_of(child.name)
            return program is not None and SHELL_SIGPIPE not in program.ok_exit_codes
        return child.exit_code == -signal.SIGPIPE and bool(self._order.plan.outputs.get(child.name))

    def _program_ending(self, child: Child, exit_code: int, ok_exit_codes: Collection[int], order: int) -> Ending:
        """A program says how it ended by its exit code alone, which is also what it gives to the state."""
        if exit_code not in ok_exit_codes:
            return Ending(How.RAISED, order, exit_code, broken=child.broken)
        self._updates[child.name] = Update({"exit_code": exit_code})
        child.update = pickled(self._updates[child.name])
        return Ending(How.RETURNED, order, exit_code, broken=child.broken, left_running=child.left_running)

    def _bad_update(self, child: Child, order: int, text: ErrorText) -> Ending:
        self._phases[child.name] = "result"
        message = f"what it returned cannot be loaded: {text.message}; return plain data"
        return Ending(How.RAISED, order, child.exit_code, ErrorText(text.type, message, text.traceback))

    def _gauge(self, child: Child) -> Gauge:
        return self._gauges.gauge(self._indexes[child.name])

    # -- figures --------------------------------------------------------------------------------------------

    def _ended_well(self, name: str) -> bool:
        return self._judge.statuses.get(name) in WELL

    def _bad(self, children: Mapping[str, Child]) -> list[str]:
        nodes = [n for n in self._order.plan.nodes if n in children and not self._ended_well(n)]
        return nodes + [n for n in self._dead_fanouts() if n in children]

    def _dead_fanouts(self) -> list[str]:
        endings = self._judge.endings
        return [
            worker.name
            for worker in self._order.plan.workers
            if worker.fanout_of and worker.name in endings and endings[worker.name].how is not How.RETURNED
        ]

    def _figures(self, name: str, child: Child, error: Optional[NodeError]) -> NodeFigures:
        status = self._judge.statuses.get(name, Status.CANCELLED)
        ending = self._judge.endings.get(name)
        tails = {STREAM_NAMES[fd]: "\n".join(log.tail) for fd, log in child.logs.items()}
        return NodeFigures(
            status,
            child.seconds,
            _exit_code(child, ending),
            error,
            tails,
            cpu_seconds=child.usage.cpu_seconds if child.usage else None,
            peak_memory_bytes=child.usage.peak_memory_bytes if child.usage else None,
        )

    def _error(self, name: str, child: Child) -> NodeError:
        ending = self._judge.endings.get(name)
        text = ending.error if ending else None
        told = ending is not None and text is not None and ending.how is How.RAISED
        return NodeError(
            (text.node if text else "") or name,
            self._phases.get(name, "run"),
            text.message if text and told else self._judge.reason(name),
            error_type=text.type if text and told else _kind(ending),
            exit_code=_exit_code(child, ending),
            traceback=text.traceback if text else "",
            stderr_tail="\n".join(child.logs[2].tail) if 2 in child.logs else "",
            error_type_names=text.names if text else (),
        )

    def _channel_error(self, fanout: str) -> NodeError:
        reason = self._judge.reason(fanout)
        phase = "overflow" if "fell behind" in reason else "run"
        return NodeError(fanout, phase, reason)

    def _channel(self, channel: Channel) -> ChannelFigures:
        key = (channel.producer, channel.fd)
        written = self._moved.get(key, NOBODY)
        feed = self._order.outside.feeds.get(channel.name)
        if channel.producer == OUTSIDE and feed is not None:
            written = Moved(feed.moved_bytes, "caller")
        passed = self._moved.get((channel.fanout or "", 0), NOBODY)
        consumers = {node: self._consumer(channel, node) for node in self._readers(channel)}
        best = written if written.counted in ("node", "caller") and written.bytes >= passed.bytes else passed
        best = written if best is NOBODY else best
        return ChannelFigures(
            best.bytes,
            consumers,
            self.warnings.get(channel.fanout or "", ""),
            channel.producer,
            counted="fan-out" if channel.fanout and passed.bytes == best.bytes else best.counted,
            records=self._records_of(key, best.bytes),
            blocked_seconds=self._waited_of(key),
        )

    def _records_of(self, key: tuple[str, int], whole_bytes: int) -> Optional[int]:
        """The newlines, if they were asked for and the one who counted them saw every byte."""
        seen = self._moved.get(key, NOBODY)
        asked = self._order.progress_seconds is not None
        return self._records[key] if asked and seen == Moved(whole_bytes, "node") else None

    def _waited_of(self, key: tuple[str, int]) -> Optional[float]:
        return self._waited[key] if self._moved.get(key, NOBODY).counted == "node" else None

    def _readers(self, channel: Channel) -> list[str]:
        """Its consumers; who reads a file, or the caller's own stream, is not known."""
        bound = channel.name in self._order.plan.bound
        return [each.node for each in channel.consumers if not (bound and each.node == OUTSIDE)]

    def _consumer(self, channel: Channel, node: str) -> ConsumerFigures:
        overflow = channel.consumer(node).overflow
        sink = self.sinks.get((channel.name, node))
        read = self._moved.get((node, 0), NOBODY)
        if sink is None:
            tap = self._order.outside.taps.get(channel.name) if node == OUTSIDE else None
            if tap is not None:
                return ConsumerFigures(tap.moved_bytes, overflow, counted="caller")
            records = self._records_of((node, 0), read.bytes)
            starved = self._waited_of((node, 0))
            return ConsumerFigures(read.bytes, overflow, counted=read.counted, records=records, starved_seconds=starved)
        return ConsumerFigures(
            bytes=sink.delivered_bytes,
            overflow=overflow,
            end=sink.end.value,
            dropped_bytes=sink.dropped_bytes,
            dropped_records=sink.dropped_records,
            spilled_bytes=sink.spilled_bytes,
            high_water_bytes=sink.high_water_bytes,
            counted="fan-out",
            records=self._records_of((node, 0), sink.delivered_bytes),
            starved_seconds=self._waited_of((node, 0)),
        )


def _exit_code(child: Child, ending: Optional[Ending]) -> Optional[int]:
    """The kernel's word. It comes after that of a worker that returned; a limit and EPIPE have numbers of their own."""
    if ending is None or ending.exit_code is None or (ending.how is How.RETURNED and child.exit_code is not None):
        return child.exit_code
    return ending.exit_code


def _kind(ending: Optional[Ending]) -> str:
    """A type for what has no exception: only a plain exit code has one, so that callers can tell it apart."""
    return EXIT_CODE if ending is not None and ending.how is How.RAISED else ""
