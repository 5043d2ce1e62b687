"""A checked workflow as a drawing: `draw(graph, "text" | "mermaid" | "dot")`.

`compose` makes one value of the graph, `picture` is that value, and each format is one file that turns it into text.
"""

from __future__ import annotations

from teastreams.core.graph import Graph

__all__ = ["FORMATS", "draw"]

FORMATS = ("text", "mermaid", "dot")
"""Each is a module here and a function in it; they are loaded by who draws, not by who only lists the choices."""


def draw(graph: Graph, form: str = "text") -> str:
    """The drawing of a checked graph, without a newline at its end. ValueError for an unknown format."""
    if form not in FORMATS:
        raise ValueError(f"there is no format {form!r} for drawings; use one of {', '.join(FORMATS)}")
    from teastreams.core.drawing import dot, mermaid, text
    from teastreams.core.drawing.compose import picture_of

    drawn = {"text": text.text, "mermaid": mermaid.mermaid, "dot": dot.dot}
    return drawn[form](picture_of(graph))
