"""Large values in the state: handed to processes for nothing, returned with few copies, bounded, and never half.

Memory is counted twice: what the caller's process allocates by `tracemalloc`, what a worker ever held by the kernel's
figure of its process. Every value is large beside everything else, so that one copy more breaks the bound.
"""

from __future__ import annotations

from typing import Any

import harness
import pytest

BRANCHES = """
import pickle, tracemalloc
MIB = 1 << 20
SIZE = 64 * MIB

class Array:
    # Offers its memory to pickle, as the arrays of numpy do.
    def __init__(self, memory):
        self.memory = memory
    def __reduce_ex__(self, protocol):
        return Array, (pickle.PickleBuffer(self.memory),)
    def __len__(self):
        return len(self.memory)

KINDS = {"bytes": lambda: b"x" * SIZE, "bytearray": lambda: bytearray(b"x") * SIZE,
         "array": lambda: Array(bytearray(b"x") * SIZE)}

def rss_bytes():
    import resource
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

def fan_out(bodies, **config):
    graph = ts.StateGraph(parallel_config=ts.ParallelConfig(strategy="process", **config))
    for name, body in bodies.items():
        graph.add_node(name, run=body)
    graph.add_node("join", run=lambda state, parallel_results: {"joined": [dict(r) for r in parallel_results]})
    graph.add_parallel_edge(ts.START, list(bodies), fan_in="join").set_finish_point("join")
    return graph.compile()

def peak_of(call):
    # (result, bytes that the caller's process allocated on top of what it had)
    tracemalloc.start()
    try:
        result = call()
        return result, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

def failure(app, state=None):
    with untouched():
        try:
            app.run(state or {})
        except ts.WorkflowFailed as failed:
            error = failed.primary
            return {"node": error.node, "phase": error.phase, "type": error.error_type, "text": error.message,
                    "code": error.exit_code}
"""


def told(script: str) -> dict[str, Any]:
    """What a script that uses these branches told."""
    return harness.run(BRANCHES + script).told


@pytest.mark.parametrize("kind", ["bytes", "bytearray", "array"])
def test_ten_process_branches_get_a_large_value_for_nothing(kind: str) -> None:
    """Neither the caller nor a branch that reads it holds a second one."""
    seen = told(f"""
def look(state):
    return {{"length": len(state["large"])}}
app = fan_out({{f"b{{n}}": look for n in range(10)}}, max_workers=3)
state = {{"large": KINDS[{kind!r}]()}}
before = rss_bytes()
with untouched():
    result, peak = peak_of(lambda: app.run(state))
workers = [result.nodes[f"b{{n}}"].peak_memory_bytes - before for n in range(10)]
tell(peak=peak, workers=max(workers), lengths=[each["length"] for each in result.state["joined"]], size=SIZE)
""")
    assert seen["lengths"] == [seen["size"]] * 10
    assert seen["peak"] < seen["size"] // 8
    assert seen["workers"] < seen["size"] // 2


@pytest.mark.parametrize(("kind", "copies"), [("bytes", 2), ("bytearray", 2), ("array", 1)])
def test_a_large_value_comes_back_with_few_copies(kind: str, copies: int) -> None:
    """The caller holds the received bytes and the value at most, and the worker nothing but its value."""
    seen = told(f"""
def make(state):
    return {{"large": KINDS[{kind!r}]()}}
app = fan_out({{"a": make, "b": lambda state: None}})
before = rss_bytes()
with untouched():
    result, peak = peak_of(lambda: app.run({{}}))
large = result.state["joined"][0]["large"]
tell(copies=peak / SIZE, worker=(result.nodes["a"].peak_memory_bytes - before) / SIZE,
     same=type(large).__name__ == type(KINDS[{kind!r}]()).__name__,
     content=set(getattr(large, "memory", large)) == {{ord("x")}} and len(large) == SIZE)
""")
    assert seen["same"]
    assert seen["content"]
    assert seen["copies"] < copies + 0.25
    assert seen["worker"] < 1.5


def test_what_a_branch_returned_is_not_kept_twice_while_others_run() -> None:
    """Four of them are four values and the copy under way, not eight."""
    seen = told("""
def make(state):
    return {"large": b"x" * SIZE}
app = fan_out({name: make for name in "abcd"}, max_workers=1)
result, peak = peak_of(lambda: app.run({}))
tell(copies=peak / SIZE)
""")
    assert seen["copies"] < 5.25


def test_a_large_update_reaches_the_reader_of_a_stream() -> None:
    """What a producer returned, of every kind, is in its consumer's state at the end of the stream (L3)."""
    seen = told("""
def produce():
    print("line")
    return {kind: make() for kind, make in KINDS.items()}
def consume(state):
    sys.stdin.read()
    return {"seen": {kind: [type(state[kind]).__name__, len(state[kind])] for kind in KINDS}}
graph = ts.StateGraph()
graph.add_node("p", run=produce, streams={"stdout": "lines"})
graph.add_node("c", run=consume, streams={"stdin": "lines"})
graph.set_entry_point("p").add_edge("p", "c").set_finish_point("c")
with untouched():
    state = graph.compile().run({}).state
tell(seen=state["seen"], size=SIZE, here=[type(state[kind]).__name__ for kind in KINDS])
""")
    size = seen["size"]
    assert seen["seen"] == {"bytes": ["bytes", size], "bytearray": ["bytearray", size], "array": ["Array", size]}
    assert seen["here"] == ["bytes", "bytearray", "Array"]


def test_an_update_over_the_limit_is_refused_by_its_key() -> None:
    """The setting is named; as large as the limit allows, it travels."""
    seen = told("""
def make(state):
    return {"small": 1, "large": bytes(2 * MIB)}
app = fan_out({"a": make, "b": lambda state: None}, result_limit=MIB)
with untouched():
    fan_out({"a": make, "b": lambda state: None}, result_limit=3 * MIB).run({})
tell(**failure(app))
""")
    assert (seen["node"], seen["phase"], seen["type"]) == ("a", "result", "LimitError")
    assert "the limit is 1048576 (largest: 'large' 2097" in seen["text"]
    assert "raise `settings.parallel.result_limit`" in seen["text"]


FAULT = """
from teastreams.runtime import calls
MAIN, whole_write, written = os.getpid(), os.write, [0]
def write(fd, data):
    # Of the worker that sends a lot: the first MiB goes out, then it happens.
    if os.getpid() != MAIN and len(data) > MIB:
        if written[0] > MIB:
            written[0] = 0
            os.kill(os.getpid(), FATE)
        count = whole_write(fd, data[:65536])
        written[0] += count
        return count
    return whole_write(fd, data)
calls.table.write = write
"""


@pytest.mark.parametrize("kind", ["bytes", "array"])
def test_a_worker_that_is_killed_in_the_middle_of_its_result_has_failed(kind: str) -> None:
    """Half a value is no value, and no wait either."""
    seen = told(
        "FATE = signal.SIGKILL\n"
        + FAULT
        + f"""
def make(state):
    return {{"large": KINDS[{kind!r}]()}}
tell(**failure(fan_out({{"a": make, "b": lambda state: None}})))
"""
    )
    assert (seen["node"], seen["phase"], seen["code"]) == ("a", "run", -9)


def test_a_worker_that_stops_in_the_middle_of_its_result_stops_nobody_else() -> None:
    """The others come to their end; its own time limit ends it."""
    seen = told(
        "FATE = signal.SIGSTOP\n"
        + FAULT
        + """
def make(state):
    return {"large": bytes(SIZE)}
def other(state):
    return {"other": bytes(8)}
app = fan_out({"a": make, "b": other, "c": other}, timeout_seconds=1, max_workers=2)
with untouched():
    try:
        app.run({})
    except ts.WorkflowFailed as failed:
        nodes = failed.result.nodes
        tell(node=failed.primary.node, phase=failed.primary.phase,
             others=[nodes[name].status.name for name in ("b", "c")], begun=len(failed.exceptions))
"""
    )
    assert seen == {"node": "a", "phase": "timeout", "others": ["DONE", "DONE"], "begun": 1}
