"""A curve: the same comparison at several places of an axis, such as sizes or numbers of readers; and its table.

Values in, values out: nothing is measured here, and `chart` draws. JSON keeps every time; figures are computed from
the times when they are shown, by what computes those of `teastreams bench`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Iterator, Mapping, Sequence

from teastreams.bench.figures import Comparison, Figure, as_dict, figures, from_dict

BYTES = "bytes"


@dataclass(frozen=True)
class Curve:
    """`points` are places on the axis, rising, each with its comparison; all have the same sides in the same order.

    `unit` is `BYTES` where the places are sizes, else "".
    """

    name: str
    title: str
    axis: str
    unit: str
    points: tuple[tuple[int, Comparison], ...]


def sides(curve: Curve) -> tuple[str, ...]:
    """The names of what is compared, ours first."""
    return tuple(side.name for side in curve.points[0][1].sides)


def rate_unit(curve: Curve) -> str:
    """The unit of every figure."""
    return curve.points[0][1].unit


def values(curve: Curve) -> dict[str, list[tuple[int, float]]]:
    """Name of a side -> place and median, wherever it was measured."""
    found: dict[str, list[tuple[int, float]]] = {name: [] for name in sides(curve)}
    for place, comparison in curve.points:
        for figure in figures(comparison):
            if figure.value is not None:
                found[figure.name].append((place, figure.value))
    return found


def place_text(place: int, unit: str) -> str:
    """`64 B`, `4 KiB`, `1 MiB`; a number of anything else as it is."""
    if unit != BYTES:
        return str(place)
    for factor, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if place % factor == 0 and place:
            return f"{place // factor} {name}"
    return f"{place} B"


def number_text(value: float) -> str:
    """Three digits that count; all before the point where there are more."""
    return f"{value:.0f}" if value >= 100 else f"{value:#.3g}".rstrip(".")


def as_markdown(curve: Curve) -> str:
    """A row for each place, a column for each side; behind other sides' figures how many times as fast ours is."""
    head = [curve.axis, *(f"{name}, {rate_unit(curve)}" for name in sides(curve))]
    rows = [head, ["---:"] * len(head)]
    rows.extend([place_text(place, curve.unit), *map(_cell, figures(each))] for place, each in curve.points)
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)


def _cell(figure: Figure) -> str:
    if figure.value is None:
        return "not measured"
    return number_text(figure.value) + ("" if figure.times is None else f" ({figure.times[0]:.2f})")


def absences(curve: Curve) -> tuple[str, ...]:
    """`name: why` of every side that was not measured somewhere, once each."""
    found = (side for _place, comparison in curve.points for side in comparison.sides)
    return tuple(dict.fromkeys(f"{side.name}: {side.absent}" for side in found if side.absent))


def curve_as_dict(curve: Curve) -> dict[str, Any]:
    """For JSON."""
    fields = {name: getattr(curve, name) for name in ("name", "title", "axis", "unit")}
    return {**fields, "points": [{"place": place, **as_dict(each)} for place, each in curve.points]}


def curve_from_dict(found: Mapping[str, Any]) -> Curve:
    """Back from JSON; KeyError for what is none of ours."""
    points = tuple((int(each["place"]), from_dict(each)) for each in found["points"])
    return Curve(found["name"], found["title"], found["axis"], found["unit"], points)


def curves_from(results: Mapping[str, Any]) -> Iterator[Curve]:
    """All curves of a file of results."""
    kept: Sequence[Mapping[str, Any]] = results["curves"]
    return map(curve_from_dict, kept)
