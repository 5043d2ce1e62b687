"""Facts about conditions and loops: where control goes, in both notations, on resume and inside branches."""

from __future__ import annotations

from typing import Any

import pytest

import teastreams as ts
from teastreams.workflow.load import load_bytes


def trail(state: dict[str, Any], node: str) -> dict[str, Any]:
    return {"trail": [*state.get("trail", []), node]}


def graph_of(names: str) -> ts.StateGraph:
    """A graph of nodes that write down that they ran."""
    graph = ts.StateGraph()
    for name in names.split():
        graph.add_node(name, run=trail)
    return graph


def ran(graph: ts.StateGraph, **state: Any) -> str:
    return " ".join(graph.compile().run(state).state["trail"])


def test_a_condition_decides_between_two_ways_that_meet_again() -> None:
    graph = graph_of("a b c d").set_entry_point("a")
    graph.add_edge("a", "b", when="state.x > 1").add_edge("a", "c").add_edge("b", "d").add_edge("c", "d")

    assert ran(graph, x=2) == "a b d"
    assert ran(graph, x=1) == "a c d"


def test_a_way_without_a_condition_is_the_last_one_wherever_it_stands() -> None:
    graph = graph_of("a b c").set_entry_point("a").add_edge("a", "b").add_edge("a", "c", when="state.x")
    graph.set_finish_point("b")

    assert ran(graph, x=1) == "a c"
    assert ran(graph, x=0) == "a b"


def test_a_loop_runs_until_its_condition_does_not_hold() -> None:
    graph = graph_of("a b").add_edge("a", "a", when="len(state.trail) < 3")
    graph.add_edge("a", "b")

    assert ran(graph) == "a a a b"


def test_an_edge_to_the_end_asks_its_condition() -> None:
    graph = graph_of("a b").add_edge("a", ts.END, when=lambda state: state["done"]).add_edge("a", "b")

    assert ran(graph, done=True) == "a"
    assert ran(graph, done=False) == "a b"


def test_two_conditional_edges_to_one_target_are_both_asked() -> None:
    graph = graph_of("a b c").add_edge("a", "c", when="state.x == 1").add_edge("a", "c", when="state.x == 2")
    graph.add_edge("a", "b").add_edge("b", ts.END)

    assert [ran(graph, x=x) for x in (1, 2, 3)] == ["a c", "a c", "a b"]


def test_a_function_chooses_by_its_answer() -> None:
    graph = graph_of("a b c").add_conditional_edges("a", lambda state: state["x"], {"one": "b", 2: "c", None: ts.END})
    graph.set_finish_point("b")

    assert [ran(graph, x=x) for x in ("one", 2, None)] == ["a b", "a c", "a"]


def test_the_beginning_can_be_chosen() -> None:
    graph = graph_of("a b").set_conditional_entry_point(lambda state: state["from"], {"a": "a", "b": "b"})

    assert ran(graph, **{"from": "b"}) == "b"
    assert ran(graph, **{"from": "a"}) == "a b"


def test_what_the_last_node_returned_can_be_asked() -> None:
    graph = ts.StateGraph().add_node("a", run=lambda state: {"found": state["x"]}).add_node("b", run=trail)
    graph.add_edge("a", "b", when="result.found").add_edge("a", ts.END)

    assert graph.compile().run({"x": 1}).state["trail"] == ["b"]
    assert "trail" not in graph.compile().run({"x": 0, "found": 5}).state


def test_a_condition_that_raises_fails_the_run_and_names_itself() -> None:
    graph = graph_of("a b").add_edge("a", "b", when="state.x > 1").add_edge("a", ts.END)

    with pytest.raises(ts.WorkflowFailed) as caught:
        graph.compile().run({"x": "text"})
    assert str(caught.value.primary) == (
        "node 'a' failed (route): TypeError: the expression `state.x > 1` raised TypeError: '>' not supported between "
        "instances of 'str' and 'int'; correct it, or make sure that the state has what it reads"
    )
    assert isinstance(caught.value.primary.__cause__, ValueError)
    assert caught.value.result.state == {"x": "text", "trail": ["a"]}


def test_that_no_condition_holds_fails_the_run() -> None:
    graph = graph_of("a b").add_edge("a", "b", when="state.x")

    with pytest.raises(ts.WorkflowFailed, match=r"'a' failed \(route\): none of its ways on is open: `state.x`"):
        graph.compile().run({})


def test_a_pause_after_a_node_decides_with_what_was_added() -> None:
    graph = graph_of("ask yes no").add_edge("ask", "yes", when="state.approved").add_edge("ask", "no")
    graph.add_edge("yes", ts.END)
    keeper = ts.MemoryCheckpointer()
    app = graph.compile(checkpointer=keeper, interrupt_after=["ask"])
    paused = app.run({})
    assert paused.status == "paused"

    assert app.resume(update={"approved": True}).state["trail"] == ["ask", "yes"]
    assert app.resume(checkpoint_id=paused.checkpoint_id).state["trail"] == ["ask", "no"]


def test_a_pause_keeps_the_result_that_a_condition_may_ask_for() -> None:
    graph = ts.StateGraph().add_node("a", run=lambda state: {"n": 7}).add_node("b", run=trail)
    graph.add_edge("a", "b", when="result.n == 7").add_edge("a", ts.END)
    app = graph.compile(checkpointer=ts.MemoryCheckpointer(), interrupt_after=["a"])
    app.run({})

    assert app.resume().state["trail"] == ["b"]


def test_an_interrupt_before_a_node_in_a_loop_stops_at_every_turn() -> None:
    graph = graph_of("a b").add_edge("a", "b").add_edge("b", "a", when="len(state.trail) < 4").add_edge("b", ts.END)
    graph.set_entry_point("a")
    app = graph.compile(checkpointer=ts.MemoryCheckpointer(), interrupt_before=["b"])

    first = app.run({})
    second = app.resume()
    third = app.resume()

    assert [each.status for each in (first, second, third)] == ["paused", "paused", "finished"]
    assert third.state["trail"] == ["a", "b", "a", "b"]


def test_conditions_and_loops_work_inside_branches() -> None:
    deep = graph_of("s a a2 b")
    deep.add_node("f", run=lambda parallel_results: {"all": [each["trail"] for each in parallel_results]})
    deep.set_entry_point("s").add_parallel_edge("s", ["a", "b"], "f")
    deep.add_edge("a", "a", when="len(state.trail) < 3").add_edge("a", "a2", when="state.deep").add_edge("a", "f")

    assert deep.compile().run({"deep": True}).state["all"] == [["s", "a", "a", "a2"], ["s", "b"]]
    assert deep.compile().run({"deep": False}).state["all"] == [["s", "a", "a"], ["s", "b"]]


def test_a_fan_out_can_be_conditional_and_repeated() -> None:
    def joined(state: dict[str, Any], parallel_results: Any) -> dict[str, Any]:
        return {"n": state.get("n", 0) + 1, "got": parallel_results}

    graph = graph_of("s a b").add_node("f", run=joined).set_entry_point("s")
    graph.add_parallel_edge("s", ["a", "b"], "f", when="state.wide").add_edge("s", "f")
    graph.add_edge("f", "s", when="state.wide and state.n < 3").add_edge("f", ts.END)

    wide = graph.compile().run({"wide": True})
    assert wide.state["n"] == 3
    assert [result.branch for result in wide.state["got"]] == ["a", "b"]
    assert graph.compile().run({"wide": False}).state["got"] is None


def test_a_changed_condition_target_is_another_workflow() -> None:
    def built(target: str) -> ts.CompiledGraph:
        graph = graph_of("a b c").add_edge("a", target, when="state.x").add_edge("a", "b" if target == "c" else "c")
        return graph.add_edge("b", ts.END).compile()

    assert built("b").workflow_hash != built("c").workflow_hash


def test_a_document_loops_and_jumps() -> None:
    text = b"""
nodes:
  - {name: first, run: 'return {"n": 0}'}
  - name: work
    run: 'return {"n": state["n"] + 1}'
    goto:
      - {if: "{{ state.n < 3 }}", to: work}
      - {if: enough, to: good}
      - {to: __end__}
  - {name: good, run: 'return {"good": True}'}
"""
    graph, problems = load_bytes(text, "loop.yaml")
    assert problems == ()
    assert graph is not None
    app = ts.StateGraph.from_graph(graph).compile()

    assert app.run({}).state == {"n": 3}
    assert app.run({"enough": 1}).state == {"enough": 1, "n": 3, "good": True}
