"""The rule of rate limits, with a clock that the test holds in its hand."""

from __future__ import annotations

import random

import pytest

from teastreams.core.limits import RateLimit, next_place


def starts(interval: float, burst: int, asked: list[float]) -> list[float]:
    """When calls may start that ask at these times."""
    due, found = 0.0, []
    for now in asked:
        wait_seconds, due = next_place(interval, burst, due, now)
        found.append(now + wait_seconds)
    return found


def test_calls_at_once_start_at_even_distances() -> None:
    """The first at once, each other one an interval later, in the order of asking."""
    assert starts(2.0, 1, [10.0] * 4) == [10.0, 12.0, 14.0, 16.0]


def test_calls_that_come_slower_than_the_rate_never_wait() -> None:
    assert starts(2.0, 1, [10.0, 12.0, 15.0]) == [10.0, 12.0, 15.0]


def test_a_burst_starts_at_once_and_is_paid_back() -> None:
    """Three at once; the fourth waits; after a pause of two intervals two may start at once again."""
    assert starts(1.0, 3, [10.0] * 5) == [10.0, 10.0, 10.0, 11.0, 12.0]
    assert starts(1.0, 2, [10.0, 10.0, 13.0, 13.0, 13.0]) == [10.0, 10.0, 13.0, 13.0, 14.0]


@pytest.mark.parametrize("burst", [1, 2, 5])
def test_no_span_of_time_has_more_than_the_burst_above_the_rate(burst: int) -> None:
    """Whatever the times of asking."""
    dice = random.Random(burst)
    asked = sorted(dice.uniform(0, 60) for _ in range(200))
    begun = starts(0.5, burst, asked)
    assert begun == sorted(begun)
    for first, start in enumerate(begun):
        for last in range(first, len(begun)):
            assert last - first + 1 <= burst + (begun[last] - start) / 0.5 + 1e-6


def test_rates_per_minute_and_per_second() -> None:
    assert RateLimit(rpm=60).interval_seconds == RateLimit(rps=1).interval_seconds == 1.0
    assert RateLimit(rps=4).interval_seconds == 0.25


@pytest.mark.parametrize(
    "limit",
    [RateLimit(), RateLimit(rpm=1, rps=1), RateLimit(rpm=0), RateLimit(rps=-1), RateLimit(rpm=1, burst=0)],
    ids=str,
)
def test_what_is_no_rate_is_refused(limit: RateLimit) -> None:
    assert not limit.sound
    with pytest.raises(ValueError, match="give one of `rpm` and `rps`"):
        _ = limit.interval_seconds
