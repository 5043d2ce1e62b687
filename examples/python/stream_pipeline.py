"""The pipeline of examples/yaml/stream_pipeline.yaml, written in Python.

Three functions become three processes, joined by two kernel pipes; they read `sys.stdin` and write `sys.stdout`.
Giving `streams=` to a node is all it takes.

Run it:   python examples/python/stream_pipeline.py
"""

from __future__ import annotations

import json
import sys

import teastreams as ts


def numbers(state: dict) -> dict:
    for number in range(1, 1001):
        print(number)
    return {"produced": 1000}


def evens(state: dict) -> dict:
    kept = 0
    for line in sys.stdin:
        if int(line) % 2 == 0:
            sys.stdout.write(line)
            kept += 1
    return {"kept": kept}


def total(state: dict) -> dict:
    return {"sum": sum(int(line) for line in sys.stdin)}


def main() -> None:
    graph = ts.StateGraph()
    graph.add_node("numbers", run=numbers, streams={"stdout": "numbers"})
    graph.add_node("evens", run=evens, streams={"stdin": "numbers", "stdout": "evens"})
    graph.add_node("total", run=total, streams={"stdin": "evens"})
    graph.set_entry_point("numbers")
    graph.add_edge("numbers", "evens")
    graph.add_edge("evens", "total")
    graph.set_finish_point("total")
    result = graph.compile().run()
    print(json.dumps(dict(result.state), indent=2))


if __name__ == "__main__":
    main()
