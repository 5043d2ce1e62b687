"""The work as workflows: a direct channel, a broadcast, a section of lines, and a run that does next to nothing.

What is measured is what a user's program would do: declare, compile, run. That every reader got everything is looked
at afterwards. `portable` runs a way as on a system without `tee` and `splice`, and puts the environment back.
"""

from __future__ import annotations

import os
import textwrap
from functools import partial
from typing import Any, Callable, TypeVar

import teastreams as ts
from teastreams.bench.work import LINE_BYTES, READ_LINES, WRITE_LINES, read_blocks, write_blocks
from teastreams.errors import LimitError

PORTABLE = "TEASTREAMS_PORTABLE"
Said = TypeVar("Said")

LINES = """
settings: {{parallel: {{strategy: process, streams: {{enabled: true}}}}}}
nodes:
  - name: writer
    streams: {{stdout: lines}}
    run: |
{write}
  - name: reader
    streams: {{stdin: lines}}
    run: |
{read}
edges:
  - {{from: __start__, to: writer}}
  - {{from: writer, to: reader}}
  - {{from: reader, to: __end__}}
"""


def blocks(readers: int) -> Callable[[int], None]:
    """So many bytes from one node to so many others."""

    def run(amount: int) -> None:
        graph = ts.StateGraph()
        graph.add_node("writer", run=partial(_write, amount), streams={"stdout": "blocks"})
        names = [f"reader{number}" for number in range(readers)]
        for name in names:
            graph.add_node(name, run=partial(_read, name), streams={"stdin": "blocks"})
        if readers == 1:
            graph.add_edge("writer", "reader0")
        else:
            graph.add_parallel_edge("writer", names, stream_mode="broadcast")
        graph.set_entry_point("writer")
        state = graph.compile().run({}, echo_output=False).state
        _expect([state[name] for name in names], amount)

    return run


def lines(amount: int) -> None:
    """So many bytes of lines, printed by one node and iterated over by another."""
    count = amount // LINE_BYTES
    write = textwrap.indent(WRITE_LINES.format(text=LINE_BYTES - 1, lines=count), " " * 6)
    document = LINES.format(write=write, read=textwrap.indent(READ_LINES.format(), " " * 6))
    state = ts.YAMLEngine().load_from_string(document).compile().run({}, echo_output=False).state
    _expect([state["count"]], count)


def starts(amount: int) -> None:
    """So many runs of two nodes and a channel with one byte in it."""
    run = blocks(1)
    for _ in range(amount):
        run(1)


def portable(run: Callable[[int], Said]) -> Callable[[int], Said]:
    """The same as on a system that cannot copy from pipe to pipe, with the same answer."""

    def run_portable(amount: int) -> Said:
        before = os.environ.get(PORTABLE)
        os.environ[PORTABLE] = "1"
        try:
            return run(amount)
        finally:
            if before is None:
                del os.environ[PORTABLE]
            else:
                os.environ[PORTABLE] = before

    return run_portable


def _write(amount: int, _state: Any) -> None:
    write_blocks(1, amount)


def _read(name: str, _state: Any) -> dict[str, int]:
    return {name: read_blocks(0)}


def _expect(found: list[int], expected: int) -> None:
    if any(each != expected for each in found):
        raise LimitError(f"bench: readers got {found} of {expected}: that is no measurement but a defect; report it")
