"""A checked workflow as a drawing: `draw(graph, "text" | "mermaid" | "dot")`.

`compose` makes one value of the graph, `picture` is that value, and each format is one file that turns it into text.
"""

from __future__ import annotations

from typing import Callable

from teastreams.core.drawing.compose import picture_of
from teastreams.core.drawing.dot import dot
from teastreams.core.drawing.mermaid import mermaid
from teastreams.core.drawing.picture import Picture
from teastreams.core.drawing.text import text
from teastreams.core.graph import Graph

__all__ = ["FORMATS", "draw"]

FORMATS: dict[str, Callable[[Picture], str]] = {"text": text, "mermaid": mermaid, "dot": dot}


def draw(graph: Graph, form: str = "text") -> str:
    """The drawing of a checked graph, without a newline at its end. ValueError for an unknown format."""
    if form not in FORMATS:
        raise ValueError(f"there is no format {form!r} for drawings; use one of {', '.join(FORMATS)}")
    return FORMATS[form](picture_of(graph))
