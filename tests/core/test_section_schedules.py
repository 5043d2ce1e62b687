"""Facts about whole sections in the simulator `section_schedules`: nothing wrong happens, and they end."""

from __future__ import annotations

from contextlib import suppress

import pytest
import section_schedules

AT_ONCE = 250


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 4000, AT_ONCE))
def test_random_sections_end_and_keep_their_laws(first: int) -> None:
    """No state in which nobody can step while somebody lives; every byte, verdict and blame as it should be."""
    for seed in range(first, first + AT_ONCE):
        section_schedules.simulate(seed)


def test_seeds_that_ever_failed_do_not_fail_again() -> None:
    """Kept for ever; the first seed stands for those that are still to come."""
    for seed in [0, *section_schedules.known_seeds()]:
        section_schedules.simulate(seed)


def stories(count: int, **broken: bool) -> list[int]:
    """The seeds, of that many, in which the checker sees the law that is broken on purpose."""
    found = []
    for seed in range(count):
        with suppress(AssertionError):
            section_schedules.simulate(seed, **broken)
            continue
        found.append(seed)
    return found


def test_a_verdict_that_comes_too_early_is_seen() -> None:
    """A reader that is told before everything above it has settled does not go unnoticed."""
    assert stories(60, early_verdicts=True)


def test_a_deadlock_is_seen() -> None:
    """A fan-out that never closes what it has served leaves a state in which nobody can step."""
    with pytest.raises(AssertionError, match="nobody can step"):
        section_schedules.simulate(stories(60, never_closes=True)[0], never_closes=True)
