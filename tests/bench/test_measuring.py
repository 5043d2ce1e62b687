"""Who runs when, how much of it, and which seconds are whose; the clock and the ways are made up."""

from __future__ import annotations

from functools import partial

import pytest

from teastreams.bench.figures import Side
from teastreams.bench.measuring import Task, Way, compared, measured


class Diary:
    """Ways that take so many seconds of a clock that only they move."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ran: list[tuple[str, int]] = []

    def way(self, name: str, seconds: float) -> Way:
        return Way(name, partial(self._run, name, seconds))

    def _run(self, name: str, seconds: float, amount: int) -> None:
        self.ran.append((name, amount))
        self.now += seconds


def test_every_way_has_its_turn_in_every_round_and_its_own_seconds() -> None:
    """After a small round that is not counted; the second round goes the other way round."""
    diary = Diary()
    task = Task("t", "title", "MB/s", 32, (diary.way("a", 1.0), Way("none", None, "why"), diary.way("b", 2.0)))
    comparison = compared(task, 3, lambda: diary.now)
    assert "".join(name for name, _ in diary.ran) == "ab" + "ab" + "ba" + "ab"
    assert [amount for _, amount in diary.ran] == [2, 2] + [32] * 6
    assert comparison.sides == (Side("a", (1.0,) * 3), Side("none", (), "why"), Side("b", (2.0,) * 3))
    assert (comparison.name, comparison.title, comparison.unit, comparison.amount) == ("t", "title", "MB/s", 32)


def test_a_way_that_looks_at_the_clock_itself_is_believed() -> None:
    """Its start does not count, say; zero is an answer, too."""
    diary = Diary()
    ways = (Way("all", diary.way("all", 3.0).run), Way("told", lambda _amount: 0.5), Way("none", lambda _amount: 0.0))
    comparison = compared(Task("t", "title", "us", 1, ways), 2, lambda: diary.now)
    assert [side.seconds for side in comparison.sides] == [(3.0, 3.0), (0.5, 0.5), (0.0, 0.0)]


def test_what_begins_is_said_before_it_begins() -> None:
    """With its number, so that one knows how long it may still take."""
    diary = Diary()
    said: list[str] = []
    tasks = [Task(name, f"title {name}", "ms", 1, (diary.way(name, 1.0),)) for name in ("x", "y")]
    found = measured(tasks, 2, said.append)
    said.extend(comparison.name for comparison in found)
    assert said == ["1 of 2: title x, 2 rounds", "x", "2 of 2: title y, 2 rounds", "y"]


def test_a_way_that_fails_ends_it() -> None:
    """A figure of what did not work would be a lie."""

    def fail(_amount: int) -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        compared(Task("t", "title", "ms", 1, (Way("a", fail),)), 1)
