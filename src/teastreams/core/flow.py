"""Graph -> flow: the order in which control runs, as nested steps.

A checked graph is a structured program: plain calls one after another, plain fan-outs whose branches join at
their fan-in, and stream sections whose members start and end together. `flow_of` unfolds it once, at compile
time; the scheduler only walks the result. Assumes `rules.check` found nothing; decides nothing about processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable, Iterator, Optional, Union

from teastreams.core.graph import END, START, Edge, Graph
from teastreams.core.units import Control, Unit, Way, control_of


@dataclass(frozen=True)
class Call:
    """Run one plain node in the current process."""

    node: str


@dataclass(frozen=True)
class Branch:
    """One target of a parallel edge and the steps that follow it up to the fan-in.

    For a plain target `steps` begins with the target itself. For a member of a stream section it holds only
    what follows the section (mostly nothing).
    """

    target: str
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Fork:
    """A plain fan-out: run every branch by `strategy`, hand the results to the node `fan_in`."""

    edge: Edge
    strategy: str
    branches: tuple[Branch, ...]
    fan_in: str


@dataclass(frozen=True)
class Section:
    """A stream section: all `members` start together and end together.

    `members` is in topological order of the channels, ties in declaration order. When a parallel edge leads
    into it or lies inside it, `edge` is that edge, `branches` its targets in the order of `to` (a branch whose
    target is not a member is a plain branch that runs beside the section in a forked worker of its own), and
    the results go to `fan_in`. Without a fan-in the branches have no steps.
    """

    members: tuple[str, ...]
    edge: Optional[Edge] = None
    branches: tuple[Branch, ...] = ()
    fan_in: Optional[str] = None


Step = Union[Call, Fork, Section]
Flow = tuple[Step, ...]


def flow_of(graph: Graph) -> Flow:
    """The steps of a checked graph from `__start__` to `__end__`.

    Every node stands in it exactly once. The step after a fan-out with a fan-in begins with the fan-in node: a
    `Call` of it, or the `Section` that contains it.
    """
    return unfolded(control_of(graph))


def unfolded(control: Control) -> Flow:
    """`flow_of`, for a graph that is contracted already."""
    return _line(control, control.onward(control.unit(START)), END)


def nodes_in(steps: Iterable[Step]) -> Iterator[str]:
    """The names of all nodes in `steps`, nested ones included; members before what follows or accompanies them."""
    for step in steps:
        if isinstance(step, Call):
            yield step.node
        else:
            yield from step.members if isinstance(step, Section) else ()
            for branch in step.branches:
                yield from nodes_in(branch.steps)


def forks_in(steps: Iterable[Step]) -> Iterator[Union[Fork, Section]]:
    """The fan-outs in `steps`, outer before inner: every `Fork`, and every `Section` with branches or without."""
    for step in steps:
        if not isinstance(step, Call):
            yield step
            for branch in step.branches:
                yield from forks_in(branch.steps)


def _line(control: Control, way: Way, stop: str) -> Flow:
    """The steps from `way` on until control comes to the unit of `stop`."""
    steps: list[Step] = []
    while True:
        if way.fork is not None:
            steps.append(_fork(control, way.fork, way.target))
        if control.together(way.target, stop):
            return tuple(steps)
        unit = control.unit(way.target)
        steps.append(_section(control, unit) if unit.streaming else Call(way.target))
        way = control.onward(unit)


def _fork(control: Control, edge: Edge, fan_in: str) -> Fork:
    branches = tuple(_branch(control, edge, target) for target in edge.targets)
    return Fork(edge, _strategy(control.graph, edge, branches), branches, fan_in)


def _section(control: Control, unit: Unit) -> Section:
    if unit.edge is None:
        return Section(unit.members)
    branches = tuple(_branch(control, unit.edge, target) for target in unit.edge.targets)
    return Section(unit.members, unit.edge, branches, unit.fan_in)


def _branch(control: Control, edge: Edge, target: str) -> Branch:
    way = control.beginning(edge, target)
    if way is None or edge.fan_in is None:
        return Branch(target)
    return Branch(target, _line(control, way, edge.fan_in))


def _strategy(graph: Graph, edge: Edge, branches: tuple[Branch, ...]) -> str:
    """The strategy of a plain fan-out; a section inside implies process where nobody named one."""
    if edge.strategy is not None:
        return edge.strategy
    streams = any(isinstance(step, Section) for branch in branches for step in forks_in(branch.steps))
    return "process" if streams and not graph.strategy_given else graph.parallel.strategy
