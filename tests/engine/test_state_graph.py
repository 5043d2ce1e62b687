"""Declaring in Python: what `StateGraph` records, what it refuses at once, and how a function says what it wants.

Only plain nodes run here, in the test process itself; nothing forks.
"""

from __future__ import annotations

import functools
from typing import Any, Callable

import pytest

import teastreams as ts


def chain(*functions: Callable[..., Any], variables: bool = False) -> ts.StateGraph:
    """Plain nodes n0, n1, ... one after another."""
    graph = ts.StateGraph()
    names = [f"n{number}" for number in range(len(functions))]
    for name, function in zip(names, functions):
        graph.add_node(name, run=function)
    graph.set_entry_point(names[0])
    for source, target in zip(names, names[1:]):
        graph.add_edge(source, target)
    return graph.set_finish_point(names[-1])


def after(function: Callable[..., Any], state: dict[str, Any] | None = None) -> dict[str, Any]:
    """The final state of a workflow with this one node."""
    return dict(chain(function).compile().run(state, echo_output=False).state)


def refused(graph: ts.StateGraph) -> list[str]:
    """The problems with which compiling fails, as text."""
    with pytest.raises(ts.WorkflowError) as error:
        graph.compile()
    assert error.value.problems == graph.problems()
    return [str(problem) for problem in error.value.problems]


# -- declaring --------------------------------------------------------------------------------------------------------


def test_every_declaration_returns_the_graph() -> None:
    """So that a workflow can be written in one expression."""
    app = (
        ts.StateGraph({"n": int})
        .add_node("one", run=lambda state: {"n": state["n"] + 1})
        .add_node("two", run=lambda state: {"n": state["n"] * 10})
        .set_entry_point("one")
        .add_edge("one", "two")
        .set_finish_point("two")
        .compile()
    )
    assert app.run({"n": 1}).state == {"n": 20}


def test_declaring_runs_and_checks_nothing() -> None:
    """A graph may be wrong until it is compiled; then every problem comes at once."""
    graph = ts.StateGraph().add_node("a", run=print).add_edge("a", "nowhere").add_edge("elsewhere", "a")
    found = refused(graph)
    assert len(found) >= 2
    assert any("'nowhere'" in text for text in found)
    assert any("'elsewhere'" in text for text in found)


@pytest.mark.parametrize(
    ("streams", "words"),
    [
        ({"stdot": "c"}, "node 'a' has an unknown stream 'stdot'; the streams of a node are stdin, stdout and stderr"),
        ({"stdin": {"from": "c", "limit": 1}}, "the keys are from, overflow, buffer_limit and spill_limit"),
    ],
)
def test_an_unknown_key_in_streams_is_refused_where_it_is_written(streams: dict[str, Any], words: str) -> None:
    """With the node's name and the keys there are."""
    with pytest.raises(ts.WorkflowError) as error:
        ts.StateGraph().add_node("a", run=print, streams=streams)
    assert "'a'" in str(error.value)
    assert words in str(error.value)


def test_the_long_form_of_stdin_becomes_a_delivery() -> None:
    """`from`, `overflow` and the limits, as in a document."""
    given = {"from": "c", "overflow": "spill", "buffer_limit": 10, "spill_limit": 20}
    graph = ts.StateGraph().add_node("a", run=print, streams={"stdin": given})
    assert graph.graph.node("a").streams == ts.NodeStreamsConfig(stdin="c", delivery=ts.Delivery("spill", 10, 20))


def test_streams_in_python_need_no_setting() -> None:
    """Giving `streams=` is the opt-in; a strategy that somebody named must still fit."""
    graph = ts.StateGraph().add_node("p", run=print, streams={"stdout": "c"})
    graph.add_node("q", run=print, streams={"stdin": "c"})
    graph.set_entry_point("p").add_edge("p", "q").set_finish_point("q")
    assert graph.problems() == ()
    named = ts.StateGraph(parallel_config=ts.ParallelConfig(strategy="thread"))
    named.graph = type(graph.graph)(**{**vars(graph.graph), "parallel": named.graph.parallel, "strategy_given": True})
    assert "the strategy is thread" in str(named.problems()[0])


@pytest.mark.parametrize("key", ["interrupt_before", "interrupt_after"])
def test_an_interrupt_at_an_unknown_node_is_refused(key: str) -> None:
    """At compile time, by name."""
    with pytest.raises(ts.WorkflowError, match="an interrupt names the unknown node 'n9'"):
        chain(print).compile(**{key: ["n9"]})


def test_the_schema_is_documentation() -> None:
    """Keys that it does not name are no error."""
    graph = ts.StateGraph({"known": int}).add_node("n", run=lambda state: {"unknown": 1})
    assert graph.set_entry_point("n").set_finish_point("n").compile().run().state == {"unknown": 1}


# -- what a function asks for -----------------------------------------------------------------------------------------


def no_parameters() -> dict[str, Any]:
    return {"ran": True}


def by_any_name(everything: dict[str, Any]) -> dict[str, Any]:
    return {"ran": everything["begun"]}


def by_position(state: dict[str, Any], /) -> dict[str, Any]:
    return {"ran": state["begun"]}


def first_by_any_name(everything: dict[str, Any], node: str) -> dict[str, Any]:
    return {"ran": everything["begun"] and node == "n0"}


def with_defaults(state: dict[str, Any], factor: int = 1, *more: Any) -> dict[str, Any]:
    return {"ran": state["begun"] and factor == 1 and more == ()}


def all_names(context: ts.Context, node: str, parallel_results: Any, state: dict[str, Any], variables: Any) -> Any:
    same = context.node == node == "n0" and context.variables == variables == {} and len(context.run_id) == 16
    return {"ran": state["begun"] and same and parallel_results is None}


def by_keyword(*, state: dict[str, Any], node: str) -> dict[str, Any]:
    return {"ran": state["begun"] and node == "n0"}


def whatever_there_is(**given: Any) -> dict[str, Any]:
    return {"ran": set(given) == {"state", "parallel_results", "node", "context", "variables"}}


def first_and_whatever(data: dict[str, Any], **given: Any) -> dict[str, Any]:
    return {"ran": data["begun"] and set(given) == {"parallel_results", "node", "context", "variables"}}


class Callable_:
    def __call__(self, state: dict[str, Any]) -> dict[str, Any]:
        return {"ran": state["begun"]}

    def method(self, state: dict[str, Any]) -> dict[str, Any]:
        return {"ran": state["begun"]}


def needs_factor(state: dict[str, Any], factor: int) -> dict[str, Any]:
    return {"ran": state["begun"] and factor == 2}


@pytest.mark.parametrize(
    "function",
    [
        no_parameters,
        by_any_name,
        by_position,
        first_by_any_name,
        with_defaults,
        all_names,
        by_keyword,
        whatever_there_is,
        first_and_whatever,
        Callable_(),
        Callable_().method,
        functools.partial(needs_factor, factor=2),
        lambda s: {"ran": s["begun"]},
    ],
)
def test_a_function_gets_what_it_names(function: Callable[..., Any]) -> None:
    """By keyword what it names; the first parameter of another name, and one without a name, is the state."""
    assert after(function, {"begun": True}) == {"begun": True, "ran": True}


@pytest.mark.parametrize(("builtin", "result"), [(len, 2), (sorted, ["a", "b"]), (dict, None), (list, ["a", "b"])])
def test_builtins_get_the_state(builtin: Callable[..., Any], result: Any) -> None:
    """With a signature that Python can tell or without: what is no mapping becomes `result`."""
    state = after(builtin, {"a": 1, "b": 2})
    assert state == {"a": 1, "b": 2, **({} if result is None else {"result": result})}


def test_a_function_at_the_fan_in_gets_the_results_and_only_once() -> None:
    """`parallel_results` is None at a node which is no fan-in."""
    seen = []

    def later(parallel_results: Any) -> None:
        seen.append(parallel_results)

    graph = ts.StateGraph()
    for name in ("left", "right"):
        graph.add_node(name, run=lambda node: {"said": node})
    graph.add_node("join", run=lambda parallel_results: seen.append([each["said"] for each in parallel_results]))
    graph.add_node("later", run=later)
    graph.add_parallel_edge(ts.START, ["left", "right"], fan_in="join")
    graph.add_edge("join", "later").set_finish_point("later").compile().run()
    assert seen == [["left", "right"], None]


def two_unknown(data: Any, more: Any) -> None: ...
def unknown_beside_known(state: Any, more: Any) -> None: ...
def unknown_after_known(node: Any, more: Any) -> None: ...
def unknown_keyword(*, data: Any) -> None: ...
def unknown_keyword_too(state: Any, *, data: Any) -> None: ...
def second_by_position(state: Any, node: Any, /) -> None: ...


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (two_unknown, "asks for 'more'"),
        (unknown_beside_known, "'more'"),
        (unknown_after_known, "'more'"),
        (unknown_keyword, "'data'"),
        (unknown_keyword_too, "'data'"),
        (second_by_position, "'node'"),
        (needs_factor, "'factor'"),
    ],
)
def test_an_unknown_parameter_is_found_at_compile_time(function: Callable[..., Any], names: str) -> None:
    """The node, the parameter that nobody can give, and what a function can name. Nothing is called."""
    (text,) = refused(chain(no_parameters, function))
    assert "the function of node 'n1' asks for" in text
    assert names in text
    assert "a node's function can name state, parallel_results, node, context, variables" in text


def test_unknown_parameters_come_together_with_all_other_problems() -> None:
    """One compile step tells everything."""
    graph = chain(two_unknown, no_parameters, unknown_keyword).add_edge("n2", "nowhere")
    found = refused(graph)
    assert sum("asks for" in text for text in found) == 2
    assert any("'nowhere'" in text for text in found)


# -- what a function gives back ---------------------------------------------------------------------------------------


def test_a_returned_mapping_is_merged_and_anything_else_is_the_result() -> None:
    """None leaves the state as the node changed it in place; removing a key is a change, too."""

    def in_place(state: dict[str, Any]) -> None:
        state["list"].append(2)
        del state["gone"]

    app = chain(in_place, lambda state: {"list": [*state["list"], 3]}, lambda: 42).compile()
    given = {"list": [1], "gone": True}
    assert app.run(given).state == {"list": [1, 2, 3], "result": 42}
    assert "gone" in given


def test_an_update_says_what_to_set_and_what_to_remove() -> None:
    """As the explicit form of both."""
    assert after(lambda: ts.Update({"new": 1}, frozenset({"old"})), {"old": 0, "kept": 2}) == {"kept": 2, "new": 1}


def test_the_callers_state_is_not_changed() -> None:
    """The run works on a copy, one level deep; the same app runs again from the same start."""
    app = chain(lambda state: {"n": state["n"] + 1}).compile()
    given = {"n": 1}
    assert [app.run(given).state["n"] for _again in range(2)] == [2, 2]
    assert given == {"n": 1}


# -- decorators -----------------------------------------------------------------------------------------------------


def test_a_decorated_function_is_a_node_and_stays_a_function() -> None:
    """The node is called as the function; streams and limits are those of `add_node`."""
    graph = ts.StateGraph()

    @graph.node(stdout="lines", timeout=3)
    def reader(state: dict[str, Any]) -> str:
        return "called"

    @graph.node("writer", stdin={"from": "lines", "overflow": "spill"})
    def other(state: dict[str, Any]) -> None:
        """Reads."""

    first, second = graph.graph.nodes
    assert (first.name, first.run, first.timeout_seconds) == ("reader", reader, 3)
    assert first.streams == ts.NodeStreamsConfig(stdout="lines")
    assert (second.name, second.run) == ("writer", other)
    assert second.streams == ts.NodeStreamsConfig(stdin="lines", delivery=ts.Delivery(overflow="spill"))
    assert reader({}) == "called"


def test_a_decorator_without_channels_declares_a_plain_node() -> None:
    """It runs in the caller's process."""
    graph = ts.StateGraph()

    @graph.node()
    def only(state: dict[str, Any]) -> dict[str, int]:
        return {"ran": 1}

    assert graph.set_entry_point("only").set_finish_point("only").compile().run().state == {"ran": 1}


def test_a_decorator_without_parentheses_says_what_to_write() -> None:
    """Otherwise the function would be taken for a name."""
    graph = ts.StateGraph()
    with pytest.raises(TypeError, match=r"write @graph\.node\(\)"):

        @graph.node
        def only(state: dict[str, Any]) -> None:
            """Never declared."""
