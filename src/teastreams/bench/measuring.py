"""Tasks -> comparisons: every side of a task in every round, and every second round the other way round.

A first, small round is not counted: it imports modules and grows the heap. The clock is the wall's own, monotonic:
what a user waits for; a way that looks at it by itself says how many seconds count. Which sides there are, and what
they do, is not known here.
"""

from __future__ import annotations

import time
from typing import Callable, Iterable, Iterator, Optional, Sequence

from teastreams.bench.figures import Comparison, Side
from teastreams.values import dataclass

WARM_UP_PART = 16
"""The round that is not counted does so small a part of the amount."""


@dataclass(frozen=True)
class Way:
    """A side before it is measured: what does an amount of the work, or why that cannot be done here.

    What `run` returns is its seconds; None when all the time until it returned counts.
    """

    name: str
    run: Optional[Callable[[int], Optional[float]]]
    absent: str = ""


@dataclass(frozen=True)
class Task:
    """What is compared: `amount` of something (bytes, or runs) in as many ways as there are."""

    name: str
    title: str
    unit: str
    amount: int
    ways: tuple[Way, ...]


def measured(tasks: Sequence[Task], rounds: int, say: Callable[[str], None]) -> Iterator[Comparison]:
    """One comparison after another; `say` is told what begins. Whatever a way raises ends it."""
    for number, task in enumerate(tasks, 1):
        say(f"{number} of {len(tasks)}: {task.title}, {rounds} rounds")
        yield compared(task, rounds)


def compared(task: Task, rounds: int, clock: Callable[[], float] = time.perf_counter) -> Comparison:
    """All ways of a task that can be gone, in turns."""
    runs = {way.name: way.run for way in task.ways if way.run is not None}
    took: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run(max(1, task.amount // WARM_UP_PART))
    for turn in range(rounds):
        for name in _order(list(runs), turn):
            began = clock()
            said = runs[name](task.amount)
            took[name].append(clock() - began if said is None else said)
    sides = tuple(Side(way.name, tuple(took.get(way.name, ())), way.absent) for way in task.ways)
    return Comparison(task.name, task.title, task.unit, task.amount, sides)


def _order(names: Sequence[str], turn: int) -> Iterable[str]:
    """Who comes after whom leaves its traces in caches: so each comes after each of its neighbours."""
    return reversed(names) if turn % 2 else names
