"""Times -> figures: medians, rates and ratios. Values in, values out; nothing is measured and nothing is shown here.

A comparison has several sides that did the same work in the same rounds. The first side is ours. A ratio is that of
one round at a time, then the median of those: a machine that is slow for a while slows both, and the ratio stays.
"""

from __future__ import annotations

from statistics import median
from typing import Any, Callable, Mapping, Optional, Sequence

from teastreams.values import dataclass

RATES: dict[str, Callable[[float, float], float]] = {
    "GB/s": lambda amount, seconds: amount / seconds / 1e9,
    "MB/s": lambda amount, seconds: amount / seconds / 1e6,
    "ms": lambda amount, seconds: 1e3 * seconds / amount,
    "us": lambda amount, seconds: 1e6 * seconds / amount,
}
"""Unit -> what it makes of an amount (bytes, or runs) and the seconds it took."""


@dataclass(frozen=True)
class Side:
    """One way to do it: the seconds of each round, or why there are none."""

    name: str
    seconds: tuple[float, ...] = ()
    absent: str = ""


@dataclass(frozen=True)
class Comparison:
    """The same `amount` of work (bytes, or runs for a time) by several sides; the first is ours."""

    name: str
    title: str
    unit: str
    amount: int
    sides: tuple[Side, ...]


@dataclass(frozen=True)
class Figure:
    """What is shown of a side: its median in the unit, and how many times as fast ours is (median, lowest, highest).

    Both are None for a side that was not measured; `times` is None for ours, too.
    """

    name: str
    value: Optional[float]
    times: Optional[tuple[float, float, float]]
    absent: str = ""


def figures(comparison: Comparison) -> tuple[Figure, ...]:
    """One for each side, in their order."""
    ours = comparison.sides[0].seconds
    return tuple(_figure(comparison, side, ours) for side in comparison.sides)


def _figure(comparison: Comparison, side: Side, ours: Sequence[float]) -> Figure:
    if not side.seconds:
        return Figure(side.name, None, None, side.absent)
    value = RATES[comparison.unit](comparison.amount, median(side.seconds))
    return Figure(side.name, value, None if side is comparison.sides[0] else times(ours, side.seconds))


def times(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """How many times as fast ours is, round by round: the median, the lowest, the highest."""
    ratios = [their / our for our, their in zip(ours, theirs)]
    return median(ratios), min(ratios), max(ratios)


def less_is_better(unit: str) -> bool:
    """Of a time; of a rate, more is."""
    return unit in {"ms", "us"}


def as_dict(comparison: Comparison) -> dict[str, Any]:
    """For JSON: the times, and the figures that follow from them."""
    sides = [
        {
            "name": side.name,
            "seconds": list(side.seconds),
            "absent": side.absent,
            "median": figure.value,
            "times": None if figure.times is None else list(figure.times),
        }
        for side, figure in zip(comparison.sides, figures(comparison))
    ]
    fields = {name: getattr(comparison, name) for name in ("name", "title", "unit", "amount")}
    return {**fields, "sides": sides}


def from_dict(found: Mapping[str, Any]) -> Comparison:
    """Back from JSON; only the times count, the figures are computed again. KeyError for what is none of ours."""
    sides = tuple(Side(each["name"], tuple(each["seconds"]), each["absent"]) for each in found["sides"])
    return Comparison(found["name"], found["title"], found["unit"], found["amount"], sides)
