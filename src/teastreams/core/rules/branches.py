"""Rules about the branches of parallel edges: each leads to its fan-in, none meets another, and what may stand in them.

They assume that every unit has at most one way without a condition, and that the end is reached from everywhere.
"""

from __future__ import annotations

from typing import Iterator, Mapping, Sequence

from teastreams.core.control.flow import Fork, Section, forks_in, nodes_in, unfolded
from teastreams.core.control.units import Control, Way
from teastreams.core.graph import END, START, Edge
from teastreams.core.rules.wording import Found, found, listed, quoted, yaml_edge, yaml_name

MAIN = 0  # the number of the main line among all lines


def lost(control: Control) -> Iterator[Found]:
    for edge in control.graph.edges:
        for target in edge.targets if edge.fan_in is not None else ():
            last = next(_astray(control, edge, target), None)
            if last is not None:
                yield _lost(edge, target, last)


def _lost(edge: Edge, target: str, last: Way) -> Found:
    ending = "ends at `__end__`" if last.target == END else f"comes to {quoted(last.target)}, another fan-in,"
    message = f"branch {quoted(target)} of the parallel edge from {quoted(edge.source)} {ending}"
    fix = f"write {yaml_edge(last.source, (edge.fan_in or '',))}"
    return found(last.edge or edge, f"{message} instead of its fan_in {quoted(edge.fan_in or '')}", fix, "to")


def _astray(control: Control, edge: Edge, target: str) -> Iterator[Way]:
    """The ways by which a branch ends elsewhere than at its fan-in."""
    stop = edge.fan_in or ""
    for way in control.line(control.beginnings(edge, target), stop):
        if control.ends(way, stop) and not control.together(way.target, stop):
            yield way


def meeting(control: Control) -> Iterator[Found]:
    arrivals: dict[str, dict[int, Way]] = {}
    for number, (ways, stop) in enumerate(_lines(control)):
        for way in control.line(ways, stop):
            if not control.ends(way, stop):
                arrivals.setdefault(control.head[way.target], {}).setdefault(number, way)
    for known in arrivals.values():
        if len(known) > 1:
            yield _met(control, known, list(known.values())[-1].target)


def _lines(control: Control) -> Iterator[tuple[Sequence[Way], str]]:
    """Every line as (its first ways, where it ends): the main one, and one for each branch."""
    yield control.onward(control.unit(START)), END
    for edge in control.graph.edges:
        for target in edge.targets if edge.fan_in is not None else ():
            yield control.beginnings(edge, target), edge.fan_in or ""


def _met(control: Control, known: Mapping[int, Way], node: str) -> Found:
    sources = [way.source for way in known.values()]
    message = f"{quoted(node)} is reached from {listed(sources)}, which are on different branches"
    fix = f"make it their fan-in: write `fan_in: {yaml_name(node)}` on the parallel edge"
    if MAIN in known and START in sources:
        fix = f"a branch ends at its fan-in: let {quoted(sources[-1])} lead there"
    return found(control.graph.node(node), message, fix, "name")


def sections_in_threads(control: Control) -> Iterator[Found]:
    for fork in forks_in(unfolded(control)):
        if not isinstance(fork, Fork) or fork.strategy != "thread":
            continue
        inner = [step for branch in fork.branches for step in forks_in(branch.steps) if isinstance(step, Section)]
        if inner:
            edge = fork.edge
            message = f"the branches of the parallel edge from {quoted(edge.source)} run in threads"
            reason = f"but the stream section of {listed(inner[0].members)} stands in one of them"
            yield found(edge, f"{message}, {reason}", "write `parallel_strategy: process`", "parallel_strategy")


def interrupts(control: Control) -> Iterator[Found]:
    told: set[str] = set()
    for fork in forks_in(unfolded(control)):
        for name in (name for branch in fork.branches for name in nodes_in(branch.steps) if name not in told):
            told.add(name)
            node = control.graph.node(name)
            wanted = (("interrupt_before", node.interrupt_before), ("interrupt_after", node.interrupt_after))
            for key in (key for key, given in wanted if given and not node.streaming):
                message = f"node {quoted(name)} has {key} inside a branch of a parallel edge"
                fix = f"interrupts stand on the main line: write it on the fan-in {quoted(fork.fan_in or '')}"
                yield found(node, message, fix, key)
