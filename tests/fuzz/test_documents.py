"""A fixed seed of the mutation fuzzer, and the mutants that once broke something.

The fuzzer runs in an interpreter of its own: its audit hook cannot be taken off again. With TEASTREAMS_FAULTS=all it
judges 20 000 mutants instead of 500.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
KEPT = sorted((HERE / "kept").glob("*.yaml"))
ALL = os.environ.get("TEASTREAMS_FAULTS") == "all"


def fuzzed(*arguments: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
    """The script, as a user runs it."""
    command = [sys.executable, str(HERE / "documents.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10) if ALL else [1])
def test_every_mutant_of_our_documents_is_judged_with_a_place_and_a_way_out_and_nothing_of_it_runs(seed: int) -> None:
    done = fuzzed("2000" if ALL else "500", str(seed), seconds=3000)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "accepted" in done.stdout
    assert "refused" in done.stdout


@pytest.mark.slow
def test_the_mutants_that_were_kept_are_judged_so_too() -> None:
    done = fuzzed("--", *map(str, KEPT))

    assert KEPT
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("act", "told"),
    [
        ("open(judge.file + '.w', 'w')", "open("),
        ("__import__('wave')", "import("),
        ("eval('1 + 1')", "exec("),
        ("subprocess.run(['true'])", "subprocess.Popen"),
        ("socket.socket()", "socket."),
        ("os.mkdir(judge.file + '.d')", "os.mkdir"),
    ],
)
def test_the_watch_sees_what_a_document_must_not_do(act: str, told: str, tmp_path: Path) -> None:
    """Without this nobody would know whether the silence of the others means anything."""
    program = (
        "import os, socket, subprocess, sys; sys.path.insert(0, sys.argv[1]); import documents\n"
        "judge = documents.Judge(documents.Path(sys.argv[2]))\n"
        f"documents.complaint = lambda *given: ('refused', '' if {act} else '')\n"
        "print(judge.judge(b'x'))"
    )
    command = [sys.executable, "-c", program, str(HERE), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert f"it acted: {told}" in done.stdout, done.stderr


@pytest.mark.slow
def test_hostile_values_are_read_as_they_are_or_refused_by_their_own_error() -> None:
    """Expressions, templates, frames, checkpoints and JSON of the command line."""
    command = [sys.executable, str(HERE / "values.py"), "20000" if ALL else "200", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3000, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
