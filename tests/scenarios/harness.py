"""Run a scenario in an interpreter of its own, and look at it from outside.

A test process is a bad place to fork from: pytest captures descriptors, xdist runs a thread. So every scenario is a
script that a fresh single-threaded interpreter runs with warnings as errors, under a deadline and a tag in the
environment that all its descendants inherit. When it has ended, no process with that tag may be alive. A scenario
that hangs is asked for the stacks of all its processes before it is killed: the test fails with them, not with a bare
time-out.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from checker import check, recorded_as
from recording import HISTORIES

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parent.parent / "src"
TAG = "TEASTREAMS_SCENARIO_TAG"
HISTORY = "TEASTREAMS_SCENARIO_HISTORY"
GONE_WITHIN_SECONDS = 1.0


@dataclass(frozen=True)
class Ended:
    """How a scenario ended: exit code (negative: signal), what it printed, and what it told by `tell`."""

    exit_code: int
    stdout: str
    stderr: str
    told: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


def run(
    script: str,
    *,
    expect: Optional[int] = 0,
    deadline_seconds: float = 60.0,
    environment: Optional[dict[str, str]] = None,
    arguments: tuple[str, ...] = (),
    stdin: bytes = b"",
    warnings_as_errors: bool = True,
) -> Ended:
    """Run `script` (Python text; `from inside import *` is done for it) and return how it ended.

    Fails when its exit code is not `expect` (None: any), when it outlives the deadline, and when a process with its
    tag is alive a second after it ended.
    """
    options = ["-W", "error"] if warnings_as_errors else []
    text = f"from inside import *\n{textwrap.dedent(script)}\n__import__('recording').end()\n"
    return run_command(
        [sys.executable, "-X", "faulthandler", *options, "-c", text, *arguments],
        expect=expect,
        deadline_seconds=deadline_seconds,
        environment=environment,
        stdin=stdin,
    )


def run_command(
    command: list[str],
    *,
    expect: Optional[int] = 0,
    deadline_seconds: float = 60.0,
    environment: Optional[dict[str, str]] = None,
    stdin: bytes = b"",
    cwd: Optional[Path] = None,
) -> Ended:
    """Run any command under the same supervision."""
    tag = uuid.uuid4().hex
    with tempfile.TemporaryDirectory(prefix="teastreams-scenario-") as folder:
        history = Path(folder, "history")
        started = time.monotonic()
        process = start(command, tag, history, environment, cwd)
        try:
            out, err = process.communicate(stdin, timeout=deadline_seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(_stacks(process, tag)) from None
        finally:
            _kill_all(tag, process)
        ended = Ended(
            process.returncode,
            out.decode(errors="replace"),
            err.decode(errors="replace"),
            _told(history),
            time.monotonic() - started,
        )
        violations = _violations(history)
    assert not violations, "\n".join([*violations, ended.stderr])
    if expect is not None:
        assert ended.exit_code == expect, (
            f"exit code {ended.exit_code}, expected {expect}\n{ended.stdout}\n{ended.stderr}"
        )
    return ended


def start(
    command: list[str],
    tag: str,
    history: Path,
    environment: Optional[dict[str, str]] = None,
    cwd: Optional[Path] = None,
) -> subprocess.Popen[bytes]:
    """Start a tagged command in a session of its own, for tests that signal it while it runs."""
    paths = [str(HERE), str(SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        cwd=cwd,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            TAG: tag,
            HISTORY: str(history),
            **(environment or {}),
        },
    )


def tagged(tag: str) -> list[int]:
    """The pids of all living processes that carry the tag (Linux)."""
    wanted = f"{TAG}={tag}".encode()
    found = []
    for entry in Path("/proc").iterdir() if Path("/proc/self/environ").exists() else ():
        if entry.name.isdigit():
            with suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


def wait_gone(tag: str, limit_seconds: float = GONE_WITHIN_SECONDS) -> list[int]:
    """Wait until no tagged process is left; returns those that still live at the limit."""
    deadline = time.monotonic() + limit_seconds
    while tagged(tag) and time.monotonic() < deadline:
        time.sleep(0.005)
    return tagged(tag)


def _kill_all(tag: str, process: subprocess.Popen[bytes]) -> None:
    survivors = wait_gone(tag) if process.returncode is not None else tagged(tag)
    for pid in survivors:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if process.returncode is None:
        process.kill()
        process.communicate()
    else:
        assert not survivors, f"processes {survivors} outlived the scenario"


def _stacks(process: subprocess.Popen[bytes], tag: str) -> str:
    """Ask every tagged process for its stacks (faulthandler answers SIGABRT) and collect them."""
    for pid in tagged(tag):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
            os.kill(pid, signal.SIGABRT)
    try:
        out, err = process.communicate(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
    return f"the scenario hangs; stacks:\n{err.decode(errors='replace')}\nstdout:\n{out.decode(errors='replace')}"


def _told(history: Path) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if history.exists():
        for line in history.read_text().splitlines():
            told.update(json.loads(line))
    return told


def _violations(history: Path) -> list[str]:
    """Of the invariants, by all that the runs of the scenario left: see `recording` and `checker`."""
    file = Path(f"{history}{HISTORIES}")
    lines = file.read_text().splitlines() if file.exists() else []
    return [violation for line in lines for violation in check(recorded_as(json.loads(line)))]
