"""Graph -> flow: the steps that control runs, and the ways that it takes between them.

A checked graph is a program of lines. A line is a list of steps: plain calls, plain fan-outs whose branches are lines
of their own and join at a fan-in, and stream sections whose members start and end together. Where nothing else is
said, control goes on to the next step of the list; conditions and loops are jumps inside one line. `flow_of` unfolds
the graph once, at compile time; the scheduler only walks the result. Assumes `rules.check` found nothing; decides
nothing about processes.
"""

from __future__ import annotations

from dataclasses import field
from typing import Iterable, Iterator, Mapping, Optional, Sequence, Union

from teastreams.core.control.units import Control, Unit, Way, control_of
from teastreams.core.graph import END, START, Condition, Edge, Graph
from teastreams.values import dataclass


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
    steps: Line = field(default_factory=lambda: Line())  # noqa: PLW0108  it stands below


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
ENTRY = -1


@dataclass(frozen=True)
class Exit:
    """One way out of a step: to the step at index `to` of the line; its length is the end of the line.

    Without a condition it is taken when no condition of the others holds.
    """

    to: int
    condition: Optional[Condition] = None


class Line(tuple[Step, ...]):  # noqa: SLOT001  its jumps stand beside its steps
    """The steps of one line in the order in which they are first come to, and the jumps between them.

    `jumps` maps the index of a step, or `ENTRY`, to its exits, where they are more than the one to the next step; those
    with a condition come first, in their order.
    """

    jumps: Mapping[int, tuple[Exit, ...]] = {}

    def exits(self, index: int) -> tuple[Exit, ...]:
        """The ways on from a step, or from `ENTRY`."""
        return self.jumps.get(index) or (Exit(index + 1),)

    def ahead(self, index: int) -> tuple[Step, ...]:
        """The steps that may run from the step at `index` on, itself included."""
        seen = dict.fromkeys([index])
        waiting = [index]
        for here in waiting:  # grows while it is walked
            after = [each.to for each in self.exits(here) if here < len(self) and each.to not in seen]
            seen.update(dict.fromkeys(after))
            waiting += after
        return tuple(self[each] for each in sorted(seen) if ENTRY < each < len(self))


Flow = Line


def flow_of(graph: Graph) -> Line:
    """The steps of a checked graph from `__start__` to `__end__`.

    Every node stands in it exactly once. The step after a fan-out with a fan-in begins with the fan-in node: a
    `Call` of it, or the `Section` that contains it.
    """
    return unfolded(control_of(graph))


def unfolded(control: Control) -> Line:
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


Key = tuple[str, bool]  # the head of a unit; or the source of a way with a fork, and True


def _line(control: Control, ways: Sequence[Way], stop: str) -> Line:
    """The steps from `ways` on until control comes to the unit of `stop`."""
    after = _keyed(control, ways, stop)
    order = _in_order(after)
    index: dict[Optional[Key], int] = {None: len(order)}
    index.update((key, number) for number, key in enumerate(order))
    forks = {(w.source, True): (w.fork, w.target) for w in control.line(ways, stop) if w.fork is not None}
    line = Line(_step(control, key, forks) for key in order)
    line.jumps = {
        number: exits
        for number, key in enumerate((None, *order), ENTRY)
        for exits in [tuple(Exit(index[target], condition) for target, condition in after[key])]
        if exits != (Exit(number + 1),)
    }
    return line


After = dict[Optional[Key], list[tuple[Optional[Key], Optional[Condition]]]]


def _keyed(control: Control, ways: Sequence[Way], stop: str) -> After:
    """For every step of a line, and for its entry under None: where control goes on, and when. None is the end."""

    def arrival(way: Way) -> Optional[Key]:
        return None if way.target == END or control.together(way.target, stop) else (control.head[way.target], False)

    def exits(ways: Sequence[Way]) -> list[tuple[Optional[Key], Optional[Condition]]]:
        found = [((way.source, True) if way.fork is not None else arrival(way), way.condition) for way in ways]
        plain = [target for target, condition in found if condition is None]
        return [*(each for each in found if each[1] is not None), *((target, None) for target in plain[:1])]

    after: After = {None: exits(ways)}
    for way in control.line(ways, stop):
        if way.fork is not None:
            after[way.source, True] = [(arrival(way), None)]
        key = arrival(way)
        if key is not None and key not in after:
            after[key] = exits(control.onward(control.units[key[0]]))
    return after


def _in_order(after: After) -> list[Key]:
    """The steps so that each stands before what follows it, but for loops: depth first, the order of leaving reversed.

    A list in the place of recursion: a chain of 256 nodes must load under a host that is deep in calls itself.
    """
    left: list[Key] = []
    seen: set[Optional[Key]] = {None}
    trail: list[tuple[Optional[Key], list[Optional[Key]]]] = [(None, [target for target, _ in after[None]])]
    while trail:
        here, waiting = trail[-1]
        if not waiting:
            trail.pop()
            left += [here] if here is not None else []
            continue
        # From the last way to the first: reversed, the first one follows its step at once.
        key = waiting.pop()
        if key is not None and key not in seen:
            seen.add(key)
            trail.append((key, [target for target, _ in after[key]]))
    return left[::-1]


def _step(control: Control, key: Key, forks: Mapping[Key, tuple[Edge, str]]) -> Step:
    if key in forks:
        fork, join = forks[key]
        return _fork(control, fork, join)
    unit = control.units[key[0]]
    return _section(control, unit) if unit.streaming else Call(unit.members[0])


def _fork(control: Control, edge: Edge, fan_in: str) -> Fork:
    branches = tuple(_branch(control, edge, target) for target in edge.targets)
    return Fork(edge, _strategy(control.graph, edge, branches), branches, fan_in)


def _section(control: Control, unit: Unit) -> Section:
    if unit.edge is None:
        return Section(unit.members)
    branches = tuple(_branch(control, unit.edge, target) for target in unit.edge.targets)
    return Section(unit.members, unit.edge, branches, unit.fan_in)


def _branch(control: Control, edge: Edge, target: str) -> Branch:
    ways = control.beginnings(edge, target)
    if not ways or edge.fan_in is None:
        return Branch(target)
    return Branch(target, _line(control, ways, edge.fan_in))


def _strategy(graph: Graph, edge: Edge, branches: tuple[Branch, ...]) -> str:
    """The strategy of a plain fan-out; a section inside implies process where nobody named one."""
    if edge.strategy is not None:
        return edge.strategy
    streams = any(isinstance(step, Section) for branch in branches for step in forks_in(branch.steps))
    return "process" if streams and not graph.strategy_given else graph.parallel.strategy
