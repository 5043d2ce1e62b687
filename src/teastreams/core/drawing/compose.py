"""Graph -> picture: what is declared, and what follows from it where nothing is.

The order is that of `flow_of`, so the drawing shows what will run. Plain edges between members of one section are
left out: they order nothing in time, and their channels are drawn. Fan-out workers are those of the plan: one
stands in a picture exactly where one would be started. Assumes a checked graph.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Iterable, Sequence

from teastreams.core.control.bodies import Asked, Each, Loop
from teastreams.core.control.deciding import shown
from teastreams.core.control.flow import ENTRY, Branch, Call, Exit, Flow, Fork, Section, Step, flow_of
from teastreams.core.drawing.picture import Arrow, Frame, Item, Kind, Lane, Picture, Shape, Split
from teastreams.core.graph import END, START, Binding, Graph, Node, StreamSettings
from teastreams.core.language.expressions import Expression, inside
from teastreams.core.plan import Channel, Consumer, SectionPlan, plan_section
from teastreams.core.rules.wording import quoted
from teastreams.values import dataclass

FAN_IN = "fan-in"
_UNITS = ((1024**4, "TiB"), (1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"))


def picture_of(graph: Graph) -> Picture:
    """The picture of a checked graph."""
    flow = flow_of(graph.main_line)
    names = (START, *(node.name for node in graph.nodes), END)
    ids = {name: f"n{number}" for number, name in enumerate(names)}
    start, end = Shape(ids[START], "start", Kind.START), Shape(ids[END], "end", Kind.END)
    return Picture(
        name=printable(graph.name),
        items=(start, *_Items(graph, ids).of(flow), end),
        control=_Control(graph, ids).arrows(flow),
    )


def printable(name: str) -> str:
    """The name with escapes for what cannot be printed, cut like in messages."""
    return quoted(name)[1:-1]


def size_text(size_bytes: int) -> str:
    """A size as people write it in a document: `8MiB`, or bytes where no unit fits exactly."""
    for factor, unit in _UNITS:
        if size_bytes >= factor and size_bytes % factor == 0:
            return f"{size_bytes // factor}{unit}"
    return f"{size_bytes}B"


# -- what stands where ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Items:
    """Flow -> items. `ids` names every node, START and END."""

    graph: Graph
    ids: dict[str, str]

    def of(self, steps: Flow) -> tuple[Item, ...]:
        items: list[Item] = []
        for index, step in enumerate(steps):
            notes = _exit_notes(steps, index)
            if isinstance(step, Call):
                items.append(self._shape(step.node, notes))
            elif isinstance(step, Fork):
                items.append(Split(tuple(self._lane(_entered(step), each) for each in step.branches), FAN_IN))
            else:
                items += self._section(step, notes)
        return tuple(items)

    def _shape(self, name: str, notes: tuple[str, ...] = ()) -> Shape:
        return Shape(self.ids[name], printable(name), notes=(*_node_notes(self.graph.node(name)), *notes))

    def _lane(self, label: str, branch: Branch) -> Lane:
        return Lane(label, self.of(branch.steps))

    def _section(self, section: Section, notes: tuple[str, ...]) -> list[Item]:
        leaving = FAN_IN if section.fan_in else ""
        lanes = [
            self._lane(f"after {printable(each.target)}" if each.target in section.members else "beside it", each)
            for each in section.branches
            if each.steps
        ]
        if not lanes:
            return [self._frame(section, leaving, notes)]
        return [self._frame(section, "", notes), Split(tuple(lanes), leaving)]

    def _frame(self, section: Section, leaving: str, notes: tuple[str, ...]) -> Frame:
        settings = self.graph.parallel.streams
        plan = plan_section([(name, self.graph.node(name).streams) for name in section.members], settings)
        first = self.ids[section.members[0]]
        fanouts = [channel for channel in plan.channels.values() if channel.fanout]
        known = {**self.ids, **{str(each.fanout): f"{first}f{number}" for number, each in enumerate(fanouts)}}
        shapes = [
            Shape(known[worker.name], Kind.FANOUT.value, Kind.FANOUT) if worker.fanout_of else self._shape(worker.name)
            for worker in plan.workers
        ]
        return Frame(f"s{first}", (*_section_notes(settings), *notes), tuple(shapes), _channels(plan, known), leaving)


def _entered(fork: Fork) -> str:
    return f"parallel, {fork.strategy}"


def _exit_notes(steps: Flow, index: int) -> tuple[str, ...]:
    """Where control goes on from a step, when it is not simply the next one."""
    if index not in steps.jumps:
        return ()
    named = [*map(_entry_node, steps), "the end"]
    return tuple(f"then {printable(named[each.to])}{_when(each)}" for each in steps.exits(index))


def _when(each: Exit) -> str:
    return "" if each.condition is None else f" when {printable(shown(each.condition))}"


def _entry_node(step: Step) -> str:
    if isinstance(step, Call):
        return step.node
    return step.members[0] if isinstance(step, Section) else step.edge.source


def _node_notes(node: Node) -> tuple[str, ...]:
    notes = {
        "interrupt before": node.interrupt_before,
        "interrupt after": node.interrupt_after,
        f"timeout {node.timeout_seconds or 0:g} s": node.timeout_seconds is not None,
    }
    return (*_outside_notes(node), *_body_notes(node), *(note for note, holds in notes.items() if holds))


def _body_notes(node: Node) -> tuple[str, ...]:
    """What stands inside a node, and how often it runs."""
    body = node.body
    if body is None:
        return ()
    inner = ", ".join(printable(each.name) for each in body.graph.nodes)
    if isinstance(body, Loop):
        return (f"while {_asked(body.condition)}, at most {body.max_iterations} times: {inner}",)
    return (f"for each of {_asked(body.items)}: {inner}",) if isinstance(body, Each) else (f"runs {inner}",)


def _asked(asked: Asked) -> str:
    return printable(inside(asked.text) if isinstance(asked, Expression) else getattr(asked, "__name__", "function"))


def _outside_notes(node: Node) -> tuple[str, ...]:
    """The program in the place of code, and the streams that are bound outside the workflow."""
    argv = (printable(" ".join(node.command.argv)),) if node.command is not None else ()
    bindings = node.streams.bindings if node.streams is not None else {}
    return (*argv, *(_bound(stream, each) for stream, each in bindings.items()))


def _bound(stream: str, binding: Binding) -> str:
    word = "from" if stream == "stdin" else "appended to" if binding.append else "to"
    return f"{stream} {word} " + ("the caller's" if binding.file is None else printable(binding.file))


def _section_notes(settings: StreamSettings) -> tuple[str, ...]:
    notes = {
        f"timeout {settings.timeout or 0:g} s": settings.timeout is not None,
        f"stall timeout {settings.stall_timeout or 0:g} s": settings.stall_timeout is not None,
        f"pipes of {size_text(settings.buffer_size)}": not settings.buffer_grows,
    }
    return tuple(note for note, holds in notes.items() if holds)


def _channels(plan: SectionPlan, ids: dict[str, str]) -> tuple[Arrow, ...]:
    inside = (channel for name, channel in plan.channels.items() if name not in plan.bound)
    return tuple(arrow for channel in inside for arrow in _channel(channel, ids))


def _channel(channel: Channel, ids: dict[str, str]) -> list[Arrow]:
    name = printable(channel.name) + (" (stderr)" if channel.fd == 2 else "")
    source = ids[channel.producer]
    if channel.fanout is None:
        return [Arrow(source, ids[consumer.node], name) for consumer in channel.consumers]
    middle = ids[channel.fanout]
    return [Arrow(source, middle, name), *(Arrow(middle, ids[each.node], _policy(each)) for each in channel.consumers)]


def _policy(consumer: Consumer) -> str:
    """What happens when this consumer falls behind, and by how much it may."""
    limits = [f"{size_text(consumer.buffer_limit)} in memory"]
    if consumer.overflow == "spill":
        limits.append(f"{size_text(consumer.spill_limit)} in all")
    return ", ".join([consumer.overflow, *limits])


# -- the ways of control ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Tail:
    """Control that waits for its next step: it leaves by one of `nodes`; by `usual` where no edge says by which."""

    nodes: tuple[str, ...]
    usual: str
    label: str = ""


class _Control:
    """Flow -> arrows of control, declared ones and those that nobody wrote."""

    def __init__(self, graph: Graph, ids: dict[str, str]) -> None:
        self._ids = ids
        self._declared = {(edge.source, target) for edge in graph.edges for target in edge.targets}
        self._arrows: dict[Arrow, None] = {}

    def arrows(self, flow: Flow) -> tuple[Arrow, ...]:
        self._arrive(self._line(flow, [_from(START)]), (END,))
        return tuple(self._arrows)

    def _line(self, steps: Flow, tails: Sequence[_Tail]) -> Sequence[_Tail]:
        """Draw a line that is entered by `tails`; what leaves it."""
        leaving: list[_Tail] = []
        left: dict[int, Sequence[_Tail]] = {ENTRY: tails}
        for index in range(ENTRY, len(steps)):
            after = left.get(index) or self._leave(steps[index])
            for each in steps.exits(index):
                labelled = [replace(tail, label=_labels(tail, each)) for tail in after]
                if each.to == len(steps):
                    leaving += labelled
                else:
                    self._enter(steps[each.to], labelled)
        return leaving

    def _enter(self, step: Step, tails: Sequence[_Tail]) -> None:
        """Draw the arrows that come to a step; those into a fan-out come from its source."""
        if isinstance(step, Call):
            self._arrive(tails, (step.node,))
        elif isinstance(step, Section):
            edge = step.edge
            if edge is None or edge.source in step.members:
                self._arrive(tails, step.members)

    def _leave(self, step: Step) -> Sequence[_Tail]:
        """Draw what is inside a step; what leaves it."""
        if isinstance(step, Call):
            return [_from(step.node)]
        if isinstance(step, Fork):
            entry = _from(step.edge.source, _entered(step))
            return _joining(tail for each in step.branches for tail in self._line(each.steps, [entry]))
        return self._section(step)

    def _section(self, section: Section) -> Sequence[_Tail]:
        members, edge = section.members, section.edge
        if edge is not None and edge.source not in members:
            tails = [_from(edge.source, "parallel, process")]
            for target in (target for target in edge.targets if target in members):
                self._arrive(tails, (target,))
        if section.fan_in is None:
            return [_Tail(members, members[-1])]
        return _joining(tail for each in section.branches for tail in self._branch(each, section))

    def _branch(self, branch: Branch, section: Section) -> Sequence[_Tail]:
        """What follows a member's branch, or the plain branch that runs beside the section."""
        if branch.target in section.members or section.edge is None:
            return self._line(branch.steps, [_Tail(section.members, branch.target)])
        return self._line(branch.steps, [_from(section.edge.source, "parallel, process")])

    def _arrive(self, tails: Iterable[_Tail], entries: Sequence[str]) -> None:
        for tail in tails:
            declared = [(node, entry) for node in tail.nodes for entry in entries if (node, entry) in self._declared]
            for source, target in declared or [(tail.usual, entries[0])]:
                self._arrows[Arrow(self._ids[source], self._ids[target], tail.label)] = None


def _from(node: str, label: str = "") -> _Tail:
    return _Tail((node,), node, label)


def _labels(tail: _Tail, way: Exit) -> str:
    """What is written on an arrow: how the step was left, and when this way is taken."""
    when = "" if way.condition is None else printable(shown(way.condition))
    return ", ".join(filter(None, (tail.label, when)))


def _joining(tails: Iterable[_Tail]) -> list[_Tail]:
    return [_Tail((tail.usual,), tail.usual, FAN_IN) for tail in tails]
