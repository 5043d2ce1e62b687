"""The scheduler over every shape of a flow: which nodes ran, in which process, on which state, and who gets the blame.

The nodes of these graphs write their name into `trail`, so that a final state tells the path by which it came about.
All shapes run in fresh interpreters, wrapped in `untouched()`.
"""

from __future__ import annotations

from typing import Any

import harness
import pytest

NODES = """
def plain(state, node):
    return {"trail": state.get("trail", "") + " " + node, node: os.getpid() == MAIN}

def produce(state, node):
    for number in range(7):
        print(number)
    return {"trail": state.get("trail", "") + " " + node, node: 7}

def consume(state, node):
    lines = sys.stdin.readlines()
    return {"trail": state.get("trail", "") + " " + node, node: len(lines)}

def join(state, parallel_results, node):
    return {node: {result.branch: result["trail"] for result in parallel_results}}

def boom(state, node):
    state["half"] = True
    raise KeyError("boom in " + node)

MAIN = os.getpid()
FORK = {"a": plain, "b": plain, "c": plain, "join": join}

def graph_of(nodes, wires=None, **config):
    graph = ts.StateGraph(parallel_config=ts.ParallelConfig(**config)) if config else ts.StateGraph()
    for name, run in nodes.items():
        graph.add_node(name, run=run, streams=(wires or {}).get(name))
    return graph

def final(graph, state=None):
    with untouched():
        return dict(graph.compile().run(state or {}).state)

def blame(graph, state=None):
    with untouched():
        try:
            graph.compile().run(state or {"begun": 1})
        except ts.WorkflowFailed as failed:
            cause = failed.primary
            return {
                "node": cause.node, "phase": cause.phase, "type": cause.error_type, "message": cause.message,
                "code": cause.exit_code, "traceback": cause.traceback, "names": cause.error_type_names,
                "collateral": [error.node for error in failed.collateral], "state": dict(failed.result.state),
            }
"""


def told(script: str, **options: Any) -> dict[str, Any]:
    """What a script that uses these nodes told."""
    return harness.run(NODES + script, **options).told


# -- chains and fan-outs ----------------------------------------------------------------------------------------------


def test_a_chain_runs_in_the_callers_process_one_after_another() -> None:
    """Each node sees what the one before it left."""
    seen = told("""
graph = graph_of({"a": plain, "b": plain, "c": plain})
graph.set_entry_point("a").add_edge("a", "b").add_edge("b", "c").set_finish_point("c")
tell(state=final(graph))
""")
    assert seen["state"] == {"trail": " a b c", "a": True, "b": True, "c": True}


@pytest.mark.parametrize("strategy", ["thread", "process"])
def test_a_fan_out_runs_by_its_strategy_and_its_results_meet(strategy: str) -> None:
    """Threads are in the caller's process, workers are not; each branch starts from the same state."""
    seen = told(f"""
strategy = {strategy!r}
graph = graph_of({{**FORK, "join": lambda parallel_results: {{"got": [dict(r) for r in parallel_results]}}}})
graph.set_entry_point("a").add_parallel_edge("a", ["b", "c"], fan_in="join", strategy=strategy).set_finish_point("join")
tell(state=final(graph))
""")
    here = strategy == "thread"
    assert seen["state"]["got"] == [{"trail": f" a {name}", "a": True, name: here} for name in ("b", "c")]
    assert seen["state"]["trail"] == " a"


def test_the_settings_name_the_strategy_where_the_edge_does_not() -> None:
    """`ParallelConfig(strategy="process")` holds for every edge; an edge's own goes before it."""
    seen = told("""
def where(strategy, edge):
    graph = graph_of({**FORK, "join": lambda parallel_results: {"here": [r[r.branch] for r in parallel_results]}},
                     strategy=strategy)
    graph.set_entry_point("a").add_parallel_edge("a", ["b", "c"], fan_in="join", strategy=edge).set_finish_point("join")
    return final(graph)["here"]
pairs = (("process", None), ("thread", None), ("process", "thread"), ("thread", "process"))
tell(here=[where(*pair) for pair in pairs])
""")
    assert seen["here"] == [[False, False], [True, True], [True, True], [False, False]]


@pytest.mark.parametrize("strategy", ["thread", "process"])
def test_results_are_in_the_order_of_the_edge_whoever_ends_first(strategy: str) -> None:
    """By place, by name, and by unpacking; the first branch ends only when the second has."""
    seen = told(f"""
strategy = {strategy!r}
import tempfile
folder = Path(tempfile.mkdtemp())
def first(state):
    while not (folder / "second has ended").exists():
        time.sleep(0.001)
    return {{"who": "first"}}
def second(state):
    (folder / "second has ended").touch()
    return {{"who": "second"}}
def meet(parallel_results):
    one, two = parallel_results
    names = [one["who"], two["who"], parallel_results["first"]["who"], parallel_results["second"].get("who")]
    try:
        parallel_results["third"]
    except KeyError as error:
        return {{"names": names, "third": str(error)}}
graph = graph_of({{"first": first, "second": second, "join": meet}})
graph.add_parallel_edge(ts.START, ["first", "second"], fan_in="join", strategy=strategy).set_finish_point("join")
tell(**final(graph))
""")
    assert seen["names"] == ["first", "second", "first", "second"]
    assert "no branch 'third'; the branches are first, second" in seen["third"]


NESTED = """
def nested(outer, inner, bad=None, how=boom):
    nodes = ("a", "b", "b2", "x", "x2", "y", "after", "c", "c2")
    runs = {**{name: how if name == bad else plain for name in nodes}, "meet": join, "join": join}
    graph = graph_of(runs, on_threads="allow")
    graph.set_entry_point("a").add_parallel_edge("a", ["b", "c"], fan_in="join", strategy=outer)
    graph.add_edge("b", "b2").add_parallel_edge("b2", ["x", "y"], fan_in="meet", strategy=inner)
    graph.add_edge("x", "x2").add_edge("meet", "after").add_edge("c", "c2")
    return graph.set_finish_point("join")
"""


@pytest.mark.parametrize(("outer", "inner"), [("thread", "thread"), ("process", "thread"), ("process", "process")])
def test_fan_outs_nest_and_branches_have_several_nodes(outer: str, inner: str) -> None:
    """A branch of two nodes, a fan-out with a fan-in of its own inside it, and a node after that, before the join."""
    seen = told(
        NESTED
        + f"""
tell(state=final(nested({outer!r}, {inner!r})))
"""
    )
    assert seen["state"]["join"] == {"b": " a b b2 after", "c": " a c c2"}
    assert seen["state"]["trail"] == " a"


def test_the_inner_results_stay_in_their_branch() -> None:
    """What the inner fan-in made of them is in its branch's state, and in no other."""
    seen = told(
        NESTED
        + """
graph = nested("process", "process")
def keep(parallel_results):
    return {"inner": [result.get("meet") for result in parallel_results]}
graph.graph = type(graph.graph)(**{**vars(graph.graph), "nodes": graph.graph.nodes[:-1]})
graph.add_node("join", run=keep)
tell(state=final(graph))
"""
    )
    assert seen["state"]["inner"] == [{"x": " a b b2 x x2", "y": " a b b2 y"}, None]


@pytest.mark.parametrize("strategy", ["thread", "process"])
def test_a_fan_out_may_stand_at_the_start(strategy: str) -> None:
    """From `__start__`, with no node before it."""
    seen = told(f"""
graph = graph_of({{"b": plain, "c": plain, "join": join}})
graph.add_parallel_edge(ts.START, ["b", "c"], fan_in="join", strategy={strategy!r}).set_finish_point("join")
tell(state=final(graph, {{"trail": "begun"}}))
""")
    assert seen["state"]["join"] == {"b": "begun b", "c": "begun c"}


def test_a_fork_right_after_threads_ended_warns_of_none() -> None:
    """A joined thread may be the kernel's for a moment longer; it is waited for. Warnings are errors here."""
    told("""
graph = graph_of({"a": plain, "b": plain, "c": plain, "d": plain, "join": join, "e": plain, "f": plain, "last": join})
graph.add_parallel_edge(ts.START, ["a", "b", "c", "d"], fan_in="join", strategy="thread")
graph.add_parallel_edge("join", ["e", "f"], fan_in="last", strategy="process").set_finish_point("last")
app = graph.compile()
with untouched():
    for _again in range(10):
        app.run()
""")


# -- stream sections --------------------------------------------------------------------------------------------------

SECTION = """
PIPED = {"p": {"stdout": "lines"}, "c": {"stdin": "lines"}, "d": {"stdin": "lines"}}
"""


def test_a_section_may_stand_at_the_start_with_a_fan_in() -> None:
    """Producer and consumer are both targets of the edge from `__start__`: each has a result of its own."""
    seen = told(
        SECTION
        + """
graph = graph_of({"p": produce, "c": consume, "join": join}, PIPED)
graph.add_parallel_edge(ts.START, ["p", "c"], fan_in="join").set_finish_point("join")
tell(state=final(graph, {"trail": "begun"}))
"""
    )
    assert seen["state"] == {"trail": "begun", "join": {"p": "begun p", "c": "begun p c"}}


def test_a_plain_branch_runs_beside_a_section() -> None:
    """A companion of two nodes, in a worker of its own, from the state at the section's entry."""
    seen = told(
        SECTION
        + """
def meet(parallel_results):
    return {"trails": {r.branch: r["trail"] for r in parallel_results}, "here": parallel_results["side"]["side2"]}
graph = graph_of({"p": produce, "c": consume, "side": plain, "side2": plain, "meet": meet}, PIPED)
graph.set_entry_point("p").add_parallel_edge("p", ["c", "side"], fan_in="meet")
graph.add_edge("side", "side2").set_finish_point("meet")
tell(state=final(graph))
"""
    )
    assert seen["state"] == {"trail": " p", "p": 7, "trails": {"c": " p c", "side": " side side2"}, "here": False}


def test_nodes_may_stand_between_a_member_and_the_fan_in() -> None:
    """They run when the section has ended, on their branch's state; the other branch has none and waits."""
    seen = told(
        SECTION
        + """
graph = graph_of({"p": produce, "c": consume, "d": consume, "then": plain, "finally": plain, "join": join}, PIPED)
graph.set_entry_point("p").add_parallel_edge("p", ["c", "d"], fan_in="join", stream_mode="broadcast")
graph.add_edge("c", "then").add_edge("then", "finally").set_finish_point("join")
tell(state=final(graph))
"""
    )
    assert seen["state"] == {"trail": " p", "p": 7, "join": {"c": " p c then finally", "d": " p d"}}


def test_a_section_may_stand_inside_a_process_branch() -> None:
    """Between plain nodes of the branch; the strategy need not be named, streams imply it."""
    seen = told(
        SECTION
        + """
graph = graph_of({"a": plain, "b": plain, "p": produce, "c": consume, "after": plain, "o": plain, "join": join}, PIPED)
graph.set_entry_point("a").add_parallel_edge("a", ["b", "o"], fan_in="join")
graph.add_edge("b", "p").add_edge("p", "c").add_edge("c", "after").set_finish_point("join")
tell(state=final(graph))
"""
    )
    assert seen["state"]["join"] == {"b": " a b p c after", "o": " a o"}


def test_a_section_without_a_fan_in_changes_the_state_of_the_main_line() -> None:
    """Its updates are merged in the order of the stream."""
    seen = told(
        SECTION
        + """
graph = graph_of({"a": plain, "p": produce, "c": consume, "z": plain}, PIPED)
graph.set_entry_point("a").add_edge("a", "p").add_edge("p", "c").add_edge("c", "z").set_finish_point("z")
tell(state=final(graph))
"""
    )
    assert seen["state"] == {"trail": " a p c z", "a": True, "p": 7, "c": 7, "z": True}


# -- who gets the blame -----------------------------------------------------------------------------------------------

SHAPES = {
    "a plain node": """
graph = graph_of({"a": plain, "bad": boom, "b": plain})
graph.set_entry_point("a").add_edge("a", "bad").add_edge("bad", "b").set_finish_point("b")
""",
    **{
        f"{place} of a {strategy} branch": f"""
graph = graph_of({{"b": {first}, "bad": {second}, "c": plain, "join": join}})
graph.add_parallel_edge(ts.START, [{targets}], fan_in="join", strategy={strategy!r}).set_finish_point("join")
graph.add_edge({edge})
"""
        for strategy in ("thread", "process")
        for place, first, second, targets, edge in (
            ("the first node", "plain", "boom", '"bad", "c"', '"bad", "b"'),
            ("the second node", "plain", "boom", '"b", "c"', '"b", "bad"'),
        )
    },
    **{
        f"a {inner} branch inside a {outer} branch": NESTED.replace('"x2"', '"bad"')
        + f"""
graph = nested({outer!r}, {inner!r}, "bad")
"""
        for outer, inner in (("thread", "thread"), ("process", "thread"), ("process", "process"))
    },
    "a member of a section": SECTION.replace('"c"', '"bad"')
    + """
graph = graph_of({"p": produce, "bad": boom}, PIPED)
graph.set_entry_point("p").add_edge("p", "bad").set_finish_point("bad")
""",
    "a companion of a section": SECTION
    + """
graph = graph_of({"p": produce, "c": consume, "side": plain, "bad": boom, "join": join}, PIPED)
graph.set_entry_point("p").add_parallel_edge("p", ["c", "side"], fan_in="join")
graph.add_edge("side", "bad").set_finish_point("join")
""",
    "a node between a member and the fan-in": SECTION
    + """
graph = graph_of({"p": produce, "c": consume, "d": consume, "then": plain, "bad": boom, "join": join}, PIPED)
graph.set_entry_point("p").add_parallel_edge("p", ["c", "d"], fan_in="join", stream_mode="broadcast")
graph.add_edge("c", "then").add_edge("then", "bad").set_finish_point("join")
""",
    "a member of a section inside a branch": SECTION.replace('"c"', '"bad"')
    + """
graph = graph_of({"b": plain, "p": produce, "bad": boom, "o": plain, "join": join}, PIPED)
graph.add_parallel_edge(ts.START, ["b", "o"], fan_in="join")
graph.add_edge("b", "p").add_edge("p", "bad").set_finish_point("join")
""",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_wherever_a_node_fails_it_is_the_one_that_is_named(shape: str) -> None:
    """Its type, text and line; the state is the one before the step of the main line that failed."""
    seen = told(
        SHAPES[shape]
        + """
tell(**blame(graph))
"""
    )
    assert (seen["node"], seen["phase"]) == ("bad", "run")
    assert (seen["type"], seen["message"]) == ("KeyError", "'boom in bad'")
    assert {"KeyError", "LookupError"} <= set(seen["names"])
    assert seen["traceback"].rstrip().endswith("KeyError: 'boom in bad'")
    assert "in boom" in seen["traceback"]
    assert "teastreams/" not in seen["traceback"]
    has_a = 'set_entry_point("a")' in SHAPES[shape] and "a member" not in shape
    assert seen["state"] == {"begun": 1, **({"a": True, "trail": " a"} if has_a else {})}


@pytest.mark.parametrize("strategy", ["thread", "process"])
def test_a_branch_that_was_stopped_is_not_the_cause(strategy: str) -> None:
    """With `fail_fast` the first target is stopped because of the second: the second comes first in the report."""
    seen = told(f"""
def wait(state):
    time.sleep(1000)
strategy = {strategy!r}
first = plain if strategy == "thread" else wait
graph = graph_of({{"first": first, "bad": boom, "last": wait, "join": join}}, strategy=strategy, fail_fast=True,
                 max_workers=1 if strategy == "thread" else None)
graph.add_parallel_edge(ts.START, ["first", "bad", "last"], fan_in="join").set_finish_point("join")
tell(**blame(graph))
""")
    assert (seen["node"], seen["type"]) == ("bad", "KeyError")
    assert sorted(seen["collateral"]) == (["last"] if strategy == "thread" else ["first", "last"])


@pytest.mark.parametrize("strategy", ["thread", "process"])
def test_without_fail_fast_the_siblings_go_on_to_their_end(strategy: str, tmp_path: Any) -> None:
    """The run fails then, and every branch that failed is in the report, the earliest first."""
    seen = told(
        f"""
done = Path(sys.argv[1], "done")
failed = Path(sys.argv[1], "failed")
def fails_second(state, node):
    while not done.exists():
        time.sleep(0.001)
    raise ValueError("second")
def fails_first(state):
    try:
        raise ValueError("first")
    finally:
        failed.touch()
def goes_on(state):
    while not failed.exists():
        time.sleep(0.001)
    time.sleep(0.05)
    done.touch()
graph = graph_of({{"later": fails_second, "bad": fails_first, "good": goes_on, "join": join}})
graph.add_parallel_edge(ts.START, ["later", "bad", "good"], fan_in="join", strategy={strategy!r})
tell(**blame(graph.set_finish_point("join")), done=done.exists())
""",
        arguments=(str(tmp_path),),
    )
    assert (seen["node"], seen["message"], seen["collateral"], seen["done"]) == ("bad", "first", ["later"], True)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["thread", "process"])
def test_a_branch_past_its_time_has_timed_out(strategy: str) -> None:
    """Phase timeout, which is exit code 5 of the command line; a process is ended, a thread is waited for."""
    seen = told(f"""
strategy = {strategy!r}
graph = graph_of({{"late": lambda state: time.sleep(0.3 if strategy == "thread" else 1000), "b": plain, "join": join}},
                 strategy=strategy, timeout_seconds=0.2)
graph.add_parallel_edge(ts.START, ["late", "b"], fan_in="join").set_finish_point("join")
tell(**blame(graph))
""")
    assert (seen["node"], seen["phase"]) == ("late", "timeout")
    assert "timed out" in seen["message"]
    assert seen["code"] == (None if strategy == "thread" else -1)


@pytest.mark.slow
def test_a_timeout_inside_a_branch_is_a_timeout_outside() -> None:
    """A section that hangs in a process branch: the phase is not lost on the way."""
    seen = told(
        SECTION
        + """
def hang(state):
    time.sleep(1000)
graph = graph_of({"b": plain, "p": hang, "c": consume, "o": plain, "join": join}, PIPED, strategy="process",
                 streams=ts.StreamSettings(enabled=True, timeout=0.3))
graph.add_parallel_edge(ts.START, ["b", "o"], fan_in="join")
graph.add_edge("b", "p").add_edge("p", "c").set_finish_point("join")
tell(**blame(graph))
"""
    )
    assert (seen["node"], seen["phase"]) == ("p, c", "timeout")
    assert seen["message"].startswith("timed out after 0.3 s")


def test_an_exit_code_of_a_branch_is_told_as_such() -> None:
    """`sys.exit(42)` in the second node of a process branch; nobody raised an error."""
    seen = told("""
graph = graph_of({"b": plain, "b2": lambda state: sys.exit(42), "c": plain, "join": join})
graph.add_parallel_edge(ts.START, ["b", "c"], fan_in="join", strategy="process").add_edge("b", "b2")
tell(**blame(graph.set_finish_point("join")))
""")
    assert (seen["node"], seen["code"], seen["message"]) == ("b", 42, "exit code 42")


def test_the_failure_of_a_workflow_that_a_node_runs_is_the_nodes_own() -> None:
    """A node may run a workflow of its own; its names mean nothing outside."""
    seen = told("""
def runs_another(state):
    other = graph_of({"inner": boom}).set_entry_point("inner").set_finish_point("inner")
    other.compile().run()
graph = graph_of({"b": plain, "b2": runs_another, "c": plain, "join": join})
graph.add_parallel_edge(ts.START, ["b", "c"], fan_in="join", strategy="process").add_edge("b", "b2")
tell(**blame(graph.set_finish_point("join")))
""")
    assert (seen["node"], seen["type"]) == ("b2", "WorkflowFailed")
    assert "node 'inner' failed (run): KeyError" in seen["message"]


@pytest.mark.parametrize("strategy", ["thread", "process"])
def test_a_retried_branch_begins_again_with_the_state_it_began_with(strategy: str, tmp_path: Any) -> None:
    """Twice it fails, the third time it has a clean state; the names of the inner error decide."""
    seen = told(
        f"""
tries = Path(sys.argv[1], "tries")
def fragile(state):
    assert "touched" not in state
    state["touched"] = True
    with tries.open("a") as file:
        file.write("x")
    if len(tries.read_text()) < 3:
        raise KeyError("not yet")
graph = graph_of({{"b": plain, "b2": fragile, "c": plain, "join": lambda parallel_results: {{
    "retries": [r.retry_count for r in parallel_results], "touched": parallel_results["b"]["touched"]}}}},
    strategy={strategy!r}, retry_policy=ts.RetryPolicy(max_retries=3, base_delay=0.001, retry_on=("LookupError",)))
graph.add_parallel_edge(ts.START, ["b", "c"], fan_in="join").add_edge("b", "b2").set_finish_point("join")
tell(**final(graph))
""",
        arguments=(str(tmp_path),),
    )
    assert (seen["retries"], seen["touched"]) == ([2, 0], True)


def test_an_interrupted_fan_out_is_stopped_and_ctrl_c_reaches_the_caller() -> None:
    """SIGINT while workers run: they are ended in order, then the host's own handler has it."""
    seen = told("""
def call_home(state):
    os.kill(MAIN, signal.SIGINT)
    time.sleep(1000)
graph = graph_of({"b": call_home, "c": lambda state: time.sleep(1000), "join": join})
graph.add_parallel_edge(ts.START, ["b", "c"], fan_in="join", strategy="process").set_finish_point("join")
with untouched():
    try:
        graph.compile().run()
    except KeyboardInterrupt:
        tell(raised=True)
""")
    assert seen == {"raised": True}
