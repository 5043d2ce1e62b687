"""A run works in every kind of host, leaves it as it was, and says what is wrong where it cannot work.

Most hosts are made by forks of a warm interpreter (`unusual_hosts`); what an interpreter or the command line must be
started with stands here.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import harness
import pytest
import unusual_hosts

GROUPS = 6
SCRIPT = f"sys.path.insert(0, {os.path.dirname(__file__)!r})\nimport unusual_hosts\nunusual_hosts.main(sys.argv[1:])"
NAMES = [name for name, kind in unusual_hosts.HOSTS.items() if kind.possible()]


def trouble(names: list[str], **options: object) -> dict[str, list[str]]:
    """What went wrong, by the name of the host."""
    told = harness.run(SCRIPT, arguments=tuple(names), deadline_seconds=120, **options).told  # type: ignore[arg-type]

    assert sorted(told) == sorted(names)
    return {name: found for name, found in told.items() if found}


@pytest.mark.slow
@pytest.mark.parametrize("group", range(GROUPS))
def test_a_host_may_be(group: int) -> None:
    """Every byte arrives, nothing is left, and the host is as it was."""
    assert trouble(NAMES[group::GROUPS]) == {}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the portable path is the only one")
def test_a_host_may_be_on_the_portable_path() -> None:
    names = [name for name in NAMES if "signal" in name or "handler" in name or "pool" in name or "threads" in name]

    assert len(names) >= 5
    assert trouble(names, environment={"TEASTREAMS_PORTABLE": "1"}) == {}


DIRECT = "print(json.dumps(unusual_hosts.runs()))"
INTERPRETERS = {
    "in development mode with warnings as errors": (["-X", "dev", "-W", "error"], {}),
    "optimised twice": (["-OO"], {}),
    "in the C locale": ([], {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    "with ascii streams": ([], {"PYTHONIOENCODING": "ascii:strict"}),
    "unbuffered": (["-u"], {}),
    "with the debugging allocator": ([], {"PYTHONMALLOC": "malloc_debug"}),
}


@pytest.mark.parametrize(("options", "environment"), INTERPRETERS.values(), ids=INTERPRETERS)
def test_an_interpreter_may_be(options: list[str], environment: dict[str, str]) -> None:
    script = f"import json, sys; sys.path.insert(0, {os.path.dirname(__file__)!r})\nimport unusual_hosts\n{DIRECT}"

    ended = harness.run_command([sys.executable, *options, "-c", script], environment=environment)

    assert json.loads(ended.stdout) == []
    assert ended.stderr.replace("[p] made\n", "") == ""


WORKFLOW = """
settings: {parallel: {strategy: process, streams: {enabled: true}}}
nodes:
  - name: p
    streams: {stdout: x}
    run: |
      print("grüße", end="")
  - name: c
    streams: {stdin: x}
    run: |
      import sys
      return {"text": sys.stdin.read()}
edges:
  - {from: __start__, to: p}
  - {from: p, to: c}
  - {from: c, to: __end__}
"""
FULL = "the result cannot be written to stdout: No space left on device"
# How a shell starts it: the redirection, the exit code, what stdout and stderr hold.
COMMANDS = {
    "without a stdin": ("run w.yaml <&-", 0, "grüße", ""),
    "without a stdout": ("run w.yaml >&-", 0, "", ""),
    "without a stderr": ("run w.yaml 2>&-", 0, "grüße", ""),
    "without any of them": ("run w.yaml <&- >&- 2>&-", 0, "", ""),
    "with a stdout that is full": ("run w.yaml >/dev/full", 75, "", FULL),
    "with a stderr that is full": ("run w.yaml 2>/dev/full", 0, "grüße", ""),
    "with an output that is full": ("run w.yaml --output /dev/full", 75, "", "No space left on device"),
    "with events that are full": ("run w.yaml --events /dev/full", 75, "", "the events cannot be written"),
    "with a reader that has left": ("run w.yaml | true", 0, "", ""),
    "with a picture that nobody can keep": ("graph w.yaml >/dev/full", 75, "", FULL),
    "with few descriptors": ("run w.yaml; }; { ulimit -n 40; teastreams run w.yaml", 75, "", "not enough file desc"),
}


@pytest.mark.parametrize(("line", "code", "out", "err"), COMMANDS.values(), ids=COMMANDS)
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is full by itself")
def test_a_command_may_be_started(line: str, code: int, out: str, err: str, tmp_path: Path) -> None:
    """What was asked for comes out whole, or the exit code says that it did not."""
    (tmp_path / "w.yaml").write_text(WORKFLOW, encoding="utf-8")
    shell = f'teastreams() {{ "{sys.executable}" -m teastreams "$@"; }}\nset -o pipefail\n{{ teastreams {line}; }}'
    if "ulimit" in line:  # the first run shows that it works without the limit
        shell = shell.replace("run w.yaml; }", "run w.yaml >/dev/null; }")

    ended = harness.run_command(["bash", "-c", shell], expect=None, cwd=tmp_path)

    assert (ended.exit_code, out in ended.stdout, bool(out) == bool(ended.stdout)) == (code, True, True)
    assert err in ended.stderr
    assert "Traceback" not in ended.stderr
