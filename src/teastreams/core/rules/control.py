"""Rules about the ways of control: it is never in doubt which is taken, all lead to the end, sections in one piece.

They work on the contracted graph (`units`). What they establish: every unit has at most one way without a condition in
each line, control comes everywhere and from everywhere to `__end__`. That the branches keep to their lines is checked
next, in `branches`.
"""

from __future__ import annotations

from collections import deque
from typing import Iterator, Sequence

from teastreams.core.control.units import Control, Unit, Way
from teastreams.core.graph import END, START, Edge
from teastreams.core.rules.wording import (
    Found,
    Subject,
    found,
    listed,
    path,
    quoted,
    yaml_edge,
    yaml_fork,
    yaml_list,
    yaml_name,
)

MAX_SHOWN = 4


def several_edges_in_one_unit(control: Control) -> Iterator[Found]:
    for unit in control.units.values():
        for edge in unit.edges[1:]:
            sources = listed((unit.edges[0].source, edge.source))
            message = f"two parallel edges, from {sources}, lead into one stream section"
            line = yaml_edge(edge.source, edge.targets, f"stream_mode: {edge.stream_mode}")
            yield found(edge, message, f"write one of them as a plain edge: {line}", "parallel")


def fan_in_inside_its_section(control: Control) -> Iterator[Found]:
    for unit in control.units.values():
        for edge in unit.edges:
            if edge.fan_in in unit.members:
                message = f"the fan_in {quoted(edge.fan_in)} is a member of the stream section that it collects"
                fix = "name a node that comes after the section, one that reads no channel of it"
                yield found(edge, message, fix, "fan_in")


def shared_fan_in(control: Control) -> Iterator[Found]:
    first: dict[str, Edge] = {}
    for edge in (edge for edge in control.graph.edges if edge.fan_in is not None):
        known = first.setdefault(control.head[edge.fan_in or ""], edge)
        if known is not edge and not _attached_together(control, known, edge):
            message = f"the branches of the parallel edges from {listed((known.source, edge.source))} join at one place"
            fix = f"give the edge from {quoted(edge.source)} a fan-in node of its own"
            yield found(edge, f"{message}, {quoted(edge.fan_in or '')}", fix, "fan_in")


def several_ways(control: Control) -> Iterator[Found]:
    for unit in control.units.values():
        back = _back(control, unit)
        for line in control.lines(unit):
            apart = _apart(control, [way for way in line if way.condition is None and way not in back])
            if len(apart) > 1:
                yield _several(control, unit, apart)


def beside_the_branches(control: Control) -> Iterator[Found]:
    for unit in control.units.values():
        for way in control.tails(unit, None):
            # Only what somebody wrote can stand here: a unit with a fan-in has no other ways.
            edge, subject = unit.edges[0], way.edge or control.graph
            message = f"{quoted(way.source)} leads out of its stream section to {quoted(way.heads_for[0])}"
            fix = f"let it lead to the fan-in: {yaml_edge(way.source, (edge.fan_in or '',))}"
            reason = f"but is in no branch of the parallel edge from {quoted(edge.source)}"
            yield found(subject, f"{message}, {reason}", fix, "to")


def endless(control: Control) -> Iterator[Found]:
    ending = _ending(control)
    caught = [name for name in _reached(control) if name not in ending]
    reach = _reach(control) if caught else {}
    told: set[str] = set()
    for name in caught:
        # What leads into a loop that was told already is its consequence.
        if name in reach[name] and told.isdisjoint(reach[name]):
            told.add(name)
            yield _circling(control, _shortest_circle(control, control.units[name]))


def entered_in_the_middle(control: Control) -> Iterator[Found]:
    entered = {name for name, unit in control.units.items() if unit.streaming and len(_entries(control, unit)) > 1}
    reach = _reach(control) if entered else {}
    for name, unit in control.units.items():
        if name in entered and name in reach[name]:
            yield _re_entered(control, unit, _shortest_circle(control, unit))


def conditions_in_sections(control: Control) -> Iterator[Found]:
    for edge in control.graph.edges:
        inside = [target for target in edge.targets if control.together(edge.source, target)]
        if edge.condition is not None and inside and control.unit(edge.source).streaming:
            hop = path((edge.source, inside[0]))
            message = f"the edge {hop} has a condition, but both nodes belong to one stream section"
            fix = "delete the condition: a section starts and ends as one; decide before it or after it"
            yield found(edge, message, fix, "when", "condition", "to")


def unreachable(control: Control) -> Iterator[Found]:
    reached = _reached(control)
    for name, unit in control.units.items():
        if name not in reached and name != END:
            message = f"no edge leads to {_called(unit)}"
            fix = f"write `- {{from: NAME, to: {yaml_name(unit.members[0])}}}` with the node that comes before"
            yield found(control.graph.node(unit.members[0]), message, fix, "name")


def _attached_together(control: Control, edge: Edge, other: Edge) -> bool:
    """Do both belong to one section? Then another rule names them."""
    return any(edge in unit.edges and other in unit.edges for unit in control.units.values())


def _apart(control: Control, ways: Sequence[Way]) -> list[Way]:
    """The first of those that lead to the same unit; every fan-out is a way of its own."""
    apart: dict[tuple[str, str], Way] = {}
    for way in ways:
        apart.setdefault((way.source if way.fork else "", control.head[way.target]), way)
    return list(apart.values())


def _several(control: Control, unit: Unit, ways: Sequence[Way]) -> Found:
    texts = [f"{path((way.source,))} -> {yaml_list(way.written)}" for way in ways]
    shown = texts if len(texts) <= MAX_SHOWN else [*texts[:MAX_SHOWN], "others"]
    message = f"{_called(unit)} has {len(ways)} ways on: {' and '.join(shown)}"
    targets = [node for way in ways for node in way.written]
    fan_ins = [way.edge.fan_in for way in ways if way.edge is not None and way.edge.fan_in is not None]
    if END in targets:
        fix = "delete all but one of them, or say when each is taken: `when: EXPRESSION`"
    elif len({way.source for way in ways}) > 1:
        fix = f"let all of them lead to one node: {yaml_edge(ways[-1].source, ways[0].written)}"
    elif len(targets) > MAX_SHOWN:
        fix = "say when each is taken: `when: EXPRESSION`"
    else:
        fix = f"for branches write {yaml_fork(ways[0].source, targets, *fan_ins[:1])}"
    return found(_subject(control, ways[-1]), message, fix, "to")


def _called(unit: Unit) -> str:
    """The unit as a message names it."""
    if unit.members == (START,):
        return "`__start__`"
    if not unit.streaming:
        return f"node {quoted(unit.members[0])}"
    return f"the stream section of {listed(unit.members)}"


def _subject(control: Control, way: Way) -> Subject:
    if way.edge is not None:
        return way.edge
    return control.graph if way.source == START else control.graph.node(way.source)


def _circling(control: Control, circle: Sequence[str]) -> Found:
    last = circle[-2]
    ways = [way for way in control.unit(last).ways if way.source == last and way.target == circle[-1]]
    subject = _subject(control, ways[0]) if ways else control.graph.node(last)
    message = f"control never leaves the loop {path(circle)}"
    fix = f"give the loop a way out: a condition on one of its edges, and beside it {yaml_edge(last, (END,))}"
    if ways and ways[0].edge is None:
        after = "leads to the next node of the list; if it is the last step, write"
        fix = f"{quoted(last)} {after} {yaml_edge(last, (END,))}"
    return found(subject, message, fix, "to")


def _re_entered(control: Control, unit: Unit, circle: Sequence[str]) -> Found:
    last = circle[-2]
    ways = [way for way in control.unit(last).ways if way.source == last and way.target == circle[-1]]
    between = [name for name in dict.fromkeys(circle) if name not in unit.members]
    message = f"{_called(unit)} would be left and entered again: {path(circle)}"
    fix = f"a section starts and ends as one: let {listed(between or circle[-1:])} come before it or after it"
    return found(_subject(control, ways[0]) if ways else control.graph.node(last), message, fix, "to")


def _back(control: Control, unit: Unit) -> list[Way]:
    """The ways out of a section that lead back into the middle of it: control comes in at more than one place."""
    if not unit.streaming or len(_entries(control, unit)) < 2:
        return []
    reach = _reach(control)
    return [way for way in unit.ways if unit.members[0] in reach[control.head[way.target]]]


def _entries(control: Control, unit: Unit) -> set[str]:
    """The members at which control comes in from outside; those of one parallel edge count as one."""
    attached = {(edge.source, target) for edge in unit.edges for target in edge.targets}
    return {"" if hop in attached else hop[1] for hop in control.arrivals.get(unit.members[0], ())}


def _ending(control: Control) -> set[str]:
    """The heads of the units from which control can come to the end."""
    before: dict[str, list[str]] = {}
    for name, after in control.neighbours().items():
        for each in after:
            before.setdefault(each, []).append(name)
    ending = {END: None}
    waiting = [END]
    for name in waiting:  # grows while it is walked
        fresh = [each for each in before.get(name, ()) if each not in ending]
        ending.update(dict.fromkeys(fresh))
        waiting += fresh
    return set(ending)


def _shortest_circle(control: Control, unit: Unit) -> list[str]:
    """The nodes from a unit that lies on a circle back into it."""
    trails = deque(list(hop) for hop in unit.hops)
    seen: set[str] = set()
    while control.unit(trails[0][-1]) is not unit:
        trail = trails.popleft()
        here = control.unit(trail[-1])
        if here.members[0] not in seen:
            seen.add(here.members[0])
            trails += [_extended(trail, hop) for hop in here.hops]
    return trails[0]


def _extended(trail: list[str], hop: tuple[str, str]) -> list[str]:
    """The trail and one more hop; where a section is entered by one member and left by another, both are named."""
    source, target = hop
    return [*trail, target] if trail[-1] == source else [*trail, source, target]


def _reach(control: Control) -> dict[str, set[str]]:
    """For every unit: all that come after it. Warshall's closure, so that a dense graph takes no time to refuse."""
    reach = control.neighbours()
    for middle in reach:
        for after in reach.values():
            if middle in after:
                after.update(reach[middle])
    return reach


def _reached(control: Control) -> dict[str, None]:
    """The units to which control can come, in that order."""
    reached: dict[str, None] = {}
    waiting = [START]
    for node in waiting:  # grows while it is walked
        if control.head[node] not in reached:
            reached[control.head[node]] = None
            waiting += [target for _, target in control.unit(node).hops]
    return reached
