"""What every comparison of these benchmarks does at its end: the table on stdout, or with `--json` everything as JSON.

The JSON is that of `teastreams bench --json`; `report.py` keeps it. What begins is said on stderr.
"""

from __future__ import annotations

import argparse
import sys
from typing import Sequence

from teastreams.bench.command import as_json
from teastreams.bench.machine import machine
from teastreams.bench.measuring import Task, measured
from teastreams.bench.table import as_lines


def parser(description: str, rounds: int) -> argparse.ArgumentParser:
    """The two options that all have."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--rounds", type=int, default=rounds, help=f"how often to measure each way ({rounds})")
    options.add_argument("--json", action="store_true", help="every time and the machine, as one JSON object")
    return options


def measure(tasks: Sequence[Task], options: argparse.Namespace) -> None:
    """All tasks, then the output."""
    where = machine()
    found = tuple(measured(tasks, options.rounds, lambda text: print(text, file=sys.stderr, flush=True)))
    print(as_json(found, options.rounds, where) if options.json else as_lines(found))
