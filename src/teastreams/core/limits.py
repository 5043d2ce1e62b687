"""Rate limits as a pure rule: when may the next call start? The clock is passed in.

This is the generic cell rate algorithm with reservation: one number per limiter says from when on it is due again. Who
asks is given a place at once and told how long to wait for it, so that places are taken in the order of asking and
nobody has to ask twice. Nothing here sleeps.
"""

from __future__ import annotations

from typing import NamedTuple, Optional

from teastreams.values import dataclass


@dataclass(frozen=True)
class RateLimit:
    """How often something may be done: `rpm` times a minute or `rps` times a second, one of the two.

    Calls start at even distances. After a pause, up to `burst` of them may start at once; in any span of time there are
    at most `burst` more than the rate allows for it.
    """

    rpm: Optional[float] = None
    rps: Optional[float] = None
    burst: int = 1

    @property
    def interval_seconds(self) -> float:
        """The distance between two calls. ValueError when neither rate, or both, or none above 0 is given."""
        if not self.sound:
            raise ValueError(f"{self} is no rate; give one of `rpm` and `rps`, above 0, and a `burst` from 1 on")
        return 60 / self.rpm if self.rpm is not None else 1 / (self.rps or 1)

    @property
    def sound(self) -> bool:
        """Is there one rate above 0, and a burst from 1 on?"""
        rates = [rate for rate in (self.rpm, self.rps) if rate is not None]
        return len(rates) == 1 and 0 < rates[0] < float("inf") and self.burst >= 1


class Place(NamedTuple):
    """A call's place in the row: how long to wait for it, and when the limiter is due again after it."""

    wait_seconds: float
    due: float


def next_place(interval_seconds: float, burst: float, due: float, now: float) -> Place:
    """The place of a call that asks at `now`, where the limiter was due at `due` (both on one monotonic clock)."""
    start = due - (burst - 1) * interval_seconds
    return Place(max(0.0, start - now), max(due, now) + interval_seconds)
