"""Lines from one process to others: teastreams beside what a program would use instead, in alternating rounds.

    python tests/benchmarks/alternatives.py [--lines 300000] [--rounds 3] [--json]        (or: nox -s benchmarks)

First one reader that adds up lengths, then three programs (`wc -l`) that read the same lines. A library or program
that is not installed is named as absent. Lines have 100 bytes. Where a library wants tasks instead of a stream it
gets them in batches of a thousand: one by one, pypeln passed fewer than two thousand in a second. Every way runs in a
fork of its own, because some leave threads behind; what a way imports has been imported before. Every sum is checked.
The table is that of `teastreams bench`.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any, Callable, Iterator, Optional

from printed import measure, parser

import teastreams as ts
from teastreams.bench.by_hand import PYTHON, close
from teastreams.bench.children import Children
from teastreams.bench.measuring import Task, Way
from teastreams.bench.work import LINE_BYTES

BATCH = 1000
FORK = multiprocessing.get_context("fork")
READERS = 3
WRITE = f"for number in range({{}}):\n    print(f'{{{{number:0{LINE_BYTES - 1}}}}}')\n"
READ = "import sys\nraise SystemExit(sum(map(len, sys.stdin)) != {})"
PARALLEL = ("--will-cite", "--pipe", "--tee", "-j", str(READERS))
TEE = "{ " + "tee " + ">(wc -l >&3) " * (READERS - 1) + "| wc -l; } 3>&1"
"""A shell's own way to several programs; bash, because sh has no process substitution."""


def lines(amount: int) -> Iterator[str]:
    """Each another one: a pickle of a list would have what is the same only once."""
    return (f"{number:0{LINE_BYTES - 1}}\n" for number in range(amount // LINE_BYTES))


def expect(found: int, amount: int) -> None:
    if found != amount:
        raise SystemExit(f"got {found} bytes of {amount}: that is no measurement")


# -- one reader -------------------------------------------------------------------------------------------------------


def print_all(amount: int) -> None:
    for number in range(amount // LINE_BYTES):
        print(f"{number:0{LINE_BYTES - 1}}")


def through_print(amount: int) -> None:
    """`print` and `for line in sys.stdin`."""

    def write(state: Any) -> None:
        print_all(amount)

    def read(state: Any) -> dict[str, int]:
        return {"total": sum(map(len, sys.stdin))}

    expect(ts.pipeline(write, read).run({}, echo_output=False).state["total"], amount)


def through_lines(amount: int) -> None:
    """`context.write_lines` and `context.lines`: the bytes, without their newlines."""

    def write(state: Any, context: Any) -> None:
        context.write_lines(f"{number:0{LINE_BYTES - 1}}" for number in range(amount // LINE_BYTES))

    def read(state: Any, context: Any) -> dict[str, int]:
        return {"total": sum(len(line) + 1 for line in context.lines())}

    expect(ts.pipeline(write, read).run({}, echo_output=False).state["total"], amount)


def through_interpreters(amount: int) -> None:
    """`python -c WRITE | python -c READ`."""
    read, write = os.pipe()
    with Children() as children:
        try:
            children.spawn("python", [*PYTHON, WRITE.format(amount // LINE_BYTES)], (), stdout=write)
            children.spawn("python", [*PYTHON, READ.format(amount)], (), stdin=read)
        finally:
            close(read, write)
        children.wait()


def put_all(queue: Any, amount: int) -> None:
    for line in lines(amount):
        queue.put(line)
    queue.put(None)


def through_queue(amount: int) -> None:
    queue: Any = FORK.Queue(10 * BATCH)
    worker = FORK.Process(target=put_all, args=(queue, amount))
    worker.start()
    expect(sum(map(len, iter(queue.get, None))), amount)
    worker.join()


def send_all(connection: Any, amount: int) -> None:
    for line in lines(amount):
        connection.send(line)
    connection.send(None)


def through_pipe(amount: int) -> None:
    read, write = FORK.Pipe(duplex=False)
    worker = FORK.Process(target=send_all, args=(write, amount))
    worker.start()
    write.close()
    expect(sum(map(len, iter(read.recv, None))), amount)
    worker.join()
    read.close()


def through_futures(amount: int) -> None:
    with ProcessPoolExecutor(1, FORK) as pool:
        expect(sum(pool.map(len, lines(amount), chunksize=BATCH)), amount)


def length_of(batch: list[str]) -> int:
    return sum(map(len, batch))


def batches(amount: int) -> Iterator[list[str]]:
    source = lines(amount)
    return iter(lambda: list(islice(source, BATCH)), [])


def through_joblib(amount: int) -> None:
    import joblib

    found = joblib.Parallel(n_jobs=2)(joblib.delayed(length_of)(batch) for batch in batches(amount))
    expect(sum(found), amount)


def through_pypeln(amount: int) -> None:
    import pypeln

    expect(sum(pypeln.process.map(length_of, batches(amount), workers=1, maxsize=10)), amount)


def through_mpipe(amount: int) -> None:
    import mpipe

    pipeline = mpipe.Pipeline(mpipe.OrderedStage(length_of))

    def put() -> None:
        for batch in batches(amount):
            pipeline.put(batch)
        pipeline.put(None)

    feeder = threading.Thread(target=put)  # whoever puts everything before reading waits forever for a full pipe
    feeder.start()
    expect(sum(pipeline.results()), amount)
    feeder.join()


# -- three programs ---------------------------------------------------------------------------------------------------


def to_three_nodes(amount: int) -> None:
    def write(state: Any) -> None:
        print_all(amount)

    graph = ts.StateGraph()
    graph.add_node("writer", run=write, streams={"stdout": "lines"})
    names = [f"count{number}" for number in range(READERS)]
    for name in names:
        graph.add_node(name, command=["wc", "-l"], streams={"stdin": "lines"})
    graph.add_parallel_edge("writer", names, stream_mode="broadcast")
    graph.set_entry_point("writer")
    result = graph.compile().run({}, echo_output=False)
    found = result.channels["lines"].consumers
    expect(sum(found[name].bytes for name in names), amount * READERS)


def to_program(*command: str) -> Callable[[int], None]:
    """`python -c WRITE | command`, whose output is three numbers of lines."""

    def run(amount: int) -> None:
        writer = subprocess.Popen([*PYTHON, WRITE.format(amount // LINE_BYTES)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        said = subprocess.run(command, stdin=writer.stdout, stdout=subprocess.PIPE, check=True).stdout
        writer.stdout.close()
        writer.wait()
        expect(sum(map(int, said.split())) * LINE_BYTES, amount * READERS)

    return run


# -- what there is ----------------------------------------------------------------------------------------------------


def library(name: str, run: Callable[[int], None]) -> Way:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what pypeln needs uses what is deprecated
            importlib.import_module(name)
    except ImportError as error:
        missing = error.name == name
        return Way(name, None, "absent: not installed" if missing else f"absent: it cannot be imported here: {error}")
    return Way(name, run)


def program(title: str, name: str, *arguments: str) -> Way:
    path: Optional[str] = shutil.which(name)
    return Way(title, to_program(path, *arguments)) if path else Way(title, None, f"absent: no {name} on the PATH")


def shells_tee() -> Way:
    way = program("tee, in bash", "bash", "-c", TEE)
    return way if shutil.which("tee") else Way(way.name, None, "absent: no tee on the PATH")


def apart(way: Way) -> Way:
    """In a fork, with an end to what the library leaves behind; the cost of both is in the time of all.

    pypeln, mpipe and joblib leave processes that wait for more, for minutes or for ever, and hold what they inherited.
    """

    def leading(amount: int) -> bool:
        os.setpgid(0, 0)
        assert way.run is not None
        way.run(amount - amount % LINE_BYTES)
        return True

    def run(amount: int) -> None:
        with Children() as children:
            group = children.fork(way.name, partial(leading, amount))
            try:
                children.wait()
            finally:
                with suppress(ProcessLookupError):  # nobody was left
                    os.killpg(group, signal.SIGKILL)

    return Way(way.name, run if way.run is not None else None, way.absent)


def tasks(count: int) -> list[Task]:
    one = (
        Way("teastreams, print", through_print),
        Way("teastreams, write_lines", through_lines),
        Way("python | python", through_interpreters),
        Way("multiprocessing.Queue", through_queue),
        Way("multiprocessing.Pipe", through_pipe),
        Way("concurrent.futures", through_futures),
        library("joblib", through_joblib),
        library("pypeln", through_pypeln),
        library("mpipe", through_mpipe),
    )
    three = (
        Way("teastreams, print", to_three_nodes),
        shells_tee(),
        program("parallel --pipe --tee", "parallel", *PARALLEL, "wc", "{}", ":::", *["-l"] * READERS),
        program("pee", "pee", *["wc -l"] * READERS),
    )
    amount = count * LINE_BYTES
    return [
        Task("one", f"{count} lines to one process", "MB/s", amount, tuple(map(apart, one))),
        Task("three", f"{count} lines to each of {READERS} programs", "MB/s", amount, tuple(map(apart, three))),
    ]


def main() -> None:
    """Print the table, or everything as JSON."""
    options = parser("lines from one process to others, in the ways there are", 3)
    options.add_argument("--lines", type=int, default=300_000)
    chosen = options.parse_args()
    through_lines(LINE_BYTES)  # imports what a run needs, so that no fork has to
    measure(tasks(chosen.lines), chosen)


if __name__ == "__main__":
    main()
