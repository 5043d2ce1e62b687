"""Graph -> control: nodes contracted to units, and the ways that control takes from one unit to the next.

A unit is what starts and ends as one: a plain node, or the stream sections that a parallel edge starts together
(mostly a single section). A *section* is a connected component of nodes over channels, or a lone node with a worker of
its own. A parallel edge is *attached* to a unit when one of its targets is a member: it then says how the unit's
results are collected. Edges between members of one unit order nothing. Where nothing is declared, control goes on to
the fan-in of the branch it is in, else to the next node of the list. Nothing is judged here: `rules` does that, over
these values; `flow` unfolds them. Nothing here fails on a wrong graph whose names and channels are sound.
"""

from __future__ import annotations

from dataclasses import field, replace
from functools import cached_property
from heapq import heappop, heappush
from typing import Callable, Collection, Iterable, Iterator, Mapping, Optional

from teastreams.core.graph import END, START, Condition, Edge, Graph
from teastreams.values import dataclass


@dataclass(frozen=True)
class ChannelEnds:
    """One channel as declared: who writes it, as (node, "stdout" or "stderr"), and who reads it."""

    name: str
    producers: tuple[tuple[str, str], ...] = ()
    consumers: tuple[str, ...] = ()

    @property
    def producer(self) -> str:
        """The node that writes it; a checked graph has exactly one."""
        return self.producers[0][0]

    @property
    def nodes(self) -> tuple[str, ...]:
        """Everybody at either end."""
        return (*(name for name, _ in self.producers), *self.consumers)


def channels_of(graph: Graph) -> tuple[ChannelEnds, ...]:
    """The channels of a graph in the order in which its nodes first name them."""
    producers: dict[str, list[tuple[str, str]]] = {}
    consumers: dict[str, list[str]] = {}
    for node in graph.nodes:
        if node.streams is None:
            continue
        for channel in node.streams.channels:
            producers.setdefault(channel, [])
            consumers.setdefault(channel, [])
        if node.streams.stdin is not None:
            consumers[node.streams.stdin].append(node.name)
        for stream, output in (("stdout", node.streams.stdout), ("stderr", node.streams.stderr)):
            if output is not None:
                producers[output].append((node.name, stream))
    return tuple(ChannelEnds(name, tuple(producers[name]), tuple(consumers[name])) for name in producers)


def upstream_of(graph: Graph) -> dict[str, str]:
    """For every node with an input: the node that produces it. One stdin each, so sections are trees."""
    return {
        consumer: channel.producer
        for channel in channels_of(graph)
        if channel.producers
        for consumer in channel.consumers
    }


def sections_of(graph: Graph) -> tuple[tuple[str, ...], ...]:
    """The stream sections: members in topological order of the channels, ties in declaration order."""
    upstream = upstream_of(graph)
    place = _places(graph)
    joined = [set(channel.nodes) for channel in channels_of(graph)]
    alone = [{node.name} for node in graph.nodes if node.streaming]
    merged = _merged([*joined, *alone])
    sections = sorted((sorted(section, key=place) for section in merged), key=lambda names: place(names[0]))
    return tuple(in_stream_order(section, upstream) for section in sections)


def _places(graph: Graph) -> Callable[[str], int]:
    """Where a node stands in the declaration."""
    return {node.name: place for place, node in reversed([*enumerate(graph.nodes)])}.__getitem__


def in_stream_order(names: Iterable[str], upstream: Mapping[str, str]) -> tuple[str, ...]:
    """`names`, given in declaration order, sorted so that every producer stands before its consumers."""
    waiting = {name: place for place, name in enumerate(dict.fromkeys(names))}
    below: dict[str, list[str]] = {}
    for name in waiting:
        below.setdefault(upstream.get(name, ""), []).append(name)
    ready = [(place, name) for name, place in waiting.items() if upstream.get(name) not in waiting]
    order: list[str] = []
    while waiting:
        _place, name = heappop(ready) if ready else (0, next(iter(waiting)))  # else: in a circle
        if waiting.pop(name, None) is not None:
            order.append(name)
            for each in below.get(name, ()):
                heappush(ready, (waiting.get(each, 0), each))
    return tuple(order)


def _merged(sets: Iterable[set[str]]) -> list[set[str]]:
    """Sets that share an element become one."""
    home: dict[str, set[str]] = {}
    result: dict[int, set[str]] = {}
    for new in sets:
        touching = {id(home[name]): home[name] for name in new if name in home}
        largest = max(touching.values(), key=len, default=set())  # the others are copied into it
        for joining in (new, *(known for known in touching.values() if known is not largest)):
            largest |= joining
            home.update(dict.fromkeys(joining, largest))
        for known in touching:
            del result[known]
        result[id(largest)] = largest
    return list(result.values())


@dataclass(frozen=True)
class Way:
    """One way out of a unit, from the node `source` to the node `target`.

    `edge` is its declaration, None when it follows from the order of the nodes. When control fans out to plain
    branches on this way, `fork` is that parallel edge and `target` its fan-in.
    """

    source: str
    target: str
    edge: Optional[Edge] = None
    fork: Optional[Edge] = None

    @property
    def joining(self) -> bool:
        """Does it lead from a fan-out to the fan-in of that same fan-out?"""
        return self.edge is not None and self.edge.parallel and self.edge.fan_in == self.target

    @property
    def condition(self) -> Optional[Condition]:
        """When control takes it; None is whenever no condition of the others holds."""
        return self.edge.condition if self.edge is not None else None

    @property
    def written(self) -> tuple[str, ...]:
        """The targets as its declaration names them."""
        return self.edge.targets if self.edge is not None and self.edge.parallel else (self.target,)

    @property
    def heads_for(self) -> tuple[str, ...]:
        """Every node to which control goes on this way."""
        return (*(self.fork.targets if self.fork else ()), self.target)


@dataclass(frozen=True)
class Unit:
    """What starts and ends as one. `edges` are the parallel edges attached to it, `ways` all that lead out of it."""

    members: tuple[str, ...]
    streaming: bool = False
    edges: tuple[Edge, ...] = ()
    ways: tuple[Way, ...] = ()

    @property
    def edge(self) -> Optional[Edge]:
        """The parallel edge attached to it; a checked graph has at most one."""
        return self.edges[0] if self.edges else None

    @property
    def fan_in(self) -> Optional[str]:
        """Where its branches join, if they do."""
        return self.edge.fan_in if self.edge else None

    @property
    def hops(self) -> tuple[tuple[str, str], ...]:
        """Every (from, to) by which control leaves it, the companions and the fan-in of its edges included."""
        ways = [(way.source, node) for way in self.ways for node in way.heads_for]
        for edge in self.edges:
            origin = edge.source if edge.source in self.members else self.members[0]
            ways += [(origin, node) for node in edge.targets if node not in self.members]
            ways += [(self.members[-1], edge.fan_in)] if edge.fan_in and edge.fan_in not in self.members else []
        return tuple(ways)


@dataclass(frozen=True)
class Control:
    """The contracted graph. `head` maps every node, START and END to the first member of its unit.

    `joins` holds the heads of all fan-ins.
    """

    graph: Graph
    head: Mapping[str, str]
    units: Mapping[str, Unit]
    upstream: Mapping[str, str] = field(default_factory=dict)
    joins: frozenset[str] = frozenset()

    def unit(self, node: str) -> Unit:
        """The unit of a node."""
        return self.units[self.head[node]]

    def together(self, node: str, other: str) -> bool:
        """Are both in one unit?"""
        return self.head[node] == self.head[other]

    def neighbours(self) -> dict[str, set[str]]:
        """For the head of every unit: the heads of those that come next."""
        return {name: {self.head[node] for _, node in unit.hops} for name, unit in self.units.items()}

    @cached_property
    def arrivals(self) -> Mapping[str, list[tuple[str, str]]]:
        """For the head of a unit: every (from, to) by which control comes into it from another one."""
        arrivals: dict[str, list[tuple[str, str]]] = {}
        for name, unit in self.units.items():
            for hop in unit.hops:
                if self.head[hop[1]] != name:
                    arrivals.setdefault(self.head[hop[1]], []).append(hop)
        return arrivals

    def onward(self, unit: Unit) -> tuple[Way, ...]:
        """How control goes on when the unit has ended: to its fan-in, else by one of its ways out."""
        if unit.edge is not None and unit.edge.fan_in is not None:
            return (Way(unit.members[-1], unit.edge.fan_in, unit.edge),)
        return unit.ways

    def branch_of(self, member: str, edge: Edge) -> Optional[str]:
        """The target of `edge` to whose branch a member belongs: itself, or the nearest target upstream."""
        name: Optional[str] = member
        while name is not None and name not in edge.targets:
            name = self.upstream.get(name)
        return name

    def tails(self, unit: Unit, target: Optional[str]) -> tuple[Way, ...]:
        """The ways by which a unit's branch goes on, before it reaches the fan-in, after the unit has ended.

        With `target` None: those that belong to no branch.
        """
        edge = unit.edge
        if edge is None or edge.fan_in is None:
            return ()
        ways = (way for way in unit.ways if not self.together(way.target, edge.fan_in))
        return tuple(way for way in ways if self.branch_of(way.source, edge) == target)

    def lines(self, unit: Unit) -> list[tuple[Way, ...]]:
        """The ways out of a unit, by the lines that continue there: one line, or one for each branch of a section."""
        if unit.edge is None or unit.edge.fan_in is None:
            return [unit.ways]
        return [self.tails(unit, target) for target in unit.edge.targets]

    def beginnings(self, edge: Edge, target: str) -> tuple[Way, ...]:
        """The ways on which the branch `target` begins; none if there is nothing but the member itself."""
        unit = self.unit(target)
        if not unit.streaming:
            return (Way(edge.source, target),)
        return self.tails(unit, target)

    def line(self, ways: Iterable[Way], stop: str) -> tuple[Way, ...]:
        """Every way that control can take in one line: from its first `ways` on, until it comes to the unit of `stop`.

        It ends at `__end__` too, and where control comes to somebody else's fan-in. Each is there once, in the order of
        discovery; a way with a fork stands for all its branches.
        """
        taken = list(ways)
        seen: set[str] = set()
        for way in taken:  # grows while it is walked
            head = self.head[way.target]
            if head not in seen and not self.ends(way, stop):
                seen.add(head)
                taken += self.onward(self.units[head])
        return tuple(taken)

    def ends(self, way: Way, stop: str) -> bool:
        """Does a line whose end is `stop` come to its end by this way?"""
        strange = stop != END and not way.joining and self.head[way.target] in self.joins
        return strange or way.target == END or self.together(way.target, stop)


def control_of(graph: Graph) -> Control:
    """The control of a graph whose names and channels are sound."""
    upstream = upstream_of(graph)
    units = _units(graph, upstream)
    head = {member: unit.members[0] for unit in units for member in unit.members}
    joins = frozenset(head[edge.fan_in] for edge in graph.edges if edge.fan_in is not None)
    declared = Control(graph, head, {unit.members[0]: unit for unit in _declared(units, graph, head)}, upstream, joins)
    inner = _enclosing(declared)
    complete = {name: _completed(unit, graph, inner.get(name)) for name, unit in declared.units.items()}
    return replace(declared, units=complete)


def stream_targets(edge: Edge, streaming: Collection[str]) -> tuple[str, ...]:
    """The stream nodes among the targets of a parallel edge, which it attaches to their unit."""
    return tuple(target for target in edge.targets if edge.parallel and target in streaming)


def _units(graph: Graph, upstream: Mapping[str, str]) -> list[Unit]:
    names = [node.name for node in graph.nodes]
    place = _places(graph)
    sections = [set(section) for section in sections_of(graph)]
    streaming = set().union(*sections)
    # A parallel edge starts all its stream targets in one step. Its source joins them only through
    # a target of the source's own section: otherwise that section has ended before.
    grouped = _merged([*sections, *(set(stream_targets(edge, streaming)) for edge in graph.edges)])
    plain = [Unit((name,)) for name in (START, *names, END) if name not in streaming]
    return plain + [
        Unit(in_stream_order(sorted(group, key=place), upstream), streaming=True) for group in grouped if group
    ]


def _declared(units: list[Unit], graph: Graph, head: Mapping[str, str]) -> Iterator[Unit]:
    """The units with the parallel edges attached to them and the ways that edges declare."""
    streaming = {member for unit in units if unit.streaming for member in unit.members}
    edges: dict[str, list[Edge]] = {}
    ways: dict[str, list[Way]] = {}
    for edge in graph.edges:
        for target in stream_targets(edge, streaming)[:1]:
            edges.setdefault(head[target], []).append(edge)
        leaving = [way for way in _ways(edge, streaming) if way.fork or _leaves(way, head, streaming)]
        ways.setdefault(head[edge.source], []).extend(leaving)
    for unit in units:
        name = unit.members[0]
        yield replace(unit, edges=tuple(edges.get(name, ())), ways=tuple(ways.get(name, ())))


def _leaves(way: Way, head: Mapping[str, str], streaming: Collection[str]) -> bool:
    """An edge between members of a section orders nothing; one from a plain node to itself is a loop."""
    return head[way.source] != head[way.target] or way.source not in streaming


def _ways(edge: Edge, streaming: Collection[str]) -> list[Way]:
    if not edge.parallel:
        return [Way(edge.source, target, edge) for target in edge.targets]
    members = stream_targets(edge, streaming)
    if members:
        return [Way(edge.source, members[0], edge)]
    return [Way(edge.source, edge.fan_in, edge, fork=edge)] if edge.fan_in else []


def _enclosing(control: Control) -> dict[str, Edge]:
    """For every unit inside a branch: the innermost parallel edge that it is in (the one that holds fewest units)."""
    following = {name: _following(control, unit, control.joins) for name, unit in control.units.items()}
    innermost: dict[str, tuple[int, Edge]] = {}
    for edge in control.graph.edges:
        if edge.parallel and edge.fan_in is not None:
            inside = _inside(control, edge, control.head[edge.fan_in], following)
            for name in inside:
                size, known = innermost.get(name, (len(inside), edge))
                innermost[name] = (len(inside), edge) if len(inside) < size else (size, known)
    return {name: edge for name, (_, edge) in innermost.items()}


def _following(control: Control, unit: Unit, joins: Collection[str]) -> set[str]:
    """The heads of the units that come next in the same branch: a plain edge to a fan-in ends a branch."""
    ends = {way.target for way in unit.ways if way.fork is None and control.head[way.target] in joins}
    return {control.head[node] for _, node in unit.hops if node not in ends or node == unit.fan_in}


def _inside(control: Control, edge: Edge, join: str, following: Mapping[str, set[str]]) -> Collection[str]:
    """The units between a parallel edge and its fan-in, as far as edges declare them."""
    ends = {control.head[target] for target in edge.targets}
    streaming = {name for name in ends if control.units[name].streaming}
    # What follows the section is in its branches; the section itself is where the edge lies.
    waiting = [*(ends - streaming), *(after for name in streaming for after in following[name])]
    inside: dict[str, None] = {}
    while waiting:
        name = waiting.pop()
        if name not in inside and name != join:
            inside[name] = None
            waiting += following[name]
    return inside


def _completed(unit: Unit, graph: Graph, inner: Optional[Edge]) -> Unit:
    """The unit with the ways that nobody wrote: to the fan-in of its branch, else to the next node of the list."""
    if unit.ways or unit.fan_in is not None or unit.members == (END,):
        return unit
    if inner is not None and inner.fan_in is not None:
        return replace(unit, ways=(Way(unit.members[-1], inner.fan_in),))
    return replace(unit, ways=tuple(_in_list_order(unit, graph)))


def _in_list_order(unit: Unit, graph: Graph) -> Iterator[Way]:
    names = [START, *(node.name for node in graph.nodes), END]
    following = dict(zip(names, names[1:]))
    declared = {edge.source for edge in graph.edges}
    loose = [name for name in unit.members if name not in declared and following[name] not in unit.members]
    for name in loose or [max(unit.members, key=names.index)]:
        yield Way(name, following[name])
