"""Facts about actions: where they come from, how they are called, what is kept of what they return."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import teastreams as ts
from teastreams.workflow.load import load_bytes

MODULE = """
loaded = []

def shout(text, state, times=1):
    return {"loud": (text.upper() + "!") * times, "n": state["n"]}

def where(context, variables, node):
    return [context.node, node, dict(variables)]

def _private():
    raise AssertionError

def breaks():
    raise KeyError("gone")
"""


def document(folder: Path, text: str, module: str = MODULE) -> Path:
    (folder / "actions.py").write_text(module)
    path = folder / "main.yaml"
    path.write_text("imports: [{path: actions.py, namespace: my}]\n" + text)
    return path


def run(path: Path, **state: Any) -> dict[str, Any]:
    return dict(ts.YAMLEngine().load_from_file(path).compile().run(state).state)


def test_an_action_of_a_file_gets_its_arguments_and_what_it_names(tmp_path: Path) -> None:
    path = document(
        tmp_path,
        """
variables: {limit: 2}
nodes:
  - name: one
    uses: my.shout
    with: {text: "hi {{ state.who }}", times: "{{ variables.limit }}"}
    output: said
  - {name: two, uses: my.where, output: {place: "{{ result[0] }}", rest: "result[1:]"}}
  - {name: three, uses: my.shout, with: {text: x}}
""",
    )
    assert run(path, who="ann", n=1) == {
        "who": "ann",
        "n": 1,
        "said": {"loud": "HI ANN!HI ANN!", "n": 1},
        "place": "two",
        "rest": ["two", {"limit": 2}],
        "loud": "X!",
    }


def test_an_import_happens_when_a_workflow_is_compiled_and_not_before(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    path = document(
        tmp_path, "nodes: [{name: a, uses: my.act}]", f"open({str(mark)!r}, 'w').close()\ndef act(): pass\n"
    )
    graph = ts.YAMLEngine().load_from_file(path)
    assert graph.problems() == ()
    assert not mark.exists()

    graph.compile()
    assert mark.exists()


def test_a_module_can_register_its_actions_itself(tmp_path: Path) -> None:
    module = "def register_actions(registry, engine):\n    registry['deep.one'] = lambda state: {'x': 1}\n"
    path = document(tmp_path, "nodes: [{name: a, uses: my.deep.one}]", module)
    assert run(path) == {"x": 1}


def test_a_package_offers_its_functions(tmp_path: Path) -> None:
    text = "imports: [{package: textwrap, namespace: text}]\n"
    text += "nodes: [{name: a, uses: text.dedent, with: {text: '  x'}, output: plain}]"
    graph, problems = load_bytes(text.encode(), "w.yaml")
    assert problems == ()
    assert graph is not None
    assert dict(ts.StateGraph.from_graph(graph).compile().run({}).state) == {"plain": "x"}


def test_functions_are_given_in_python(tmp_path: Path) -> None:
    graph = ts.StateGraph().add_node("a", uses="double", arguments={"n": "{{ state.n }}"}, output="n")
    graph.add_node("b", run=lambda state: {"a": 1, "b": 2}, output={"sum": "result.a + result.b"})
    app = graph.add_edge("a", "b").compile(actions={"double": lambda n: n * 2})

    assert app.run({"n": 4}).state == {"n": 8, "sum": 3}


def test_an_action_is_limited_by_wrapping_it(tmp_path: Path) -> None:
    path = document(
        tmp_path,
        """
nodes:
  - name: one
    uses: ratelimit.wrap
    with: {action: my.shout, args: {text: x}, limiter: api, rps: 1000}
    output: {said: "{{ result.loud }}"}
""",
    )
    assert run(path, n=1)["said"] == "X!"


def test_an_action_stands_in_steps_and_branches(tmp_path: Path) -> None:
    path = document(
        tmp_path,
        """
nodes:
  - {name: s, steps: [{name: in, uses: my.shout, with: {text: s}}]}
  - {name: a, uses: my.shout, with: {text: a}}
  - {name: b, uses: my.shout, with: {text: b}}
  - {name: f, run: 'return {"all": [each["loud"] for each in parallel_results]}'}
edges: [{from: s, to: [a, b], parallel: true, fan_in: f}]
""",
    )
    assert run(path, n=1)["all"] == ["A!", "B!"]


def test_what_an_action_raises_is_the_nodes_error(tmp_path: Path) -> None:
    with pytest.raises(ts.WorkflowFailed, match=r"node 'a' failed \(run\): KeyError: 'gone'") as caught:
        run(document(tmp_path, "nodes: [{name: a, uses: my.breaks}]"))
    assert "actions.py" in caught.value.primary.traceback


def test_an_expression_in_the_arguments_that_raises_names_itself(tmp_path: Path) -> None:
    with pytest.raises(ts.WorkflowFailed, match=re.escape("the expression `{{ 1 / state.n }}` raised Zero")):
        run(document(tmp_path, "nodes: [{name: a, uses: my.shout, with: {text: '{{ 1 / state.n }}'}}]"), n=0)


@pytest.mark.parametrize(
    ("node", "told"),
    [
        ("uses: my.shot", "node 'a' uses 'my.shot', which is no action; did you mean `my.shout`?"),
        ("uses: my._private", "node 'a' uses 'my._private', which is no action"),
        ("uses: ratelimit.wrp", "did you mean `ratelimit.wrap`?"),
    ],
)
def test_a_name_that_nobody_offers_is_refused_when_compiling(tmp_path: Path, node: str, told: str) -> None:
    with pytest.raises(ts.WorkflowError) as caught:
        ts.YAMLEngine().load_from_file(document(tmp_path, f"nodes: [{{name: a, {node}}}]")).compile()
    assert told in str(caught.value)
    assert "main.yaml:2:" in str(caught.value)


def test_only_what_cannot_come_by_an_import_is_refused_without_importing(tmp_path: Path) -> None:
    def problems(node: str) -> list[str]:
        graph = ts.YAMLEngine().load_from_file(document(tmp_path, f"nodes: [{{name: a, {node}}}]"))
        return [problem.message for problem in graph.problems()]

    assert problems("uses: ratelimit.wrp") == ["node 'a' uses 'ratelimit.wrp', which is no action"]
    assert problems("uses: my.shot") == []


def test_an_import_that_fails_is_told_with_its_cause(tmp_path: Path) -> None:
    with pytest.raises(ts.WorkflowError, match=r"the import of 'actions.py' raised ZeroDivisionError"):
        ts.YAMLEngine().load_from_file(document(tmp_path, "nodes: [{name: a, run: pass}]", "1 / 0")).compile()
    (tmp_path / "actions.py").unlink()
    with pytest.raises(ts.WorkflowError, match=r"raised FileNotFoundError: there is no Python file"):
        ts.YAMLEngine().load_from_file(tmp_path / "main.yaml").compile()


def test_a_single_key_is_no_output_of_a_sub_workflow() -> None:
    inner = ts.StateGraph().add_node("x", run=lambda state: {"y": 1})
    with pytest.raises(ts.WorkflowError, match="the output of a sub-workflow is a mapping"):
        ts.StateGraph().add_node("a", subgraph=inner, output="y")
    with pytest.raises(ts.WorkflowError, match="is not a Python expression"):
        ts.StateGraph().add_node("a", run=lambda state: 1, output={"y": "a b"})
    with pytest.raises(ts.WorkflowError, match="is not a Python expression"):
        ts.StateGraph().add_node("a", uses="x", arguments={"y": "{{ a b }}"})


def test_the_initial_state_stands_before_what_the_caller_gives() -> None:
    graph, problems = load_bytes(b"initial_state: {n: 1, m: 2}\nnodes: [{name: a, run: pass}]", "w.yaml")
    assert problems == ()
    assert graph is not None
    assert ts.StateGraph.from_graph(graph).compile().run({"m": 5}).state == {"n": 1, "m": 5}
