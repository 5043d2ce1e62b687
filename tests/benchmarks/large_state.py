"""Large values to process branches and back: teastreams against `concurrent.futures.ProcessPoolExecutor`.

    python tests/benchmarks/large_state.py [MiB to hand out] [MiB to return] [rounds]

Both sides fork, run the same functions with the same number of processes at a time, and take turns in one run. Prints
the seconds, what the caller's process allocated as multiples of the value (one further round, by `tracemalloc`), and
the ratio of the medians: machines are noisy, so only the ratio is worth quoting.
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import time
import tracemalloc
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Callable

import teastreams as ts

MIB = 1 << 20
BRANCHES = 10
AT_ONCE = 2


def look(state: dict[str, Any]) -> dict[str, Any]:
    return {"length": len(state["large"]), "last": state["large"][-1]}


def make(state: dict[str, Any]) -> dict[str, Any]:
    return {"large": b"x" * state["size"]}


def by_teastreams(body: Callable[..., Any], state: dict[str, Any], branches: int) -> list[Any]:
    config = ts.ParallelConfig(strategy="process", max_workers=AT_ONCE)
    results = ts.ProcessExecutor().execute([ts.BranchFlow(f"b{n}", body, state) for n in range(branches)], config)
    assert all(result.success for result in results)
    return results


def by_pool(body: Callable[..., Any], state: dict[str, Any], branches: int) -> list[Any]:
    with ProcessPoolExecutor(AT_ONCE, multiprocessing.get_context("fork")) as pool:
        return [future.result() for future in [pool.submit(body, state) for _ in range(branches)]]


def seconds_of(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def allocated_by(call: Callable[[], Any], size: int) -> float:
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1] / size
    finally:
        tracemalloc.stop()


def compare(title: str, size: int, rounds: int, body: Callable[..., Any], state: dict[str, Any], branches: int) -> None:
    sides = {"teastreams": by_teastreams, "ProcessPoolExecutor": by_pool}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            seconds[name].append(seconds_of(lambda side=side: side(body, state, branches)))
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    print(title)
    for name, side in sides.items():
        copies = allocated_by(lambda side=side: side(body, state, branches), size)
        print(f"  {name:20} median {medians[name]:7.3f} s   the caller allocated {copies:5.2f} times the value")
    print(f"  ratio of the medians: {medians['ProcessPoolExecutor'] / medians['teastreams']:.1f}")


def main() -> None:
    given, returned, rounds = (int(text) for text in (*sys.argv[1:4], *("1024", "256", "3")[len(sys.argv[1:4]) :]))
    state = {"large": b"x" * (given * MIB)}
    compare(f"{given} MiB of bytes to {BRANCHES} branches", given * MIB, rounds, look, state, BRANCHES)
    compare(f"{returned} MiB of bytes from one branch", returned * MIB, rounds, make, {"size": returned * MIB}, 1)


if __name__ == "__main__":
    main()
