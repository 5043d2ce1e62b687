"""Nodes and branches that are tried again, fall back, or are gone on without: in every place where a node can run."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import harness
import pytest

NODES = """
QUICK = {"max_retries": 3, "base_delay": 0}

def fails(times):
    calls = []
    def node(state, node):
        calls.append(sorted(state))
        state["half"] = node
        state.pop("begun", None)
        if len(calls) <= times:
            raise ConnectionError(f"attempt {len(calls)}")
        return {"calls": len(calls), "seen": calls}
    return node

def boom(state, node):
    state["half"] = node
    raise ValueError("boom in " + node)

def fine(state, node):
    return {"after": sorted(state)}

def chain(*names_and_nodes, **more):
    graph = ts.StateGraph(**more)
    for name, run, options in names_and_nodes:
        graph.add_node(name, run=run, **options)
    fallbacks = graph.graph.fallbacks
    names = [name for name, _, _ in names_and_nodes if name not in fallbacks]
    graph.set_entry_point(names[0]).set_finish_point(names[-1])
    for one, other in zip(names, names[1:]):
        graph.add_edge(one, other)
    return graph.compile()

def ended(app, state=None, **options):
    with untouched():
        return app.run({"begun": 1} if state is None else state, echo_output=False, **options)
"""


def told(script: str, **options: Any) -> dict[str, Any]:
    """What a script that uses these nodes told."""
    return harness.run(NODES + script, **options).told


# -- plain nodes ------------------------------------------------------------------------------------------------------


def test_a_failed_attempt_leaves_nothing_in_the_state() -> None:
    """Each attempt sees the keys as they were: those it has set are gone, the one it removed is back."""
    seen = told("""
result = ended(chain(("a", fails(2), {"retry": QUICK})))
tell(state=dict(result.state), retries=result.nodes["a"].retry_count, status=result.nodes["a"].status.name)
""")
    assert seen["state"] == {"half": "a", "calls": 3, "seen": [["begun"]] * 3}
    assert (seen["retries"], seen["status"]) == (2, "DONE")


def test_attempts_are_told_with_their_delays() -> None:
    """`NodeRetried` stands between two attempts; the delays are those of the policy."""
    seen = told("""
app = chain(("a", fails(5), {"retry": ts.RetryPolicy(max_retries=2, base_delay=0.001, backoff_multiplier=3)}))
events = []
try:
    with untouched():
        for event in app.stream({}, echo_output=False):
            events.append(event)
except ts.WorkflowFailed as failed:
    tell(error=str(failed.primary), retries=failed.result.nodes["a"].retry_count)
tell(
    kinds=[type(event).__name__ for event in events],
    retried=[str(event) for event in events if isinstance(event, ts.NodeRetried)],
)
""")
    attempt = ["NodeStarted", "NodeFinished"]
    assert seen["kinds"] == [*attempt, "NodeRetried", *attempt, "NodeRetried", *attempt]
    assert seen["retried"] == [
        "node 'a' failed: ConnectionError: attempt 1; attempt 2 of at most 3 after 0.001 s",
        "node 'a' failed: ConnectionError: attempt 2; attempt 3 of at most 3 after 0.003 s",
    ]
    assert (seen["error"], seen["retries"]) == ("node 'a' failed (run): ConnectionError: attempt 3", 2)


def test_an_error_that_retry_on_does_not_name_is_final() -> None:
    """A base class matches, another class does not."""
    seen = told("""
counts = []
for names in (["OSError"], ["KeyError"], "builtins.ConnectionError"):
    try:
        ended(chain(("a", fails(9), {"retry": {**QUICK, "retry_on": names}})))
    except ts.WorkflowFailed as failed:
        counts.append(failed.result.nodes["a"].retry_count)
tell(counts=counts)
""")
    assert seen["counts"] == [3, 0, 3]


def test_graceful_goes_on_with_the_error_in_the_state() -> None:
    """As data; the next node sees the state without what the failed one did, and a warning is told."""
    seen = told("""
app = chain(("a", boom, {"retry": {**QUICK, "max_retries": 1}, "on_error": "graceful"}), ("b", fine, {}))
with untouched():
    events = list(app.stream({"begun": 1}, echo_output=False))
result = events[-1].result
tell(state=dict(result.state), error=str(result.nodes["a"].error), status=result.status,
     warned=[event.message for event in events if isinstance(event, ts.Warned)])
""")
    error = {"node": "a", "type": "ValueError", "message": "boom in a", "phase": "run", "exit_code": None}
    assert seen["state"] == {
        "begun": 1,
        "__error__": {**error, "retry_count": 1},
        "after": ["__error__", "begun"],
    }
    assert seen["status"] == "finished"
    assert seen["warned"] == [seen["error"] + "; the run goes on without it"]


def test_a_fallback_runs_in_the_place_of_the_failed_node() -> None:
    """It is given the error in two forms; the run goes on along the failed node's way; nothing of the error stays."""
    seen = told("""
def instead(state, context):
    return {"given": [str(context.error), state["__error__"]["node"], sorted(state)], "instead": True}
def after(state, context):
    return {"after": sorted(state), "clean": context.error is None}
result = ended(chain(("a", boom, {"on_error": {"fallback": "f"}}), ("f", instead, {}), ("b", after, {})))
tell(state=dict(result.state), nodes={name: each.status.name for name, each in result.nodes.items()})
""")
    assert seen["state"]["given"] == ["node 'a' failed (run): ValueError: boom in a", "a", ["__error__", "begun"]]
    assert seen["state"]["after"] == ["begun", "given", "instead"]
    assert seen["state"]["clean"] is True
    assert seen["nodes"] == {"a": "FAILED", "f": "DONE", "b": "DONE"}


def test_a_fallback_that_fails_is_a_consequence_of_the_first_failure() -> None:
    """The failed node stays the cause, and with graceful it is the error in the state."""
    seen = told("""
def options(mode, name):
    return {"on_error": {"mode": mode, "fallback": name}}
try:
    ended(chain(("a", boom, options("raise", "f")), ("f", boom, options("raise", "g")), ("g", boom, {})))
except ts.WorkflowFailed as failed:
    tell(blamed=[error.node for error in failed.exceptions], left=dict(failed.result.state))
result = ended(chain(("a", boom, options("graceful", "f")), ("f", fails(9), {"retry": QUICK}), ("b", fine, {})))
tell(error=result.state["__error__"]["node"], after=result.state["after"], retries=result.nodes["f"].retry_count)
""")
    assert seen["blamed"] == ["a", "f", "g"]
    assert seen["left"] == {"begun": 1}
    assert (seen["error"], seen["after"], seen["retries"]) == ("a", ["__error__", "begun"], 3)


def test_a_fan_in_gets_its_results_in_every_attempt_and_in_its_fallback() -> None:
    """They wait until an attempt has ended well."""
    seen = told("""
lengths = []
def join(state, parallel_results, node):
    lengths.append((node, len(parallel_results)))
    if node == "j" or len(lengths) < 5:
        raise OSError("not yet")
    return {"joined": [result.branch for result in parallel_results]}
graph = ts.StateGraph()
graph.add_node("a", run=fine).add_node("b", run=fine).add_node("f", run=join, retry=QUICK)
graph.add_node("j", run=join, retry={**QUICK, "max_retries": 1}, on_error={"fallback": "f"})
graph.add_parallel_edge(ts.START, ["a", "b"], fan_in="j").set_finish_point("j")
result = ended(graph.compile())
tell(lengths=lengths, joined=result.state["joined"])
""")
    assert seen["lengths"] == [["j", 2], ["j", 2], ["f", 2], ["f", 2], ["f", 2]]
    assert seen["joined"] == ["a", "b"]


def test_a_large_value_is_neither_copied_nor_looked_into() -> None:
    """A value that raises when it is copied or pickled goes through three attempts as it is."""
    seen = told("""
class Large:
    def __deepcopy__(self, memo): raise AssertionError("copied")
    def __reduce__(self): raise AssertionError("pickled")
large = Large()
result = ended(chain(("a", fails(2), {"retry": QUICK})), {"large": large, "begun": 1})
tell(same=result.state["large"] is large, calls=result.state["calls"])
""")
    assert seen == {"same": True, "calls": 3}


def test_ctrl_c_ends_the_wait_between_two_attempts() -> None:
    """In the main thread, at once: the delay would be an hour."""
    seen = told(f"""
app = chain(("a", fails(9), {{"retry": ts.RetryPolicy(base_delay=3600, max_delay=3600)}}))
def interrupt(seconds):
    os.kill(os.getpid(), {int(signal.SIGINT)})
    time.sleep(seconds)
import teastreams.runtime.calls as calls
calls.table.sleep = interrupt
begun = time.monotonic()
try:
    ended(app)
except KeyboardInterrupt:
    tell(seconds=time.monotonic() - begun)
""")
    assert seen["seconds"] < 60


# -- branches ---------------------------------------------------------------------------------------------------------

FORK = """
def fork(strategy, nodes, **edge):
    graph = ts.StateGraph()
    graph.add_node("s", run=fine).add_node("j", run=lambda parallel_results: {
        "all": {r.branch: [r.success, r.error_type, r.retry_count, r.get("calls")] for r in parallel_results}})
    for name, (run, options) in nodes.items():
        graph.add_node(name, run=run, **options)
    targets = [name for name in nodes if name not in graph.graph.fallbacks]
    graph.set_entry_point("s").add_parallel_edge("s", targets, fan_in="j", strategy=strategy, **edge)
    return graph.set_finish_point("j").compile()
"""


@pytest.mark.parametrize("strategy", ["thread", "process"])
def test_nodes_inside_branches_have_their_own_policies(strategy: str) -> None:
    """Retried, gone on without, and replaced, each in its branch, while the branch itself is called once."""
    seen = told(
        FORK
        + f"""
nodes = {{
    "again": (fails(2), {{"retry": QUICK}}),
    "without": (boom, {{"on_error": "graceful"}}),
    "instead": (boom, {{"on_error": {{"fallback": "f"}}}}),
    "f": (lambda state, context: {{"calls": context.error.node}}, {{}}),
    "left": (lambda state: sys.exit(3), {{"on_error": "graceful"}}),
}}
tell(all=ended(fork({strategy!r}, nodes)).state["all"])
"""
    )
    assert seen["all"] == {
        "again": [True, None, 0, 3],
        "without": [True, None, 0, None],
        "instead": [True, None, 0, "instead"],
        "left": [True, None, 0, None],
    }


@pytest.mark.parametrize("strategy", ["thread", "process"])
def test_an_edge_retries_its_branches_and_hands_failed_ones_on(strategy: str, tmp_path: Path) -> None:
    """Each branch by its own count; the fan-in gets success and failure; every attempt is told."""
    seen = told(
        FORK
        + f"""
class Once:
    def __init__(self): self.path = Path(sys.argv[1]) / "failed"
    def __call__(self, state):
        if not self.path.exists():
            self.path.touch()
            raise OSError("first")
        return {{"calls": 2}}
nodes = {{"good": (fine, {{}}), "once": (Once(), {{}}), "bad": (boom, {{}})}}
app = fork({strategy!r}, nodes, retry=QUICK, on_error="graceful")
with untouched():
    events = list(app.stream({{}}, echo_output=False))
retried = [(event.node, event.attempt) for event in events if isinstance(event, ts.NodeRetried)]
result = events[-1].result
tell(all=result.state["all"], retried=sorted(retried), counts={{n: f.retry_count for n, f in result.nodes.items()}})
""",
        arguments=(str(tmp_path),),
    )
    assert seen["all"] == {
        "good": [True, None, 0, None],
        "once": [True, None, 1, 2],
        "bad": [False, "ValueError", 3, None],
    }
    assert seen["retried"] == [["bad", 1], ["bad", 2], ["bad", 3], ["once", 1]]
    assert seen["counts"] == {"s": 0, "good": 0, "once": 1, "bad": 3, "j": 0}


@pytest.mark.parametrize("strategy", ["thread", "process"])
def test_a_circuit_outlives_the_run_and_is_shared_by_name(strategy: str) -> None:
    """Two branches open it together; the next run of the same workflow is refused, another workflow is not."""
    seen = told(f"""
def app():
    circuit = ts.CircuitBreakerConfig(failure_threshold=2, reset_timeout=3600, name="service")
    graph = ts.StateGraph(parallel_config=ts.ParallelConfig({strategy!r}, circuit_breaker=circuit))
    graph.add_node("a", run=boom).add_node("b", run=boom)
    graph.add_node("j", run=lambda parallel_results: {{"errors": [r.error_type for r in parallel_results]}})
    graph.add_parallel_edge(ts.START, ["a", "b"], fan_in="j", on_error="graceful")
    return graph.set_finish_point("j").compile()
one = app()
tell(errors=[ended(each).state["errors"] for each in (one, one, one.with_streams(), app())])
""")
    open_, failed = ["CircuitOpen"] * 2, ["ValueError"] * 2
    assert seen["errors"] == [failed, open_, open_, failed]


def test_ctrl_c_ends_the_waits_of_nodes_in_threads() -> None:
    """Two branches wait an hour for their next attempt, one of them in a fan-out inside the other's branch."""
    seen = told("""
waiting = threading.Semaphore(0)
import teastreams.executors.thread as thread
class Told(thread.Stop):
    def wait(self, seconds):
        waiting.release()
        super().wait(seconds)
thread.Stop = Told
hour = {"retry": ts.RetryPolicy(base_delay=3600, max_delay=3600)}
graph = ts.StateGraph()
graph.add_node("a", run=boom, **hour).add_node("c", run=boom, **hour)
for name in ("inner", "d", "k", "j"):
    graph.add_node(name, run=fine)
graph.add_parallel_edge(ts.START, ["a", "inner"], fan_in="j").set_finish_point("j")
graph.add_parallel_edge("inner", ["c", "d"], fan_in="k")
app = graph.compile()
def interrupt():
    waiting.acquire(); waiting.acquire()
    os.kill(os.getpid(), signal.SIGINT)
killer = threading.Thread(target=interrupt)
killer.start()
begun = time.monotonic()
try:
    app.run({}, echo_output=False)
except KeyboardInterrupt:
    tell(seconds=time.monotonic() - begun)
killer.join()
tell(threads=threading.active_count())
""")
    assert seen["seconds"] < 60
    assert seen["threads"] == 1


# -- programs ---------------------------------------------------------------------------------------------------------


def test_a_lone_program_is_tried_again_with_its_files(tmp_path: Path) -> None:
    """Its input is opened anew, its output appears only when it has ended well; its exit code has a name."""
    seen = told(
        """
folder = Path(sys.argv[1])
(folder / "in").write_text("hello")
script = f"cat; echo x >> {folder}/count; test $(wc -l < {folder}/count) = 3 || exit 9"
graph = ts.StateGraph()
streams = {"stdin": {"from": {"file": str(folder / "in")}}, "stdout": {"to": {"file": str(folder / "out")}}}
graph.add_node("p", command=["sh", "-c", script], retry={**QUICK, "retry_on": "ExitCode"}, streams=streams)
result = ended(graph.set_entry_point("p").set_finish_point("p").compile())
tell(out=(folder / "out").read_text(), retries=result.nodes["p"].retry_count, files=sorted(os.listdir(folder)))
""",
        arguments=(str(tmp_path),),
    )
    assert seen == {"out": "hello", "retries": 2, "files": ["count", "in", "out"]}
