"""check(graph) -> problems: everything that is wrong between nodes, edges, channels and settings, at once.

The rules stand in tables, one small function each. Those of `SHAPE` and `ALWAYS` run on every graph. The later
stages follow control through the graph and assume what the stage before has checked: each runs only when that one
found nothing, because its findings would be consequences. A graph without problems is one that `flow_of` unfolds
with every node in it exactly once, but for the fallbacks, to which control never comes. Nothing is executed.
"""

from __future__ import annotations

from typing import Callable, Iterable, TypeVar

from teastreams.core.control.bodies import bodies_in
from teastreams.core.control.joins import with_joins
from teastreams.core.control.units import control_of
from teastreams.core.graph import Graph
from teastreams.core.rules import (
    bodies,
    branches,
    channels,
    control,
    names,
    outside,
    reliability,
    settings,
    strategies,
)
from teastreams.core.rules.wording import Found
from teastreams.errors import Problem

__all__ = ["check"]

Checked = TypeVar("Checked")

SHAPE: tuple[Callable[[Graph], Iterable[Found]], ...] = (
    names.no_nodes,
    names.bad_names,
    names.duplicate_nodes,
    names.unknown_ends,
    names.ends_reversed,
    names.self_edges,
    names.duplicate_targets,
    names.duplicate_edges,
    names.parallel_edges_of_one_node,
    names.fan_in_without_parallel,
    names.bad_fan_in,
    names.missing_fan_in,
    names.too_few_targets,
    channels.nameless,
    reliability.unknown_fallbacks,
    reliability.circular_fallbacks,
    reliability.fallbacks_with_edges,
    channels.same_channel_twice,
    channels.several_producers,
    channels.of_the_caller,
    channels.without_producer,
    channels.self_loops,
    channels.cycles,
)

ALWAYS: tuple[Callable[[Graph], Iterable[Found]], ...] = (
    channels.without_consumer,
    channels.too_many_consumers,
    channels.not_broadcast,
    channels.needless_broadcast,
    settings.bad_values,
    settings.remote,
    settings.streams_in_threads,
    settings.stream_branches_in_threads,
    settings.interrupts_in_sections,
    settings.timeouts_without_worker,
    reliability.unfit_fallbacks,
    reliability.streams_tried_again,
    reliability.edges_without_branches,
    reliability.edges_with_fallback,
    reliability.stream_branches_tried_again,
    outside.two_kinds_of_work,
    outside.bad_commands,
    outside.bad_templates,
    outside.bad_bindings,
    outside.shared_streams,
    bodies.other_work,
    bodies.bad_values,
    bodies.interrupts,
    bodies.processes_in_threads,
)

CONTROL = (
    control.several_edges_in_one_unit,
    control.fan_in_inside_its_section,
    control.shared_fan_in,
    control.conditions_in_sections,
    control.several_ways,
    control.beside_the_branches,
    control.entered_in_the_middle,
    control.endless,
    control.unreachable,
)

BRANCHES = (branches.lost, branches.meeting)

NESTED = (
    branches.sections_in_threads,
    strategies.processes_in_threads,
    branches.interrupts,
    outside.bound_in_branches,
    bodies.processes_in_thread_branches,
)


def check(graph: Graph) -> tuple[Problem, ...]:
    """Every mistake of a graph, in the order of the document, or of declaration where there is none.

    Each problem names what is wrong and whom it concerns, and gives the text to write instead. Empty: the graph
    can run.
    """
    graph = with_joins(graph)
    too_many = names.too_many_nodes(graph)  # alone: the rules below may then take the square of their number
    shape = too_many or _found(SHAPE, graph)
    found: list[Found] = [*shape, *([] if too_many else _found(ALWAYS, graph)), *([] if shape else _of_control(graph))]
    found += _of_bodies(graph)
    declared = {id(subject): number for number, subject in enumerate((graph, *graph.nodes, *graph.edges))}

    def place(one: Found) -> tuple[int, int, int]:
        where = one[1].where
        return (where.line, where.column, 0) if where else (0, 0, declared[id(one[0])])

    return tuple(problem for _, problem in sorted(found, key=place))


def _of_control(graph: Graph) -> list[Found]:
    known = control_of(graph.main_line)
    return _found(CONTROL, known) or _found(BRANCHES, known) or _found(NESTED, known)


def _of_bodies(graph: Graph) -> list[Found]:
    """What is wrong inside nodes of this graph; a sub-workflow from a file was checked when it was read."""
    return [
        (node, problem)
        for node, body in bodies_in(graph)
        if body.graph.file in ("", graph.file)
        for problem in check(body.graph)
    ]


def _found(rules: Iterable[Callable[[Checked], Iterable[Found]]], checked: Checked) -> list[Found]:
    return [found for rule in rules for found in rule(checked)]
