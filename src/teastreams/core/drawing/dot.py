"""A picture in Graphviz' DOT: sections are clusters, channels thick arrows with names, control dashed ones.

Every text stands between double quotes. Backslashes are doubled, because DOT replaces `\\N` and its like in labels,
quotes are escaped, and `&` is written as an entity, because DOT reads HTML's entities in every label.
"""

from __future__ import annotations

from typing import Iterator

from teastreams.core.drawing.picture import Arrow, Frame, Kind, Picture, Shape, laid_flat

_FORMS = {Kind.START: "circle", Kind.END: "doublecircle", Kind.NODE: "box", Kind.FANOUT: "hexagon"}


def dot(picture: Picture) -> str:
    """The digraph, without a newline at its end."""
    return "\n".join(["digraph workflow {", *(f"    {line}" for line in _body(picture)), "}"])


def label(*lines: str) -> str:
    """The lines as one quoted label, each centred."""
    return '"' + "\\n".join(map(_escaped, lines)) + '"'


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")


def _body(picture: Picture) -> Iterator[str]:
    if picture.name:
        yield f"graph [label={label(picture.name)}, labelloc=t]"
    for item in laid_flat(picture.items):
        yield from _frame(item) if isinstance(item, Frame) else [_shape(item)]
    yield from (_arrow(arrow, "style=dashed") for arrow in picture.control)


def _frame(frame: Frame) -> Iterator[str]:
    # Only a subgraph whose name begins with `cluster` gets a box.
    yield f"subgraph cluster_{frame.id} {{"
    yield f"    graph [label={label(frame.name, *frame.notes)}]"
    yield from (f"    {_shape(shape)}" for shape in frame.shapes)
    yield from (f"    {_arrow(arrow, 'penwidth=3')}" for arrow in frame.channels)
    yield "}"


def _shape(shape: Shape) -> str:
    return f"{shape.id} [label={label(shape.name, *shape.notes)}, shape={_FORMS[shape.kind]}]"


def _arrow(arrow: Arrow, style: str) -> str:
    words = [style, *([f"label={label(arrow.label)}"] if arrow.label else [])]
    return f"{arrow.source} -> {arrow.target} [{', '.join(words)}]"
