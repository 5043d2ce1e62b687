"""The command line as a user meets it: real processes, their exit codes, and what stands on stdout and on stderr."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import tempfile
import textwrap
import uuid
from pathlib import Path
from typing import Any

import harness
import pytest

TEASTREAMS = [sys.executable, "-W", "error", "-m", "teastreams"]
STREAMS = "settings: {parallel: {strategy: process, streams: {enabled: true}}}\n"
LIMITED = "settings: {{parallel: {{strategy: process, streams: {{enabled: true, {}}}}}}}\n"


def plain(code: str, **keys: str) -> str:
    """A document of one plain node `a` with this code."""
    more = "".join(f"    {key}: {value}\n" for key, value in keys.items())
    block = textwrap.indent(textwrap.dedent(code).strip(), " " * 6)
    return (
        f"nodes:\n  - name: a\n{more}    run: |\n{block}\n"
        "edges:\n  - {from: __start__, to: a}\n  - {from: a, to: __end__}\n"
    )


COUNT = 'import sys\nreturn {"lines": len(sys.stdin.readlines())}'


def piped(producer: str, consumer: str = COUNT, head: str = STREAMS) -> str:
    """A document of two nodes, `p` streaming to `c`."""
    p, c = (textwrap.indent(textwrap.dedent(code).strip(), " " * 6) for code in (producer, consumer))
    return head + (
        f"nodes:\n  - name: p\n    streams: {{stdout: x}}\n    run: |\n{p}\n"
        f"  - name: c\n    streams: {{stdin: x}}\n    run: |\n{c}\n"
        "edges:\n  - {from: __start__, to: p}\n  - {from: p, to: c}\n  - {from: c, to: __end__}\n"
    )


@pytest.fixture
def document(tmp_path: Path) -> Any:
    """Writes a text to a file and gives its name."""

    def write(text: str) -> str:
        path = tmp_path / "w.yaml"
        path.write_text(text)
        return str(path)

    return write


def run(*words: str, expect: int = 0, **options: Any) -> harness.Ended:
    return harness.run_command([*TEASTREAMS, *words], expect=expect, **options)


def shell(line: str, *words: str, expect: int = 0, **options: Any) -> harness.Ended:
    """The command line within a line of shell, where it is `"$@"`."""
    command = ["bash", "-o", "pipefail", "-c", line, "bash", *TEASTREAMS, *words]
    return harness.run_command(command, expect=expect, **options)


def signalled(number: int, *words: str) -> harness.Ended:
    """Send a signal once a node says "up" on stderr."""
    tag = uuid.uuid4().hex
    with tempfile.TemporaryDirectory() as folder:
        process = harness.start([*TEASTREAMS, *words], tag, Path(folder, "history"))
        assert process.stderr is not None
        before = b""
        while b"up\n" not in before:
            line = process.stderr.readline()
            assert line, before.decode()
            before += line
        os.kill(process.pid, number)
        out, err = process.communicate(timeout=30)
        assert harness.wait_gone(tag) == []
    return harness.Ended(process.returncode, out.decode(), (before + err).decode())


# -- how it ends ------------------------------------------------------------------------------------------------------


def test_a_finished_run_is_0_and_its_state_is_the_only_thing_on_stdout(document: Any) -> None:
    """One JSON object."""
    ended = run("run", document(plain('return {"n": 1}')))
    assert (json.loads(ended.stdout), ended.stderr) == ({"n": 1}, "")


def test_a_failed_node_is_1(document: Any) -> None:
    """No half result on stdout; who, in which line of the document, and what on stderr."""
    ended = run("run", document(plain('state["half"] = 1\nraise KeyError("gone")')), expect=1)
    assert ended.stdout == ""
    assert ended.stderr.startswith("teastreams: node 'a' failed (run): KeyError: 'gone'\n")
    assert 'w.yaml", line 5, in run' in ended.stderr


def test_a_node_that_leaves_by_an_exit_code_of_ours_is_still_a_failed_node(document: Any) -> None:
    """sys.exit(3) in a node does not look like a pause."""
    assert run("run", document(plain("import sys\nsys.exit(3)")), expect=1).stdout == ""


def test_an_invalid_workflow_is_2_with_all_its_problems_at_once(document: Any) -> None:
    """Each as file:line:column, in the order of the document, from `run` as from `validate`; nothing ran."""
    text = plain("open('ran', 'w')").replace("    run:", "    rum: 1\n    run:").replace("to: __end__", "to: nowhere")
    name = document(text)
    validated, ran = (run(command, name, expect=2, cwd=Path(name).parent) for command in ("validate", "run"))
    assert validated.stderr == ran.stderr
    assert (validated.stdout, ran.stdout) == ("", "")
    places = [line.split(": ")[0] for line in ran.stderr.splitlines() if line.startswith(name)]
    assert places == [f"{name}:3:5", f"{name}:8:19"]
    assert "rum" in ran.stderr
    assert "nowhere" in ran.stderr
    assert not Path(name).with_name("ran").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "COMMAND"),
        (("walk", "w.yaml"), "invalid choice: 'walk'"),
        (("run",), "FILE"),
        (("run", "absent.yaml"), "absent.yaml"),
        (("run", "w.yaml", "--timeout", "soon"), "not 'soon'"),
        (("run", "w.yaml", "--timeout", "0"), "not '0'"),
        (("run", "w.yaml", "--timeout", "1e12"), "at most"),
        (("run", "w.yaml", "--input", "[1]"), "--input must be a JSON object, this is a list"),
        (("run", "w.yaml", "--input", "{"), "--input is no JSON"),
        (("run", "w.yaml", "--input", "@absent.json"), "absent.json"),
        (("run", "w.yaml", "--set", "x"), "--set 'x': write it as KEY=VALUE"),
        (("run", "w.yaml", "--output", "absent/result"), "there is no folder"),
        (("run", "w.yaml", "--events", "absent/events"), "there is no folder"),
        (("run", "w.yaml", "--output", "."), "it is a folder"),
        (("resume", "w.yaml"), "resume needs --checkpoint DB"),
        (("resume", "w.yaml", "--checkpoint", "absent.db"), "absent.db"),
    ],
)
def test_misuse_is_2_and_runs_nothing(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    """What cannot be used is named, before a node has run and not after an hour of work."""
    (tmp_path / "w.yaml").write_text(plain("open('ran', 'w')"))
    ended = run(*words, expect=2, cwd=tmp_path)
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
    assert (ended.stdout, [path.name for path in tmp_path.iterdir()]) == ("", ["w.yaml"])


def test_a_pause_that_could_not_be_resumed_is_refused(document: Any) -> None:
    """Before the first node runs, with the option to add."""
    ended = run("run", document(plain("raise OSError", interrupt_after="true")), expect=2)
    assert ended.stderr == "the run will pause at 'a' and could not be resumed; add --checkpoint DB\n"


def test_a_pause_is_3_and_the_printed_command_goes_on_when_pasted_into_a_shell(document: Any, tmp_path: Path) -> None:
    """Names with blanks and quotes included; nothing runs twice."""
    code = 'open("log", "a").write("ran ")\nreturn {"n": state["n"] + 1}'
    name = document(plain(code, interrupt_after="true"))
    keep = str(tmp_path / "it's kept.db")
    paused = run("run", name, "--set", "n=1", "--checkpoint", keep, expect=3, cwd=tmp_path)
    assert paused.stdout == ""
    line = paused.stderr.splitlines()[-1]
    assert shlex.split(line)[4] == name
    here = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}  # as in an activated environment
    resumed = harness.run_command(["bash", "-c", line], cwd=tmp_path, environment=here)
    assert json.loads(resumed.stdout) == {"n": 2}
    assert (tmp_path / "log").read_text() == "ran "


STUCK = 'import sys, time\nprint("up", file=sys.stderr, flush=True)\ntime.sleep(1000)'


@pytest.mark.slow
@pytest.mark.parametrize("text", [plain(STUCK), piped(STUCK)], ids=["plain node", "section"])
def test_a_run_past_its_timeout_is_5(text: str, document: Any) -> None:
    """The node that hangs was at work, and is ended."""
    ended = run("run", document(text), "--timeout", "1.2", expect=5)
    assert "up\n" in ended.stderr
    assert ended.stderr.endswith("teastreams: timed out after 1.2 s; every node was ended in order\n")
    assert (ended.stdout, 1.2 <= ended.seconds < 20) == ("", True)


@pytest.mark.parametrize(("setting", "phase"), [("timeout: 0.2", "timeout"), ("stall_timeout: 0.2", "stall")])
def test_a_section_past_its_own_limits_is_5(setting: str, phase: str, document: Any) -> None:
    """By the settings of the document, without an option."""
    ended = run("run", document(piped(STUCK, head=LIMITED.format(setting))), expect=5)
    assert f"({phase})" in ended.stderr


def test_a_run_within_its_timeout_is_not_disturbed_by_it(document: Any) -> None:
    """The clock is stopped with the run."""
    assert json.loads(run("run", document(piped("print(1)")), "--timeout", "60").stdout) == {"lines": 1}


def test_a_machine_without_room_is_75(document: Any) -> None:
    """Too few descriptors: a word about the limit, nothing started."""
    ended = shell('ulimit -n 40; "$@"', "run", document(piped(STUCK)), expect=75)
    assert ended.stderr.startswith("teastreams: not enough file descriptors")
    assert "up" not in ended.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full is /dev/full, on Linux")
@pytest.mark.parametrize("line", ['"$@" >/dev/full', '"$@" --output /dev/full', '"$@" --events /dev/full'])
def test_a_full_disk_is_75(line: str, document: Any) -> None:
    """Wherever data goes; the result is not said to be there."""
    ended = shell(line, "run", document(plain("return {}")), expect=75)
    assert "cannot be written" in ended.stderr
    assert "No space left on device" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
@pytest.mark.parametrize("text", [plain(STUCK), piped(STUCK)], ids=["plain node", "section"])
def test_a_signal_is_128_and_its_number_after_an_ordered_stop(
    number: int, code: int, word: str, text: str, document: Any
) -> None:
    """An exit code, not a death by the signal; no process is left, nothing is on stdout."""
    ended = signalled(number, "run", document(text))
    assert (ended.exit_code, ended.stdout) == (code, "")
    assert ended.stderr.endswith(f"teastreams: {word}; every node was ended in order\n")
    assert "Traceback" not in ended.stderr


# -- what it prints ---------------------------------------------------------------------------------------------------

LOUD = """
import os, subprocess, sys
print("printed")
os.write(1, b"written\\n")
subprocess.run(["echo", "echoed"], check=True)
return {"done": True}
"""


def test_whatever_a_plain_node_prints_stays_out_of_the_result(document: Any) -> None:
    """By print, straight to descriptor 1, by a program of its own: all of it is on stderr."""
    ended = run("run", document(plain(LOUD)))
    assert json.loads(ended.stdout) == {"done": True}
    assert sorted(ended.stderr.split()) == ["echoed", "printed", "written"]


def test_whatever_a_stream_node_prints_stays_out_of_the_result(document: Any) -> None:
    """What is no channel comes line by line on stderr, with the node's name."""
    ended = run("run", document(piped("print(1)", LOUD)))
    assert json.loads(ended.stdout) == {"done": True}
    assert sorted(ended.stderr.splitlines()) == ["[c] echoed", "[c] printed", "[c] written"]


def test_quiet_hides_the_output_of_nodes_and_not_the_error(document: Any) -> None:
    """-q; the failure is still told."""
    text = piped("print(1)", 'import sys\nprint("talk")\nsys.stdin.read()\nraise OSError("bad")')
    assert "[c] talk" in run("run", document(text), expect=1).stderr
    quiet = run("run", document(text), "-q", expect=1).stderr
    assert "[c] talk" not in quiet
    assert "OSError: bad" in quiet


def test_verbose_ends_with_the_figures_of_nodes_and_channels(document: Any) -> None:
    """-v, on stderr; the result is as without it."""
    ended = run("run", document(piped('print("four")')), "-v")
    assert json.loads(ended.stdout) == {"lines": 1}
    words = [line.split() for line in ended.stderr.splitlines()]
    assert [row[:2] for row in words[1:3]] == [["p", "done"], ["c", "done"]]
    assert words[5][:6] == ["x", "from", "p", "5", "B", "1"]
    assert words[6][:5] == ["to", "c", "5", "B", "1"]


def test_verbose_shows_the_figures_of_a_failed_run_too(document: Any) -> None:
    """Before the error, which stays the last word."""
    ended = run("run", document(piped("print(1)", "raise OSError('bad')")), "-v", expect=1)
    assert ended.stderr.index("c     failed") < ended.stderr.index("node 'c' failed (run): OSError: bad")


@pytest.mark.parametrize("choice", ["auto", "off", "plain"])
def test_progress_is_lines_on_stderr_when_asked_for(choice: str, document: Any) -> None:
    """`auto` is silent where nobody sits at a terminal."""
    ended = run("run", document(plain("return {}")), "--progress", choice)
    lines = [line.split(" after")[0] for line in ended.stderr.splitlines()]
    assert lines == (["a: started", "a: done"] if choice == "plain" else [])


def test_validate_says_so_and_executes_nothing_of_a_hostile_file(document: Any, tmp_path: Path) -> None:
    """Neither the body of a node, nor a default value in it, nor a YAML tag, nor something in braces."""
    evil = f'open({str(tmp_path / "ran")!r}, "w")'
    body = plain(f"def f(x={evil}): pass\n{evil}\nreturn {{}}")
    name = document(f"description: >-\n  {{{{ {evil} }}}}\n{body}")
    assert run("validate", name).stdout == f"{name}: valid, 1 nodes\n"
    tagged = document("x: !!python/object/apply:os.system ['touch ran']\n" + plain("return {}"))
    assert "w.yaml:1:4: " in run("validate", tagged, expect=2, cwd=tmp_path).stderr
    assert not (tmp_path / "ran").exists()


# -- the state that goes in, and where the one that comes out goes ----------------------------------------------------

GIVEN = plain("return {}")


@pytest.mark.parametrize(
    ("words", "stdin"),
    [
        (("--input", '{"é": [1], "n": 2}'), b""),
        (("--input", "@in.json"), b""),
        (("--input", "-"), '{"é": [1], "n": 2}'.encode()),
        (("--input", '{"n": 1}', "--set", "é=[1]", "--set", "n=2"), b""),
    ],
)
def test_the_state_comes_from_the_command_line(
    words: tuple[str, ...], stdin: bytes, document: Any, tmp_path: Path
) -> None:
    """As JSON, from a file, from stdin, key by key; UTF-8 whatever the terminal's encoding is."""
    (tmp_path / "in.json").write_text('{"é": [1], "n": 2}', encoding="utf-8")
    plain_locale = {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "latin-1"}
    ended = run("run", document(GIVEN), *words, stdin=stdin, cwd=tmp_path, environment=plain_locale)
    assert json.loads(ended.stdout) == {"é": [1], "n": 2}


def test_the_result_goes_to_a_file_instead_of_stdout(document: Any, tmp_path: Path) -> None:
    """In the place of what was there; no other file is left beside it."""
    target = tmp_path / "result.json"
    target.write_text("old")
    ended = run("run", document(plain('return {"n": 1}')), "--output", str(target))
    assert (ended.stdout, json.loads(target.read_text())) == ("", {"n": 1})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["result.json", "w.yaml"]


def test_a_failed_run_leaves_the_file_as_it_was(document: Any, tmp_path: Path) -> None:
    """The last good result is not replaced by a bad one."""
    target = tmp_path / "result.json"
    target.write_text("old")
    run("run", document(plain("raise OSError")), "--output", str(target), expect=1)
    assert target.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["result.json", "w.yaml"]


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_events_go_to_a_file_one_json_line_each(document: Any, tmp_path: Path) -> None:
    """The result stays on stdout."""
    log = tmp_path / "events"
    ended = run("run", document(piped("print(1)")), "--events", str(log))
    types = [line["type"] for line in lines_of(log.read_text())]
    assert json.loads(ended.stdout) == {"lines": 1}
    assert (types[-1], types.count("NodeStarted"), types.count("NodeFinished")) == ("RunFinished", 2, 2)


def test_events_on_stdout_end_with_the_result(document: Any) -> None:
    """Nothing but JSON lines there: the last one carries the state."""
    ended = run("run", document(piped("print(1)", LOUD)), "--events", "-")
    assert lines_of(ended.stdout)[-1]["result"]["state"] == {"done": True}


def test_a_failed_run_has_its_events_and_the_failure(document: Any, tmp_path: Path) -> None:
    """Each line was there when it happened, numbered; the last one names the cause."""
    log = tmp_path / "events"
    run("run", document(plain("raise OSError('bad')")), "--events", str(log), expect=1)
    *before, end, last = lines_of(log.read_text())
    assert (end["type"], end["node"], end["status"]) == ("NodeFinished", "a", "failed")
    assert (last["type"], last["kind"], last["node"], last["message"]) == ("RunFailed", "failed", "a", "bad")
    assert last["result"]["status"] == "failed"
    assert [line["seq"] for line in (*before, end, last)] == list(range(1, len(before) + 3))


def test_a_run_that_was_terminated_says_so_in_its_events(document: Any, tmp_path: Path) -> None:
    """The last line is there although nobody is left to ask."""
    log = tmp_path / "events"
    text = document(plain("import os, signal\nos.kill(os.getpid(), signal.SIGTERM)"))
    run("run", text, "--events", str(log), expect=143)
    assert [lines_of(log.read_text())[-1][key] for key in ("type", "kind")] == ["RunFailed", "terminated"]


@pytest.mark.parametrize(
    ("words", "mark"), [(("run",), "ran"), (("run", "--events", "-"), "ran"), (("validate",), "w.yaml")]
)
def test_a_reader_of_stdout_that_has_left_is_no_error(
    words: tuple[str, ...], mark: str, document: Any, tmp_path: Path
) -> None:
    """The command, which starts when the reader has gone, comes to its good end, and nobody complains."""
    name = document(plain('import pathlib\npathlib.Path("ran").touch()\nreturn {}'))
    line = 'mkfifo go; { read -r <go; "$@"; } | { exec <&-; echo >go; }'
    assert shell(line, words[0], name, *words[1:], cwd=tmp_path).stderr == ""
    assert (tmp_path / mark).exists()


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("text", [plain(LOUD), piped("print(1)", LOUD)], ids=["plain node", "section"])
def test_closed_standard_descriptors_hurt_nobody(closed: str, text: str, document: Any, tmp_path: Path) -> None:
    """A shell may close any of them: no file of ours takes its number, and the result still comes where it can."""
    log = tmp_path / "events"
    ended = shell(f'"$@" {closed}', "run", document(text), "--events", str(log))
    assert lines_of(log.read_text())[-1]["result"]["state"] == {"done": True}
    assert ended.stdout == "" if ">&-" in closed.split() else json.loads(ended.stdout) == {"done": True}
    assert "Traceback" not in ended.stderr


def test_the_version_is_told() -> None:
    """The one of the installed package, or that it is not installed."""
    assert run("--version").stdout.startswith("teastreams ")
