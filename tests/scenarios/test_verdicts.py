"""The end of file is a verdict (L2), in the corners: streams that a node closes itself, two streams of one node, and
readers that cannot be told. Truncated data never looks like success, and whoever can be told is told in time.

Each case is one script in a fresh interpreter; nodes wait for each other by named pipes, never by time.
"""

from __future__ import annotations

from typing import Any

import harness
import pytest

from teastreams.runtime import calls

PRELUDE = '''
def graph(nodes, fail_fast=False, **streams):
    """`nodes` maps a name to (function, streams); one plain edge makes a broadcast of every stream of `p`."""
    settings = ts.StreamSettings(**{"grace_seconds": 0.3, "drain_seconds": 0.3, **streams})
    config = ts.ParallelConfig(strategy="process", streams=settings, fail_fast=fail_fast)
    g = ts.StateGraph(parallel_config=config)
    for name, (run, ends) in nodes.items():
        g.add_node(name, run, streams=ends)
    readers = [name for name in nodes if name != "p"]
    shared = [ends["stdin"] if isinstance(ends["stdin"], str) else ends["stdin"]["from"]
              for name, (_, ends) in nodes.items() if "stdin" in ends]
    if len(shared) > len(set(shared)):
        g.add_parallel_edge("p", readers, stream_mode="broadcast")
    g.set_entry_point("p")
    return g.compile()

def attempt(app):
    try:
        with untouched():
            ended = {"state": dict(app.run(echo_output=False).state)}
    except ts.WorkflowFailed as failed:
        ended = {"cause": failed.primary.node, "texts": {e.node: str(e.message) for e in failed.exceptions}}
    tell(**ended)

gates = os.environ["TEASTREAMS_SCENARIO_HISTORY"] + "-gates"  # goes with the history
os.mkdir(gates)
for name in "ab": os.mkfifo(f"{gates}/{name}")
def wait(name="a"): open(f"{gates}/{name}").close()
def let(name="a"): open(f"{gates}/{name}", "w").close()

def cat(state): return {"cat": len(sys.stdin.read())}
def raw(state): return {"raw": sum(len(block) for block in iter(lambda: os.read(0, 65536), b""))}
def head(state): return {"head": sys.stdin.readline()}
OUT, IN = {"stdout": "x"}, {"stdin": "x"}
'''


def attempt(script: str) -> dict[str, Any]:
    return harness.run(PRELUDE + script, deadline_seconds=30).told


class TestClosedByTheNodeItself:
    def test_it_is_an_end_there_and_then(self) -> None:
        """The producer goes on after it, and may even fail: its stream was whole."""
        told = attempt("""
def p(state):
    print("all of it"); sys.stdout.close()
    wait()
    raise ValueError("later")
def c(state):
    tell(text=sys.stdin.read()); let()
attempt(graph({"p": (p, OUT), "c": (c, IN)}))""")

        assert (told["text"], told["cause"], list(told["texts"])) == ("all of it\n", "p", ["p"])

    @pytest.mark.parametrize(
        "code",
        [
            "with sys.stdout as out:\n        out.write('a part'); raise ValueError('in the middle')",
            "try:\n        print('a part'); raise ValueError('in the middle')\n    finally: sys.stdout.close()",
        ],
    )
    def test_closed_on_the_way_out_of_a_failure_it_is_not(self, code: str) -> None:
        """What comes before the exception is not all there was to write."""
        told = attempt(f"""
def p(state):
    {code}
attempt(graph({{"p": (p, OUT), "c": (cat, IN)}}))""")

        assert told["cause"] == "p"
        assert told["texts"]["p"] == "in the middle"
        assert "'p' failed upstream" in told["texts"]["c"]

    def test_closed_in_a_handler_it_ends_with_its_node(self) -> None:
        """The failure was dealt with, and the stream is whole."""
        told = attempt("""
def p(state):
    print("all of it")
    try: 1 / 0
    except ZeroDivisionError: sys.stdout.close()
attempt(graph({"p": (p, OUT), "c": (cat, IN)}))""")

        assert told["state"] == {"cat": 10}

    def test_a_filter_vouches_for_itself_only(self) -> None:
        """What stands above it may still fail; nobody below is told of an end before that is known."""
        told = attempt("""
def p(state):
    print("a part", flush=True); wait(); raise ValueError("later")
def f(state):
    sys.stdout.write(sys.stdin.readline()); sys.stdout.close()
    let()
    for line in sys.stdin: pass
attempt(graph({"p": (p, OUT), "f": (f, {"stdin": "x", "stdout": "y"}), "c": (cat, {"stdin": "y"})}))""")

        assert (told["cause"], told["texts"]["p"]) == ("p", "later")
        assert sorted(told["texts"]) == ["c", "f", "p"]

    def test_a_filter_above_which_all_is_well(self) -> None:
        told = attempt("""
def p(state): print("all of it")
def f(state):
    sys.stdout.write(sys.stdin.readline()); sys.stdout.close()
    for line in sys.stdin: pass
attempt(graph({"p": (p, OUT), "f": (f, {"stdin": "x", "stdout": "y"}), "c": (cat, {"stdin": "y"})}))""")

        assert told["state"] == {"cat": 10}


class TestTwoStreams:
    BOTH = '{"stdout": "x", "stderr": "e"}'

    def test_stopped_by_one_reader_a_producer_cuts_the_other(self) -> None:
        """Who still reads is told; who left is not blamed; the message says how to go on."""
        told = attempt(f"""
def p(state):
    while True: print("line"); print("note", file=sys.stderr)
attempt(graph({{"p": (p, {self.BOTH}), "c": (head, IN), "d": (cat, {{"stdin": "e"}})}}))""")

        assert (told["cause"], sorted(told["texts"])) == ("p", ["d", "p"])
        assert "nobody read 'x' any more, and cut 'e', which was still read" in told["texts"]["p"]
        assert "catch BrokenPipeError" in told["texts"]["p"]

    def test_who_catches_epipe_goes_on_for_the_other(self) -> None:
        told = attempt(f"""
def p(state):
    try:
        while True: print("line")
    except BrokenPipeError: pass
    print("note", file=sys.stderr)
    return {{"made": 1}}
attempt(graph({{"p": (p, {self.BOTH}), "c": (head, IN), "d": (cat, {{"stdin": "e"}})}}))""")

        assert told["state"] == {"made": 1, "head": "line\n", "cat": 5}

    def test_when_both_readers_have_left_stopping_is_well(self) -> None:
        told = attempt(f"""
def leave(name): return lambda state: [sys.stdin.close(), let(name), {{}}][-1]
def p(state):
    wait("a"); wait("b")
    while True: print("line"); print("note", file=sys.stderr)
attempt(graph({{"p": (p, {self.BOTH}), "c": (leave("a"), IN), "d": (leave("b"), {{"stdin": "e"}})}}))""")

        assert told["state"] == {}


class TestWhoCannotBeTold:
    def test_a_descriptor_that_the_producer_closed_is_no_proof_that_its_reader_left(self) -> None:
        """The reader saw an end of file, and then the producer failed."""
        told = attempt("""
def p(state):
    print("a part", flush=True); os.close(1); wait(); raise ValueError("later")
def c(state):
    seen = raw(state); let(); return seen
attempt(graph({"p": (p, OUT), "c": (c, IN)}))""")

        assert told["cause"] == "p"
        assert "did not notice" in told["texts"]["c"]

    def test_a_filter_that_reads_past_its_stdin_and_is_stopped_is_tainted(self) -> None:
        """EPIPE from below does not make what it took for the end of its input whole."""
        told = attempt("""
def p(state):
    print("a part", flush=True); os.kill(os.getpid(), 9)
def f(state):
    raw(state)
    while True: print("line")
attempt(graph({"p": (p, OUT), "f": (f, {"stdin": "x", "stdout": "y"}), "c": (head, {"stdin": "y"})}))""")

        assert (told["cause"], list(told["texts"])) == ("p", ["p", "f"])
        assert "did not notice" in told["texts"]["f"]


class TestToldInTime:
    def test_a_consumer_that_fell_behind_is_told_while_the_producer_goes_on(self) -> None:
        """The others go on as well; waiting for an endless producer would be waiting for ever."""
        told = attempt("""
def p(state):
    while True: print("x" * 1000)
def slow(state):
    wait()
    try: cat(state)
    except ts.UpstreamFailed as error:
        tell(told=error.culprit); let("b"); raise
def quick(state):
    for number, line in enumerate(sys.stdin):
        if number == 3000: let("a"); wait("b"); return {"quick": number}
attempt(graph({"p": (p, OUT), "slow": (slow, {"stdin": {"from": "x", "overflow": "fail", "buffer_limit": 1000}}),
               "quick": (quick, IN)}))""")

        assert told["told"] == "fan-out of 'x'"
        assert told["cause"] == "fan-out of 'x'"
        assert "fell behind" in told["texts"]["fan-out of 'x'"]

    def test_an_exception_of_the_nodes_own_making_is_its_own_failure(self) -> None:
        """UpstreamFailed is public; raising it does not make somebody else fail."""
        told = attempt("""
def p(state):
    while True: print("line")
def c(state): raise ts.UpstreamFailed("somebody", "something")
attempt(graph({"p": (p, OUT), "c": (c, IN)}))""")

        assert (told["cause"], list(told["texts"])) == ("c", ["c", "p"])


class TestNames:
    def test_nodes_and_channels_may_be_called_what_we_would_call_ours(self) -> None:
        told = attempt("""
def p(state): print("one"); print("two", file=sys.stderr)
def count(key): return lambda state: {key: sys.stdin.read()}
attempt(graph({"p": (p, {"stdout": "x", "stderr": "x>c"}), "c": (count("c"), IN), "d": (count("d"), IN),
               "fan-out of 'x'": (count("e"), {"stdin": "x>c"})}))""")

        assert told["state"] == {"c": "one\n", "d": "one\n", "e": "two\n"}


@pytest.mark.skipif(calls.portable(), reason="there only the exit shows who still writes")
class TestReturnedIsEnough:
    """A process takes the kernel milliseconds to take down, a large one seconds: nobody below waits for that."""

    HELD = """
from teastreams.runtime import calls
def hold(name="a"):
    leave = calls.table.exit
    calls.table.exit = lambda code: (wait(name), leave(code))
"""

    @pytest.mark.parametrize("nodes", [3, 2])
    def test_a_reader_has_its_end_before_its_producer_has_gone(self, nodes: int) -> None:
        told = attempt(
            f"count = {nodes}"
            + self.HELD
            + """
def p(state):
    hold(); print("all of it"); return {"p": 1}
def c(state):
    text = sys.stdin.read()
    tell(text=text, p=state["p"]); let()
def d(state): sys.stdin.read()
nodes = {"p": (p, OUT), "c": (c, IN), "d": (d, IN)}
attempt(graph({name: nodes[name] for name in list(nodes)[:count]}, grace_seconds=60))"""
        )

        assert (told["text"], told["p"], told["state"]) == ("all of it\n", 1, {"p": 1})

    def test_a_chain_comes_to_its_end_while_all_above_still_leave(self) -> None:
        told = attempt(
            self.HELD
            + """
def p(state): hold(); print("x")
def q(state): hold("b"); sys.stdout.write(sys.stdin.read())
def c(state): tell(text=sys.stdin.read()); let("b"); let()
attempt(graph({"p": (p, OUT), "q": (q, {"stdin": "x", "stdout": "y"}), "c": (c, {"stdin": "y"})}, grace_seconds=60))"""
        )

        assert (told["text"], told["state"]) == ("x\n", {})

    def test_killed_after_its_last_word_it_has_still_returned(self) -> None:
        """Its stream and its result were whole: only the exit code tells of it. It never leaves, so the grace ends."""
        told = attempt(
            self.HELD
            + """
def p(state): hold(); print("x"); return {"p": 1}
def c(state): tell(text=sys.stdin.read())
result = graph({"p": (p, OUT), "c": (c, IN)}).run(echo_output=False)
figures = result.nodes["p"]
tell(state=dict(result.state), status=figures.status.value, code=figures.exit_code)"""
        )

        assert (told["text"], told["state"], told["status"], told["code"]) == ("x\n", {"p": 1}, "done", -9)

    def test_it_has_finished_when_it_has_gone(self) -> None:
        """What is told of its end comes last: its time, and the exit code that the kernel gave."""
        told = attempt(
            self.HELD
            + """
def p(state): hold(); print("x")
def c(state): sys.stdin.read(); let()
app = graph({"p": (p, OUT), "c": (c, IN)}, grace_seconds=60)
events = [e for e in app.stream() if isinstance(e, ts.NodeFinished)]
tell(ended=[[e.node, e.status, e.exit_code, e.seconds > 0] for e in events])"""
        )

        assert sorted(told["ended"]) == [["c", "done", 0, True], ["p", "done", 0, True]]
