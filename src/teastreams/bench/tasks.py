"""What `teastreams bench` compares: five tasks, each in the ways that this machine has.

A way that is missing here is said to be, with the reason. The amounts follow from one size, so that all tasks take
about as long; a size is that of the direct channel, in bytes.
"""

from __future__ import annotations

import os
import shutil
import sys
from typing import Sequence

from teastreams.bench import by_hand, by_teastreams
from teastreams.bench.measuring import Task, Way
from teastreams.bench.work import LINE_BYTES

NAMES = ("direct", "broadcast-3", "broadcast-8", "text", "start")
OURS = "teastreams"
TEXT_PART = 8
"""Lines cost more than blocks, byte for byte: so small a part of the size takes about as long."""
STARTS = 5


def tasks(size_bytes: int, only: Sequence[str] = ()) -> tuple[Task, ...]:
    """All of them, or those with these names, in the order of `NAMES`."""
    made = {
        "direct": lambda: _direct(size_bytes),
        "broadcast-3": lambda: _broadcast(3, size_bytes),
        "broadcast-8": lambda: _broadcast(8, size_bytes),
        "text": lambda: _text(size_bytes // TEXT_PART),
        "start": _start,
    }
    return tuple(made[name]() for name in NAMES if name in (only or NAMES))


def _direct(amount: int) -> Task:
    ways = (Way(OURS, by_teastreams.blocks(1)), Way("two forks, one pipe", by_hand.one_pipe))
    return Task("direct", f"direct channel, {_mib(amount)} in writes of 64 KiB", "GB/s", amount, ways)


def _broadcast(readers: int, amount: int) -> Task:
    ways = (Way(OURS, by_teastreams.blocks(readers)), _tee(readers), _pump(readers))
    return Task(f"broadcast-{readers}", f"broadcast to {readers} readers, {_mib(amount)}", "GB/s", amount, ways)


def _tee(readers: int) -> Way:
    program = shutil.which("tee")
    if program is None:
        return Way("tee", None, "there is no tee on the PATH")
    return Way("tee", by_hand.tee(program, readers))


def _pump(readers: int) -> Way:
    name = "teastreams, portable"
    if sys.platform != "linux" or os.environ.get(by_teastreams.PORTABLE) == "1":
        return Way(name, None, "the same as the first line here")
    return Way(name, by_teastreams.portable(by_teastreams.blocks(readers)))


def _text(amount: int) -> Task:
    ways = (Way(OURS, by_teastreams.lines), Way("python | python", by_hand.two_interpreters))
    title = f"lines of text, {_mib(amount)} in lines of {LINE_BYTES} bytes"
    return Task("text", title, "MB/s", amount, ways)


def _start() -> Task:
    ways = (
        Way(OURS, by_teastreams.starts),
        Way("two forks, one pipe", by_hand.starts),
        Way("python | python", by_hand.interpreter_starts),
    )
    return Task("start", "start to end of two nodes with one byte between them", "ms", STARTS, ways)


def _mib(amount: int) -> str:
    return f"{amount / (1 << 20):g} MiB"
