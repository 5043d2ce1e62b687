"""Signals to each victim at each of its calls, so in each phase of a run; storms of interrupts, and stops in disorder.

The processes signal themselves at their Nth call (see `plan`). With TEASTREAMS_FAULTS=all every signal goes to every
role of every topology, and once more from then on at every call: that is a second Ctrl-C, and all consumers at once.
"""

from __future__ import annotations

from typing import Callable

import harness
import pytest
from plan import SIGNALS
from test_sweep import ALL, HERE, ROLES, SCRIPT

Record = Callable[[str, object], None]
SOME = (
    "direct supervisor int",
    "direct supervisor int lasting",
    "direct supervisor term",
    "direct producer term",
    "direct consumer segv",
    "direct consumer pause",
    "broadcast2 consumer kill lasting",
    "broadcast2 fan-out pause",
    "grandchildren supervisor kill",
)


def signalled() -> list[str]:
    """What is swept, "topology role signal". A supervisor that is stopped for good has nobody to end it."""
    every = [
        f"{topology} {role} {name}{lasting}"
        for topology, roles in ROLES.items()
        for role in roles
        for name in SIGNALS
        for lasting in ("", " lasting")
        if (role, name) != ("supervisor", "stop") and not (lasting and name in ("stop", "pause"))
    ]
    return [*every, SOME[-1]] if ALL else list(SOME)


@pytest.mark.slow
@pytest.mark.parametrize("wanted", signalled())
def test_a_run_ends_as_it_should_whoever_is_signalled_whenever(wanted: str, record_property: Record) -> None:
    """Whoever paused goes on byte-exact, whoever was killed is named, and nothing outlives a host that was."""
    told = harness.run(SCRIPT, arguments=(wanted,), deadline_seconds=900).told

    record_property("attempts", told[wanted]["attempts"])
    assert not told[wanted]["wrong"], "\n".join(told[wanted]["wrong"])
    assert sum(told[wanted]["faulted"].values()) > 0


@pytest.mark.slow
def test_a_storm_of_interrupts_is_not_seen() -> None:
    """A timer interrupts the host, the producer and the consumers every millisecond; every byte arrives."""
    script = f"sys.path.insert(0, {HERE!r})\nimport swizzle\nswizzle.storm()"

    assert harness.run(script, deadline_seconds=120).told["runs"] == ["well"] * 10


@pytest.mark.slow
def test_stops_in_one_order_and_goes_in_another_lose_nothing() -> None:
    """All workers of a broadcast are stopped one by one while they work, and released in a different order."""
    script = f"sys.path.insert(0, {HERE!r})\nimport swizzle\nswizzle.swizzle(seed=7, runs=10)"

    told = harness.run(script, deadline_seconds=120).told

    assert told["wrong"] == []
    assert told["stops"] > 10
