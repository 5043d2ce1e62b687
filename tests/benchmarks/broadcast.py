"""One producer, three consumers: the fan-out worker against coreutils `tee`, in one alternating run.

    python tests/benchmarks/broadcast.py [MiB] [rounds]

Both sides have the same producer and the same readers, forked from this process; only what stands between them differs.
Prints the rate of each and the ratio of the medians: machines are noisy, so only the ratio is worth quoting.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from typing import Any, Callable

import teastreams as ts

BLOCK = b"x" * 65536
CONSUMERS = 3


def produce(fd: int, size: int) -> None:
    for _ in range(size // len(BLOCK)):
        rest = memoryview(BLOCK)
        while rest:
            rest = rest[os.write(fd, rest) :]


def consume(fd: int) -> int:
    buffer, count = bytearray(1 << 20), 0
    while True:
        got = os.readv(fd, [buffer])
        if got == 0:
            return count
        count += got


def through_teastreams(size: int) -> None:
    graph = ts.StateGraph()
    graph.add_node("producer", run=lambda state: produce(1, size), streams={"stdout": "blocks"})
    names = [f"reader{index}" for index in range(CONSUMERS)]
    for name in names:
        graph.add_node(name, run=lambda state, node: {node: consume(0)}, streams={"stdin": "blocks"})
    graph.add_parallel_edge("producer", names, stream_mode="broadcast")
    graph.set_entry_point("producer")
    result = graph.compile().run({})
    assert [result.state[name] for name in names] == [size] * CONSUMERS


def through_tee(size: int) -> None:
    source, feed = os.pipe()
    pipes = [os.pipe() for _ in range(CONSUMERS)]
    ends = [fd for pipe in pipes for fd in pipe]
    children = [forked(lambda: produce(feed, size), [feed], [source, *ends])]
    for read, _write in pipes:
        others = [fd for fd in (source, feed, *ends) if fd != read]
        children.append(forked(lambda read=read: consume(read), [read], others))
    writes = [write for _read, write in pipes]
    files = [f"/dev/fd/{write}" for write in writes[1:]]
    tee = subprocess.Popen(["tee", *files], stdin=source, stdout=writes[0], pass_fds=writes[1:])
    for fd in (source, feed, *ends):
        os.close(fd)
    for child in children:
        os.waitpid(child, 0)
    tee.wait()


def forked(body: Callable[[], Any], _keep: list[int], close: list[int]) -> int:
    pid = os.fork()
    if pid == 0:
        for fd in close:
            os.close(fd)
        body()
        os._exit(0)
    return pid


def seconds(run: Callable[[int], None], size: int) -> float:
    started = time.perf_counter()
    run(size)
    return time.perf_counter() - started


def main() -> None:
    size = int(sys.argv[1] if len(sys.argv) > 1 else 512) << 20
    rounds = int(sys.argv[2] if len(sys.argv) > 2 else 5)
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(seconds(through_teastreams, size))
        theirs.append(seconds(through_tee, size))
    rate = [size / statistics.median(times) / 1e9 for times in (ours, theirs)]
    print(f"{CONSUMERS} consumers, {size >> 20} MiB in 64 KiB writes, medians of {rounds} alternating rounds")
    print(f"teastreams {rate[0]:.2f} GB/s, tee {rate[1]:.2f} GB/s, ratio {rate[0] / rate[1]:.2f}")


if __name__ == "__main__":
    main()
