"""Parallel edges without a `fan_in` -> the same with the join that follows from the edges.

Where all branches of plain nodes come to one common node, that is where they join; where all of them just end, they
join at the end of the workflow. Such an edge `merges`: what its branches changed goes into the state. Any other edge
stays as it is; the rules then say what it lacks. Works on every declaration, also on a wrong one, and is idempotent.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Iterable, Mapping, Optional, Sequence

from teastreams.core.graph import END, Edge, Graph


def with_joins(graph: Graph) -> Graph:
    """The graph in which every parallel edge that needs no written `fan_in` has one."""
    plain = {node.name for node in graph.nodes if not node.streaming}
    sources = [edge.source for edge in graph.edges if edge.parallel]
    pending = [
        edge
        for edge in graph.edges
        if edge.parallel and edge.fan_in is None and plain.issuperset(edge.targets) and sources.count(edge.source) == 1
    ]
    edges = list(graph.edges)
    # An inner fan-out has to be joined before its outer one can be followed through it.
    for _ in range(len(pending)):
        following = _following(edges)
        for at, edge in enumerate(edges):
            join = _join(edge, following, {each.source for each in pending}) if edge in pending else None
            if join is not None:
                pending.remove(edge)
                edges[at] = replace(edge, fan_in=join, merges=True)
                break
    return graph if tuple(edges) == graph.edges else replace(graph, edges=tuple(edges))


def _following(edges: Iterable[Edge]) -> Mapping[str, list[str]]:
    """For every node: where control goes on from it; past a fan-out, its fan-in."""
    following: dict[str, list[str]] = {}
    for edge in edges:
        onward = edge.targets if not edge.parallel else (edge.fan_in,) if edge.fan_in else ()
        following.setdefault(edge.source, []).extend(onward)
    return following


def _join(edge: Edge, following: Mapping[str, list[str]], unjoined: Iterable[str]) -> Optional[str]:
    """Where the branches of an edge join: the first node that all of them come to; None if there is no such place."""
    trails = [_trail(target, following, edge.source) for target in dict.fromkeys(edge.targets)]
    if any(set(trail) & set(unjoined) for trail in trails):
        return None
    if trails and not any(_shared(pair) for pair in combinations(trails, 2)):
        return END
    # A branch that just stops goes to the join of the others, as it does where a fan_in is written.
    shared = _shared([trail for trail in trails if _goes_on(trail, following)])
    return shared[0] if shared and shared[0] not in edge.targets else None


def _shared(trails: Sequence[list[str]]) -> list[str]:
    """The nodes that are in all of them, in the order of the first."""
    first = trails[0] if trails else []
    return [name for name in first if name != END and all(name in trail for trail in trails)]


def _goes_on(trail: list[str], following: Mapping[str, list[str]]) -> bool:
    return any(following.get(name) for name in trail)


def _trail(node: str, following: Mapping[str, list[str]], source: str) -> list[str]:
    """Every node to which control can come from here, the nearest first, and not past the fan-out's own source."""
    trail = [node]
    for name in trail:  # grows while it is walked
        trail += [each for each in dict.fromkeys(following.get(name, ())) if each not in (*trail, source)]
    return trail
