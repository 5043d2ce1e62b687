"""What the view shows, as a value: the last `Progress` and the rates that follow from those before it.

Pure: events in, snapshots out. Rates are means over the last two seconds; a channel of which less than that is known
has the mean over what is known, one with a single look has none.
"""

from __future__ import annotations

from collections import deque
from dataclasses import field
from typing import Mapping

from teastreams.core.events import Progress
from teastreams.values import dataclass

RATE_SECONDS = 2.0
Key = tuple[str, str]
"""A channel and one of its readers; "" for what was written into it."""


@dataclass(frozen=True)
class Snapshot:
    """One look at a section: where it is, and how fast each channel and reader moves, in bytes per second."""

    progress: Progress
    rates: Mapping[Key, float] = field(default_factory=dict)


class Board:
    """Remembers the last looks at one section, for their rates."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, Mapping[Key, int]]] = deque()

    def look(self, progress: Progress) -> Snapshot:
        """Take one more look. A look that is earlier than the last one belongs to another section."""
        now = (progress.seconds, moved(progress))
        if self._looks and progress.seconds <= self._looks[-1][0]:
            self._looks.clear()
        while len(self._looks) > 1 and self._looks[1][0] <= progress.seconds - RATE_SECONDS:
            self._looks.popleft()
        rates = _rates(self._looks[0], now) if self._looks else {}
        self._looks.append(now)
        return Snapshot(progress, rates)


def moved(progress: Progress) -> dict[Key, int]:
    """The bytes of every channel and of every reader."""
    found: dict[Key, int] = {}
    for channel in progress.channels:
        found[channel.channel, ""] = channel.bytes
        for consumer in channel.consumers:
            found[channel.channel, consumer.node or "(outside)"] = consumer.bytes
    return found


def _rates(before: tuple[float, Mapping[Key, int]], now: tuple[float, Mapping[Key, int]]) -> dict[Key, float]:
    seconds = now[0] - before[0]
    return {key: max(0, count - before[1].get(key, 0)) / seconds for key, count in now[1].items()}
