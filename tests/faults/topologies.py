"""The workflows that faults are planted in: small, complete, and their consumers say what they got on a shared page.

    direct      producer ══▶ consumer1
    broadcast   producer ══▶ fan-out ══▶ consumer1 … consumerN
    spill       producer ══▶ fan-out ══▶ consumer1 (quick), consumer2 (begins when the quick one has everything)
    diamond     producer ══▶ fan-out ══▶ consumer1, consumer2 ──▶ join, a plain node
    stderr      producer ══▶ consumer1, and its stderr ══▶ consumer2
    command     producer ══▶ an external program ══▶ consumer1
    grandchildren   as direct, and both nodes have a sleeping child

Every byte of the stream depends on its place, so that loss, doubling and exchange all show. A consumer compares while
it reads.
"""

from __future__ import annotations

import mmap
import os
import select
import signal
import sys
from typing import Any, Callable, Optional

import inside

import teastreams as ts

SIZE = 150_000
STREAM = b"".join(inside.stream("sweep", SIZE))
NOTHING, END_OF_FILE, UPSTREAM_FAILED, OTHER = 0, 1, 2, 3
CONSUMERS = 8
SPILL_LIMIT_BYTES = 16_384
CANARY = "canary-7f3a91"
DEADLINE = {"timeout": 10.0}
"""Of a section, in seconds; attempts that stop a process for good make it short."""


class Board:
    """What each reader got: bytes, whether they were right, and how its input ended. Shared with the workers."""

    def __init__(self, readers: int) -> None:
        self._memory = mmap.mmap(-1, 8 * 3 * (readers + 1))
        self._cells = memoryview(self._memory).cast("Q")

    def note(self, index: int, count: int, wrong: bool, end: int) -> None:
        for offset, value in enumerate((count, wrong, end)):
            self._cells[3 * index + offset] = value

    def seen(self, index: int) -> tuple[int, bool, int]:
        count, wrong, end = self._cells[3 * index : 3 * index + 3]
        return count, bool(wrong), end

    def clear(self) -> None:
        for place in range(len(self._cells)):
            self._cells[place] = 0


BOARD = Board(CONSUMERS)


Deed = Optional[Callable[[], object]]


def consumer(index: int, before: Deed = None, after: Deed = None) -> Any:
    """A node that reads everything, compares it, and notes what it saw."""

    def node(state: dict[str, Any]) -> dict[str, Any]:
        count, wrong, end = 0, False, OTHER
        BOARD.note(index, count, wrong, NOTHING)
        try:
            if before is not None:
                before()
            for block in iter(lambda: sys.stdin.buffer.read1(65536), b""):
                wrong = wrong or STREAM[count : count + len(block)] != block
                count += len(block)
                BOARD.note(index, count, wrong, NOTHING)
            end = END_OF_FILE
        except ts.UpstreamFailed:
            end = UPSTREAM_FAILED
            raise
        finally:
            BOARD.note(index, count, wrong, end)
            if after is not None:
                after()
        return {f"read{index}": count}

    return node


def produce(state: dict[str, Any]) -> dict[str, Any]:
    for start in range(0, SIZE, 40_000):
        sys.stdout.buffer.write(STREAM[start : start + 40_000])
        sys.stdout.buffer.flush()
    return {"made": SIZE}


def produce_errors(state: dict[str, Any]) -> dict[str, Any]:
    sys.stdout.buffer.write(STREAM)
    sys.stderr.buffer.write(STREAM)
    return {"made": SIZE}


def _graph(**streams: Any) -> ts.StateGraph:
    settings = ts.StreamSettings(grace_seconds=0.2, drain_seconds=0.2, **DEADLINE, **streams)
    return ts.StateGraph(parallel_config=ts.ParallelConfig(strategy="process", streams=settings))


def direct() -> ts.CompiledGraph:
    g = _graph()
    g.add_node("producer", run=produce, streams={"stdout": "bytes"})
    g.add_node("consumer1", run=consumer(1), streams={"stdin": "bytes"})
    g.add_edge("producer", "consumer1")
    return g.set_entry_point("producer").compile()


def broadcast(count: int) -> ts.CompiledGraph:
    g = _graph()
    g.add_node("producer", run=produce, streams={"stdout": "bytes"})
    names = [f"consumer{index}" for index in range(1, count + 1)]
    for index, name in enumerate(names, 1):
        g.add_node(name, run=consumer(index), streams={"stdin": "bytes"})
    g.add_parallel_edge("producer", names, stream_mode="broadcast")
    return g.set_entry_point("producer").compile()


def diamond() -> ts.CompiledGraph:
    g = _graph()
    g.add_node("producer", run=produce, streams={"stdout": "bytes"})
    for index in (1, 2):
        g.add_node(f"consumer{index}", run=consumer(index), streams={"stdin": "bytes"})
    g.add_node("join", run=_sum)
    g.add_parallel_edge("producer", ["consumer1", "consumer2"], fan_in="join", stream_mode="broadcast")
    return g.set_entry_point("producer").set_finish_point("join").compile()


def _sum(parallel_results: Any) -> dict[str, Any]:
    return {"sum": sum(each[f"read{number}"] for number, each in enumerate(parallel_results, 1))}


def spill() -> ts.CompiledGraph:
    """The slow reader begins when the quick one has ended, however that ended."""
    read, write = os.pipe()

    def wait() -> None:
        select.select([read], [], [], 0.1)

    g = _graph(buffer_size=4096)  # or the pipe would hold the whole stream
    g.add_node("producer", run=produce, streams={"stdout": "bytes"})
    g.add_node("consumer1", run=consumer(1, after=lambda: os.write(write, b".")), streams={"stdin": "bytes"})
    slow = {"from": "bytes", "overflow": "spill", "buffer_limit": SPILL_LIMIT_BYTES}
    g.add_node("consumer2", run=consumer(2, before=wait), streams={"stdin": slow})
    g.add_parallel_edge("producer", ["consumer1", "consumer2"], stream_mode="broadcast")
    return g.set_entry_point("producer").compile()


def stderr() -> ts.CompiledGraph:
    g = _graph()
    g.add_node("producer", run=produce_errors, streams={"stdout": "bytes", "stderr": "errors"})
    g.add_node("consumer1", run=consumer(1), streams={"stdin": "bytes"})
    g.add_node("consumer2", run=consumer(2), streams={"stdin": "errors"})
    g.add_parallel_edge("producer", ["consumer1", "consumer2"])
    return g.set_entry_point("producer").compile()


def command() -> ts.CompiledGraph:
    g = _graph()
    g.add_node("producer", run=produce, streams={"stdout": "bytes"})
    g.add_node("other", command=["cat"], streams={"stdin": "bytes", "stdout": "copied"})
    g.add_node("consumer1", run=consumer(1), streams={"stdin": "copied"})
    g.add_edge("producer", "other").add_edge("other", "consumer1")
    return g.set_entry_point("producer").compile()


def grandchildren() -> ts.CompiledGraph:
    """Both nodes have a child that sleeps; for hosts that are killed."""

    def with_child(node: Any) -> Any:
        def run(state: dict[str, Any]) -> Any:
            if os.fork() == 0:
                os.closerange(0, 3)
                signal.pause()
            return node(state)

        return run

    g = _graph()
    g.add_node("producer", run=with_child(produce), streams={"stdout": "bytes"})
    g.add_node("consumer1", run=with_child(consumer(1)), streams={"stdin": "bytes"})
    g.add_edge("producer", "consumer1")
    return g.set_entry_point("producer").compile()


# The topology, and how many consumers it has.
TOPOLOGIES: dict[str, tuple[Callable[[], ts.CompiledGraph], int]] = {
    "direct": (direct, 1),
    "broadcast2": (lambda: broadcast(2), 2),
    "broadcast8": (lambda: broadcast(8), 8),
    "diamond": (diamond, 2),
    "spill": (spill, 2),
    "stderr": (stderr, 2),
    "command": (command, 1),
    "grandchildren": (grandchildren, 1),
}
