"""The public face is what docs/API.md says, explained, and free to import.

The document is the list; the package follows it. Importing is looked at from outside, in a fresh interpreter: what a
test process has already imported would hide what an import does.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import teastreams

API = Path(__file__).resolve().parents[1] / "docs" / "API.md"
DOCUMENTED = re.findall(r"^\| `(\w+)` \|", API.read_text("utf-8"), flags=re.MULTILINE)

# What the epic's acceptance criteria and every user's first program use; the document may grow, these may not go.
PROMISED = {
    "END",
    "START",
    "CircuitBreaker",
    "CircuitBreakerConfig",
    "NodeStreamsConfig",
    "ParallelConfig",
    "ParallelFlowResult",
    "PlatformError",
    "ProcessExecutor",
    "RetryPolicy",
    "StateGraph",
    "StreamChannel",
    "StreamDirection",
    "StreamRegistry",
    "StreamSettings",
    "TeeOrchestrator",
    "ThreadExecutor",
    "YAMLEngine",
    "validate_platform",
}

LOOK_AROUND = """
import json, os, signal, sys, time
def world():
    handlers = {number: str(signal.getsignal(number)) for number in signal.valid_signals()}
    umask = os.umask(0); os.umask(umask)
    standard = [id(sys.stdin), id(sys.stdout), id(sys.stderr), id(sys.excepthook)]
    descriptors = sorted(os.listdir("/dev/fd"))
    return [handlers, umask, os.getcwd(), standard, descriptors, dict(os.environ), len(sys.meta_path)]
before = world()
started = time.process_time()
import teastreams
seconds = time.process_time() - started
import threading, multiprocessing, logging
print(json.dumps({
    "same_world": world() == before,
    "threads": threading.active_count(),
    "children": len(multiprocessing.active_children()),
    "start_method": multiprocessing.get_start_method(allow_none=True),
    "root_handlers": len(logging.getLogger().handlers),
    "seconds": seconds,
}))
"""


def test_the_face_is_what_the_document_lists() -> None:
    """`__all__` and docs/API.md hold the same names, each once."""
    assert sorted(teastreams.__all__) == sorted(DOCUMENTED)
    assert len(set(DOCUMENTED)) == len(DOCUMENTED)


def test_no_promised_name_is_missing() -> None:
    """The names of the epic are there, with its spellings."""
    assert set(DOCUMENTED) >= PROMISED


@pytest.mark.parametrize("name", DOCUMENTED)
def test_every_public_name_is_explained(name: str) -> None:
    """It exists; a class or function has a docstring of its own whose first line is a sentence."""
    value = getattr(teastreams, name)
    if isinstance(value, str):
        assert value == f"__{name.lower()}__"
        return
    own = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
    # A dataclass without a docstring gets its signature as one.
    assert own, f"{name} has no docstring"
    assert not own.startswith(f"{name}("), f"{name} has only a generated docstring"
    assert re.search(r"[.:)]$", own.strip().splitlines()[0].strip()), own


@pytest.mark.parametrize("name", [name for name in DOCUMENTED if name[0].isupper() and not name.isupper()])
def test_public_methods_are_explained(name: str) -> None:
    """Every public method and property that a public class defines itself has a docstring."""
    defined = vars(getattr(teastreams, name))
    bare = [key for key, value in defined.items() if not key.startswith("_") and callable(value) and not value.__doc__]
    bare += [key for key, value in defined.items() if isinstance(value, property) and not value.__doc__]
    assert bare == []


def test_importing_does_nothing() -> None:
    """No thread, child, handler, descriptor or setting appears, and it costs little processor time."""
    done = subprocess.run([sys.executable, "-c", LOOK_AROUND], capture_output=True, text=True, timeout=50, check=True)
    seen = json.loads(done.stdout)
    assert seen.pop("seconds") < 1.0
    assert seen == {"same_world": True, "threads": 1, "children": 0, "start_method": None, "root_handlers": 0}
    assert done.stderr == ""


def test_importing_loads_only_what_every_run_needs() -> None:
    """What only some runs need is not loaded by all of them."""
    program = (
        "import sys; before = set(sys.modules); import teastreams; new = set(sys.modules) - before\n"
        "print(' '.join(new & {'asyncio', 'ctypes', 'sqlite3'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=True)
    assert done.stdout.split() == []


def test_every_name_is_loaded_from_where_type_checkers_see_it() -> None:
    """The table of homes, the imports for type checkers and `__all__` say the same."""
    tree = ast.parse(Path(teastreams.__file__).read_text("utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    seen = {a.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for a in node.names}
    assert seen == teastreams._HOMES
    assert sorted(seen) == sorted(teastreams.__all__)


def test_a_star_import_and_dir_have_every_name() -> None:
    """Names that are loaded late are there for `import *`, `dir` and `hasattr` all the same, and no others."""
    here: dict[str, object] = {}
    exec("from teastreams import *", here)  # noqa: S102  a star import is allowed in a module only
    assert set(DOCUMENTED) <= here.keys()
    assert set(DOCUMENTED) <= set(dir(teastreams))
    assert not hasattr(teastreams, "Nothing")


def test_importing_loads_none_of_our_modules() -> None:
    """Whoever imports the package pays for no name before using it; `typing` is the heaviest thing it needs."""
    program = (
        "import sys, typing; before = set(sys.modules); import teastreams; print(*(set(sys.modules) - before))\n"
        "teastreams.NodeError; assert 'teastreams.errors' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=True)
    loaded = {name for name in done.stdout.split() if not name.startswith("importlib")}
    assert loaded <= {"teastreams", "__future__", "warnings"}
