"""External programs as nodes: real ones, with what a shell habit expects of them.

Each script runs one line of nodes (Python functions and argument vectors, joined by channels) in an interpreter of its
own, on the fast and on the portable path.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import textwrap
import uuid
from pathlib import Path
from typing import Any

import harness
import pytest

SETUP = """
PYTHON = sys.executable

def graph_of(*nodes, last=None, config=None, **keys):
    "A line of nodes n0, n1, ...: functions or argument vectors. `keys` go to every program."
    graph = ts.StateGraph(parallel_config=config)
    names = [f"n{index}" for index in range(len(nodes))]
    for index, body in enumerate(nodes):
        streams = {"stdin": f"c{index - 1}"} if index else {}
        if index < len(nodes) - 1: streams["stdout"] = f"c{index}"
        elif last: streams.update(last)
        work = {"run": body} if callable(body) else {"command": body, **keys}
        graph.add_node(names[index], streams=streams or None, **work)
    for above, below in zip(names, names[1:]):
        graph.add_edge(above, below)
    return graph.set_entry_point("n0").set_finish_point(names[-1])

def run(*nodes, state=None, echo=False, **keys):
    with untouched():
        return graph_of(*nodes, **keys).compile().run(state or {}, echo_output=echo)

def failure(*nodes, **keys):
    try:
        result = run(*nodes, **keys)
    except ts.WorkflowFailed as failed:
        return failed
    raise AssertionError(f"it went well: {result.state}")

def told(failed):
    cause = failed.primary
    tell(node=cause.node, phase=cause.phase, code=cause.exit_code, message=cause.message, type=cause.error_type,
         tail=cause.stderr_tail, nodes=statuses(failed.result))

def statuses(result):
    return {name: each.status.name for name, each in result.nodes.items()}

def patient(seconds):
    return ts.ParallelConfig(strategy="process", streams=ts.StreamSettings(drain_seconds=seconds))

def text(state): return {"text": sys.stdin.read(), "seen": state.get("exit_code")}
def endless(state):
    while True: print("x" * 1000)
def dies(state):
    print("half", flush=True); raise ValueError("in the middle")
"""


@pytest.fixture(params=["fast", "portable"])
def path(request: pytest.FixtureRequest) -> dict[str, str]:
    """The environment of either path."""
    return {"TEASTREAMS_PORTABLE": "1" if request.param == "portable" else ""}


def run(script: str, **options: Any) -> harness.Ended:
    return harness.run(SETUP + textwrap.dedent(script), **options)


# -- how a program ends -------------------------------------------------------------------------------------------


def test_a_program_gives_its_exit_code_to_the_state_and_downstream_at_the_end(path: dict[str, str]) -> None:
    """Both for what runs after it and for who has read its stream to the end (L3)."""
    ended = run(
        """
        result = run(["sh", "-c", "echo out; exit 7"], text, ok_exit_codes=[7])
        tell(state=result.state, nodes=statuses(result), code=result.nodes["n0"].exit_code)
        """,
        environment=path,
    )
    assert ended.told == {
        "state": {"exit_code": 7, "text": "out\n", "seen": 7},
        "nodes": {"n0": "DONE", "n1": "DONE"},
        "code": 7,
    }


def test_grep_that_finds_nothing_is_well_where_1_is_allowed() -> None:
    """And a failure where it is not."""
    ended = run("""
        tell(allowed=run(["printf", "a\\nb\\n"], ["grep", "x"], ok_exit_codes=[0, 1]).state)
        told(failure(["printf", "a\\nb\\n"], ["grep", "x"]))
    """)
    assert ended.told["allowed"] == {"exit_code": 1}
    assert (ended.told["node"], ended.told["code"], ended.told["message"]) == ("n1", 1, "exit code 1")


def test_an_exit_code_is_told_with_the_last_lines_of_stderr(path: dict[str, str]) -> None:
    """And whoever reads its stream is told of the failure instead of the end."""
    ended = run("""told(failure(["sh", "-c", "echo out; echo why >&2; exit 3"], text))""", environment=path)
    assert ended.told == {
        "node": "n0",
        "phase": "run",
        "code": 3,
        "message": "exit code 3",
        "type": "ExitCode",
        "tail": "why",
        "nodes": {"n0": "FAILED", "n1": "CONSEQUENCE"},
    }


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGPIPE])
def test_a_signal_is_a_failure_by_its_number(number: int, path: dict[str, str]) -> None:
    """SIGPIPE as well, when somebody sent it and the stream is read."""
    ended = run(f"""told(failure(["sh", "-c", "echo half; kill -{int(number)} $$"], text))""", environment=path)
    name = signal.Signals(number).name
    said = ended.told["message"].split(",")[0]
    assert (ended.told["code"], said) == (-number, f"killed by signal {int(number)} ({name})")
    assert ended.told["nodes"] == {"n0": "FAILED", "n1": "CONSEQUENCE"}


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ('["no-such-program-here"]', 127, "there is no program 'no-such-program-here' on PATH; install it"),
        ('["./nowhere/x"]', 127, "there is no program './nowhere/x'; install it"),
        ('["./plain"]', 126, "the program './plain' cannot be executed: Permission denied"),
        ('["./script"]', 126, "the program './script' cannot be executed: its interpreter is missing"),
        ('["./words"]', 126, "the program './words' cannot be executed: Exec format error"),
        ('["echo", "{{ state.zero }}"]', 126, "the program 'echo' cannot be executed: embedded null byte"),
        ('["echo", "{{ state.huge }}"]', 126, "the program 'echo' cannot be executed: Argument list too long"),
    ],
)
def test_a_program_that_cannot_be_started(command: str, code: int, words: str, tmp_path: Path) -> None:
    """127 when there is none, 126 when it cannot be executed, as in a shell; phase start, and what to do."""
    (tmp_path / "plain").write_text("#!/bin/sh\n")
    (tmp_path / "script").write_text("#!/no/such/interpreter\n")
    (tmp_path / "words").write_text("just words\n")
    for name in ("script", "words"):
        (tmp_path / name).chmod(0o755)
    ended = run(f"""
        os.chdir({str(tmp_path)!r})
        told(failure({command}, text, state={{"zero": "a\\0b", "huge": "x" * 10_000_000}}))
    """)
    assert (ended.told["node"], ended.told["phase"], ended.told["code"]) == ("n0", "start", code)
    assert ended.told["message"].startswith(words)
    assert ended.told["nodes"] == {"n0": "FAILED", "n1": "CONSEQUENCE"}


def test_a_working_directory_that_cannot_be_entered_is_named() -> None:
    """It is not the program that is missing."""
    ended = run("""told(failure(["pwd"], cwd="/no/such/folder"))""")
    assert ended.told["message"].startswith("its working directory '/no/such/folder' cannot be entered: No such file")
    assert (ended.told["phase"], ended.told["code"]) == ("start", 126)


def test_a_key_that_the_state_does_not_have_fails_before_anything_starts() -> None:
    """Never an empty text."""
    ended = run("""told(failure(["touch", "{{ state.gone }}"], text, state={"here": 1}))""")
    assert ended.told["message"].startswith("`{{ state.gone }}` has no value: state holds here; put 'gone' there")
    assert (ended.told["phase"], ended.told["nodes"]) == ("start", {})


# -- the world of a program ---------------------------------------------------------------------------------------


def test_a_value_of_the_state_is_one_argument_whatever_is_in_it() -> None:
    """Blanks, quotes, newlines, dollars, braces, backslashes, nothing: no shell sees them, no template again."""
    values = ["a b", 'it\'s "quoted"', "two\nlines", "$HOME `id` ;rm", "{{ state.v0 }}", "\\n\t*", "", "-n", "grün"]
    ended = run(f"""
        values = {values!r}
        argv = [PYTHON, "-c", "import sys, json; json.dump(sys.argv[1:], sys.stdout)"]
        holes = ["{{{{ state.v%d }}}}" % number for number in range(len(values))]
        state = {{f"v{{number}}": value for number, value in enumerate(values)}}
        tell(got=json.loads(run([*argv, *holes, "<{{{{state.v0}}}}>"], text, state=state).state["text"]))
    """)
    assert ended.told["got"] == [*values, "<a b>"]


def test_env_adds_and_removes_and_cwd_is_where_it_runs(tmp_path: Path) -> None:
    """The rest of the environment is inherited, the caller's own stays as it is."""
    ended = run(
        f"""
        show = 'echo "$ADDED,$KEPT,${{REMOVED-none}},$(pwd)"'
        env = {{"ADDED": "{{{{ state.value }}}}", "REMOVED": None}}
        tell(got=run(["sh", "-c", show], text, state={{"value": "x y"}}, env=env, cwd={str(tmp_path)!r}).state["text"],
             mine=[os.environ.get("ADDED"), os.environ["REMOVED"]])
        """,
        environment={"KEPT": "kept", "REMOVED": "still here"},
    )
    assert ended.told == {"got": f"x y,kept,none,{tmp_path}\n", "mine": [None, "still here"]}


def test_signals_and_descriptors_are_as_a_shell_would_leave_them(path: dict[str, str]) -> None:
    """No mask, none of the usual signals ignored, 0 to 2, and of ours only the lifeline and the result pipe."""
    ended = run(
        """
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        stray = os.open(os.devnull, os.O_RDONLY); os.set_inheritable(stray, True)
        signals = run(["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"], text).state["text"].split()
        files = run(["ls", "-l", "/proc/self/fd"], text).state["text"].splitlines()[1:]
        tell(signals=signals[1::2], files=[[line[:3], *line.split(" ")[-3::2]] for line in files])
        """,
        environment=path,
    )
    blocked, ignored = (int(mask, 16) for mask in ended.told["signals"])
    names = ("HUP", "INT", "QUIT", "PIPE", "TERM", "CHLD", "XFSZ")
    usual = [signal.Signals[f"SIG{name}"] for name in names]
    assert (blocked, [number for number in usual if ignored >> (number - 1) & 1]) == (0, [])
    files = [(number, mode, target) for mode, number, target in ended.told["files"] if not target.endswith("/fd")]
    assert [number for number, _mode, _target in files[:3]] == ["0", "1", "2"]
    assert sorted((mode, target[:5]) for _number, mode, target in files[3:]) == [("l-w", "pipe:"), ("lr-", "pipe:")]


def test_a_program_has_its_stdin_when_the_caller_closed_his() -> None:
    """/dev/null on descriptor 0, not nothing: the first file it opened would be its stdin."""
    ended = run("""
        os.close(0)
        tell(got=graph_of(["sh", "-c", "readlink /proc/$$/fd/0"], text).compile().run().state["text"])
    """)
    assert ended.told["got"] == "/dev/null\n"


def test_a_python_node_hands_its_streams_to_the_programs_it_starts(path: dict[str, str]) -> None:
    """subprocess without arguments reads and writes the channels."""
    ended = run(
        """
        import subprocess
        def upper(state): subprocess.run(["tr", "a-z", "A-Z"], check=True)
        tell(state=run(["echo", "hello"], upper, text).state)
        """,
        environment=path,
    )
    assert ended.told["state"]["text"] == "HELLO\n"


# -- streams ------------------------------------------------------------------------------------------------------


def test_bytes_come_through_programs_whole(path: dict[str, str]) -> None:
    """gzip | gzip -d between two Python nodes."""
    ended = run(
        """
        def source(state):
            for block in stream("s", 5_000_000): sys.stdout.buffer.write(block)
        def check(state):
            return {"same": hashlib.sha256(sys.stdin.buffer.read()).hexdigest() == digest("s", 5_000_000)}
        tell(state=run(source, ["gzip", "-1"], ["gzip", "-dc"], check).state)
        """,
        environment=path,
    )
    assert ended.told["state"] == {"exit_code": 0, "same": True}


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ('endless, ["head", "-1"], text', ["STOPPED", "DONE", "DONE"]),
        ('["yes"], ["head", "-1"]', ["STOPPED", "DONE"]),
        ('["yes"], ["head", "-1"], ["cat"]', ["STOPPED", "DONE", "DONE"]),
        ('["yes"], ["cat"], ["cat"], ["head", "-1"]', ["STOPPED", "STOPPED", "STOPPED", "DONE"]),
        ('["bash", "-c", "yes | cat"], ["head", "-1"]', ["STOPPED", "DONE"]),
        ('["yes"], ["cat"], lambda state: {"one": sys.stdin.readline()}', ["STOPPED", "STOPPED", "DONE"]),
    ],
)
def test_leaving_early_is_not_an_error(nodes: str, expected: list[str], path: dict[str, str]) -> None:
    """`head` at the end and in the middle; SIGPIPE, also of a pipeline within a shell (L7)."""
    ended = run(f"tell(nodes=statuses(run({nodes})))", environment=path)
    assert list(ended.told["nodes"].values()) == expected


def test_a_program_that_fails_because_its_reader_left_has_failed_and_its_reader_has_not() -> None:
    """Its exit code says no more; `ok_exit_codes` can."""
    ended = run("""
        loud = [PYTHON, "-c", "while True: print('y' * 1000)"]
        told(failure(loud, ["head", "-1"]))
        tell(allowed=statuses(run(loud, ["head", "-1"], ok_exit_codes=[0, 1])))
    """)
    assert ended.told["nodes"] == {"n0": "FAILED", "n1": "DONE"}
    assert ended.told["allowed"] == {"n0": "DONE", "n1": "DONE"}


@pytest.mark.parametrize("producer", ["dies", '["sh", "-c", "echo half; exit 5"]'])
def test_a_program_that_took_a_cut_input_for_a_whole_one_is_tainted(producer: str, path: dict[str, str]) -> None:
    """It cannot be told (L2): it ended well by itself, and the run has failed all the same."""
    ended = run(f"""told(failure({producer}, ["cat"]))""", environment=path)
    assert (ended.told["node"], ended.told["nodes"]) == ("n0", {"n0": "FAILED", "n1": "TAINTED"})


def test_programs_write_and_read_a_broadcast(path: dict[str, str]) -> None:
    """As producer, as consumer that leaves early, as consumer that reads all."""
    ended = run(
        """
        def rest(state): return {"lines": sum(1 for _ in sys.stdin)}
        graph = ts.StateGraph()
        graph.add_node("p", command=["seq", "200000"], streams={"stdout": "x"})
        graph.add_node("head", command=["head", "-1"], streams={"stdin": "x"})
        graph.add_node("wc", command=["wc", "-l"], streams={"stdin": "x", "stdout": "y"})
        graph.add_node("c", command=["cat"], streams={"stdin": "y"})
        graph.add_node("rest", run=rest, streams={"stdin": "x"})
        graph.add_node("join", run=lambda state, parallel_results: {"lines": parallel_results["rest"]["lines"]})
        graph.set_entry_point("p")
        graph.add_parallel_edge("p", ["head", "wc", "rest"], fan_in="join", stream_mode="broadcast")
        graph.add_edge("wc", "c")
        graph.set_finish_point("join")
        with untouched():
            result = graph.compile().run({}, echo_output=False)
        tell(lines=result.state["lines"], nodes=statuses(result), tail=result.nodes["c"].output_tail)
        """,
        environment=path,
    )
    assert ended.told["lines"] == 200_000
    assert set(ended.told["nodes"].values()) == {"DONE"}
    assert ended.told["tail"]["stdout"].strip() == "200000"


# -- what a program leaves behind -----------------------------------------------------------------------------------


def test_what_a_program_started_is_waited_for(path: dict[str, str]) -> None:
    """A child in the background writes into the same stream: it belongs to it."""
    ended = run(
        """tell(state=run(["sh", "-c", "{ sleep 0.2; echo late; } & echo early"], text).state)""", environment=path
    )
    assert ended.told["state"]["text"] == "early\nlate\n"


@pytest.mark.parametrize("last", [0.05, 1000])
def test_so_is_one_that_kept_nothing_but_the_stream(last: float, path: dict[str, str]) -> None:
    """subprocess closes every other descriptor: the pipe itself tells, on the portable path the group."""
    script = f"""
        late = "import subprocess; subprocess.Popen(['sh', '-c', 'sleep {last}; echo late'], stderr=subprocess.DEVNULL)"
        try:
            tell(text=run([PYTHON, "-c", late], text, config=patient({5 if last < 1 else 0.2})).state["text"])
        except ts.WorkflowFailed as failed:
            told(failed)
    """
    ended = run(script, environment=path, deadline_seconds=20)
    assert ended.told.get("text", ended.told.get("nodes")) == (
        "late\n" if last < 1 else {"n0": "FAILED", "n1": "CONSEQUENCE"}
    )


def test_nobody_waits_for_a_silent_one_whose_reader_has_left(path: dict[str, str]) -> None:
    """It holds the stream, writes nothing, and would be waited for; but nobody reads there any more."""
    ended = run(
        """
        leave = "import subprocess; subprocess.Popen(['sleep', '1000'], stderr=subprocess.DEVNULL); print('x')"
        tell(nodes=statuses(run([PYTHON, "-c", leave], ["sh", "-c", "read line; sleep 0.2"], config=patient(100))))
        """,
        environment=path,
        deadline_seconds=20,
    )
    assert ended.told["nodes"] == {"n0": "DONE", "n1": "DONE"}


def test_so_is_a_process_substitution(tmp_path: Path) -> None:
    """bash does not wait for `>(gzip > file)`; the run does, and the file is whole when it ends."""
    out = tmp_path / "out.gz"
    ended = run(f"""
        import gzip
        result = run(["seq", "300000"], ["bash", "-c", "cat > >(gzip -1 > {out})"])
        tell(lines=gzip.open({str(out)!r}).read().count(b"\\n"), nodes=statuses(result))
    """)
    assert ended.told == {"lines": 300_000, "nodes": {"n0": "DONE", "n1": "DONE"}}


def test_what_is_left_behind_ends_when_its_reader_leaves(path: dict[str, str]) -> None:
    """By SIGPIPE, as the program itself would: nobody waits for `drain`."""
    ended = run(
        """tell(nodes=statuses(run(["sh", "-c", "yes &"], ["sh", "-c", "sleep 0.3; head -1"], config=patient(100))))""",
        environment=path,
        deadline_seconds=20,
    )
    assert ended.told["nodes"] == {"n0": "DONE", "n1": "DONE"}


def test_but_not_for_ever(path: dict[str, str]) -> None:
    """After `drain` it is ended, and the program has failed: what it wrote may not be all."""
    ended = run(
        """told(failure(["sh", "-c", "sleep 100 & echo x"], text, config=patient(0.2)))""",
        environment=path,
        deadline_seconds=20,
    )
    assert ended.told["message"].startswith("it returned, but a process that it started still ran")
    assert ended.told["nodes"] == {"n0": "FAILED", "n1": "CONSEQUENCE"}


def test_a_stop_does_not_wait_for_what_was_left_behind() -> None:
    """The neighbour fails while a left child is waited for: everything ends at once, well before `drain`."""
    ended = run(
        """
        def fails(state):
            sys.stdin.readline(); raise ValueError("enough")
        told(failure(["sh", "-c", "sleep 100 & echo x"], fails, config=ts.ParallelConfig(
            strategy="process", streams=ts.StreamSettings(drain_seconds=60, grace_seconds=0.2))))
        """,
        deadline_seconds=20,
    )
    assert (ended.told["node"], ended.told["message"]) == ("n1", "enough")


def test_a_program_past_its_time_is_ended_with_its_children(path: dict[str, str]) -> None:
    """Phase timeout; the harness sees that nothing outlives the run."""
    ended = run(
        """
        graph = ts.StateGraph()
        graph.add_node("slow", command=["sh", "-c", "sleep 100 & sleep 100"], timeout=0.3)
        graph.set_entry_point("slow").set_finish_point("slow")
        try:
            with untouched(): graph.compile().run()
        except ts.WorkflowFailed as failed: told(failed)
        """,
        environment=path,
        deadline_seconds=20,
    )
    assert (ended.told["phase"], ended.told["code"]) == ("timeout", -1)


def test_a_program_that_ignores_the_request_to_end_is_forced_to() -> None:
    """TERM, the grace, KILL: also when it was told to go because its neighbour failed."""
    ended = run(
        """
        def fails(state):
            sys.stdin.readline(); raise ValueError("enough")
        told(failure(["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done"], fails, config=
             ts.ParallelConfig(strategy="process", streams=ts.StreamSettings(grace_seconds=0.2))))
        """,
        deadline_seconds=20,
    )
    assert (ended.told["node"], ended.told["nodes"]) == ("n1", {"n0": "CANCELLED", "n1": "FAILED"})


@pytest.mark.parametrize("portable", ["", "1"])
def test_a_killed_supervisor_takes_a_program_and_its_children_along(portable: str) -> None:
    """The lifeline is inherited: nobody has to be there any more to end them."""
    tag = uuid.uuid4().hex
    script = SETUP + (
        'graph_of(["sh", "-c", "sleep 100 & echo up >&2; sleep 100"]).compile().run()\n'  # echoed on our stderr
    )
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-W", "error", "-c", "from inside import *\n" + script]
        process = harness.start(command, tag, Path(folder, "history"), {"TEASTREAMS_PORTABLE": portable})
        assert process.stderr is not None
        assert process.stderr.readline() == b"[n0] up\n"
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=20)
        assert harness.wait_gone(tag) == []
