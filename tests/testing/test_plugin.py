"""The fixtures see what a test leaves behind, and leave tests alone that leave nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import harness

TESTS = """
import os
import subprocess
import sys

from teastreams.testing import run_node


def test_clean(nothing_leaked):
    with open(os.devnull):
        assert run_node(lambda state: print("hello")).stdout == b"hello\\n"


def test_descriptor(no_leaked_descriptors):
    os.open(os.devnull, os.O_RDONLY)


def test_process(no_leaked_processes):
    global kept
    kept = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)


def test_zombie(nothing_leaked):
    pid = os.fork()
    if not pid:
        os._exit(0)


def test_end():
    kept.stdin.close()
    kept.wait()
    os.wait()
"""


def test_leaks_are_found_and_named(tmp_path: Path) -> None:
    """A descriptor, a living process and a zombie fail the test that left them, at its end."""
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["teastreams.testing.plugin"]\n')
    (tmp_path / "test_leaks.py").write_text(TESTS)
    ended = harness.run_command(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "-q", "-rA", str(tmp_path)],
        expect=1,
        cwd=tmp_path,
    )
    for line in ("ERROR test_leaks.py::test_descriptor", "ERROR test_leaks.py::test_process"):
        assert line in ended.stdout, ended.stdout
    assert "ERROR test_leaks.py::test_clean" not in ended.stdout, ended.stdout
    assert "5 passed, 3 errors" in ended.stdout
    assert "the test left descriptors behind" in ended.stdout
    assert ended.stdout.count("the test left processes behind") >= 2
    assert "(/dev/null)" in ended.stdout
