"""Every shipped example is run as its first comment says, in a fresh process, and its result is checked by value.

A file in `examples/` without an entry here fails a test of its own, so that no example can be shipped unrun.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import harness
import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"

PIPELINE = {"produced": 1000, "kept": 500, "sum": 250500}

LOG = "".join(f"{'info' if number % 10 else 'ERROR'} request {number}\n" for number in range(1000)).encode()
BROADCAST = {
    "lines": 1000,
    "errors": 100,
    "longest": 17,
    "bytes": len(LOG),
    "sha256": hashlib.sha256(LOG).hexdigest(),
}

HYBRID = {"count": 5000, "limit": 40, "measured": 5000, "mean": 49.5, "above_limit": 2950, "verdict": "too high"}

EXPECTED = {
    "yaml/stream_pipeline.yaml": PIPELINE,
    "yaml/stream_broadcast.yaml": BROADCAST,
    "yaml/stream_hybrid.yaml": HYBRID,
    "python/stream_pipeline.py": PIPELINE,
    "python/stream_broadcast.py": BROADCAST,
    "python/stream_hybrid.py": HYBRID,
}


def command(name: str) -> list[str]:
    """How a user runs this example."""
    words = ["-m", "teastreams", "run"] if name.endswith(".yaml") else []
    return [sys.executable, "-W", "error", *words, str(EXAMPLES / name)]


@pytest.mark.scenario("001.5-DOC-001", "QA-001.5-INT-004")
@pytest.mark.parametrize("name", EXPECTED)
def test_the_example_runs_and_its_result_is_right(name: str) -> None:
    """Its whole final state, as JSON on stdout, with nothing else there and no input given."""
    ended = harness.run_command(command(name), cwd=ROOT)
    assert json.loads(ended.stdout) == EXPECTED[name]


def test_no_example_is_left_out() -> None:
    """What lies in the folder is what is run here."""
    files = {path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.rglob("*") if path.suffix in (".py", ".yaml")}
    assert files == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_an_example_says_how_to_run_it(name: str) -> None:
    """The text before its first statement holds the command that runs it, with its own path."""
    head = (EXAMPLES / name).read_text("utf-8").partition("\n\n" if name.endswith(".yaml") else "import")[0]
    runner = "python -m teastreams run" if name.endswith(".yaml") else "python"
    assert f"Run it:   {runner} examples/{name}\n" in head + "\n"


def test_the_hybrid_example_takes_a_state_from_the_command_line() -> None:
    """`--set`, as its comment says, goes before the variables of the document."""
    more = ["--set", "count=1000", "--set", "limit=90"]
    ended = harness.run_command([*command("yaml/stream_hybrid.yaml"), *more], cwd=ROOT)
    state = json.loads(ended.stdout)
    assert (state["measured"], state["above_limit"], state["verdict"]) == (1000, 90, "fine")
