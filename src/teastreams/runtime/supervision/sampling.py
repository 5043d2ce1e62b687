"""Where a section is right now, read from the gauges: the `Progress` event.

Laws: looking changes nothing and asks no worker anything; nobody looks unless somebody asked, so an idle run never
wakes up; a figure says who counted it. Direct channels are bare pipes with nobody in the middle: their bytes come from
the `sys.std*` objects at both ends. A program that took a worker's place counts nothing, so what Linux counts for
its whole process is shown as a sample. The pipe itself is not asked for its fill (FIONREAD): that would need one of
its ends, and a supervisor that held one would hide the end of file from those it watches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Optional

from teastreams.core.events import ChannelProgress, ConsumerProgress, NodeProgress, Progress
from teastreams.core.lifecycle import State
from teastreams.core.plan import OUTSIDE, Channel, Consumer, SectionPlan
from teastreams.runtime import calls
from teastreams.runtime.fds import give_back
from teastreams.runtime.gauges import Gauge, Gauges, Phase, SinkGauge

if TYPE_CHECKING:
    from teastreams.runtime.supervision.child import Child
    from teastreams.runtime.supervision.supervisor import Supervisor

STATES = {
    State.FORKED: "starting",
    State.READY: "starting",
    State.ENDING: "ending",
    State.TERMED: "stopping",
    State.KILLED: "stopping",
    State.DRAINING: "ended",
    State.FINISHED: "ended",
}
PHASES = {
    Phase.OWN_CODE: "running",
    Phase.READING: "reading",
    Phase.WRITING: "writing",
    Phase.VERDICT: "finishing",
    Phase.PROGRAM: "program",
}


class Moved(NamedTuple):
    """Bytes that went one way, and by whom they were counted: node, caller, fan-out, sampled or unknown."""

    bytes: int
    counted: str


NOBODY = Moved(0, "unknown")
EXACT = ("node", "caller")
"""Who counts what passes through their own hands, at an end of a pipe."""


class Sampler:
    """Reads the gauges of one section at intervals, for whoever asked."""

    def __init__(self, supervisor: Supervisor, gauges: Gauges) -> None:
        self._supervisor, self._plan = supervisor, supervisor.order.plan
        self._gauges = {worker.name: gauges.gauge(index) for index, worker in enumerate(self._plan.workers)}
        self._sinks = {
            channel.name: sink_gauges(self._plan, gauges, channel.name) for channel in self._plan.channels.values()
        }
        self._started = calls.table.monotonic()

    def progress(self) -> Progress:
        """The section as it is now."""
        return Progress(
            calls.table.monotonic() - self._started,
            tuple(self._node(name) for name in self._plan.nodes),
            tuple(self._channel(channel) for channel in self._plan.channels.values()),
        )

    # -- nodes ----------------------------------------------------------------------------------------------

    def _node(self, name: str) -> NodeProgress:
        child = self._supervisor.children.get(name)
        if child is None:
            return NodeProgress(name, "waiting")
        status = self._supervisor.judge.statuses.get(name)
        end = child.finished_at if child.state is State.FINISHED else calls.table.monotonic()
        seconds = max(0.0, end - child.started_at)
        if status is not None:
            return NodeProgress(name, status.name.lower(), seconds)
        if child.state is not State.RUNNING:
            return NodeProgress(name, STATES[child.state], seconds)
        phase = self._gauges[name].phase
        channel, partners = waits_of(self._plan, self._gauges[name], name)
        return NodeProgress(name, PHASES[phase], seconds, partners, channel)

    # -- channels -------------------------------------------------------------------------------------------

    def _channel(self, channel: Channel) -> ChannelProgress:
        written = self._written(channel)
        gauge = self._gauges.get(channel.producer)
        told = gauge is not None and written.counted == "node"
        return ChannelProgress(
            channel.name,
            channel.producer,
            *written,
            tuple(self._consumer(channel, index, each, written) for index, each in enumerate(channel.consumers)),
            records=self._records(channel) if told else None,
            blocked_seconds=gauge.waited_seconds(channel.fd) if gauge is not None and told else None,
        )

    def _records(self, channel: Channel) -> int:
        return self._gauges[channel.producer].records(channel.fd)

    def _written(self, channel: Channel) -> Moved:
        own = self._moved(channel.producer, channel.fd)
        feed = self._supervisor.order.outside.feeds.get(channel.name)
        if channel.producer == OUTSIDE and feed is not None:
            own = Moved(feed.moved_bytes, "caller")
        if channel.fanout is None:
            return own
        passed = Moved(self._gauges[channel.fanout].moved(0), "fan-out")
        return own if own.counted in EXACT and own.bytes >= passed.bytes else passed

    def _consumer(self, channel: Channel, index: int, consumer: Consumer, written: Moved) -> ConsumerProgress:
        read = self._moved(consumer.node, 0)
        tap = self._supervisor.order.outside.taps.get(channel.name)
        if consumer.node == OUTSIDE and tap is not None:
            read = Moved(tap.moved_bytes, "caller")
        gauge = self._gauges.get(consumer.node)
        starved = gauge.waited_seconds(0) if gauge is not None and read.counted == "node" else None
        status = self._supervisor.judge.statuses.get(consumer.node)
        if channel.fanout is None:
            known = read.counted in EXACT and written.counted in EXACT
            held = max(0, written.bytes - read.bytes) if known else None
            return ConsumerProgress(consumer.node, *read, held, starved_seconds=starved, done=status is not None)
        sink = self._sinks[channel.name][index]
        return ConsumerProgress(
            consumer.node,
            sink.delivered,
            "fan-out",
            sink.held,
            consumer.buffer_limit,
            consumer.overflow,
            sink.dropped,
            starved,
            status is not None or (channel.name, consumer.node) in self._supervisor.judge.sinks,
        )

    def _moved(self, name: str, fd: int) -> Moved:
        if name == OUTSIDE:
            return NOBODY
        return moved(self._gauges[name], self._supervisor.children.get(name), fd)


def moved(gauge: Gauge, child: Optional[Child], fd: int) -> Moved:
    """What a worker moved on one descriptor: counted by itself, or sampled from the kernel's count for a program."""
    counted = gauge.moved(fd)
    if counted or gauge.phase is not Phase.PROGRAM:
        return Moved(counted, "node")
    kernel = None
    if child is not None:
        kernel = child.kernel_bytes or kernel_bytes(child.pid)
    return NOBODY if kernel is None else Moved(kernel[0 if fd == 0 else 1], "sampled")


def waits_of(plan: SectionPlan, gauge: Gauge, name: str) -> tuple[str, tuple[str, ...]]:
    """The channel on which a node waits now, and the nodes it waits for; "" and none when it does not."""
    channel = plan.inputs.get(name)
    if gauge.phase is Phase.READING and channel is not None:
        producer = plan.channels[channel].producer
        return channel, (producer,) if producer else ()
    if gauge.phase is Phase.VERDICT and channel is not None:
        return channel, plan.upstream[name]
    if gauge.phase is Phase.WRITING:
        out = next((plan.channels[each] for each in plan.outputs.get(name, ()) if _is_on(plan, each, gauge)), None)
        return (out.name, tuple(each.node for each in out.consumers if each.node)) if out is not None else ("", ())
    return "", ()


def _is_on(plan: SectionPlan, channel: str, gauge: Gauge) -> bool:
    return plan.channels[channel].fd == gauge.phase_fd


def sink_gauges(plan: SectionPlan, gauges: Gauges, channel: str) -> tuple[SinkGauge, ...]:
    """The gauges of a channel's consumers, in their order; every consumer of the section has one of its own."""
    first = 0
    for each in plan.channels.values():
        if each.name == channel:
            break
        first += len(each.consumers)
    return tuple(gauges.sink(first + index) for index in range(len(plan.channels[channel].consumers)))


def sink_count(plan: SectionPlan) -> int:
    """How many consumers all channels have together."""
    return sum(len(channel.consumers) for channel in plan.channels.values())


def kernel_bytes(pid: int) -> Optional[tuple[int, int]]:
    """Characters read and written by a process, to whatever, as Linux counts them; None where nobody counts."""
    try:
        fd = calls.table.open(f"/proc/{pid}/io", 0)
    except OSError:
        return None
    try:
        text = calls.table.read(fd, 4096).decode()
    except OSError:
        return None
    finally:
        give_back(fd)
    figures = dict(line.split(": ") for line in text.splitlines())
    return int(figures.get("rchar", 0)), int(figures.get("wchar", 0))
