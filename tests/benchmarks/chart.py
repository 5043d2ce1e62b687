"""Curves -> SVG: lines over two logarithmic axes, for what spans decades on both.

Like the bars of `teastreams bench`: only shapes and text, no background, colours that can be read on white and black.
Lines differ in colour, in dashes and in the order of their names, which stand at their ends, moved apart where
ends lie close. `tests/bench/test_chart.py` computes that no text lies on another.
"""

from __future__ import annotations

import math
from typing import Iterator, Sequence
from xml.sax.saxutils import escape

from curve import Curve, number_text, place_text, rate_unit, values

from teastreams.bench.drawing import OURS, TEXT

Point = tuple[float, float]
COLOURS = (OURS, "#c8651b", "#3a8f4d", "#9a62c4", "#cf4a5a", "#8f8f98")
DASHES = ("", "7 3", "2 3", "9 3 2 3", "5 2", "1 2")
WIDTH, HEIGHT = 820, 400
LEFT, RIGHT, TOP, BOTTOM = 62, 590, 52, 340
NAME_GAP = 17
STYLE = (
    f"text {{ font: 13px sans-serif; fill: {TEXT}; }} .head {{ font-weight: bold; }} "
    f".grid {{ stroke: {TEXT}; stroke-opacity: 0.25; }} .line {{ fill: none; stroke-width: 2; }}"
)


def as_svg(curve: Curve) -> str:
    """The whole picture, with a newline at its end."""
    shapes = [*_heads(curve), *_columns(curve), *_rows(curve), *_lines(curve)]
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
    title = f"<title>{escape(curve.title)}</title>"
    return "\n".join([opening, title, f"<style>{STYLE}</style>", *shapes, "</svg>", ""])


# -- where things lie -------------------------------------------------------------------------------------------------


def bounds(figures: Sequence[float]) -> tuple[float, float]:
    """The nearest of 1, 2, 5, 10, 20, 50 ... around all of them; never the same twice."""
    steps = [digit * 10.0**power for power in range(-6, 13) for digit in (1, 2, 5)]
    lowest = max(each for each in steps if each <= min(figures))
    return lowest, min(each for each in steps if each >= max(figures) and each > lowest)


def ticks(lowest: float, highest: float) -> list[float]:
    """1, 2, 5, 10 ... from one bound to the other; over more than three decades the powers of ten alone."""
    digits = (1,) if highest / lowest > 1001 else (1, 2, 5)
    powers = range(math.floor(math.log10(lowest)), math.ceil(math.log10(highest)) + 1)
    found = [digit * 10.0**power for power in powers for digit in digits]
    return [each for each in found if lowest <= each <= highest]


def along(value: float, lowest: float, highest: float, begin: float, end: float) -> float:
    """Where a value lies between `begin` and `end`, by its logarithm."""
    if lowest == highest:
        return (begin + end) / 2
    return round(begin + (end - begin) * math.log(value / lowest) / math.log(highest / lowest), 1)


def apart(wanted: Sequence[float], gap: float, last: float) -> list[float]:
    """Rising places, each as near to what it wants as `gap` allows, none beyond `last`."""
    places: list[float] = []
    for each in wanted:
        places.append(max(each, places[-1] + gap) if places else each)
    for number in reversed(range(len(places))):
        places[number] = min(places[number], last)
        last = places[number] - gap
    return places


def column(curve: Curve, place: int) -> float:
    return along(place, curve.points[0][0], curve.points[-1][0], LEFT, RIGHT)


def row(curve: Curve, value: float) -> float:
    lowest, highest = bounds([figure for line in values(curve).values() for _place, figure in line])
    return along(value, lowest, highest, BOTTOM, TOP)


# -- shapes -----------------------------------------------------------------------------------------------------------


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}"{more}>{escape(text)}</text>'


def _heads(curve: Curve) -> Iterator[str]:
    yield _text(0, 14, curve.title, ' class="head"')
    yield _text(0, 36, f"{rate_unit(curve)}, logarithmic: more is better")
    yield _text((LEFT + RIGHT) / 2, HEIGHT - 12, f"{curve.axis}, logarithmic", ' text-anchor="middle"')


def _columns(curve: Curve) -> Iterator[str]:
    for place, _comparison in curve.points:
        x = column(curve, place)
        yield f'<path class="grid" d="M{x:g} {TOP}V{BOTTOM}"/>'
        yield _text(x, BOTTOM + 20, place_text(place, curve.unit), ' text-anchor="middle"')


def _rows(curve: Curve) -> Iterator[str]:
    for tick in ticks(*bounds([figure for line in values(curve).values() for _place, figure in line])):
        y = row(curve, tick)
        yield f'<path class="grid" d="M{LEFT} {y:g}H{RIGHT}"/>'
        yield _text(LEFT - 8, y + 4, f"{tick:g}", ' text-anchor="end"')


def _lines(curve: Curve) -> Iterator[str]:
    drawn = {name: [(column(curve, at), row(curve, each)) for at, each in line] for name, line in values(curve).items()}
    names = sorted((line[-1][1], name) for name, line in drawn.items() if line)
    places = apart([y for y, _name in names], NAME_GAP, BOTTOM)
    heights = {name: place for (_y, name), place in zip(names, places)}
    looks = zip(COLOURS, DASHES)
    for (name, line), (colour, dash) in reversed(list(zip(drawn.items(), looks))):  # ours lies on top
        if line:
            figure = number_text(values(curve)[name][-1][1])
            yield from _line(line, colour, dash)
            yield from _name(line[-1], heights[name], f"{name}, {figure}", colour)


def _line(line: Sequence[Point], colour: str, dash: str) -> Iterator[str]:
    points = " ".join(f"{x:g},{y:g}" for x, y in line)
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    yield f'<polyline class="line" stroke="{colour}"{dashes} points="{points}"/>'
    for x, y in line:
        yield f'<circle cx="{x:g}" cy="{y:g}" r="3" fill="{colour}"/>'


def _name(end: Point, height: float, text: str, colour: str) -> Iterator[str]:
    way = f"M{end[0] + 4:g} {end[1]:g}L{RIGHT + 18} {height:g}"
    yield f'<path class="line" stroke="{colour}" stroke-opacity="0.5" d="{way}"/>'
    yield _text(RIGHT + 22, height + 4, text)
