"""Facts about nodes that hold other nodes: loops, fan-outs over items, sub-workflows, steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import teastreams as ts
from teastreams.core.events import NodeStarted, Warned
from teastreams.workflow.load import load_bytes


def app_of(text: str) -> Any:
    return ts.YAMLEngine().load_from_string(text).compile()


def messages(text: str) -> list[str]:
    return [str(problem) for problem in load_bytes(text.encode(), "w.yaml")[1]]


LOOP = """
nodes:
  - name: count
    type: while_loop
    condition: state.n < 3
    max_iterations: {most}
    body:
      - {{name: add, run: 'return {{"n": state["n"] + 1}}'}}
      - {{name: note, run: 'return {{"seen": state.get("seen", []) + [state["n"]]}}'}}
"""


def test_a_loop_runs_its_nodes_in_order_until_the_condition_does_not_hold() -> None:
    result = app_of(LOOP.format(most=10)).run({"n": 0})

    assert dict(result.state) == {"n": 3, "seen": [1, 2, 3]}
    assert {"count", "count/add", "count/note"} == set(result.nodes)


def test_a_loop_whose_condition_is_false_at_once_runs_nothing() -> None:
    assert dict(app_of(LOOP.format(most=10)).run({"n": 9}).state) == {"n": 9}


def test_events_of_a_loop_name_the_turn_and_the_limit_ends_it_with_a_warning() -> None:
    events = list(app_of(LOOP.format(most=2)).stream({"n": 0}))

    started = [event.node for event in events if isinstance(event, NodeStarted)]
    assert started == ["count", "count[0]/add", "count[0]/note", "count[1]/add", "count[1]/note"]
    assert ["2 turns" in event.message for event in events if isinstance(event, Warned)] == [True]


def test_who_fails_in_a_loop_is_named_with_its_turn_and_its_own_exception() -> None:
    text = """
nodes:
  - name: l
    type: while_loop
    condition: "True"
    max_iterations: 5
    body: [{name: f, run: 'state["n"] -= 1; 1 / state["n"]'}]
"""
    with pytest.raises(ts.WorkflowFailed) as failed:
        app_of(text).run({"n": 2})

    assert (failed.value.primary.node, failed.value.primary.error_type) == ("l[1]/f", "ZeroDivisionError")
    assert isinstance(failed.value.primary.__cause__, ZeroDivisionError)


@pytest.mark.parametrize(
    ("condition", "turns"), [("more", 3), ('"!done"', 3), ('"{{ state.more }}"', 3), ('"! more"', 0)]
)
def test_the_condition_of_a_loop_may_be_a_key_alone(condition: str, turns: int) -> None:
    """As on edges: the name asks for its value, `!` for the opposite."""
    text = f"""
nodes:
  - name: loop
    type: while_loop
    condition: {condition}
    max_iterations: 9
    body: [{{name: turn, run: "n = state['n'] + 1; return {{'n': n, 'more': n < 3, 'done': n == 3}}"}}]
"""
    assert app_of(text).run({"n": 0, "more": True}).state["n"] == turns


def test_a_condition_that_raises_is_an_error_of_the_loop() -> None:
    text = (
        "nodes: [{name: l, type: while_loop, condition: 1 / state.n, max_iterations: 5, body: [{name: f, run: pass}]}]"
    )
    with pytest.raises(ts.WorkflowFailed) as failed:
        app_of(text).run({"n": 0})

    assert (failed.value.primary.node, failed.value.primary.phase) == ("l", "route")


def each(run: Any, items: Any = "state.xs", **more: Any) -> Any:
    return ts.StateGraph().add_each("each", items, run, **more).compile()


def test_what_each_item_returned_is_listed_in_the_order_of_the_items() -> None:
    app = each(lambda state: state["item"] * 10 + state["index"], output="got", max_concurrency=2)

    assert app.run({"xs": [3, 1, 2]}).state["got"] == [30, 11, 22]
    assert app.run({"xs": []}).state["got"] == []
    assert "item" not in app.run({"xs": [1]}).state


def test_items_are_taken_once_from_any_iterable() -> None:
    app = each(lambda state: state["item"], lambda state: (x for x in state["xs"]), output="got")

    assert app.run({"xs": range(40)}).state["got"] == list(range(40))


@pytest.mark.parametrize("xs", ["text", b"bytes", 7, None])
def test_what_is_no_list_of_items_is_refused_by_name(xs: Any) -> None:
    with pytest.raises(ts.WorkflowFailed, match="`items` is"):
        each(lambda state: None).run({"xs": xs})


def test_a_graph_yields_the_keys_it_set_even_to_the_value_they_had() -> None:
    inner = ts.StateGraph().add_node("a", run=lambda state: {"n": 1}).add_node("b", run=lambda state: {"m": state["n"]})

    assert each(inner, output="got").run({"xs": [0, 1], "n": 1}).state["got"] == [{"n": 1, "m": 1}] * 2


def test_a_failing_item_is_named_by_its_number() -> None:
    inner = ts.StateGraph().add_node("div", run=lambda state: 1 / state["item"])
    with pytest.raises(ts.WorkflowFailed) as failed:
        each(inner).run({"xs": [1, 0, 2]})
    with pytest.raises(ts.WorkflowFailed) as single:
        each(lambda state: 1 / state["item"]).run({"xs": [1, 0, 2]})

    assert (failed.value.primary.node, single.value.primary.node) == ("each[1]/div", "each[1]")


FAN_IN = """
nodes:
  - name: each
    type: dynamic_parallel
    items: state.xs
    item_var: x
    fan_in: join
    steps: [{name: s, run: 'return {"y": state["x"] + 1}'}]
  - name: join
    run: 'return {"ys": [r["y"] for r in parallel_results], "names": [r.branch for r in parallel_results]}'
edges: [{from: __start__, to: each}, {from: join, to: __end__}]
"""


def test_the_results_go_to_the_fan_in_without_an_edge() -> None:
    state = app_of(FAN_IN).run({"xs": [1, 2]}).state

    assert (state["ys"], state["names"]) == ([2, 3], ["each[0]", "each[1]"])


def test_a_subgraph_shares_the_state_or_maps_it() -> None:
    inner = ts.StateGraph().add_node("a", run=lambda state: {"seen": sorted(state), "m": state["n"] * 2})
    shared = ts.StateGraph().add_node("x", subgraph=inner).compile()
    mapped = ts.StateGraph().add_node("x", subgraph=inner.compile(), input={"n": "state.k"}, output={"r": "state.m"})

    assert shared.run({"n": 2}).state["m"] == 4
    assert dict(mapped.compile().run({"k": 5}).state) == {"k": 5, "r": 10}


def test_a_document_holds_another_one_beside_it(tmp_path: Path) -> None:
    (tmp_path / "part.yaml").write_text('nodes: [{name: a, run: \'return {"m": state["n"] + 1}\'}]')
    main = tmp_path / "main.yaml"
    main.write_text("nodes: [{name: x, subgraph: part.yaml, input: {n: state.k}}]")
    result = ts.YAMLEngine().load_from_file(main).compile().run({"k": 1})

    assert dict(result.state) == {"k": 1, "m": 2}
    assert "x/a" in result.nodes


def test_problems_of_a_subgraph_have_its_own_places_and_a_circle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "part.yaml").write_text("nodes: [{name: a, rum: pass}, {name: b, subgraph: main.yaml}]")
    main = tmp_path / "main.yaml"
    main.write_text("nodes: [{name: x, subgraph: part.yaml}, {name: y, subgraph: gone.yaml}]")
    with pytest.raises(ts.WorkflowError) as refused:
        ts.YAMLEngine().load_from_file(main)

    text = str(refused.value)
    assert f"{tmp_path}/part.yaml:1:" in text
    assert "main.yaml -> part.yaml -> main.yaml" in text
    assert "gone.yaml" in text


def test_steps_run_one_after_another_and_are_named_inside_their_node() -> None:
    text = """
nodes:
  - name: n
    steps:
      - {name: a, run: 'return {"x": 1}'}
      - {name: b, run: 'return {"y": state["x"] + 1}'}
"""
    result = app_of(text).run({})

    assert dict(result.state) == {"x": 1, "y": 2}
    assert list(result.nodes) == ["n/a", "n/b", "n"]


@pytest.mark.parametrize(
    ("node", "told"),
    [
        ("type: while_loop, condition: state.n, body: [{name: a, run: pass}]", "has no `max_iterations`"),
        ("type: while_loop, condition: state.n, max_iterations: 1001, body: [{name: a, run: pass}]", "from 1 to 1000"),
        ("type: while_loop, condition: 'a b', max_iterations: 1, body: [{name: a, run: pass}]", "not a Python expr"),
        (
            'type: while_loop, condition: "1", max_iterations: 1, body: [{name: a, run: pass, interrupt_after: true}]',
            "interrupt_after inside node",
        ),
        (
            'type: while_loop, condition: "1", max_iterations: 1, body: [{name: a, run: pass}, {name: a, run: pass}]',
            "two nodes are called 'a'",
        ),
        ("type: dynamic_parallel, items: state.n", "has nothing to run"),
        ("type: dynamic_parallel, items: state.n, run: pass, steps: [{name: a, run: pass}]", "write one of `steps`"),
        ("type: dynamic_parallel, items: state.n, run: pass, fan_in: gone", "no other node"),
        ("run: pass, items: state.n", "`items` of node 'x' means nothing here"),
        ("run: pass, steps: [{name: a, run: pass}]", "both `steps` and `run`"),
    ],
)
def test_what_cannot_run_is_refused_with_its_place(node: str, told: str) -> None:
    found = messages(f"nodes: [{{name: x, {node}}}]")

    assert any(told in each and each.startswith("w.yaml:1:") for each in found), found
