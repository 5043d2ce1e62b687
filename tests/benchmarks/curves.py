"""Throughput against the size of a write and against the number of readers, beside what one would use instead.

    python tests/benchmarks/curves.py [--rounds 3] [--box 0.2] [--only write-size] [--json]

At every point each way writes for the same time (`--box`, seconds), however fast it is, so that messages of 64 bytes
and of 1 MiB cost the same time to measure. A reader's clock runs from when its first bytes came until its end: starting
counts on no side. The slowest reader's rate is shown. That every reader got all that was written is checked each time.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import sys
import time
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, Callable, Iterator, NamedTuple, Optional, Sequence

from curve import BYTES, Curve, as_markdown, curve_as_dict

import teastreams as ts
from teastreams.bench.by_hand import close, pipe
from teastreams.bench.by_teastreams import PORTABLE, portable
from teastreams.bench.children import Children
from teastreams.bench.machine import machine
from teastreams.bench.measuring import Task, Way, compared
from teastreams.bench.work import READ_BYTES

FORK = multiprocessing.get_context("fork")
SIZES = tuple(64 << 2 * step for step in range(8))
READERS = (1, 2, 3, 4, 8, 16)
SIZE = 65536
AMOUNT = 10**9
"""Seconds are told as those of so many bytes; the box says how long was really measured."""
SHORTEST_BOX = 0.02
BETWEEN_LOOKS = 65536
"""So many bytes are written between two looks at the clock."""


class Read(NamedTuple):
    """What a reader tells: bytes that came at first, bytes after them, and the seconds that those took."""

    first: int
    rest: int
    seconds: float


class End(NamedTuple):
    """A process made by hand: what it does, and which descriptors it keeps."""

    body: Callable[[], Any]
    keep: set[int]


@dataclass(frozen=True)
class Point:
    """What is measured: writes of so many bytes, to so many readers, for so many seconds."""

    size: int
    readers: int
    box: float


Through = Callable[[Point], tuple[int, list[Read]]]

# -- the work ---------------------------------------------------------------------------------------------------------


def write_for(put: Callable[[bytes], Any], point: Point) -> int:
    """How many bytes were put, one block at a time, until the time was over; some in any case."""
    block, batch, count = bytes(point.size), max(1, BETWEEN_LOOKS // point.size), 0
    until = time.perf_counter() + point.box
    while count == 0 or time.perf_counter() < until:
        for _ in range(batch):
            put(block)
        count += batch
    return count * point.size


def read_all(get: Callable[[], int]) -> Read:
    """Until `get`, which says how many bytes it got, says 0."""
    first = get()
    began, count = time.perf_counter(), 0
    while True:
        got = get()
        if got == 0:
            return Read(first, count, time.perf_counter() - began)
        count += got


def read_pipe(fd: int) -> Read:
    buffer = bytearray(READ_BYTES)
    return read_all(lambda: os.readv(fd, [buffer]))


def put_to_each(puts: Sequence[Callable[[bytes], Any]], block: bytes) -> None:
    for put in puts:
        put(block)


# -- the ways ---------------------------------------------------------------------------------------------------------


def through_teastreams(point: Point) -> tuple[int, list[Read]]:
    graph = ts.StateGraph()
    put = partial(os.write, 1)
    graph.add_node("writer", run=lambda state: {"written": write_for(put, point)}, streams={"stdout": "blocks"})
    names = [f"reader{number}" for number in range(point.readers)]
    for name in names:
        graph.add_node(name, run=lambda state, node: {node: list(read_pipe(0))}, streams={"stdin": "blocks"})
    if point.readers == 1:
        graph.add_edge("writer", "reader0")
    else:
        graph.add_parallel_edge("writer", names, stream_mode="broadcast")
    graph.set_entry_point("writer")
    state = graph.compile().run({}, echo_output=False).state
    return state["written"], [Read(*state[name]) for name in names]


def through_the_pump(point: Point) -> tuple[int, list[Read]]:
    """The same on a system that cannot copy from pipe to pipe."""
    return portable(lambda _amount: through_teastreams(point))(0)


def through_pipes(point: Point) -> tuple[int, list[Read]]:
    """One write for each reader, each through a pipe of its own."""
    pipes = [pipe() for _ in range(point.readers)]
    puts = [partial(os.write, write) for _read, write in pipes]
    writer = End(partial(write_for, partial(put_to_each, puts), point), {write for _read, write in pipes})
    if len(puts) == 1:
        writer = writer._replace(body=partial(write_for, puts[0], point))
    readers = [End(partial(read_pipe, read), {read}) for read, _write in pipes]
    return by_hand(writer, readers, [fd for each in pipes for fd in each])


def through_tee(program: str, point: Point) -> tuple[int, list[Read]]:
    source, feed = pipe()
    pipes = [pipe() for _ in range(point.readers)]
    writes = [write for _read, write in pipes]
    writer = End(partial(write_for, partial(os.write, feed), point), {feed})
    readers = [End(partial(read_pipe, read), {read}) for read, _write in pipes]
    argv = [program, *(f"/dev/fd/{write}" for write in writes[1:])]
    ends = [source, feed, *(fd for each in pipes for fd in each)]
    return by_hand(writer, readers, ends, argv, keep=writes[1:], stdin=source, stdout=writes[0])


def through_connections(point: Point) -> tuple[int, list[Read]]:
    """What multiprocessing.Pipe makes, a pipe and a Connection at each end, with `send_bytes`, which makes no pickles.

    The connections are made where they are used: those of the others would keep the pipes open here.
    """
    pipes = [os.pipe() for _ in range(point.readers)]

    def write() -> int:
        connections = [Connection(write, readable=False) for _read, write in pipes]
        return write_for(partial(put_to_each, [connection.send_bytes for connection in connections]), point)

    def read(fd: int) -> Read:
        connection = Connection(fd, writable=False)
        return read_all(partial(received, connection))

    readers = [End(partial(read, fd), {fd}) for fd, _write in pipes]
    return by_hand(End(write, {fd for _read, fd in pipes}), readers, [fd for each in pipes for fd in each])


def received(connection: Connection) -> int:
    try:
        return len(connection.recv_bytes())
    except EOFError:
        return 0


def through_queues(point: Point) -> tuple[int, list[Read]]:
    """A queue for each reader that holds as many bytes as a pipe of ours; its pickles are made by a thread."""
    queues = [FORK.Queue(max(4, READ_BYTES // point.size)) for _ in range(point.readers)]

    def write() -> int:
        count = write_for(partial(put_to_each, [queue.put for queue in queues]), point)
        for queue in queues:
            queue.put(None)
            queue.close()
        for queue in queues:
            queue.join_thread()
        return count

    readers = [End(partial(read_all, lambda queue=queue: len(queue.get() or b"")), set()) for queue in queues]
    try:
        return by_hand(End(write, set()), readers, [])
    finally:
        for queue in queues:
            queue.close()


def by_hand(
    writer: End, readers: Sequence[End], ends: Sequence[int], program: Sequence[str] = (), **streams: Any
) -> tuple[int, list[Read]]:
    """Forks, and a program between them where there is one; `ends` are closed by all who do not keep them."""
    answers, answer = os.pipe()

    def telling(body: Callable[[], Any]) -> Callable[[], bool]:
        return lambda: os.write(answer, f"{json.dumps(body())}\n".encode()) > 0

    with open(answers, encoding="ascii") as file, Children() as children:
        try:
            for name, end in [("the writer", writer), *(("a reader", reader) for reader in readers)]:
                children.fork(name, telling(end.body), set(ends) - end.keep)
            if program:
                children.spawn(program[0], program, streams.pop("keep"), **streams)
        finally:
            close(*ends, answer)
        children.wait()
        told = [json.loads(line) for line in file]
    (written,) = (each for each in told if isinstance(each, int))
    return written, [Read(*each) for each in told if isinstance(each, list)]


# -- points and curves ------------------------------------------------------------------------------------------------


def seconds_for(amount: int, written: int, reads: Sequence[Read]) -> float:
    """Those of the slowest reader for `amount` bytes. SystemExit unless each of them got all that was written."""
    found = {read.first + read.rest for read in reads}
    if found != {written}:
        raise SystemExit(f"readers got {sorted(found)} of {written} bytes: that is no measurement")
    # A reader that was so late that all came in its first read has no rate but that of everything.
    return max(amount * read.seconds / (read.rest or read.first) for read in reads)


def boxed(through: Through, size: int, readers: int, box: float) -> Callable[[int], float]:
    """A way whose part of the amount is a part of the box: the warming up is short."""

    def run(amount: int) -> float:
        seconds = max(SHORTEST_BOX, box * amount / AMOUNT)
        return seconds_for(AMOUNT, *through(Point(size, readers, seconds)))

    return run


def task(size: int, readers: int, throughs: Sequence[tuple[str, Optional[Through], str]], box: float) -> Task:
    ways = tuple(
        Way(name, None if through is None else boxed(through, size, readers, box), absent)
        for name, through, absent in throughs
    )
    return Task(f"{size}x{readers}", f"writes of {size} bytes to {readers}", "MB/s", AMOUNT, ways)


def ways(*names: str) -> list[tuple[str, Optional[Through], str]]:
    """These of all the ways, `teastreams` first; why one is missing."""
    program = shutil.which("tee")
    pumps = sys.platform != "linux" or os.environ.get(PORTABLE) == "1"
    found: dict[str, tuple[Optional[Through], str]] = {
        "teastreams": (through_teastreams, ""),
        "teastreams, portable": (None, "the same as teastreams here") if pumps else (through_the_pump, ""),
        "two forks, one pipe": (through_pipes, ""),
        "a pipe to each": (through_pipes, ""),
        "tee": (partial(through_tee, program), "") if program else (None, "there is no tee on the PATH"),
        "multiprocessing.Pipe": (through_connections, ""),
        "multiprocessing.Queue": (through_queues, ""),
    }
    return [(name, *found[name]) for name in ("teastreams", *names)]


DIRECT = ("two forks, one pipe", "multiprocessing.Pipe", "multiprocessing.Queue")
COPIES = ("teastreams, portable", "a pipe to each", "tee")
BROADCAST = (*COPIES, "multiprocessing.Pipe", "multiprocessing.Queue")
CURVES = ("write-size", "write-size-3", "readers")


def planned(name: str, box: float) -> tuple[Curve, list[tuple[int, Task]]]:
    """A curve without points, and what gives them."""
    if name == "readers":
        curve = Curve(name, f"Writes of {SIZE >> 10} KiB to several readers", "readers", "", ())
        return curve, [(readers, task(SIZE, readers, ways(*BROADCAST), box)) for readers in READERS]
    if name == "write-size":
        curve = Curve(name, "One writer, one reader: the size of a write", "bytes in a write", BYTES, ())
        return curve, [(size, task(size, 1, ways(*DIRECT), box)) for size in SIZES]
    curve = Curve(name, "One writer, three readers: the size of a write", "bytes in a write", BYTES, ())
    return curve, [(size, task(size, 3, ways(*COPIES), box)) for size in SIZES]


def measured(names: Sequence[str], rounds: int, box: float) -> Iterator[Curve]:
    """One curve after another; what begins is said on stderr."""
    for name in names:
        curve, tasks = planned(name, box)
        print(f"{curve.title}: {len(tasks)} points, {rounds} rounds", file=sys.stderr, flush=True)
        points = tuple((place, compared(each, rounds)) for place, each in tasks)
        yield Curve(curve.name, curve.title, curve.axis, curve.unit, points)


def main() -> None:
    """Print tables, or everything as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--box", type=float, default=0.2, help="seconds of each measurement (0.2)")
    parser.add_argument("--only", action="append", choices=CURVES, default=[])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    where = machine()
    found = list(measured(options.only or CURVES, options.rounds, options.box))
    if options.json:
        kept = {"machine": where, "rounds": options.rounds, "box_seconds": options.box}
        print(json.dumps({**kept, "curves": [curve_as_dict(each) for each in found]}, indent=2))
    else:
        print("\n\n".join(f"{each.title}\n\n{as_markdown(each)}" for each in found))


if __name__ == "__main__":
    main()
