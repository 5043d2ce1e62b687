"""What a picture shows of a workflow, before it is drawn in any format."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sample import EVERYTHING, checked

from teastreams.core.control.bodies import Each, Loop, Subgraph
from teastreams.core.drawing.compose import picture_of, printable, size_text
from teastreams.core.drawing.picture import Frame, Kind, Picture, Shape, Split, laid_flat
from teastreams.core.graph import END, START, Binding, Command, Edge, Graph, Negated, Node, NodeStreamsConfig
from teastreams.core.language.expressions import parsed


def names(picture: Picture) -> dict[str, str]:
    """Every id and the name it stands for."""
    found: dict[str, str] = {}
    for item in laid_flat(picture.items):
        for shape in item.shapes if isinstance(item, Frame) else (item,):
            assert shape.id not in found
            found[shape.id] = shape.name
    return found


def control(graph: Graph) -> list[str]:
    picture = picture_of(graph)
    known = names(picture)
    return [f"{known[a.source]}>{known[a.target]}{' ' + a.label if a.label else ''}" for a in picture.control]


def frames(graph: Graph) -> list[Frame]:
    return [item for item in laid_flat(picture_of(graph).items) if isinstance(item, Frame)]


def channels(graph: Graph) -> list[str]:
    known = names(picture_of(graph))
    return [f"{known[a.source]}>{known[a.target]} {a.label}" for frame in frames(graph) for a in frame.channels]


def piped(*nodes: Node, edges: tuple[Edge, ...] = ()) -> Graph:
    return checked(Graph(nodes=nodes, edges=edges))


P = Node("p", streams=NodeStreamsConfig(stdout="x"))
Q = Node("q", streams=NodeStreamsConfig(stdin="x"))


def test_items_stand_in_the_order_of_control() -> None:
    """From the start to the end; the members of a section are in its frame, the branches in their lanes."""
    start, first, frame, report, split, last, end = picture_of(EVERYTHING).items
    assert isinstance(start, Shape)
    assert isinstance(end, Shape)
    assert (start.kind, end.kind) == (Kind.START, Kind.END)
    assert [getattr(each, "name", "") for each in (first, report, last)] == ["first", "report", "last"]
    assert isinstance(frame, Frame)
    assert [shape.name for shape in frame.shapes] == ["reader", "fan-out", "quick", "slow", "remarked"]
    assert isinstance(split, Split)
    assert [lane.label for lane in split.lanes] == ["parallel, thread"] * 2
    assert [item.name for lane in split.lanes for item in lane.items if isinstance(item, Shape)] == ["left", "right"]


def test_a_fan_out_stands_only_where_one_will_run() -> None:
    """Between several readers or before a policy; a bare pipe has nothing in it."""
    assert channels(EVERYTHING) == [
        "reader>fan-out lines",
        "fan-out>quick block, 8MiB in memory",
        "fan-out>slow spill, 1MiB in memory, 3GiB in all",
        "reader>remarked remarks (stderr)",
    ]
    assert channels(piped(P, Q)) == ["p>q x"]


def test_settings_of_a_section_are_its_notes_when_they_are_set() -> None:
    """Defaults are not repeated."""
    assert [frame.notes for frame in frames(EVERYTHING)] == [("timeout 60 s", "stall timeout 2.5 s", "pipes of 4KiB")]
    assert [frame.notes for frame in frames(piped(P, Q))] == [()]


def test_a_node_has_notes_on_what_it_does_to_the_run() -> None:
    """Its interrupts and its time limit."""
    graph = replace(EVERYTHING, nodes=(replace(EVERYTHING.nodes[0], interrupt_after=True), *EVERYTHING.nodes[1:]))
    noted = {
        shape.name: shape.notes
        for item in laid_flat(picture_of(graph).items)
        for shape in (item.shapes if isinstance(item, Frame) else (item,))
        if shape.notes
    }
    assert noted == {"first": ("interrupt before", "interrupt after"), "remarked": ("timeout 1.5 s",)}


def test_control_goes_by_the_edges_and_joins_at_the_fan_in() -> None:
    """A parallel edge inside a section is shown by where its branches join: its channels are drawn already."""
    assert control(EVERYTHING) == [
        "start>first",
        "first>reader",
        "quick>report fan-in",
        "slow>report fan-in",
        "report>left parallel, thread",
        "report>right parallel, thread",
        "left>last fan-in",
        "right>last fan-in",
        "last>end",
    ]


def test_control_that_nobody_wrote_is_drawn_as_well() -> None:
    """Without edges the nodes run in the order of the list."""
    assert control(piped(Node("a"), Node("b"))) == ["start>a", "a>b", "b>end"]
    assert control(piped(Node("a"), P, Q, Node("b"))) == ["start>a", "a>p", "q>b", "b>end"]


def test_conditions_stand_on_arrows_and_beside_the_node_that_decides() -> None:
    edges = (
        Edge("a", ("b",), condition=parsed("{{ state.n > 1 }}")),
        Edge("a", ("a",), condition=Negated(parsed("state.done"))),
        Edge("a", (END,)),
        Edge("b", ("p",)),
        Edge("q", ("a",), condition=parsed("state.again")),
        Edge("q", ("s",)),
        Edge("s", ("c", "d"), parallel=True, fan_in="f", condition=parsed("state.wide")),
        Edge("s", ("f",)),
        Edge("f", (END,)),
    )
    graph = piped(*(Node(name) for name in "ab"), P, Q, *(Node(name) for name in "scdf"), edges=edges)

    assert set(control(graph)) == {
        "start>a",
        "a>b state.n > 1",
        "a>a not (state.done)",
        "a>end",
        "b>p",
        "q>a state.again",
        "q>s",
        "s>f",
        "s>c parallel, thread",
        "s>d parallel, thread",
        "c>f fan-in",
        "d>f fan-in",
        "f>end",
    }
    items = {item.name: item for item in picture_of(graph).items if isinstance(item, Shape)}
    assert items["a"].notes == ("then b when state.n > 1", "then a when not (state.done)", "then the end")
    assert items["s"].notes == ("then s when state.wide", "then f")
    assert frames(graph)[0].notes == ("then a when state.again", "then s")


def test_what_stands_inside_a_node_is_noted_at_it() -> None:
    inner = Graph((Node("x", run=print), Node("y", run=print)))

    def urls(state: object) -> list[str]:
        return []

    bodies = {
        "l": Loop(inner, parsed("{{ state.n < 3 }}"), 5),
        "e": Each(inner, urls),
        "s": Subgraph(inner),
    }
    items = picture_of(piped(*(Node(name, body=body) for name, body in bodies.items()))).items

    assert [item.notes for item in items[1:-1] if isinstance(item, Shape)] == [
        ("while state.n < 3, at most 5 times: x, y",),
        ("for each of urls: x, y",),
        ("runs x, y",),
    ]


def test_edges_between_members_order_nothing_and_are_left_out() -> None:
    """Control enters and leaves where edges say so."""
    edges = (Edge(START, ("q",)), Edge("p", ("q",)), Edge("p", ("b",)), Edge("b", (END,)))
    assert control(piped(P, Q, Node("b"), edges=edges)) == ["start>q", "p>b", "b>end"]


def test_branches_around_a_section_are_lanes_after_it() -> None:
    """What follows one of its branches, and what runs beside it; the fan-in is written once."""
    graph = piped(
        Node("a"),
        P,
        Q,
        Node("after"),
        Node("beside"),
        Node("join"),
        edges=(Edge("a", ("q", "beside"), True, fan_in="join"), Edge("q", ("after",))),
    )
    assert control(graph) == [
        "start>a",
        "a>q parallel, process",
        "q>after",
        "a>beside parallel, process",
        "after>join fan-in",
        "beside>join fan-in",
        "join>end",
    ]
    frame, split = picture_of(graph).items[2:4]
    assert isinstance(frame, Frame)
    assert isinstance(split, Split)
    assert [lane.label for lane in split.lanes] == ["after q", "beside it"]
    assert (frame.leaving, split.leaving) == ("", "fan-in")


def test_every_arrow_has_two_ends_in_the_picture() -> None:
    """Those of control and those of channels."""
    picture = picture_of(EVERYTHING)
    arrows = [*picture.control, *(arrow for frame in frames(EVERYTHING) for arrow in frame.channels)]
    assert {end for arrow in arrows for end in (arrow.source, arrow.target)} == set(names(picture))


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(1, "1B"), (1000, "1000B"), (1024, "1KiB"), (1536, "1536B"), (8 * 2**20, "8MiB"), (2**40, "1TiB")],
)
def test_sizes_are_written_as_in_documents(size_bytes: int, text: str) -> None:
    """With the largest unit that loses nothing."""
    assert size_text(size_bytes) == text


def test_names_are_printable_and_not_endless() -> None:
    """Whatever a graph built in Python calls its nodes."""
    assert printable("a\x1b[31m\n") == "a\\x1b[31m\\n"
    assert len(printable("x" * 1000)) < 110


def test_programs_and_what_is_bound_outside_are_noted_at_the_node() -> None:
    """No arrow leads out of the picture."""
    bindings = {"stdin": Binding(), "stdout": Binding("a\nb"), "stderr": Binding("log", append=True)}
    node = Node("z", command=Command(("gzip", "-c")), streams=NodeStreamsConfig(bindings=bindings))
    frame = frames(piped(node))[0]
    notes = ("gzip -c", "stdin from the caller's", "stdout to a\\nb", "stderr appended to log")
    assert (frame.shapes[0].notes, frame.channels) == (notes, ())
