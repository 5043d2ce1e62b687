"""What starting costs: import, command line, a run of two and of ten nodes, and a fork from a large host.

    python tests/benchmarks/start.py [--rounds 11] [--heap-gib 4 | --no-heap]

Prints one table of medians. What is compared is run in turns, so that a busy machine slows both sides; its own first
round, which compiles modules, is not counted. The large heap is left out when memory is short.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable

import scale

TRIVIAL = """
name: trivial
nodes:
  - name: only
    run: |
      return {"x": 1}
edges:
  - {from: __start__, to: only}
  - {from: only, to: __end__}
"""


def in_turns(rounds: int, **sides: Callable[[], object]) -> dict[str, float]:
    """The median of each side in milliseconds."""
    took: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds + 1):
        for name, call in sides.items():
            began = time.perf_counter()
            call()
            if turn:
                took[name].append((time.perf_counter() - began) * 1000)
    return {name: statistics.median(each) for name, each in took.items()}


def python(*arguments: str) -> Callable[[], object]:
    """A fresh interpreter that may keep compiled modules."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return lambda: subprocess.run(
        [sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True
    )


def fork_once() -> None:
    """A bare fork whose child does nothing."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def free_bytes() -> int:
    """What can be used without swapping; 0 where nobody says."""
    try:
        text = Path("/proc/meminfo").read_text("ascii")
    except OSError:
        return 0
    return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("MemAvailable"))


def show(what: str, milliseconds: float, note: str = "") -> None:
    """One row."""
    print(f"{what:<44}{milliseconds:>10.2f} ms  {note}", flush=True)


def interpreters(rounds: int) -> None:
    """Import and command line."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "trivial.yaml")
        file.write_text(TRIVIAL, "utf-8")
        medians = in_turns(
            rounds,
            yaml=python("-c", "import yaml"),
            ours=python("-c", "import yaml, teastreams"),
            both=python("-c", "import yaml, cloudpickle"),
            cli=python("-m", "teastreams", "run", str(file)),
        )
    show("import yaml", medians["yaml"])
    show("import yaml, teastreams", medians["ours"], f"adds {medians['ours'] - medians['yaml']:.2f} ms")
    show("import yaml, cloudpickle", medians["both"])
    show("teastreams run trivial.yaml", medians["cli"], f"{medians['cli'] / medians['both']:.2f} times the line above")


def runs(rounds: int, host: str) -> None:
    """A bare fork, two nodes and ten nodes in this process."""
    two, ten = scale.pairs(2).compile(), scale.pairs(10).compile()
    medians = in_turns(
        rounds,
        fork=fork_once,
        two=lambda: two.run(echo_output=False),
        ten=lambda: ten.run(echo_output=False),
    )
    show(f"bare fork and wait, {host}", medians["fork"])
    show(f"run of two nodes, {host}", medians["two"])
    show(f"run of ten nodes, {host}", medians["ten"])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--heap-gib", type=float, default=4.0)
    parser.add_argument("--no-heap", action="store_true")
    options = parser.parse_args()
    interpreters(options.rounds)
    runs(options.rounds, "lean host")
    size = int(options.heap_gib * (1 << 30))
    if options.no_heap or free_bytes() < size * 1.25:
        print(f"the host with {options.heap_gib:g} GiB was left out: {free_bytes() / (1 << 30):.1f} GiB are free")
        return
    heap = bytearray(size)
    heap[::4096] = b"x" * len(range(0, size, 4096))  # every page is really there
    runs(options.rounds, f"{options.heap_gib:g} GiB host")


if __name__ == "__main__":
    main()
