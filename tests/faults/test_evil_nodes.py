"""Every evil node of the catalogue, as producer and as consumer: the run ends in time, names it, and leaves nothing.

The attempts of one theme and role share a warm interpreter (`evil.driver`), which forks a host for each. A commit tries
each node in both roles, its neighbours joined directly or by a broadcast in turn; with TEASTREAMS_FAULTS=all both ways
are tried, and the heavy nodes, too.
"""

from __future__ import annotations

import os
from typing import Any, Iterator

import harness
import pytest
from evil import driver
from evil.catalogue import BOUNDED, CASES, STREAM, WELL, Case, failed

ALL = os.environ.get("TEASTREAMS_FAULTS") == "all"
SCRIPT = f"sys.path.insert(0, {os.path.dirname(__file__)!r})\nfrom evil import driver\ndriver.main(sys.argv[1:])"


def attempts(theme: str, role: str) -> Iterator[str]:
    """What is tried: "name role shape"."""
    wanted = [case for case in CASES.values() if case.deed.__module__ == f"evil.{theme}" and role in case.roles]
    for index, case in enumerate(wanted):
        if case.possible() and (ALL or not case.heavy):
            shapes = driver.SHAPES if ALL else (driver.SHAPES[(index + (role == "producer")) % 2],)
            yield from (f"{case.name} {role} {shape}" for shape in shapes)


@pytest.mark.slow
@pytest.mark.parametrize("role", ["producer", "consumer"])
@pytest.mark.parametrize("theme", [module.__name__.split(".")[1] for module in driver.THEMES])
def test_nodes_that_misbehave_hurt_nobody_else(theme: str, role: str) -> None:
    """Bounded time, the cause by name and phase, others' bytes exact, nothing left, and an ordinary run afterwards."""
    wanted = list(attempts(theme, role))

    told = harness.run(SCRIPT, arguments=tuple(wanted), deadline_seconds=600 if ALL else 120).told

    assert sorted(told) == sorted(wanted)
    wrong = {attempt: told[attempt]["violations"] for attempt in wanted if told[attempt]["violations"]}
    assert not wrong, "\n".join(f"{attempt}: {each}" for attempt, found in wrong.items() for each in found)


def test_the_catalogue_holds_more_than_sixty_named_nodes() -> None:
    assert len(CASES) >= 60
    assert sum(len(case.roles) for case in CASES.values()) >= 120


def seen(**changes: Any) -> dict[str, Any]:
    """What a host writes down of a run that ended well."""
    return {"untouched": [], "how": "well", "keys": ["evil"], "seconds": 0.1, "second": 9, **changes}


def seen_to_fail(**changes: Any) -> dict[str, Any]:
    """What a host writes down of a run that failed as it should."""
    ended = {"how": "failed", "cause": "evil", "phase": "run", "message": "boom", "others": {}, "keys": []}
    return seen(**{**ended, "text_bytes": 100, **changes})


READ = {"reader": "told", "ended": "end of file", "read": len(STREAM), "digest": "d", "prefix": True}
SENT = {"sent": len(STREAM), "digest": "d"}


def case(end: Any, **options: Any) -> Case:
    return Case("case", lambda state: None, {"producer": end, "consumer": end}, **options)


@pytest.mark.parametrize(
    ("end", "role", "saw", "notes", "found"),
    [
        (WELL, "producer", seen(), [SENT, READ], ""),
        (failed("run", "boom"), "producer", seen_to_fail(), [], ""),
        (BOUNDED, "producer", seen_to_fail(), [], ""),
        (WELL, "producer", seen_to_fail(), [], "should end well"),
        (failed(), "producer", seen(), [], "should fail"),
        (failed("result"), "producer", seen_to_fail(), [], "the cause should be evil"),
        (failed(), "producer", seen_to_fail(cause="told"), [], "the cause should be evil"),
        (failed("run", "bang"), "producer", seen_to_fail(), [], "'bang' is not in"),
        (failed(), "producer", seen_to_fail(keys=["a"]), [], "left state"),
        (failed(), "producer", seen_to_fail(text_bytes=2_000_000), [], "has 2000000 bytes"),
        (BOUNDED, "producer", seen(how="KeyboardInterrupt: "), [], "reached the caller raw"),
        (WELL, "producer", seen(untouched=["a child is left"]), [], "a child is left"),
        (WELL, "producer", seen(second=None), [], "the second run read"),
        (WELL, "producer", seen(seconds=99.0), [], "it took 99.0 s"),
        (WELL, "producer", seen(), [SENT, {**READ, "read": 5}], "told read 5 bytes"),
        (WELL, "producer", seen(), [SENT, {**READ, "prefix": False}], "other bytes than were written"),
        (WELL, "producer", seen(), [SENT, {**READ, "ended": "upstream failed"}], "was not given its end of file"),
        (failed(), "producer", seen_to_fail(), [READ], "a cut input for a whole one"),
        (failed(), "consumer", seen_to_fail(), [{**READ, "reader": "witness", "read": 7}], "witness read 7 of"),
        (WELL, "consumer", seen(), [{"wrong": "the first line"}], "the first line"),
    ],
)
def test_the_check_sees(end: Any, role: str, saw: dict[str, Any], notes: list[dict[str, Any]], found: str) -> None:
    """Each thing that can be wrong with an attempt, and nothing where nothing is."""
    violations = driver.violations(case(end), role, saw, notes)

    assert [found in each for each in violations] == [True] * bool(found)
