"""`teastreams doctor` on this machine: lines for people, JSON for programs, and an exit code for scripts."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any

import harness
import pytest

from teastreams.cli.doctor import as_json, as_lines
from teastreams.core.machine.facts import Machine
from teastreams.core.machine.findings import SUBJECTS, findings

DOCTOR = [sys.executable, "-W", "error", "-m", "teastreams", "doctor"]


def test_streams_can_run_here() -> None:
    """Every subject has its line; nothing is said on stderr."""
    ended = harness.run_command(DOCTOR)
    told = [line[9:21].strip() for line in ended.stdout.splitlines() if line.startswith(("ok", "note", "problem"))]
    assert set(SUBJECTS) <= set(told)
    assert ended.stdout.splitlines()[-1] == "streams can run here"
    assert ended.stderr == ""


def test_with_too_few_descriptors_it_is_75() -> None:
    """The code of a run that this machine cannot do now; the advice stands below the problem."""
    command = ["bash", "-c", 'ulimit -n 60 && exec "$@"', "bash", *DOCTOR]
    ended = harness.run_command(command, expect=75)
    lines = ended.stdout.splitlines()
    (number,) = [number for number, line in enumerate(lines) if line.startswith("problem  open files   60: room for")]
    assert lines[number + 1].strip().startswith("raise the limit of open files")
    assert lines[-1].startswith("streams cannot run here")


@pytest.mark.parametrize(("limit", "level", "code"), [(60, "problem", 75), (1000, "ok", 0)])
def test_json_says_the_same(limit: int, level: str, code: int) -> None:
    """The verdict, the findings, and the facts they come from."""
    command = ["bash", "-c", f'ulimit -n {limit} && exec "$@"', "bash", *DOCTOR, "--json"]
    told: Any = json.loads(harness.run_command(command, expect=code).stdout)
    assert told["streams_can_run"] is (code == 0)
    assert told["machine"]["files"]["soft"] == limit
    assert [each["level"] for each in told["findings"] if each["subject"] == "open files"] == [level]


def test_a_value_of_the_environment_does_not_drive_the_terminal() -> None:
    """It is shown with escapes; JSON has its own."""
    machine = replace(Machine(), variables={"TEASTREAMS_X": "\x1b[31m\n"})
    found = findings(machine)
    assert "TEASTREAMS_X=\\x1b[31m\\n" in as_lines(found)
    assert all(line.isprintable() for line in as_lines(found).splitlines())
    assert json.loads(as_json(found, machine))["machine"]["variables"] == {"TEASTREAMS_X": "\x1b[31m\n"}
