"""`teastreams graph`: a drawing on stdout for every document that is valid, its problems for any other."""

from __future__ import annotations

import sys
from pathlib import Path

import harness
import pytest

import teastreams as ts
from teastreams.cli.arguments import command_line

CASES = Path(__file__).resolve().parents[1] / "workflow" / "cases"
GRAPH = [sys.executable, "-W", "error", "-m", "teastreams", "graph"]
BROADCAST = str(CASES / "good" / "broadcast.yaml")


@pytest.mark.parametrize("form", ["text", "mermaid", "dot"])
def test_the_drawing_is_all_there_is_on_stdout(form: str) -> None:
    """The same as in Python, and nothing on stderr."""
    app = ts.YAMLEngine().load_from_file(BROADCAST).compile()
    ended = harness.run_command([*GRAPH, BROADCAST, "--format", form])
    assert (ended.stdout, ended.stderr) == (app.draw(form) + "\n", "")


def test_text_is_what_one_gets_unless_asked() -> None:
    """In Python as well."""
    assert command_line(["graph", "w.yaml"]).format == "text"
    app = ts.YAMLEngine().load_from_file(BROADCAST).compile()
    assert app.draw() == app.draw("text") != app.draw("dot")


def test_an_unknown_format_names_those_there_are() -> None:
    """A ValueError in Python."""
    with pytest.raises(ValueError, match="no format 'svg' for drawings; use one of text, mermaid, dot"):
        ts.YAMLEngine().load_from_file(BROADCAST).compile().draw("svg")


@pytest.mark.parametrize("path", sorted((CASES / "good").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_valid_document_can_be_drawn(path: Path) -> None:
    """Each of its nodes stands in every format; nothing that it imports has to be there."""
    declared = ts.YAMLEngine().load_from_file(path)
    for form in ("text", "mermaid", "dot"):
        assert all(node.name in declared.draw(form) for node in declared.graph.nodes)


def test_an_invalid_document_gives_the_problems_that_validate_gives() -> None:
    """All at once, exit code 2, no half drawing."""
    path = str(CASES / "bad" / "edge_conflicts.yaml")
    drawn = harness.run_command([*GRAPH, path], expect=2)
    validated = harness.run_command([*GRAPH[:-1], "validate", path], expect=2)
    assert (drawn.stdout, drawn.stderr) == ("", validated.stderr)
    assert len(drawn.stderr.splitlines()) == 3
