"""The drawing in text: what a user sees, to the last column."""

from __future__ import annotations

import pytest
from sample import EVERYTHING, HOSTILE, named

from teastreams.core.drawing.compose import picture_of
from teastreams.core.drawing.text import columns, text
from teastreams.core.graph import Edge, Graph, Node, NodeStreamsConfig, ParallelConfig, StreamSettings

DRAWN = """\
all

(start)
┊
first  [interrupt before]
┊
┌─ stream section, timeout 60 s, stall timeout 2.5 s, pipes of 4KiB ┐
│ reader                                                            │
│ ╠═ lines ═▶ fan-out                                               │
│ ║           ╠═ block, 8MiB in memory ═▶ quick                     │
│ ║           ╚═ spill, 1MiB in memory, 3GiB in all ═▶ slow         │
│ ╚═ remarks (stderr) ═▶ remarked  [timeout 1.5 s]                  │
└───────────────────────────────────────────────────────────────────┘
┊ fan-in
report
┊
├┄ parallel, thread ┄▶ left
┊
├┄ parallel, thread ┄▶ right
┊ fan-in
last
┊
(end)

══▶ channel   ┊ ┄▶ control"""


def boxed(lines: str) -> list[str]:
    return [line for line in lines.splitlines() if line[0:1] in ("┌", "│", "└")]


def test_a_workflow_with_everything() -> None:
    """Sections are boxes, channels double lines with names and policies, control is dotted."""
    assert text(picture_of(EVERYTHING)) == DRAWN


@pytest.mark.parametrize("name", [*HOSTILE, "\uff57ide", "cafe\u0301", "😀"])
def test_boxes_close_whatever_the_names(name: str) -> None:
    """Every line of a box is as wide as its top, counted in columns of a terminal."""
    drawn = boxed(text(picture_of(named(name))))
    assert len(drawn) == 4
    assert len({columns(line) for line in drawn}) == 1


def test_a_title_wider_than_the_nodes_widens_the_box() -> None:
    """It is never cut."""
    settings = ParallelConfig(strategy="process", streams=StreamSettings(timeout=1, stall_timeout=1))
    nodes = (Node("p", streams=NodeStreamsConfig(stdout="x")), Node("q", streams=NodeStreamsConfig(stdin="x")))
    drawn = boxed(text(picture_of(Graph(nodes=nodes, parallel=settings))))
    assert drawn == [
        "┌─ stream section, timeout 1 s, stall timeout 1 s ┐",
        "│ p                                               │",
        "│ ╚═ x ═▶ q                                       │",
        "└─────────────────────────────────────────────────┘",
    ]


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_drives_the_terminal(name: str) -> None:
    """Every character of a drawing is printable, but for the ends of its lines."""
    assert all(line.isprintable() for line in text(picture_of(named(name))).split("\n"))


def test_a_branch_of_several_nodes_goes_down_in_its_lane() -> None:
    """The dotted line of the fork goes on beside it."""
    nodes = tuple(map(Node, ("a", "b", "b2", "c", "j")))
    edges = (Edge("a", ("b", "c"), True, fan_in="j"), Edge("b", ("b2",)))
    lines = text(picture_of(Graph(nodes=nodes, edges=edges))).splitlines()
    assert lines[2:12] == [
        "a",
        "┊",
        "├┄ parallel, thread ┄▶ b",
        "┊                      ┊",
        "┊                      b2",
        "┊",
        "├┄ parallel, thread ┄▶ c",
        "┊ fan-in",
        "j",
        "┊",
    ]
