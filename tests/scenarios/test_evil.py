"""Nodes that misbehave: every run ends, names the cause first, and leaves nothing.

Each case is one script in a fresh interpreter. `attempt` runs the workflow inside `untouched()`, so a descriptor, a
child, a handler or a thread that is left fails the case; survivors are looked for from outside by the harness.
"""

from __future__ import annotations

from typing import Any

import harness
import pytest

PRELUDE = """
import subprocess

def graph(p, *cs, drain_seconds=0.2, **kw):
    streams = ts.StreamSettings(grace_seconds=0.2, drain_seconds=drain_seconds, **kw)
    g = ts.StateGraph(parallel_config=ts.ParallelConfig(strategy="process", streams=streams))
    g.add_node("p", p, streams={"stdout": "x"})
    names = [f"c{i}" for i in range(len(cs))]
    for name, c in zip(names, cs):
        g.add_node(name, c, streams={"stdin": "x"})
    if len(cs) > 1:
        g.add_parallel_edge("p", names, stream_mode="broadcast")
    g.set_entry_point("p")
    return g.compile()

def attempt(app):
    started = time.monotonic()
    try:
        with untouched():
            ended = {"state": dict(app.run(echo_output=False).state)}
    except ts.WorkflowFailed as failed:
        first = failed.primary
        ended = {"cause": first.node, "phase": first.phase, "message": str(first.message), "code": first.exit_code,
                 "type": first.error_type, "others": [error.node for error in failed.collateral],
                 "texts": {error.node: error.message for error in failed.collateral}}
    tell(seconds=time.monotonic() - started, **ended)

def cat(state):
    return {"n": sum(len(block) for block in iter(lambda: sys.stdin.buffer.read(65536), b""))}

def raw(state):
    return {"n": sum(len(block) for block in iter(lambda: os.read(0, 65536), b""))}

def endless(state):
    while True:
        sys.stdout.write("x" * 100 + "\\n")

def some(state):
    for i in range(1000):
        print(i)
    return {"made": 1000}
"""


def attempt(script: str, **options: Any) -> dict[str, Any]:
    return harness.run(PRELUDE + script, deadline_seconds=30, **options).told


class TestReader:
    @pytest.mark.parametrize("portable", ["", "1"], ids=["fast", "portable"])
    def test_one_that_left_a_stranger_with_its_pipe_does_not_hold_up_the_others(self, portable: str) -> None:
        """It has ended; whoever it left in a session of its own holds its stdin and reads nothing."""
        told = attempt(
            """
def p(state):
    sys.stdout.write("x" * 5_000_000)
def leaves(state):
    sys.stdin.buffer.read(1)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            Path(os.environ["TEASTREAMS_SCENARIO_HISTORY"] + ".pid").write_text(str(os.getpid()))
            time.sleep(1000)
        os._exit(0)
    os.wait()
attempt(graph(p, leaves, cat, timeout=20))
os.kill(int(Path(os.environ["TEASTREAMS_SCENARIO_HISTORY"] + ".pid").read_text()), 9)""",
            environment={"TEASTREAMS_PORTABLE": portable},
        )

        assert told.get("state") == {"n": 5_000_000}


class TestProducer:
    @pytest.mark.parametrize("number", [6, 9, 11, 15])
    @pytest.mark.parametrize("reader", ["cat", "raw"])
    def test_killed_by_a_signal_is_the_cause_and_its_reader_is_not_merged(self, number: int, reader: str) -> None:
        """Whatever kills the producer, a reader that can be told is told, and one that cannot is tainted."""
        told = attempt(f"""
def p(state):
    some(state); sys.stdout.flush(); os.kill(os.getpid(), {number})
attempt(graph(p, {reader}))""")

        assert ("p", -number, ["c0"]) == (told["cause"], told["code"], told["others"])
        assert ("UpstreamFailed" if reader == "cat" else "did not notice") in told["texts"]["c0"]

    @pytest.mark.parametrize(
        ("body", "message", "code"),
        [
            ("os._exit(0)", "ended without a result, exit code 0", 0),
            ("sys.exit('said so')", "said so", 1),
            ("sys.exit(300)", "exit code 44", 44),
            ("raise KeyboardInterrupt", "", 1),
            ("raise GeneratorExit('no')", "no", 1),
            ("class E(BaseException): pass\n    raise E('own')", "own", 1),
            ("p(state)", "maximum recursion depth exceeded", 1),
        ],
    )
    def test_ways_to_end_badly_are_reported_not_propagated(self, body: str, message: str, code: int) -> None:
        """No way to leave a node reaches the caller raw, and status 0 without a result is no success."""
        told = attempt(f"def p(state):\n    {body}\nattempt(graph(p, cat))")

        assert ("p", code) == (told["cause"], told["code"])
        assert message in told["message"]

    def test_sys_exit_0_is_a_return(self) -> None:
        told = attempt("def p(state):\n    print('a'); sys.exit(0)\nattempt(graph(p, cat))")

        assert told["state"] == {"n": 2}

    def test_an_exception_that_cannot_be_printed_is_named(self) -> None:
        told = attempt("""
class E(Exception):
    def __str__(self): raise RuntimeError
def p(state): raise E()
attempt(graph(p, cat))""")

        assert (told["cause"], told["type"]) == ("p", "E")

    def test_a_result_that_cannot_be_sent_names_its_key(self) -> None:
        told = attempt("def p(state): return {'a': 1, 'bad': (i for i in [])}\nattempt(graph(p, cat))")

        assert (told["cause"], told["phase"]) == ("p", "result")
        assert "'bad' (generator)" in told["message"]

    @pytest.mark.parametrize(
        "how", ["raise ValueError('evil')", "import os; os.kill(os.getpid(), 9)", "import sys; sys.exit(3)"]
    )
    def test_a_result_that_is_evil_to_send_is_the_nodes_own_failure(self, how: str) -> None:
        """Error, crash and exit while pickling end the worker, not the run."""
        told = attempt(f"""
class Evil:
    def __reduce__(self): exec({how!r})
def p(state): return {{"bad": Evil()}}
attempt(graph(p, cat))""")

        assert told["cause"] == "p"

    @pytest.mark.parametrize("how", ["raise ValueError('evil')", "import sys; sys.exit(3)"])
    def test_a_result_that_is_evil_to_load_does_not_hurt_the_supervisor(self, how: str) -> None:
        told = attempt(f"""
class Evil:
    def __reduce__(self): return (exec, ({how!r},))
def p(state): return {{"bad": Evil()}}
attempt(graph(p, cat))""")

        assert (told["cause"], told["phase"]) == ("p", "result")

    def test_a_grandchild_that_escaped_and_keeps_the_pipe_is_the_producers_fault(self) -> None:
        """A process that left the group holds the write end: the reader is told after the drain time, not hung."""
        told = attempt("""
def p(state):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            Path(os.environ["TEASTREAMS_SCENARIO_HISTORY"] + ".pid").write_text(str(os.getpid()))
            time.sleep(1000)
        os._exit(0)
    os.wait(); print("hi")
attempt(graph(p, cat))
pid = int(Path(os.environ["TEASTREAMS_SCENARIO_HISTORY"] + ".pid").read_text())
os.kill(pid, 9)""")

        assert (told["cause"], told["others"]) == ("p", ["c0"])
        # The worker sees it on Linux; elsewhere the supervisor does, by the stream that does not end.
        assert "a process that it started " in told["message"]
        assert "wait for it, or give it another stdout" in told["message"]

    def test_a_child_that_still_writes_is_waited_for(self) -> None:
        """A program that the node did not wait for is not cut off."""
        told = attempt("""
def p(state):
    p.child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.05); print('late')"])
attempt(graph(p, cat, drain_seconds=30))""")

        assert told["state"] == {"n": 5}

    def test_a_child_that_never_ends_fails_its_node(self) -> None:
        told = attempt("""
def p(state):
    p.child = subprocess.Popen(["sleep", "1000"])
attempt(graph(p, cat))""")

        assert told["cause"] == "p"
        assert "wait for it" in told["message"]

    @pytest.mark.parametrize("portable", ["", "1"], ids=["fast", "portable"])
    @pytest.mark.parametrize("broadcast", [False, True], ids=["direct", "broadcast"])
    def test_what_a_shell_of_the_node_left_behind_is_waited_for(self, broadcast: bool, portable: str) -> None:
        """Its shell has ended, so the node knows nothing of it; the pipe tells, or who is left in the group."""
        told = attempt(
            f"""
def p(state):
    subprocess.run("(sleep 0.1; echo late) & echo early", shell=True)
attempt(graph(p, *[cat] * {1 + broadcast}, drain_seconds=30))""",
            environment={"TEASTREAMS_PORTABLE": portable},
        )

        assert told.get("state") == {"n": 11}

    @pytest.mark.parametrize("portable", ["", "1"], ids=["fast", "portable"])
    def test_and_fails_the_node_when_it_never_ends(self, portable: str) -> None:
        told = attempt(
            """
def p(state):
    subprocess.run("sleep 1000 & echo early", shell=True)
attempt(graph(p, cat, drain_seconds=0.2))""",
            environment={"TEASTREAMS_PORTABLE": portable},
        )

        assert (told["cause"], told["others"]) == ("p", ["c0"])
        assert "a process that it started still ran" in told["message"]

    @pytest.mark.parametrize("portable", ["", "1"], ids=["fast", "portable"])
    @pytest.mark.parametrize("broadcast", [False, True], ids=["direct", "broadcast"])
    def test_nobody_waits_for_what_cannot_write_there(self, broadcast: bool, portable: str) -> None:
        """Its output goes elsewhere, and the readers see the end of file; it is ended with the node."""
        told = attempt(
            f"""
def p(state):
    subprocess.run("sleep 1000 > /dev/null 2>&1 & echo early", shell=True)
attempt(graph(p, *[cat] * {1 + broadcast}, drain_seconds=25))""",
            environment={"TEASTREAMS_PORTABLE": portable},
        )

        assert (told.get("state"), told["seconds"] < 20) == ({"n": 6}, True)

    @pytest.mark.parametrize("portable", ["", "1"], ids=["fast", "portable"])
    def test_a_node_that_is_stopped_while_it_is_waited_for_has_not_returned(self, portable: str) -> None:
        """Its own time is over: whoever it left behind is cut off, and that is no good end."""
        told = attempt(
            """
def p(state):
    subprocess.run("sleep 1000 & echo early", shell=True)
streams = ts.StreamSettings(grace_seconds=0.2, drain_seconds=25)
g = ts.StateGraph(parallel_config=ts.ParallelConfig(strategy="process", streams=streams))
g.add_node("p", p, streams={"stdout": "x"}, timeout=0.5)
g.add_node("c0", cat, streams={"stdin": "x"})
g.set_entry_point("p")
attempt(g.compile())""",
            environment={"TEASTREAMS_PORTABLE": portable},
        )

        assert (told["cause"], told["phase"], told["others"]) == ("p", "timeout", ["c0"])
        assert told["seconds"] < 20

    @pytest.mark.parametrize("portable", ["", "1"], ids=["fast", "portable"])
    def test_a_node_that_raised_waits_for_nobody(self, portable: str) -> None:
        """Its stream is cut anyway: what it left behind is ended at once, well before `drain`."""
        told = attempt(
            """
def p(state):
    subprocess.run("sleep 1000 & echo early", shell=True)
    raise ValueError("no")
attempt(graph(p, cat, drain_seconds=25))""",
            environment={"TEASTREAMS_PORTABLE": portable},
        )

        assert (told["cause"], told["others"], told["seconds"] < 20) == ("p", ["c0"], True)

    def test_closing_all_three_descriptors_is_an_end_of_file_with_a_verdict(self) -> None:
        told = attempt("""
def p(state):
    print("x", flush=True)
    os.close(0); os.close(1); os.close(2)
    return {"fine": 1}
attempt(graph(p, cat))""")

        assert told["state"] == {"fine": 1, "n": 2}

    def test_closing_everything_ends_without_a_result(self) -> None:
        told = attempt("def p(state):\n    os.closerange(0, 300)\nattempt(graph(p, cat))")

        assert (told["cause"], told["others"]) == ("p", ["c0"])

    def test_a_thread_of_the_node_does_not_keep_the_run(self) -> None:
        told = attempt("""
def p(state):
    threading.Thread(target=time.sleep, args=(1000,)).start()
    print("a")
    return {"q": 1}
attempt(graph(p, cat))""")

        assert told["state"] == {"q": 1, "n": 2}

    def test_sigpipe_as_in_an_unaware_program_is_leaving_early(self) -> None:
        """A producer killed by SIGPIPE because its reader left ended well (L7)."""
        told = attempt("""
def p(state):
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    while True: os.write(1, b"x" * 1000)
def c(state):
    return {"got": len(sys.stdin.buffer.read(5))}
attempt(graph(p, c))""")

        assert told["state"] == {"got": 5}

    def test_sigpipe_from_elsewhere_is_a_failure(self) -> None:
        """The reader still reads: waiting for it to leave would be waiting for ever."""
        told = attempt("""
def p(state):
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    r, w = os.pipe(); os.close(r); os.write(w, b"x")
attempt(graph(p, cat))""")

        assert (told["cause"], told["code"]) == ("p", -13)


class TestConsumer:
    def test_killed_while_others_read_leaves_them_complete(self) -> None:
        told = attempt("""
def c(state):
    sys.stdin.readline(); os.kill(os.getpid(), 9)
def whole(state):
    n = cat(state)["n"]; tell(whole=n)
attempt(graph(some, c, whole))""")

        assert (told["cause"], told["others"], told["whole"]) == ("c0", [], 3890)

    def test_killed_under_an_endless_producer_ends_the_run(self) -> None:
        told = attempt("""
def c(state):
    sys.stdin.readline(); os.kill(os.getpid(), 9)
attempt(graph(endless, c))""")

        assert (told["cause"], told["others"]) == ("c0", ["p"])

    def test_all_of_a_broadcast_leaving_early_is_a_good_end(self) -> None:
        told = attempt("""
def c(state):
    return {"line": sys.stdin.readline()}
attempt(graph(endless, c, c, c))""")

        assert told["state"] == {"line": "x" * 100 + "\n"}

    @pytest.mark.parametrize("others", ["", ", cat"])
    def test_closing_descriptor_0_itself_is_leaving_early(self, others: str) -> None:
        """The other side of the pipe proves that it saw no end of file."""
        told = attempt(f"""
def c(state):
    os.read(0, 10); os.close(0)
    return {{"c": 1}}
attempt(graph({"some" if others else "endless"}, c{others}))""")

        assert told["state"]["c"] == 1

    def test_that_ignores_term_after_an_upstream_failure_is_killed(self) -> None:
        """Told, given the grace, asked, then forced: twice the grace at most."""
        told = attempt("""
def p(state):
    print("a", flush=True); raise ValueError("boom")
def c(state):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try: sys.stdin.read()
    except ts.UpstreamFailed: time.sleep(1000)
attempt(graph(p, c))""")

        assert (told["cause"], told["message"], told["others"]) == ("p", "boom", ["c0"])
        assert 0.4 <= told["seconds"] < 5

    def test_has_the_grace_to_clean_up_after_an_upstream_failure(self) -> None:
        told = attempt("""
def p(state):
    print("a", flush=True); raise ValueError("boom")
def c(state):
    try: sys.stdin.read()
    finally: tell(cleaned=True)
attempt(graph(p, c))""")

        assert (told["cause"], told["cleaned"]) == ("p", True)


class TestHost:
    def test_sigpipe_at_its_default_and_sigchld_ignored_are_put_back(self) -> None:
        """A write to a dead worker would kill such a host; its exit statuses would vanish."""
        told = attempt("""
signal.signal(signal.SIGPIPE, signal.SIG_DFL); signal.signal(signal.SIGCHLD, signal.SIG_IGN)
def c(state):
    sys.stdin.readline(); os.kill(os.getpid(), 9)
attempt(graph(endless, c))
with untouched():
    tell(again=graph(some, cat).run().state["n"])""")

        assert (told["cause"], told["code"], told["again"]) == ("c0", -9, 3890)

    def test_without_descriptors_0_1_and_2_runs(self) -> None:
        told = attempt("os.close(0); os.close(1); os.close(2)\nattempt(graph(some, cat))")

        assert told["state"] == {"made": 1000, "n": 3890}

    def test_without_a_sys_stdin_runs(self) -> None:
        told = attempt("sys.stdin = None\nattempt(graph(some, cat))")

        assert told["state"] == {"made": 1000, "n": 3890}

    def test_unflushed_output_is_written_once(self) -> None:
        """What the caller has printed and not flushed does not come out of every worker again."""
        ended = harness.run(PRELUDE + "print('once', end='')\nattempt(graph(some, cat, cat))")

        assert ended.stdout == "once"

    def test_with_many_descriptors_starts_quickly(self) -> None:
        """Closing foreign ends costs by what we own, not by what the limit allows."""
        told = attempt("""
import resource
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 9000), hard))
held = [os.open("/dev/null", os.O_RDONLY) for _ in range(min(hard, 9000) - 200)]
attempt(graph(some, cat))""")

        assert told["state"] == {"made": 1000, "n": 3890}
        assert told["seconds"] < 5

    def test_a_run_inside_a_node_is_an_ordinary_run(self) -> None:
        told = attempt("""
def p(state):
    inner = graph(some, cat).run()
    print(inner.state["n"])
    return {"inner": dict(inner.state)}
attempt(graph(p, cat))""")

        assert told["state"] == {"inner": {"made": 1000, "n": 3890}, "n": 5}


class TestTime:
    def test_a_section_past_its_timeout_says_who_waited_for_whom(self) -> None:
        told = attempt("def p(state): time.sleep(1000)\nattempt(graph(p, cat, timeout=0.3))")

        assert told["phase"] == "timeout"
        assert "'c0' waits for bytes of 'x' from 'p'" in told["message"]

    def test_a_stalled_section_says_who_waited_for_whom(self) -> None:
        told = attempt("""
def c(state):
    sys.stdin.readline(); time.sleep(1000)
attempt(graph(endless, c, stall_timeout=0.4))""")

        assert told["phase"] == "stall"
        assert "'p' waits for room in 'x', read by 'c0'" in told["message"]

    def test_bytes_moved_past_sys_stdout_are_no_stall(self) -> None:
        """A node that uses os.write is invisible to the gauges, not to the kernel's own figures."""
        if not harness.Path("/proc/self/io").exists():
            pytest.skip("only Linux counts them")
        told = attempt("""
def p(state):
    for _ in range(12):
        os.write(1, b"x" * 10); time.sleep(0.1)
attempt(graph(p, raw, stall_timeout=0.8))""")

        assert told["state"] == {"n": 120}

    def test_a_computing_consumer_after_the_end_of_its_input_is_no_stall(self) -> None:
        told = attempt("""
def c(state):
    n = cat(state)["n"]; time.sleep(0.6); return {"n": n}
attempt(graph(some, c, stall_timeout=0.2))""")

        assert told["state"]["n"] == 3890
