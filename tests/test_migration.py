"""Facts about documents and calls of The Edge Agent: each difference that MIGRATION.md names is seen here."""

from __future__ import annotations

from typing import Any

import pytest

import teastreams as ts
from teastreams.workflow.load import load_bytes


def app_of(text: str, **options: Any) -> ts.CompiledGraph:
    graph, problems = load_bytes(text.encode(), "agent.yaml")
    assert problems == ()
    assert graph is not None
    return ts.StateGraph.from_graph(graph).compile(**options)


LEGACY = """
name: legacy
description: all kinds of edges
variables: {limit: 2}
nodes:
  - name: count
    run: |
      return {"n": state.get("n", 0) + 1}
  - name: flow_a
    run: 'return {"a": state["n"]}'
  - name: flow_b
    run: 'return {"b": state["n"] * 10}'
  - name: combine
    fan_in: true
    run: 'return {"sum": sum(each.get("a", 0) + each.get("b", 0) for each in parallel_results)}'
  - name: good
    run: 'return {"verdict": "good"}'
  - name: bad
    run: 'return {"verdict": "bad"}'
edges:
  - {from: __start__, to: count, type: entry}
  - {from: count, to: count, when: "state.n < variables.limit"}
  - {from: count, to: flow_a, type: parallel, fan_in: combine}
  - {from: count, to: flow_b, type: parallel, fan_in: combine}
  - {from: combine, to: good, condition: {type: expression, value: 'state["sum"] == 22'}, when: true}
  - {from: combine, to: bad, condition: {type: expression, value: 'state["sum"] == 22'}, when: false}
  - {from: good, to: __end__, type: finish}
  - {from: bad, to: __end__, type: finish}
"""


def test_a_document_with_every_kind_of_edge_runs() -> None:
    assert app_of(LEGACY).run({}).state == {"n": 2, "sum": 22, "verdict": "good"}
    assert app_of(LEGACY).run({"n": 4}).state == {"n": 5, "sum": 55, "verdict": "bad"}


def test_goto_goes_before_edges() -> None:
    text = """
nodes:
  - {name: step_a, run: 'return {"trail": ["a"]}', goto: step_c}
  - {name: step_b, run: 'return {"trail": state["trail"] + ["b"]}', goto: step_c}
  - {name: step_c, run: 'return {"trail": state["trail"] + ["c"]}'}
edges:
  - {from: step_a, to: step_b}
  - {from: __start__, to: step_b, when: state.late}
  - {from: __start__, to: step_a}
"""
    assert app_of(text).run({}).state["trail"] == ["a", "c"]


def test_a_condition_that_raises_is_neither_true_nor_false() -> None:
    text = """
nodes:
  - {name: a, run: pass, goto: [{if: state.x.y.z > 1, to: b}, {to: __end__}]}
  - {name: b, run: pass}
"""
    with pytest.raises(ts.WorkflowFailed, match=r"node 'a' failed \(route\): AttributeError"):
        app_of(text).run({"x": {"y": 3}})


def test_a_node_interrupted_after_it_ran_does_not_run_again() -> None:
    ran: list[str] = []
    graph = ts.StateGraph({}).add_node("a", run=lambda state: ran.append("a")).add_node("b", run=lambda state: {"x": 1})
    app = graph.compile(interrupt_after=["a"], checkpointer=ts.MemoryCheckpointer())
    assert [event["type"] for event in app.invoke({})][-1] == "interrupt_after"

    assert app.resume().state == {"x": 1}
    assert ran == ["a"]


def test_invoke_and_stream_and_run_end_in_one_state() -> None:
    app = app_of(LEGACY)
    *_, last = app.invoke({})
    *_, finished = app.stream({})

    assert isinstance(finished, ts.RunFinished)
    assert last["state"] == finished.result.state == app.run({}).state


@pytest.mark.parametrize("key", ["llm", "rag"])
def test_what_is_for_language_models_is_refused_by_name(key: str) -> None:
    _, problems = load_bytes(f"settings: {{{key}: {{}}}}\nnodes: [{{name: a, run: pass}}]".encode(), "agent.yaml")
    assert [problem.message for problem in problems] == [f"`{key}` in settings is not supported in this version"]


def test_one_call_for_each_branch_is_one_fan_out() -> None:
    graph = ts.StateGraph()
    for name in "sabc":
        graph.add_node(name, run=lambda state, node: {"who": node})
    graph.add_fanin_node("f", run=lambda state, parallel_results: {"all": [each["who"] for each in parallel_results]})
    for name in "abc":
        graph.add_parallel_edge("s", name, "f")

    assert graph.set_entry_point("s").compile().run({}).state["all"] == ["a", "b", "c"]


def test_the_config_can_be_given_when_compiling() -> None:
    graph = ts.StateGraph().add_node("s", run=lambda state: None).add_node("a", run=lambda state: {"x": 1})
    graph.add_node("b", run=lambda state: 1 / 0).add_fanin_node("f", run=lambda state: None)
    graph.set_entry_point("s").add_parallel_edge("s", ["a", "b"], "f")
    app = graph.compile(parallel_config=ts.ParallelConfig(include_traceback=False))

    assert app.graph.parallel.include_traceback is False
    with pytest.raises(ts.WorkflowFailed, match="ZeroDivisionError"):
        app.run({})
