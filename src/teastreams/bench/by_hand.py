"""The work without teastreams: forks and pipes by hand, coreutils `tee`, and two interpreters in a shell's pipeline.

Each way closes in every process what that process does not use, or nobody would ever see the end of a stream. A
pipe by hand gets the 1 MiB that a channel of ours asks for, where the system gives it.
"""

from __future__ import annotations

import fcntl
import os
import sys
import textwrap
from contextlib import suppress
from typing import Callable, Sequence

from teastreams.bench.children import Children
from teastreams.bench.work import LINE_BYTES, READ_LINES, WRITE_LINES, read_blocks, write_blocks

PYTHON = (sys.executable, "-E", "-c")
"""Without the variables of the environment: PYTHONUNBUFFERED makes every `print` a system call, six times as slow."""
PIPE_BYTES = 1 << 20
SET_PIPE_SIZE = getattr(fcntl, "F_SETPIPE_SZ", 1031)
"""Its number on Linux; Python has the name since 3.10."""


def one_pipe(amount: int) -> None:
    """Two forks and the pipe between them: the most that is possible."""
    read, write = pipe()
    with Children() as children:
        try:
            children.fork("the writer", lambda: write_blocks(write, amount), [read])
            children.fork("the reader", lambda: read_blocks(read) == amount, [write])
        finally:
            close(read, write)
        children.wait()


def tee(program: str, readers: int) -> Callable[[int], None]:
    """`writer | tee /dev/fd/N ... | reader`, with so many readers."""

    def run(amount: int) -> None:
        source, feed = pipe()
        pipes = [pipe() for _ in range(readers)]
        ends = [source, feed, *(fd for each in pipes for fd in each)]
        writes = [write for _read, write in pipes]
        with Children() as children:
            try:
                children.fork("the writer", lambda: write_blocks(feed, amount), set(ends) - {feed})
                for read, _write in pipes:
                    body = _reader(read, amount)
                    children.fork("a reader", body, set(ends) - {read})
                argv = [program, *(f"/dev/fd/{write}" for write in writes[1:])]
                children.spawn("tee", argv, writes[1:], stdin=source, stdout=writes[0])
            finally:
                close(*ends)
            children.wait()

    return run


def two_interpreters(amount: int, python: Sequence[str] = PYTHON) -> None:
    """`python -c WRITE | python -c READ` with the loops that our nodes run; their start is in the time."""
    count = amount // LINE_BYTES
    body = textwrap.indent(WRITE_LINES.format(text=LINE_BYTES - 1, lines=count), "    ")
    write_code = f"def main():{body}\nmain()"
    body = textwrap.indent(READ_LINES.format(), "    ")
    read_code = f"def main():{body}\nraise SystemExit(main()['count'] != {count})"
    read, write = os.pipe()  # what a shell makes: 64 KiB
    with Children() as children:
        try:
            children.spawn("python", [*python, write_code], (), stdout=write)
            children.spawn("python", [*python, read_code], (), stdin=read)
        finally:
            close(read, write)
        children.wait()


def starts(amount: int) -> None:
    """So many times two forks and a pipe with one byte in it."""
    for _ in range(amount):
        one_pipe(1)


def interpreter_starts(amount: int) -> None:
    """So many times `python -c WRITE | python -c READ` with one line in it."""
    for _ in range(amount):
        two_interpreters(LINE_BYTES)


def pipe() -> tuple[int, int]:
    """A pipe of 1 MiB, or as large as it comes where the system refuses."""
    read, write = os.pipe()
    if sys.platform == "linux":
        with suppress(OSError):  # the user's quota of pipe memory is used up
            fcntl.fcntl(write, SET_PIPE_SIZE, PIPE_BYTES)
    return read, write


def close(*fds: int) -> None:
    """All of them."""
    for fd in fds:
        os.close(fd)


def _reader(fd: int, amount: int) -> Callable[[], bool]:
    return lambda: read_blocks(fd) == amount
