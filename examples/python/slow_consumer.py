"""A slow consumer that holds nobody up, and how far it fell behind: examples/yaml/slow_consumer.yaml in Python.

Packing takes much longer than counting. What `archive` has not taken yet waits for it, 256 KiB in memory and the rest
in a nameless file, so that `sources` and `count` are done at once. The data are the sources of the standard library.

Instead of:   two `multiprocessing.Queue`s of blocks, without a limit in memory, or with one at which the slow consumer
              stops the reader and with it the quick consumer.

Run it:   python examples/python/slow_consumer.py /tmp/library.bz2
"""

from __future__ import annotations

import bz2
import json
import os
import shutil
import sys
import sysconfig
from pathlib import Path

import teastreams as ts


def sources() -> dict:
    modules = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    for module in modules:
        sys.stdout.buffer.write(module.read_bytes())
    return {"modules": len(modules)}


def count() -> dict:
    return {"lines": sum(1 for line in sys.stdin.buffer)}


def archive(state: dict) -> dict:
    with bz2.open(state["archive"] + ".part", "wb") as packed:
        shutil.copyfileobj(sys.stdin.buffer, packed)
    os.replace(state["archive"] + ".part", state["archive"])
    return {"packed_bytes": os.path.getsize(state["archive"])}


def report(parallel_results: ts.ParallelResults) -> dict:
    return {"lines": parallel_results["count"]["lines"], "packed_bytes": parallel_results["archive"]["packed_bytes"]}


def main() -> None:
    late = {"from": "text", "overflow": "spill", "buffer_limit": 256 * 1024, "spill_limit": 2**30}
    streams = ts.StreamSettings(enabled=True, buffer_size=65536)
    graph = ts.StateGraph({"archive": str}, parallel_config=ts.ParallelConfig(strategy="process", streams=streams))
    graph.add_node("sources", run=sources, streams={"stdout": "text"})
    graph.add_node("count", run=count, streams={"stdin": "text"})
    graph.add_node("archive", run=archive, streams={"stdin": late})
    graph.add_node("report", run=report)
    graph.set_entry_point("sources")
    graph.add_parallel_edge("sources", ["count", "archive"], fan_in="report", stream_mode="broadcast")
    graph.set_finish_point("report")
    result = graph.compile().run({"archive": sys.argv[1]})
    spilled = {name: figures.spilled_bytes for name, figures in result.channels["text"].consumers.items()}
    print(json.dumps({**result.state, "spilled_bytes": spilled}, indent=2))


if __name__ == "__main__":
    main()
