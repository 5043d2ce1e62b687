"""runtime/node/program.py: from a wired worker to a program, and what is told when that cannot be done.

The calls of the worker are replaced before its fork; whole programs are in tests/scenarios/test_commands.py.
"""

from __future__ import annotations

from typing import Any

import harness
import pytest

from teastreams.runtime.node.program import Program

PRELUDE = """
from teastreams.runtime import calls

def attempt(argv, **keys):
    graph = ts.StateGraph().add_node("a", command=argv, **keys)
    app = graph.set_entry_point("a").set_finish_point("a").compile()
    try:
        with untouched(): result = app.run(echo_output=False)
        tell(tail=result.nodes["a"].output_tail["stdout"])
    except ts.WorkflowFailed as failed:
        cause = failed.primary
        tell(phase=cause.phase, code=cause.exit_code, type=cause.error_type, message=cause.message)

def failing(call, error):
    def refuse(*_arguments): raise error
    setattr(calls.table, call, refuse)
"""


def attempt(script: str) -> dict[str, Any]:
    return harness.run(PRELUDE + script, deadline_seconds=30).told


def test_the_environment_is_the_callers_with_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """None removes a name, there or not."""
    monkeypatch.setenv("GONE", "1")
    monkeypatch.setenv("CHANGED", "old")
    environment = Program(("x",), {"GONE": None, "NEVER": None, "CHANGED": "new", "ADDED": ""}).environment()

    assert environment["PATH"]
    assert {name: environment.get(name) for name in ("GONE", "NEVER", "CHANGED", "ADDED")} == {
        "GONE": None,
        "NEVER": None,
        "CHANGED": "new",
        "ADDED": "",
    }


@pytest.mark.parametrize(
    ("call", "error", "code", "words"),
    [
        ("execvpe", "OSError(26, 'Text file busy')", 126, "the program 'echo' cannot be executed: Text file busy"),
        ("execvpe", "NotADirectoryError(20, 'Not a directory')", 127, "there is no program 'echo' on PATH"),
        ("execvpe", "MemoryError()", 1, ""),
        ("set_handler", "OSError(22, 'Invalid argument')", 126, "the program 'echo' cannot be executed: Invalid"),
    ],
)
def test_a_failed_start_is_told_by_the_worker_itself(call: str, error: str, code: int, words: str) -> None:
    """In the phase start, with the exit codes of a shell."""
    script = (
        f"failing({call!r}, {error})"
        if call == "execvpe"
        else f"""
real = calls.table.set_handler
def refuse(number, handler):
    if number == signal.SIGXFSZ and handler is signal.SIG_DFL: raise {error}
    return real(number, handler)
calls.table.set_handler = refuse
"""
    )
    told = attempt(script + "\nattempt(['echo', 'x'])")

    assert (told["phase"], told["code"], told["type"]) == ("start", code, error.split("(", maxsplit=1)[0])
    assert told["message"].startswith(words)


def test_an_exit_before_it_became_the_program_is_not_the_programs() -> None:
    """Code 0 would be a good end, of a program that has written everything."""
    told = attempt("""
calls.table.chdir = lambda folder: os._exit(0)
attempt(["echo", "x"], cwd="/")""")

    assert (told["phase"], told["message"].partition(",")[0]) == ("run", "ended without a result")


def test_a_descriptor_that_was_open_only_while_we_looked_is_passed_over() -> None:
    """Listing a folder opens one."""
    told = attempt("""
real = calls.table.listdir
calls.table.listdir = lambda folder: [*real(folder), *["999"] * folder.endswith("/fd")]
attempt(["echo", "x"])""")

    assert told["tail"] == "x"


def test_path_is_that_of_the_program(tmp_path: Any) -> None:
    """What `env` says about PATH is where it is looked for."""
    tool = tmp_path / "tool-of-this-test"
    tool.write_text("#!/bin/sh\necho found\n")
    tool.chmod(0o755)
    told = attempt(f"attempt(['tool-of-this-test'], env={{'PATH': {str(tmp_path)!r} + ':/bin:/usr/bin'}})")

    assert told["tail"] == "found"
