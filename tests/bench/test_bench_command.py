"""`teastreams bench` for real, with tiny sizes: every way does its work, and nothing of it is left behind."""

from __future__ import annotations

import json
import shutil
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import harness
import pytest

from teastreams.bench.figures import from_dict
from teastreams.bench.tasks import NAMES, tasks
from teastreams.cli.arguments import BENCHMARKS

BENCH = [sys.executable, "-W", "error", "-m", "teastreams", "bench"]
SMALL = ["--size", "1", "--rounds", "1"]


def test_the_command_line_knows_the_names() -> None:
    """It repeats them, because it must not load what it does not run; each is a task."""
    assert BENCHMARKS == NAMES == tuple(task.name for task in tasks(1 << 20))


def test_every_comparison_is_explained() -> None:
    """In their order, in the document about commands."""
    text = (Path(__file__).resolve().parents[2] / "docs" / "commands.md").read_text("utf-8")
    table = text.partition("\n## bench\n")[2].partition("\n## ")[0]
    assert [line.split("`")[1] for line in table.splitlines() if line.startswith("| `")] == list(NAMES)


@pytest.mark.slow
def test_everything_is_measured() -> None:
    """Each comparison, each side; the picture and the table show what the JSON says."""
    ended = harness.run_command([*BENCH, *SMALL, "--json"])
    told: Any = json.loads(ended.stdout)
    comparisons = [from_dict(each) for each in told["comparisons"]]
    assert [each.name for each in comparisons] == list(NAMES)
    for side in (side for each in comparisons for side in each.sides):
        assert side.absent or (len(side.seconds) == told["rounds"] == 1 and side.seconds[0] > 0)
    assert [each.sides[0].absent for each in comparisons] == [""] * len(NAMES)
    assert [line.partition(":")[0] for line in ended.stderr.splitlines()] == [f"{n} of 5" for n in range(1, 6)]
    assert set(told["machine"]) == {"kernel", "processor", "cores", "python", "date", "load"}


def test_a_table_and_a_picture(tmp_path: Path) -> None:
    """The table alone stands on stdout."""
    file = tmp_path / "bench.svg"
    ended = harness.run_command([*BENCH, *SMALL, "--only", "direct", "--svg", str(file)])
    lines = ended.stdout.splitlines()
    assert lines[0] == "direct channel, 1 MiB in writes of 64 KiB"
    assert [line.split("  ")[1] for line in lines[1:]] == ["teastreams", "two forks, one pipe"]
    assert "times as fast" in lines[2]
    texts = ET.parse(file).iter("{http://www.w3.org/2000/svg}text")  # noqa: S314  our own file
    assert next(texts).text == lines[0]


def test_a_program_that_is_missing_is_said_to_be(tmp_path: Path) -> None:
    """The others are measured all the same."""
    ended = harness.run_command([*BENCH, *SMALL, "--only", "broadcast-3"], environment={"PATH": str(tmp_path)})
    absent = [line for line in ended.stdout.splitlines() if line.startswith("  tee ")]
    assert absent == [f"  {'tee':<30}{'not measured':>14}   there is no tee on the PATH"]


def test_where_everything_is_portable_the_pump_is_no_side_of_its_own() -> None:
    """It would be compared with itself."""
    command = [*BENCH, *SMALL, "--only", "broadcast-3"]
    ended = harness.run_command(command, environment={"TEASTREAMS_PORTABLE": "1"})
    assert ended.stdout.splitlines()[-1].endswith("not measured   the same as the first line here")


@pytest.mark.skipif(shutil.which("tee") is None, reason="there is no tee here")
def test_a_program_that_fails_is_no_measurement(tmp_path: Path) -> None:
    """The exit code of a machine that cannot; no process is left of those that still wrote and read."""
    wrong = tmp_path / "tee"
    wrong.write_text("#!/bin/sh\nexit 7\n")
    wrong.chmod(0o755)
    command = [*BENCH, *SMALL, "--only", "broadcast-3"]
    ended = harness.run_command(command, expect=75, environment={"PATH": str(tmp_path)})
    assert "so nothing was measured" in ended.stderr
    assert ended.stdout == ""


@pytest.mark.parametrize("words", [["--size", "0"], ["--size", "1.5"], ["--rounds", "-1"], ["--rounds", "10000000"]])
def test_numbers_are_whole_and_positive(words: list[str]) -> None:
    """The message says which one is not, and what may stand there."""
    ended = harness.run_command([*BENCH, *words], expect=2)
    assert f"argument {words[0]}: {words[1]!r} is no whole number from 1 to 1000000" in ended.stderr


def test_a_picture_that_cannot_be_written_is_told_before_measuring(tmp_path: Path) -> None:
    """A minute is long when nothing comes of it."""
    ended = harness.run_command([*BENCH, "--svg", str(tmp_path / "none" / "x.svg")], expect=2)
    assert "cannot be written: there is no folder" in ended.stderr
    assert "1 of" not in ended.stderr


PORTABLE = """
from teastreams.bench.by_teastreams import portable
seen = []
def run(amount):
    seen.append((amount, os.environ["TEASTREAMS_PORTABLE"]))
    if amount == 2:
        raise ValueError("two")
for before in (None, "0"):
    os.environ.pop("TEASTREAMS_PORTABLE", None)
    if before is not None:
        os.environ["TEASTREAMS_PORTABLE"] = before
    portable(run)(1)
    try:
        portable(run)(2)
    except ValueError:
        seen.append(os.environ.get("TEASTREAMS_PORTABLE"))
tell(seen=seen)
"""


def test_the_environment_is_put_back() -> None:
    """Whatever stood there, and however the run ended."""
    told = harness.run(PORTABLE).told
    assert told["seen"] == [[1, "1"], [2, "1"], None, [1, "1"], [2, "1"], "0"]


CHILDREN = """
from teastreams.bench.children import Children
from teastreams.errors import LimitError
read, write = os.pipe()
with untouched():
    try:
        with Children() as children:
            children.fork("the waiting one", lambda: bool(os.read(read, 1)))
            raise KeyError("left early")
    except KeyError:
        pass
    said = []
    for body in (lambda: False, lambda: 1 / 0, lambda: os.kill(os.getpid(), 9)):
        try:
            with Children() as children:
                children.fork("it", body)
                children.wait()
        except LimitError as error:
            said.append(str(error))
tell(said=said)
"""


def test_children_are_ended_and_their_ends_are_told() -> None:
    """Left early, killed and waited for; a body that says no, raises or is killed has no figure."""
    said = harness.run(CHILDREN).told["said"]
    assert [text.partition(",")[0] for text in said] == [
        "bench: it ended with 1",
        "bench: it ended with 1",
        "bench: it ended with -9",
    ]
