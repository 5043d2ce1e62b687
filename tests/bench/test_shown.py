"""The table, its Markdown and the picture of given figures, to the last character."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from teastreams.bench import drawing
from teastreams.bench.drawing import as_svg
from teastreams.bench.figures import Comparison, Side
from teastreams.bench.table import as_lines, as_markdown

SVG = "{http://www.w3.org/2000/svg}"
BOTH = (
    Comparison(
        "broadcast-3",
        "broadcast to 3",
        "GB/s",
        1_000_000_000,
        (Side("teastreams", (0.5, 0.5)), Side("tee", (1.0, 2.0)), Side("<other> & co", absent="there is none")),
    ),
    Comparison("start", "start", "ms", 5, (Side("teastreams", (0.05,)), Side("a | b", (0.01,)))),
)


def drawn() -> ET.Element:
    return ET.fromstring(as_svg(BOTH))  # noqa: S314  our own text


def test_the_table() -> None:
    """Aligned, with the spread behind each ratio and the reason where there is no figure."""
    assert as_lines(BOTH).split("\n") == [
        "broadcast to 3",
        "  teastreams                         2.00 GB/s",
        "  tee                                0.67 GB/s   teastreams is 3.00 (2.00 to 4.00) times as fast",
        "  <other> & co                    not measured   there is none",
        "",
        "start (less is better)",
        "  teastreams                          10.00 ms",
        "  a | b                                2.00 ms   teastreams is 0.20 (0.20 to 0.20) times as fast",
    ]


def test_the_table_of_markdown() -> None:
    """What a row is about stands in the first row of it."""
    assert as_markdown(BOTH).split("\n") == [
        "| What | How | Median | teastreams is so many times as fast |",
        "|---|---|---:|---|",
        "| broadcast to 3 | teastreams | 2.00 GB/s |  |",
        "|  | tee | 0.67 GB/s | 3.00 (2.00 to 4.00) |",
        "|  | <other> & co | not measured | there is none |",
        "| start (less is better) | teastreams | 10.00 ms |  |",
        "|  | a \\| b | 2.00 ms | 0.20 (0.20 to 0.20) |",
    ]


def test_bars_are_as_long_as_the_figures_are_large() -> None:
    """The longest of each group is full, whatever its unit; what was not measured has no length."""
    root = drawn()
    lengths = [int(bar.get("width", "")) for bar in root.iter(f"{SVG}rect")]
    full = drawing.BARS
    assert lengths == [full, round(full / 3), 0, full, round(full / 5)]
    colours = [bar.get("fill") for bar in root.iter(f"{SVG}rect")]
    assert colours == [drawing.OURS, drawing.OTHERS, drawing.OTHERS, drawing.OURS, drawing.OTHERS]


def test_every_bar_has_its_name_and_its_figure_as_text() -> None:
    """What is XML in a name is escaped."""
    root = drawn()
    assert [text.text for text in root.iter(f"{SVG}text")] == [
        "broadcast to 3",
        *("teastreams", "2.00 GB/s"),
        *("tee", "0.67 GB/s, teastreams 3.00 times as fast"),
        *("<other> & co", "not measured"),
        "start (less is better)",
        *("teastreams", "10.00 ms"),
        *("a | b", "2.00 ms, teastreams 0.20 times as fast"),
    ]


def test_nothing_lies_outside_the_picture() -> None:
    """Nor on what stands in another line."""
    root = drawn()
    height = int(root.get("height", ""))
    tops = [int(bar.get("y", "")) for bar in root.iter(f"{SVG}rect")]
    assert all(later - earlier >= drawing.BAR for earlier, later in zip(tops, tops[1:]))
    assert max(tops) + drawing.BAR <= height
    texts = [text for text in root.iter(f"{SVG}text") if not text.get("text-anchor")]
    assert max(float(text.get("x", "")) + 8 * len(text.text or "") for text in texts) <= drawing.WIDTH
    assert root.get("viewBox") == f"0 0 {drawing.WIDTH} {height}"


def contrast(one: str, other: str) -> float:
    """As the guidelines for accessible documents (WCAG 2) define it."""
    light = sorted(map(luminance, (one, other)))
    return (light[1] + 0.05) / (light[0] + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("background", ["#ffffff", "#0d1117", "#000000"])
def test_colours_can_be_read_on_light_and_on_dark(background: str) -> None:
    """Shapes need a contrast of 3, text one of 4 here: no colour has 4.5 to white and to dark grey at once."""
    assert contrast(drawing.TEXT, background) >= 4.0
    assert contrast(drawing.OURS, background) >= 3.0
    assert contrast(drawing.OTHERS, background) >= 3.0
