"""Figures -> text: aligned lines for a terminal, and the same as a table of Markdown.

The last column says how many times as fast teastreams is as that line, with the lowest and the highest round behind
it. Under one it is slower. Nothing is computed here.
"""

from __future__ import annotations

from typing import Sequence

from teastreams.bench.figures import Comparison, Figure, figures, less_is_better

NAME_COLUMNS, VALUE_COLUMNS = 30, 10


def as_lines(comparisons: Sequence[Comparison]) -> str:
    """For a terminal: a title, then a line for each side."""
    return "\n\n".join("\n".join([head(each), *(_line(each, one) for one in figures(each))]) for each in comparisons)


def as_markdown(comparisons: Sequence[Comparison]) -> str:
    """One table of everything; what stands in the first column holds for the rows below it, too."""
    lines = ["| What | How | Median | teastreams is so many times as fast |", "|---|---|---:|---|"]
    for comparison in comparisons:
        for number, figure in enumerate(figures(comparison)):
            first = "" if number else head(comparison)
            cells = (first, figure.name, value(comparison, figure), ratio(figure))
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def head(comparison: Comparison) -> str:
    """The title, and how to read its figures where it is not plain."""
    return comparison.title + (" (less is better)" if less_is_better(comparison.unit) else "")


def value(comparison: Comparison, figure: Figure) -> str:
    """The median with its unit, or that there is none."""
    return "not measured" if figure.value is None else f"{figure.value:.2f} {comparison.unit}"


def ratio(figure: Figure) -> str:
    """`1.50 (1.40 to 1.61)`, or why there is none; nothing for ours."""
    if figure.times is None:
        return figure.absent
    middle, lowest, highest = figure.times
    return f"{middle:.2f} ({lowest:.2f} to {highest:.2f})"


def _line(comparison: Comparison, figure: Figure) -> str:
    head = f"  {figure.name:<{NAME_COLUMNS}}{value(comparison, figure):>{VALUE_COLUMNS + 4}}"
    if figure.times is not None:
        return f"{head}   teastreams is {ratio(figure)} times as fast"
    return f"{head}   {figure.absent}".rstrip()
