"""Lines and records from one node to the next: beside a shell's pipeline, many at a time, and how soon one arrives.

    python tests/benchmarks/text.py [--lines 600000] [--rounds 3] [--json]

Lines have 100 bytes, and so have records as JSON. `python -u` is what PYTHONUNBUFFERED=1 makes of an interpreter: every
`print` is a system call. A flushed line carries the time of its writing on the clock that both processes share; what
counts is the median of a round.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import sys
import time
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, Callable, Iterable

from printed import measure, parser

import teastreams as ts
from teastreams.bench.by_hand import PYTHON, close, two_interpreters
from teastreams.bench.by_teastreams import lines as printed_lines
from teastreams.bench.children import Children
from teastreams.bench.measuring import Task, Way
from teastreams.bench.work import LINE_BYTES
from teastreams.runtime.node.stdio import text_writer

LINE = "x" * (LINE_BYTES - 1)
BYTES = LINE.encode()
RECORD = {"number": 1, "name": "tea", "text": "x" * 61}
"""100 bytes with its newline, as JSON without spaces."""
FORK = multiprocessing.get_context("fork")
CODECS: dict[str, Any] = {"bytes": BYTES, "pickle": RECORD, "jsonl": RECORD}
FLUSHES = 400
PAUSE_SECONDS = 0.0005
"""Between two lines: longer than one takes to arrive, so that each finds its reader waiting."""

FLUSH = """
import time
for _ in range({flushes}):
    print(time.monotonic_ns(), flush=True)
    time.sleep({pause})
"""
ARRIVE = """
import statistics, sys, time
median = statistics.median(time.monotonic_ns() - int(line) for line in sys.stdin)
print(median)
"""


def checked(found: int, amount: int) -> None:
    if found != amount // LINE_BYTES:
        raise SystemExit(f"got {found} of {amount // LINE_BYTES}: that is no measurement")


class Nowhere:
    """A stdout that does nothing: what is left is what `print` itself costs."""

    write = staticmethod(len)
    flush = staticmethod(lambda: None)


def as_in_a_node() -> Any:
    return text_writer(io.FileIO(os.devnull, "w"), errors="strict", line_buffering=False)


def as_in_an_interpreter() -> Any:
    return io.TextIOWrapper(io.BufferedWriter(io.FileIO(os.devnull, "w")), encoding="utf-8")


def printed_to(make: Callable[[], Any]) -> Callable[[int], float]:
    """The prints alone, in this process."""

    def run(amount: int) -> float:
        kept, sys.stdout = sys.stdout, make()
        began = time.perf_counter()
        try:
            for _ in range(amount // LINE_BYTES):
                print(LINE)
            sys.stdout.flush()
            return time.perf_counter() - began
        finally:
            sys.stdout = kept

    return run


def many(write: Callable[[Any, int], object], read: Callable[[Any], Iterable[object]]) -> Callable[[int], None]:
    """A run of two nodes: one writes so many through its context, the other counts what it reads from its own."""

    def writer(state: Any, context: Any) -> None:
        write(context, state["count"])

    def reader(state: Any, context: Any) -> dict[str, int]:
        return {"found": sum(1 for _ in read(context))}

    def run(amount: int) -> None:
        state = ts.pipeline(writer, reader).run({"count": amount // LINE_BYTES}, echo_output=False).state
        checked(state["found"], amount)

    return run


def lines_of(line: Any) -> Callable[[int], None]:
    return many(lambda context, count: context.write_lines(line for _ in range(count)), lambda context: context.lines())


def records_of(codec: str) -> Callable[[int], None]:
    value = CODECS[codec]
    return many(
        lambda context, count: context.write_records((value for _ in range(count)), codec),
        lambda context: context.records(codec),
    )


def json_by_print(amount: int) -> None:
    """What one writes without records."""

    def write(state: Any) -> None:
        for _ in range(amount // LINE_BYTES):
            print(json.dumps(RECORD))

    def read(state: Any) -> dict[str, int]:
        return {"found": sum(1 for line in sys.stdin if json.loads(line))}

    checked(ts.pipeline(write, read).run({}, echo_output=False).state["found"], amount)


def send_all(connection: Connection, value: Any, count: int) -> None:
    for _ in range(count):
        connection.send(value)
    connection.send(None)


def through_connection(value: Any) -> Callable[[int], None]:
    """`multiprocessing.Pipe` with `send` and `recv`, which make pickles."""

    def run(amount: int) -> None:
        read, write = FORK.Pipe(duplex=False)
        with read, write:
            worker = FORK.Process(target=send_all, args=(write, value, amount // LINE_BYTES))
            worker.start()
            found = sum(1 for _ in iter(read.recv, None))
            worker.join()
        checked(found, amount)

    return run


# -- how soon a flushed line arrives ----------------------------------------------------------------------------------


def flushed_in_nodes(_amount: int) -> float:
    def write(state: Any) -> None:
        import time

        for _ in range(FLUSHES):
            print(time.monotonic_ns(), flush=True)
            time.sleep(PAUSE_SECONDS)

    def read(state: Any) -> dict[str, float]:
        import statistics
        import time

        return {"median": statistics.median(time.monotonic_ns() - int(line) for line in sys.stdin)}

    return float(ts.pipeline(write, read).run({}, echo_output=False).state["median"]) / 1e9


def flushed_in_interpreters(_amount: int) -> float:
    read, write = os.pipe()
    answers, answer = os.pipe()
    with open(answers, encoding="ascii") as file, Children() as children:
        try:
            code = FLUSH.format(flushes=FLUSHES, pause=PAUSE_SECONDS)
            children.spawn("python", [*PYTHON, code], (), stdout=write)
            children.spawn("python", [*PYTHON, ARRIVE], (), stdin=read, stdout=answer)
        finally:
            close(read, write, answer)
        children.wait()
        return float(file.read()) / 1e9


# -- what is compared -------------------------------------------------------------------------------------------------


def tasks(count: int) -> list[Task]:
    amount = count * LINE_BYTES
    shell = (
        Way("teastreams", printed_lines),
        Way("python | python", two_interpreters),
        Way("python -u | python -u", partial(two_interpreters, python=(sys.executable, "-u", "-E", "-c"))),
    )
    lines = (
        Way("write_lines, str", lines_of(LINE)),
        Way("write_lines, bytes", lines_of(BYTES)),
        Way("print", printed_lines),
    )
    frames = (
        Way("write_records, bytes", records_of("bytes")),
        Way("multiprocessing.Pipe", through_connection(BYTES)),
        Way("print", printed_lines),
    )
    pickles = (
        Way("write_records, pickle", records_of("pickle")),
        Way("multiprocessing.Pipe", through_connection(RECORD)),
    )
    texts = (Way("write_records, jsonl", records_of("jsonl")), Way("print(json.dumps())", json_by_print))
    flush = (Way("teastreams", flushed_in_nodes), Way("python | python", flushed_in_interpreters))
    alone = (
        Way("stdout of a node", printed_to(as_in_a_node)),
        Way("stdout of an interpreter", printed_to(as_in_an_interpreter)),
        Way("a stdout that does nothing", printed_to(Nowhere)),
    )
    return [
        Task("print", f"{count} prints alone, into /dev/null", "MB/s", amount, alone),
        Task("shell", f"{count} lines by print and for line in sys.stdin", "MB/s", amount, shell),
        Task("lines", f"{count} lines, many at a time", "MB/s", amount, lines),
        Task("bytes", f"{count} records of bytes", "MB/s", amount, frames),
        Task("pickle", f"{count} dicts as pickles", "MB/s", amount, pickles),
        Task("jsonl", f"{count} dicts as lines of JSON", "MB/s", amount, texts),
        Task("flush", "a line with flush=True, from write to read", "us", 1, flush),
    ]


def main() -> None:
    """Print the table, or everything as JSON."""
    options = parser("lines and records from one node to the next", 3)
    options.add_argument("--lines", type=int, default=600_000)
    chosen = options.parse_args()
    measure(tasks(chosen.lines), chosen)


if __name__ == "__main__":
    main()
