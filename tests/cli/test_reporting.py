"""cli/reporting.py: what is said on stderr, by whom, and how often anybody wants to know."""

from __future__ import annotations

import dataclasses
import os
import typing
from pathlib import Path
from typing import Any

import pytest

from teastreams.cli import outlet, reporting
from teastreams.cli.board import Snapshot
from teastreams.core.events import (
    ChannelProgress,
    ConsumerProgress,
    NodeFinished,
    NodeOutput,
    NodeProgress,
    NodeStarted,
    Progress,
    RunEvent,
    SectionStarted,
    Waiting,
    Warned,
)
from teastreams.engine.results import RunFinished, RunResult
from teastreams.runtime.supervision import sampling
from teastreams.runtime.supervision.figures import ChannelFigures, ConsumerFigures, NodeFigures

WITHOUT: dict[str, str] = {}
XTERM = {"TERM": "xterm"}


@pytest.mark.parametrize(
    ("choice", "quiet", "terminal", "environment", "kind", "seconds"),
    [
        ("auto", False, True, XTERM, "Live", 0.2),
        ("auto", False, True, {**XTERM, "CI": "1"}, "Lines", 10.0),
        ("auto", False, True, {"TERM": "dumb"}, "Lines", 10.0),
        ("auto", False, True, WITHOUT, "Lines", 10.0),
        ("auto", False, False, XTERM, "Lines", None),
        ("plain", False, True, XTERM, "Lines", 10.0),
        ("plain", False, False, XTERM, "Lines", 10.0),
        ("off", False, True, XTERM, "Lines", None),
        ("auto", True, True, XTERM, "Quiet", None),
        ("plain", True, True, XTERM, "Quiet", None),
    ],
)
def test_who_reports(
    choice: str, quiet: bool, terminal: bool, environment: Any, kind: str, seconds: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A view where it can be drawn and is seen, lines where it was asked for; nobody is asked where nobody watches."""
    monkeypatch.setattr(os, "isatty", lambda fd: terminal and fd == 2)
    made = reporting.reporter(choice, quiet, environment)
    assert (type(made).__name__, made.progress_seconds) == (kind, seconds)


def test_beside_others_on_the_terminal_nothing_is_redrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their lines would be written over; who asks for lines gets them."""
    monkeypatch.setattr(os, "isatty", lambda _fd: True)
    made = reporting.reporter("auto", False, XTERM, alone=False)
    assert (type(made).__name__, made.progress_seconds) == ("Lines", None)
    assert reporting.reporter("plain", False, XTERM, alone=False).progress_seconds == 10.0


def said(reporter: reporting.Reporter, capsys: pytest.CaptureFixture[str], *events: Any) -> list[str]:
    for event in events:
        reporter.show(event)
    reporter.close()
    return capsys.readouterr().err.splitlines()


EVENTS = (
    SectionStarted(("a",)),
    NodeStarted("a", 7),
    NodeStarted("b"),
    NodeOutput("a", "stderr", "x\x1b[2J"),
    Warned("careful"),
    NodeFinished("a", "done", 0.5),
)


def test_lines_of_a_person_who_wants_progress(capsys: pytest.CaptureFixture[str]) -> None:
    """On a terminal no escape sequence of a node acts."""
    assert said(reporting.Lines(True, True), capsys, *EVENTS) == [
        "a: started (pid 7)",
        "b: started",
        "[a] x\\x1b[2J",
        "teastreams: careful",
        "a: done after 0.50 s",
    ]


def test_a_file_gets_the_output_of_nodes_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing else but warnings, without progress."""
    assert said(reporting.Lines(False, False), capsys, *EVENTS) == ["[a] x\x1b[2J", "teastreams: careful"]
    assert said(reporting.Quiet(), capsys, *EVENTS) == []


def at(seconds: float, written: int) -> Progress:
    readers = (ConsumerProgress("c", 5, "node", 2048), ConsumerProgress("d", 5, "node", 0))
    return Progress(seconds, (), (ChannelProgress("x", "p", written, "node", readers),))


def test_plain_progress_is_a_line_for_each_channel_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    """However often somebody else wants to look: every ten seconds, not at once."""
    looks = [at(seconds / 2, seconds << 20) for seconds in range(1, 50)]
    assert said(reporting.Lines(True, False), capsys, *looks) == [
        "x: 18.0 MiB after 9.00 s, 2.00 MiB/s; c 2.00 KiB behind",
        "x: 36.0 MiB after 18.0 s, 2.00 MiB/s; c 2.00 KiB behind",
    ]
    assert said(reporting.Lines(False, False), capsys, *looks) == []


def test_a_channel_that_is_done_is_not_told_again() -> None:
    done = ChannelProgress("x", "p", 5, "node", (ConsumerProgress("c", 5, "node", done=True),))
    unknown = ChannelProgress("y", "p", 0, "unknown", (ConsumerProgress("c", 5, "unknown"),))
    snapshot = Snapshot(Progress(3.0, (), (done, unknown)), {("y", ""): 0.0})
    assert reporting.progress_lines(snapshot) == ["y: ? after 3.00 s"]


# -- the page about it ------------------------------------------------------------------------------------------------

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "watching.md").read_text("utf-8")
INSIDE = [NodeProgress, ChannelProgress, ConsumerProgress, RunResult, NodeFigures, ChannelFigures, ConsumerFigures]


def rows(heading: str) -> dict[str, str]:
    """The first cell of each row of a table in the page -> its second one."""
    table = PAGE[PAGE.index(heading) :].split("\n\n")[0].splitlines()[2:]
    cells = [line.strip("|").split(" | ") for line in table]
    return {row[0].strip().strip("`"): row[1] for row in cells}


def fields(kind: Any) -> str:
    return ", ".join(f"`{field.name}`" for field in dataclasses.fields(kind))


def test_every_event_is_documented_with_its_fields() -> None:
    """In their order: whoever reads a log can rely on the page."""
    shown = [kind for kind in typing.get_args(RunEvent) if kind is not Waiting]  # for who drives a run in steps
    kinds = [*shown, RunFinished, outlet.RunFailed]
    assert rows("| `type` | Fields") == {kind.__name__: fields(kind) for kind in kinds}
    assert {name: cell.rstrip(" |") for name, cell in rows("| In | Fields").items()} == {
        kind.__name__: fields(kind) for kind in INSIDE
    }


def test_everything_that_a_node_can_do_is_documented() -> None:
    """The words of the view and of `NodeProgress`."""
    words = {"waiting", *sampling.STATES.values(), *sampling.PHASES.values()}
    assert set(rows("| `doing` |")) == words
