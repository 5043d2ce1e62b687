"""Rules about nodes and edges taken one by one: names, ends, targets, and what a parallel edge has to say.

What control does with them is checked in `control` and `branches`, and only when nothing is wrong here.
"""

from __future__ import annotations

from typing import Iterator

from teastreams.core.graph import END, MAX_NODES, START, Edge, Graph, Node
from teastreams.core.rules.wording import (
    Found,
    found,
    listed,
    meant,
    path,
    place,
    quoted,
    yaml_edge,
    yaml_fork,
    yaml_list,
    yaml_name,
)

RESERVED = (START, END)


def no_nodes(graph: Graph) -> Iterator[Found]:
    if not graph.nodes:
        yield found(graph, "this workflow has no nodes", "write at least one under `nodes:`", "nodes")


def too_many_nodes(graph: Graph) -> list[Found]:
    if len(graph.nodes) <= MAX_NODES:
        return []
    message = f"this workflow has {len(graph.nodes)} nodes, and at most {MAX_NODES} are possible"
    return [found(graph, message, "split it into several workflows", "nodes")]


def bad_names(graph: Graph) -> Iterator[Found]:
    for number, node in enumerate(graph.nodes, 1):
        if not node.name:
            yield found(node, f"node {number} has an empty name", "write `name: NAME`", "name")
        elif node.name in RESERVED:
            fix = "choose another name: `__start__` and `__end__` are where control enters and leaves"
            yield found(node, f"the name {quoted(node.name)} is reserved", fix, "name")


def duplicate_nodes(graph: Graph) -> Iterator[Found]:
    first: dict[str, tuple[int, Node]] = {}
    for number, node in enumerate(graph.nodes, 1):
        known_number, known = first.setdefault(node.name, (number, node))
        if known_number != number:
            here, there = place(node, "name") or f"node {number}", place(known, "name") or f"node {known_number}"
            message = f"two nodes are called {quoted(node.name)}: {there} and {here}"
            yield found(node, message, "give one of them another name", "name")


def unknown_ends(graph: Graph) -> Iterator[Found]:
    names = [node.name for node in graph.nodes]
    known = {*RESERVED, *names}
    for edge in graph.edges:
        if edge.source not in known:
            message = f"an edge leads from {quoted(edge.source)}, which is no node"
            yield found(edge, message, meant(edge.source, [START, *names], "from"), "from")
        for number, target in enumerate(edge.targets):
            if target not in known:
                message = f"the edge from {quoted(edge.source)} leads to {quoted(target)}, which is no node"
                yield found(edge, message, meant(target, [*names, END], "to"), f"to.{number}")


def ends_reversed(graph: Graph) -> Iterator[Found]:
    for edge in graph.edges:
        if edge.source == END:
            yield found(edge, "an edge leads out of `__end__`", "delete it: nothing runs after the end", "from")
        if START in edge.targets:
            fix = "a loop leads back to the first node instead"
            yield found(edge, f"the edge from {quoted(edge.source)} leads into `__start__`", fix, "to")
        if edge.parallel and END in edge.targets:
            fix = "delete this target; a branch ends by itself at the fan-in"
            yield found(edge, f"the parallel edge from {quoted(edge.source)} has the target `__end__`", fix, "to")


def self_edges(graph: Graph) -> Iterator[Found]:
    for edge in graph.edges:
        if edge.source in edge.targets and (edge.condition is None or edge.parallel):
            message = f"node {quoted(edge.source)} has an edge to itself"
            yield found(edge, message, "delete it, or give it a condition: `when: EXPRESSION`", "to")


def duplicate_targets(graph: Graph) -> Iterator[Found]:
    for edge in graph.edges:
        once = tuple(dict.fromkeys(edge.targets))
        for target in once:
            if edge.targets.count(target) > 1:
                message = f"the edge from {quoted(edge.source)} names the target {quoted(target)} twice"
                yield found(edge, message, f"write `to: {yaml_list(once)}`", "to")


def duplicate_edges(graph: Graph) -> Iterator[Found]:
    first: dict[tuple[str, str, str], Edge] = {}
    for edge in graph.edges:
        for target in dict.fromkeys(edge.targets):
            known = first.setdefault((edge.source, target, repr(edge.condition)), edge)
            if known is not edge:
                there = f" (the other is at {known.where})" if known.where else ""
                yield found(edge, f"two edges say {path((edge.source, target))}{there}", "delete one of them", "to")


def parallel_edges_of_one_node(graph: Graph) -> Iterator[Found]:
    first: dict[str, Edge] = {}
    for edge in graph.edges:
        known = first.setdefault(edge.source, edge) if edge.parallel else edge
        if known is not edge:
            targets = tuple(dict.fromkeys((*known.targets, *edge.targets)))
            fix = f"write one: {yaml_fork(edge.source, targets, known.fan_in or edge.fan_in or 'NAME')}"
            yield found(edge, f"node {quoted(edge.source)} has two parallel edges", fix, "from")


def fan_in_without_parallel(graph: Graph) -> Iterator[Found]:
    for edge in graph.edges:
        if edge.fan_in is not None and not edge.parallel:
            message = f"the edge from {quoted(edge.source)} has a fan_in but is not parallel"
            yield found(edge, message, "write `parallel: true` with it, or delete `fan_in`", "fan_in")


def bad_fan_in(graph: Graph) -> Iterator[Found]:
    names = [node.name for node in graph.nodes]
    for edge in graph.edges:
        if edge.fan_in is None or not edge.parallel or edge.merges:
            continue
        whose = f"the fan_in of the parallel edge from {quoted(edge.source)}"
        if edge.fan_in not in names:
            message = f"{whose} is {quoted(edge.fan_in)}, which is no node"
            yield found(edge, message, meant(edge.fan_in, names, "fan_in"), "fan_in")
        elif edge.fan_in in edge.targets:
            fix = "name the node that comes after the branches, or take it out of `to`"
            yield found(edge, f"{whose} is {quoted(edge.fan_in)}, one of its own targets", fix, "fan_in")
        elif edge.fan_in == edge.source:
            fix = "name the node that comes after the branches"
            yield found(edge, f"{whose} is {quoted(edge.fan_in)}, the node it leads from", fix, "fan_in")


def missing_fan_in(graph: Graph) -> Iterator[Found]:
    plain_nodes = _plain(graph)
    for edge in graph.edges:
        plain = [target for target in edge.targets if target in plain_nodes]
        if edge.parallel and edge.fan_in is None and plain:
            fix = f"write `fan_in: NAME` with the node where {listed(plain)} {'join' if plain[1:] else 'ends'}"
            yield found(edge, f"the parallel edge from {quoted(edge.source)} has no fan_in", fix, "parallel", "to")


def too_few_targets(graph: Graph) -> Iterator[Found]:
    # One stream node is enough: a producer and its only reader are the simplest section.
    plain_nodes = _plain(graph)
    for edge in graph.edges:
        if not edge.targets:
            message = f"the edge from {quoted(edge.source)} leads nowhere"
            yield found(edge, message, f"write `- {{from: {yaml_name(edge.source)}, to: NAME}}`", "to")
        elif edge.parallel and len(set(edge.targets)) < 2 and edge.targets[0] in plain_nodes:
            message = f"the parallel edge from {quoted(edge.source)} has only one target"
            yield found(edge, message, f"write a plain edge: {yaml_edge(edge.source, edge.targets)}", "to")


def _plain(graph: Graph) -> set[str]:
    return {node.name for node in graph.nodes if not node.streaming}
