"""The rules of the house, read from the syntax trees of src: nobody has to argue about them.

Each rule is a generator that takes one parsed module and yields what is wrong with it. `test_the_house` runs all rules
over all modules; `test_a_rule_sees` feeds each of them the smallest module that breaks it, so that a rule which has
gone blind is noticed. A limit is changed here, in one place, with a reason, or not at all.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterator, Union

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "teastreams"

# One direction of imports: a floor may use what stands in its row, and itself. `facade` is the package's __init__.
MAY_USE = {
    "values": "",
    "errors": "",
    "core": "errors",
    "runtime": "errors core",
    "executors": "errors core runtime",
    "workflow": "errors core",
    "checkpoint": "errors core",
    "services": "errors core runtime checkpoint",
    "engine": "errors core runtime executors workflow checkpoint services",
    "facade": "errors core runtime executors workflow checkpoint services engine",
    "testing": "errors core runtime executors workflow checkpoint services engine",
    "bench": "errors facade",
    "cli": "errors core workflow checkpoint services engine facade bench",
    "__main__": "cli",
}
CORE_MAY_IMPORT = {
    "__future__",
    "ast",
    "jinja2",  # computes and nothing else; an extra, imported when an expression needs it
    "builtins",
    "errno",  # the numbers of errors, and
    "stat",  # the names of the bits of a mode: neither asks anybody
    "difflib",
    "warnings",  # to read code without the warnings of Python's compiler
    "types",
    "dataclasses",
    "enum",
    "typing",
    "collections",
    "itertools",
    "functools",
    "heapq",
    "struct",
}
WORKFLOW_MAY_NOT_IMPORT = {"cloudpickle", "fcntl", "multiprocessing", "pickle", "socket", "subprocess", "threading"}
RUNTIME_MAY_NOT_IMPORT = {"asyncio", "concurrent", "datetime", "logging", "multiprocessing", "subprocess", "yaml"}
# The `fork` context is asked for by name in one place; what multiprocessing leaves behind is looked for in another.
ONLY_IN = {"multiprocessing": {"runtime.fork", "runtime.node.leftover"}}
# Looking at the threads of the host is preflight's duty, and two of them may run workflows at once. Starting one is
# forbidden.
THREADING_ALLOWED = {"RLock", "active_count", "current_thread", "enumerate", "main_thread"}

SYSTEM_MODULES = {"fcntl", "os", "select", "signal"}
CONSTANT = re.compile(r"[A-Z][A-Z0-9_]*$")
# Names of these modules that ask the kernel for nothing: types, text, fixed values, functions that are only
# named.
HARMLESS = {
    "os": {
        "PathLike",
        "devnull",
        "environ",
        "error",
        "fsdecode",
        "fsencode",
        "fspath",
        "getenv",
        "linesep",
        "path",
        "stat_result",
        "strerror",
        "waitstatus_to_exitcode",
    },
    "signal": {"Handlers", "Sigmasks", "Signals", "default_int_handler", "valid_signals"},
    "select": {"error", "kevent"},
    "fcntl": set(),
}

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_MODULES_PER_FOLDER = 15
MIN_HEAD_LINES = 3
EMPTY_NAMES = {"base", "common", "helper", "helpers", "manager", "misc", "util", "utils"}
UNSAFE_YAML = {"full_load", "full_load_all", "load", "load_all", "unsafe_load", "unsafe_load_all"}
UNSAFE_LOADERS = {"CFullLoader", "CLoader", "CSafeLoader", "CUnsafeLoader", "FullLoader", "Loader", "UnsafeLoader"}

Definition = Union[ast.FunctionDef, ast.AsyncFunctionDef]


@dataclass(frozen=True)
class Module:
    """One file: its dotted name below the package (`core.graph`, `core.__init__`), its text and its tree."""

    name: str
    text: str
    tree: ast.Module

    @property
    def floor(self) -> str:
        first = self.name.split(".")[0]
        return "facade" if first == "__init__" else first


def module(name: str, text: str) -> Module:
    return Module(name, text, ast.parse(text))


def house() -> list[Module]:
    files = sorted(SOURCE.rglob("*.py"))
    return [module(".".join(path.relative_to(SOURCE).with_suffix("").parts), path.read_text("utf-8")) for path in files]


# -- reading the trees ------------------------------------------------------------------------------------------------


def imports(one: Module) -> Iterator[tuple[str, str, int]]:
    """Every import as (module, name taken from it or "", line); relative ones made absolute."""
    for node in ast.walk(one.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, "", node.lineno
        elif isinstance(node, ast.ImportFrom):
            parents = ["teastreams", *one.name.split(".")][: -node.level] if node.level else []
            source = ".".join([*parents, *([node.module] if node.module else [])])
            for alias in node.names:
                yield source, alias.name, node.lineno


def floor_of(source: str, name: str) -> str:
    """The floor that an import of ours reaches."""
    parts = [*source.split("."), name][1:]
    return parts[0] if parts[0] in MAY_USE else "facade"


def uses(one: Module, modules: set[str]) -> Iterator[tuple[str, str, int]]:
    """Every use of a name out of `modules`: as an attribute (`os.read`) or imported (`from os import read`)."""
    for node in ast.walk(one.tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            yield node.value.id, node.attr, node.lineno
    for source, name, line in imports(one):
        if name and source in modules:
            yield source, name, line


def functions(one: Module) -> Iterator[Definition]:
    for node in ast.walk(one.tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def lines_without_docstring(function: Definition) -> int:
    length = (function.end_lineno or function.lineno) - function.lineno + 1
    if ast.get_docstring(function) is not None:
        head = function.body[0]
        length -= (head.end_lineno or head.lineno) - head.lineno + 1
    return length


def words(name: str) -> set[str]:
    """The words of an identifier: `fooBar_baz` and `FooBarBaz` are foo, bar, baz."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)}


# -- the rules --------------------------------------------------------------------------------------------------------


def imports_point_one_way(one: Module) -> Iterator[str]:
    if one.floor not in MAY_USE:
        yield f"stands on no known floor; give {one.floor!r} a row in MAY_USE"
        return
    allowed = {one.floor, "values", *MAY_USE[one.floor].split()}
    for source, name, line in imports(one):
        if source.split(".")[0] == "teastreams" and floor_of(source, name) not in allowed:
            yield f"line {line}: {one.floor} may not use {source} {name}".rstrip()


def core_is_pure(one: Module) -> Iterator[str]:
    if one.floor != "core":
        return
    for source, _, line in imports(one):
        top = source.split(".")[0]
        if top != "teastreams" and top not in CORE_MAY_IMPORT:
            yield f"line {line}: core may not import {source}"
    for node in ast.walk(one.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"open", "input"}:
            yield f"line {node.lineno}: core may not call {node.func.id}()"


def no_forbidden_modules(one: Module) -> Iterator[str]:
    forbidden = {"runtime": RUNTIME_MAY_NOT_IMPORT, "workflow": WORKFLOW_MAY_NOT_IMPORT}.get(one.floor, set())
    for source, _, line in imports(one):
        top = source.split(".")[0]
        if top in forbidden and one.name not in ONLY_IN.get(top, set()):
            yield f"line {line}: {one.floor} may not import {source}"


def runtime_starts_no_thread_and_reads_no_wall_clock(one: Module) -> Iterator[str]:
    if one.floor != "runtime":
        return
    for source, name, line in uses(one, {"threading", "time"}):
        if source == "threading" and name not in THREADING_ALLOWED:
            yield f"line {line}: threading.{name}: no thread of ours"
        if source == "time" and one.name != "runtime.calls":
            yield f"line {line}: time.{name}: read the clock through runtime.calls"
        if source == "time" and name in {"time", "time_ns"}:
            yield f"line {line}: time.{name}: the wall clock jumps, use the monotonic one"


def only_calls_calls_the_system(one: Module) -> Iterator[str]:
    if one.floor != "runtime" or one.name == "runtime.calls":
        return
    for source, name, line in uses(one, SYSTEM_MODULES):
        if not CONSTANT.match(name) and name not in HARMLESS[source]:
            yield f"line {line}: {source}.{name}: system calls go through runtime.calls"


def nobody_prints(one: Module) -> Iterator[str]:
    for node in ast.walk(one.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"print", "breakpoint"}:
            yield f"line {node.lineno}: {node.func.id}()"


def nobody_asserts(one: Module) -> Iterator[str]:
    for node in ast.walk(one.tree):
        if isinstance(node, ast.Assert):
            yield f"line {node.lineno}: assert: raise an error with a name, python -O removes asserts"


def yaml_builds_no_objects(one: Module) -> Iterator[str]:
    for source, name, line in uses(one, {"yaml"}):
        if name in UNSAFE_YAML | UNSAFE_LOADERS:
            yield f"line {line}: {source}.{name}: a subclass of SafeLoader over checked events only"


def files_are_short(one: Module) -> Iterator[str]:
    count = len(one.text.splitlines())
    if count > MAX_FILE_LINES:
        yield f"{count} lines, at most {MAX_FILE_LINES}: split it where it does two things"


def functions_are_short(one: Module) -> Iterator[str]:
    for function in functions(one):
        count = lines_without_docstring(function)
        if count > MAX_FUNCTION_LINES:
            yield f"line {function.lineno}: {function.name} has {count} lines, at most {MAX_FUNCTION_LINES}"


def files_say_what_they_are_for(one: Module) -> Iterator[str]:
    if one.name.endswith(".__init__"):
        return
    count = len((ast.get_docstring(one.tree) or "").splitlines())
    if count < MIN_HEAD_LINES:
        yield f"its docstring has {count} lines, at least {MIN_HEAD_LINES}: its purpose, its laws, its limits"


def names_say_something(one: Module) -> Iterator[str]:
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    names = [*one.name.split("."), *(node.name for node in ast.walk(one.tree) if isinstance(node, kinds))]
    for name in names:
        if words(name) & EMPTY_NAMES:
            yield f"the name {name!r} says nothing"


RULES: list[Callable[[Module], Iterator[str]]] = [
    imports_point_one_way,
    core_is_pure,
    no_forbidden_modules,
    runtime_starts_no_thread_and_reads_no_wall_clock,
    only_calls_calls_the_system,
    nobody_prints,
    nobody_asserts,
    yaml_builds_no_objects,
    files_are_short,
    functions_are_short,
    files_say_what_they_are_for,
    names_say_something,
]


@pytest.mark.slow  # reads the whole source, which says the same on every Python
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house(rule: Callable[[Module], Iterator[str]]) -> None:
    """No module breaks the rule."""
    found = [f"{one.name}: {wrong}" for one in house() for wrong in rule(one)]
    if found:
        pytest.fail("\n".join(found), pytrace=False)


def test_folders_are_small() -> None:
    """A folder holds what a person can keep in mind; `__init__` does not count."""
    folders: dict[Path, int] = {}
    for path in SOURCE.rglob("*.py"):
        folders[path.parent] = folders.get(path.parent, 0) + (path.name != "__init__.py")
    assert {str(folder): count for folder, count in folders.items() if count > MAX_MODULES_PER_FOLDER} == {}


HEAD = '"""One.\n\nTwo.\n"""\n'
BROKEN = [
    (imports_point_one_way, "core.x", "from teastreams.runtime import fds"),
    (imports_point_one_way, "core.x", "from ..runtime import fds"),
    (imports_point_one_way, "core.x", "from teastreams import runtime"),
    (imports_point_one_way, "core.x", "import teastreams.engine"),
    (imports_point_one_way, "errors", "from teastreams.core.graph import Edge"),
    (imports_point_one_way, "workflow.x", "def f():\n    from teastreams.runtime.calls import table"),
    (imports_point_one_way, "runtime.x", "from teastreams import StateGraph"),
    (imports_point_one_way, "attic.x", ""),
    (core_is_pure, "core.x", "import os"),
    (core_is_pure, "core.x", "from time import monotonic"),
    (core_is_pure, "core.x", "open('x')"),
    (no_forbidden_modules, "runtime.x", "import logging.config"),
    (no_forbidden_modules, "runtime.x", "import multiprocessing"),
    (no_forbidden_modules, "workflow.x", "from pickle import loads"),
    (runtime_starts_no_thread_and_reads_no_wall_clock, "runtime.x", "import threading\nthreading.Thread()"),
    (runtime_starts_no_thread_and_reads_no_wall_clock, "runtime.x", "from threading import Thread"),
    (runtime_starts_no_thread_and_reads_no_wall_clock, "runtime.x", "import time\ntime.monotonic()"),
    (runtime_starts_no_thread_and_reads_no_wall_clock, "runtime.calls", "import time\ntime.time()"),
    (only_calls_calls_the_system, "runtime.x", "import os\nos.read(0, 1)"),
    (only_calls_calls_the_system, "runtime.x", "from os import close"),
    (only_calls_calls_the_system, "runtime.x", "import signal\nsignal.signal(signal.SIGTERM, None)"),
    (nobody_prints, "cli.x", "print('x')"),
    (nobody_asserts, "engine", "assert True"),
    (yaml_builds_no_objects, "workflow.x", "import yaml\nyaml.load('x', yaml.SafeLoader)"),
    (yaml_builds_no_objects, "workflow.x", "from yaml import CSafeLoader"),
    (files_are_short, "engine", "x = 1\n" * 401),
    (functions_are_short, "engine", "def f():\n" + "    x = 1\n" * 60),
    (files_say_what_they_are_for, "engine", '"""One line."""'),
    (files_say_what_they_are_for, "__init__", ""),
    (names_say_something, "runtime.utils", ""),
    (names_say_something, "engine", "class StreamManager: pass"),
    (names_say_something, "engine", "def _process_helper(): pass"),
]


@pytest.mark.parametrize(("rule", "name", "text"), BROKEN)
def test_a_rule_sees(rule: Callable[[Module], Iterator[str]], name: str, text: str) -> None:
    """The smallest module that breaks the rule is found out."""
    assert list(rule(module(name, text)))


ALLOWED = [
    ("core.x", HEAD + "from dataclasses import dataclass\nfrom teastreams.errors import Problem\n"),
    ("executors.x", HEAD + "from teastreams.runtime import calls\nfrom . import flows\n"),
    ("runtime.x", HEAD + "import os, select, signal\nx = os.O_NONBLOCK | select.POLLIN | signal.SIGTERM\n"),
    ("runtime.x", HEAD + "import os\nx = os.environ.get('A')\ny = os.WNOHANG\n"),
    ("runtime.fork", HEAD + "import multiprocessing\n"),
    ("runtime.x", HEAD + "import threading\nx = threading.enumerate()\n"),
    ("engine", HEAD + "def f():\n    '''A.\n\n    B.\n    '''\n" + "    x = 1\n" * 59),
    ("core.__init__", ""),
    ("workflow.x", HEAD + "import yaml\nclass Loader(yaml.SafeLoader): pass\n"),
    ("core.x", HEAD + "def baseline(): pass\n"),
]


@pytest.mark.parametrize(("name", "text"), ALLOWED)
def test_the_rules_leave_good_code_alone(name: str, text: str) -> None:
    """What the rules mean to allow, they allow."""
    assert [wrong for rule in RULES for wrong in rule(module(name, text))] == []


def test_every_rule_has_a_module_that_breaks_it() -> None:
    """No rule is without its counter-example."""
    assert {rule for rule, _, _ in BROKEN} == set(RULES)
