"""core/control/joins.py: where parallel branches join that name no fan-in."""

from __future__ import annotations

from typing import Optional

import pytest

from teastreams.core.control.joins import with_joins
from teastreams.core.graph import END, Edge, Graph, Node, NodeStreamsConfig
from teastreams.core.rules import check


def fork(source: str, targets: str, fan_in: Optional[str] = None) -> Edge:
    return Edge(source, tuple(targets.split()), parallel=True, fan_in=fan_in)


def chains(*lines: str) -> list[Edge]:
    return [Edge(one, (other,)) for line in lines for one, other in zip(line.split(), line.split()[1:])]


def joined(names: str, *edges: Edge) -> list[tuple[Optional[str], bool]]:
    graph = with_joins(Graph(nodes=tuple(Node(name) for name in names.split()), edges=edges))
    return [(edge.fan_in, edge.merges) for edge in graph.edges if edge.parallel]


@pytest.mark.parametrize(
    ("edges", "join"),
    [
        ([], END),
        (chains("a c"), END),
        (chains("a c", "b __end__"), END),
        (chains("a c", "b d __end__"), END),
        (chains("a __end__", "b __end__"), END),
        (chains("a __end__"), END),
        (chains("a c", "b c"), "c"),
        (chains("a c d", "b d"), "d"),
        (chains("a c", "b c", "c __end__"), "c"),
        (chains("a c", "b c", "c s"), "c"),
    ],
)
def test_branches_join_where_all_of_them_come_to(edges: list[Edge], join: str) -> None:
    assert joined("s a b c d", fork("s", "a b"), *edges) == [(join, True)]


@pytest.mark.parametrize(
    "edges",
    [
        chains("a b"),
        chains("a d", "b d", "c __end__"),
        chains("a d", "b d", "c e __end__"),
        chains("a d", "b d", "c e"),
    ],
)
def test_branches_of_which_only_some_meet_are_left_alone(edges: list[Edge]) -> None:
    assert joined("s a b c d e", fork("s", "a b c"), *edges) == [(None, False)]


def test_a_branch_that_just_stops_goes_to_the_join_of_the_others() -> None:
    assert joined("s a b c d", fork("s", "a b c"), *chains("a d", "b d")) == [("d", True)]


def test_a_written_fan_in_is_kept() -> None:
    assert joined("s a b c", fork("s", "a b", "c")) == [("c", False)]


def test_an_inner_fan_out_is_joined_before_its_outer_one() -> None:
    outer, inner = fork("s", "a b"), fork("a", "x y")
    assert joined("s a b x y i o", outer, inner, *chains("x i o", "y i", "b o")) == [("o", True), ("i", True)]


def test_an_inner_fan_out_that_has_no_join_leaves_the_outer_one_without() -> None:
    outer, inner = fork("s", "a b"), fork("a", "x y")
    assert joined("s a b x y", outer, inner, *chains("x y")) == [(None, False), (None, False)]


def test_two_fan_outs_of_one_node_no_target_and_stream_targets_are_left_to_the_rules() -> None:
    assert joined("s a b c d", fork("s", "a b"), fork("s", "c d")) == [(None, False), (None, False)]
    assert joined("s", fork("s", "")) == [(None, False)]
    streams = NodeStreamsConfig(stdin="x")
    graph = Graph((Node("s"), Node("a", streams=streams), Node("b")), (fork("s", "a b"),))
    assert with_joins(graph) is graph


def test_it_is_idempotent_and_what_it_makes_passes_the_rules() -> None:
    nodes = tuple(Node(name, run=print) for name in "sab")
    graph = with_joins(Graph(nodes, (Edge("__start__", ("s",)), fork("s", "a b"))))
    assert with_joins(graph) is graph
    assert check(graph) == ()
