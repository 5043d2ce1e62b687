"""executors/process.py: `execute` with and without a registry, in real workers.

Each script runs in an interpreter of its own (see the harness); `execute` is wrapped in `untouched`, so that a child,
a descriptor or a handler that is left behind fails the scenario it was left by. Pipes of the host's own, whose numbers
forked workers inherit, stand where others would sleep.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from teastreams.executors.process import ProcessExecutor

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scenarios"))
import harness  # it stands beside the scenarios

SETUP = """
def flow(body, state=None, name=None, **streams):
    return {"node_name": name or body.__name__, "run": body, "state": state or {}, "streams": streams}

def execute(*flows, registry=None, streams=None, **options):
    settings = ts.StreamSettings(**(streams or {}))
    config = ts.ParallelConfig(strategy="process", streams=settings, **options)
    with untouched():
        return ts.ProcessExecutor().execute(flows, config, registry)

def registered(*names):
    registry = ts.StreamRegistry()
    for name in names:
        registry.register(name, ts.StreamDirection.STDOUT)
    return registry

def summary(result):
    fields = {name: getattr(result, name) for name in ("success", "exit_code", "error")}
    return {"state": dict(result.state), **fields}
"""


def run(script: str, **options: Any) -> harness.Ended:
    return harness.run(SETUP + textwrap.dedent(script), **options)


def well(**state: Any) -> dict[str, Any]:
    return {"success": True, "state": state, "exit_code": 0, "error": None}


# -- with and without a registry ----------------------------------------------------------------------------


@pytest.mark.scenario("001.2-UNIT-001")
def test_execute_takes_a_registry():
    """By name and as the third argument; the channels of the flows are those of the registry."""
    parameters = inspect.signature(ProcessExecutor.execute).parameters
    assert list(parameters) == ["self", "flows", "config", "stream_registry"]
    assert parameters["stream_registry"].default is None

    ended = run("""
        def make(state): print("through the registry")
        def take(state): return {"got": sys.stdin.read()}
        flows = [flow(make, stdout="lines"), flow(take, stdin="lines")]
        with untouched():
            by_name = ts.ProcessExecutor().execute(flows, stream_registry=registered("lines"))
            by_place = ts.ProcessExecutor().execute(flows, None, registered("lines"))
        tell(results=[dict(results[1].state) for results in (by_name, by_place)])
    """)
    assert ended.told["results"] == [{"got": "through the registry\n"}] * 2


@pytest.mark.scenario("001.2-UNIT-002")
def test_without_a_registry_flows_run_in_processes_of_their_own():
    """Results in the order of the flows, each with its own state; the caller's dicts are as they were."""
    ended = run("""
        mine = {"number": 3, "seen": []}
        def square(state):
            state["seen"].append(os.getpid())
            return {"square": state["number"] ** 2}
        def cube(state):
            return {"cube": state["number"] ** 3}
        first, second = execute(flow(square, mine), flow(cube, mine))
        tell(names=[first.branch, second.branch], square=first["square"], cube=summary(second),
             elsewhere=first["seen"] != [os.getpid()] and len(first["seen"]) == 1, mine=mine)
    """)
    assert ended.told == {
        "names": ["square", "cube"],
        "square": 9,
        "cube": well(number=3, seen=[], cube=27),
        "elsewhere": True,
        "mine": {"number": 3, "seen": []},
    }


@pytest.mark.scenario("001.2-UNIT-003")
def test_an_empty_registry_uses_the_ordinary_path():
    """No gate, no channel: `max_workers=1` runs one flow after the other, with the registry as without it."""
    ended = run("""
        def walk(folder, registry):
            log = os.open(folder, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
            def one(state):
                os.write(log, b"+" + state["name"])
                os.write(log, b"-" + state["name"])
                return {"done": True}
            flows = [flow(one, {"name": name.encode()}, name=name) for name in "abc"]
            results = execute(*flows, registry=registry, max_workers=1)
            os.close(log)
            return Path(folder).read_text(), [(r.branch, r.success, r.exit_code, r["done"]) for r in results]
        import tempfile
        with tempfile.TemporaryDirectory() as folder:
            empty = ts.StreamRegistry()
            plain, given = walk(folder + "/1", None), walk(folder + "/2", empty)
        tell(same=plain == given, order=plain[0], results=plain[1], registry=len(empty))
    """)
    assert ended.told == {
        "same": True,
        "order": "+a-a+b-b+c-c",
        "results": [[name, True, 0, True] for name in "abc"],
        "registry": 0,
    }


# -- wiring -------------------------------------------------------------------------------------------------


@pytest.mark.scenario("001.2-INT-001")
def test_a_producers_stdout_ends_in_the_channels_write_end():
    """It is that very pipe, for print, for descriptor 1 and for a child program; the caller reads it afterwards."""
    ended = run("""
        import subprocess
        registry = registered("lines")
        channel = registry.get("lines")
        reader, writer = channel.create_pipe()
        pipe = os.fstat(writer).st_ino
        def make(state):
            print("printed", flush=True)
            os.write(1, b"written\\n")
            subprocess.run(["echo", "echoed"], check=True)
            sys.stdout.buffer.write(b"\\xff\\x00")
            return {"same": [os.fstat(1).st_ino, sys.stdout.fileno()]}
        [result] = ts.ProcessExecutor().execute([flow(make, stdout="lines")], stream_registry=registry)
        with open(reader, "rb", closefd=False) as file:
            got = file.read()
        registry.cleanup()
        tell(got=got.hex(), same=result["same"] == [pipe, 1], success=result.success)
    """)
    assert bytes.fromhex(ended.told["got"]) == b"printed\nwritten\nechoed\n\xff\x00"
    assert (ended.told["same"], ended.told["success"]) == (True, True)


@pytest.mark.scenario("001.2-INT-002")
def test_a_consumers_stdin_comes_from_the_channels_read_end():
    """It is that very pipe; what the caller wrote is what the node reads, and the end comes when the caller closes."""
    ended = run("""
        registry = registered("lines")
        channel = registry.get("lines")
        reader, writer = channel.create_pipe()
        pipe = os.fstat(reader).st_ino
        os.write(writer, b"one\\ntwo\\n")
        channel.close_write()
        def take(state):
            return {"lines": list(sys.stdin), "pipe": [os.fstat(0).st_ino, sys.stdin.fileno()]}
        [result] = ts.ProcessExecutor().execute([flow(take, stdin="lines")], stream_registry=registry)
        registry.cleanup()
        tell(lines=result["lines"], same=result["pipe"] == [pipe, 0])
    """)
    assert ended.told == {"lines": ["one\n", "two\n"], "same": True}


def test_a_file_that_cannot_be_opened_leaves_no_end_of_the_registry_behind(tmp_path: Path):
    """The worker's end was taken over for a section that never starts; the caller's own end stays with the caller."""
    ended = run(f"""
        from teastreams.core.graph import Binding
        registry = registered("lines")
        with untouched():
            registry.get("lines").create_pipe()
            bindings = {{"stdout": Binding(file={str(tmp_path / "no" / "file")!r})}}
            take = flow(lambda state: None, stdin="lines", stdout="out", bindings=bindings)
            try:
                ts.ProcessExecutor().execute([take], stream_registry=registry)
            except ts.WorkflowFailed as failed:
                tell(node=failed.primary.node)
            registry.cleanup()
    """)
    assert ended.told == {"node": "<lambda>"}


@pytest.mark.scenario("001.2-INT-002")
def test_a_caller_that_writes_late_is_waited_for():
    """Somebody outside writes long after every worker that could end has ended: no drain time cuts it short."""
    ended = run("""
        import subprocess
        LATE = "import os, sys, time; time.sleep(0.4); os.write(int(sys.argv[1]), b'late')"
        registry = registered("lines")
        channel = registry.get("lines")
        _reader, writer = channel.create_pipe()
        child = subprocess.Popen([sys.executable, "-c", LATE, str(writer)], pass_fds=[writer])
        channel.close_write()
        def take(state): return {"got": sys.stdin.read()}
        def beside(state): return {}
        config = ts.ParallelConfig(strategy="process", streams=ts.StreamSettings(drain_seconds=0.05))
        results = ts.ProcessExecutor().execute([flow(take, stdin="lines"), flow(beside)], config, registry)
        child.wait()
        registry.cleanup()
        tell(taken=summary(results[0]))
    """)
    assert ended.told == {"taken": well(got="late")}


@pytest.mark.scenario("001.2-INT-003")
def test_a_node_without_a_stdin_stream_reads_dev_null():
    """By every layer; a byte waiting on the host's own stdin stays the host's."""
    ended = run(
        """
        def look(state):
            null = os.fstat(0).st_rdev == os.stat(os.devnull).st_rdev
            return {"text": sys.stdin.read(), "raw": os.read(0, 10).decode(), "null": null}
        def alone(state): return look(state)
        def make(state):
            print("x")
            return look(state)
        def take(state): return {"got": sys.stdin.read()}
        results = execute(flow(alone)) + execute(flow(make, stdout="lines"), flow(take, stdin="lines"))
        tell(results=[dict(result.state) for result in results], hosts=sys.stdin.read())
        """,
        stdin=b"for the host",
    )
    empty = {"text": "", "raw": "", "null": True}
    assert ended.told == {"results": [empty, empty, {"got": "x\n", **empty}], "hosts": "for the host"}


@pytest.mark.scenario("001.2-INT-004")
def test_output_that_is_no_stream_is_captured():
    """Line by line on the caller's stderr, with the node's name, whoever wrote it and how; nothing on its stdout."""
    ended = run("""
        import subprocess
        def talk(state):
            print("printed")
            os.write(1, b"written\\n")
            subprocess.run(["echo", "echoed"], check=True)
            print("to stderr", file=sys.stderr)
            sys.stdout.write("no newline")
        def make(state):
            print("into the channel")
            print("beside it", file=sys.stderr)
        def take(state):
            print("took", sys.stdin.read())
        [talked] = execute(flow(talk))
        print("the host's own")
        execute(flow(make, stdout="lines"), flow(take, stdin="lines"))
    """)
    lines = ended.stderr.splitlines()
    assert ended.stdout == "the host's own\n"
    assert [line for line in lines if line.startswith("[talk]") and "stderr" not in line] == [
        "[talk] printed",
        "[talk] written",
        "[talk] echoed",
        "[talk] no newline",
    ]
    others = ["[make] beside it", "[take] ", "[take] took into the channel", "[talk] to stderr"]
    assert sorted(set(lines) - {"[talk] printed", "[talk] written", "[talk] echoed", "[talk] no newline"}) == others


CROSSED = """
    def first(state): print("of the first")
    def second(state): print("of the second"); print("err of the second", file=sys.stderr)
    def reader(state): return {"got": sys.stdin.read()}
    results = execute(
        flow(first, stdout="a"),
        flow(reader, name="reads b", stdin="b"),
        flow(second, stdout="b", stderr="c"),
        flow(reader, name="reads c", stdin="c"),
        flow(reader, name="reads a", stdin="a"),
        registry=registered("a", "b", "c"),
    )
    tell(got={result.branch: result.get("got") for result in results})
"""


@pytest.mark.scenario("001.2-INT-005", "001.2-INT-006")
def test_the_entries_select_source_and_sink():
    """Three channels crosswise: everybody reads what its `stdin` names, wherever its writer stands in the list."""
    ended = run(CROSSED)

    assert list(ended.told["got"].items()) == [
        ("first", None),
        ("reads b", "of the second\n"),
        ("second", None),
        ("reads c", "err of the second\n"),
        ("reads a", "of the first\n"),
    ]


@pytest.mark.scenario("001.2-INT-001", "001.2-INT-002")
def test_neighbours_share_one_pipe_and_nobody_holds_more():
    """Producer's 1 and consumer's 0 are the same pipe; of all others a worker has only the three to its supervisor."""
    ended = run("""
        def opened():
            found = {}
            for name in os.listdir("/dev/fd"):
                try:
                    found[int(name)] = os.fstat(int(name)).st_ino
                except OSError:
                    pass
            return found
        hosts = opened()
        def look(state):
            return {"ends": [os.fstat(fd).st_ino for fd in (0, 1)], "more": len(opened().keys() - hosts.keys())}
        def first(state): print("x"); return look(state)
        def second(state): print(sys.stdin.read()); return look(state)
        def third(state): sys.stdin.read(); return look(state)
        def fourth(state): return look(state)
        a, b, c, d = execute(
            flow(first, stdout="a"), flow(second, stdin="a", stdout="b"), flow(third, stdin="b"), flow(fourth)
        )
        tell(shared=[a["ends"][1] == b["ends"][0], b["ends"][1] == c["ends"][0], b["ends"][0] == b["ends"][1]],
             more=[r["more"] for r in (a, b, c, d)])
    """)
    assert ended.told == {"shared": [True, True, False], "more": [3, 3, 3, 3]}


@pytest.mark.scenario("001.2-INT-007")
def test_an_unknown_channel_is_an_error_that_names_it():
    """A ValueError with the name and the nearest one; no flow ran, nothing was opened."""
    ended = run("""
        def make(state): tell(ran=True)
        for registry in (registered("lines"), registered("far away"), ts.StreamRegistry()):
            try:
                execute(flow(make, stdout="limes"), flow(make, name="take", stdin="limes"), registry=registry)
            except ValueError as error:
                tell(**{"/".join(registry.channels): [type(error).__name__, str(error)]})
    """)
    assert ended.told == {
        "lines": ["WorkflowError", "the registry has no channel 'limes'; did you mean 'lines'?"],
        "far away": ["WorkflowError", "the registry has no channel 'limes'; register it first"],
        "": ["WorkflowError", "the registry has no channel 'limes'; register it first"],
    }


def test_a_channel_with_one_end_is_an_error():
    """Nobody writes it, or nobody reads it, and the caller holds no end: both are refused by name, at once."""
    ended = run("""
        def body(state): tell(ran=True)
        try:
            execute(flow(body, name="reader", stdin="in"), flow(body, name="writer", stdout="out"))
        except ValueError as error:
            tell(text=str(error))
    """)
    assert "channel 'in' is read by 'reader' and written by nobody" in ended.told["text"]
    assert "channel 'out' is written by 'writer' and read by nobody" in ended.told["text"]
    assert "ran" not in ended.told


@pytest.mark.scenario("001.2-INT-014")
def test_bytes_flow_while_each_process_sees_its_own_state():
    """The states differ; what one node changes the other does not see before its end of file, and the caller never."""
    ended = run("""
        ours, theirs = {"who": "make", "list": [1]}, {"who": "take", "list": [2]}
        def make(state):
            state["list"].append("changed")
            print(sorted(state), state["who"])
            return {"made": state["list"]}
        def take(state):
            before = [state["who"], list(state["list"]), "made" in state]
            return {"before": before, "got": sys.stdin.read()}
        made, taken = execute(flow(make, ours, stdout="lines"), flow(take, theirs, stdin="lines"))
        tell(made=dict(made.state), taken=[taken["before"], taken["got"]], hosts=[ours, theirs])
    """)
    assert ended.told == {
        "made": {"who": "make", "list": [1, "changed"], "made": [1, "changed"]},
        "taken": [["take", [2], False], "['list', 'who'] make\n"],
        "hosts": [{"who": "make", "list": [1]}, {"who": "take", "list": [2]}],
    }


# -- leaving early, SIGPIPE ---------------------------------------------------------------------------------

EARLY = {
    "returns": "return {'first': sys.stdin.readline()}",
    "exits": "sys.stdin.readline(); sys.exit(0)",
    "closes stdin": "sys.stdin.readline(); sys.stdin.close()",
    "with-block": "\n    with sys.stdin:\n        sys.stdin.readline()",
    "reads nothing": "return {}",
}


@pytest.mark.scenario("001.2-INT-008")
@pytest.mark.parametrize("leave", EARLY.values(), ids=EARLY)
def test_a_consumer_that_leaves_early_harms_nobody(leave: str):
    """The producer would never end by itself; everybody ended well, in whatever way the consumer left."""
    ended = run(f"""
def make(state):
    while True:
        print("line")
def take(state): {leave}
results = execute(flow(make, stdout="lines"), flow(take, stdin="lines"))
tell(ended=[[result.success, result.exit_code, result.error] for result in results])
""")
    assert ended.told == {"ended": [[True, 0, None]] * 2}


@pytest.mark.scenario("001.2-INT-008")
def test_leaving_early_runs_up_a_chain():
    """`head -1` at the end of three: the middle is stopped by EPIPE, then the first one by the middle's leaving."""
    ended = run("""
        def make(state):
            for number in iter(int, 1):
                print(number)
        def through(state):
            for line in sys.stdin:
                sys.stdout.write(line)
        def head(state): return {"first": sys.stdin.readline()}
        results = execute(flow(make, stdout="a"), flow(through, stdin="a", stdout="b"), flow(head, stdin="b"))
        tell(ended=[summary(result) for result in results])
    """)
    assert ended.told["ended"] == [well(), well(), well(first="0\n")]


@pytest.mark.scenario("001.2-INT-009")
def test_the_producer_sees_epipe_and_can_carry_on():
    """It catches the error, does other work, and what it returns counts."""
    ended = run("""
        def make(state):
            written = 0
            try:
                while True:
                    written += sys.stdout.write("x" * 1000)
            except BrokenPipeError as error:
                import errno
                caught = error.errno == errno.EPIPE
            with open(os.devnull) as other:
                carried_on = other.read() == ""
            return {"caught": caught, "wrote": written > 0, "carried_on": carried_on}
        def take(state): return {"first": sys.stdin.read(1)}
        made, taken = execute(flow(make, stdout="lines"), flow(take, stdin="lines"))
        tell(made=summary(made), taken=summary(taken))
    """)
    assert ended.told["made"] == well(caught=True, wrote=True, carried_on=True)
    assert ended.told["taken"]["success"] is True


@pytest.mark.scenario("001.2-INT-009")
def test_a_child_program_of_a_node_dies_by_sigpipe_as_in_a_shell():
    """`yes` would never stop: the disposition that a worker needs is not passed on to what it starts."""
    ended = run("""
        import subprocess
        def make(state): return {"yes": subprocess.run(["yes"]).returncode}
        def take(state): return {"first": sys.stdin.readline()}
        made, taken = execute(flow(make, stdout="lines"), flow(take, stdin="lines"))
        tell(yes=made["yes"], first=taken["first"], success=[made.success, taken.success])
    """)
    assert ended.told == {"yes": -harness.signal.SIGPIPE, "first": "y\n", "success": [True, True]}


@pytest.mark.scenario("001.2-UNIT-004")
def test_a_worker_ignores_sigpipe_before_a_pipe_is_on_its_descriptors():
    """The order of its calls; and the host's disposition, which would kill, is not touched by a run."""
    ended = run("""
        from teastreams.runtime import calls
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        order, real = [], calls.table
        def set_handler(number, handler):
            order.append([signal.Signals(number).name, str(handler)])
            return real.set_handler(number, handler)
        def dup2(old, new, *rest):
            order.append(["dup2", new])
            return real.dup2(old, new, *rest)
        import dataclasses
        calls.table = dataclasses.replace(real, set_handler=set_handler, dup2=dup2)
        def make(state):
            print("x")
            return {"order": list(order), "now": signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN}
        def take(state): sys.stdin.read(); return {"order": list(order)}
        made, taken = execute(flow(make, stdout="lines"), flow(take, stdin="lines"))
        ignored = ["SIGPIPE", str(signal.SIG_IGN)]
        def last_ignore(order): return max(i for i, call in enumerate(order) if call == ignored)
        def first_wire(order): return min(i for i, call in enumerate(order) if call[0] == "dup2")
        tell(before=[last_ignore(r["order"]) < first_wire(r["order"]) for r in (made, taken)], now=made["now"],
             hosts=signal.getsignal(signal.SIGPIPE) is signal.SIG_DFL)
    """)
    assert ended.told == {"before": [True, True], "now": True, "hosts": True}


@pytest.mark.scenario("001.2-UNIT-004")
def test_a_host_that_dies_of_sigpipe_survives_its_workers():
    """Its disposition is the default one, and what it says to a worker that closed its ears goes into a broken pipe."""
    ended = run("""
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        def make(state): print("x")
        def deaf(state):
            os.closerange(3, 1024)
            while os.read(0, 100): pass
            time.sleep(1000)
        deafened = dict(flow(deaf, stdin="lines"), timeout_seconds=0.4)
        _made, lost = execute(flow(make, stdout="lines"), deafened)
        again = execute(flow(make))[0].success
        tell(lost=lost.exit_code, again=again, hosts=signal.getsignal(signal.SIGPIPE).name)
    """)
    assert ended.told == {"lost": -1, "again": True, "hosts": "SIG_DFL"}


# -- size, full buffers, time -------------------------------------------------------------------------------


@pytest.mark.scenario("001.2-INT-010")
@pytest.mark.parametrize("size", [65537, 1 << 20, 8_000_000], ids=["65537", "1 MiB", "8 MB"])
def test_more_than_a_pipe_holds_flows_without_deadlock(size: int):
    """Through a node in the middle, byte for byte, in well under thirty seconds."""
    ended = run(
        f"""
        SIZE = {size}
        def make(state):
            for block in stream("flow", SIZE): sys.stdout.buffer.write(block)
        def through(state):
            while True:
                block = sys.stdin.buffer.read(5000)
                if not block: break
                sys.stdout.buffer.write(block)
        def take(state):
            data = sys.stdin.buffer.read()
            return {{"size": len(data), "digest": hashlib.sha256(data).hexdigest()}}
        results = execute(flow(make, stdout="a"), flow(through, stdin="a", stdout="b"), flow(take, stdin="b"))
        tell(got=dict(results[-1].state), expected={{"size": SIZE, "digest": digest("flow", SIZE)}})
        """,
        deadline_seconds=30,
    )
    assert ended.told["got"] == ended.told["expected"]


FILLED = """
def fill():
    os.set_blocking(1, False)
    written = 0
    try:
        while True:
            written += os.write(1, bytes(4096))
    except BlockingIOError:
        os.set_blocking(1, True)
    return written

full_r, full_w = os.pipe()
def make(state):
    written = fill()
    os.write(full_w, b"f")
    written += os.write(1, bytes(100_000))
    return {"written": written}
"""


@pytest.mark.scenario("001.2-INT-011")
def test_a_full_buffer_waits_for_its_reader():
    """The pipe is full when the consumer begins to read, and the producer in the middle of a write: nothing is lost."""
    ended = run(f"""{FILLED}
def take(state):
    os.read(full_r, 1)
    return {{"got": len(sys.stdin.buffer.read())}}
made, taken = execute(flow(make, stdout="lines"), flow(take, stdin="lines"))
tell(all=made["written"] == taken["got"], more=made["written"] > 100_000)
""")
    assert ended.told == {"all": True, "more": True}


@pytest.mark.scenario("001.2-INT-011")
def test_a_full_buffer_nobody_reads_any_more_frees_its_writer():
    """The consumer leaves without having read a byte."""
    ended = run(f"""{FILLED}
def take(state): os.read(full_r, 1)
results = execute(flow(make, stdout="lines"), flow(take, stdin="lines"))
tell(ended=[[result.success, result.exit_code] for result in results])
""")
    assert ended.told == {"ended": [[True, 0]] * 2}


@pytest.mark.scenario("001.2-INT-011")
@pytest.mark.parametrize("limit", ["timeout", "stall_timeout"])
def test_a_full_buffer_that_stays_full_ends_in_time(limit: str):
    """The consumer neither reads nor leaves: the limit of the section ends both, and says so."""
    ended = run(f"""{FILLED}
def take(state): time.sleep(1000)
results = execute(flow(make, stdout="lines"), flow(take, stdin="lines"), streams={{"{limit}": 0.3}})
tell(ended=[result.success for result in results], errors=[result.error for result in results])
""")
    assert ended.told["ended"] == [False, False]
    word = "timed out" if limit == "timeout" else "stalled"
    assert [word in error for error in ended.told["errors"]] == [True, True]
    assert ended.seconds < 10


STUCK = {
    "sleeps": "time.sleep(1000)",
    "spins": "\n    while True: pass",
    "ignores SIGTERM": "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(1000)",
    "stopped": "os.kill(os.getpid(), signal.SIGSTOP)",
    "waits for a child": "import subprocess; subprocess.run(['sleep', '1000'])",
}

GONE = """
def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False

pid_r, pid_w = os.pipe()
def hang(state):
    os.write(pid_w, b"%d" % os.getpid())
    HANG
"""


@pytest.mark.scenario("001.2-INT-012", "001.2-INT-016")
@pytest.mark.parametrize("stuck", STUCK.values(), ids=STUCK)
def test_a_stuck_process_is_killed_at_its_timeout(stuck: str):
    """Exit code -1, "timed out" with the seconds, the process is gone; the flow beside it ended by itself."""
    ended = run(
        GONE.replace("HANG", stuck)
        + """
def fine(state): return {"fine": True}
hung, beside = execute(flow(hang), flow(fine), timeout_seconds=0.3, streams={"grace_seconds": 0.2})
tell(hung=summary(hung), kind=hung.error_type, beside=summary(beside), gone=gone(int(os.read(pid_r, 20))))
"""
    )
    hung = ended.told.pop("hung")
    assert "timed out after 0.3 s" in hung.pop("error")
    assert hung == {"success": False, "state": {}, "exit_code": -1}
    assert ended.told == {"kind": "timeout", "beside": well(fine=True), "gone": True}
    assert 0.3 <= ended.seconds < 10


@pytest.mark.scenario("001.2-INT-012", "001.2-INT-016")
def test_a_stuck_producer_is_named_to_its_consumer():
    """The consumer has the bytes that came before, then the culprit and "timed out"; its state is not merged."""
    ended = run(
        GONE.replace("HANG", "print('before', flush=True); time.sleep(1000)")
        + """
def take(state):
    for line in sys.stdin:
        tell(line=line)
hung, taken = execute(dict(flow(hang, stdout="lines"), timeout_seconds=0.3), flow(take, stdin="lines"))
tell(hung=summary(hung), taken=summary(taken), gone=gone(int(os.read(pid_r, 20))))
"""
    )
    assert (ended.told["line"], ended.told["gone"]) == ("before\n", True)
    assert (ended.told["hung"]["exit_code"], ended.told["hung"]["success"]) == (-1, False)
    assert "timed out" in ended.told["hung"]["error"]
    assert ended.told["taken"]["success"] is False
    assert "'hang' failed upstream (timed out after 0.3 s)" in ended.told["taken"]["error"]


# -- state --------------------------------------------------------------------------------------------------


@pytest.mark.scenario("001.2-INT-013")
def test_state_reaches_the_worker_and_can_be_used_there():
    """Inherited, not sent: even what no pickle could carry is the same object there; what is returned comes back."""
    ended = run("""
        import threading
        lock = threading.Lock()
        given = {"path": "app.log", "numbers": [1, 2, 3], "double": lambda x: 2 * x, "lock": lock}
        def make(state):
            with state["lock"]:
                print(state["path"], state["double"](21))
            return {"total": sum(state["numbers"])}
        def take(state):
            return {"got": sys.stdin.read(), "same": state["lock"] is lock, "kind": isinstance(state, dict)}
        made, taken = execute(flow(make, given, stdout="lines"), flow(take, given, stdin="lines"))
        tell(total=[made["total"], taken["total"]], taken=[taken[key] for key in ("got", "same", "kind", "path")],
             kept=taken["lock"] is lock)
    """)
    assert ended.told == {"total": [6, 6], "taken": ["app.log 42\n", True, True, "app.log"], "kept": True}


@pytest.mark.scenario("QA-001.2-INT-015")
@pytest.mark.parametrize("size", [131_073, 5_000_000])
def test_state_over_128_kb_reaches_the_worker_and_comes_back(size: int):
    """No command line and no environment carries it: in and out, with streams and without, byte for byte."""
    ended = run(f"""
        SIZE = {size}
        value = b"".join(stream("state", SIZE))
        def turn(state): return {{"back": state["value"][::-1]}}
        def make(state):
            sys.stdout.buffer.write(hashlib.sha256(state["value"]).digest())
            return turn(state)
        def take(state): return {{"same": sys.stdin.buffer.read() == hashlib.sha256(state["value"]).digest(),
                                 "above": state["back"] == state["value"][::-1]}}
        given = {{"value": value}}
        [plain] = execute(flow(turn, given))
        made, taken = execute(flow(make, given, stdout="lines"), flow(take, given, stdin="lines"))
        tell(back=[result["back"] == value[::-1] for result in (plain, made)], taken=[taken["same"], taken["above"]])
    """)
    assert ended.told == {"back": [True, True], "taken": [True, True]}


# -- exit codes ---------------------------------------------------------------------------------------------


@pytest.mark.scenario("001.2-UNIT-005", "QA-001.2-UNIT-006")
def test_success_is_exit_code_0_and_the_output_state():
    """With streams and without, for what returns, what returns nothing, and `sys.exit(0)`."""
    ended = run("""
        def returns(state): return {"out": state["in"] + 1}
        def changes(state): state["out"] = 5
        def exits(state): sys.exit(0)
        def make(state): print("x"); return {"out": 1}
        def take(state): return {"got": sys.stdin.read()}
        start = {"in": 1}
        plain = execute(flow(returns, start), flow(changes, start), flow(exits, start))
        streaming = execute(flow(make, start, stdout="lines"), flow(take, start, stdin="lines"))
        tell(plain=[summary(r) for r in plain], streaming=[summary(r) for r in streaming])
    """)
    assert ended.told["plain"] == [well(**{"in": 1, "out": 2}), well(**{"in": 1, "out": 5}), well(**{"in": 1})]
    assert ended.told["streaming"] == [well(**{"in": 1, "out": 1}), well(**{"in": 1, "out": 1, "got": "x\n"})]


@pytest.mark.scenario("001.2-INT-015", "001.2-UNIT-005")
@pytest.mark.parametrize("streaming", [False, True])
def test_a_plain_exit_code_is_reported_without_an_error(streaming: bool):
    """`sys.exit(42)`: 42 and no error text; the state is the one it started from."""
    ended = run(f"""
        def leave(state):
            state["lost"] = True
            print("bye")
            sys.exit(42)
        def take(state): sys.stdin.read()
        given = {{"a": 1}}
        live = [flow(leave, given, stdout="lines"), flow(take, stdin="lines")]
        left, *others = execute(*(live if {streaming} else [flow(leave, given)]))
        tell(left=summary(left), others=[[other.success, other.error] for other in others])
    """)
    assert ended.told["left"] == {"success": False, "state": {"a": 1}, "exit_code": 42, "error": None}
    for success, error in ended.told["others"]:
        assert success is False
        assert "'leave' failed upstream (exit code 42)" in error


ENDS = {
    "raises": ("raise ValueError('boom')", 1, "boom"),
    "exits 3": ("sys.exit(3)", 3, None),
    "exits 300": ("sys.exit(300)", 44, None),
    "exits with a text": ("sys.exit('the reason')", 1, "the reason"),
    "is killed": ("os.kill(os.getpid(), signal.SIGKILL)", -9, "killed by signal 9 (SIGKILL)"),
    "aborts": ("__import__('faulthandler').disable(); os.abort()", -6, "killed by signal 6 (SIGABRT)"),
    "leaves unseen": ("os._exit(0)", 0, "ended without a result, exit code 0"),
    "leaves unseen with 7": ("os._exit(7)", 7, "ended without a result, exit code 7"),
}


@pytest.mark.scenario("001.2-INT-015")
@pytest.mark.parametrize(("end", "code", "text"), ENDS.values(), ids=ENDS)
def test_every_bad_end_has_its_code_and_its_words(end: str, code: int, text: Any):
    """A code of the kernel or of the node; even status 0 without a result is no success."""
    ended = run(f"""
        def node(state):
            state["lost"] = True
            {end}
        tell(result=summary(execute(flow(node))[0]))
    """)
    result = dict(ended.told["result"])
    error = result.pop("error")
    assert result == {"success": False, "state": {}, "exit_code": code}
    assert error == text or error.startswith(text)  # what to do about it follows


# -- nothing is left ----------------------------------------------------------------------------------------

CRASHES = {
    "raise": "raise RuntimeError('crash')",
    "SIGKILL": "os.kill(os.getpid(), signal.SIGKILL)",
    "os._exit": "os._exit(5)",
}


@pytest.mark.scenario("QA-001.2-INT-018")
@pytest.mark.parametrize("crash", CRASHES.values(), ids=CRASHES)
def test_nothing_is_left_open_when_one_of_three_crashes(crash: str):
    """Each of the three in turn, with and without channels, with and without a registry; then a run that goes well."""
    ended = run(f"""
        def crashes(state): {crash}
        def make(state):
            if state["victim"] == 0: crashes(state)
            print("x" * 100_000)
        def through(state):
            if state["victim"] == 1: crashes(state)
            sys.stdout.write(sys.stdin.read())
        def take(state):
            if state["victim"] == 2: crashes(state)
            return {{"got": len(sys.stdin.read())}}
        def plain(state):
            if state["victim"] == state["me"]: crashes(state)
        def chain(victim):
            state = {{"victim": victim}}
            middle = flow(through, state, stdin="a", stdout="b")
            return [flow(make, state, stdout="a"), middle, flow(take, state, stdin="b")]
        ended = []
        for victim in (0, 1, 2, None):
            ended.append([result.success for result in execute(*chain(victim))])
            ended.append([result.success for result in execute(*chain(victim), registry=registered("a", "b"))])
            three = [flow(plain, {{"victim": victim, "me": me}}, name=str(me)) for me in range(3)]
            ended.append([result.success for result in execute(*three)])
        tell(ended=ended, got=execute(*chain(None))[-1]["got"])
    """)
    for chains in (ended.told["ended"][0::3], ended.told["ended"][1::3]):
        # What stands above the victim may have written its last byte before: the pipes are not that small.
        assert [chain[victim:] for victim, chain in enumerate(chains[:3])] == [[False] * 3, [False] * 2, [False]]
        assert chains[3] == [True] * 3
    assert ended.told["ended"][2::3] == [[me != victim for me in range(3)] for victim in (0, 1, 2, None)]
    assert ended.told["got"] == 100_001


@pytest.mark.scenario("QA-001.2-INT-018")
def test_the_callers_own_ends_stay_its_own_when_the_flow_crashes():
    """An open channel of the registry: the worker's end is used up, the caller's is open until the caller closes it."""
    ended = run("""
        def dies(state): os.kill(os.getpid(), signal.SIGKILL)
        with untouched(), ts.StreamRegistry() as registry:
            channel = registry.register("lines", ts.StreamDirection.STDOUT)
            reader, _writer = channel.create_pipe()
            [result] = ts.ProcessExecutor().execute([flow(dies, stdout="lines")], stream_registry=registry)
            tell(code=result.exit_code, writer=channel.write_fd, reader=channel.read_fd == reader,
                 read=os.read(reader, 10).decode())
    """)
    assert ended.told == {"code": -9, "writer": None, "reader": True, "read": ""}
