"""Which ends of channels the caller may hold: refused when compiling, or before anything runs."""

from __future__ import annotations

from typing import Any

import pytest

import teastreams as ts
from teastreams.core.control.flow import flow_of
from teastreams.engine.live.ends import ends_of, new_tap


def node(state: dict[str, Any]) -> None:
    """Never run."""


def nested() -> ts.StateGraph:
    """A section inside a branch, and one on the main line."""
    graph = ts.StateGraph(parallel_config=ts.ParallelConfig(strategy="process"))
    graph.add_node("start", run=node).add_node("left", run=node).add_node("right", run=node).add_node("join", run=node)
    graph.add_node("inner", run=node, streams={"stdout": "hidden"})
    graph.add_node("reader", run=node, streams={"stdin": "hidden"})
    graph.add_node("last", run=node, streams={"stdin": "open"})
    graph.add_node("source", run=node, streams={"stdout": "open"})
    graph.set_entry_point("start").add_parallel_edge("start", ["left", "right"], fan_in="join")
    graph.add_edge("left", "inner").add_edge("inner", "reader")
    return graph.add_edge("join", "source").add_edge("source", "last").set_finish_point("last")


def test_a_channel_inside_a_branch_cannot_be_the_callers() -> None:
    """It is joined in a process of its own: compile says so, and `open` does."""
    with pytest.raises(ts.WorkflowError, match="cannot reach channel 'hidden'"):
        nested().compile(read=["hidden"])

    app = nested().compile(read=["open"])
    with pytest.raises(ValueError, match="the channels are open"):
        new_tap(app.graph, app.flow, "hidden")


def test_only_the_channels_ahead_are_asked_for() -> None:
    """A run that is resumed after a section needs no feed for it."""
    graph = ts.pipeline(node, stdin="in").graph
    assert ends_of(graph, (), None, can_read=False).feeds == {}
    with pytest.raises(ts.WorkflowError, match="nothing was given"):
        ends_of(graph, flow_of(graph), None, can_read=False)


def test_all_that_is_wrong_is_said_at_once() -> None:
    """A feed that is missing, one too many, one that is no source, and a channel that nobody would read."""
    graph = ts.pipeline(node, stdin="in", stdout="out").graph
    with pytest.raises(ts.WorkflowError) as caught:
        ends_of(graph, flow_of(graph), {"other": 3}, can_read=False)
    assert len(caught.value.problems) == 4
