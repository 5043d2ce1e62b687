"""One producer, several consumers: the fan-out worker against what else there is, in one run of alternating rounds.

    python tests/benchmarks/broadcast.py [MiB] [rounds]

Every way has the same producer and the same readers, forked from this process; only what stands between them differs:
nothing at all (one pipe of 1 MiB and one reader, the most that is possible), coreutils `tee`, the fan-out worker, and
the fan-out worker on a kernel that refuses to duplicate (its read and write pump). Prints rates and the ratios of the
medians: machines are noisy, so only the ratios are worth quoting. `CPU` is the time of all processes together, in
seconds for a GiB of the producer's: no way can be faster than that time shared out to all cores. `worker` is the CPU
time of the fan-out worker alone.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, Callable, Iterator

import teastreams as ts
from teastreams.runtime import calls
from teastreams.runtime.fanout import tee as fanout_worker

BLOCK = b"x" * 65536
GIB = 1 << 30
LARGE_PIPE = 1 << 20
CPU: list[float] = []


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


# -- the ways ---------------------------------------------------------------------------------------------------------


def through_teastreams(consumers: int, size: int) -> None:
    graph = ts.StateGraph()
    graph.add_node("producer", run=lambda state: produce(1, size), streams={"stdout": "blocks"})
    names = [f"reader{index}" for index in range(consumers)]
    for name in names:
        graph.add_node(name, run=lambda state, node: {node: consume(0)}, streams={"stdin": "blocks"})
    graph.add_parallel_edge("producer", names, stream_mode="broadcast")
    graph.set_entry_point("producer")
    result = graph.compile().run({})
    assert [result.state[name] for name in names] == [size] * consumers


def through_the_pump(consumers: int, size: int) -> None:
    """The same on a kernel that has no `tee` and no `splice`."""

    def refuse(*_args: Any) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    before = calls.table.tee, calls.table.splice
    calls.table.tee = calls.table.splice = refuse
    try:
        through_teastreams(consumers, size)
    finally:
        calls.table.tee, calls.table.splice = before


def through_one_pipe(size: int) -> None:
    read, write = os.pipe()
    fcntl.fcntl(write, calls.F_SETPIPE_SZ, LARGE_PIPE)
    children = [forked(lambda: produce(write, size), [read]), forked(lambda: consume(read), [write])]
    for fd in (read, write):
        os.close(fd)
    for child in children:
        os.waitpid(child, 0)


def through_tee(consumers: int, size: int) -> None:
    source, feed = os.pipe()
    pipes = [os.pipe() for _ in range(consumers)]
    ends = [fd for pipe in pipes for fd in pipe]
    children = [forked(lambda: produce(feed, size), [source, *ends])]
    for read, _write in pipes:
        others = [fd for fd in (source, feed, *ends) if fd != read]
        children.append(forked(lambda read=read: consume(read), others))
    writes = [write for _read, write in pipes]
    files = [f"/dev/fd/{write}" for write in writes[1:]]
    tee = subprocess.Popen(["tee", *files], stdin=source, stdout=writes[0], pass_fds=writes[1:])
    for fd in (source, feed, *ends):
        os.close(fd)
    for child in children:
        os.waitpid(child, 0)
    tee.wait()


def forked(body: Callable[[], Any], close: list[int]) -> int:
    pid = os.fork()
    if pid == 0:
        for fd in close:
            os.close(fd)
        body()
        os._exit(0)
    return pid


# -- measuring --------------------------------------------------------------------------------------------------------


@contextmanager
def cpu_of_the_worker() -> Iterator[None]:
    """The CPU seconds of the fan-out worker go to `CPU`: it is forked from here, and says so through a pipe."""
    read, write = os.pipe()
    pump = fanout_worker.pump

    def measured(*args: Any, **options: Any) -> Any:
        before = resource.getrusage(resource.RUSAGE_SELF)
        totals = pump(*args, **options)
        after = resource.getrusage(resource.RUSAGE_SELF)
        os.write(write, str(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime).encode())
        return totals

    fanout_worker.pump = measured
    try:
        yield
        CPU.append(float(os.read(read, 100)))
    finally:
        fanout_worker.pump = pump
        os.close(read)
        os.close(write)


def seconds(run: Callable[[int], None], size: int) -> float:
    started = time.perf_counter()
    run(size)
    return time.perf_counter() - started


def cpu_seconds() -> float:
    """Of this process and of all its children that have ended."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in spent)


def rates(ways: dict[str, Callable[[int], None]], size: int, rounds: int) -> dict[str, tuple[float, float]]:
    """GB/s of each way and CPU seconds for a GiB, the medians of `rounds` rounds in which every way has its turn."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    spent: dict[str, list[float]] = {name: [] for name in ways}
    CPU.clear()
    for _ in range(rounds):
        for name, way in ways.items():
            before = cpu_seconds()
            with cpu_of_the_worker() if name == "teastreams" else nullcontext():
                times[name].append(seconds(way, size))
            spent[name].append((cpu_seconds() - before) * GIB / size)
    median = statistics.median
    return {name: (size / median(times[name]) / 1e9, median(spent[name])) for name in ways}


def compare(consumers: int, size: int, rounds: int) -> None:
    rate = rates(
        {
            "one pipe, one reader": through_one_pipe,
            "teastreams": partial(through_teastreams, consumers),
            "its read/write pump": partial(through_the_pump, consumers),
            "coreutils tee": partial(through_tee, consumers),
        },
        size,
        rounds,
    )
    ours, _ = rate["teastreams"]
    print(f"{consumers} consumers, {size >> 20} MiB in 64 KiB writes, medians of {rounds} alternating rounds")
    for name, (each, cpu) in rate.items():
        print(f"  {name:22} {each:5.2f} GB/s   teastreams is {ours / each:5.2f} times that   CPU {cpu:5.2f} s")
    print(f"  worker: {statistics.median(CPU) * GIB / size:.3f} s of CPU per GiB")


def main() -> None:
    size = int(sys.argv[1] if len(sys.argv) > 1 else 1024) << 20
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    for consumers in (3, 8):
        compare(consumers, size, rounds)


if __name__ == "__main__":
    main()
