"""Fixtures for pytest that find what a test leaves behind; the only module of ours that imports pytest.

In a `conftest.py`: `pytest_plugins = ["teastreams.testing.plugin"]`. A test that asks for `no_leaked_descriptors`,
`no_leaked_processes` or, for both, `nothing_leaked` fails at its end with what is left. What is on its way out has a
second for it. Processes are found as descendants: one whose parent has died is not seen.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Callable, Iterator

import pytest

GONE_WITHIN_SECONDS = 1.0
LOOK_SECONDS = 0.01


@pytest.fixture
def no_leaked_descriptors() -> Iterator[None]:
    """Fail when a descriptor of this process is open after the test that was not open before."""
    yield from _unchanged("descriptors", open_descriptors)


@pytest.fixture
def no_leaked_processes() -> Iterator[None]:
    """Fail when a descendant of this process, living or a zombie, is there after the test that was not before."""
    yield from _unchanged("processes", descendants)


@pytest.fixture
def nothing_leaked(no_leaked_descriptors: None, no_leaked_processes: None) -> None:
    """Both of these."""


def open_descriptors() -> dict[int, str]:
    """Every open descriptor of this process, with what it leads to where the system says so."""
    found = {}
    for number in map(int, os.listdir("/dev/fd")):
        with suppress(OSError):
            os.fstat(number)  # the one that listed the directory is closed by now
            found[number] = _target(number)
    return found


def descendants() -> dict[int, str]:
    """Every living process below this one, and every zombie, with its name."""
    parents = _processes()
    found: dict[int, str] = {}
    ahead = [os.getpid()]
    while ahead:
        parent = ahead.pop()
        for pid, (above, name) in parents.items():
            if above == parent and pid not in found:
                found[pid] = name
                ahead.append(pid)
    return found


def _unchanged(what: str, look: Callable[[], dict[int, str]]) -> Iterator[None]:
    before = look()
    yield
    deadline = time.monotonic() + GONE_WITHIN_SECONDS
    while True:
        left = {number: name for number, name in look().items() if before.get(number) != name}
        if not left or time.monotonic() > deadline:
            break
        time.sleep(LOOK_SECONDS)
    if left:
        listed = ", ".join(f"{number} ({name})" for number, name in sorted(left.items()))
        pytest.fail(f"the test left {what} behind: {listed}; close or wait for them", pytrace=False)


def _target(number: int) -> str:
    with suppress(OSError):
        return os.readlink(f"/proc/self/fd/{number}")
    return "open"


def _processes() -> dict[int, tuple[int, str]]:
    """pid -> (parent's pid, name), of every process."""
    if sys.platform == "linux":
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    name, rest = _parted((entry / "stat").read_text("utf-8", "replace"))
                    found[int(entry.name)] = (int(rest[1]), name)
        return found
    return _listed_by_ps()  # pragma: no cover - macOS


def _parted(stat: str) -> tuple[str, list[str]]:
    """A process is called what it likes, brackets and spaces included: the last bracket ends the name."""
    head, _bracket, tail = stat.rpartition(")")
    return head.partition("(")[2], tail.split()


def _listed_by_ps() -> dict[int, tuple[int, str]]:  # pragma: no cover - macOS
    process = subprocess.Popen(["/bin/ps", "-A", "-o", "pid=,ppid=,comm="], stdout=subprocess.PIPE, text=True)
    rows = [line.split(None, 2) for line in process.communicate()[0].splitlines()]
    return {int(pid): (int(parent), name) for pid, parent, name in rows if int(pid) != process.pid}
