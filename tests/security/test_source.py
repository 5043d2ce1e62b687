"""What no line of the library may do, read from its source; and what its regular expressions cost."""

from __future__ import annotations

import ast
import importlib
import re
import time
from functools import cache
from pathlib import Path

import pytest

import teastreams
from teastreams.workflow.wording import nearest

SOURCE = Path(teastreams.__file__).parent
TREES = {
    path.relative_to(SOURCE).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in SOURCE.rglob("*.py")
}


@cache
def calls() -> tuple[tuple[str, str], ...]:
    """Every call in the library as (file, the name that is called, with what stands before its dot)."""
    nodes = ((file, node) for file, tree in TREES.items() for node in ast.walk(tree))
    return tuple((file, ast.unparse(node.func)) for file, node in nodes if isinstance(node, ast.Call))


def files_that_call(*names: str) -> set[str]:
    return {file for file, name in calls() if name in names}


def files_that_import(*names: str) -> set[str]:
    found = set()
    for file, tree in TREES.items():
        for node in ast.walk(tree):
            given = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            given += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found |= {file for each in given if each.split(".")[0] in names}
    return found


def test_a_pickle_is_loaded_in_the_modules_that_read_pipes_of_our_own_children_and_nowhere_else() -> None:
    loading = files_that_call(
        "pickle.loads", "pickle.load", "cloudpickle.loads", "cloudpickle.load", "pickle.Unpickler"
    )

    assert loading == PICKLE_LOADS
    assert not files_that_import("shelve", "marshal", "dill", "joblib")
    assert not files_that_call("pickle.load", "cloudpickle.load", "pickle.Unpickler")  # from a file, in whatever way


def test_no_yaml_is_built_into_objects() -> None:
    assert files_that_call("yaml.parse") == {"workflow/document.py"}
    assert {name for _, name in calls() if name.startswith("yaml.")} == {"yaml.parse"}


def test_text_becomes_code_in_three_modules_only() -> None:
    assert files_that_call("compile") == {"core/language/expressions.py", "workflow/readers/runblock.py"}
    assert files_that_call("eval") == {"core/language/expressions.py"}
    assert files_that_call("exec", "__import__") == set()
    assert files_that_call("importlib.import_module") <= {"engine/actions.py"} | LAZY


def test_nothing_listens_and_nothing_goes_through_a_shell() -> None:
    assert not files_that_import("socket", "socketserver", "http", "ssl", "xmlrpc", "asyncore", "urllib3", "requests")
    shells = ("os.system", "os.popen", "subprocess.run", "subprocess.Popen", "subprocess.call", "subprocess.getoutput")
    # They run tests again, and what is measured beside us, by lists of arguments.
    assert files_that_call(*shells) == {"testing/plugin.py", "bench/children.py"}
    assert not any(
        isinstance(node, ast.keyword) and node.arg == "shell" for tree in TREES.values() for node in ast.walk(tree)
    )


PICKLE_LOADS: set[str] = {f"runtime/node/{name}.py" for name in ("pickles", "control", "branch", "records")}
LAZY: set[str] = set()

# --- cost ----------------------------------------------------------------------------------------------------------

PATTERNS = sorted(
    {
        (file, name)
        for file, tree in TREES.items()
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
        if ast.unparse(node.value.func) == "re.compile"
        if file != "engine/reporting/doctor.py"  # which reads the metadata of our own package
        for name in [ast.unparse(node.targets[0])]
    }
)
HOSTILE = (
    "0",
    "a",
    " ",
    "-",
    ".",
    "1.",
    "aA1 ",
    "\n",
    "%\n",
    "/dev/fd/9",
    "9 k",
    "'\\",
    "a.a",
    "1e1",
    "+",
    "_",
    "{{",
    "\t ",
)


def test_every_regular_expression_is_known_to_the_measurement() -> None:
    assert len(PATTERNS) >= 5
    inner = {
        file for file, name in calls() if name in ("re.match", "re.search", "re.fullmatch", "re.sub", "re.findall")
    }
    # What is not compiled at the top of a module is not measured; these three look for one class of characters.
    assert inner == {"runtime/fanout/orchestrator.py", "services/memory.py", "workflow/document.py"}


@pytest.mark.parametrize(("file", "name"), PATTERNS, ids=str)
def test_a_regular_expression_takes_linear_time(file: str, name: str) -> None:
    """A megabyte of what it half fits, with and without an end that does not: quadratic would be hours."""
    pattern = getattr(importlib.import_module("teastreams." + file[:-3].replace("/", ".")), name)
    as_bytes = isinstance(pattern.pattern, bytes)
    used = {method for _, called in calls() for owner, _, method in [called.rpartition(".")] if owner == name} or {
        "fullmatch"
    }
    for piece in HOSTILE:
        text = piece * (1_000_000 // len(piece)) + "!"
        given = text.encode() if as_bytes else text
        begun = time.process_time()
        for use in used:
            if use == "sub":
                pattern.sub(given[:0], given)
            else:
                list(getattr(pattern, use)(given) or ())[:1] if use in ("finditer", "findall") else getattr(
                    pattern, use
                )(given)
        assert time.process_time() - begun < 2, f"{pattern.pattern!r} on {piece!r}"


def test_did_you_mean_has_an_end() -> None:
    """A word of any length, and more names than anybody writes."""
    names = [f"name{number}" * 3 for number in range(100_000)]
    begun = time.process_time()

    assert nearest("a" * 1_000_000, names) is None
    nearest("name77" * 16, names)
    assert time.process_time() - begun < 2


def test_a_pattern_that_is_not_linear_would_be_seen() -> None:
    begun = time.process_time()
    re.compile(r"(a+)+$").match("a" * 22 + "!")

    assert time.process_time() - begun > 0.05
