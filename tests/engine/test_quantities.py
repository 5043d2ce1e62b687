"""engine/reporting/quantities.py: sizes, times and tables as short text."""

from __future__ import annotations

import pytest

from teastreams.engine.reporting.quantities import count, duration, size, table


@pytest.mark.parametrize(
    ("count_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (999.6, "0.98 KiB"),
        (1000, "0.98 KiB"),
        (1536, "1.50 KiB"),
        (10240, "10.0 KiB"),
        (1023487, "999 KiB"),
        (1 << 20, "1.00 MiB"),
        (40 << 30, "40.0 GiB"),
        (1 << 70, "1024 EiB"),
        (None, "?"),
    ],
)
def test_a_size_has_three_digits_that_count(count_bytes: float, text: str) -> None:
    assert size(count_bytes) == text


def test_a_size_says_how_it_is_known() -> None:
    """Sampled ones are marked, unknown ones are not shown as a number."""
    assert (size(2048, "sampled"), size(2048, "unknown"), size(2048, "node")) == ("~2.00 KiB", "?", "2.00 KiB")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.00 s"),
        (9.994, "9.99 s"),
        (10.04, "10.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1:00"),
        (65, "1:05"),
        (3599.6, "1:00:00"),
        (7325, "2:02:05"),
        (None, "?"),
    ],
)
def test_a_time_grows_into_minutes_and_hours(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_count_is_grouped_or_unknown() -> None:
    assert (count(1234567), count(12), count(None)) == ("1 234 567", "12", "?")


def test_a_table_has_columns() -> None:
    """Names to the left, figures to the right, no blanks at the ends of lines."""
    assert table([("a", "b", "c"), ("long", "1", ""), ("x", "22", "333")], left=(0,)) == [
        "a      b    c",
        "long   1",
        "x     22  333",
    ]
