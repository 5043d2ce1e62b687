"""One producer, one consumer, chains: what a node sees at the end of its input (L2, L3), and leaving early (L7).

Every script builds a graph, runs it in an interpreter of its own and tells what each node saw. `tell` works inside
nodes too: what a failed node saw would otherwise be lost with its state.
"""

from __future__ import annotations

import textwrap
from functools import cache
from typing import Any

import harness
import pytest

SETUP = """
import io, subprocess

def line_up(*nodes):
    "A graph of (function, streams) in one line of edges."
    graph = ts.StateGraph()
    names = [body.__name__ for body, _streams in nodes]
    for body, streams in nodes:
        graph.add_node(body.__name__, run=body, streams=streams)
    for above, below in zip(names, names[1:]):
        graph.add_edge(above, below)
    graph.set_entry_point(names[0])
    graph.set_finish_point(names[-1])
    return graph.compile()

def run(*nodes, state=None):
    with untouched():
        return line_up(*nodes).run(state or {})

def failure(*nodes, state=None):
    try:
        result = run(*nodes, state=state)
    except ts.WorkflowFailed as failed:
        return failed
    raise AssertionError(f"it went well: {result.state}")

def statuses(outcome):
    return {name: figures.status.name for name, figures in outcome.nodes.items()}

OUT, IN, THROUGH = {"stdout": "a"}, {"stdin": "a"}, {"stdin": "a", "stdout": "b"}
LAST = {"stdin": "b"}
"""


def run(script: str, **options: Any) -> harness.Ended:
    return harness.run(SETUP + textwrap.dedent(script), **options)


# -- the whole thing ----------------------------------------------------------------------------------------

WORKFLOW = """
name: words
settings:
  parallel:
    strategy: process
    streams: {enabled: true}
nodes:
  - name: prepare
    run: |
      return {"words": ["pear", "fig", "apple"] * state["times"], "entered": True}
  - name: produce
    streams: {stdout: words}
    run: |
      for word in state["words"]:
        print(word)
      return {"produced": len(state["words"])}
  - name: transform
    streams: {stdin: words, stdout: loud}
    run: |
      import sys
      count = 0
      for line in sys.stdin:
        sys.stdout.write(line.upper())
        count += 1
      return {"transformed": count, "produced_seen": state["produced"]}
  - name: consume
    streams: {stdin: loud}
    run: |
      import sys
      lines = [line.strip() for line in sys.stdin]
      return {"consumed": len(lines), "kinds": sorted(set(lines)), "seen": [state["produced"], state["transformed"]]}
  - name: report
    run: |
      state["report"] = f"{state['consumed']} of {state['produced']}"
      del state["words"]
edges:
  - {from: __start__, to: prepare}
  - {from: prepare, to: produce}
  - {from: produce, to: transform}
  - {from: transform, to: consume}
  - {from: consume, to: report}
  - {from: report, to: __end__}
"""


@pytest.mark.scenario("001.2-E2E-001")
def test_a_whole_workflow_with_state_and_streams():
    """Plain nodes before and after, three live ones between: bytes flow one way, state the other, and both arrive."""
    ended = run(f"""
WORKFLOW = {WORKFLOW!r}
app = ts.YAMLEngine().load_from_string(WORKFLOW).compile()
with untouched():
    result = app.run({{"times": 1000}})
tell(state=result.state, nodes=statuses(result), bytes={{name: each.bytes for name, each in result.channels.items()}})
""")
    assert ended.told["state"] == {
        "times": 1000,
        "entered": True,
        "produced": 3000,
        "produced_seen": 3000,
        "transformed": 3000,
        "consumed": 3000,
        "kinds": ["APPLE", "FIG", "PEAR"],
        "seen": [3000, 3000],
        "report": "3000 of 3000",
    }
    assert ended.told["bytes"] == {"words": 15_000, "loud": 15_000}
    assert set(ended.told["nodes"].values()) == {"DONE"}


@pytest.mark.scenario("QA-001.2-E2E-002")
def test_numbers_are_filtered_and_summed():
    """A writes 1 to 100, B keeps the even ones, C adds them up: 2550."""
    ended = run("""
        def a(state):
            for number in range(1, 101): print(number)
        def b(state):
            for line in sys.stdin:
                if int(line) % 2 == 0: sys.stdout.write(line)
        def c(state): return {"sum": sum(map(int, sys.stdin))}
        tell(state=run((a, OUT), (b, THROUGH), (c, LAST)).state)
    """)
    assert ended.told == {"state": {"sum": 2550}}


# -- every way of reading -----------------------------------------------------------------------------------

# Each is a generator of what it got, ended by the end of the input. AT_ONCE has nothing to give before the end, PAST_US
# sees only the kernel's end of file, which knows no verdict.
WAYS = {
    "iteration": "yield from sys.stdin",
    "readline": "yield from iter(sys.stdin.readline, '')",
    "read a few": "yield from iter(lambda: sys.stdin.read(3), '')",
    "input": """
        try:
            while True: yield input() + "\\n"
        except EOFError:
            pass""",
    "buffer iteration": "yield from sys.stdin.buffer",
    "buffer readline": "yield from iter(sys.stdin.buffer.readline, b'')",
    "buffer read a few": "yield from iter(lambda: sys.stdin.buffer.read(3), b'')",
    "buffer read1": "yield from iter(sys.stdin.buffer.read1, b'')",
    "buffer readinto": """
        block = bytearray(5)
        while True:
            count = sys.stdin.buffer.readinto(block)
            if not count: return
            yield bytes(block[:count])""",
    "raw read": "yield from iter(lambda: sys.stdin.buffer.raw.read(5), b'')",
    "raw readinto": """
        block = bytearray(5)
        while True:
            count = sys.stdin.buffer.raw.readinto(block)
            if not count: return
            yield bytes(block[:count])""",
    "the first stdin": "yield from sys.__stdin__",
    "csv": "import csv; yield from (','.join(row) + '\\n' for row in csv.reader(sys.stdin))",
}
BLOCKS = {"read a few": 3, "buffer read a few": 3, "buffer readinto": 5}
AT_ONCE = {
    "read": "yield sys.stdin.read()",
    "readlines": "yield from sys.stdin.readlines()",
    "buffer read": "yield sys.stdin.buffer.read()",
    "raw readall": "yield sys.stdin.buffer.raw.readall()",
    "copyfileobj": """
        import shutil
        into = io.BytesIO()
        shutil.copyfileobj(sys.stdin.buffer, into)
        yield into.getvalue()""",
}
PAST_US = {
    "os.read": "yield from iter(lambda: os.read(0, 5), b'')",
    "another file on 0": "yield from open(0, 'rb', closefd=False)",
    "a child program": "yield subprocess.run(['cat'], stdout=subprocess.PIPE, check=True).stdout",
}

SEEN = """
def seen(ways, ending):
    def make(state):
        sys.stdout.write("one\\ntwo\\nthree\\n")
        sys.stdout.flush()
        os.write(told_w, b"x")
        if ending == "fails": raise ValueError("boom")
        return {"made": 3}
    def take(state):
        os.read(told_r, 1)
        got, errors, later = [], [], []
        reading = ways(state)
        try:
            for piece in reading:
                got.append(piece.decode() if isinstance(piece, bytes) else piece)
        except ts.UpstreamFailed as error:
            errors.append([error.culprit, error.reason])
        made = state.get("made")
        for again in (sys.stdin.read, sys.stdin.readline, sys.stdin.buffer.read, lambda: next(sys.stdin),
                      lambda: sys.stdin.buffer.raw.read(1), lambda: sys.stdin.buffer.readinto(bytearray(1)), input):
            try:
                text = again()
                later.append(text.decode() if isinstance(text, bytes) else text)
            except BaseException as error:
                later.append(type(error).__name__)
        tell(got="".join(got), errors=errors, later=later, made=[made, state.get("made")])
        return {"taken": True}
    told_r, told_w = os.pipe()
    try:
        result = run((make, OUT), (take, IN), state={"before": True})
        tell(state=result.state, nodes=statuses(result))
    except ts.WorkflowFailed as failed:
        tell(primary=[failed.primary.node, failed.primary.error_type], state=dict(failed.result.state),
             collateral=[error.node for error in failed.collateral], nodes=statuses(failed.result))
    os.close(told_r), os.close(told_w)
"""


@cache
def seen(way: str, ending: str) -> dict[str, Any]:
    body = textwrap.indent(textwrap.dedent(way), "    ")
    return run(f"{SEEN}\ndef way(state):\n{body}\nseen(way, {ending!r})\n").told


EVERYTHING = "one\ntwo\nthree\n"
AFTER_THE_END = ["", "", "", "StopIteration", "", 0, "EOFError"]


@pytest.mark.parametrize("way", [*WAYS, *AT_ONCE])
def test_every_way_of_reading_ends_after_a_good_end(way: str):
    """All bytes, then the end, with the producer's update in the state; and the end again at every later read."""
    told = seen({**WAYS, **AT_ONCE}[way], "returns")

    assert (told["got"], told["errors"], told["made"]) == (EVERYTHING, [], [3, 3])
    assert told["later"] == AFTER_THE_END
    assert told["state"] == {"before": True, "made": 3, "taken": True}


@pytest.mark.parametrize("way", [*WAYS, *AT_ONCE])
def test_every_way_of_reading_raises_after_a_bad_end(way: str):
    """What was written before comes first, then `UpstreamFailed` instead of the end, and again at every later read.

    A way that asks for so many bytes, or for all, is not given fewer as if that were the end of them. The node catches
    the error and returns: that does not make its input whole. Its state is not merged, the run fails by the culprit.
    """
    told = seen({**WAYS, **AT_ONCE}[way], "fails")

    whole_blocks = len(EVERYTHING) - len(EVERYTHING) % BLOCKS.get(way, 1)
    assert told["got"] == ("" if way in AT_ONCE else EVERYTHING[:whole_blocks])
    assert told["errors"] == [["make", "ValueError: boom"]]
    assert told["later"] == ["UpstreamFailed"] * len(AFTER_THE_END)
    assert told["made"] == [None, None]
    assert (told["primary"], told["collateral"]) == (["make", "ValueError"], ["take"])
    assert told["state"] == {"before": True}
    assert told["nodes"] == {"make": "FAILED", "take": "CONSEQUENCE"}


@pytest.mark.parametrize("way", PAST_US)
def test_whoever_reads_past_us_is_done_after_a_good_end(way: str):
    """The kernel's end of file was a true one; it brings no state, but the next read through sys.stdin does."""
    told = seen(PAST_US[way], "returns")

    assert (told["got"], told["errors"], told["made"]) == (EVERYTHING, [], [None, 3])
    assert told["state"] == {"before": True, "made": 3, "taken": True}


PAST_ONLY = """
def make(state):
    os.write(1, b"one\\ntwo\\nthree\\n")
    os.write(told_w, b"x")
    {ending}
def take(state):
    os.read(told_r, 1)
    got = b"".join(way(state))
    tell(got=got.decode())
    return {{"taken": True}}
told_r, told_w = os.pipe()
failed = failure((make, OUT), (take, IN), state={{"before": True}})
tell(primary=failed.primary.node, collateral=[str(error) for error in failed.collateral], nodes=statuses(failed.result),
     state=dict(failed.result.state))
"""


@pytest.mark.parametrize("ending", ["raise ValueError('boom')", "os.kill(os.getpid(), signal.SIGKILL)"])
@pytest.mark.parametrize("way", PAST_US)
def test_whoever_reads_past_us_is_tainted_after_a_bad_end(way: str, ending: str):
    """It cannot be told: it returned as if all were well, and nothing of it is merged."""
    told = run(f"def way(state):\n    {PAST_US[way]}\n" + PAST_ONLY.format(ending=ending)).told

    assert told["got"] == EVERYTHING
    assert told["nodes"] == {"make": "FAILED", "take": "TAINTED"}
    assert (told["primary"], told["state"]) == ("make", {"before": True})
    [text] = told["collateral"]
    assert "its input was cut because 'make' failed, and it did not notice" in text


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        ("raise LookupError('gone')", "LookupError: gone"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed by signal 9"),
        ("os._exit(0)", "ended without a result, exit code 0"),
        ("sys.exit(3)", "exit code 3"),
        ("sys.exit('the reason')", "SystemExit: the reason"),
        ("return {'lock': __import__('threading').Lock()}", "return plain data"),
    ],
)
def test_the_reader_learns_who_failed_and_how(ending: str, reason: str):
    """Whatever the end, it is named in the reader's own exception; nobody mistakes it for the end of the input."""
    told = run(f"""
def make(state):
    print("first", flush=True)
    {ending}
def take(state):
    for line in sys.stdin: tell(line=line)
    tell(reached="the end")
failed = failure((make, OUT), (take, IN))
tell(primary=failed.primary.node, collateral=[error.message for error in failed.collateral],
     kind=[error.error_type for error in failed.collateral])
""").told
    assert told["line"] == "first\n"
    assert "reached" not in told
    assert told["primary"] == "make"
    assert [reason in text and "'make'" in text for text in told["collateral"]] == [True]


def test_a_failure_runs_down_a_chain_and_names_its_origin():
    """The last of three learns of the first, though the one between ended because of it; half a line is not a line."""
    told = run("""
        def make(state):
            sys.stdout.write("whole\\nhal")
            sys.stdout.flush()
            raise ValueError("boom")
        def through(state):
            for line in sys.stdin: sys.stdout.write(line)
        def take(state):
            got = []
            try:
                for line in sys.stdin: got.append(line)
            except ts.UpstreamFailed as error:
                tell(got=got, culprit=error.culprit, reason=error.reason)
                raise
        failed = failure((make, OUT), (through, THROUGH), (take, LAST))
        tell(primary=failed.primary.node, collateral=sorted(error.node for error in failed.collateral),
             nodes=statuses(failed.result))
    """).told
    assert told == {
        "got": ["whole\n"],
        "culprit": "make",
        "reason": "ValueError: boom",
        "primary": "make",
        "collateral": ["take", "through"],
        "nodes": {"make": "FAILED", "through": "CONSEQUENCE", "take": "CONSEQUENCE"},
    }


def test_the_middle_that_swallows_the_failure_does_not_mend_the_input_of_the_last():
    """It catches `UpstreamFailed`, writes more and returns: whoever reads it is told of the first all the same."""
    told = run("""
        def make(state):
            print("x", flush=True)
            raise ValueError("boom")
        def through(state):
            try:
                sys.stdin.read()
            except ts.UpstreamFailed:
                print("all is well", flush=True)
            return {"through": True}
        def take(state):
            for line in sys.stdin: tell(line=line)
            tell(reached="the end")
        failed = failure((make, OUT), (through, THROUGH), (take, LAST))
        tell(primary=failed.primary.node, state=dict(failed.result.state), nodes=statuses(failed.result))
    """).told
    assert told == {
        "line": "all is well\n",
        "primary": "make",
        "state": {},
        "nodes": {"make": "FAILED", "through": "CONSEQUENCE", "take": "CONSEQUENCE"},
    }


def test_an_error_raised_because_of_the_failure_is_a_consequence():
    """`raise ... from` and an error inside the handler alike; the cause stays the cause."""
    told = run("""
        def make(state):
            print("x", flush=True)
            raise ValueError("boom")
        def take(state):
            try:
                sys.stdin.read()
            except ts.UpstreamFailed as error:
                raise RuntimeError("my input is broken") from error
        failed = failure((make, OUT), (take, IN))
        tell(primary=failed.primary.node, collateral=[[e.node, e.error_type] for e in failed.collateral])
    """).told
    assert told["primary"] == "make"
    assert [node for node, _kind in told["collateral"]] == ["take"]


# -- state at the end of the input --------------------------------------------------------------------------


def test_state_at_the_end_of_the_input_holds_what_upstream_returned():
    """In a chain of three the last one has the updates of both; before the end it had neither, only the entry state."""
    told = run("""
        def make(state):
            print("x")
            return {"made": 1, "both": "make"}
        def through(state):
            before = sorted(state)
            sys.stdout.write(sys.stdin.read())
            state["seen by through"] = [before, sorted(state), state["both"]]
            state["both"] = "through"
        def take(state):
            before = sorted(state)
            line = sys.stdin.readline()
            early = sorted(state)
            rest = sys.stdin.read()
            return {"seen by take": [before, early if line else None, sorted(state), state["both"]]}
        result = run((make, OUT), (through, THROUGH), (take, LAST), state={"entry": 0})
        tell(state=result.state)
    """).told["state"]
    assert told.pop("seen by through") == [["entry"], ["both", "entry", "made"], "make"]
    assert told.pop("seen by take") == [
        ["entry"],
        ["entry"],
        ["both", "entry", "made", "seen by through"],
        "through",
    ]
    assert told == {"entry": 0, "made": 1, "both": "through"}


def test_changes_in_place_come_back_and_untouched_keys_do_not():
    """The consumer had looked at what the producer changed; its stale copy does not overwrite the change."""
    told = run("""
        def make(state):
            print("x")
            state["list"].append("make")
            state["deep"]["inner"]["n"] += 1
            del state["gone"]
            state["kept"] = "by make"
        def take(state):
            stale = [list(state["list"]), state["kept"], "gone" in state]
            sys.stdin.read()
            tell(stale=stale, fresh=[list(state["list"]), state["kept"], "gone" in state])
            state["mine"].append("take")
            state.pop("also gone")
        given = {"list": [], "deep": {"inner": {"n": 0}}, "gone": 1, "also gone": 2, "kept": "entry", "mine": []}
        result = run((make, OUT), (take, IN), state=given)
        tell(state=result.state, hosts=sorted(given))
    """).told
    assert told["stale"] == [[], "entry", True]
    assert told["fresh"] == [["make"], "by make", False]
    assert told["state"] == {"list": ["make"], "deep": {"inner": {"n": 1}}, "kept": "by make", "mine": ["take"]}
    assert told["hosts"] == ["also gone", "deep", "gone", "kept", "list", "mine"]


def test_a_consumer_that_left_before_the_end_merges_only_its_own():
    """It did not see the producer's update and does not undo it by returning the state it had."""
    told = run("""
        def make(state):
            print("x", flush=True)
            os.read(left_r, 1)
            return {"shared": "by make"}
        def take(state):
            sys.stdin.readline()
            sys.stdin.close()
            os.write(left_w, b"x")
            state["own"] = state["shared"]
            return state
        left_r, left_w = os.pipe()
        tell(state=run((make, OUT), (take, IN), state={"shared": "entry"}).state)
    """).told
    assert told["state"] == {"shared": "by make", "own": "entry"}


# -- closing and leaving ------------------------------------------------------------------------------------


def test_a_node_that_closes_its_stdout_ends_its_stream_there_and_then():
    """The consumer's end of file comes while the producer goes on: the producer waits for proof of it."""
    told = run(
        """
        def make(state):
            print("all there is")
            sys.stdout.close()
            number = os.open(os.devnull, os.O_RDONLY)
            tell(waited=os.read(done_r, 1).decode(), next_file=number > 2, into_nothing=os.write(1, b"late"))
            return {"made": True}
        def take(state):
            got = sys.stdin.read()
            os.write(done_w, b"E")
            return {"got": got, "early": "made" not in state}
        done_r, done_w = os.pipe()
        tell(state=run((make, OUT), (take, IN)).state)
        """,
        deadline_seconds=20,
    ).told
    assert told == {
        "waited": "E",
        "next_file": True,
        "into_nothing": 4,
        "state": {"made": True, "got": "all there is\n", "early": True},
    }


def test_what_happens_after_the_close_is_no_matter_of_the_reader():
    """The producer fails later: the run fails by it, but the consumer's input was whole and it ended well."""
    told = run("""
        def make(state):
            print("all there is")
            sys.stdout.close()
            os.read(done_r, 1)
            raise ValueError("later")
        def take(state):
            got = sys.stdin.read()
            os.write(done_w, b"E")
            return {"got": got}
        done_r, done_w = os.pipe()
        failed = failure((make, OUT), (take, IN))
        tell(primary=str(failed.primary), collateral=len(failed.collateral), nodes=statuses(failed.result))
    """).told
    assert told["primary"] == "node 'make' failed (run): ValueError: later"
    assert (told["collateral"], told["nodes"]) == (0, {"make": "FAILED", "take": "DONE"})


@pytest.mark.parametrize(
    "body",
    [
        "\n    with sys.stdout: print('part', flush=True); raise ValueError('boom')",
        "\n    try:\n        print('part', flush=True); raise ValueError('boom')\n    finally: sys.stdout.close()",
    ],
    ids=["with", "finally"],
)
def test_a_stdout_closed_on_the_way_out_of_an_error_is_no_end(body: str):
    """What closes it is the failure, not the node: the reader is told so."""
    told = run(f"""
def make(state): {body}
def take(state):
    for line in sys.stdin: tell(line=line)
    tell(reached="the end")
failed = failure((make, OUT), (take, IN))
tell(primary=failed.primary.node, nodes=statuses(failed.result))
""").told
    assert told == {"line": "part\n", "primary": "make", "nodes": {"make": "FAILED", "take": "CONSEQUENCE"}}


def test_printing_into_a_closed_stdout_is_the_nodes_own_error():
    """As anywhere in Python."""
    told = run("""
        def make(state):
            sys.stdout.close()
            print("too late")
        def take(state): sys.stdin.read()
        failed = failure((make, OUT), (take, IN))
        tell(primary=[failed.primary.node, failed.primary.error_type, failed.primary.message])
    """).told
    assert told["primary"] == ["make", "ValueError", "I/O operation on closed file."]


def test_a_with_block_on_stdin_reads_to_the_end_or_leaves():
    """Drained inside the block: the update is there. Left inside the block: the producer is stopped and ended well."""
    told = run("""
        def make(state):
            for number in range(3): print(number)
            return {"made": True}
        def drain(state):
            with sys.stdin as lines:
                got = list(lines)
            return {"got": got, "seen": state["made"]}
        def endless(state):
            while True: print("x")
        def leave(state):
            with sys.stdin as lines:
                for line in lines: break
            with open(os.devnull) as other: number = other.fileno()
            return {"first": line, "next_file": number > 2, "closed": sys.stdin.closed}
        drained, left = run((make, OUT), (drain, IN)), run((endless, OUT), (leave, IN))
        tell(drained=drained.state, left=left.state, nodes=statuses(left))
    """).told
    assert told == {
        "drained": {"made": True, "got": ["0\n", "1\n", "2\n"], "seen": True},
        "left": {"first": "x\n", "next_file": True, "closed": True},
        "nodes": {"endless": "STOPPED", "leave": "DONE"},
    }


@pytest.mark.scenario("001.2-INT-009")
def test_a_producer_stopped_by_epipe_has_an_empty_update():
    """Changes made before count no more than the return that never came; one that caught the error can return."""
    told = run("""
        def stopped(state):
            state["changed"] = True
            while True: print("x" * 100)
        def caught(state):
            state["changed"] = True
            try:
                while True: print("x" * 100)
            except BrokenPipeError:
                return {"caught": True}
        def take(state): return {"first": sys.stdin.read(1)}
        first, second = run((stopped, OUT), (take, IN)), run((caught, OUT), (take, IN))
        tell(states=[first.state, second.state], nodes=[statuses(first), statuses(second)])
    """).told
    assert told["states"] == [{"first": "x"}, {"changed": True, "caught": True, "first": "x"}]
    assert told["nodes"] == [{"stopped": "STOPPED", "take": "DONE"}, {"caught": "DONE", "take": "DONE"}]


def test_a_producer_cut_off_by_a_crashed_consumer_is_a_consequence():
    """The same EPIPE, but its reader did not end well: the consumer is the cause, and nothing of either is merged."""
    told = run("""
        def make(state):
            while True: print("x" * 100)
        def take(state):
            sys.stdin.readline()
            raise ValueError("no more")
        failed = failure((make, OUT), (take, IN))
        tell(primary=[failed.primary.node, failed.primary.message], collateral=[e.node for e in failed.collateral],
             nodes=statuses(failed.result))
    """).told
    assert told == {
        "primary": ["take", "no more"],
        "collateral": ["make"],
        "nodes": {"make": "CONSEQUENCE", "take": "FAILED"},
    }


def test_an_empty_stream_is_a_stream():
    """No byte at all: the end comes at once, and still only after the producer returned."""
    told = run("""
        def make(state): return {"made": True}
        def take(state): return {"got": sys.stdin.buffer.read().decode(), "seen": state["made"]}
        result = run((make, OUT), (take, IN))
        tell(state=result.state, bytes=result.channels["a"].bytes)
    """).told
    assert told == {"state": {"made": True, "got": "", "seen": True}, "bytes": 0}


def test_bytes_are_sacred():
    """Every byte value, NUL, no newline at the end, a line of a megabyte, what no text codec takes: as written (L1)."""
    told = run("""
        CASES = {
            "all": bytes(range(256)) * 300,
            "no newline": b"a\\nb",
            "carriage": b"a\\r\\nb\\rc\\n",
            "long": b"x" * (1 << 20) + b"\\n",
            "invalid": b"\\xff\\xfe\\n",
        }
        for name, data in CASES.items():
            def make(state): sys.stdout.buffer.write(data)
            def take(state): return {"same": sys.stdin.buffer.read() == data}
            tell(**{name: run((make, OUT), (take, IN)).state["same"]})
    """).told
    assert told == dict.fromkeys(["all", "no newline", "carriage", "long", "invalid"], True)
