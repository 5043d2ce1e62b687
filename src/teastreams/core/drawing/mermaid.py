"""A picture as a Mermaid flowchart: sections are subgraphs, channels thick arrows with names, control dotted ones.

Every text stands between quotes, and every character in it that Mermaid or HTML could take for its own is written as
a numeric entity (`#34;`), so that no name can end its label, start another statement or bring markup along.
"""

from __future__ import annotations

from typing import Iterator

from teastreams.core.drawing.picture import Arrow, Frame, Kind, Picture, Shape, laid_flat

_SAFE = frozenset(" _-.,:()/=+")
_BRACKETS = {
    Kind.START: ("([", "])"),
    Kind.END: ("([", "])"),
    Kind.NODE: ("[", "]"),
    Kind.FANOUT: ("{{", "}}"),
}


def mermaid(picture: Picture) -> str:
    """The flowchart, without a newline at its end."""
    return "\n".join([*_title(picture.name), "flowchart TD", *(f"    {line}" for line in _body(picture))])


def label(*lines: str) -> str:
    """The lines as one quoted label."""
    return '"' + "<br>".join(map(_escaped, lines)) + '"'


def _escaped(text: str) -> str:
    def one(letter: str) -> str:
        plain = letter.isalnum() or letter in _SAFE or ord(letter) > 127
        return letter if plain else f"#{ord(letter)};"

    return "".join(map(one, text))


def _title(name: str) -> list[str]:
    """The front matter is YAML: its quoted text needs two escapes."""
    if not name:
        return []
    text = name.replace("\\", "\\\\").replace('"', '\\"')
    return ["---", f'title: "{text}"', "---"]


def _body(picture: Picture) -> Iterator[str]:
    for item in laid_flat(picture.items):
        yield from _frame(item) if isinstance(item, Frame) else [_shape(item)]
    yield from (_arrow(arrow, "-.->") for arrow in picture.control)


def _frame(frame: Frame) -> Iterator[str]:
    yield f"subgraph {frame.id}[{label(frame.name, *frame.notes)}]"
    yield from (f"    {_shape(shape)}" for shape in frame.shapes)
    yield from (f"    {_arrow(arrow, '==>')}" for arrow in frame.channels)
    yield "end"


def _shape(shape: Shape) -> str:
    before, after = _BRACKETS[shape.kind]
    return f"{shape.id}{before}{label(shape.name, *shape.notes)}{after}"


def _arrow(arrow: Arrow, line: str) -> str:
    middle = f"{line}|{label(arrow.label)}|" if arrow.label else line
    return f"{arrow.source} {middle} {arrow.target}"
