"""Figures -> SVG: one group of horizontal bars for each comparison, as long as the figures are large within the group.

Only shapes and text, no script and nothing from outside; the background is left as it is, and every colour is a
middle tone that can be read on white and on black. Whoever cannot see the bars has their figures as text.
"""

from __future__ import annotations

from typing import Iterator, Sequence
from xml.sax.saxutils import escape

from teastreams.bench.figures import Comparison, Figure, figures
from teastreams.bench.table import head, value

TEXT, OURS, OTHERS = "#78787f", "#2f81c7", "#8f8f98"
WIDTH, NAMES, BARS = 820, 170, 310
LINE, GAP, BAR = 22, 18, 14
STYLE = f"text {{ font: 13px sans-serif; fill: {TEXT}; }} .head {{ font-weight: bold; }}"


def as_svg(comparisons: Sequence[Comparison], title: str = "teastreams bench") -> str:
    """The whole picture, with a newline at its end. Its title is for whoever does not see it."""
    shapes: list[str] = []
    top = 0
    for comparison in comparisons:
        shapes.append(f'<text class="head" x="0" y="{top + BAR}">{escape(head(comparison))}</text>')
        top += LINE
        shapes.extend(_bars(comparison, top))
        top += LINE * len(comparison.sides) + GAP
    size = f'viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}"'
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
    return "\n".join([opening, f"<title>{escape(title)}</title>", f"<style>{STYLE}</style>", *shapes, "</svg>", ""])


def _bars(comparison: Comparison, top: int) -> Iterator[str]:
    shown = figures(comparison)
    longest = max((figure.value or 0.0 for figure in shown), default=0.0)
    for number, figure in enumerate(shown):
        yield from _bar(figure, _label(comparison, figure), top + LINE * number, longest, OTHERS if number else OURS)


def _bar(figure: Figure, label: str, top: int, longest: float, colour: str) -> Iterator[str]:
    length = round((figure.value or 0.0) / longest * BARS) if longest else 0
    base = top + BAR - 2
    yield f'<text x="{NAMES - 8}" y="{base}" text-anchor="end">{escape(figure.name)}</text>'
    yield f'<rect x="{NAMES}" y="{top}" width="{length}" height="{BAR}" rx="2" fill="{colour}"/>'
    yield f'<text x="{NAMES + length + 8}" y="{base}">{escape(label)}</text>'


def _label(comparison: Comparison, figure: Figure) -> str:
    if figure.times is None:
        return value(comparison, figure)
    return f"{value(comparison, figure)}, teastreams {figure.times[0]:.2f} times as fast"
