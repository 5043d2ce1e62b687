"""Cost against size: many nodes in one section, many readers of one channel, many sections in a row.

    python tests/benchmarks/scale.py [--largest 500]

Prints one table; the last column is milliseconds per member, which stays flat where the cost grows linearly. The soft
limit of open files is raised within the hard one. A workflow may have 512 nodes. It asserts
nothing: a wall clock is no fact.
"""

from __future__ import annotations

import argparse
import resource
import time
from typing import Callable

import teastreams as ts

NODES, READERS, SECTIONS = (10, 50, 100, 250, 500), (4, 16, 64, 128, 256), (10, 25, 50, 100)


def _write(_state: dict) -> None:
    print("x")


def _copy(_state: dict) -> None:
    import sys

    for line in sys.stdin:
        sys.stdout.write(line)


def _read(_state: dict) -> None:
    import sys

    sys.stdin.read()


def pairs(count: int) -> ts.StateGraph:
    """`count` nodes in one section: one writer, and a chain of copies from it."""
    graph = ts.StateGraph({})
    graph.add_node("n0", run=_write, streams={"stdout": "c0"})
    for index in range(1, count - 1):
        graph.add_node(f"n{index}", run=_copy, streams={"stdin": f"c{index - 1}", "stdout": f"c{index}"})
    graph.add_node(f"n{count - 1}", run=_read, streams={"stdin": f"c{count - 2}"})
    for index in range(1, count):
        graph.add_edge(f"n{index - 1}", f"n{index}")
    graph.set_entry_point("n0")
    graph.set_finish_point(f"n{count - 1}")
    return graph


def readers(count: int) -> ts.StateGraph:
    """One channel with `count` readers behind one fan-out worker."""
    graph = ts.StateGraph({})
    graph.add_node("source", run=_write, streams={"stdout": "lines"})
    names = [f"r{index}" for index in range(count)]
    for name in names:
        graph.add_node(name, run=_read, streams={"stdin": "lines"})
    graph.add_node("end", run=lambda state: None)
    graph.add_parallel_edge("source", names, "end", stream_mode="broadcast")
    graph.set_entry_point("source")
    graph.set_finish_point("end")
    return graph


def sections(count: int) -> ts.StateGraph:
    """`count` sections of two nodes, one after another."""
    graph, last = ts.StateGraph({}), ""
    for index in range(count):
        graph.add_node(f"w{index}", run=_write, streams={"stdout": f"c{index}"})
        graph.add_node(f"r{index}", run=_read, streams={"stdin": f"c{index}"})
        graph.add_edge(f"w{index}", f"r{index}")
        if last:
            graph.add_edge(last, f"w{index}")
        last = f"r{index}"
    graph.set_entry_point("w0")
    graph.set_finish_point(last)
    return graph


def measure(make: Callable[[int], ts.StateGraph], count: int) -> tuple[float, float]:
    """Seconds to compile and to run."""
    began = time.perf_counter()
    app = make(count).compile()
    compiled = time.perf_counter()
    app.run(echo_output=False)
    return compiled - began, time.perf_counter() - compiled


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--largest", type=int, default=500)
    largest = parser.parse_args().largest
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(f"{'what':<20}{'count':>6}{'compile ms':>12}{'run ms':>10}{'run ms each':>13}")
    for make, counts in ((pairs, NODES), (readers, READERS), (sections, SECTIONS)):
        for count in (each for each in counts if each <= largest):
            compiled, ran = (seconds * 1000 for seconds in measure(make, count))
            print(f"{make.__name__:<20}{count:>6}{compiled:>12.1f}{ran:>10.1f}{ran / count:>13.2f}", flush=True)


if __name__ == "__main__":
    main()
