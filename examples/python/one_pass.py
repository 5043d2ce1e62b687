"""A large file is counted, checksummed and compressed while it is read once: examples/yaml/one_pass.yaml in Python.

The archive gets its name only when it is whole: `compress` sees the end of its input only if `reader` came to the end
of the file.

Instead of:   a loop that hands each block to a counter, a hash and a compressor in turn, on one core;
              or three threads, three queues of blocks, and a way to tell all three that the reader has failed.

Data:     python examples/data.py access-log 200000 > /tmp/access.log
Run it:   python examples/python/one_pass.py /tmp/access.log
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import sys

import teastreams as ts


def reader(state: dict) -> None:
    with open(state["path"], "rb") as file:
        shutil.copyfileobj(file, sys.stdout.buffer)


def count() -> dict:
    return {"lines": sum(1 for line in sys.stdin.buffer)}


def checksum() -> dict:
    digest, size = hashlib.sha256(), 0
    while chunk := sys.stdin.buffer.read(65536):
        digest.update(chunk)
        size += len(chunk)
    return {"bytes": size, "sha256": digest.hexdigest()}


def compress(state: dict) -> dict:
    archive = state["path"] + ".gz"
    with gzip.open(archive + ".part", "wb", compresslevel=6) as packed:
        shutil.copyfileobj(sys.stdin.buffer, packed)
    os.replace(archive + ".part", archive)
    return {"archive": archive, "archive_bytes": os.path.getsize(archive)}


def report(parallel_results: ts.ParallelResults) -> dict:
    return {**parallel_results["count"], **parallel_results["checksum"], **parallel_results["compress"]}


def main() -> None:
    graph = ts.StateGraph({"path": str})
    graph.add_node("reader", run=reader, streams={"stdout": "bytes"})
    for consumer in (count, checksum, compress):
        graph.add_node(consumer.__name__, run=consumer, streams={"stdin": "bytes"})
    graph.add_node("report", run=report)
    graph.set_entry_point("reader")
    graph.add_parallel_edge("reader", ["count", "checksum", "compress"], fan_in="report", stream_mode="broadcast")
    graph.set_finish_point("report")
    result = graph.compile().run({"path": sys.argv[1]})
    print(json.dumps(dict(result.state), indent=2))


if __name__ == "__main__":
    main()
