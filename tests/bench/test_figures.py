"""Medians, rates and ratios of given times, to the last digit."""

from __future__ import annotations

import json

import pytest

from teastreams.bench.figures import RATES, Comparison, Figure, Side, as_dict, figures, from_dict, less_is_better, times

GB = 1_000_000_000
DIRECT = Comparison(
    "direct",
    "direct channel",
    "GB/s",
    4 * GB,
    (Side("teastreams", (2.0, 4.0, 1.0)), Side("pipe", (1.0, 4.0, 2.0)), Side("tee", absent="there is none")),
)


def test_a_figure_is_the_median_in_the_unit_and_the_ratios_of_the_rounds() -> None:
    """Ours has no ratio to itself; a side that is absent has its reason instead of figures."""
    assert figures(DIRECT) == (
        Figure("teastreams", 2.0, None),
        Figure("pipe", 2.0, (1.0, 0.5, 2.0)),
        Figure("tee", None, None, "there is none"),
    )


def test_a_ratio_is_of_rounds_and_not_of_medians() -> None:
    """A slow while of the machine changes no ratio, though it changes the medians."""
    ours, theirs = (1.0, 10.0, 1.0, 1.0, 30.0), (2.0, 20.0, 2.0, 20.0, 60.0)
    assert times(ours, theirs) == (2.0, 2.0, 20.0)


@pytest.mark.parametrize(
    ("unit", "amount", "seconds", "value"),
    [("GB/s", GB, 2.0, 0.5), ("MB/s", GB, 2.0, 500.0), ("ms", 5, 2.0, 400.0), ("us", 4, 0.5, 125_000.0)],
)
def test_units(unit: str, amount: int, seconds: float, value: float) -> None:
    """A GB has a thousand MB; milliseconds are those of one run of several, and less of them is better."""
    assert RATES[unit](amount, seconds) == value
    assert less_is_better(unit) == (unit in {"ms", "us"})


def test_figures_come_back_from_json() -> None:
    """The times, and with them everything that follows."""
    told = json.loads(json.dumps(as_dict(DIRECT)))
    assert from_dict(told) == DIRECT
    assert told["sides"][1] == {
        "name": "pipe",
        "seconds": [1.0, 4.0, 2.0],
        "absent": "",
        "median": 2.0,
        "times": [1.0, 0.5, 2.0],
    }
