"""What starting costs: import, command line, a run of two and of ten nodes, and the same from a large host.

    python tests/benchmarks/start.py [--rounds 5] [--heap-gib 4 | --no-heap] [--json]

What is compared is run in turns, so that a busy machine slows both sides; the first turn, which compiles modules and
fills the large host, is not counted. Beside a run stand as many bare forks as it has nodes. The large host is left out
when memory is short, and said to be.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Callable

import scale
from printed import measure, parser

from teastreams.bench.measuring import Task, Way

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
GIB = 1 << 30
PAGE = 4096


def python(*arguments: str) -> Callable[[int], None]:
    """A fresh interpreter that may keep compiled modules."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

    def run(_amount: int) -> None:
        subprocess.run([sys.executable, *arguments], env=environment, check=True, **quiet)

    return run


def interpreters(file: str) -> list[Task]:
    """Import and command line."""
    imports = (
        Way("teastreams and yaml", python("-c", "import yaml, teastreams")),
        Way("yaml", python("-c", "import yaml")),
    )
    whole = (
        Way("teastreams run", python("-m", "teastreams", "run", file)),
        Way("yaml and cloudpickle", python("-c", "import yaml, cloudpickle")),
    )
    return [
        Task("import", "an interpreter that imports, and ends", "ms", 1, imports),
        Task("command", "the command line beside an interpreter that imports", "ms", 1, whole),
    ]


# -- runs from a host -------------------------------------------------------------------------------------------------


def forks(count: int, _amount: int) -> None:
    """So many children that do nothing; all are there before the first is waited for."""
    pids = []
    for _ in range(count):
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)


class Heap:
    """What this process holds beside what it needs; every page of it is really there."""

    def __init__(self) -> None:
        self._held = bytearray()

    def holding(self, size: int, run: Callable[[int], object]) -> Callable[[int], None]:
        """The same with so many bytes held. All ways of a task hold as many: only its first turn waits for them."""

        def run_holding(amount: int) -> None:
            if len(self._held) != size:
                self._held = bytearray()  # before the next one, not after
                self._held = bytearray(size)
                self._held[::PAGE] = b"x" * len(range(0, size, PAGE))
            run(amount)

        return run_holding


def runs(heap: Heap, size: int, absent: str = "") -> list[Task]:
    """Two nodes and ten, from a host that holds so much."""
    host = f"a host with {size / GIB:g} GiB" if size else "a lean host"

    def way(name: str, run: Callable[[int], object]) -> Way:
        return Way(name, None if absent else heap.holding(size, run), absent)

    def task(name: str, count: int) -> Task:
        app = scale.pairs(count).compile()
        ours = way("teastreams", lambda _amount: app.run(echo_output=False))
        theirs = way(f"{count} bare forks", partial(forks, count))
        return Task(f"{name}-{size >> 30}", f"a run of {name} nodes from {host}", "ms", 1, (ours, theirs))

    return [task("two", 2), task("ten", 10)]


def free_bytes() -> int:
    """What can be used without swapping; 0 where nobody says."""
    try:
        text = Path("/proc/meminfo").read_text("ascii")
    except OSError:
        return 0
    return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("MemAvailable"))


def tasks(file: str, heap_bytes: int) -> list[Task]:
    """Everything; without the large host where `heap_bytes` is 0."""
    heap, free = Heap(), free_bytes()
    found = [*interpreters(file), *runs(heap, 0)]
    if heap_bytes:
        short = free < heap_bytes * 1.25
        found += runs(heap, heap_bytes, f"left out: {free / GIB:.1f} GiB of memory are free" if short else "")
    return found


def main() -> None:
    """Print the table, or everything as JSON."""
    options = parser("what starting costs", 5)
    options.add_argument("--heap-gib", type=float, default=4.0)
    options.add_argument("--no-heap", action="store_true")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "trivial.yaml")
        file.write_text(TRIVIAL, "utf-8")
        measure(tasks(str(file), 0 if chosen.no_heap else int(chosen.heap_gib * GIB)), chosen)


if __name__ == "__main__":
    main()
