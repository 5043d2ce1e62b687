"""What a drawing shows, before anybody knows how it is drawn.

One value for every format: the shapes in the order of control, the frames round the stream sections, the splits of
plain fan-outs, and two kinds of arrows, control and channels. Names are made printable here; each format escapes them
once more, by its own rules. An `id` is ours, short and safe everywhere; no format needs to make one from a name.
"""

from __future__ import annotations

from enum import Enum
from typing import Iterable, Iterator, Union

from teastreams.values import dataclass


class Kind(Enum):
    """What a shape stands for."""

    START = "start"
    END = "end"
    NODE = "node"
    FANOUT = "fan-out"


@dataclass(frozen=True)
class Shape:
    """One node, the beginning, the end, or the fan-out worker of a channel. `notes` are short remarks on it."""

    id: str
    name: str
    kind: Kind = Kind.NODE
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Arrow:
    """From the shape with the id `source` to the one with the id `target`."""

    source: str
    target: str
    label: str = ""


@dataclass(frozen=True)
class Frame:
    """A stream section: its shapes in the order of the stream, and the channels between them.

    `leaving` is written on the way control takes out of it.
    """

    id: str
    notes: tuple[str, ...]
    shapes: tuple[Shape, ...]
    channels: tuple[Arrow, ...]
    leaving: str = ""
    name: str = "stream section"


@dataclass(frozen=True)
class Lane:
    """One branch of a split: how it is entered, and what stands in it."""

    label: str
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Split:
    """Branches side by side, after the item before it; `leaving` is written where they join."""

    lanes: tuple[Lane, ...]
    leaving: str = ""


Item = Union[Shape, Frame, Split]


@dataclass(frozen=True)
class Picture:
    """A whole workflow: `items` from start to end, and the arrows of control between any of its shapes."""

    name: str
    items: tuple[Item, ...]
    control: tuple[Arrow, ...]


def laid_flat(items: Iterable[Item]) -> Iterator[Union[Shape, Frame]]:
    """The shapes and frames of `items`, those in branches included."""
    for item in items:
        if isinstance(item, Split):
            for lane in item.lanes:
                yield from laid_flat(lane.items)
        else:
            yield item
