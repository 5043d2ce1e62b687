"""Threads and processes side by side: places of a fan-out, limits, times, copies of the state, figures, refusals.

Every graph runs in a fresh interpreter, wrapped in `untouched()`. The order of results and the edge's own strategy are
facts of `test_scheduler.py`, the rules about strategies of `core/test_rules.py`.
"""

from __future__ import annotations

from typing import Any

import harness
import pytest

STRATEGIES = pytest.mark.parametrize("strategy", ["thread", "process"])

GRAPHS = """
def plain(state, node):
    return {"trail": state.get("trail", "") + " " + node}

def join(state, parallel_results, node):
    return {"trail": state.get("trail", ""), node: {result.branch: result["trail"] for result in parallel_results}}

def graph_of(names, joins=("join",), config=None, **runs):
    graph = ts.StateGraph(parallel_config=config or ts.ParallelConfig(on_threads="error"))
    for name in names.split():
        graph.add_node(name, run=runs.get(name, join if name in joins else plain))
    return graph

def run(graph, state=None):
    with untouched():
        return graph.compile().run(state or {})

def failure(graph, state=None):
    with untouched():
        try:
            graph.compile().run(state or {})
        except ts.WorkflowFailed as failed:
            return failed

def told_of(failed):
    return {"node": failed.primary.node, "phase": failed.primary.phase, "text": failed.primary.message}
"""


def told(script: str, **options: Any) -> dict[str, Any]:
    """What a script that uses these graphs told."""
    return harness.run(GRAPHS + script, **options).told


# -- places of a fan-out ----------------------------------------------------------------------------------------------


@STRATEGIES
def test_a_fan_out_from_start_and_another_from_its_fan_in(strategy: str) -> None:
    """The fan-in of one is the source of the next; each joins what is its own."""
    seen = told(f"""
graph = graph_of("a b one c d two", joins=("one", "two"))
graph.add_parallel_edge(ts.START, ["a", "b"], fan_in="one", strategy={strategy!r})
graph.add_parallel_edge("one", ["c", "d"], fan_in="two", strategy={strategy!r}).set_finish_point("two")
tell(**run(graph).state)
""")
    assert seen == {"trail": "", "one": {"a": " a", "b": " b"}, "two": {"c": " c", "d": " d"}}


@pytest.mark.parametrize(
    "strategies",
    [
        ("thread", "thread", "thread"),
        ("process", "process", "process"),
        ("process", "thread", "thread"),
        ("process", "process", "thread"),
    ],
)
def test_fan_outs_three_deep(strategies: tuple[str, str, str]) -> None:
    """Each level joins inside its branch; a process may hold threads, and nothing is left of either."""
    seen = told(f"""
one, two, three = {strategies!r}
graph = graph_of("s a b c d e f g in3 in2 in1", joins=("in1", "in2", "in3"))
graph.set_entry_point("s").add_parallel_edge("s", ["a", "b"], fan_in="in1", strategy=one)
graph.add_parallel_edge("a", ["c", "d"], fan_in="in2", strategy=two)
graph.add_parallel_edge("c", ["e", "f"], fan_in="in3", strategy=three)
graph.add_edge("f", "g").set_finish_point("in1")
result = run(graph)
tell(state=result.state, nodes=sorted(result.nodes), status=sorted({{n.status.name for n in result.nodes.values()}}))
""")
    assert seen["state"] == {"trail": " s", "in1": {"a": " s a", "b": " s b"}}
    assert seen["nodes"] == sorted(["s", "a", "b", "c", "d", "e", "f", "g", "in3", "in2", "in1"])
    assert seen["status"] == ["DONE"]


def test_processes_right_after_threads_and_threads_right_after_processes() -> None:
    """Our threads are joined before anything forks: `on_threads="error"` finds none."""
    seen = told("""
graph = graph_of("a b one c d two e f three", joins=("one", "two", "three"))
graph.add_parallel_edge(ts.START, ["a", "b"], fan_in="one", strategy="thread")
graph.add_parallel_edge("one", ["c", "d"], fan_in="two", strategy="process")
graph.add_parallel_edge("two", ["e", "f"], fan_in="three", strategy="thread").set_finish_point("three")
tell(**run(graph).state)
""")
    assert seen["two"] == {"c": " c", "d": " d"}
    assert seen["three"] == {"e": " e", "f": " f"}


def test_a_stream_section_and_threads_inside_a_process_branch() -> None:
    """The branch's process forks the section first and starts its threads later; channels of it are in the figures."""
    seen = told("""
def produce():
    print("x" * 9)
def consume():
    return {"got": len(sys.stdin.read())}
def keep(parallel_results, state):
    return {"inner": [r["trail"] for r in parallel_results], "trail": "kept"}
config = ts.ParallelConfig(strategy="process", on_threads="error")
graph = graph_of("s other c d meet", config=config, meet=keep)
graph.add_node("p", run=produce, streams={"stdout": "lines"})
graph.add_node("q", run=consume, streams={"stdin": "lines"})
def last(parallel_results):
    return {"seen": [parallel_results["a"]["got"], parallel_results["a"]["inner"]]}
graph.add_node("a", run=plain).add_node("end", run=last)
graph.set_entry_point("s").add_parallel_edge("s", ["a", "other"], fan_in="end", strategy="process")
graph.add_edge("a", "p").add_edge("p", "q")
graph.add_parallel_edge("q", ["c", "d"], fan_in="meet", strategy="thread")
graph.set_finish_point("end")
result = run(graph)
tell(seen=result.state["seen"], nodes=sorted(result.nodes), bytes=result.channels["lines"].bytes)
""")
    assert seen["seen"] == [10, [" s a c", " s a d"]]
    assert seen["nodes"] == sorted(["s", "a", "p", "q", "c", "d", "meet", "other", "end"])
    assert seen["bytes"] == 10


# -- limits and times -------------------------------------------------------------------------------------------------


@STRATEGIES
@pytest.mark.parametrize("most", [1, 2])
def test_no_more_branches_than_max_workers_run_at_once(strategy: str, most: int) -> None:
    """Each branch looks, while it runs, how many others do; all of them come to their turn."""
    seen = told(f"""
import fcntl, tempfile
folder = Path(tempfile.mkdtemp())
def look(state, node):
    (folder / node).touch()
    running = len(list(folder.iterdir()))
    time.sleep(0.02)
    (folder / node).unlink()
    return {{"running": running}}
def most(parallel_results):
    return {{"most": max(result["running"] for result in parallel_results), "ran": len(parallel_results)}}
names = ["a", "b", "c", "d", "e"]
config = ts.ParallelConfig(strategy={strategy!r}, max_workers={most})
graph = graph_of("a b c d e join", config=config, join=most, **dict.fromkeys(names, look))
graph.add_parallel_edge(ts.START, names, fan_in="join").set_finish_point("join")
tell(**run(graph).state)
""")
    assert seen["ran"] == 5
    assert 1 <= seen["most"] <= most


@STRATEGIES
def test_a_branch_does_not_see_what_its_siblings_do_to_the_state(strategy: str) -> None:
    """Not in a value either, at any depth; and the caller's own state is as it was."""
    seen = told(f"""
def change(state, node):
    state["deep"]["list"].append(node)
    state["raw"][0] = ord(node)
    return {{"saw": [state["deep"]["list"], state["raw"][0]]}}
def collect(parallel_results, state):
    return {{"saw": [result["saw"] for result in parallel_results], "after": [state["deep"]["list"], state["raw"][0]]}}
graph = graph_of("a b c join", join=collect, a=change, b=change, c=change)
graph.add_parallel_edge(ts.START, ["a", "b", "c"], fan_in="join", strategy={strategy!r}).set_finish_point("join")
given = {{"deep": {{"list": [0]}}, "raw": bytearray(1)}}
state = run(graph, given).state
tell(saw=state["saw"], after=state["after"], given=given["deep"])
""")
    assert seen == {"saw": [[[0, each], ord(each)] for each in "abc"], "after": [[0], 0], "given": {"list": [0]}}


def test_a_time_limit_ends_a_process_branch_in_its_second_node() -> None:
    """Long before it would have ended by itself; nothing of it is left, and the limit is named."""
    seen = told("""
def hang(state):
    time.sleep(1000)
config = ts.ParallelConfig(strategy="process", timeout_seconds=0.3)
graph = graph_of("a a2 b join", config=config, a2=hang)
graph.add_parallel_edge(ts.START, ["a", "b"], fan_in="join").add_edge("a", "a2").set_finish_point("join")
begun = time.monotonic()
tell(**told_of(failure(graph)), seconds=time.monotonic() - begun)
""")
    assert (seen["node"], seen["phase"]) == ("a", "timeout")
    assert "timed out after 0.3 s" in seen["text"]
    assert seen["seconds"] < 30


def test_a_time_limit_reports_a_thread_branch_after_its_end() -> None:
    """A thread cannot be ended: it has run to its end, and the error says so and what would end it."""
    seen = told("""
ended = []
def late(state):
    time.sleep(0.2)
    ended.append("late")
config = ts.ParallelConfig(strategy="thread", timeout_seconds=0.05)
graph = graph_of("a a2 b join", config=config, a2=late)
graph.add_parallel_edge(ts.START, ["a", "b"], fan_in="join").add_edge("a", "a2").set_finish_point("join")
tell(**told_of(failure(graph)), ended=ended)
""")
    assert (seen["node"], seen["phase"], seen["ended"]) == ("a", "timeout", ["late"])
    assert "cannot be ended from outside, a process can: write `parallel_strategy: process`" in seen["text"]


def test_what_cannot_be_sent_back_is_named_by_its_key() -> None:
    """Also when the second node of the branch returned it; in a thread the same value is simply there."""
    seen = told("""
def lock(state):
    return {"fine": 1, "guilty": threading.Lock()}
def graph(strategy):
    graph = graph_of("a a2 b join", a2=lock, join=lambda parallel_results: {"ok": "guilty" in parallel_results["a"]})
    graph.add_parallel_edge(ts.START, ["a", "b"], fan_in="join", strategy=strategy).add_edge("a", "a2")
    return graph.set_finish_point("join")
tell(**told_of(failure(graph("process"))), ok=run(graph("thread")).state["ok"])
""")
    assert (seen["node"], seen["phase"], seen["ok"]) == ("a", "result", True)
    assert "the value of 'guilty' (lock) cannot be sent back from the node's process" in seen["text"]


# -- figures ----------------------------------------------------------------------------------------------------------


@STRATEGIES
def test_the_figures_of_a_branch_are_those_of_each_of_its_nodes(strategy: str) -> None:
    """Its own time each; what only the process as a whole can tell stands with the node the branch is named after."""
    seen = told(f"""
def rest(state):
    time.sleep(0.05)
graph = graph_of("a a2 a3 b join", a2=rest)
graph.add_parallel_edge(ts.START, ["a", "b"], fan_in="join", strategy={strategy!r})
graph.add_edge("a", "a2").add_edge("a2", "a3").set_finish_point("join")
nodes = run(graph).nodes
tell(order=sorted(nodes), status=sorted({{n.status.name for n in nodes.values()}}), quick=nodes["a"].seconds < 0.05,
     slow=nodes["a2"].seconds >= 0.05, codes=[nodes[n].exit_code for n in ("a", "a2", "b")],
     memory=[nodes[n].peak_memory_bytes is not None for n in ("a", "a2", "b")])
""")
    assert seen["order"] == ["a", "a2", "a3", "b", "join"]
    assert (seen["status"], seen["quick"], seen["slow"]) == (["DONE"], True, True)
    worker = strategy == "process"
    assert seen["codes"] == ([0, None, 0] if worker else [None, None, None])
    assert seen["memory"] == [worker, False, worker]


@STRATEGIES
def test_the_figures_of_a_branch_that_failed_say_which_node_did(strategy: str) -> None:
    """Those before it ended well, those after it did not run."""
    seen = told(f"""
def boom(state):
    raise KeyError("boom")
graph = graph_of("a a2 a3 b join", a2=boom)
graph.add_parallel_edge(ts.START, ["a", "b"], fan_in="join", strategy={strategy!r})
graph.add_edge("a", "a2").add_edge("a2", "a3").set_finish_point("join")
failed = failure(graph)
nodes = failed.result.nodes
tell(status={{name: figures.status.name for name, figures in nodes.items()}}, error=nodes["a2"].error.error_type,
     well=nodes["a"].error is None, cause=failed.primary.node)
""")
    assert seen["status"] == {"a": "DONE", "a2": "FAILED", "b": "DONE"}
    assert (seen["error"], seen["well"], seen["cause"]) == ("KeyError", True, "a2")


# -- what is refused --------------------------------------------------------------------------------------------------


def test_a_document_with_processes_inside_threads_is_refused_at_the_inner_edge() -> None:
    """By `validate` and by `run` alike, with the place and both ways out."""
    seen = told('''
text = """
settings: {parallel: {strategy: thread}}
nodes:
  - {name: a, run: "return {}"}
  - {name: b, run: "return {}"}
  - {name: c, run: "return {}"}
  - {name: d, run: "return {}"}
  - {name: inner, run: "return {}"}
  - {name: outer, run: "return {}"}
edges:
  - {from: __start__, to: [a, b], parallel: true, fan_in: outer}
  - {from: a, to: [c, d], parallel: true, fan_in: inner, parallel_strategy: process}
  - {from: outer, to: __end__}
"""
try:
    ts.YAMLEngine().load_from_string(text)
except ts.WorkflowError as error:
    tell(problems=[str(problem) for problem in error.problems], line=error.problems[0].where.line)
''')
    [problem] = seen["problems"]
    assert seen["line"] == 12
    assert problem.endswith(
        "write `parallel_strategy: process` on the edge from '__start__', or `parallel_strategy: thread` on this one"
    )


@pytest.mark.parametrize("where", ["settings", "edge"])
def test_remote_is_refused_with_what_to_write(where: str) -> None:
    """It is not there yet; nothing runs."""
    seen = told(f"""
where = {where!r}
config = ts.ParallelConfig(strategy="remote" if where == "settings" else "thread")
graph = graph_of("a b join", config=config)
graph.add_parallel_edge(ts.START, ["a", "b"], fan_in="join", strategy="remote" if where == "edge" else None)
try:
    graph.set_finish_point("join").compile()
except ts.WorkflowError as error:
    tell(text=str(error))
""")
    assert "strategy 'remote' is not there yet" in seen["text"]
    assert "process" in seen["text"]
