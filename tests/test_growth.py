"""What a workflow costs grows as its members do: twice the nodes, twice the work.

Work is counted, not timed: bytecode instructions of the function under test, which a busy machine does not change.
What C code does inside of one instruction is not seen; the loops of this library are written in Python.
"""

from __future__ import annotations

import sys
from typing import Any, Callable

import pytest

from teastreams.core.endings import Ending, How, SinkEnd
from teastreams.core.graph import NodeStreamsConfig, StreamSettings
from teastreams.core.outcome import Judge
from teastreams.core.plan import SectionPlan, plan_section

SMALL = 24
MOST = 2.5
"""Work that grows as n log n comes to 2.3 at this size, the square of n to 4."""


def instructions(act: Callable[[], object]) -> int:
    """How many bytecode instructions `act` takes, with everything that it calls."""
    count = 0

    def trace(frame: Any, event: str, _argument: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(before)
    return count


def growth(prepare: Callable[[int], Callable[[], object]]) -> float:
    """What `prepare(count)` returns is counted for so many members and for twice as many: by how much more it does."""
    prepare(SMALL)()  # what is made once and kept is not counted
    return instructions(prepare(2 * SMALL)) / instructions(prepare(SMALL))


def chain(count: int) -> SectionPlan:
    last = count - 1
    members = [
        (f"n{at}", NodeStreamsConfig(f"c{at - 1}" if at else None, f"c{at}" if at < last else None))
        for at in range(count)
    ]
    return plan_section(members, StreamSettings())


def broadcast(count: int) -> SectionPlan:
    readers = [(f"r{at}", NodeStreamsConfig(stdin="lines")) for at in range(count)]
    return plan_section([("p", NodeStreamsConfig(stdout="lines")), *readers], StreamSettings())


def judging(plan: SectionPlan, ends: list[str], how: How, sink: SinkEnd = SinkEnd.DELIVERED) -> Callable[[], None]:
    """Everybody ends, one after another, and each time it is asked what follows."""
    judge = Judge(plan)
    judge.settle()

    def judged() -> None:
        for name in ends:
            if plan.channels[plan.inputs[name]].fanout if name in plan.inputs else False:
                judge.sinks[plan.inputs[name], name] = sink
            judge.endings[name] = Ending(how, len(judge.endings), broken=frozenset({1} if how is How.EPIPE else ()))
            judge.settle(), judge.settled(), judge.doomed(), judge.failed

    return judged


@pytest.mark.parametrize("how", [How.RETURNED, How.RAISED, How.UPSTREAM, How.STOPPED])
def test_judging_a_chain_from_the_top(how: How) -> None:
    def prepare(count: int) -> Callable[[], None]:
        plan = chain(count)
        return judging(plan, list(plan.nodes), how)

    assert growth(prepare) < MOST


@pytest.mark.parametrize("how", [How.RETURNED, How.RAISED])
def test_judging_a_chain_from_its_end(how: How) -> None:
    """Nobody above has ended: each of them is left open until the first one has."""

    def prepare(count: int) -> Callable[[], None]:
        plan = chain(count)
        return judging(plan, [*reversed(plan.nodes)], how)

    assert growth(prepare) < MOST


@pytest.mark.parametrize("how", [How.RETURNED, How.RAISED])
@pytest.mark.parametrize("first", [True, False])
def test_judging_a_broadcast(how: How, first: bool) -> None:
    """Whether its producer ends before all of its readers, or after them."""

    def prepare(count: int) -> Callable[[], None]:
        plan = broadcast(count)
        readers = list(plan.nodes[1:])
        return judging(plan, ["p", *readers] if first else [*readers, "p"], how, SinkEnd.LEFT)

    assert growth(prepare) < MOST


def test_judging_a_producer_that_was_stopped_before_its_readers_have_ended() -> None:
    def prepare(count: int) -> Callable[[], None]:
        plan = broadcast(count)
        return judging(plan, list(plan.nodes), How.EPIPE, SinkEnd.LEFT)

    assert growth(prepare) < MOST
