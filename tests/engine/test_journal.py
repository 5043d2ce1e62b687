"""Facts about the chain of checkpoints that a run leaves, and about going on from any of them."""

from __future__ import annotations

from typing import Any

import pytest

import teastreams as ts

RAN: list[str] = []


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    RAN.clear()


def trail(state: dict[str, Any], node: str) -> dict[str, Any]:
    RAN.append(node)
    return {"trail": state.get("trail", "") + node}


def chain_of(*bodies: Any, **options: Any) -> tuple[ts.CompiledGraph, ts.MemoryCheckpointer]:
    """Nodes a, b, c ... one after another, and what keeps their checkpoints."""
    graph, keeper = ts.StateGraph(), ts.MemoryCheckpointer()
    for name, body in zip("abcdef", bodies):
        graph.add_node(name, run=body)
    return graph.compile(checkpointer=keeper, **options), keeper


def told(records: tuple[ts.Checkpoint, ...]) -> list[str]:
    return [f"{one.when} {one.node} {one.status}" for one in records]


def test_every_finished_step_leaves_one_checkpoint_and_the_last_says_finished() -> None:
    app, keeper = chain_of(trail, trail, trail)
    result = app.run({"n": 1})

    assert told(app.history()) == ["after  running", "after a running", "after b running", "after c finished"]
    assert [one.state["state"] for one in keeper.list()] == [
        {"n": 1},
        {"n": 1, "trail": "a"},
        {"n": 1, "trail": "ab"},
        {"n": 1, "trail": "abc"},
    ]
    assert {one.run_id for one in app.history()} == {result.run_id}


def test_the_checkpoints_of_a_run_are_a_chain() -> None:
    app, _keeper = chain_of(trail, trail)
    app.run()
    history = app.history()

    assert [one.parent for one in history] == ["", *(one.checkpoint_id for one in history[:-1])]
    assert [one.state for one in history] == [{}] * 3
    assert all(one.size_bytes > 0 for one in history)


def test_every_checkpoint_is_written_before_the_next_step_begins() -> None:
    keeper = ts.MemoryCheckpointer()
    seen = []
    graph = ts.StateGraph()
    for name in "abc":
        graph.add_node(name, run=lambda: seen.append(keeper.load().node))
    graph.compile(checkpointer=keeper).run()

    assert seen == ["", "a", "b"]


def test_without_a_checkpointer_nothing_is_written_and_any_value_may_be_in_the_state() -> None:
    app = ts.StateGraph().add_node("a", run=lambda: {"lock": object()}).compile()

    assert app.run().status == "finished"


def test_a_value_that_cannot_be_kept_ends_the_run_before_the_next_step() -> None:
    app, _keeper = chain_of(lambda: {"lock": object()}, trail)

    with pytest.raises(ts.CheckpointError, match=r"state\['state'\]\['lock'\] is a builtins.object"):
        app.run()
    assert RAN == []


def test_a_finished_run_cannot_be_resumed_and_its_end_not_be_forked() -> None:
    app, _keeper = chain_of(trail)
    run_id = app.run().run_id

    with pytest.raises(ts.CheckpointError, match=f"run {run_id} is finished, .*; resume or fork an earlier checkpoint"):
        app.resume()
    with pytest.raises(ts.CheckpointError, match="; fork an earlier checkpoint, `history` lists them"):
        app.resume(fork=True)


def test_going_on_from_each_checkpoint_runs_what_follows_and_nothing_else() -> None:
    app, keeper = chain_of(trail, trail, trail)
    app.run()
    for one, ahead in zip(keeper.list(), ("abc", "bc", "c")):
        RAN.clear()
        assert app.resume(checkpoint_id=one.checkpoint_id).state == {"trail": "abc"}
        assert "".join(RAN) == ahead


def test_a_fork_is_a_run_of_its_own_that_names_where_it_came_from() -> None:
    app, keeper = chain_of(trail, trail)
    first = app.run()
    after_a = keeper.list()[1]
    forked = app.resume(update={"n": 7}, checkpoint_id=after_a.checkpoint_id, fork=True)

    assert forked.run_id != first.run_id
    assert forked.state == {"trail": "ab", "n": 7}
    assert told(app.history(run_id=forked.run_id)) == ["after a running", "after b finished"]
    assert app.history(run_id=forked.run_id)[0].parent == after_a.checkpoint_id
    assert told(app.history(run_id=first.run_id)) == ["after  running", "after a running", "after b finished"]


def test_what_a_resume_is_given_is_durable_before_its_first_step() -> None:
    app, keeper = chain_of(lambda: None, lambda: KEPT.append(keeper.load().state["state"]), interrupt_after=["a"])
    app.run({"n": 1})
    KEPT.clear()
    app.resume(update={"answer": 42})

    assert KEPT == [{"n": 1, "answer": 42}]


KEPT: list[Any] = []


def test_a_failed_step_is_told_and_tried_again_with_the_state_before_it() -> None:
    broken = [True]

    def fragile(state: dict[str, Any]) -> dict[str, Any]:
        state["items"].append("changed in place")
        if broken:
            raise OSError("not now")
        return {"mended": True}

    app, keeper = chain_of(trail, fragile, trail)
    with pytest.raises(ts.WorkflowFailed, match="not now"):
        app.run({"items": []})
    assert told(app.history()) == ["after  running", "after a running", "before b failed"]
    assert keeper.load().state["state"] == {"items": [], "trail": "a"}

    broken.clear()
    assert app.resume().state == {"items": ["changed in place"], "trail": "ac", "mended": True}
    assert RAN == ["a", "c"]


def test_that_no_way_on_was_found_is_told_after_the_step_and_asked_again() -> None:
    graph, keeper = ts.StateGraph(), ts.MemoryCheckpointer()
    graph.add_node("a", run=trail).add_node("b", run=trail).add_edge("a", "b", when="state.x").add_edge("b", ts.END)
    app = graph.compile(checkpointer=keeper)
    with pytest.raises(ts.WorkflowFailed, match="none of its ways on is open"):
        app.run()

    assert told(app.history()) == ["after  running", "after a failed"]
    assert app.resume(update={"x": 1}).state == {"trail": "ab", "x": 1}
    assert RAN == ["a", "b"]


def test_a_failure_to_keep_does_not_hide_the_failure_of_the_step() -> None:
    class Full(ts.MemoryCheckpointer):
        def save(self, record: ts.Checkpoint) -> str:
            if record.status == "failed":
                raise ts.CheckpointError("the disk is full")
            return super().save(record)

    graph = ts.StateGraph().add_node("a", run=lambda: 1 // 0)
    with pytest.raises(ts.WorkflowFailed, match="ZeroDivisionError"):
        graph.compile(checkpointer=Full()).run()


def test_another_version_of_the_workflow_is_named() -> None:
    one, keeper = chain_of(trail, trail, interrupt_after=["a"])
    one.run()
    other, _ = chain_of(trail, trail, trail)

    with pytest.raises(ts.CheckpointError) as caught:
        other.resume(keeper)
    assert one.workflow_hash[:12] in str(caught.value)
    assert other.workflow_hash[:12] in str(caught.value)


def test_loops_and_fan_outs_leave_a_checkpoint_for_every_turn_and_join_after_a_resume() -> None:
    def joined(state: dict[str, Any], parallel_results: Any) -> dict[str, Any]:
        return {"got": [one.branch for one in parallel_results], "n": state.get("n", 0) + 1}

    graph, keeper = ts.StateGraph(), ts.MemoryCheckpointer()
    graph.add_node("s", run=trail).add_node("x", run=trail).add_node("y", run=trail).add_node("f", run=joined)
    graph.set_entry_point("s").add_parallel_edge("s", ["x", "y"], "f")
    graph.add_edge("f", "s", when="state.n < 2").add_edge("f", ts.END)
    app = graph.compile(checkpointer=keeper)
    whole = dict(app.run().state)
    assert len(keeper.list()) == 7

    for one in keeper.list()[:-1]:
        assert app.resume(checkpoint_id=one.checkpoint_id, fork=True).state == whole
