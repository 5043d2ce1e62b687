"""One node's function without a graph: what it gets, what it wrote, what it changed, how it ended."""

from __future__ import annotations

import harness

NODES = """
from teastreams.testing import run_node

def shout(state):
    for line in sys.stdin:
        print(line.strip().upper())
    print("a word", file=sys.stderr)
    state.pop("old", None)
    state["lines"] = state.get("lines", 0) + 1

def seen(run):
    error = run.exception and [run.exception.node, run.exception.phase, run.exception.error_type, run.exception.message]
    return [run.text, run.status, run.exit_code, dict(run.update), error]
"""


def run(script: str) -> dict[str, object]:
    return harness.run(NODES + script).told


def test_what_it_reads_writes_and_changes() -> None:
    """Bytes, one text and an iterable are the same input; both outputs and both kinds of change are told."""
    told = run(
        """
with untouched():
    runs = [run_node(shout, stdin, {"old": 1, "lines": 4}) for stdin in (b"a\\nb\\n", "a\\nb\\n", ["a\\n", b"b\\n"])]
tell(
    stdout=[run.stdout.decode() for run in runs],
    stderr=runs[0].stderr.decode(),
    update=dict(runs[0].update),
    removed=sorted(runs[0].removed),
    well=[run.exception is None for run in runs],
)
"""
    )
    assert told == {
        "stdout": ["A\nB\n"] * 3,
        "stderr": "a word\n",
        "update": {"lines": 5},
        "removed": ["old"],
        "well": [True] * 3,
    }


def test_its_failure_is_returned() -> None:
    """An exception, an exit code, a signal, a limit of time; what was written before is there."""
    told = run(
        """
def raises(state):
    print("before")
    raise LookupError("why")
def leaves(state):
    sys.exit(3)
def dies(state):
    os.kill(os.getpid(), signal.SIGKILL)
def sleeps(state):
    signal.pause()
with untouched():
    runs = [run_node(raises), run_node(leaves), run_node(dies), run_node(sleeps, timeout=0.1)]
tell(seen=[seen(run) for run in runs], traceback=runs[0].exception.traceback)
"""
    )
    raises, leaves, dies, sleeps = told["seen"]  # type: ignore[misc]
    assert raises == ["before\n", "failed", 1, {}, ["raises", "run", "LookupError", "why"]]
    assert leaves[1:3] == ["failed", 3]
    assert dies[2] == -9
    assert "killed by signal 9" in dies[4][3]
    assert sleeps[4][1] == "timeout"
    assert 'raise LookupError("why")' not in str(told["seen"])
    assert "in raises" in str(told["traceback"])


def test_an_input_that_raises_stands_for_a_failure_upstream() -> None:
    """The node's read raises `UpstreamFailed`, and its result is not used."""
    told = run(
        """
def feed():
    yield "first\\n"
    raise OSError("cable")
def reads(state):
    try:
        sys.stdin.read()
    except ts.UpstreamFailed as error:
        print(error.reason)
    return {"done": True}
with untouched():
    tell(seen=seen(run_node(reads, feed())))
"""
    )
    assert told["seen"][:2] == ["OSError: cable\n", "consequence"]  # type: ignore[index]
    assert told["seen"][3] == {}  # type: ignore[index]


def test_leaving_early_and_reading_nothing_are_no_failures() -> None:
    """An endless input that is left, and no input at all."""
    told = run(
        """
import itertools
def first(state):
    return {"first": sys.stdin.readline()}
with untouched():
    tell(seen=[seen(run_node(first, ("x\\n" for _ in itertools.count()))), seen(run_node(first))])
"""
    )
    assert told["seen"] == [["", "done", 0, {"first": "x\n"}, None], ["", "done", 0, {"first": ""}, None]]


def test_it_is_called_with_what_it_names() -> None:
    """As in a graph: node, variables, and the results of a fan-out."""
    told = run(
        """
def asks(state, node, variables, parallel_results):
    return {"got": [node, variables["v"], parallel_results["left"]["x"]]}
results = ts.ParallelResults([ts.ParallelFlowResult("left", state={"x": 7})])
with untouched():
    tell(got=run_node(asks, parallel_results=results, variables={"v": 1}).update["got"])
"""
    )
    assert told == {"got": ["asks", 1, 7]}


def test_more_output_than_any_pipe_holds_is_kept() -> None:
    """And nothing of it is lost at the end."""
    told = run(
        """
def pours(state):
    for block in stream("s", 5_000_000):
        sys.stdout.buffer.write(block)
with untouched():
    tell(same=hashlib.sha256(run_node(pours).stdout).hexdigest() == digest("s", 5_000_000))
"""
    )
    assert told == {"same": True}
