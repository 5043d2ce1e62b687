"""docs/PERFORMANCE.md shows what was measured: its figures and its pictures are those of the committed results."""

from __future__ import annotations

import json
import os
import re
import select
import sys
from pathlib import Path
from typing import Any

import pytest

from teastreams.bench.tasks import NAMES

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import alternatives
import curve
import curves
import report
import start
import text

BENCHMARKS = report.HERE
RESULTS: dict[str, Any] = {part: report.kept(part) for part in report.PARTS}
DOCUMENT = report.DOCUMENT.read_text("utf-8")
COMPARED = [part for part in report.PARTS if part != "curves"]


def test_the_document_shows_the_results_that_are_kept() -> None:
    """Between the marks, to the last character."""
    assert report.written(DOCUMENT, RESULTS) == DOCUMENT


@pytest.mark.parametrize("part", report.PARTS)
def test_the_pictures_show_the_results_that_are_kept(part: str) -> None:
    """Each of them, and the document shows each."""
    for name, drawn in report.pictures(part, RESULTS[part]).items():
        assert (report.RESULTS / name).read_text("utf-8") == drawn
        assert f"](performance/{name})" in DOCUMENT


def test_nothing_else_is_kept() -> None:
    """A picture that nobody draws any more would show old figures."""
    drawn = {name for part in report.PARTS for name in report.pictures(part, RESULTS[part])}
    assert {path.name for path in report.RESULTS.iterdir()} == drawn | {f"{part}.json" for part in report.PARTS}


@pytest.mark.parametrize("part", report.PARTS)
def test_the_machine_is_described(part: str) -> None:
    """With its load, and with how many rounds were measured there."""
    machine = RESULTS[part]["machine"]
    assert all(machine[key] for key in ("kernel", "processor", "cores", "python", "date"))
    assert machine["load"] >= 0
    assert RESULTS[part]["rounds"] >= 3
    assert f"the load when it began was {machine['load']:.2f}" in report.part_text(part, RESULTS[part])


@pytest.mark.parametrize("part", COMPARED)
def test_the_results_are_whole(part: str) -> None:
    """Every comparison that there is, in its order and in all its ways; each measured in each round, or absent."""
    tasks = {
        "alternatives": lambda: alternatives.tasks(1),
        "text": lambda: text.tasks(1),
        "start": lambda: start.tasks("none", 4 * start.GIB),
    }
    found = report.comparisons(RESULTS[part])
    if part == "bench":
        assert [each.name for each in found] == list(NAMES)
    else:
        planned = [(task.name, [way.name for way in task.ways]) for task in tasks[part]()]
        assert [(each.name, [side.name for side in each.sides]) for each in found] == planned
    sides = [side for each in found for side in each.sides]
    assert {len(side.seconds) for side in sides if not side.absent} == {RESULTS[part]["rounds"]}
    assert all(not side.seconds for side in sides if side.absent)


def test_the_curves_are_whole() -> None:
    """Every curve in all its ways, at every place."""
    found = list(curve.curves_from(RESULTS["curves"]))
    assert [each.name for each in found] == list(curves.CURVES)
    for each in found:
        _curve, tasks = curves.planned(each.name, 1.0)
        ways = [(place, [way.name for way in task.ways]) for place, task in tasks]
        assert [(place, [side.name for side in one.sides]) for place, one in each.points] == ways


@pytest.mark.parametrize("part", report.PARTS)
def test_a_figure_that_changes_changes_the_document(part: str) -> None:
    """So a typed one would be noticed."""
    changed = json.loads(json.dumps(RESULTS[part]))
    first = changed["curves"][0]["points"][0] if part == "curves" else changed["comparisons"][0]
    first["sides"][0]["seconds"] = [1.2345] * changed["rounds"]
    assert report.part_text(part, changed) != report.part_text(part, RESULTS[part])
    assert report.pictures(part, changed) != report.pictures(part, RESULTS[part])


def test_what_was_not_measured_is_named_in_the_document() -> None:
    """With the reason."""
    changed = json.loads(json.dumps(RESULTS["curves"]))
    for point in changed["curves"][0]["points"]:
        point["sides"][1].update(seconds=[], absent="there is none")
    name = changed["curves"][0]["points"][0]["sides"][1]["name"]
    assert f"\n\nNot measured: {name}: there is none.\n\n" in report.part_text("curves", changed)


def test_every_benchmark_that_is_named_is_there() -> None:
    """And every program that measures is named."""
    named = set(re.findall(r"`(?:tests/benchmarks/)?(\w+\.py)`", DOCUMENT))
    programs = {path.name for path in BENCHMARKS.glob("*.py") if "\ndef main(" in path.read_text("utf-8")}
    assert named == programs


def test_only_what_stands_between_the_marks_is_written() -> None:
    """What people wrote around it stays, and what belongs to other parts."""
    document = f"before\n{report.begin('a')}old{report.END}\n{report.begin('b')}old{report.END}after"
    assert report.filled(document, "b", "new") == document[: document.rindex("old")] + f"new{report.END}after"


@pytest.mark.parametrize("document", ["", "{0}", "{1}", "{1}{0}", "{0}{0}{1}", "{0}{1}{0}{1}", "{0}{2}{1}"])
def test_marks_that_are_no_pair_are_refused(document: str) -> None:
    """Nothing is written over by mistake."""
    marks = (report.begin("a"), report.END, report.begin("b"))
    with pytest.raises(ValueError, match="behind it, once"):
        report.filled(document.format(*marks), "a", "new")


def test_variables_of_the_interpreter_reach_no_measurement() -> None:
    """But for where modules are found."""
    environment = {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": "src", "PATH": "/bin"}
    assert report.lean(environment) == {"PYTHONPATH": "src", "PATH": "/bin"}


PROGRAM = """
import json, os, sys, time
os.open(os.path.join(os.path.dirname(sys.argv[0]), "alive"), os.O_WRONLY)
if os.fork() == 0:
    time.sleep(60)
    os._exit(0)
print(json.dumps({"unbuffered": os.environ.get("PYTHONUNBUFFERED"), "arguments": sys.argv[1:]}))
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programs of parts that answer and fail, and where their results go."""
    (tmp_path / "program.py").write_text(PROGRAM)
    os.mkfifo(tmp_path / "alive")
    parts = {name: (str(tmp_path / "program.py"), code) for name, code in (("good", "0"), ("bad", "3"))}
    monkeypatch.setattr(report, "PARTS", parts)
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    return tmp_path


def test_a_part_that_fails_keeps_its_old_results(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The others are measured; whoever was left behind by a program is neither waited for nor left."""
    (folder / "bad.json").write_text("old")
    alive = os.open(folder / "alive", os.O_RDONLY | os.O_NONBLOCK)
    assert list(report.measure(("bad", "good"))) == ["bad"]
    assert (folder / "bad.json").read_text() == "old"
    assert report.kept("good") == {"unbuffered": None, "arguments": ["0"]}
    poll = select.poll()
    poll.register(alive, 0)
    assert poll.poll(10_000) == [(alive, select.POLLHUP)], "a process has it open still"
    os.close(alive)
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("bad: its old results stay, there are no new ones: ")
    assert said[1].startswith("good: measured in ")


def test_a_library_that_is_missing_is_named() -> None:
    """Whether it is not installed at all, or needs what is not."""
    way = alternatives.library("no_library_has_this_name", print)
    assert (way.run, way.absent) == (None, "absent: not installed")
    program = alternatives.program("none", "no-program-has-this-name")
    assert (program.run, program.absent) == (None, "absent: no no-program-has-this-name on the PATH")


def test_a_library_that_needs_what_is_missing_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is another reason."""
    (tmp_path / "half_a_library.py").write_text("import no_library_has_this_name\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    way = alternatives.library("half_a_library", print)
    assert way.absent == "absent: it cannot be imported here: No module named 'no_library_has_this_name'"


def test_large_hosts_are_left_out_where_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """And are named all the same."""
    monkeypatch.setattr(start, "free_bytes", lambda: start.GIB)
    large = start.tasks("none", 4 * start.GIB)[-2:]
    assert [way.absent for task in large for way in task.ways] == ["left out: 1.0 GiB of memory are free"] * 4
