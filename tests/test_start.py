"""What a program loads before it does anything: counted in modules, which are the same on every machine.

Time is measured by tests/benchmarks/start.py; here stands what that time is made of, so that nobody adds to it unseen.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

TRIVIAL = """
name: trivial
nodes:
  - name: one
    run: |
      return {"x": 1}
edges:
  - {from: __start__, to: one}
  - {from: one, to: __end__}
"""
PRINT_MODULES = "import json, sys; sys.stderr.write(json.dumps(sorted(sys.modules)))"
COSTLY = {
    *("asyncio", "cloudpickle", "concurrent.futures", "difflib", "hashlib", "importlib.metadata", "logging"),
    *("multiprocessing", "pathlib", "random", "secrets", "socket", "sqlite3", "subprocess", "tempfile", "urllib.parse"),
}


def loaded(code: str, *arguments: str) -> set[str]:
    """The modules that are loaded when `code` has run."""
    ended = subprocess.run(
        [sys.executable, "-c", f"{code}\n{PRINT_MODULES}", *arguments], capture_output=True, text=True, check=True
    )
    return set(json.loads(ended.stderr))


def test_importing_loads_nothing_but_the_names() -> None:
    """Beside the facade: what it needs to look a name up later."""
    before, after = loaded(""), loaded("import teastreams")
    assert {name for name in after - before if name.startswith("teastreams")} == {"teastreams"}
    assert len(after - before) <= 20, sorted(after - before)


@pytest.mark.parametrize("command", ["run", "validate"])
def test_a_workflow_of_plain_nodes_loads_no_runtime(command: str, tmp_path: Path) -> None:
    """No supervisor, no fan-out worker, no executor, and none of the costly modules of the standard library."""
    document = tmp_path / "trivial.yaml"
    document.write_text(TRIVIAL)
    modules = loaded("import sys\nfrom teastreams.cli.main import main\nmain(sys.argv[1:])", command, str(document))
    assert modules & (COSTLY - loaded("")) == set()
    unwanted = "executors.process executors.thread runtime.fanout runtime.supervision.supervisor core.drawing."
    prefixes = tuple(f"teastreams.{name}" for name in unwanted.split())
    assert sorted(name for name in modules if name.startswith(prefixes)) == []


def test_a_run_of_a_section_loads_no_library_that_it_does_not_use() -> None:
    """Each library in the memory of the caller makes its forks slower; `random` is even seeded anew in every child."""
    code = """
import sys
import teastreams as ts
def node(state):
    print("line")
result = ts.pipeline(node, lambda state: {"n": len(sys.stdin.read())}).run({})
assert result.state["n"] == 5
"""
    unused = {"hashlib", "random", "concurrent.futures", "unicodedata", "teastreams.executors.thread"}
    assert (loaded(code) - loaded("")) & unused == set()


def test_what_workers_need_is_loaded_before_the_fork(tmp_path: Path) -> None:
    """A module that each worker had to load anew would cost that time for each of them."""
    code = """
import sys
import teastreams as ts
def node(state):
    before = set(sys.modules)
    state["seen"]["list"].append(1)
    return {"before": sorted(before)}
app = ts.pipeline(node, lambda state: {"n": len(sys.stdin.read())})
result = app.run({"seen": {"list": []}})
after = set(result.state["before"])
sys.exit(sorted({"cloudpickle", "_blake2", "pickle", "traceback"} - after) or 0)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
