"""`teastreams bench` without its words: measure, and show the same figures as a table, as JSON and as a picture.

What has begun is said as it begins; the results come at the end, together. Where they go is the caller's business.
"""

from __future__ import annotations

import json
from typing import Callable, Sequence

from teastreams.bench.drawing import as_svg
from teastreams.bench.figures import Comparison, as_dict
from teastreams.bench.machine import machine
from teastreams.bench.measuring import measured
from teastreams.bench.table import as_lines
from teastreams.bench.tasks import tasks
from teastreams.values import dataclass


@dataclass(frozen=True)
class Shown:
    """The results, three times the same."""

    table: str
    json: str
    svg: str


def bench(size_bytes: int, rounds: int, only: Sequence[str], say: Callable[[str], None]) -> Shown:
    """Measure everything, or the comparisons named in `only`. LimitError where a process cannot do its part."""
    where = machine()
    comparisons = tuple(measured(tasks(size_bytes, only), rounds, say))
    return Shown(as_lines(comparisons), as_json(comparisons, rounds, where), as_svg(comparisons))


def as_json(comparisons: Sequence[Comparison], rounds: int, where: object) -> str:
    """One object: the machine, the number of rounds, and each comparison with every time and the figures."""
    everything = {"machine": where, "rounds": rounds, "comparisons": [as_dict(each) for each in comparisons]}
    return json.dumps(everything, indent=2)
