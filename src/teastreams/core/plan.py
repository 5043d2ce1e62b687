"""Stream section -> plan: workers, channels, pipes, and who holds which end.

Laws: one producer and one consumer share one bare pipe (L10); a fan-out worker stands in a channel only where
bytes must be duplicated, or where a consumer asks for a policy that a bare pipe cannot keep; every pipe end has exactly
one holder, and everybody else closes it. The plan is plain data: it can be printed, compared and simulated. `rules` has
refused cycles before, so the order below exists.

    producer ──lines──▶ fan-out of lines ──lines>errors───▶ errors
                                         ──lines>archive──▶ archive
"""

from __future__ import annotations

from dataclasses import field, replace
from functools import cached_property
from typing import Any, Collection, Mapping, Optional, Sequence

from teastreams.core.control.units import in_stream_order
from teastreams.core.graph import STREAMS, Binding, Delivery, NodeStreamsConfig, StreamSettings
from teastreams.values import dataclass

OUTSIDE = ""
"""Holder of a pipe end that belongs to the caller, not to a worker."""

Member = tuple[str, Optional[NodeStreamsConfig]]


@dataclass(frozen=True)
class Consumer:
    """One reader of a channel, the pipe it reads, and how it is served when it lags."""

    node: str
    pipe: str
    overflow: str
    buffer_limit: int
    spill_limit: int


@dataclass(frozen=True)
class Channel:
    """One named stream: who writes it, on which descriptor, who reads it, and the fan-out worker if there is one."""

    name: str
    producer: str
    fd: int
    source: str
    consumers: tuple[Consumer, ...]
    fanout: Optional[str] = None

    def consumer(self, node: str) -> Consumer:
        """The entry of one consumer; KeyError if it does not read this channel."""
        return self._by_node[node]

    @cached_property
    def _by_node(self) -> Mapping[str, Consumer]:
        """Every consumer is asked for, by the plan and by the figures: to look at the others each time is quadratic."""
        return {consumer.node: consumer for consumer in self.consumers}


@dataclass(frozen=True)
class Pipe:
    """One kernel pipe: the workers (or OUTSIDE) that hold its two ends."""

    name: str
    writer: str
    reader: str


@dataclass(frozen=True)
class Wire:
    """A standard stream of a node's worker: descriptor 0, 1 or 2 is this end of this pipe."""

    fd: int
    pipe: str
    channel: str


@dataclass(frozen=True)
class Worker:
    """One process to fork: a node with its wires, or the fan-out of a channel."""

    name: str
    wires: tuple[Wire, ...] = ()
    fanout_of: Optional[str] = None

    def wire(self, fd: int) -> Optional[Wire]:
        """The wire on descriptor `fd`, or None."""
        return next((wire for wire in self.wires if wire.fd == fd), None)


@dataclass(frozen=True)
class SectionPlan:
    """All that will be started together. `workers` is in the order of forking, `nodes` in topological order.

    `bound` maps the channels whose other end is a file or a stream of the caller to where they are bound.
    """

    nodes: tuple[str, ...]
    channels: Mapping[str, Channel]
    pipes: Mapping[str, Pipe]
    workers: tuple[Worker, ...]
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    bound: Mapping[str, Binding] = field(default_factory=dict)

    @cached_property
    def upstream(self) -> Mapping[str, tuple[str, ...]]:
        """Every node -> all nodes above it, in topological order."""
        above: dict[str, tuple[str, ...]] = {}
        for name in self.nodes:
            producer = self.producer_of(name)
            above[name] = (*above[producer], producer) if producer else ()
        return above

    @cached_property
    def fanouts(self) -> Mapping[str, str]:
        """Every fan-out worker -> the channel that it serves."""
        return {worker.name: worker.fanout_of for worker in self.workers if worker.fanout_of is not None}

    def producer_of(self, node: str) -> str:
        """The node that writes what `node` reads; OUTSIDE if it reads nothing or the caller writes it."""
        channel = self.inputs.get(node)
        return self.channels[channel].producer if channel else OUTSIDE

    def ends_of(self, worker: str) -> tuple[tuple[str, str], ...]:
        """The pipe ends this worker holds, as (pipe, "r" or "w"): it closes all others."""
        return self._ends.get(worker, ())

    @cached_property
    def _ends(self) -> Mapping[str, tuple[tuple[str, str], ...]]:
        """Read once for all: every worker asks, and a look at all pipes for each of them is quadratic."""
        held: dict[str, list[tuple[str, str]]] = {}
        for pipe in self.pipes.values():
            for end, holder in (("r", pipe.reader), ("w", pipe.writer)):
                held.setdefault(holder, []).append((pipe.name, end))
        return {holder: tuple(ends) for holder, ends in held.items()}


def fanout_name(channel: str) -> str:
    """The name of a channel's fan-out worker, as it stands in reports."""
    return f"fan-out of {channel!r}"


def feed_name(channel: str) -> str:
    """What the caller as the writer of a channel is called in reports."""
    return f"feed of {channel!r}"


def plan_section(
    members: Sequence[Member],
    settings: StreamSettings,
    external: frozenset[str] = frozenset(),
    opened: frozenset[str] = frozenset(),
) -> SectionPlan:
    """The plan of one section.

    `external` names channels of which the caller holds the missing end, `opened` those that the caller reads, alone or
    beside their readers among the members.
    """
    declared = {name: config or NodeStreamsConfig() for name, config in members}
    bound = _bound(declared)
    streams = {node: _with_bound(node, config, bound) for node, config in declared.items()}
    producers = {name: (node, fd) for node, config in streams.items() for name, fd in _written(config)}
    inputs = {node: config.stdin for node, config in streams.items() if config.stdin is not None}
    names = [name for config in streams.values() for name in config.channels]
    sinks = _sink_names(inputs, names, opened)
    channels: dict[str, Channel] = {}
    reading: dict[str, list[str]] = {}
    for node, name in inputs.items():
        reading.setdefault(name, []).append(node)
    for name in dict.fromkeys(names):
        readers = reading.get(name, [])
        outside = name in external or name in bound.values()
        readers = readers + [OUTSIDE] * (name in opened or (outside and not readers))
        channels[name] = _channel(name, producers.get(name, (OUTSIDE, 1)), readers, streams, settings, sinks)
    order = in_stream_order(streams, {node: channels[name].producer for node, name in inputs.items()})
    return SectionPlan(
        nodes=order,
        channels=channels,
        pipes={pipe.name: pipe for channel in channels.values() for pipe in _pipes(channel)},
        workers=_workers(order, streams, channels),
        inputs=inputs,
        outputs={node: tuple(name for name, _fd in _written(config)) for node, config in streams.items()},
        bound={name: declared[node].bindings[stream] for (node, stream), name in bound.items()},
    )


def _bound(streams: Mapping[str, NodeStreamsConfig]) -> dict[tuple[str, str], str]:
    """A channel's name for every (node, stream) that is bound outside: what is bound is a channel like any other."""
    taken = {name for config in streams.values() for name in config.channels}
    names = {}
    for node, config in streams.items():
        for stream in (stream for stream in STREAMS if stream in config.bindings):
            names[node, stream] = _unused(f"{stream} of {node!r}", taken)
            taken.add(names[node, stream])
    return names


def _with_bound(node: str, config: NodeStreamsConfig, names: Mapping[tuple[str, str], str]) -> NodeStreamsConfig:
    """The node's streams with the channels that stand for its bindings. Nobody stands in those: no policy, no limit."""
    mine: dict[str, Any] = {stream: names[node, stream] for stream in STREAMS if (node, stream) in names}
    if "stdin" in mine:
        mine["delivery"] = Delivery(overflow="block")
    return replace(config, **mine) if mine else config


def _written(config: NodeStreamsConfig) -> tuple[tuple[str, int], ...]:
    pairs = ((config.stdout, STREAMS.index("stdout")), (config.stderr, STREAMS.index("stderr")))
    return tuple((name, fd) for name, fd in pairs if name is not None)


def _sink_names(
    inputs: Mapping[str, str], channels: Sequence[str], opened: Collection[str]
) -> dict[tuple[str, str], str]:
    """What the pipe from a fan-out worker to each (channel, consumer) would be called."""
    taken, names = set(channels), {}
    readers = [(channel, node) for node, channel in inputs.items()]
    for channel, node in (*readers, *((channel, OUTSIDE) for channel in dict.fromkeys(channels) if channel in opened)):
        names[channel, node] = _unused(f"{channel}>{node}", taken)
        taken.add(names[channel, node])
    return names


def _unused(name: str, taken: Collection[str]) -> str:
    """Users may call their nodes and channels anything, also what we would call ours."""
    while name in taken:
        name += "'"
    return name


def _channel(
    name: str,
    producer: tuple[str, int],
    readers: Sequence[str],
    streams: Mapping[str, NodeStreamsConfig],
    settings: StreamSettings,
    sinks: Mapping[tuple[str, str], str],
) -> Channel:
    fanout = None
    if len(readers) > 1 or any(_wants_policy(streams.get(node), settings) for node in readers):
        fanout = _unused(fanout_name(name), streams)
    consumers = tuple(
        _consumer(node, sinks[name, node] if fanout else name, streams.get(node), settings) for node in readers
    )
    return Channel(name, *producer, name, consumers, fanout)


def _wants_policy(config: Optional[NodeStreamsConfig], settings: StreamSettings) -> bool:
    """A bare pipe can only block: any other policy, or a memory limit of one's own, needs somebody in between."""
    if config is None:
        return False
    delivery = config.delivery
    return (delivery.overflow or settings.overflow) != "block" or delivery.buffer_limit is not None


def _consumer(node: str, pipe: str, config: Optional[NodeStreamsConfig], settings: StreamSettings) -> Consumer:
    delivery = (config or NodeStreamsConfig()).delivery
    return Consumer(
        node=node,
        pipe=pipe,
        overflow=delivery.overflow or settings.overflow,
        buffer_limit=delivery.buffer_limit or settings.buffer_limit,
        spill_limit=delivery.spill_limit or settings.spill_limit,
    )


def _pipes(channel: Channel) -> tuple[Pipe, ...]:
    if channel.fanout is None:
        return tuple(Pipe(channel.source, channel.producer, consumer.node) for consumer in channel.consumers)
    sinks = tuple(Pipe(consumer.pipe, channel.fanout, consumer.node) for consumer in channel.consumers)
    return (Pipe(channel.source, channel.producer, channel.fanout), *sinks)


def _workers(
    order: Sequence[str], streams: Mapping[str, NodeStreamsConfig], channels: Mapping[str, Channel]
) -> tuple[Worker, ...]:
    """In topological order, each fan-out right after its producer: the caller then holds few ends at a time."""
    workers: list[Worker] = [
        Worker(channel.fanout, fanout_of=channel.name)
        for channel in channels.values()
        if channel.fanout and channel.producer == OUTSIDE
    ]
    for node in order:
        workers.append(Worker(node, _wires(node, streams[node], channels)))
        for name, _fd in _written(streams[node]):
            fanout = channels[name].fanout
            if fanout:
                workers.append(Worker(fanout, fanout_of=name))
    return tuple(workers)


def _wires(node: str, config: NodeStreamsConfig, channels: Mapping[str, Channel]) -> tuple[Wire, ...]:
    wires = [Wire(fd, channels[name].source, name) for name, fd in _written(config)]
    if config.stdin is not None:
        wires.insert(0, Wire(0, channels[config.stdin].consumer(node).pipe, config.stdin))
    return tuple(wires)
