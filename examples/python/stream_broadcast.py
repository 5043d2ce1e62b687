"""The broadcast of examples/yaml/stream_broadcast.yaml, written in Python.

Three readers get the same bytes. Each keeps results of its own; the fan-in node `report` gets them all, by name and in
the order of the targets. `checksum` may fall behind: what it has not taken yet is kept for it, in memory and then in a
file.

Run it:   python examples/python/stream_broadcast.py
"""

from __future__ import annotations

import hashlib
import json
import sys

import teastreams as ts


def log_lines(state: dict) -> dict:
    for number in range(1000):
        print("ERROR" if number % 10 == 0 else "info", "request", number)
    return {"lines": 1000}


def count_errors(state: dict) -> dict:
    return {"errors": sum(line.startswith("ERROR") for line in sys.stdin)}


def longest(state: dict) -> dict:
    return {"longest": max(len(line.rstrip("\n")) for line in sys.stdin)}


def checksum(state: dict) -> dict:
    digest, size = hashlib.sha256(), 0
    for chunk in iter(lambda: sys.stdin.buffer.read(65536), b""):
        digest.update(chunk)
        size += len(chunk)
    return {"bytes": size, "sha256": digest.hexdigest()}


def report(parallel_results: ts.ParallelResults) -> dict:
    return {
        "errors": parallel_results["count_errors"]["errors"],
        "longest": parallel_results["longest"]["longest"],
        "bytes": parallel_results["checksum"]["bytes"],
        "sha256": parallel_results["checksum"]["sha256"],
    }


def main() -> None:
    late = {"from": "lines", "overflow": "spill", "buffer_limit": 2**20, "spill_limit": 100 * 2**20}
    graph = ts.StateGraph()
    graph.add_node("log_lines", run=log_lines, streams={"stdout": "lines"})
    graph.add_node("count_errors", run=count_errors, streams={"stdin": "lines"})
    graph.add_node("longest", run=longest, streams={"stdin": "lines"})
    graph.add_node("checksum", run=checksum, streams={"stdin": late})
    graph.add_node("report", run=report)
    graph.set_entry_point("log_lines")
    graph.add_parallel_edge(
        "log_lines", ["count_errors", "longest", "checksum"], fan_in="report", stream_mode="broadcast"
    )
    graph.set_finish_point("report")
    result = graph.compile().run()
    print(json.dumps(dict(result.state), indent=2))


if __name__ == "__main__":
    main()
