"""A picture as text: from top to bottom, sections as boxes, in characters that every terminal with UTF-8 has.

Channels are double lines with their names, control is dotted. Inside a box stands one tree per first producer, because
a node reads one channel. Width is counted in columns: most East Asian letters and emoji take two.
"""

from __future__ import annotations

from typing import Sequence

from teastreams.core.drawing.picture import Arrow, Frame, Item, Kind, Lane, Picture, Shape, Split

LEGEND = "══▶ channel   ┊ ┄▶ control"
# Blocks of Unicode whose letters take two columns: Hangul, CJK, full-width forms, emoji.
_WIDE = (
    (0x1100, 0x115F),
    (0x2E80, 0xA4CF),
    (0xAC00, 0xD7A3),
    (0xF900, 0xFAFF),
    (0xFE30, 0xFE6F),
    (0xFF00, 0xFF60),
    (0xFFE0, 0xFFE6),
    (0x1F300, 0x1FAFF),
    (0x20000, 0x3FFFD),
)
# Accents that are written over the letter before them, and the selectors of its form.
_NARROW = ((0x0300, 0x036F), (0xFE00, 0xFE0F))


def text(picture: Picture) -> str:
    """The drawing, without a newline at its end."""
    title = [picture.name, ""] if picture.name else []
    return "\n".join([*title, *_column(picture.items), "", LEGEND])


def columns(line: str) -> int:
    """How many columns of a terminal a line takes."""
    return sum(_columns_of(ord(letter)) for letter in line)


def _columns_of(code: int) -> int:
    if any(low <= code <= high for low, high in _NARROW):
        return 0
    return 2 if any(low <= code <= high for low, high in _WIDE) else 1


def _column(items: Sequence[Item]) -> list[str]:
    lines: list[str] = []
    leaving = ""
    for number, item in enumerate(items):
        if number:
            lines.append(f"┊ {leaving}".rstrip())
        lines += _drawn(item)
        leaving = "" if isinstance(item, Shape) else item.leaving
    return lines


def _drawn(item: Item) -> list[str]:
    if isinstance(item, Shape):
        return [_named(item)]
    return _box(item) if isinstance(item, Frame) else _split(item)


def _named(shape: Shape) -> str:
    name = shape.name if shape.kind in (Kind.NODE, Kind.FANOUT) else f"({shape.name})"
    return f"{name}  [{', '.join(shape.notes)}]" if shape.notes else name


def _split(split: Split) -> list[str]:
    lanes = [_lane(lane) for lane in split.lanes]
    return [line for number, lane in enumerate(lanes) for line in ([*["┊"][: bool(number)], *lane])]


def _lane(lane: Lane) -> list[str]:
    return _hung(f"├┄ {lane.label} ┄▶ ", "┊", _column(lane.items))


def _hung(head: str, below: str, lines: Sequence[str]) -> list[str]:
    """`lines` behind `head`, the later ones under the first; `below` goes on under the head's beginning."""
    first, *others = lines
    margin = below + " " * (columns(head) - columns(below))
    return [head + first, *(margin + line for line in others)]


# -- a section --------------------------------------------------------------------------------------------------------


def _box(frame: Frame) -> list[str]:
    title = ", ".join([frame.name, *frame.notes])
    fed = {arrow.target for arrow in frame.channels}
    inside = [line for shape in frame.shapes if shape.id not in fed for line in _tree(shape, frame)]
    width = max(columns(line) for line in [*inside, f"{title} "])
    top = f"┌─ {title} " + "─" * (width - columns(title) - 1) + "┐"
    body = [f"│ {line}{' ' * (width - columns(line))} │" for line in inside]
    return [top, *body, "└" + "─" * (width + 2) + "┘"]


def _tree(shape: Shape, frame: Frame) -> list[str]:
    """A shape, and below it whatever it feeds."""
    lines = [_named(shape)]
    fed = [arrow for arrow in frame.channels if arrow.source == shape.id]
    for number, arrow in enumerate(fed, start=1):
        corner, below = ("╠", "║") if number < len(fed) else ("╚", " ")
        lines += _hung(f"{corner}═ {arrow.label} ═▶ ", below, _tree(_target(arrow, frame), frame))
    return lines


def _target(arrow: Arrow, frame: Frame) -> Shape:
    return next(shape for shape in frame.shapes if shape.id == arrow.target)
