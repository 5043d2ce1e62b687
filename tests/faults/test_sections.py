"""Random real sections end, and end right: see `sections`.

A commit runs sixty of them, with TEASTREAMS_FAULTS=all four thousand. A seed that ever failed stays in `KNOWN`.
"""

from __future__ import annotations

import os

import harness
import pytest

HERE = os.path.dirname(__file__)
SCRIPT = f"sys.path.insert(0, {HERE!r})\nimport sections\nsections.main(sys.argv[1:])"
ALL = os.environ.get("TEASTREAMS_FAULTS") == "all"
COUNT, AT_ONCE = (4000, 100) if ALL else (60, 15)
KNOWN: tuple[int, ...] = ()


RANGES = [(first, first + AT_ONCE) for first in range(0, COUNT, AT_ONCE)] + [(seed, seed + 1) for seed in KNOWN]


@pytest.mark.slow
@pytest.mark.parametrize(("first", "end"), RANGES)
def test_random_sections_end_and_every_reader_has_what_it_should(first: int, end: int) -> None:
    """Byte-exact or failed with the culprit named, no one waits for ever, nothing is left, a second run succeeds."""
    told = harness.run(SCRIPT, arguments=(str(first), str(end)), deadline_seconds=1200).told

    assert not told["wrong"], "\n\n".join(told["wrong"])
    assert told["attempts"] == end - first
