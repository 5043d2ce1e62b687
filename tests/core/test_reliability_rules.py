"""Rules about retries, fallbacks and edges: what is refused, with which words, and what is not."""

from __future__ import annotations

from typing import Any

import pytest

from teastreams.core.control.flow import flow_of, nodes_in
from teastreams.core.graph import END, START, Binding, Command, Edge, Graph, Node, NodeStreamsConfig, ParallelConfig
from teastreams.core.limits import RateLimit
from teastreams.core.policies import OnError, RetryPolicy
from teastreams.core.rules import check
from teastreams.core.services import ServiceSettings

RETRY = RetryPolicy()
CAT = Command(("cat",))


def run(_state: Any) -> None:
    """A node's code."""


def line(*nodes: Node, **fields: Any) -> Graph:
    """The nodes one after another; fallbacks have no edges."""
    graph = Graph(nodes=nodes, parallel=ParallelConfig(strategy="process"), **fields)
    names = [START, *(node.name for node in nodes if node.name not in graph.fallbacks), END]
    edges = tuple(Edge(one, (other,)) for one, other in zip(names, names[1:]))
    return Graph(nodes=nodes, edges=edges, parallel=graph.parallel, **fields)


def fork(*nodes: Node, **edge: Any) -> Graph:
    """The nodes as branches between `s` and `j`."""
    targets = tuple(node.name for node in nodes)
    edges = (Edge(START, ("s",)), Edge("s", targets, True, fan_in="j", **edge), Edge("j", (END,)))
    around = (Node("s", run), *nodes, Node("j", run))
    return Graph(nodes=around, edges=edges, parallel=ParallelConfig(strategy="process"), strategy_given=True)


def falls(name: str, fallback: str, **fields: Any) -> Node:
    return Node(name, run, on_error=OnError(fallback=fallback), **fields)


def said(graph: Graph) -> list[str]:
    return [str(problem) for problem in check(graph)]


def wired(stdin: Any = None, stdout: Any = None, bound: Any = None) -> NodeStreamsConfig:
    return NodeStreamsConfig(stdin, stdout, bindings=bound or {})


ALLOWED = [
    line(Node("a", run, retry=RETRY), Node("b", run, on_error=OnError("graceful"))),
    line(falls("a", "f"), Node("f", run, retry=RETRY)),
    line(falls("a", "f"), falls("b", "f"), Node("f", run)),
    line(falls("a", "f"), falls("f", "g"), Node("g", run)),
    line(Node("a", command=CAT, retry=RETRY, on_error=OnError("graceful"))),
    line(Node("a", run, wired(bound={"stdin": Binding("in.txt")}), retry=RETRY)),
    fork(Node("a", run, retry=RETRY), Node("b", run, on_error=OnError("graceful"))),
    fork(Node("a", run), Node("b", run), retry=RETRY, on_error=OnError("graceful"), max_workers=1, fail_fast=True),
    line(Node("a", run), services=ServiceSettings({"x": RateLimit(rpm=1)})),
]


@pytest.mark.parametrize("graph", ALLOWED)
def test_what_can_run_is_not_refused(graph: Graph) -> None:
    """And the fallbacks are in no flow, every other node once."""
    assert said(graph) == []
    walked = sorted(nodes_in(flow_of(graph.main_line)))
    assert walked == sorted(node.name for node in graph.nodes if node.name not in graph.fallbacks)


def test_a_fallback_in_a_list_without_edges_is_not_in_its_order() -> None:
    """The node before it leads to the node after it."""
    graph = Graph(nodes=(falls("a", "f"), Node("f", run), Node("b", run)))
    assert check(graph) == ()
    assert list(nodes_in(flow_of(graph.main_line))) == ["a", "b"]


STREAM = (Node("p", run, wired(stdout="c")), Node("q", run, wired(stdin="c")))
REFUSED = [
    (line(falls("a", "ff"), Node("f", run)), "the fallback of node 'a' is 'ff', which is no node; did you mean 'f'?"),
    (line(falls("a", "a"), Node("b", run)), "fallbacks go round in a circle: a -> a"),
    (line(falls("a", "f"), falls("f", "g"), falls("g", "f")), "fallbacks go round in a circle: f -> g -> f"),
    (line(falls("a", "f"), Node("f", command=CAT)), "the fallback 'f' has streams or is a program; give it `run:`"),
    (line(falls("a", "f"), Node("f", run, interrupt_before=True)), "the fallback 'f' has interrupt_before"),
    (fork(Node("a", run), Node("b", run), retry=RetryPolicy(-1)), "retry.max_retries is -1"),
    (fork(Node("a", run), Node("b", run), max_workers=0), "max_workers is 0"),
    (fork(Node("a", run), Node("b", run), timeout_seconds=0), "timeout_seconds is 0"),
    (fork(Node("a", run), Node("b", run), on_error=OnError(fallback="a")), "has a fallback, which only a node can"),
    (fork(Node("a", command=CAT), Node("b", run), retry=RETRY), "has `retry`, but 'a' is started as part of a stream"),
    (fork(Node("a", command=CAT, retry=RETRY), Node("b", run)), "it is started together with the other branches"),
    (line(Node("a", run, retry=RetryPolicy(backoff_multiplier=0.5))), "retry.backoff_multiplier is 0.5; write"),
    (line(Node("a", run, on_error=OnError("skip"))), "on_error.mode is 'skip'; write `mode: raise` or"),
    (line(Node("a", run), services=ServiceSettings({"x": RateLimit()})), "the rate limiter 'x' has no usable rate"),
    (
        line(Node("a", run, wired(bound={"stdin": Binding()}), retry=RETRY)),
        "node 'a' has `retry`, but it is bound to the workflow's own streams: what was read is gone",
    ),
    (
        line(STREAM[0], Node("q", run, wired(stdin="c"), retry=RETRY)),
        "node 'q' has `retry`, but it reads the live stream 'c', which cannot be read a second time; delete it; to try",
    ),
    (
        line(Node("p", run, wired(stdout="c"), on_error=OnError("graceful")), STREAM[1]),
        "node 'p' has `on_error`, but what it has written to 'c' may have been read, and nobody can take it back",
    ),
]


@pytest.mark.parametrize(("graph", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_what_cannot_run_is_refused_once_and_says_what_to_do(graph: Graph, message: str) -> None:
    """One problem, with a text to write instead."""
    (problem,) = check(graph)
    assert message in str(problem)
    assert problem.fix


def test_a_fallback_has_no_edges() -> None:
    """Neither out of it, nor into it, nor as a fan-in."""
    nodes = (falls("a", "f"), Node("f", run), Node("b", run))
    edges = (Edge(START, ("a",)), Edge("a", ("b",)), Edge("f", ("b",)), Edge("b", (END,)))
    (problem,) = said(Graph(nodes=nodes, edges=edges))
    assert problem.startswith("'f' is the fallback of another node and has an edge of its own; delete the edge")


@pytest.mark.parametrize("key", ["max_workers", "timeout_seconds", "fail_fast", "retry", "on_error"])
def test_what_is_for_branches_is_refused_on_a_plain_edge(key: str) -> None:
    values: dict[str, Any] = {"max_workers": 1, "timeout_seconds": 1.0, "fail_fast": False, "retry": RETRY}
    values["on_error"] = OnError("graceful")
    edge = Edge(START, ("a",), **{key: values[key]})
    (problem,) = said(Graph(nodes=(Node("a", run),), edges=(edge, Edge("a", (END,)))))
    assert problem.startswith(f"`{key}` of the edge from '__start__' has a meaning only on a parallel edge")


def test_an_edge_says_what_the_settings_do_not() -> None:
    """What is None on the edge stays as it is in the settings; False is not None."""
    settings = ParallelConfig("process", 4, 60.0, True, retry_policy=RetryPolicy(1))
    assert Edge("a", ("b",)).over(settings) == settings
    edge = Edge("a", ("b",), max_workers=2, timeout_seconds=5.0, fail_fast=False, retry=RetryPolicy(7))
    assert edge.over(settings) == ParallelConfig("process", 2, 5.0, False, retry_policy=RetryPolicy(7))
