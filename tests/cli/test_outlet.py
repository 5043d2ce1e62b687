"""Results and events as text: always JSON, whole or not at all."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator, Mapping

import pytest

from teastreams.cli import outlet
from teastreams.core.events import BranchesFinished, NodeFinished, NodeStarted, Progress, StateChanged
from teastreams.core.merge import ParallelFlowResult
from teastreams.core.outcome import Status
from teastreams.engine.results import RunFinished, RunResult
from teastreams.errors import NodeError, WorkflowFailed
from teastreams.runtime.supervision.figures import NodeFigures


class Mute:
    def __str__(self) -> str:
        raise ValueError("I have no text")


class Table(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        return {"a": 1}[key]

    def __iter__(self) -> Iterator[str]:
        return iter(["a"])

    def __len__(self) -> int:
        return 1


@dataclass
class Point:
    x: int


def strict(text: str) -> Any:
    """Read JSON as the standard has it: without NaN and Infinity."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


KNOWN = {"n": None, "b": True, "i": 3, "f": 0.5, "s": "thé", "l": [1, (2,)], "d": {"a": {}}, 7: "seven"}


def test_what_json_knows_stays_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Tuples are lists and numbers as keys are texts, as everywhere; no note."""
    assert strict(outlet.state_as_json(KNOWN)) == {**json.loads(json.dumps(KNOWN))}
    assert capsys.readouterr().err == ""
    assert "thé" in outlet.state_as_json(KNOWN)


@pytest.mark.parametrize(
    ("value", "text", "kind"),
    [
        ({1}, "{1}", "set"),
        (b"x", "b'x'", "bytes"),
        (Point(1), "Point(x=1)", "Point"),
        (float("nan"), "nan", "float (nan)"),
        (float("-inf"), "-inf", "float (-inf)"),
        (Mute(), "<Mute, whose text cannot be had: ValueError>", "Mute"),
    ],
)
@pytest.mark.parametrize("deep", [False, True])
def test_what_json_does_not_know_is_text_with_a_note(
    value: Any, text: str, kind: str, deep: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """At the top and inside of lists; stderr names the type once."""
    shown = strict(outlet.state_as_json({"x": [{"y": value}, value] if deep else value}))
    assert shown == {"x": [{"y": text}, text] if deep else text}
    assert capsys.readouterr().err == f"note: values of type {kind} are no JSON and were written as text\n"


def test_keys_that_json_does_not_know_are_text_too(capsys: pytest.CaptureFixture[str]) -> None:
    """A tuple as a key does not cost the whole result."""
    assert strict(outlet.state_as_json({("a", 1): 1, "d": {b"k": 2}})) == {"('a', 1)": 1, "d": {"b'k'": 2}}
    assert capsys.readouterr().err == "note: values of type tuple, bytes are no JSON and were written as text\n"


def test_a_mapping_of_any_kind_is_an_object() -> None:
    """Such as a branch's result that a fan-in node put into the state."""
    result = ParallelFlowResult("b", True, {"n": 1})
    assert strict(outlet.state_as_json({"t": Table(), "r": result})) == {"t": {"a": 1}, "r": {"n": 1}}


def test_a_value_that_contains_itself_ends_in_text() -> None:
    """And one that only stands twice in the state is written twice."""
    circle: list[Any] = [1]
    circle.append(circle)
    twice = [2]
    assert strict(outlet.state_as_json({"c": circle, "t": [twice, twice]})) == {"c": [1, "[1, [...]]"], "t": [[2], [2]]}


@pytest.mark.parametrize("where", ["file", "stdout"])
def test_half_a_surrogate_pair_is_escaped(where: str, tmp_path: Path) -> None:
    """A file name that is no UTF-8 may be in the state; the result is UTF-8 all the same."""
    text = outlet.state_as_json({"name": "\udcff"})
    target = tmp_path / "out"
    if where == "file":
        outlet.write_result(text, str(target), io.StringIO())
    else:
        with target.open("w", encoding="utf-8", errors=outlet.ESCAPED) as stdout:
            outlet.write_result(text, None, stdout)
    assert strict(target.read_bytes().decode("utf-8")) == {"name": "\udcff"}


def test_a_result_that_cannot_be_put_in_place_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a part of it nor the file it was written to at first."""
    target = tmp_path / "out"
    target.write_text("old")
    monkeypatch.setattr(os, "replace", _no_space)
    with pytest.raises(outlet.CannotWrite, match="No space left on device"):
        outlet.write_result("{}", str(target), io.StringIO())
    assert ([path.name for path in tmp_path.iterdir()], target.read_text()) == (["out"], "old")


def _no_space(*_arguments: Any) -> None:
    raise OSError(28, "No space left on device")


def test_a_result_follows_a_symbolic_link(tmp_path: Path) -> None:
    """The link stays one."""
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    outlet.write_result("{}", str(tmp_path / "link"), io.StringIO())
    assert (tmp_path / "real").read_text() == "{}\n"
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_standard_stream_by_its_path_is_the_callers(name: str, tmp_path: Path) -> None:
    """Redirected to a file, too: that file stays, with all that was written to it before."""
    files = {each: (tmp_path / each).open("w+") for each in ("stdout", "stderr")}
    files[name].write("before\n")
    files[name].flush()
    script = (
        "import sys\nfrom teastreams.cli import outlet\n"
        "with outlet.stdout_aside() as real:\n"
        f"    outlet.write_result('{{}}', '/dev/{name}', real)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, **files)
    other = "stderr" if name == "stdout" else "stdout"
    assert ((tmp_path / name).read_text(), (tmp_path / other).read_text()) == ("before\n{}\n", "")
    for file in files.values():
        file.close()


def test_a_device_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    """A file in the place of a FIFO, or of /dev/null, would be a disaster."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert outlet.refused_path(str(fifo)) == ""
        outlet.write_result("{}", str(fifo), io.StringIO())
        assert os.read(reader, 10) == b"{}\n"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_a_path_is_refused_before_the_run_where_nothing_could_be_put(tmp_path: Path) -> None:
    """With the reason; a new name, an old file and no path at all are welcome."""
    (tmp_path / "old").touch()
    assert [outlet.refused_path(each) for each in (str(tmp_path / "new"), str(tmp_path / "old"), None)] == [""] * 3
    assert outlet.refused_path(str(tmp_path)) == "it is a folder"
    assert outlet.refused_path(str(tmp_path / "no" / "new")) == f"there is no folder {tmp_path / 'no'}"


class Gone(io.StringIO):
    def flush(self) -> None:
        raise BrokenPipeError


def test_events_after_the_reader_has_left_are_dropped() -> None:
    """The run goes on: the second event is not even tried."""
    stdout = Gone()
    log = outlet.EventLog("-", stdout)
    log.write(NodeFinished("a", "done", 0.5))
    log.write(NodeFinished("b", "done", 0.5))
    assert [strict(line)["node"] for line in stdout.getvalue().splitlines()] == ["a"]


def test_an_event_is_its_type_and_its_fields(tmp_path: Path) -> None:
    """Every line is there at once, readable while the run goes on; values inside too, whatever the state holds."""
    path = tmp_path / "events"
    log = outlet.EventLog(str(path), io.StringIO(), clock=iter([10.5, 11.25]).__next__)
    log.write(StateChanged("a", {"n": float("inf"), ("k",): Table()}))
    log.write(BranchesFinished("j", (ParallelFlowResult("b", False, {"n": 1}, "bad", "OSError"),)))
    first, second = map(strict, path.read_text().splitlines())
    log.close()
    state = {"n": "inf", "('k',)": {"a": 1}}
    assert first == {"seq": 1, "time": 10.5, "type": "StateChanged", "node": "a", "state": state}
    assert (second["seq"], second["time"]) == (2, 11.25)
    branch = second["results"][0]
    assert (branch["branch"], branch["success"], branch["state"], branch["error"]) == ("b", False, {"n": 1}, "bad")


def test_without_a_path_no_event_is_written() -> None:
    """Neither to stdout."""
    stdout = io.StringIO()
    log = outlet.EventLog(None, stdout)
    log.write(NodeFinished("a", "done", 0.5))
    log.close()
    assert (stdout.getvalue(), stdout.closed) == ("", False)


def test_progress_is_written_at_most_once_a_second() -> None:
    """However often a view looks; the first look of the next section is written again."""
    stdout = io.StringIO()
    log = outlet.EventLog("-", stdout)
    for seconds in (0.2, 0.4, 1.0, 1.15, 2.0, 2.06, 2.2, 0.2, 0.4):
        log.write(Progress(seconds, (), ()))
    assert [strict(line)["seconds"] for line in stdout.getvalue().splitlines()] == [0.2, 1.15, 2.06, 0.2]
    assert [strict(line)["seq"] for line in stdout.getvalue().splitlines()] == [1, 2, 3, 4]


def test_nobody_is_asked_for_progress_without_a_log() -> None:
    """A run that nobody watches must not wake up."""
    assert outlet.EventLog(None, io.StringIO()).progress_seconds is None
    assert outlet.EventLog("-", io.StringIO()).progress_seconds == 1.0


def test_what_ended_a_run_is_an_event() -> None:
    """The cause with its consequences, or the signal."""
    cause = NodeError("p", "run", "bad", error_type="OSError", exit_code=1)
    failed = outlet.failure_of(WorkflowFailed(cause, [NodeError("c", "upstream", "cut")]))
    assert failed == outlet.RunFailed("failed", "bad", "p", "run", "OSError", 1, ("c",))
    assert outlet.failure_of(KeyboardInterrupt()).kind == "interrupted"
    assert outlet.failure_of(BaseException()).kind == "terminated"
    assert outlet.failure_of(OSError("disk")) == outlet.RunFailed("error", "disk")


def test_a_status_is_written_as_the_word_that_events_use(tmp_path: Path) -> None:
    """`done`, not the name of a class of ours."""
    stdout = io.StringIO()
    outlet.EventLog("-", stdout).write(RunFinished(RunResult({}, {"a": NodeFigures(Status.DONE, 0.5)})))
    assert strict(stdout.getvalue())["result"]["nodes"]["a"]["status"] == "done"


def test_what_may_come_up_on_a_terminal(tmp_path: Path) -> None:
    """A terminal, and a pipe: who knows where its reader writes. A file and /dev/null never do."""
    terminal, pipe = os.openpty(), os.pipe()
    try:
        numbers = (
            terminal[1],
            pipe[1],
            os.open(tmp_path / "file", os.O_CREAT | os.O_WRONLY),
            os.open(os.devnull, os.O_WRONLY),
        )
        files = [os.fdopen(number, "w") for number in numbers]
        assert [outlet.may_reach_terminal(file) for file in files] == [True, True, False, False]
        for file in files:
            file.close()
    finally:
        os.close(terminal[0])
        os.close(pipe[0])


class Screen(io.StringIO):
    """A stderr that is a terminal, or not."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.mark.parametrize(
    ("terminal", "shown"),
    [(True, "bad \\x1b]0;renamed\\x07\n  line 2\n"), (False, "bad \x1b]0;renamed\x07\n  line 2\n")],
)
def test_a_message_cannot_drive_the_terminal_it_is_shown_on(
    terminal: bool, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text of an error may be a stranger's; its lines stay lines, and a file gets it as it is."""
    screen = Screen(terminal)
    monkeypatch.setattr("sys.stderr", screen)
    outlet.say("bad \x1b]0;renamed\x07\n  line 2")
    assert screen.getvalue() == shown


@pytest.mark.parametrize("put", ["result", "event"])
def test_a_result_on_a_terminal_cannot_drive_it_either(put: str) -> None:
    """JSON writes the first 32 characters as escapes, but not the controls from 0x80 on, nor marks of direction."""
    screen, pipe = Screen(True), Screen(False)
    for file in (screen, pipe):
        if put == "result":
            outlet.write_result(outlet.state_as_json({"k": "\x9b2J\u202e"}), None, file)
        else:
            outlet.EventLog("-", file).write(NodeStarted("\x9b2J\u202e", 1))
    assert "\x9b" not in screen.getvalue()
    assert "\\x9b2J\\u202e" in screen.getvalue()
    assert "\x9b2J\u202e" in pipe.getvalue()
