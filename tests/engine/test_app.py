"""A compiled workflow in use: three views of one run, the host's own code between two events, pauses and going on.

Whatever forks runs in a fresh interpreter; workflows of plain nodes run in the test process.
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any, Callable, Iterator

import harness
import pytest

import teastreams as ts

# A plain node, a thread fan-out, a process fan-out, a broadcast with a fan-in and a direct section, one after another.
EVERYTHING = """
def produce(state):
    for number in range(100):
        print(number)
    return {"produced": 100}

def consume(state, node):
    return {node: len(sys.stdin.readlines()), "above": state["produced"]}

def note(state, node):
    return {node: True}

def join(state, parallel_results, node):
    return {node: [sorted(each) for each in parallel_results]}

def everything():
    graph = ts.StateGraph()
    for name in ("first", "t1", "t2", "p1", "p2"):
        graph.add_node(name, run=note)
    for name in ("t_join", "p_join", "b_join"):
        graph.add_node(name, run=join)
    graph.add_node("source", run=produce, streams={"stdout": "lines"})
    graph.add_node("left", run=consume, streams={"stdin": "lines"})
    graph.add_node("right", run=consume, streams={"stdin": "lines"})
    graph.add_node("again", run=produce, streams={"stdout": "more"})
    graph.add_node("last", run=consume, streams={"stdin": "more"})
    graph.set_entry_point("first")
    graph.add_parallel_edge("first", ["t1", "t2"], fan_in="t_join", strategy="thread")
    graph.add_parallel_edge("t_join", ["p1", "p2"], fan_in="p_join", strategy="process")
    graph.add_edge("p_join", "source")
    graph.add_parallel_edge("source", ["left", "right"], fan_in="b_join", stream_mode="broadcast")
    graph.add_edge("b_join", "again").add_edge("again", "last").set_finish_point("last")
    return graph.compile()
"""

ENDLESS = """
def produce(state):
    number = 0
    while True:
        print(number)
        print("remark", number, file=sys.stderr)
        number += 1

def consume(state):
    for line in sys.stdin:
        pass

def endless():
    graph = ts.StateGraph()
    graph.add_node("source", run=produce, streams={"stdout": "lines"})
    graph.add_node("sink", run=consume, streams={"stdin": "lines"})
    graph.set_entry_point("source").add_edge("source", "sink").set_finish_point("sink")
    return graph.compile()
"""


def chain(*functions: Callable[..., Any], **flags: str) -> ts.StateGraph:
    """Plain nodes a, b, c, ... one after another; `interrupt_before="b"` sets that flag on that node."""
    graph = ts.StateGraph()
    names = "abcdefgh"[: len(functions)]
    for name, function in zip(names, functions):
        graph.add_node(name, run=function, **{flag: True for flag, wanted in flags.items() if name in wanted})
    graph.set_entry_point("a").set_finish_point(names[-1])
    for source, target in zip(names, names[1:]):
        graph.add_edge(source, target)
    return graph


# -- three views of one run -------------------------------------------------------------------------------------------


def test_run_stream_and_invoke_end_in_the_same_state() -> None:
    """Every kind of step; what `stream` tells last is what `run` returns, and `invoke` ends in it as a dict."""
    told = harness.run(
        EVERYTHING
        + """
with untouched():
    app = everything()
    ran = app.run({"begun": 1})
    events = list(app.stream({"begun": 1}))
    dicts = list(app.invoke({"begun": 1}))
tell(
    ran=dict(ran.state),
    streamed=dict(events[-1].result.state),
    invoked=dicts[-1],
    nodes=[sorted(ran.nodes), sorted(events[-1].result.nodes)],
    channels=[sorted(ran.channels), sorted(events[-1].result.channels)],
    finished=sorted(e.node for e in events if isinstance(e, ts.NodeFinished)),
    ended=sorted(e["node"] for e in dicts if e["type"] == "end"),
)
"""
    ).told
    assert told["ran"] == told["streamed"]
    assert told["invoked"] == {"type": "final", "state": told["ran"]}
    common = ["above", "begun", "first", "p_join", "produced", "t_join"]
    assert told["ran"]["b_join"] == [sorted([*common, name]) for name in ("left", "right")]
    assert (told["ran"]["last"], told["ran"]["above"]) == (100, 100)
    assert told["nodes"][0] == told["nodes"][1]
    assert set(told["nodes"][0]) == {
        "first",
        "t1",
        "t2",
        "p1",
        "p2",
        "t_join",
        "p_join",
        "b_join",
        "source",
        "left",
        "right",
        "again",
        "last",
    }
    assert told["channels"] == [["lines", "more"]] * 2
    assert told["finished"] == told["ended"]


def test_events_of_plain_nodes_come_in_order() -> None:
    """Started, finished, the state after it; then the next node, and the result last."""
    app = chain(lambda state: {"n": 1}, lambda state: {"n": 2}).compile()
    events = list(app.stream())
    assert [type(event).__name__ for event in events] == ["NodeStarted", "NodeFinished", "StateChanged"] * 2 + [
        "RunFinished"
    ]
    assert [event.state["n"] for event in events if isinstance(event, ts.StateChanged)] == [1, 2]
    last = events[-1]
    assert isinstance(last, ts.RunFinished)
    assert (last.result.status, last.result.pause, last.result.checkpoint_id) == ("finished", None, None)
    assert list(last.result.nodes) == ["a", "b"]


def test_invoke_tells_the_same_as_dicts() -> None:
    """One dict per event, and `final` at the end."""
    app = chain(lambda state: {"n": 1}).compile()
    assert list(app.invoke({"m": 0})) == [
        {"type": "start", "node": "a", "pid": None},
        {"type": "end", "node": "a", "status": "done", "exit_code": None},
        {"type": "state", "node": "a", "state": {"m": 0, "n": 1}},
        {"type": "final", "state": {"m": 0, "n": 1}},
    ]


def test_nothing_runs_before_the_first_event_is_asked_for() -> None:
    """`stream` and `invoke` are generators."""
    ran: list[str] = []

    def note(node: str) -> None:
        ran.append(node)

    app = chain(note).compile()
    stream, invoke = app.stream(), app.invoke()
    assert ran == []
    next(invoke)
    next(stream)
    assert ran == []
    assert len(list(stream)) == 3
    assert ran == ["a"]
    invoke.close()


def test_a_compiled_workflow_runs_any_number_of_times() -> None:
    """Each run has an id and a state of its own; two may be open at once."""
    app = chain(lambda state: {"n": state["n"] + 1}, lambda state: {"n": state["n"] * 2}).compile()
    pairs = list(zip(app.stream({"n": 1}), app.stream({"n": 10})))
    results = [event.result for event in pairs[-1] if isinstance(event, ts.RunFinished)]
    assert [result.state["n"] for result in results] == [4, 22]
    assert results[0].run_id != results[1].run_id


def boom(state: dict[str, Any]) -> None:
    state["half"] = True
    raise LookupError("no such thing")


def test_a_failure_is_raised_by_run_and_stream_and_told_by_invoke() -> None:
    """The same error: the node, the type with its bases, the text, the user's line, the state before the node."""
    app = chain(lambda: {"kept": 1}, boom).compile()
    ways: list[Callable[[], object]] = [app.run, lambda: list(app.stream())]
    caught = []
    for way in ways:
        with pytest.raises(ts.WorkflowFailed) as failed:
            way()
        caught.append(failed.value)
    events = list(app.invoke())
    assert {key: events[-1][key] for key in ("type", "node", "state")} == {
        "type": "error",
        "node": "b",
        "state": {"kept": 1},
    }
    caught.append(events[-1]["exception"])
    for error in caught:
        assert (error.primary.node, error.primary.phase, error.primary.exit_code) == ("b", "run", None)
        assert (error.primary.error_type, error.primary.message) == ("LookupError", "no such thing")
        assert {"LookupError", "Exception", "builtins.LookupError"} <= set(error.primary.error_type_names)
        assert 'raise LookupError("no such thing")' in error.primary.traceback
        assert "teastreams/engine" not in error.primary.traceback
        assert (error.result.status, dict(error.result.state)) == ("failed", {"kept": 1})
        assert [figures.status.name for figures in error.result.nodes.values()] == ["DONE", "FAILED"]


def test_the_exception_of_a_plain_node_is_at_hand() -> None:
    """The object itself, with its traceback, for a debugger: as the cause of the node's error."""
    with pytest.raises(ts.WorkflowFailed) as failed:
        chain(boom).compile().run()
    cause = failed.value.primary.__cause__
    assert isinstance(cause, LookupError)
    assert cause.__traceback__ is not None


def test_ctrl_c_in_a_plain_node_reaches_the_caller_as_it_is() -> None:
    """No `WorkflowFailed`: it is not the node's error."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        chain(interrupted).compile().run()


@pytest.mark.parametrize("code", [None, 0])
def test_sys_exit_without_an_error_ends_the_node_well(code: object) -> None:
    """What it changed in place counts, and the next node runs."""

    def leave(state: dict[str, Any]) -> None:
        state["left"] = True
        raise SystemExit(code)

    assert chain(leave, lambda: {"next": True}).compile().run().state == {"left": True, "next": True}


@pytest.mark.parametrize(("code", "message"), [(3, "3"), ("no disk", "no disk")])
def test_sys_exit_with_an_error_fails_the_node_not_the_program(code: object, message: str) -> None:
    """A number or a text."""

    def leave() -> None:
        raise SystemExit(code)

    with pytest.raises(ts.WorkflowFailed) as failed:
        chain(leave).compile().run()
    assert (failed.value.primary.error_type, failed.value.primary.message) == ("SystemExit", message)


def test_output_is_echoed_line_by_line_with_the_nodes_name_or_not_at_all() -> None:
    """What a worker writes to a stream that is no channel; `run`, `stream` and `invoke` alike."""
    ended = harness.run("""
def talk(state, node):
    print("says", node)
    print("warns", node, file=sys.stderr)

graph = ts.StateGraph()
for name in ("one", "two"):
    graph.add_node(name, run=talk)
graph.add_node("join", run=lambda state: None)
graph.add_parallel_edge(ts.START, ["one", "two"], fan_in="join", strategy="process").set_finish_point("join")
app = graph.compile()
with untouched():
    for way in (app.run, lambda **o: list(app.stream(**o)), lambda **o: list(app.invoke(**o))):
        way(echo_output=False)
        print("--", file=sys.stderr)
        way()
        print("--", file=sys.stderr)
outputs = [e for e in app.stream(echo_output=False) if isinstance(e, ts.NodeOutput)]
tell(outputs=sorted([e.node, e.stream, e.text] for e in outputs))
""")
    parts = ended.stderr.split("--\n")
    loud = ["[one] says one", "[one] warns one", "[two] says two", "[two] warns two"]
    assert [sorted(part.splitlines()) for part in parts] == [[], loud] * 3 + [[]]
    assert ended.told["outputs"] == [
        [name, stream, f"{verb} {name}"]
        for name in ("one", "two")
        for stream, verb in (("stderr", "warns"), ("stdout", "says"))
    ]


# -- the host's own code between two events ---------------------------------------------------------------------------


def test_between_two_events_the_hosts_signal_handlers_are_in_place() -> None:
    """In the body of the loop, while workers are alive: SIGINT, SIGTERM, SIGPIPE and the wake-up descriptor."""
    told = harness.run(
        ENDLESS
        + """
def mine(number, frame): heard.append(number)
heard = []
wanted = {signal.SIGINT: mine, signal.SIGTERM: mine, signal.SIGPIPE: signal.SIG_DFL}
for number, handler in wanted.items():
    signal.signal(number, handler)
strange, outputs = [], 0
with untouched():
    events = endless().stream(echo_output=False)
    for event in events:
        strange += [(type(event).__name__, number) for number, h in wanted.items() if signal.getsignal(number) is not h]
        before = signal.set_wakeup_fd(-1)
        strange += [before] * (before != -1)
        signal.raise_signal(signal.SIGINT)
        outputs += isinstance(event, ts.NodeOutput)
        if outputs == 5:
            break
    events.close()
tell(strange=strange, heard=len(heard) >= 5, outputs=outputs)
"""
    ).told
    assert told == {"strange": [], "heard": True, "outputs": 5}


def test_ctrl_c_in_the_body_of_the_loop_is_the_hosts_and_ends_everything() -> None:
    """Python's own handler raises where the host's code runs; leaving the loop ends the nodes, within the grace."""
    told = harness.run(
        ENDLESS
        + """
with untouched():
    try:
        for event in endless().stream(echo_output=False):
            if isinstance(event, ts.NodeOutput):
                signal.raise_signal(signal.SIGINT)
                tell(survived=True)
    except KeyboardInterrupt:
        tell(raised=True)
    del event
"""
    ).told
    assert told == {"raised": True}


@pytest.mark.parametrize("leave", ["events.close()", "del events", "events.throw(ZeroDivisionError)"])
def test_closing_the_generator_midway_ends_every_node(leave: str) -> None:
    """By `close`, by letting go of it, by an exception thrown in; two endless nodes and their pipes are gone."""
    told = harness.run(
        ENDLESS
        + f"""
with untouched():
    events = endless().stream(echo_output=False)
    pids = []
    for event in events:
        if isinstance(event, ts.NodeStarted):
            pids.append(event.pid)
        if isinstance(event, ts.NodeOutput):
            break
    try:
        {leave}
    except ZeroDivisionError:
        pass
    alive = [pid for pid in pids if Path(f"/proc/{{pid}}").exists()]
tell(started=len(pids), alive=alive)
"""
    ).told
    assert told == {"started": 2, "alive": []}


def test_closing_invoke_midway_ends_every_node() -> None:
    """It hands the closing on."""
    harness.run(
        ENDLESS
        + """
with untouched():
    events = endless().invoke(echo_output=False)
    while next(events)["type"] != "output":
        pass
    events.close()
"""
    )


def test_runs_within_runs() -> None:
    """The body of the loop may run another workflow with processes of its own."""
    told = harness.run(
        EVERYTHING
        + """
with untouched():
    inner = []
    for event in everything().stream():
        if isinstance(event, (ts.NodeStarted, ts.SectionStarted)) and len(inner) < 3:
            inner.append(everything().run().state["last"])
tell(inner=inner, outer=event.result.state["last"])
"""
    ).told
    assert told == {"inner": [100, 100, 100], "outer": 100}


# -- pauses -----------------------------------------------------------------------------------------------------------

Keeper = Callable[[], ts.Checkpointer]


@pytest.fixture(params=["memory", "sqlite"])
def keeper(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Keeper]:
    """Opens the checkpointer: always the same one in memory, a new one on the same file each time."""
    if request.param == "memory":
        kept = ts.MemoryCheckpointer()
        yield lambda: kept
    else:
        yield lambda: ts.SqliteCheckpointer(str(tmp_path / "checkpoints.db"))


def counted(state: dict[str, Any], node: str) -> dict[str, Any]:
    """Leaves a trace: which nodes ran, in order, in the state and outside of it."""
    CALLS.append(node)
    return {"trail": state.get("trail", "") + node}


CALLS: list[str] = []


@pytest.fixture(autouse=True)
def no_calls() -> None:
    CALLS.clear()


def pausing(**flags: str) -> ts.CompiledGraph:
    return chain(counted, counted, counted, **flags).compile()


def test_an_interrupt_before_a_node_pauses_there_and_resume_runs_it(keeper: Keeper) -> None:
    """The result says where and gives the id; going on starts with that node."""
    paused = pausing(interrupt_before="b").run({"begun": 1}, checkpointer=keeper())
    assert (paused.status, paused.pause) == ("paused", ts.Pause("b", "before"))
    assert (dict(paused.state), CALLS) == ({"begun": 1, "trail": "a"}, ["a"])
    ended = pausing(interrupt_before="b").resume(keeper())
    assert (ended.status, dict(ended.state)) == ("finished", {"begun": 1, "trail": "abc"})
    assert (CALLS, ended.run_id) == (["a", "b", "c"], paused.run_id)


def test_an_interrupt_after_a_node_pauses_there_and_resume_runs_the_next(keeper: Keeper) -> None:
    """The paused node is not run again."""
    paused = pausing(interrupt_after="b").run(checkpointer=keeper())
    assert (paused.pause, CALLS) == (ts.Pause("b", "after"), ["a", "b"])
    assert pausing(interrupt_after="b").resume(keeper()).state == {"trail": "abc"}
    assert CALLS == ["a", "b", "c"]


def test_every_interrupt_on_the_way_pauses_once_and_no_node_runs_twice(keeper: Keeper) -> None:
    """Before and after each of three nodes: six pauses, three calls."""
    app = pausing(interrupt_before="abc", interrupt_after="abc")
    result = app.run(checkpointer=keeper())
    pauses = []
    while result.pause is not None:
        pauses.append((result.pause.when, result.pause.node))
        result = app.resume(keeper())
    assert pauses == [(when, node) for node in "abc" for when in ("before", "after")]
    assert (CALLS, dict(result.state)) == (["a", "b", "c"], {"trail": "abc"})
    statuses = [one.status for one in keeper().list(result.run_id)]
    assert statuses == ["running", "paused"] * 6 + ["finished"]


def test_an_update_at_resume_is_merged_into_the_state(keeper: Keeper) -> None:
    """That is how a person's answer comes in."""
    app = pausing(interrupt_before="b")
    app.run({"answer": None}, checkpointer=keeper())
    assert app.resume(keeper(), {"answer": 42, "more": 1}).state == {"answer": 42, "more": 1, "trail": "abc"}


def test_resume_takes_the_newest_checkpoint_or_the_one_named(keeper: Keeper) -> None:
    """The same checkpoint may be gone on from again: each time from its own state."""
    app = pausing(interrupt_before="b", interrupt_after="b")
    first = app.run(checkpointer=keeper())
    second = app.resume(keeper())
    assert (first.pause, second.pause) == (ts.Pause("b", "before"), ts.Pause("b", "after"))
    again = app.resume(keeper(), checkpoint_id=first.checkpoint_id)
    assert (again.pause, dict(again.state)) == (ts.Pause("b", "after"), {"trail": "ab"})
    assert app.resume(keeper()).state == {"trail": "abc"}
    assert CALLS == ["a", "b", "b", "c"]


def test_a_node_that_fails_after_a_pause_is_tried_again_from_the_checkpoint(keeper: Keeper) -> None:
    """The checkpoint stays what it was: what the failed attempt changed is not in it."""
    broken = [True]

    def fragile(state: dict[str, Any]) -> dict[str, Any]:
        assert "touched" not in state
        state["touched"] = True
        if broken:
            raise OSError("not now")
        return {"mended": True}

    app = chain(counted, fragile, interrupt_after="a").compile()
    app.run(checkpointer=keeper())
    with pytest.raises(ts.WorkflowFailed, match="not now"):
        app.resume(keeper())
    broken.clear()
    assert app.resume(keeper()).state == {"trail": "a", "touched": True, "mended": True}
    assert CALLS == ["a"]


def test_invoke_ends_with_the_interrupt(keeper: Keeper) -> None:
    """Its type says before or after; `resume_stream` goes on, event by event."""
    app = pausing(interrupt_after="a")
    last = list(app.invoke(checkpointer=keeper()))[-1]
    assert {key: last[key] for key in ("type", "node", "state")} == {
        "type": "interrupt_after",
        "node": "a",
        "state": {"trail": "a"},
    }
    events = list(app.resume_stream(keeper(), checkpoint_id=last["checkpoint_id"]))
    assert [event.node for event in events if isinstance(event, ts.NodeStarted)] == ["b", "c"]
    assert isinstance(events[-1], ts.RunFinished)


def test_the_checkpointer_may_be_given_once_at_compile_time() -> None:
    """And with it the interrupts: the declaration of the graph stays free of both."""
    kept = ts.MemoryCheckpointer()
    app = chain(counted, counted).compile(checkpointer=kept, interrupt_before=["b"])
    assert app.run().pause == ts.Pause("b", "before")
    assert app.resume().state == {"trail": "ab"}


def test_resume_refuses_what_cannot_be_right(keeper: Keeper) -> None:
    """No checkpointer, no checkpoint, a checkpoint of another workflow: each with what to do."""
    app = pausing(interrupt_before="b")
    with pytest.raises(ts.CheckpointError, match="resume needs the checkpointer that the run was given"):
        app.resume()
    with pytest.raises(ts.CheckpointError):
        app.resume(keeper())
    app.run(checkpointer=keeper())
    other = chain(counted, counted, counted, counted, interrupt_before="b").compile()
    with pytest.raises(ts.CheckpointError, match="belongs to another version of this workflow"):
        other.resume(keeper())


PAUSE_BEFORE_FAN_IN = (
    EVERYTHING
    + """
def fan(strategy, streaming):
    graph = ts.StateGraph()
    if streaming:
        graph.add_node("source", run=produce, streams={"stdout": "lines"})
        for name in ("left", "right"):
            graph.add_node(name, run=consume, streams={"stdin": "lines"})
        graph.set_entry_point("source")
        graph.add_parallel_edge("source", ["left", "right"], fan_in="join", stream_mode="broadcast")
    else:
        for name in ("left", "right"):
            graph.add_node(name, run=lambda state, node: {node: 100})
        graph.add_parallel_edge(ts.START, ["left", "right"], fan_in="join", strategy=strategy)
    def join(parallel_results):
        return {"got": [[r.branch, r.success, r[r.branch], parallel_results[r.branch] is r] for r in parallel_results]}
    graph.add_node("join", run=join, interrupt_before=True, interrupt_after=True).set_finish_point("join")
    return graph.compile()

with untouched():
    paused = fan(*json.loads(sys.argv[2])).run({"begun": 1}, checkpointer=ts.SqliteCheckpointer(sys.argv[1]))
    resumed = fan(*json.loads(sys.argv[2])).resume(ts.SqliteCheckpointer(sys.argv[1]))
    ended = fan(*json.loads(sys.argv[2])).resume(ts.SqliteCheckpointer(sys.argv[1]))
tell(pauses=[[r.pause.node, r.pause.when] if r.pause else None for r in (paused, resumed, ended)])
tell(paused=dict(paused.state), got=resumed.state["got"], ended=ended.state == resumed.state)
"""
)


@pytest.mark.parametrize("kind", ['["thread", false]', '["process", false]', '["process", true]'])
def test_results_that_wait_for_the_fan_in_survive_a_pause_before_it(kind: str, tmp_path: Path) -> None:
    """They go into the file with the state; the fan-in gets them from it, by place and by name."""
    told = harness.run(PAUSE_BEFORE_FAN_IN, arguments=(str(tmp_path / "db"), kind)).told
    assert told["pauses"] == [["join", "before"], ["join", "after"], None]
    assert told["paused"] == {"begun": 1, **({"produced": 100} if "true" in kind else {})}
    assert told["got"] == [["left", True, 100, True], ["right", True, 100, True]]
    assert told["ended"] is True


def test_a_run_in_the_main_thread_leaves_the_hosts_interrupt_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain nodes need no signal of ours at all."""
    before = signal.getsignal(signal.SIGINT)
    seen = chain(lambda: {"same": signal.getsignal(signal.SIGINT) is before}).compile().run().state
    assert seen == {"same": True}
    assert signal.getsignal(signal.SIGINT) is before
