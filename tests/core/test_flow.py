"""Facts about `flow_of`: what each shape of graph unfolds into, and that whole random programs come out as written.

Flows are compared as text: `a` is a call, `{p q}` a section, `(a: a b | c: c)>f` a plain fan-out with its fan-in, and
`{p q}[q: t | c: c]>f` a section with its branches.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, Iterable, Optional

import pytest

from teastreams.core.control.flow import Branch, Call, Fork, Section, Step, flow_of, forks_in, nodes_in
from teastreams.core.control.units import channels_of, in_stream_order, sections_of, upstream_of
from teastreams.core.graph import END, START, Edge, Graph, Node, NodeStreamsConfig, ParallelConfig
from teastreams.core.rules import check

SIGNS = {"<": "stdin", ">": "stdout", "!": "stderr"}


def node(word: str) -> Node:
    """`reader>lines!log` has stdout and stderr channels, `errors<lines` reads, `report` is a plain node."""
    for sign in SIGNS:
        word = word.replace(sign, f" {sign}")
    name, *ends = word.split(" ")
    streams: dict[str, Any] = {SIGNS[end[0]]: end[1:] for end in ends}
    return Node(name, streams=NodeStreamsConfig(**streams) if ends else None)


def chain(text: str) -> list[Edge]:
    """Plain edges from each name to the next one."""
    names = text.split()
    return [Edge(source, (target,)) for source, target in zip(names, names[1:])]


def fork(source: str, targets: str, fan_in: Optional[str] = None, **more: Any) -> Edge:
    return Edge(source, tuple(targets.split()), parallel=True, fan_in=fan_in, **more)


def graph(declared: str, *edges: Iterable[Edge], **more: Any) -> Graph:
    nodes = tuple(node(word) for word in declared.split())
    return Graph(nodes, tuple(edge for group in edges for edge in group), **more)


def shape(steps: Iterable[Step]) -> str:
    return " ".join(map(shape_of_step, steps))


def shape_of_step(step: Step) -> str:
    if isinstance(step, Call):
        return step.node
    branches = " | ".join(f"{branch.target}: {shape(branch.steps)}".rstrip() for branch in step.branches)
    if isinstance(step, Fork):
        return f"({branches})>{step.fan_in}"
    members = "{" + " ".join(step.members) + "}"
    return f"{members}[{branches}]>{step.fan_in}" if step.edge else members


def flow_text(checked: Graph) -> str:
    """The flow of a graph that has no problems."""
    assert check(checked) == ()
    return shape(flow_of(checked))


BROADCAST = {"stream_mode": "broadcast"}

SHAPES = {
    "nodes in the order of the list": (graph("a b c"), "a b c"),
    "nodes in the order of the edges": (graph("c b a", chain("__start__ a b c __end__")), "a b c"),
    "only the entry is given": (graph("a b"), "a b"),
    "section, then a plain node, without edges": (graph("a>x b<x c"), "{a b} c"),
    "section declared against the stream": (graph("c<y b<x>y a>x d"), "{a b c} d"),
    "the design's example": (
        graph(
            "reader>lines errors<lines archive<lines report",
            chain("__start__ reader"),
            [fork("reader", "errors archive", "report", strategy="process", **BROADCAST)],
            chain("report __end__"),
        ),
        "{reader errors archive}[errors: | archive:]>report report",
    ),
    "chain of plain edges through a section": (
        graph("consumer<b producer>a transform<a>b", chain("__start__ producer transform consumer __end__")),
        "{producer transform consumer}",
    ),
    "consumer reached by its channel alone": (
        graph("reader>x errors<x report", chain("__start__ reader report __end__")),
        "{reader errors} report",
    ),
    "entered at its consumer, left at its producer": (
        graph("reader>x errors<x report", chain("__start__ errors"), chain("reader report")),
        "{reader errors} report",
    ),
    "a member that leads to its fellow is no way out": (
        graph("errors<x reader>x report", chain("reader errors"), chain("__start__ reader")),
        "{reader errors} report",
    ),
    "a member that nobody leads on, among declared ones": (
        graph("reader>x mid errors<x after", chain("__start__ mid reader errors")),
        "mid {reader errors} after",
    ),
    "two sections, one after the other": (graph("a>x b<x c>y d<y"), "{a b} {c d}"),
    "section at the start and at the end": (graph("a>x b<x m c>y d<y"), "{a b} m {c d}"),
    # (a) a parallel edge inside a section
    "a: branches of a section, one of them deep": (
        graph("p>x q<x>y r<x s<y f", [fork("p", "q r", "f", **BROADCAST)], chain("s f")),
        "{p q r s}[q: | r:]>f f",
    ),
    "a: without fan-in the branches only begin": (
        graph("p>x q<x r<x f", [fork("p", "q r", **BROADCAST)]),
        "{p q r}[q: | r:]>None f",
    ),
    "a: fan-out of a fan-out by a plain edge": (
        graph(
            "p>x q<x>y r<x c<y d<y f",
            [fork("p", "q r", "f", **BROADCAST), Edge("q", ("c", "d"), stream_mode="broadcast")],
        ),
        "{p q r c d}[q: | r:]>f f",
    ),
    # (b) a parallel edge that leads into sections
    "b: everybody started from a plain node": (
        graph("s p>x q<x f", [fork("s", "p q", "f")]),
        "s {p q}[p: | q:]>f f",
    ),
    "b: everybody started from the start": (
        graph("p>x q<x f", [fork(START, "q p", "f")]),
        "{p q}[q: | p:]>f f",
    ),
    "b: several sections become one step": (
        graph("s q<x p>x z<w v>w f", [fork("s", "p z", "f")]),
        "s {p q v z}[p: | z:]>f f",
    ),
    "b: from the end of one section into the next": (
        graph("a>x b<x c>y d<y f", [fork("b", "c d", "f")]),
        "{a b} {c d}[c: | d:]>f f",
    ),
    "b: an edge from a member joins another section to its own": (
        graph("a>x b<x c>y d<y f", [fork("a", "b d", "f")]),
        "{a b c d}[b: | d:]>f f",
    ),
    # (c) companions
    "c: plain branches beside a section": (
        graph("p>x q<x a b c f", [fork("p", "a q c", "f")], chain("a b")),
        "{p q}[a: a b | q: | c: c]>f f",
    ),
    "c: a fan-out inside a companion": (
        graph("p>x q<x a b c j f", [fork("p", "q a", "f"), fork("a", "b c", "j")]),
        "{p q}[q: | a: a (b: b | c: c)>j j]>f f",
    ),
    # (d) tails
    "d: nodes between a section and its fan-in": (
        graph("p>x q<x r<x t u v f", [fork("p", "q r", "f", **BROADCAST)], chain("q t u f"), chain("r v")),
        "{p q r}[q: t u | r: v]>f f",
    ),
    "d: the tail of a branch leaves it further down the stream": (
        graph("p>x q<x>y r<x s<y t f", [fork("p", "q r", "f", **BROADCAST)], chain("s t")),
        "{p q r s}[q: t | r:]>f f",
    ),
    "d: the nearest target upstream has the tail": (
        graph("s p>x q<x>y r<y t f", [fork("s", "p q", "f")], chain("r t")),
        "s {p q r}[p: | q: t]>f f",
    ),
    "d: a tail that begins with a fan-out": (
        graph("p>x q<x a b j t f", [fork("p", "q", "f"), fork("q", "a b", "j")], chain("j t")),
        "{p q}[q: (a: a | b: b)>j j t]>f f",
    ),
    "d: a section as a tail": (
        graph("p>x q<x c>y d<y f", [fork("p", "q", "f")], chain("q c")),
        "{p q}[q: {c d}]>f f",
    ),
    # (e) plain fan-outs
    "e: branches of several nodes": (
        graph("s a b c f", [fork("s", "a c", "f")], chain("a b")),
        "s (a: a b | c: c)>f f",
    ),
    "e: from the start": (graph("a b f", [fork(START, "a b", "f")]), "(a: a | b: b)>f f"),
    "e: a fan-out inside a branch": (
        graph("s a b c d j f", [fork("s", "a c", "f"), fork("a", "b d", "j")]),
        "s (a: a (b: b | d: d)>j j | c: c)>f f",
    ),
    "e: a fan-out at the end of an inner branch": (
        graph("s a c b d e g h j f", [fork("s", "a c", "f"), fork("a", "b d", "j"), fork("b", "e g", "h")]),
        "s (a: a (b: b (e: e | g: g)>h h | d: d)>j j | c: c)>f f",
    ),
    "e: a section inside a branch": (
        graph("s a p>x q<x b f", [fork("s", "a b", "f")], chain("a p")),
        "s (a: a {p q} | b: b)>f f",
    ),
    "e: a section with branches inside a branch": (
        graph("s a p>x q<x b j f", [fork("s", "a b", "f"), fork("p", "q", "j")], chain("a p"), chain("q j")),
        "s (a: a {p q}[q:]>j j | b: b)>f f",
    ),
    "e: the fan-in is in a section": (
        graph("s a b p>x q<x z", [fork("s", "a b", "q")]),
        "s (a: a | b: b)>q {p q} z",
    ),
    "e: a fan-out after a section": (
        graph("p>x q<x a b f", [fork("q", "a b", "f")]),
        "{p q} (a: a | b: b)>f f",
    ),
    "e: one fan-out after another": (
        graph("a b f c d g", [fork(START, "a b", "f"), fork("f", "c d", "g")]),
        "(a: a | b: b)>f f (c: c | d: d)>g g",
    ),
}


@pytest.mark.parametrize(("checked", "expected"), SHAPES.values(), ids=SHAPES)
def test_a_graph_unfolds_into_steps(checked: Graph, expected: str) -> None:
    """Step for step, branch for branch."""
    assert flow_text(checked) == expected


def test_the_steps_carry_the_edge_and_its_strategy() -> None:
    """A fan-out runs by the strategy of its edge, else by that of the settings."""
    own, default = fork("s", "a b", "f", strategy="process"), fork("f", "c d", "g")
    assert flow_of(graph("s a b f c d g", [own, default])) == (
        Call("s"),
        Fork(own, "process", (Branch("a", (Call("a"),)), Branch("b", (Call("b"),))), "f"),
        Call("f"),
        Fork(default, "thread", (Branch("c", (Call("c"),)), Branch("d", (Call("d"),))), "g"),
        Call("g"),
    )


def test_a_section_carries_its_edge() -> None:
    edge = fork("p", "q", "f")
    assert flow_of(graph("p>x q<x f", [edge])) == (Section(("p", "q"), edge, (Branch("q"),), "f"), Call("f"))


def test_a_section_in_a_branch_implies_processes_where_no_strategy_was_named() -> None:
    """A named one stays: `check` refuses it. A fan-out without a section in it keeps the default."""
    declared, edges = "s a p>x q<x b f c d g", [fork("s", "a b", "f"), fork("f", "c d", "g"), *chain("a p")]

    def strategies(checked: Graph) -> list[str]:
        return [step.strategy for step in flow_of(checked) if isinstance(step, Fork)]

    assert strategies(graph(declared, edges)) == ["process", "thread"]
    assert strategies(graph(declared, edges, strategy_given=True)) == ["thread", "thread"]
    named = graph(declared, edges, strategy_given=True, parallel=ParallelConfig("process"))
    assert strategies(named) == ["process", "process"]


def test_members_stand_in_the_order_of_the_stream_ties_in_that_of_declaration() -> None:
    """Each producer before its readers; of those who could stand next, the first declared."""
    assert sections_of(graph("d<y c<x>y lone b<x a>x")) == (("a", "c", "d", "b"),)
    assert sections_of(graph("q<v b<x p>v a>x")) == (("p", "q"), ("a", "b"))


def test_sections_of_a_wrong_graph_still_hold_every_member() -> None:
    """A cycle has no order of the stream: its members stand as declared."""
    assert sections_of(graph("b<x>y a<y>x c<z")) == (("b", "a"), ("c",))


def test_channels_name_both_ends() -> None:
    """In the order in which nodes name them, with the stream they come from."""
    declared = graph("b<x a>x!y c<x d<y plain")
    assert [(one.name, one.producers, one.consumers, one.nodes) for one in channels_of(declared)] == [
        ("x", (("a", "stdout"),), ("b", "c"), ("a", "b", "c")),
        ("y", (("a", "stderr"),), ("d",), ("a", "d")),
    ]
    assert channels_of(declared)[0].producer == "a"
    assert upstream_of(declared) == {"b": "a", "c": "a", "d": "a"}


def test_fan_outs_are_listed_outer_before_inner() -> None:
    checked = graph("s a p>x q<x b f", [fork("s", "a b", "f")], chain("a p"))
    assert [type(step).__name__ for step in forks_in(flow_of(checked))] == ["Fork", "Section"]


def test_nodes_are_listed_in_the_order_of_the_steps() -> None:
    checked = graph("p>x q<x c t f", [fork("p", "q c", "f")], chain("q t"))
    assert list(nodes_in(flow_of(checked))) == ["p", "q", "t", "c", "f"]


# -- whole programs at random -----------------------------------------------------------------------------------------


@dataclass
class Program:
    """A structured program under construction: its nodes, its edges, and a die."""

    dice: random.Random
    nodes: list[Node] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)

    def name(self, stdin: Optional[str] = None, stdout: Optional[str] = None) -> str:
        name = f"n{len(self.nodes)}"
        streams = NodeStreamsConfig(stdin, stdout) if stdin or stdout else None
        self.nodes.append(Node(name, streams=streams))
        return name

    def likely(self, chance: float = 0.5) -> bool:
        return self.dice.random() < chance


@dataclass
class Piece:
    """A stretch of steps: its text, the node to enter it by, and the nodes one of which may lead on.

    `out` is empty where the way on is written already, by a fan-in.
    """

    text: str
    enter: str
    out: list[str]


def program(dice: random.Random) -> tuple[Graph, str]:
    """A graph and the text of its flow. Every edge on the main line is written; at branch ends only now and then."""
    built = Program(dice)
    whole = stretch(built, depth=0)
    built.edges.append(Edge(START, (whole.enter,)))
    built.edges.append(Edge(dice.choice(whole.out), (END,)))
    dice.shuffle(built.edges)
    return Graph(tuple(built.nodes), tuple(built.edges)), whole.text


def stretch(built: Program, depth: int, first_plain: bool = False) -> Piece:
    """Some steps, one after the other."""
    kinds = [plain, plain, section, fanned_section, fan_out] if depth < 3 else [plain, plain, section]
    chosen = [built.dice.choice(kinds) for _ in range(built.dice.randint(1, 3))]
    pieces = [(plain if first_plain and number == 0 else kind)(built, depth) for number, kind in enumerate(chosen)]
    for before, after in zip(pieces, pieces[1:]):
        built.edges.append(Edge(built.dice.choice(before.out), (after.enter,)))
    return Piece(" ".join(piece.text for piece in pieces), pieces[0].enter, pieces[-1].out)


def plain(built: Program, depth: int) -> Piece:
    name = built.name()
    return Piece(name, name, [name])


def section(built: Program, depth: int) -> Piece:
    """A tree of channels, with edges among its members that mean nothing."""
    members = stream_tree(built)
    if built.likely() and len(members) > 1:
        built.edges.append(Edge(members[-1], (members[0],)))
    return Piece("{" + " ".join(members) + "}", built.dice.choice(members), members[:1])


def stream_tree(built: Program) -> list[str]:
    """A chain of channels, declared producer first, so that the order of the stream is that of declaration."""
    length = built.dice.randint(2, 4)
    first = f"c{len(built.nodes)}_"
    ends = [None, *(f"{first}{number}" for number in range(1, length)), None]
    return [built.name(stdin, stdout) for stdin, stdout in zip(ends, ends[1:])]


def fanned_section(built: Program, depth: int) -> Piece:
    """A section with a parallel edge from its producer, companions, and tails before the fan-in."""
    members = stream_tree(built)
    source, chosen = members[0], members[1 : 1 + built.dice.randint(1, len(members) - 1)]
    fan_in = built.name()
    branches = {target: tail(built, depth, target, fan_in) for target in chosen}
    for _ in range(built.dice.randint(0, 2)):
        piece = branch(built, depth, fan_in)
        branches[piece.enter] = piece.text
    targets = built.dice.sample(sorted(branches), len(branches))
    built.edges.append(Edge(source, tuple(targets), True, fan_in=fan_in))
    text = " | ".join(f"{target}: {branches[target]}".rstrip() for target in targets)
    return Piece(f"{{{' '.join(members)}}}[{text}]>{fan_in} {fan_in}", built.dice.choice(members), [fan_in])


def tail(built: Program, depth: int, target: str, fan_in: str) -> str:
    """What follows a member: mostly nothing, and the edge to the fan-in only now and then."""
    if built.likely(0.6):
        built.edges += chain(f"{target} {fan_in}") if built.likely(0.3) else []
        return ""
    piece = branch(built, depth, fan_in, first_plain=False)
    built.edges += chain(f"{target} {piece.enter}")
    return piece.text


def fan_out(built: Program, depth: int) -> Piece:
    """A plain node, branches, and their fan-in, which may be the entry of any piece."""
    source, join = built.name(), section(built, depth) if built.likely(0.3) else plain(built, depth)
    pieces = [branch(built, depth, join.enter) for _ in range(built.dice.randint(2, 3))]
    built.edges.append(Edge(source, tuple(piece.enter for piece in pieces), True, fan_in=join.enter))
    text = " | ".join(f"{piece.enter}: {piece.text}" for piece in pieces)
    return Piece(f"{source} ({text})>{join.enter} {join.text}", source, join.out)


def branch(built: Program, depth: int, fan_in: str, first_plain: bool = True) -> Piece:
    piece = stretch(built, depth + 1, first_plain)
    built.edges += chain(f"{built.dice.choice(piece.out)} {fan_in}") if built.likely(0.3) else []
    return piece


@pytest.mark.parametrize("seed", range(4))
def test_a_random_program_unfolds_into_what_was_written(seed: int) -> None:
    """Sections, fan-outs, companions and tails, nested: the flow is the program, and holds every node exactly once."""
    dice = random.Random(seed)
    for _ in range(60):
        checked, expected = program(dice)
        if len(checked.nodes) > 256:
            continue
        assert flow_text(checked) == expected
        assert sorted(nodes_in(flow_of(checked))) == sorted(one.name for one in checked.nodes)


@pytest.mark.parametrize(
    ("upstream", "order"),
    [
        ({"a": "b", "b": "c"}, "cbad"),
        ({"b": "d"}, "acdb"),
        ({"a": "b", "b": "a", "c": "d", "d": "c"}, "abcd"),  # two circles, which a rule refuses by name
    ],
)
def test_producers_stand_before_their_consumers_and_each_name_once(upstream: dict[str, str], order: str) -> None:
    assert in_stream_order("abcd", upstream) == tuple(order)
