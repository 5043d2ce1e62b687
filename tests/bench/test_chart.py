"""The picture of a curve, by arithmetic: where lines and names lie, and that no text lies on another."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from itertools import combinations
from pathlib import Path

import pytest
from test_shown import contrast

from teastreams.bench.figures import Comparison, Side

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import chart
import curve
import curves

SVG = "{http://www.w3.org/2000/svg}"
NAMES = ("teastreams", *curves.BROADCAST)
LETTER = 7.6
"""As wide as a letter of 13 px is on average in DejaVu Sans, which is a wide font."""


def comparison(*rates: float) -> Comparison:
    """Sides with these MB/s; 0 is one that is missing."""
    sides = [Side(name, (1000 / rate,)) if rate else Side(name, (), "none") for name, rate in zip(NAMES, rates)]
    return Comparison("x", "x", "MB/s", 1_000_000_000, tuple(sides))


def drawn(one: curve.Curve) -> ET.Element:
    return ET.fromstring(chart.as_svg(one))  # noqa: S314  our own text


CLOSE = curve.Curve(
    "close",
    "Everything <close> & together",
    "bytes in a write",
    curve.BYTES,
    tuple((size, comparison(11000, 10990, 10980, 0, 10970, 10.5)) for size in curves.SIZES),
)
READERS = curve.Curve(
    "readers", "Readers", "readers", "", tuple((place, comparison(900 / place, 20)) for place in curves.READERS)
)


def boxes(root: ET.Element) -> list[tuple[str, float, float, float, float]]:
    """Text, left, right, top and bottom of each."""
    found = []
    for text in root.iter(f"{SVG}text"):
        x, y, said = float(text.get("x", "")), float(text.get("y", "")), text.text or ""
        width = LETTER * len(said)
        left = x - {"end": width, "middle": width / 2}.get(text.get("text-anchor", ""), 0)
        found.append((said, left, left + width, y - 11, y + 3))
    return found


@pytest.mark.parametrize("one", [CLOSE, READERS])
def test_no_text_lies_on_another_or_outside(one: curve.Curve) -> None:
    """However close the ends of the lines are."""
    found = boxes(drawn(one))
    for (said, left, right, top, bottom), (other, left2, right2, top2, bottom2) in combinations(found, 2):
        assert right <= left2 or right2 <= left or bottom <= top2 or bottom2 <= top, (said, other)
    for said, left, right, top, bottom in found:
        assert left >= 0 <= top, said
        assert right <= chart.WIDTH, said
        assert bottom <= chart.HEIGHT, said


def test_what_is_shown_is_said_with_its_units() -> None:
    """Title, both axes, every place, and each line with its last figure; what was not measured has no line."""
    said = [text for text, *_box in boxes(drawn(CLOSE))]
    assert said[:3] == [CLOSE.title, "MB/s, logarithmic: more is better", "bytes in a write, logarithmic"]
    assert said[3:11] == ["64 B", "256 B", "1 KiB", "4 KiB", "16 KiB", "64 KiB", "256 KiB", "1 MiB"]
    assert said[11:15] == ["10", "100", "1000", "10000"]
    ours, theirs = ["teastreams, 11000", "teastreams, portable, 10990"], ["a pipe to each, 10980"]
    libraries = ["multiprocessing.Pipe, 10970", "multiprocessing.Queue, 10.5"]
    assert sorted(said[15:]) == sorted([*ours, *theirs, *libraries])


def test_lines_are_logarithmic() -> None:
    """Half as fast at twice as many readers is a straight line down."""
    lines = [line.get("points", "").split() for line in drawn(READERS).iter(f"{SVG}polyline")]
    ours = [tuple(map(float, point.split(","))) for point in lines[-1]]
    slopes = [(y2 - y) / (x2 - x) for (x, y), (x2, y2) in zip(ours, ours[1:])]
    assert slopes == pytest.approx([slopes[0]] * len(slopes), rel=0.02)
    assert (ours[0][0], ours[-1][0]) == (chart.LEFT, chart.RIGHT)
    assert all(chart.TOP <= y <= chart.BOTTOM for _x, y in ours)


@pytest.mark.parametrize(
    ("figures", "found", "shown"),
    [
        ([3.0, 8.0], (2, 10), [2, 5, 10]),
        ([1.0, 1.0], (1, 2), [1, 2]),
        ([0.007, 40.0], (0.005, 50), [0.01, 0.1, 1, 10]),
        ([0.07, 40.0], (0.05, 50), [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50]),
        ([100.0, 2000.0], (100, 2000), [100, 200, 500, 1000, 2000]),
    ],
)
def test_bounds_and_ticks(figures: list[float], found: tuple[float, float], shown: list[float]) -> None:
    """The next round numbers around the figures; over more than three decades only the powers of ten are written."""
    assert chart.bounds(figures) == pytest.approx(found)
    assert chart.ticks(*chart.bounds(figures)) == pytest.approx(shown)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ([], []),
        ([10, 50], [10, 50]),
        ([10, 11, 12], [10, 20, 30]),
        ([90, 95, 100], [80, 90, 100]),
        ([10, 95, 99], [10, 90, 100]),
    ],
)
def test_names_move_apart_within_the_picture(wanted: list[float], found: list[float]) -> None:
    """Down where there is room, else up; those that have room stay."""
    assert chart.apart(wanted, 10, 100) == found


def test_there_is_a_look_for_each_side() -> None:
    """All different."""
    assert len(set(zip(chart.COLOURS, chart.DASHES))) >= max(len(curves.BROADCAST), len(curves.DIRECT)) + 1


@pytest.mark.parametrize("background", ["#ffffff", "#0d1117"])
@pytest.mark.parametrize("colour", chart.COLOURS)
def test_lines_can_be_seen_on_light_and_on_dark(colour: str, background: str) -> None:
    """Shapes need a contrast of 3 (WCAG 2)."""
    assert contrast(colour, background) >= 3.0
