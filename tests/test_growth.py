"""What a workflow costs grows as its members do: twice the nodes, twice the work.

Work is counted, not timed: bytecode instructions of the function under test, which a busy machine does not change.
What C code does inside of one instruction is not seen; the loops of this library are written in Python.
"""

from __future__ import annotations

import sys
from typing import Any, Callable

import pytest

from teastreams.core.control.flow import flow_of
from teastreams.core.endings import Ending, How, SinkEnd
from teastreams.core.graph import START, Edge, Graph, Node, NodeStreamsConfig, ParallelConfig, StreamSettings
from teastreams.core.merge import Update, conflict
from teastreams.core.outcome import Judge
from teastreams.core.plan import SectionPlan, plan_section
from teastreams.core.rules import check

SMALL = 16
MOST = 2.2
"""Work that grows as n log n comes to 2.33 at this size; a square fails if a pair costs 0.3 % of a member."""


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
    """By how much more the work grows when the members are doubled for the second time: 2 for a line, 4 for a square.

    Growth beside growth: what is done once, and what each member costs by itself, would hide a square that only begins.
    """
    prepare(2)()  # what is made once and kept is not counted
    small, middle, large = (instructions(prepare(factor * SMALL)) for factor in (1, 2, 4))
    return (large - middle) / (middle - small)


Members = dict[str, NodeStreamsConfig]


def in_a_chain(count: int) -> Members:
    last = count - 1
    return {
        f"n{at}": NodeStreamsConfig(f"c{at - 1}" if at else None, f"c{at}" if at < last else None)
        for at in range(count)
    }


def in_pairs(count: int) -> Members:
    return {
        f"n{at}": NodeStreamsConfig(f"c{at - 1}") if at % 2 else NodeStreamsConfig(stdout=f"c{at}")
        for at in range(count)
    }


def reading_one(count: int) -> Members:
    return {"p": NodeStreamsConfig(stdout="lines"), **{f"n{at}": NodeStreamsConfig("lines") for at in range(count)}}


def chain(count: int) -> SectionPlan:
    return plan_section([*in_a_chain(count).items()], StreamSettings())


def broadcast(count: int) -> SectionPlan:
    return plan_section([*reading_one(count).items()], StreamSettings())


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


def graph_of(members: Members, edges: list[Edge]) -> Graph:
    nodes = tuple(Node(name, run=lambda state: None, streams=streams) for name, streams in members.items())
    return Graph(nodes, tuple(edges), ParallelConfig(strategy="process"), strategy_given=True)


def in_a_row(members: Members) -> list[Edge]:
    names = [START, *members]
    return [Edge(one, (other,)) for one, other in zip(names, names[1:])]


def as_declared(count: int) -> Graph:
    return graph_of(in_a_chain(count), in_a_row(in_a_chain(count)))


def from_its_end(count: int) -> Graph:
    """Every reader stands before its producer."""
    members = in_a_chain(count)
    return graph_of(dict(reversed(members.items())), in_a_row(members))


def many_sections(count: int) -> Graph:
    return graph_of(in_pairs(count), in_a_row(in_pairs(count)))


def one_fan_out(count: int) -> Graph:
    members = {**reading_one(count), "end": NodeStreamsConfig()}
    edge = Edge("p", tuple(f"n{at}" for at in range(count)), parallel=True, stream_mode="broadcast", fan_in="end")
    return graph_of(members, [Edge(START, ("p",)), edge])


def fan_out_of_pairs(count: int) -> Graph:
    """One edge starts as many sections."""
    members = {"p": NodeStreamsConfig(), **in_pairs(count), "end": NodeStreamsConfig()}
    edge = Edge("p", tuple(f"n{at}" for at in range(count)), parallel=True, fan_in="end")
    return graph_of(members, [Edge(START, ("p",)), edge])


GRAPHS = [as_declared, from_its_end, many_sections, one_fan_out, fan_out_of_pairs]


@pytest.mark.parametrize("made", GRAPHS)
def test_checking_and_unfolding_a_graph(made: Callable[[int], Graph]) -> None:
    def prepare(count: int) -> Callable[[], None]:
        graph = made(count)

        def compiled() -> None:
            assert check(graph) == ()
            flow_of(graph)

        return compiled

    assert growth(prepare) < MOST


@pytest.mark.parametrize("members", [in_a_chain, in_pairs, reading_one])
def test_planning_a_section(members: Callable[[int], Members]) -> None:
    def prepare(count: int) -> Callable[[], None]:
        nodes = [*members(count).items()]
        return lambda: plan_section(nodes, StreamSettings())

    assert growth(prepare) < MOST


def test_updates_that_many_branches_return() -> None:
    def prepare(count: int) -> Callable[[], None]:
        updates = {f"n{at}": Update({f"key {at}": at}) for at in range(count)}
        above = {f"n{at}": [f"n{each}" for each in range(at)] for at in range(0, count, 2)}
        return lambda: conflict(updates, above)

    assert growth(prepare) < MOST
