"""State and streams side by side: examples/yaml/stream_hybrid.yaml, written in Python, and watched while it runs.

`prepare` and `judge` are plain functions called one after another in this process. `measure` and `average` are
processes joined by a pipe. Events go to stderr as they happen, the final state to stdout.

Run it:   python examples/python/stream_hybrid.py
"""

from __future__ import annotations

import json
import sys

import teastreams as ts


def prepare(state: dict) -> dict:
    return {"count": state.get("count", 5000), "limit": state.get("limit", 40)}


def measure(state: dict) -> dict:
    for number in range(state["count"]):
        print(number * 7 % 100)
    return {"measured": state["count"]}


def average(state: dict) -> dict:
    readings = [int(line) for line in sys.stdin]
    assert state["measured"] == len(readings), "the state has caught up at the end of the stream"
    return {"mean": sum(readings) / len(readings), "above_limit": sum(each > state["limit"] for each in readings)}


def judge(state: dict) -> dict:
    share = state["above_limit"] / state["measured"]
    return {"verdict": "too high" if share > 0.5 else "fine"}


def main() -> None:
    graph = ts.StateGraph({"count": int, "limit": int})
    graph.add_node("prepare", run=prepare)
    graph.add_node("measure", run=measure, streams={"stdout": "readings"})
    graph.add_node("average", run=average, streams={"stdin": "readings"})
    graph.add_node("judge", run=judge)
    graph.set_entry_point("prepare")
    graph.add_edge("prepare", "measure")
    graph.add_edge("measure", "average")
    graph.add_edge("average", "judge")
    graph.set_finish_point("judge")
    for event in graph.compile().stream():
        if isinstance(event, ts.NodeFinished):
            print(f"{event.node} ended: {event.status}", file=sys.stderr)
        elif isinstance(event, ts.RunFinished):
            print(json.dumps(dict(event.result.state), indent=2))


if __name__ == "__main__":
    main()
