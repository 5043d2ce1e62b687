"""Rules about channels: one producer, one or more readers, no circle, and broadcast exactly where it is needed.

They look at names only. Which nodes form a section follows from the channels, so control is followed only when
producers and consumers are in order.
"""

from __future__ import annotations

from typing import Iterator, Optional

from teastreams.core.control.units import ChannelEnds, channels_of, upstream_of
from teastreams.core.graph import MAX_CONSUMERS, STREAMS, Edge, Graph, Node
from teastreams.core.rules.wording import Found, found, listed, meant, path, quoted, yaml_edge, yaml_name


def nameless(graph: Graph) -> Iterator[Found]:
    for node in graph.nodes:
        for stream, channel in _streams(node):
            if not channel:
                message = f"node {quoted(node.name)} has a channel without a name"
                yield found(node, message, f"write `{stream}: NAME`", f"streams.{stream}")


def same_channel_twice(graph: Graph) -> Iterator[Found]:
    for node in graph.nodes:
        if node.streams is not None and node.streams.stdout is not None and node.streams.stdout == node.streams.stderr:
            channel = node.streams.stdout
            message = f"node {quoted(node.name)} sends both stdout and stderr into channel {quoted(channel)}"
            fix = f"give stderr a channel of its own: `stderr: {yaml_name(channel + '_errors')}`"
            yield found(node, message, fix, "streams.stderr")


def several_producers(graph: Graph) -> Iterator[Found]:
    for channel in channels_of(graph):
        producers = dict(reversed(channel.producers))
        for name, stream in list(reversed(producers.items()))[1:]:
            message = f"channel {quoted(channel.name)} has two producers: {listed((channel.producer, name))}"
            fix = f"give {quoted(name)} a channel of its own: `{stream}: {yaml_name(f'{channel.name}_{name}')}`"
            yield found(graph.node(name), message, fix, f"streams.{stream}")


def without_producer(graph: Graph) -> Iterator[Found]:
    channels = channels_of(graph)
    produced = [channel.name for channel in channels if channel.producers]
    for channel in channels:
        for name in channel.consumers if channel.name not in graph.fed.union(produced) else ():
            message = f"node {quoted(name)} reads channel {quoted(channel.name)}, which no node produces"
            fix = meant(channel.name, produced, "stdin") if produced else _produce(channel.name)
            yield found(graph.node(name), message, fix, "streams.stdin")


def of_the_caller(graph: Graph) -> Iterator[Found]:
    channels = {channel.name: channel for channel in channels_of(graph)}
    for name in sorted(graph.fed):
        producers = channels[name].producers if name in channels else ()
        if producers:
            message = f"the caller cannot feed channel {quoted(name)}, which node {quoted(producers[0][0])} writes"
            yield found(graph, message, f"leave {quoted(name)} out of `feed`")
    for name in sorted(graph.fed.union(graph.opened).difference(channels)):
        message = f"the caller feeds or reads channel {quoted(name)}, which no node has"
        yield found(graph, message, f"name one of {listed(list(channels))}" if channels else "give a node a channel")


def without_consumer(graph: Graph) -> Iterator[Found]:
    for channel in channels_of(graph):
        if channel.name and not channel.consumers and channel.name not in graph.opened:
            name, stream = channel.producers[0]
            message = f"nobody reads channel {quoted(channel.name)}, the {stream} of node {quoted(name)}"
            line = f"`streams: {{stdin: {yaml_name(channel.name)}}}`"
            fix = f"write {line} on the node that reads it, or delete `{stream}: {yaml_name(channel.name)}`"
            yield found(graph.node(name), message, fix, f"streams.{stream}")


def self_loops(graph: Graph) -> Iterator[Found]:
    for node in graph.nodes:
        for stream, channel in _streams(node):
            if stream != "stdin" and channel and node.streams and channel == node.streams.stdin:
                message = f"node {quoted(node.name)} reads its own {stream} through channel {quoted(channel)}"
                fix = "read it from another node, or keep the data inside the node"
                yield found(node, message, fix, "streams.stdin")


def cycles(graph: Graph) -> Iterator[Found]:
    for first, *others in _circles([node.name for node in graph.nodes], upstream_of(graph)):
        if others:
            message = f"the channels form a cycle: {path([first, *reversed(others), first])}"
            fix = f"delete the `stdin` of {quoted(first)}, or let it read another channel"
            yield found(graph.node(first), message, fix, "streams.stdin")


def too_many_consumers(graph: Graph) -> Iterator[Found]:
    for channel in channels_of(graph):
        readers = len(channel.consumers)
        if readers > MAX_CONSUMERS:
            message = f"channel {quoted(channel.name)} has {readers} readers, and at most {MAX_CONSUMERS} are possible"
            fix = "let one of them pass the stream on through a channel of its own"
            yield found(graph.node(channel.consumers[MAX_CONSUMERS]), message, fix, "streams.stdin")


def not_broadcast(graph: Graph) -> Iterator[Found]:
    carriers: dict[str, list[Edge]] = {}
    for edge, carried in _carried(graph):
        for channel in carried:
            carriers.setdefault(channel.name, []).append(edge)
    for channel in channels_of(graph):
        edges = carriers.get(channel.name, [])
        if len(channel.consumers) < 2 or not channel.producers or any(_broadcasts(edge) for edge in edges):
            continue
        touching = [edge for edge in edges if not set(edge.targets).isdisjoint(channel.consumers)]
        yield _direct(graph, channel, next(iter(sorted(touching, key=lambda edge: not edge.parallel)), None))


def needless_broadcast(graph: Graph) -> Iterator[Found]:
    for edge, carried in _carried(graph):
        if not _broadcasts(edge) or any(len(channel.consumers) > 1 for channel in carried):
            continue
        if carried:
            reader = f"{listed(carried[0].consumers)} alone" if carried[0].consumers else "nobody"
            message = f"broadcast needs two or more readers, but channel {quoted(carried[0].name)} is read by {reader}"
        else:
            message = f"the edge from {quoted(edge.source)} is broadcast, but no channel goes along it"
        yield found(edge, message, "leave out `stream_mode: broadcast`", "stream_mode")


def _direct(graph: Graph, channel: ChannelEnds, edge: Optional[Edge]) -> Found:
    readers = f"{len(channel.consumers)} readers, {listed(channel.consumers)}"
    message = f"channel {quoted(channel.name)} of node {quoted(channel.producer)} has {readers}, but is not broadcast"
    if edge is None:
        line = yaml_edge(channel.producer, channel.consumers, "stream_mode: broadcast")
        return found(graph.node(channel.consumers[1]), message, f"add the edge {line}", "streams.stdin")
    line = f" (line {edge.where.line})" if edge.where else ""
    fix = f"write `stream_mode: broadcast` on the edge from {quoted(edge.source)}{line}"
    return found(edge, message, fix, "stream_mode", "to")


def _carried(graph: Graph) -> Iterator[tuple[Edge, list[ChannelEnds]]]:
    """Every edge with the channels of which it may say how they are delivered.

    It leads from the producer, or starts everybody at once.
    """
    channels = channels_of(graph)
    touching: dict[str, list[int]] = {}
    for place, channel in enumerate(channels):
        for name in channel.nodes:
            touching.setdefault(name, []).append(place)
    for edge in graph.edges:
        targets = set(edge.targets if edge.parallel else ())
        near = {place for name in (edge.source, *targets) for place in touching.get(name, ())}
        yield edge, [channels[place] for place in sorted(near) if _carries(edge.source, targets, channels[place])]


def _carries(source: str, targets: set[str], channel: ChannelEnds) -> bool:
    return targets.issuperset(channel.nodes) or source in [name for name, _ in channel.producers]


def _broadcasts(edge: Edge) -> bool:
    return edge.stream_mode == "broadcast"


def _streams(node: Node) -> list[tuple[str, str]]:
    """The streams of a node that have a channel, with its name."""
    streams = node.streams
    pairs = zip(STREAMS, (streams.stdin, streams.stdout, streams.stderr)) if streams else ()
    return [(stream, channel) for stream, channel in pairs if channel is not None]


def _circles(names: list[str], upstream: dict[str, str]) -> list[list[str]]:
    """The circles that the ways up the channels run into, each from its first name on, in the order of those."""
    places = {name: place for place, name in reversed([*enumerate(names)])}
    seen: set[str] = set()
    circles = []
    for name in names:
        way: dict[str, None] = {}
        above: Optional[str] = name
        while above is not None and above not in seen and above not in way:
            way[above] = None
            above = upstream.get(above)
        seen.update(way)
        if above in way:
            circles.append(_from_first([*way][[*way].index(above) :], places))
    return sorted(circles, key=lambda circle: places[circle[0]])


def _from_first(circle: list[str], places: dict[str, int]) -> list[str]:
    start = circle.index(min(circle, key=places.__getitem__))
    return circle[start:] + circle[:start]


def _produce(channel: str) -> str:
    return f"write `streams: {{stdout: {yaml_name(channel)}}}` on the node that produces it"
