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
    upstream = upstream_of(graph)
    done: set[str] = set()
    for node in graph.nodes:
        circle = _circle(node.name, upstream)
        if len(circle) > 2 and done.isdisjoint(circle):
            done.update(circle)
            message = f"the channels form a cycle: {path(circle)}"
            fix = f"delete the `stdin` of {quoted(node.name)}, or let it read another channel"
            yield found(node, message, fix, "streams.stdin")


def too_many_consumers(graph: Graph) -> Iterator[Found]:
    for channel in channels_of(graph):
        readers = len(channel.consumers)
        if readers > MAX_CONSUMERS:
            message = f"channel {quoted(channel.name)} has {readers} readers, and at most {MAX_CONSUMERS} are possible"
            fix = "let one of them pass the stream on through a channel of its own"
            yield found(graph.node(channel.consumers[MAX_CONSUMERS]), message, fix, "streams.stdin")


def not_broadcast(graph: Graph) -> Iterator[Found]:
    for channel in channels_of(graph):
        edges = [edge for edge in graph.edges if _carries(edge, channel)]
        if len(channel.consumers) < 2 or not channel.producers or any(_broadcasts(edge) for edge in edges):
            continue
        touching = [edge for edge in edges if not set(edge.targets).isdisjoint(channel.consumers)]
        yield _direct(graph, channel, next(iter(sorted(touching, key=lambda edge: not edge.parallel)), None))


def needless_broadcast(graph: Graph) -> Iterator[Found]:
    channels = channels_of(graph)
    for edge in graph.edges:
        carried = [channel for channel in channels if _carries(edge, channel)]
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


def _carries(edge: Edge, channel: ChannelEnds) -> bool:
    """May this edge say how the channel is delivered? It leads from the producer, or starts everybody at once."""
    everybody = edge.parallel and set(edge.targets).issuperset(channel.nodes)
    return everybody or edge.source in [name for name, _ in channel.producers]


def _broadcasts(edge: Edge) -> bool:
    return edge.stream_mode == "broadcast"


def _streams(node: Node) -> list[tuple[str, str]]:
    """The streams of a node that have a channel, with its name."""
    streams = node.streams
    pairs = zip(STREAMS, (streams.stdin, streams.stdout, streams.stderr)) if streams else ()
    return [(stream, channel) for stream, channel in pairs if channel is not None]


def _circle(name: str, upstream: dict[str, str]) -> list[str]:
    """The way from a node down the channels to itself, or nothing."""
    seen = [name]
    above = upstream.get(name)
    while above is not None and above not in seen:
        seen.append(above)
        above = upstream.get(above)
    return [name, *reversed(seen)] if above == name else []


def _produce(channel: str) -> str:
    return f"write `streams: {{stdout: {yaml_name(channel)}}}` on the node that produces it"
