"""A checked workflow as a drawing: `draw(graph, "text" | "mermaid" | "dot")`.

`compose` makes one value of the graph, `picture` is that value, and each format is one file that turns it into text.
"""

from __future__ import annotations

from teastreams.core.graph import Graph

__all__ = ["FORMATS", "draw"]

FORMATS = ("text", "mermaid", "dot")


def draw(graph: Graph, form: str = "text") -> str:
    """The drawing of a checked graph, without a newline at its end. ValueError for an unknown format."""
    if form not in FORMATS:
        raise ValueError(f"there is no format {form!r} for drawings; use one of {', '.join(FORMATS)}")
    # Loaded by who draws: the command line names the formats whatever it does, and every run is a CompiledGraph's.
    from teastreams.core.drawing.compose import picture_of
    from teastreams.core.drawing.dot import dot
    from teastreams.core.drawing.mermaid import mermaid
    from teastreams.core.drawing.text import text

    return {"text": text, "mermaid": mermaid, "dot": dot}[form](picture_of(graph))
