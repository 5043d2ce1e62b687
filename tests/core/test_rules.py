"""Facts about `core.rules`: for every rule the graph that breaks it, with the exact text, and graphs that keep to it.

Every failing case compares the whole answer of `check`: a rule that also complained about the consequences of a
mistake would be noticed here.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, Iterable, Optional

import pytest

from teastreams.core.control.flow import flow_of, nodes_in
from teastreams.core.graph import (
    END,
    MAX_CONSUMERS,
    MAX_NODES,
    START,
    Binding,
    Command,
    Delivery,
    Edge,
    Graph,
    Node,
    NodeStreamsConfig,
    ParallelConfig,
    StreamSettings,
)
from teastreams.core.language.expressions import parsed
from teastreams.core.policies import CircuitBreakerConfig, RetryPolicy
from teastreams.core.rules import check
from teastreams.core.rules.wording import nearest
from teastreams.errors import Position

SIGNS = {"<": "stdin", ">": "stdout", "!": "stderr"}


def nodes(text: str) -> tuple[Node, ...]:
    """`reader>lines!log` has stdout and stderr channels, `errors<lines` reads, `report` is a plain node."""
    return tuple(node(word) for word in text.split())


def node(word: str, **more: Any) -> Node:
    for sign in SIGNS:
        word = word.replace(sign, f" {sign}")
    name, *ends = word.split(" ")
    streams: dict[str, Any] = {SIGNS[end[0]]: end[1:] for end in ends}
    return Node(name, streams=NodeStreamsConfig(**streams) if ends else None, **more)


def chain(text: str) -> list[Edge]:
    """Plain edges from each name to the next one."""
    names = text.split()
    return [Edge(source, (target,)) for source, target in zip(names, names[1:])]


def fork(source: str, targets: str, fan_in: Optional[str] = None, **more: Any) -> Edge:
    return Edge(source, tuple(targets.split()), parallel=True, fan_in=fan_in, **more)


def graph(declared: str, *edges: Iterable[Edge], **more: Any) -> Graph:
    return Graph(nodes(declared), tuple(edge for group in edges for edge in group), **more)


def told(checked: Graph) -> list[str]:
    return [str(problem) for problem in check(checked)]


PAIR = "a>x b<x c"
FAN = "p>x q<x r<x f"
ENDLESS = "control never leaves the loop"
FINISH = "- {from: n1, to: __end__}"
WAY_OUT = "give the loop a way out: a condition on one of its edges, and beside it"

NAMES = {
    "no nodes": (graph(""), "this workflow has no nodes; write at least one under `nodes:`"),
    "empty name": (Graph((Node("a"), Node(""))), "node 2 has an empty name; write `name: NAME`"),
    "reserved name": (
        graph("a __end__"),
        (
            "the name '__end__' is reserved; choose another name: `__start__` and `__end__` are where control enters "
            "and leaves"
        ),
    ),
    "duplicate name": (graph("a b a"), "two nodes are called 'a': node 1 and node 3; give one of them another name"),
    "unknown source": (
        graph("reader report", chain("raeder report")),
        "an edge leads from 'raeder', which is no node; did you mean 'reader'? write `from: reader`",
    ),
    "unknown target": (
        graph("reader report", chain("reader summary")),
        (
            "the edge from 'reader' leads to 'summary', which is no node; the names here are 'reader', 'report' and "
            "'__end__'"
        ),
    ),
    "into start": (
        graph("a", chain("a __start__")),
        "the edge from 'a' leads into `__start__`; a loop leads back to the first node instead",
    ),
    "out of end": (
        graph("a", chain("__end__ a")),
        "an edge leads out of `__end__`; delete it: nothing runs after the end",
    ),
    "branch to end": (
        graph("s a f", [fork("s", "a __end__", "f")]),
        (
            "the parallel edge from 's' has the target `__end__`; delete this target; a branch ends by itself at the "
            "fan-in"
        ),
    ),
    "self edge": (
        graph("a b", chain("a a")),
        "node 'a' has an edge to itself; delete it, or give it a condition: `when: EXPRESSION`",
    ),
    "duplicate target": (
        graph("s a b f", [fork("s", "a b a", "f")]),
        "the edge from 's' names the target 'a' twice; write `to: [a, b]`",
    ),
    "duplicate edge": (graph("a b", chain("a b"), chain("a b")), "two edges say a -> b; delete one of them"),
    "two parallel edges of one node": (
        graph("s a b c d f", [fork("s", "a b"), fork("s", "c d", "f")]),
        "the parallel edge from 's' has no fan_in; write `fan_in: NAME` with the node where 'a' and 'b' join",
        "node 's' has two parallel edges; write one: `- {from: s, to: [a, b, c, d], parallel: true, fan_in: f}`",
    ),
    "fan_in on a plain edge": (
        graph("a b", [Edge("a", ("b",), fan_in="b")]),
        "the edge from 'a' has a fan_in but is not parallel; write `parallel: true` with it, or delete `fan_in`",
    ),
    "unknown fan_in": (
        graph("s a b merge", [fork("s", "a b", "merg")]),
        (
            "the fan_in of the parallel edge from 's' is 'merg', which is no node; did you mean 'merge'? write "
            "`fan_in: merge`"
        ),
    ),
    "fan_in among the targets": (
        graph("s a b", [fork("s", "a b", "b")]),
        (
            "the fan_in of the parallel edge from 's' is 'b', one of its own targets; name the node that comes after "
            "the branches, or take it out of `to`"
        ),
    ),
    "fan_in is the source": (
        graph("s a b", [fork("s", "a b", "s")]),
        (
            "the fan_in of the parallel edge from 's' is 's', the node it leads from; name the node that comes after "
            "the branches"
        ),
    ),
    "plain fan-out without fan_in": (
        graph("s a b c d", [fork("s", "a b c")], chain("a d __end__"), chain("b d"), chain("c __end__")),
        "the parallel edge from 's' has no fan_in; write `fan_in: NAME` with the node where 'a', 'b' and 'c' join",
    ),
    "unknown target alone, without fan_in": (
        graph("s work", [fork("s", "wrok")]),
        "the edge from 's' leads to 'wrok', which is no node; did you mean 'work'? write `to: work`",
    ),
    "companion without fan_in": (
        graph("p>x q<x a", [fork("p", "q a")]),
        "the parallel edge from 'p' has no fan_in; write `fan_in: NAME` with the node where 'a' ends",
    ),
    "one plain target": (
        graph("s a f", [fork("s", "a", "f")]),
        "the parallel edge from 's' has only one target; write a plain edge: `- {from: s, to: a}`",
    ),
    "no target": (graph("s t", [Edge("s", ())]), "the edge from 's' leads nowhere; write `- {from: s, to: NAME}`"),
}

CHANNELS = {
    "no channel name": (
        Graph((Node("a", streams=NodeStreamsConfig(stdout="")), Node("b", streams=NodeStreamsConfig(stdin="")))),
        "node 'a' has a channel without a name; write `stdout: NAME`",
        "node 'b' has a channel without a name; write `stdin: NAME`",
    ),
    "stdout and stderr in one channel": (
        graph("a>x!x b<x"),
        "node 'a' sends both stdout and stderr into channel 'x'; give stderr a channel of its own: `stderr: x_errors`",
    ),
    "channel without producer": (
        graph("a>lines b<lines c<lins"),
        "node 'c' reads channel 'lins', which no node produces; did you mean 'lines'? write `stdin: lines`",
    ),
    "no channel is produced": (
        graph("b<x"),
        "node 'b' reads channel 'x', which no node produces; write `streams: {stdout: x}` on the node that produces it",
    ),
    "channel without consumer": (
        graph("a>x!y b<y"),
        (
            "nobody reads channel 'x', the stdout of node 'a'; write `streams: {stdin: x}` on the node that reads "
            "it, or delete `stdout: x`"
        ),
    ),
    "own output": (
        graph("a<x>x"),
        (
            "node 'a' reads its own stdout through channel 'x'; read it from another node, or keep the data inside "
            "the node"
        ),
    ),
    "own stderr": (
        graph("a<x!x"),
        (
            "node 'a' reads its own stderr through channel 'x'; read it from another node, or keep the data inside "
            "the node"
        ),
    ),
    "cycle of channels": (
        graph("a<z>x b<x>y c<y>z"),
        "the channels form a cycle: a -> b -> c -> a; delete the `stdin` of 'a', or let it read another channel",
    ),
    "cycle beside a reader of it": (
        graph("d<y a<y>x b<x>y", [Edge("b", ("a", "d"), stream_mode="broadcast")]),
        "the channels form a cycle: a -> b -> a; delete the `stdin` of 'a', or let it read another channel",
    ),
    "several readers without an edge": (
        graph("p>x q<x r<x"),
        (
            "channel 'x' of node 'p' has 2 readers, 'q' and 'r', but is not broadcast; add the edge "
            "`- {from: p, to: [q, r], stream_mode: broadcast}`"
        ),
    ),
    "several readers, everybody started by one edge": (
        graph(f"s {FAN}", [fork("s", "p q r", "f")]),
        (
            "channel 'x' of node 'p' has 2 readers, 'q' and 'r', but is not broadcast; write `stream_mode: "
            "broadcast` on the "
            "edge from 's'"
        ),
    ),
    "several readers, plain edge away": (
        graph(FAN, chain("p f")),
        (
            "channel 'x' of node 'p' has 2 readers, 'q' and 'r', but is not broadcast; add the edge "
            "`- {from: p, to: [q, r], stream_mode: broadcast}`"
        ),
    ),
    "broadcast to one reader": (
        graph(PAIR, [Edge("a", ("b",), stream_mode="broadcast")]),
        "broadcast needs two or more readers, but channel 'x' is read by 'b' alone; leave out `stream_mode: broadcast`",
    ),
    "broadcast of nothing": (
        graph("s a b f", [fork("s", "a b", "f", stream_mode="broadcast")]),
        "the edge from 's' is broadcast, but no channel goes along it; leave out `stream_mode: broadcast`",
    ),
    "broadcast to nobody": (
        graph("p>x f", [Edge("p", ("f",), stream_mode="broadcast")]),
        (
            "nobody reads channel 'x', the stdout of node 'p'; write `streams: {stdin: x}` on the node that reads "
            "it, or delete `stdout: x`"
        ),
        "broadcast needs two or more readers, but channel 'x' is read by nobody; leave out `stream_mode: broadcast`",
    ),
}

CONTROL = {
    "two parallel edges in one section": (
        graph(
            "p>x q<x>y r<x c<y d<y f",
            [fork("p", "q r", "f", stream_mode="broadcast"), fork("q", "c d", "f", stream_mode="broadcast")],
        ),
        (
            "two parallel edges, from 'p' and 'q', lead into one stream section; write one of them as a plain edge: "
            "`- {from: q, to: [c, d], stream_mode: broadcast}`"
        ),
    ),
    "fan_in inside its section": (
        graph("p>x q<x>y r<y", [fork("p", "q", "r")]),
        (
            "the fan_in 'r' is a member of the stream section that it collects; name a node that comes after the "
            "section, one that reads no channel of it"
        ),
    ),
    "fan_in of two fan-outs": (
        graph("s a b c d f", [fork("s", "a b", "f"), fork("a", "c d", "f")]),
        (
            "the branches of the parallel edges from 's' and 'a' join at one place, 'f'; give the edge from 'a' a "
            "fan-in node of its own"
        ),
    ),
    "fan_ins in one section": (
        graph("s a b c d f>x g<x", [fork("s", "a b", "f"), fork("a", "c d", "g")]),
        (
            "the branches of the parallel edges from 's' and 'a' join at one place, 'g'; give the edge from 'a' a "
            "fan-in node of its own"
        ),
    ),
    "several edges without parallel": (
        graph("a b c", chain("a b"), chain("a c")),
        (
            "node 'a' has 2 ways on: a -> b and a -> c; for branches write "
            "`- {from: a, to: [b, c], parallel: true, fan_in: NAME}`"
        ),
    ),
    "one edge to several without parallel": (
        graph("a b c", [Edge("a", ("b", "c"))], chain("c __end__")),
        (
            "node 'a' has 2 ways on: a -> b and a -> c; for branches write "
            "`- {from: a, to: [b, c], parallel: true, fan_in: NAME}`"
        ),
    ),
    "several entries": (
        graph("a b", chain("__start__ a __end__"), chain("__start__ b")),
        (
            "`__start__` has 2 ways on: __start__ -> a and __start__ -> b; for branches write "
            "`- {from: __start__, to: [a, b], parallel: true, fan_in: NAME}`"
        ),
    ),
    "parallel and plain": (
        graph("s a b c f", [fork("s", "a b", "f")], chain("s c f")),
        (
            "node 's' has 2 ways on: s -> [a, b] and s -> c; for branches write "
            "`- {from: s, to: [a, b, c], parallel: true, fan_in: f}`"
        ),
    ),
    "on and to the end": (
        graph("a b", chain("a b"), chain("a __end__")),
        (
            "node 'a' has 2 ways on: a -> b and a -> __end__; delete all but one of them, or say when each is taken: "
            "`when: EXPRESSION`"
        ),
    ),
    "two fan-outs leave a section": (
        graph("p>x q<x a b c d f g", [fork("p", "a b", "f"), fork("q", "c d", "g")], chain("f __end__")),
        (
            "the stream section of 'p' and 'q' has 2 ways on: p -> [a, b] and q -> [c, d]; let all of them lead to "
            "one node: "
            "`- {from: q, to: [a, b]}`"
        ),
    ),
    "two exits of a section": (
        graph("p>x q<x c d", chain("p c"), chain("q d")),
        (
            "the stream section of 'p' and 'q' has 2 ways on: p -> c and q -> d; let all of them lead to one node: "
            "`- {from: q, to: c}`"
        ),
    ),
    "two exits of a branch": (
        graph("p>x q<x>y r<y c d f", [fork("p", "q", "f")], chain("q c f"), chain("r d f")),
        (
            "the stream section of 'p', 'q' and 'r' has 2 ways on: q -> c and r -> d; let all of them lead to one "
            "node: `- {from: r, to: c}`"
        ),
    ),
    "out of a section beside its branches": (
        graph("p>x q<x c f", [fork("p", "q", "f")], chain("p c f")),
        (
            "'p' leads out of its stream section to 'c', but is in no branch of the parallel edge from 'p'; let it "
            "lead to "
            "the fan-in: `- {from: p, to: f}`"
        ),
    ),
    "a condition inside a section": (
        graph("a>x b<x c", chain("a b c"), [Edge("a", ("b",), condition=parsed("state.n"))]),
        (
            "the edge a -> b has a condition, but both nodes belong to one stream section; delete the condition: a "
            "section starts and ends as one; decide before it or after it"
        ),
    ),
    "a branch that leads back to the main line": (
        graph(
            "s a b f",
            [fork("s", "a b", "f"), Edge("b", ("s",), condition=parsed("state.n")), Edge("b", ("f",)), *chain("a f")],
        ),
        (
            "'s' is reached from '__start__' and 'b', which are on different branches; a branch ends at its fan-in: "
            "let 'b' lead there"
        ),
    ),
    "loop": (
        graph("a b", chain("__start__ a b a")),
        f"{ENDLESS} a -> b -> a; {WAY_OUT} `- {{from: b, to: __end__}}`",
    ),
    "loop by the order of the nodes": (
        graph("finish work", chain("__start__ work finish")),
        (
            f"{ENDLESS} work -> finish -> work; 'finish' leads to the next node of the list; if it is the last step, "
            "write `- {from: finish, to: __end__}`"
        ),
    ),
    "loop by a fan-in": (
        graph("f s a b", chain("__start__ f s"), [fork("s", "a b", "f")]),
        f"{ENDLESS} f -> s -> f; {WAY_OUT} `- {{from: s, to: __end__}}`",
    ),
    "loop beside the way": (
        graph("a b c", chain("__start__ a __end__"), chain("b c b")),
        "no edge leads to node 'b'; write `- {from: NAME, to: b}` with the node that comes before",
        "no edge leads to node 'c'; write `- {from: NAME, to: c}` with the node that comes before",
    ),
    "batch node in the middle of a section": (
        graph("a>x mid b<x"),
        (
            "the stream section of 'a' and 'b' would be left and entered again: a -> mid -> b; a section starts and "
            "ends as "
            "one: let 'mid' come before it or after it"
        ),
    ),
    "batch nodes in the middle, by edges": (
        graph("a>x one two b<x", chain("__start__ a one two b __end__")),
        (
            "the stream section of 'a' and 'b' would be left and entered again: a -> one -> two -> b; a section "
            "starts and "
            "ends as one: let 'one' and 'two' come before it or after it"
        ),
    ),
    "a section in the middle of a section": (
        graph("a>x c>y d<y b<x", chain("__start__ a c"), chain("d b __end__")),
        (
            "the stream section of 'a' and 'b' would be left and entered again: a -> c -> d -> b; a section starts "
            "and ends "
            "as one: let 'c' and 'd' come before it or after it"
        ),
    ),
    "a section is the fan-in of what follows it": (
        graph("a>x b<x c d", [fork("b", "c d", "a")]),
        f"{ENDLESS} b -> a; {WAY_OUT} `- {{from: b, to: __end__}}`",
    ),
    "a companion leads back": (
        graph("s p>x q<x c f", [fork("s", "q c", "f")], chain("c p")),
        (
            "the stream section of 'p' and 'q' would be left and entered again: p -> c -> p; a section starts and "
            "ends as one: let 'c' come before it or after it"
        ),
    ),
    "nothing leads to a section": (
        graph("a p>x q<x", chain("a __end__")),
        (
            "no edge leads to the stream section of 'p' and 'q'; write `- {from: NAME, to: p}` with the node that "
            "comes before"
        ),
    ),
}

BRANCHES = {
    "a branch ends at the end": (
        graph("s a b f", [fork("s", "a b", "f")], chain("a __end__")),
        (
            "branch 'a' of the parallel edge from 's' ends at `__end__` instead of its fan_in 'f'; write "
            "`- {from: a, to: f}`"
        ),
    ),
    "a branch of a section ends at the end": (
        graph("p>x q<x t f", [fork("p", "q", "f")], chain("q t __end__")),
        (
            "branch 'q' of the parallel edge from 'p' ends at `__end__` instead of its fan_in 'f'; write "
            "`- {from: t, to: f}`"
        ),
    ),
    "an inner branch comes to the outer fan-in": (
        graph("s a b c d g f", [fork("s", "a b", "f"), fork("a", "c d", "g")], chain("c f")),
        (
            "branch 'c' of the parallel edge from 'a' comes to 'f', another fan-in, instead of its fan_in 'g'; write "
            "`- {from: c, to: g}`"
        ),
    ),
    "two branches meet": (
        graph("s a b p f", [fork("s", "a b", "f")], chain("a p f"), chain("b p")),
        (
            "'p' is reached from 'a' and 'b', which are on different branches; make it their fan-in: write `fan_in: "
            "p` on the "
            "parallel edge"
        ),
    ),
    "two branches of a section meet": (
        graph("p>x q<x r<x t f", [fork("p", "q r", "f", stream_mode="broadcast")], chain("q t f"), chain("r t")),
        (
            "'t' is reached from 'q' and 'r', which are on different branches; make it their fan-in: write `fan_in: "
            "t` on the "
            "parallel edge"
        ),
    ),
    "a branch leads into a companion": (
        graph("p>x q<x c f", [fork("p", "q c", "f")], chain("q c f")),
        (
            "'c' is reached from 'q' and 'p', which are on different branches; make it their fan-in: write `fan_in: "
            "c` on the "
            "parallel edge"
        ),
    ),
    "a section reached by two branches": (
        graph("s a b p>x q<x f", [fork("s", "a b", "f")], chain("a p"), chain("b q")),
        (
            "'q' is reached from 'a' and 'b', which are on different branches; make it their fan-in: write `fan_in: "
            "q` on the "
            "parallel edge"
        ),
    ),
}


MISTAKES = {**NAMES, **CHANNELS, **CONTROL, **BRANCHES}


@pytest.mark.parametrize("case", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_once_with_the_text_to_write(case: tuple[Any, ...]) -> None:
    """The answer is exactly this: what is wrong, whom it concerns, what to write; and no consequence of it."""
    checked, *expected = case
    assert told(checked) == expected


VALID = {
    "one node": graph("a"),
    "nodes in their order": graph("a b c"),
    "a pair and what follows": graph(PAIR),
    "chain of edges through a section": graph("c<y b<x>y a>x", chain("__start__ a b c __end__")),
    "edges among members order nothing": graph("a>x b<x>y c<y", [Edge("c", ("a", "b"))], chain("a c"), chain("b a")),
    "stderr channel": graph("a>x!y b<x c<y"),
    "one consumer by a parallel edge": graph("p>x q<x f", [fork("p", "q", "f")]),
    "fan-out inside one section needs no fan_in": graph(FAN, [fork("p", "q r", stream_mode="broadcast")]),
    "all exits to one node": graph("p>x q<x c", chain("p c"), chain("q c")),
    "broadcast by a plain edge": graph(FAN, [Edge("p", ("q", "r"), stream_mode="broadcast")]),
    "broadcast by one of the edges": graph(FAN, chain("p q"), [Edge("p", ("r",), stream_mode="broadcast")]),
    "broadcast by the edge that starts everybody": graph(
        f"s {FAN}", [fork("s", "p q r", "f", stream_mode="broadcast")]
    ),
    "as many readers as possible": graph(
        "p>x " + " ".join(f"c{number}<x" for number in range(MAX_CONSUMERS)),
        [Edge("p", tuple(f"c{number}" for number in range(MAX_CONSUMERS)), stream_mode="broadcast")],
    ),
    "as many nodes as possible": graph(" ".join(f"n{number}" for number in range(MAX_NODES))),
    "a fan-out leaves a section": graph("p>x q<x a b f", [fork("q", "a b", "f")]),
    "entry by the first node": graph("a b", chain("a b")),
    "both exits of a branch to the same node": graph(
        "p>x q<x>y r<y c f", [fork("p", "q", "f")], chain("q c f"), chain("r c")
    ),
    "a second edge into the same section": graph("s p>x q<x f", [fork("s", "p", "f")], chain("s q")),
}


@pytest.mark.parametrize("checked", VALID.values(), ids=VALID)
def test_a_correct_graph_has_no_problems(checked: Graph) -> None:
    assert told(checked) == []


# -- channels: the named scenarios ------------------------------------------------------------------------------------


@pytest.mark.scenario("001.4-UNIT-010")
def test_a_correct_pair_passes() -> None:
    """One producer, one consumer, joined by an edge: nothing to say."""
    assert told(graph("a>x b<x", chain("__start__ a b __end__"))) == []


@pytest.mark.scenario("001.4-UNIT-008")
def test_reading_an_unproduced_channel_is_an_error() -> None:
    """It names the reader, the channel and the channel that was probably meant."""
    assert told(graph("a>data b<data c<dta")) == [
        "node 'c' reads channel 'dta', which no node produces; did you mean 'data'? write `stdin: data`"
    ]


@pytest.mark.scenario("001.4-UNIT-009", "QA-001.4-UNIT-023")
def test_two_producers_of_one_channel_are_both_named() -> None:
    """A channel has one producer; the second is told how to get a channel of its own."""
    assert told(graph("a>x b!x c<x")) == [
        "channel 'x' has two producers: 'a' and 'b'; give 'b' a channel of its own: `stderr: x_b`"
    ]


def test_every_further_producer_is_told() -> None:
    """Three producers are two mistakes."""
    assert [text.split(";")[0] for text in told(graph("a>x b>x c>x d<x"))] == [
        "channel 'x' has two producers: 'a' and 'b'",
        "channel 'x' has two producers: 'a' and 'c'",
    ]


@pytest.mark.scenario("QA-001.4-UNIT-024", "001.4-UNIT-016")
def test_several_readers_of_a_direct_channel_are_told_about_broadcast() -> None:
    """The text to write and the line of the edge to write it on are in the message, and its place is the edge's."""
    where = Position("wf.yaml", 12, 3)
    edge = fork("p", "q r", "f", where=where, positions={"to": Position("wf.yaml", 13, 9)})
    (problem,) = check(graph(FAN, [edge]))
    assert str(problem) == (
        "wf.yaml:13:9: channel 'x' of node 'p' has 2 readers, 'q' and 'r', but is not broadcast; write "
        "`stream_mode: broadcast` on the edge from 'p' (line 12)"
    )
    assert told(graph(FAN, [replace(edge, stream_mode="broadcast")])) == []


def test_a_parallel_edge_is_advised_before_a_plain_one() -> None:
    """Of two edges from the producer to its readers the fan-out is the one to write broadcast on."""
    edges = [Edge("p", ("q",)), fork("p", "r", "f", where=Position("wf.yaml", 7, 1))]
    (problem,) = check(graph(FAN, edges))
    assert problem.fix == "write `stream_mode: broadcast` on the edge from 'p' (line 7)"


@pytest.mark.scenario("001.4-UNIT-007")
def test_an_unknown_stream_mode_is_refused() -> None:
    assert told(graph(PAIR, [Edge("a", ("b",), stream_mode="multicast")])) == [
        "the edge from 'a': stream_mode is 'multicast'; write `stream_mode: direct` or `stream_mode: broadcast`"
    ]


def test_more_readers_than_possible_are_refused() -> None:
    readers = [f"c{number}" for number in range(MAX_CONSUMERS + 1)]
    edge = Edge("p", tuple(readers), stream_mode="broadcast")
    assert told(graph("p>x " + " ".join(f"{name}<x" for name in readers), [edge])) == [
        (
            "channel 'x' has 257 readers, and at most 256 are possible; let one of them pass the stream on through a "
            "channel "
            "of its own"
        )
    ]


def test_more_nodes_than_possible_are_refused_before_anything_else() -> None:
    """Other rules may take the square of the number of nodes: a huge graph is refused without them."""
    assert told(graph(" ".join(["n"] * (MAX_NODES + 1)))) == [
        "this workflow has 513 nodes, and at most 512 are possible; split it into several workflows"
    ]


# -- strategies -------------------------------------------------------------------------------------------------------

PROCESS_YAML = "write\nsettings:\n  parallel:\n    strategy: process"
IN_THREADS = f"node 'a' has streams, which need processes, but the strategy is thread; {PROCESS_YAML}"


@pytest.mark.scenario("001.4-UNIT-011", "QA-001.4-UNIT-015", "QA-001.4-UNIT-022")
@pytest.mark.parametrize("origin", [{"strategy_given": True}, {"streams_optional": False}])
def test_streams_with_the_thread_strategy_are_refused_with_the_exact_yaml(origin: dict[str, bool]) -> None:
    """Where a strategy was named, and in every document: the answer can be copied."""
    assert told(graph(PAIR, **origin)) == [IN_THREADS]


@pytest.mark.scenario("001.4-UNIT-012")
def test_streams_with_the_process_strategy_are_accepted() -> None:
    assert told(graph(PAIR, parallel=ParallelConfig("process"), strategy_given=True, streams_optional=False)) == []


def test_an_edge_that_names_the_process_strategy_speaks_for_its_section_only() -> None:
    """Every section needs one."""
    edges = [fork("p", "q r", "a", strategy="process", stream_mode="broadcast")], chain("a b")
    one, two = "p>x q<x r<x a b", "p>x q<x r<x a>y b<y"
    assert told(graph(one, *edges, streams_optional=False)) == []
    assert told(graph(two, *edges, streams_optional=False)) == [IN_THREADS]


def test_streams_imply_processes_in_python() -> None:
    """`streams=` on a node is the opt-in there."""
    assert told(graph(PAIR)) == []


def test_the_thread_strategy_without_streams_is_nobodys_mistake() -> None:
    assert told(graph("a b", strategy_given=True, streams_optional=False)) == []


def test_the_strategy_problem_stands_at_the_setting_or_at_the_first_stream_node() -> None:
    """The most exact place that the document has."""
    setting, node_place = Position("wf.yaml", 3, 5), Position("wf.yaml", 9, 5)
    declared = (replace(node("a>x"), where=node_place), node("b<x"))
    at_setting = Graph(declared, strategy_given=True, positions={"settings.parallel": setting})
    assert check(at_setting)[0].where == setting
    assert check(Graph(declared, streams_optional=False))[0].where == node_place


def test_a_thread_edge_into_a_section_is_refused() -> None:
    """Also from outside; but what follows a section may run in threads."""
    assert told(graph("p>x q<x f", [fork("p", "q", "f", strategy="thread")])) == [
        (
            "the parallel edge from 'p' has the strategy thread, but 'q' is a stream node; write `parallel_strategy: "
            "process`"
        )
    ]
    assert told(graph("p>x q<x a b f", [fork("q", "a b", "f", strategy="thread")])) == []


def test_remote_is_not_there_yet() -> None:
    edge = fork("s", "a b", "f", strategy="remote")
    assert told(graph("s a b f", [edge], parallel=ParallelConfig("remote"), strategy_given=True)) == [
        f"strategy 'remote' is not there yet; {PROCESS_YAML}",
        "the edge from 's': strategy 'remote' is not there yet; write `parallel_strategy: process`",
    ]


SECTION_IN_BRANCH = "s a p>x q<x b f"


def test_a_section_inside_a_thread_branch_names_the_edge_to_change() -> None:
    """Whether the thread strategy is the edge's or the settings'."""
    expected = (
        "the branches of the parallel edge from 's' run in threads, but the stream section of 'p' and 'q' stands "
        "in one of "
        "them; write `parallel_strategy: process`"
    )
    assert told(graph(SECTION_IN_BRANCH, [fork("s", "a b", "f", strategy="thread")], chain("a p"))) == [expected]
    named = graph(SECTION_IN_BRANCH, [fork("s", "a b", "f")], chain("a p"), strategy_given=True)
    assert told(named) == [IN_THREADS.replace("'a'", "'p'"), expected]


def test_every_thread_edge_around_a_section_is_named() -> None:
    """The outer one as well as the inner one; a fan-out without a section in it may use threads."""
    inner, other = fork("a", "c d", "g", strategy="thread"), fork("b", "m n", "h", strategy="thread")
    checked = graph(
        "s a c p>x q<x d g b m n h f", [fork("s", "a b", "f", strategy="thread"), inner, other], chain("c p")
    )
    assert [text.split(",")[0] for text in told(checked)] == [
        "the branches of the parallel edge from 's' run in threads",
        "the branches of the parallel edge from 'a' run in threads",
    ]


def test_a_section_inside_a_process_branch_is_accepted() -> None:
    assert told(graph(SECTION_IN_BRANCH, [fork("s", "a b", "f", strategy="process")], chain("a p"))) == []
    assert told(graph(SECTION_IN_BRANCH, [fork("s", "a b", "f")], chain("a p"))) == []


def test_a_process_fan_out_inside_a_thread_branch_names_both_edges() -> None:
    """At any depth, once for each inner edge, with the outermost one that has to change."""
    inner = fork("a", "c d", "g", strategy="process")
    expected = (
        "the branches of the parallel edge from 'a' run in processes, but that edge stands in a branch of the parallel "
        "edge from 's', whose branches run in threads; write `parallel_strategy: process` on the edge from 's', or "
        "`parallel_strategy: thread` on this one"
    )
    assert told(graph("s a b c d g f", [fork("s", "a b", "f", strategy="thread"), inner])) == [expected]
    assert told(graph("s a b c d g f", [fork("s", "a b", "f"), inner])) == [expected]
    between = fork("m", "a n", "h", strategy="thread")
    deep = graph("s m n a b c d g h f", [fork("s", "m b", "f", strategy="thread"), between, inner])
    assert told(deep) == [expected]


@pytest.mark.parametrize("strategies", [("process", "thread"), ("process", "process"), ("thread", "thread")])
def test_other_fan_outs_inside_each_other_are_accepted(strategies: tuple[str, str]) -> None:
    """A process may have threads, or processes of its own."""
    outer, inner = strategies
    edges = [fork("s", "a b", "f", strategy=outer), fork("a", "c d", "g", strategy=inner)]
    assert told(graph("s a b c d g f", edges)) == []


# -- interrupts and timeouts ------------------------------------------------------------------------------------------


@pytest.mark.scenario("QA-001.4-UNIT-025", "QA-001.5-INT-003")
def test_interrupt_before_a_stream_node_is_refused() -> None:
    """Nothing can be saved in the middle of a stream; the node before is the place."""
    checked = Graph((node("s"), node("a>x"), node("b<x", interrupt_before=True)))
    assert told(checked) == [
        (
            "cannot checkpoint a stream node: 'b' has interrupt_before; delete it and write `interrupt_after: true` "
            "on the "
            "node before the stream section"
        )
    ]


@pytest.mark.scenario("QA-001.4-UNIT-026", "QA-001.5-INT-003")
def test_interrupt_after_a_stream_node_is_refused() -> None:
    checked = Graph((node("a>x", interrupt_after=True), node("b<x"), node("c")))
    assert told(checked) == [
        (
            "cannot checkpoint a stream node: 'a' has interrupt_after; delete it and write `interrupt_before: true` "
            "on the "
            "node after the stream section"
        )
    ]


def test_interrupts_around_a_section_are_accepted() -> None:
    checked = Graph((node("s", interrupt_after=True), node("a>x"), node("b<x"), node("c", interrupt_before=True)))
    assert told(checked) == []


@pytest.mark.scenario("QA-001.5-INT-003")
@pytest.mark.parametrize("key", ["interrupt_before", "interrupt_after"])
def test_an_interrupt_inside_a_branch_is_refused(key: str) -> None:
    """In a plain branch, nested or not, told once; on the fan-in it may stand."""
    inner, last = node("c", **{key: True}), node("f", **{key: True})
    declared = (*nodes("s a b"), inner, *nodes("d g"), last)
    assert told(Graph(declared, (fork("s", "a b", "f"), fork("a", "c d", "g")))) == [
        (
            f"node 'c' has {key} inside a branch of a parallel edge; interrupts stand on the main line: write it on "
            "the fan-in 'f'"
        )
    ]


def test_an_interrupt_in_a_branch_beside_a_section_is_refused() -> None:
    """Beside it, and after it as long as the branches have not joined."""
    declared = (node("p>x"), node("q<x"), node("t", interrupt_after=True), node("c", interrupt_before=True), node("f"))
    assert [text.split(" inside")[0] for text in told(Graph(declared, (fork("p", "q c", "f"), *chain("q t"))))] == [
        "node 't' has interrupt_after",
        "node 'c' has interrupt_before",
    ]


def test_a_timeout_needs_a_stream_node() -> None:
    """Nobody can end a plain node in the caller's process."""
    assert told(Graph((node("a", timeout_seconds=1.0),))) == [
        (
            "only a node in a worker of its own can be ended: 'a' has a timeout but is not a stream node; delete "
            "`timeout`, "
            "or limit the whole run with `--timeout SECONDS`"
        )
    ]
    assert told(Graph((node("a>x", timeout_seconds=1.0), node("b<x")))) == []


# -- values of a graph built in Python --------------------------------------------------------------------------------

WHOLE, SECONDS = "a whole number above 0", "a number of seconds above 0"
BAD_SETTINGS = [
    (
        ParallelConfig("forked"),
        "strategy is 'forked'",
        "`strategy: thread` or `strategy: process` or `strategy: remote`",
    ),
    (ParallelConfig(max_workers=0), "max_workers is 0", WHOLE),
    (ParallelConfig(max_workers=True), "max_workers is True", WHOLE),
    (ParallelConfig(result_limit=0), "result_limit is 0", WHOLE),
    (ParallelConfig(timeout_seconds=-1.5), "timeout_seconds is -1.5", SECONDS),
    (ParallelConfig(streams=StreamSettings(buffer_size=0)), "streams.buffer_size is 0", WHOLE),
    (ParallelConfig(streams=StreamSettings(buffer_limit=1.5)), "streams.buffer_limit is 1.5", WHOLE),  # type: ignore[arg-type]
    (ParallelConfig(streams=StreamSettings(spill_limit=-1)), "streams.spill_limit is -1", WHOLE),
    (ParallelConfig(streams=StreamSettings(timeout=0)), "streams.timeout is 0", SECONDS),
    (ParallelConfig(streams=StreamSettings(timeout="5")), "streams.timeout is '5'", SECONDS),  # type: ignore[arg-type]
    (ParallelConfig(streams=StreamSettings(timeout=float("nan"))), "streams.timeout is nan", SECONDS),
    (ParallelConfig(streams=StreamSettings(stall_timeout=float("inf"))), "streams.stall_timeout is inf", SECONDS),
    (
        ParallelConfig(streams=StreamSettings(grace_seconds=-1)),
        "streams.grace_seconds is -1",
        "a number of seconds, 0 or more",
    ),
    (
        ParallelConfig(streams=StreamSettings(drain_seconds=-1)),
        "streams.drain_seconds is -1",
        "a number of seconds, 0 or more",
    ),
    (
        ParallelConfig(retry_policy=RetryPolicy(max_retries=-1)),
        "retry_policy.max_retries is -1",
        "a whole number, 0 or more",
    ),
    (
        ParallelConfig(circuit_breaker=CircuitBreakerConfig(failure_threshold=0)),
        "circuit_breaker.failure_threshold is 0",
        WHOLE,
    ),
]


@pytest.mark.parametrize(("settings", "wrong", "wanted"), BAD_SETTINGS)
def test_a_value_that_cannot_run_is_refused(settings: ParallelConfig, wrong: str, wanted: str) -> None:
    """`validate` accepts exactly what `run` can run, also where no document was read."""
    assert told(graph("a", parallel=settings)) == [f"settings.parallel.{wrong}; write {wanted}"]


def test_an_unknown_overflow_is_refused_in_the_settings_and_on_a_node() -> None:
    words = " or ".join(f"`overflow: {word}`" for word in ("block", "spill", "drop_oldest", "drop_newest", "fail"))
    settings = ParallelConfig(streams=StreamSettings(overflow="drop"))
    reader = Node("b", streams=NodeStreamsConfig(stdin="x", delivery=Delivery("lose", 0, -1)), timeout_seconds=0)
    assert told(Graph((node("a>x"), reader), parallel=settings)) == [
        f"settings.parallel.streams.overflow is 'drop'; write {words}",
        "node 'b': timeout is 0; write a number of seconds above 0",
        f"node 'b': streams.stdin.overflow is 'lose'; write {words}",
        "node 'b': streams.stdin.buffer_limit is 0; write a whole number above 0",
        "node 'b': streams.stdin.spill_limit is -1; write a whole number above 0",
    ]


def test_an_unknown_strategy_of_an_edge_is_refused() -> None:
    assert told(graph("s a b f", [fork("s", "a b", "f", strategy="gpu")])) == [
        (
            "the edge from 's': parallel_strategy is 'gpu'; write `parallel_strategy: thread` or `parallel_strategy: "
            "process` "
            "or `parallel_strategy: remote`"
        )
    ]


def test_delays_of_nothing_are_accepted() -> None:
    """A grace of 0 seconds is a decision, not a mistake."""
    settings = ParallelConfig(
        streams=StreamSettings(grace_seconds=0, drain_seconds=0),
        retry_policy=RetryPolicy(0, 0, 0),
        circuit_breaker=CircuitBreakerConfig(reset_timeout=0),
    )
    assert told(graph("a", parallel=settings)) == []


# -- all at once, in order, in place ----------------------------------------------------------------------------------


def at(line: int, column: int = 1) -> Position:
    return Position("wf.yaml", line, column)


@pytest.mark.scenario("001.4-UNIT-016")
def test_all_problems_come_at_once_in_the_order_of_the_document() -> None:
    """Each with file, line and column, what is wrong, and the text to write instead."""
    declared = (
        Node("reader", streams=NodeStreamsConfig(stdout="lines"), where=at(5), positions={"streams.stdout": at(6, 20)}),
        node("errors<lines", where=at(8)),
        Node("log", streams=NodeStreamsConfig(stdin="line"), where=at(10), positions={"streams": at(11, 5)}),
        Node("report", timeout_seconds=3, where=at(14), positions={"timeout": at(15, 5)}),
    )
    places = {"to.1": at(21, 17), "fan_in": at(22, 13)}
    edges = (
        Edge("reader", ("errors", "lgo"), True, fan_in="repot", where=at(20), positions=places),
        Edge("report", (END,), stream_mode="both", where=at(18, 5)),
    )
    assert told(Graph(declared, edges, streams_optional=False, positions={"settings.parallel.strategy": at(2, 5)})) == [
        "wf.yaml:2:5: node 'reader' has streams, which need processes, but the strategy is thread; " + PROCESS_YAML,
        (
            "wf.yaml:11:5: node 'log' reads channel 'line', which no node produces; did you mean 'lines'? write "
            "`stdin: lines`"
        ),
        (
            "wf.yaml:15:5: only a node in a worker of its own can be ended: 'report' has a timeout but is not a "
            "stream node; "
            "delete `timeout`, or limit the whole run with `--timeout SECONDS`"
        ),
        (
            "wf.yaml:18:5: the edge from 'report': stream_mode is 'both'; write `stream_mode: direct` or "
            "`stream_mode: broadcast`"
        ),
        "wf.yaml:21:17: the edge from 'reader' leads to 'lgo', which is no node; did you mean 'log'? write `to: log`",
        (
            "wf.yaml:22:13: the fan_in of the parallel edge from 'reader' is 'repot', which is no node; did you mean "
            "'report'? "
            "write `fan_in: report`"
        ),
    ]


def test_without_positions_the_order_is_that_of_declaration() -> None:
    """Settings, then nodes, then edges."""
    declared = (node("a", timeout_seconds=1), node("b", timeout_seconds=-1))
    texts = told(Graph(declared, tuple(chain("a c")), parallel=ParallelConfig(max_workers=0)))
    assert [text.split(";")[0] for text in texts] == [
        "settings.parallel.max_workers is 0",
        "only a node in a worker of its own can be ended: 'a' has a timeout but is not a stream node",
        "node 'b': timeout is -1",
        "only a node in a worker of its own can be ended: 'b' has a timeout but is not a stream node",
        "the edge from 'a' leads to 'c', which is no node",
    ]


def test_two_positions_of_one_name_are_both_named() -> None:
    declared = (Node("a", where=at(2)), Node("a", where=at(4), positions={"name": at(4, 9)}))
    assert told(Graph(declared)) == [
        "wf.yaml:4:9: two nodes are called 'a': wf.yaml:2:1 and wf.yaml:4:9; give one of them another name"
    ]


def test_a_duplicate_edge_names_the_place_of_the_other() -> None:
    edges = (Edge("a", ("b",), where=at(7)), Edge("a", ("b",), where=at(8)))
    assert told(graph("a b", edges)) == [
        "wf.yaml:8:1: two edges say a -> b (the other is at wf.yaml:7:1); delete one of them"
    ]


def test_names_are_escaped_cut_and_quoted_for_yaml() -> None:
    """A document cannot drive the terminal that shows the message, and what is advised can be copied."""
    colour, long = 'a "\x1b[31m', "n" * 300
    assert told(Graph((Node(colour), Node("b"), Node("c")), (Edge(colour, ("b", "c")),))) == [
        (
            'node \'a "\\x1b[31m\' has 2 ways on: a "\\x1b[31m -> b and a "\\x1b[31m -> c; for branches write '
            '`- {from: "a \\"\\x1b[31m", to: [b, c], parallel: true, fan_in: NAME}`'
        )
    ]
    (text,) = told(Graph((Node(long),), (Edge(long, (long,)),)))
    assert text.startswith(f"node 'n{'n' * 99}...' has an edge to itself")


def test_long_lists_are_cut() -> None:
    names = " ".join(f"node{number}" for number in range(20))
    (text,) = told(graph(names, chain("node1 elsewhere")))
    assert text.endswith("'node0', 'node1', 'node2', 'node3', 'node4', 'node5', 'node6' and 14 more")


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("reprot", "report"),  # two neighbours swapped are one slip of the pen
        ("Report", "report"),
        ("repor", "report"),
        ("xreport", "report"),
        ("roport", "report"),
        ("rover", None),
        ("r" * 200, None),
        ("", None),
    ],
)
def test_did_you_mean(word: str, expected: Optional[str]) -> None:
    """A name is meant if at most a third of its letters differ."""
    assert nearest(word, ["reader", "report"]) == expected


def test_the_nearest_name_is_the_one_meant() -> None:
    """The first of equals."""
    assert nearest("abcdeg", ["abcxyz", "abcdef", "abcdeh"]) == "abcdef"


# -- graphs that nobody wrote -----------------------------------------------------------------------------------------


def random_graph(dice: random.Random) -> Graph:
    """A few nodes, edges and channels at random, mostly wrong."""
    names = [f"n{number}" for number in range(dice.randint(1, 6))]
    channels: list[str] = []
    declared = []
    for name in names:
        config = NodeStreamsConfig(
            stdin=dice.choice(channels) if channels and dice.random() < 0.5 else None,
            stdout=f"of_{name}" if dice.random() < 0.3 else None,
        )
        channels += [config.stdout] if config.stdout else []
        declared.append(Node(name, streams=config if config.channels else None))
    return Graph(tuple(declared), tuple(random_edge(dice, names) for _ in range(dice.randint(0, 5))))


def random_edge(dice: random.Random, names: list[str]) -> Edge:
    source, fan_in = dice.choice([START, *names]), dice.choice([None, *names])
    if dice.random() < 0.5:
        return Edge(source, (dice.choice([*names, END]),))
    targets = tuple(dice.sample(names, min(len(names), dice.randint(1, 3))))
    return Edge(source, targets, True, fan_in=fan_in, stream_mode=dice.choice(["direct", "broadcast"]))


def test_whatever_has_no_problems_unfolds_into_a_flow_with_every_node_once() -> None:
    """`check` never raises, and what it accepts can run: 6000 random graphs, hundreds of them valid."""
    dice = random.Random(20240229)
    valid = 0
    for _ in range(6000):
        checked = random_graph(dice)
        if not check(checked):
            valid += 1
            assert sorted(nodes_in(flow_of(checked))) == sorted(one.name for one in checked.nodes), checked
    assert valid > 300


def test_a_dense_graph_is_refused_at_once() -> None:
    """256 nodes, each with an edge to every other: no rule takes more than their square times the bits of a set."""
    names = [f"n{number}" for number in range(256)]
    edges = [Edge(name, tuple(other for other in names if other != name)) for name in names]
    texts = told(graph(" ".join(names), edges))
    several = [text for text in texts if "has 255 ways on: " in text]
    assert len(several) == len(names)
    assert several[0] == (
        "node 'n0' has 255 ways on: n0 -> n1 and n0 -> n2 and n0 -> n3 and n0 -> n4 and others; "
        "say when each is taken: `when: EXPRESSION`"
    )
    assert [text for text in texts if text not in several] == [f"{ENDLESS} n0 -> n1 -> n0; {WAY_OUT} `{FINISH}`"]


# -- programs, and streams bound outside ------------------------------------------------------------------------------


def program(name: str, *argv: str, **more: Any) -> Node:
    fields = {key: more.pop(key) for key in ("env", "cwd", "ok_exit_codes") if key in more}
    return Node(name, command=Command(argv, **fields), **more)


def bound(name: str, stream: str, binding: Binding, **more: Any) -> Node:
    return Node(name, streams=NodeStreamsConfig(bindings={stream: binding}, **more))


OUTER, FILE = Binding(), Binding("x")


def test_a_program_alone_needs_no_strategy() -> None:
    assert told(Graph((program("a", "ls"), *nodes("b")), streams_optional=False)) == []


def test_a_program_among_the_branches_needs_processes() -> None:
    branches = Graph((program("a", "ls"), *nodes("b f")), (fork(START, "a b", "f"),), streams_optional=False)
    assert told(branches)[0].startswith("node 'a' is a program, which needs a process, but the strategy is thread")
    edge = fork(START, "a b", "f", strategy="thread")
    assert told(Graph((program("a", "ls"), *nodes("b f")), (edge,))) == [
        (
            "the parallel edge from '__start__' has the strategy thread, but 'a' is a program; "
            "write `parallel_strategy: process`"
        )
    ]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (program("a"), "`command` of node 'a' names no program; write the program and its arguments"),
        (program("a", ""), "`command` of node 'a' names no program; write the program and its arguments"),
        (program("a", "x", run=len), "node 'a' has both `run` and `command`; keep one of them, or"),
        (program("a", "x\0"), "`command` of node 'a' has a zero byte in an argument, which no program can be given"),
        (program("a", "x", env={"": "y"}), "`env` of node 'a' has the name '', which no environment can hold"),
        (program("a", "x", env={"B=": "y"}), "`env` of node 'a' has the name 'B=', which no environment can hold"),
        (program("a", "x", ok_exit_codes=frozenset((256,))), "`ok_exit_codes` of node 'a' must list exit codes from 0"),
        (program("a", "x", ok_exit_codes=frozenset()), "`ok_exit_codes` of node 'a' must list exit codes from"),
        (program("a", "x", "{{"), "`command` of node 'a': `{{` is never closed; write `}}` after the name"),
        (program("a", "x", env={"B": "{{ y }}", "C": None}), "`env` of node 'a': `{{ y }}` names no value; write"),
        (program("a", "x", cwd="{{ y }}"), "`cwd` of node 'a': `{{ y }}` names no value; write `{{ state.some_key }}`"),
        (bound("a", "stdin", Binding("{{ y }}")), "`streams.stdin` of node 'a': `{{ y }}` names no value; write"),
        (bound("a", "std", OUTER), "node 'a': there is no stream 'std'; bind stdin, stdout or stderr"),
        (bound("a", "stdout", Binding("")), "node 'a': its stdout is bound to a file without a name; write its path"),
        (
            bound("a", "stdin", OUTER, delivery=Delivery("spill")),
            "node 'a': its stdin is bound outside, where nobody can buffer; leave overflow, buffer_limit and",
        ),
        (
            bound("a", "stdin", Binding("x", append=True)),
            "node 'a': `append` and `partial` of its stdin are for files that are written; leave them out",
        ),
        (
            bound("a", "stdout", Binding(keep_partial=True)),
            "node 'a': `append` and `partial` of its stdout are for files that are written; leave them out",
        ),
    ],
)
def test_what_lies_outside_is_checked_as_far_as_it_can_be_known(wrong: Node, message: str) -> None:
    assert [one[: len(message)] for one in told(Graph((wrong,)))][:1] == [message]


def test_a_stream_is_a_channel_or_bound_and_not_both() -> None:
    both = Node("b", streams=NodeStreamsConfig(stdin="x", bindings={"stdin": FILE}))
    assert told(Graph((*nodes("a>x"), both), streams_optional=True))[-1] == (
        "node 'b': its stdin is both a channel and bound outside; keep one of them"
    )


def test_the_callers_own_streams_have_one_node_each() -> None:
    """Files may be read by as many as like."""
    readers = (bound("a", "stdin", OUTER), bound("b", "stdin", OUTER))
    assert told(Graph(readers)) == [
        (
            "'a' and 'b' are both bound to the workflow's own stdin; let one node read it, "
            "and join the other to that one by a channel"
        )
    ]
    writers = (bound("a", "stderr", OUTER), bound("b", "stdin", OUTER), bound("c", "stderr", OUTER))
    assert told(Graph(writers)) == [
        (
            "'a' and 'c' are both bound to the workflow's own stderr; let one node write it, "
            "and join the other to that one by a channel"
        )
    ]
    assert told(Graph((bound("a", "stdin", FILE), bound("b", "stdin", FILE)))) == []


def test_inside_a_branch_the_callers_own_streams_are_out_of_reach() -> None:
    """They are those of the branch's worker there; files are the same everywhere."""
    edges = (fork(START, "a b", "f", strategy="process"), *chain("a c"))
    inside = Graph((*nodes("a b"), bound("c", "stdout", OUTER), *nodes("f")), edges)
    assert told(inside) == [
        (
            "node 'c' stands inside a branch and is bound to the workflow's own stdout; "
            "bind it to a file, or move the node out of the branch"
        )
    ]
    assert told(Graph((*nodes("a b"), bound("c", "stdout", FILE), *nodes("f")), edges)) == []
