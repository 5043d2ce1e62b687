"""Facts about nodes that hold other nodes, as values: what may stand inside, where it runs, how it is drawn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Optional

import pytest

from teastreams.core.control.bodies import Body, Each, Loop, Subgraph, all_within, forks_within, strategy_of, unfold
from teastreams.core.graph import Command, Edge, Graph, Node, NodeStreamsConfig, ParallelConfig
from teastreams.core.language.expressions import parsed
from teastreams.core.rules import check


def graph(*nodes: Node, edges: tuple[Edge, ...] = (), strategy: Optional[str] = None) -> Graph:
    parallel = ParallelConfig(strategy=strategy or "thread")
    return Graph(nodes, edges, parallel, strategy_given=strategy is not None)


def work(name: str, **more: Any) -> Node:
    return Node(name, run=print, **more)


WRITER = work("w", streams=NodeStreamsConfig(stdout="x"))
READER = work("r", streams=NodeStreamsConfig(stdin="x"))
PLAIN = graph(work("a"))
SECTION = graph(WRITER, READER)
FORK = graph(work("s"), work("a"), work("b"), work("f"), edges=(Edge("s", ("a", "b"), True, "process", fan_in="f"),))
ITEMS = parsed("state.items_")


def loop(inner: Graph = PLAIN, most: Any = 3) -> Loop:
    return Loop(inner, parsed("state.n"), most)


def each(inner: Graph = PLAIN, **more: Any) -> Each:
    return Each(inner, ITEMS, **more)


def told(*nodes: Node, edges: tuple[Edge, ...] = ()) -> list[str]:
    return [str(problem) for problem in check(graph(*nodes, edges=edges))]


def holding(body: Body, **more: Any) -> Node:
    return Node("n", body=body, **more)


SAME = "another name than `item_var`; correct `index_var`"
MISTAKES = {
    "code, too": (
        holding(loop(), run=print),
        "node 'n' has both `run` and other nodes inside; keep one of them, or make two nodes of it",
    ),
    "a program, too": (
        holding(loop(), command=Command(("ls",))),
        "node 'n' has both `command` and other nodes inside; keep one of them, or make two nodes of it",
    ),
    "streams, too": (
        holding(loop(), streams=NodeStreamsConfig(stdout="x")),
        "node 'n' has streams, and nodes inside",
    ),
    "no number of turns": (
        holding(loop(most=True)),
        "`max_iterations` of node 'n' must be a whole number from 1 to 1000; correct `max_iterations`",
    ),
    "too many turns": (
        holding(loop(most=1001)),
        "`max_iterations` of node 'n' must be a whole number from 1 to 1000; correct `max_iterations`",
    ),
    "nobody at once": (
        holding(each(max_concurrency=0)),
        "`max_concurrency` of node 'n' must be a whole number above 0; correct `max_concurrency`",
    ),
    "a strange strategy": (
        holding(each(strategy="remote")),
        "`strategy` of node 'n' must be thread or process; correct `strategy`",
    ),
    "one name for two": (holding(each(index_var="item")), f"`index_var` of node 'n' must be {SAME}"),
    "a fan-in that is not there": (
        holding(each(fan_in="m")),
        "the fan_in of node 'n' is 'm', which is no other node; write `fan_in: NAME`",
    ),
    "an interrupt inside": (
        holding(loop(graph(work("a", interrupt_before=True)))),
        "node 'a' has interrupt_before inside node 'n'; interrupts stand on the main line: write it on 'n'",
    ),
    "a section in threads": (
        holding(each(SECTION, strategy="thread")),
        "the items of node 'n' run in threads, but what stands inside it needs processes",
    ),
    "a fan-out to processes in threads": (
        holding(each(FORK, strategy="thread")),
        "the items of node 'n' run in threads, but what stands inside it needs processes",
    ),
}


@pytest.mark.parametrize("case", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_of_a_body_is_told(case: tuple[Node, str]) -> None:
    node, expected = case
    assert expected.split(";")[0] in [text.split(";")[0] for text in told(node)]
    assert all(";" in text for text in told(node))


def test_what_is_wrong_inside_a_body_is_told_like_the_rest() -> None:
    twice = graph(work("a"), work("a"))
    assert told(holding(Subgraph(twice))) == told(work("a"), work("a"))


@pytest.mark.parametrize("body", [each(SECTION, strategy="process"), loop(SECTION), each(strategy="process")])
def test_what_forks_may_not_stand_in_a_thread(body: Body) -> None:
    edges = (Edge("s", ("n", "b"), True, "thread", fan_in="f"),)
    found = told(work("s"), holding(body), work("b"), work("f"), edges=edges)

    assert found == [
        (
            "the branches of the parallel edge from 's' run in threads, but node 'n' needs processes; "
            "write `parallel_strategy: process`"
        )
    ]
    inside = (replace(edges[0], strategy="process"),)
    assert told(work("s"), holding(body), work("b"), work("f"), edges=inside) == []


def test_what_needs_no_process_may_stand_in_a_thread() -> None:
    edges = (Edge("s", ("n", "b"), True, "thread", fan_in="f"),)
    assert told(work("s"), holding(loop()), work("b"), work("f"), edges=edges) == []
    assert told(holding(each(strategy="thread"))) == []


def test_a_section_inside_implies_processes_where_nobody_named_a_strategy() -> None:
    assert strategy_of(each(SECTION)) == "process"
    assert strategy_of(each(PLAIN)) == "thread"
    assert strategy_of(each(graph(work("a"), strategy="process"))) == "process"
    assert strategy_of(each(SECTION, strategy="thread")) == "thread"


def test_what_stands_inside_is_found_once_outer_before_inner() -> None:
    inner = graph(work("i"))
    middle = graph(Node("x", body=loop(inner)), Node("y", body=loop(inner)))
    assert list(all_within(graph(holding(Subgraph(middle))))) == [middle, inner]


def test_forking_is_seen_at_any_depth() -> None:
    assert forks_within(graph(holding(loop(graph(Node("x", body=loop(SECTION)))))))
    assert forks_within(graph(holding(loop(FORK))))
    assert forks_within(graph(holding(each(strategy="process"))))
    assert not forks_within(graph(holding(loop())))


def test_unfolding_twice_is_harmless_and_is_done_at_every_depth() -> None:
    inner = loop()
    outer = Subgraph(graph(Node("x", body=inner)))
    for _ in range(2):
        unfold(graph(holding(outer)))
    assert "flow" in vars(inner)
    assert [step.node for step in outer.flow] == ["x"]  # type: ignore[union-attr]
