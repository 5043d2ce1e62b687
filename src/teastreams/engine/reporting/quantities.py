"""Sizes and times as short text for people, the same in every table and view.

Pure and fixed: at most three digits that count, binary units, so that a column of them is never wider than nine
characters. What nobody knows is "?", what was sampled instead of counted is marked with "~".
"""

from __future__ import annotations

from typing import Optional, Sequence

UNKNOWN = "?"
UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def size(count_bytes: Optional[float], counted: str = "") -> str:
    """A number of bytes, such as `1.50 MiB`; `counted` is the word of the figure it comes from."""
    if count_bytes is None or counted == "unknown":
        return UNKNOWN
    value, unit = float(count_bytes), 0
    while round(value) >= 1000 and unit < len(UNITS) - 1:
        value, unit = value / 1024, unit + 1
    digits = 0 if unit == 0 or value >= 100 else 1 if value >= 10 else 2
    return f"{'~' if counted == 'sampled' else ''}{value:.{digits}f} {UNITS[unit]}"


def duration(seconds: Optional[float]) -> str:
    """A time, such as `0.25 s`, `1:05` (minutes) or `2:00:00` (hours)."""
    if seconds is None:
        return UNKNOWN
    if seconds < 59.95:
        return f"{seconds:.1f} s" if seconds >= 10 else f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def count(number: Optional[int]) -> str:
    """A number of things, with spaces between thousands."""
    return UNKNOWN if number is None else f"{number:,}".replace(",", " ")


def table(rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> list[str]:
    """Rows of cells as lines of columns two spaces apart; all but the columns in `left` stand to the right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return [
        "  ".join(
            cell.ljust(width) if index in left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    ]
