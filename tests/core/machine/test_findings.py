"""What is said of machines of our own making: what is good, what is worth a word, and what stops streams."""

from __future__ import annotations

from dataclasses import replace

import pytest

from teastreams.core.machine.facts import Files, Machine, Pipes, Processes, Spill
from teastreams.core.machine.findings import SUBJECTS, Finding, Level, findings, streams_can_run

GOOD = Machine(libraries={"PyYAML": "6.0"})
GIB = 1024**3


def about(subject: str, machine: Machine) -> Finding:
    (found,) = [each for each in findings(machine) if each.subject == subject]
    return found


def test_a_good_machine_has_one_line_for_every_subject() -> None:
    """All ok, no advice; streams can run."""
    found = findings(GOOD)
    assert [each.subject for each in found] == list(SUBJECTS)
    assert {each.level for each in found} == {Level.OK}
    assert all(each.text and not each.advice for each in found)
    assert streams_can_run(found)


POOR = [
    ("platform", replace(GOOD, platform="freebsd14"), "freebsd14, Python 3.11.0: not among the tested ones"),
    ("pipe size", replace(GOOD, pipes=Pipes(4096, 4096)), "new pipes hold 4KiB: the quota of this user is used up"),
    ("pipe size", replace(GOOD, pipes=Pipes(65536, 262144)), "64KiB, and cannot grow beyond 256KiB now"),
    ("open files", replace(GOOD, files=Files(256, 4096, 17)), "256: room for about 17 stream nodes at once"),
    ("processes", replace(GOOD, processes=Processes(20, None)), "20 for this user"),
    ("processes", replace(GOOD, processes=Processes(None, 12)), "no limit for this user, 12 more in this control"),
    ("spill", replace(GOOD, spill=Spill("/x", "", 2 * GIB, True)), "/x lies in memory, 2.0GiB free"),
    ("spill", replace(GOOD, spill=Spill("/x", "", GIB // 2)), "/x, 0.5GiB free: less than one channel may spill"),
    ("exits", replace(GOOD, exits="looking"), "looked at every 20 ms"),
    ("lifeline", replace(GOOD, portable=True), "by a signal handler of their own"),
    ("environment", replace(GOOD, variables={"TEASTREAMS_PORTABLE": "1"}), "TEASTREAMS_PORTABLE=1: nothing that only"),
    ("environment", replace(GOOD, variables={"TEASTREAMS_PORTABEL": "1"}), "this name means nothing"),
    ("extras", replace(GOOD, extras={"view": ("rich",)}), "view: rich not installed"),
]


@pytest.mark.parametrize(("subject", "machine", "text"), POOR)
def test_what_works_with_less_is_a_note_with_advice(subject: str, machine: Machine, text: str) -> None:
    """It names the number, and streams run all the same."""
    found = about(subject, machine)
    assert found.level is Level.NOTE
    assert text in found.text
    assert found.advice
    assert streams_can_run(findings(machine))


STOPPED = [
    ("fork", replace(GOOD, fork_refused="Resource temporarily unavailable"), "Resource temporarily unavailable"),
    ("open files", replace(GOOD, files=Files(64, 64, 1)), "64: room for about 1 stream nodes at once"),
    ("open files", replace(GOOD, files=Files(30, 64, -3)), "30: room for about 0 stream nodes at once"),
    ("processes", replace(GOOD, processes=Processes(None, 1)), "1 more in this control group"),
    ("lifeline", replace(GOOD, lifeline_refused="Invalid argument"), "Invalid argument"),
]


@pytest.mark.parametrize(("subject", "machine", "text"), STOPPED)
def test_without_what_every_section_needs_no_stream_can_run(subject: str, machine: Machine, text: str) -> None:
    """Each alone is enough, and says what to do."""
    found = about(subject, machine)
    assert (found.level, found.stops) == (Level.PROBLEM, True)
    assert text in found.text
    assert found.advice
    assert not streams_can_run(findings(machine))


def test_a_folder_that_cannot_be_written_stops_only_what_spills() -> None:
    """A problem, but not for streams as such."""
    machine = replace(GOOD, spill=Spill("/x", "Permission denied", 0))
    found = about("spill", machine)
    assert found.level is Level.PROBLEM
    assert found.text == "/x cannot be used: Permission denied; `overflow: spill` fails"
    assert "TMPDIR" in found.advice
    assert streams_can_run(findings(machine))


def test_the_advice_on_files_names_the_limit_that_can_be_had() -> None:
    """Up to the hard one by oneself; beyond it only root can."""
    assert "ulimit -n 4096" in about("open files", replace(GOOD, files=Files(100, 4096, 3))).advice
    assert "ulimit -n unlimited" in about("open files", replace(GOOD, files=Files(100, None, 3))).advice
    assert "as root" in about("open files", replace(GOOD, files=Files(100, 100, 3))).advice


@pytest.mark.parametrize(
    ("subject", "machine", "text"),
    [
        ("pipe size", replace(GOOD, pipes=Pipes(0, 0, None, 0)), "what the kernel gives"),
        ("pipe quota", replace(GOOD, pipes=Pipes(quota_bytes=0)), "none"),
        ("pipe quota", GOOD, "64MiB for all pipes of this user: 64 of the largest size"),
        ("pipe size", replace(GOOD, pipes=Pipes(max_bytes=None)), "64KiB, grows to 1MiB"),
        ("open files", replace(GOOD, files=Files(None, None, None)), "no limit"),
        ("exits", replace(GOOD, exits="kqueue"), "kqueue"),
        ("zero copy", replace(GOOD, splice=False), "no splice(2) here"),
        ("extras", replace(GOOD, extras={"view": ()}), "view: installed"),
    ],
)
def test_what_is_otherwise_elsewhere_is_no_fault(subject: str, machine: Machine, text: str) -> None:
    """macOS has no quota, other machines no limits."""
    assert about(subject, machine).level is Level.OK
    assert text in about(subject, machine).text


def test_libraries_that_nobody_looked_for_are_not_told() -> None:
    """Only the engine can ask for them."""
    assert [each for each in findings(replace(GOOD, libraries={})) if each.subject == "libraries"] == []
