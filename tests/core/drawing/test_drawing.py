"""core/drawing: one door for every format."""

from __future__ import annotations

from importlib import import_module

import pytest
from sample import EVERYTHING, checked

from teastreams.core.drawing import FORMATS, draw
from teastreams.core.drawing.compose import picture_of
from teastreams.core.graph import Graph, Node


@pytest.mark.parametrize("form", FORMATS)
def test_a_format_draws_the_picture_of_the_graph(form: str) -> None:
    module = import_module(f"teastreams.core.drawing.{form}")
    assert draw(EVERYTHING, form) == getattr(module, form)(picture_of(EVERYTHING))


def test_text_is_what_one_gets_without_a_wish() -> None:
    assert draw(EVERYTHING) == draw(EVERYTHING, "text")


def test_an_unknown_format_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="no format 'svg' for drawings; use one of text, mermaid, dot"):
        draw(EVERYTHING, "svg")


@pytest.mark.parametrize(("form", "title"), [("dot", "graph [label="), ("mermaid", "title:")])
def test_a_workflow_without_a_name_has_no_title(form: str, title: str) -> None:
    nodes = (Node("a", run=len),)
    assert title in draw(checked(Graph(nodes=nodes, name="n")), form)
    assert title not in draw(checked(Graph(nodes=nodes)), form)
