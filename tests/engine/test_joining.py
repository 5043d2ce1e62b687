"""engine/joining.py: updates of nodes, sections and branches join the state, reduced and checked.

The same graph runs by threads and by processes, in fresh interpreters, wrapped in `untouched()`.
"""

from __future__ import annotations

from typing import Any

import harness
import pytest

GRAPHS = """
import operator

SCHEMA = {"log": {"type": "list[str]", "reducer": "append"}, "total": int}
REDUCERS = {"total": operator.add}

def write(state, node):
    return {"log": node, "total": 1}

def graph_of(names, run=write, strategy="thread", enforce=True, wires=None, **runs):
    graph = ts.StateGraph(
        SCHEMA, enforce=enforce, reducers=REDUCERS, parallel_config=ts.ParallelConfig(strategy=strategy)
    )
    for name in names.split():
        graph.add_node(name, run=runs.get(name, run), streams=(wires or {}).get(name))
    return graph.set_entry_point(names.split()[0])

def final(graph, state=None):
    with untouched():
        return dict(graph.compile().run(state or {}).state)

def blame(graph, state=None):
    with untouched():
        try:
            return {"state": dict(graph.compile().run(state or {}).state)}
        except ts.WorkflowFailed as failed:
            cause = failed.primary
            return {
                "node": cause.node, "phase": cause.phase, "type": cause.error_type, "message": cause.message,
                "collateral": [error.node for error in failed.collateral], "state": dict(failed.result.state),
                "cause": type(cause.__cause__).__name__,
            }
"""


def told(script: str) -> dict[str, Any]:
    return harness.run(GRAPHS + script).told


def test_nodes_one_after_another_are_reduced() -> None:
    """Neither the state itself, returned, nor a copy of it doubles a list."""
    state = told("""
def copies(state):
    return {**state, "total": 0, "seen": True}

def itself(state):
    state["log"].append("in place")
    return state

graph = graph_of("a b c d", b=copies, c=itself)
tell(state=final(graph.add_edge("a", "b").add_edge("b", "c").add_edge("c", "d").set_finish_point("d")))
""")["state"]
    assert state == {"log": ["a", "in place", "d"], "total": 2, "seen": True}


@pytest.mark.parametrize("strategy", ["thread", "process"])
def test_branches_without_a_fan_in_are_merged_in_the_order_of_to(strategy: str) -> None:
    """A branch of several nodes gives all its parts; a key that only one branch set needs no reducer."""
    state = told(f"""
def own(state, node):
    return {{"log": [node, str(len(state["log"]))], node: 1, "same": [1]}}

def joins(state, parallel_results):
    return {{"log": [each.branch for each in parallel_results]}}

graph = graph_of("s a b c c2 j", strategy={strategy!r}, a=own, b=own, c2=own, j=joins)
graph.add_parallel_edge("s", ["c", "a", "b"]).add_edge("c", "c2")
for each in ("a", "b", "c2"):
    graph.add_edge(each, "j")
tell(state=final(graph.set_finish_point("j"), {{"log": ["0"], "total": 5}}))
""")["state"]
    assert state == {
        "log": ["0", "s", "c", "c2", "3", "a", "2", "b", "2", "c", "a", "b"],
        "total": 7,
        "a": 1,
        "b": 1,
        "c2": 1,
        "same": [1],
    }


@pytest.mark.parametrize("strategy", ["thread", "process"])
def test_with_a_fan_in_only_keys_with_a_reducer_are_merged(strategy: str) -> None:
    """Everything else is in the results, as ever."""
    state = told(f"""
def own(state, node):
    return {{"log": node, "mine": node}}

def joins(parallel_results):
    return {{"found": [each["mine"] for each in parallel_results]}}

graph = graph_of("s a b j", strategy={strategy!r}, a=own, b=own, j=joins)
graph.add_parallel_edge("s", ["a", "b"], "j")
tell(state=final(graph.set_finish_point("j")))
""")["state"]
    assert state == {"log": ["s", "a", "b"], "total": 1, "found": ["a", "b"]}


@pytest.mark.parametrize("strategy", ["thread", "process"])
def test_fan_outs_nest(strategy: str) -> None:
    """What inner branches returned is reduced again where the outer ones join; the run ends where all branches end."""
    state = told(f"""
graph = graph_of("s a x y i b", strategy={strategy!r})
graph.add_parallel_edge("s", ["a", "b"]).add_parallel_edge("a", ["x", "y"]).add_edge("x", "i").add_edge("y", "i")
tell(state=final(graph))
""")["state"]
    assert state == {"log": ["s", "a", "x", "y", "i", "b"], "total": 6}


@pytest.mark.parametrize("strategy", ["thread", "process"])
@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ("{'k': 1}", "{'k': 2}", "both changed the key 'k': to int: 1 and to int: 2;"),
        ("state.pop('k')", "{'k': 2}", "to nothing (removed) and to int: 2;"),
        ("{'log': 'x'}", "state['log'].append('y')", "'log': to more by its reducer and to list with 2 items;"),
    ],
)
def test_two_branches_that_change_one_key_otherwise_are_an_error(
    strategy: str, first: str, second: str, said: str
) -> None:
    """Nothing is merged then: the state is that before the step."""
    blame = told(f"""
def one(state):
    value = {first}
    return value if isinstance(value, dict) else None

def two(state):
    value = {second}
    return value if isinstance(value, dict) else None

graph = graph_of("s a b", strategy={strategy!r}, a=one, b=two)
tell(blame=blame(graph.add_parallel_edge("s", ["a", "b"]), {{"k": 0}}))
""")["blame"]
    assert (blame["node"], blame["phase"], blame["state"]) == ("b", "result", {"k": 0, "log": ["s"], "total": 1})
    assert blame["message"].startswith("the branches 'a' and 'b' both changed the key ")
    assert said in blame["message"]


@pytest.mark.parametrize("strategy", ["thread", "process"])
def test_a_key_with_a_reducer_that_one_branch_changed_in_place_is_replaced(strategy: str) -> None:
    """Before and after a part, too: the branch's last value holds."""
    state = told(f"""
def empties(state):
    state["log"] = ["new"]

graph = graph_of("s a a2 b", strategy={strategy!r}, a=empties, b=lambda state: {{"total": 10}})
tell(state=final(graph.add_parallel_edge("s", ["a", "b"]).add_edge("a", "a2").set_finish_point("a2")))
""")["state"]
    assert state == {"log": ["new", "a2"], "total": 12}


def test_members_of_a_section_are_reduced_in_the_order_of_the_stream() -> None:
    """At the end of its input a consumer's state has its upstream's part; its own is added to that once (L3)."""
    state = told("""
def produce(state, node):
    print("line")
    return {"log": node, "total": 1}

def consume(state, node):
    before = list(state["log"])
    sys.stdin.read()
    return {"log": node, "total": 1, node: [before, list(state["log"])]}

wires = {"p": {"stdout": "x"}, "c1": {"stdin": "x"}, "c2": {"stdin": "x"}}
graph = graph_of("s p c1 c2 end", strategy="process", wires=wires, p=produce, c1=consume, c2=consume)
graph.add_edge("s", "p").add_edge("p", "c1", stream_mode="broadcast").add_edge("p", "c2")
tell(state=final(graph.add_edge("c1", "end").add_edge("c2", "end").set_finish_point("end")))
""")["state"]
    assert state == {
        "log": ["s", "p", "c1", "c2", "end"],
        "total": 5,
        "c1": [["s"], ["s", "p"]],
        "c2": [["s"], ["s", "p"]],
    }


def test_branches_of_a_section_are_reduced_at_its_fan_in() -> None:
    """With what follows a member in its branch, and with a plain branch beside the section."""
    state = told("""
def produce(state, node):
    print("line")
    return {"log": node}

def consume(state, node):
    sys.stdin.read()
    return {"log": node}

def joins(parallel_results):
    return {"seen": [each["log"] for each in parallel_results]}

wires = {"p": {"stdout": "x"}, "c1": {"stdin": "x"}, "c2": {"stdin": "x"}}
runs = {"p": produce, "c1": consume, "c2": consume, "j": joins}
graph = graph_of("p c1 t1 c2 beside j", strategy="process", wires=wires, **runs)
graph.add_parallel_edge("p", ["c1", "c2", "beside"], "j", strategy="process", stream_mode="broadcast")
tell(state=final(graph.add_edge("c1", "t1").add_edge("t1", "j").set_finish_point("j")))
""")["state"]
    assert state["log"] == ["p", "c1", "t1", "c2", "beside"]
    assert state["seen"] == [["p", "c1", "t1"], ["p", "c2"], ["beside"]]


def test_the_initial_state_is_checked() -> None:
    blame = told("tell(blame=blame(graph_of('a').set_finish_point('a'), {'log': ['a', 3], 'total': 'x'}))")["blame"]
    assert (blame["node"], blame["phase"], blame["type"]) == ("__start__", "result", "TypeError")
    assert blame["message"] == (
        "'log[1]' must be str, not int: 3; 'total' must be int, not str: 'x'; "
        "give what `state_schema` declares, or correct the declaration"
    )


def test_a_plain_node_is_checked_also_for_what_it_did_in_place() -> None:
    """All wrong keys at once, and nothing of the update is merged."""
    blame = told("""
def wrong(state):
    state["total"] = "in place"
    return {"log": 3, "free": 1}

tell(blame=blame(graph_of("a b", b=wrong).add_edge("a", "b").set_finish_point("b")))
""")["blame"]
    assert (blame["node"], blame["phase"]) == ("b", "result")
    assert blame["message"].startswith("'log[1]' must be str, not int: 3; 'total' must be int, not str: 'in place'; ")
    assert blame["state"] == {"log": ["a"], "total": 1}


def test_without_enforcement_nothing_is_checked() -> None:
    state = told("""
graph = graph_of("a", enforce=False, a=lambda state: {"log": 3})
tell(state=final(graph.set_finish_point("a"), {"total": "x"}))
""")["state"]
    assert state == {"total": "x", "log": [3]}


@pytest.mark.parametrize("strategy", ["thread", "process"])
def test_a_node_in_a_branch_is_checked_in_its_branch(strategy: str) -> None:
    blame = told(f"""
graph = graph_of("s a a2 b", strategy={strategy!r}, a2=lambda state: {{"log": [3]}})
tell(blame=blame(graph.add_parallel_edge("s", ["a", "b"]).add_edge("a", "a2").set_finish_point("a2")))
""")["blame"]
    assert (blame["node"], blame["phase"], blame["type"]) == ("a2", "result", "TypeError")
    assert "'log[2]' must be str, not int: 3" in blame["message"]
    assert blame["state"] == {"log": ["s"], "total": 1}


def test_every_wrong_member_of_a_section_is_named() -> None:
    blame = told("""
def produce(state):
    print("line")
    return {"total": "x"}

def consume(state):
    sys.stdin.read()
    return {"log": [3]}

wires = {"p": {"stdout": "x"}, "c": {"stdin": "x"}}
graph = graph_of("p c", strategy="process", wires=wires, p=produce, c=consume)
tell(blame=blame(graph.add_edge("p", "c").set_finish_point("c")))
""")["blame"]
    assert (blame["node"], blame["phase"], blame["collateral"], blame["state"]) == ("p", "result", ["c"], {})


@pytest.mark.parametrize("where", ["plain", "worker"])
def test_a_reducer_that_raises_is_named_with_its_key(where: str) -> None:
    """In the caller's process the exception itself is the cause."""
    blame = told(f"""
def wrong(state):
    return {{"total": "text"}}

wires = {{"b": {{"stdout": {{"to": {{"file": "/dev/null", "partial": "keep"}}}}}}}} if {where!r} == "worker" else None
graph = graph_of("a b", b=wrong, strategy="process", wires=wires).add_edge("a", "b").set_finish_point("b")
tell(blame=blame(graph))
""")["blame"]
    assert (blame["node"], blame["phase"], blame["type"]) == ("b", "result", "ReducerFailed")
    assert blame["message"].startswith("the reducer 'add' of the key 'total' raised TypeError: unsupported operand")
    assert blame["state"] == {"log": ["a"], "total": 1}
    assert where == "worker" or blame["cause"] == "TypeError"


def test_what_is_neither_type_nor_reducer_is_refused_when_it_is_declared() -> None:
    """All keys at once."""
    problems = told("""
try:
    ts.StateGraph({"a": "strng", "b": 3, "c": {"type": int, "reducer": "apend"}}, reducers={"d": 4})
except ts.WorkflowError as refused:
    tell(problems=[str(problem) for problem in refused.problems])
""")["problems"]
    assert [text.partition(";")[0] for text in problems] == [
        "the key 'a' of the state: `strng` is no type",
        "the key 'b' of the state: 3 is no type that can be checked",
        "the key 'c' of the state has the reducer 'apend', which is none",
        "the key 'd' of the state has the reducer 4, which is none",
    ]
