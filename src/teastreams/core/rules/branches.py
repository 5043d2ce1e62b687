"""Rules about the branches of parallel edges: each leads to its fan-in, none meets another, and what may stand in them.

They assume that every unit has one way out, that nothing leads back, and that everything is reached.
"""

from __future__ import annotations

from typing import Iterator

from teastreams.core.flow import Fork, Section, forks_in, nodes_in, unfolded
from teastreams.core.graph import END
from teastreams.core.rules.wording import Found, found, listed, quoted, yaml_edge, yaml_name
from teastreams.core.units import Control, Unit, Way


def lost(control: Control) -> Iterator[Found]:
    joins = {control.head[edge.fan_in] for edge in control.graph.edges if edge.fan_in is not None}
    for edge in control.graph.edges:
        for target in edge.targets if edge.fan_in is not None else ():
            beginning = control.beginning(edge, target)
            last = beginning and _last_way(control, beginning, joins)
            if last is None or control.together(last.target, edge.fan_in or ""):
                continue
            ending = "ends at `__end__`" if last.target == END else f"comes to {quoted(last.target)}, another fan-in,"
            message = f"branch {quoted(target)} of the parallel edge from {quoted(edge.source)} {ending}"
            fix = f"write {yaml_edge(last.source, (edge.fan_in or '',))}"
            yield found(last.edge or edge, f"{message} instead of its fan_in {quoted(edge.fan_in or '')}", fix, "to")


def meeting(control: Control) -> Iterator[Found]:
    joins = {control.head[edge.fan_in] for edge in control.graph.edges if edge.fan_in is not None}
    arrivals: dict[str, list[tuple[str, str]]] = {}
    for unit in control.units.values():
        for line in (*control.lines(unit), *_companions(unit)):
            into = {control.head[node]: (way.source, node) for way in line for node in way.heads_for}
            for head, arrival in into.items():
                arrivals.setdefault(head, []).append(arrival)
    for head, known in arrivals.items():
        if len(known) > 1 and head not in (*joins, END):
            yield _met(control, [source for source, _ in known], known[-1][1])


def _companions(unit: Unit) -> list[tuple[Way, ...]]:
    edge = unit.edge
    return [(Way(edge.source, target),) for target in edge.targets if target not in unit.members] if edge else []


def _met(control: Control, sources: list[str], node: str) -> Found:
    message = f"{quoted(node)} is reached from {listed(sources)}, which are on different branches"
    fix = f"make it their fan-in: write `fan_in: {yaml_name(node)}` on the parallel edge"
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


def _last_way(control: Control, way: Way, joins: set[str]) -> Way:
    """The way by which a line comes to its end: at a fan-in that is not of its own fan-outs, or at the end of all."""
    while way.joining or (way.target != END and control.head[way.target] not in joins):
        way = control.onward(control.unit(way.target))
    return way
