"""The actions that nodes can use by name: those of the services, those of `imports:`, and those given in Python.

Laws: an import runs code of its author, so it happens when a workflow is compiled to be run, never when it is loaded or
validated. A name that nobody offers is a problem of the compile step, told with the names there are. A user's module
offers its public functions, or what its `register_actions(registry, engine)` puts into the registry.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
from types import ModuleType
from typing import Any, Callable, Iterator, Mapping, Optional

from teastreams.core.control.bodies import all_within
from teastreams.core.graph import Graph, Node
from teastreams.core.language.actions import Import, Uses
from teastreams.errors import Problem, WorkflowError
from teastreams.services import limits, memory, secrets

MAX_MODULE_BYTES = 16 * 1024 * 1024

Actions = Mapping[str, Callable[..., Any]]

BUILT_IN: Actions = {**limits.ACTIONS, **memory.ACTIONS, **secrets.ACTIONS}


def actions_of(graph: Graph, given: Optional[Actions] = None) -> Actions:
    """Every action that the nodes of this graph can use. WorkflowError for one that is missing or not importable."""
    graphs = (graph, *all_within(graph))
    imported: dict[str, Callable[..., Any]] = {}
    for each in graphs:
        for one in each.imports:
            imported.update(_imported(one, each.file))
    known = {**BUILT_IN, **imported, **(given or {})}
    problems = [problem for each in graphs for problem in _unknown(each, known)]
    if problems:
        raise WorkflowError(problems)
    return known


def problems_of(graph: Graph) -> Iterator[Problem]:
    """Actions that cannot be there whatever is imported or given: misspelt names of our own namespaces."""
    ours = {name.partition(".")[0] for name in BUILT_IN}
    for each in (graph, *all_within(graph)):
        taken = {one.namespace for one in each.imports}
        yield from _unknown(each, BUILT_IN, ours - taken)


def _unknown(graph: Graph, known: Actions, namespaces: Optional[set[str]] = None) -> Iterator[Problem]:
    for node in graph.nodes:
        name = node.run.name if isinstance(node.run, Uses) else None
        if name is None or name in known or (namespaces is not None and name.partition(".")[0] not in namespaces):
            continue
        import difflib  # only a mistake needs it

        near = difflib.get_close_matches(name, known, 1)
        offered = ", ".join(sorted(known))
        fix = f"did you mean `{near[0]}`?" if near else f"the actions are {offered}; others come by `imports:`"
        yield Problem(f"node {node.name!r} uses {name!r}, which is no action", fix, _place(node))


def _place(node: Node) -> Any:
    return node.positions.get("uses", node.where)


def _imported(one: Import, document: str) -> dict[str, Callable[..., Any]]:
    """What one import offers, under its namespace."""
    source = one.path or one.package or ""
    try:
        module = _file(one.path, document) if one.path else importlib.import_module(source)
        found = _registered(module)
    except Exception as error:
        message = f"the import of {source!r} raised {type(error).__name__}: {error}"
        raise WorkflowError([Problem(message, "correct it, or its place under `imports:`")]) from error
    prefix = f"{one.namespace}." if one.namespace else ""
    return {f"{prefix}{name}": function for name, function in found.items()}


def _file(path: str, document: str) -> ModuleType:
    """The module in a file, whose path is relative to the document."""
    place = os.path.join(os.path.dirname(document), path)
    spec = importlib.util.spec_from_file_location(os.path.splitext(os.path.basename(place))[0], place)
    if spec is None or spec.loader is None or not os.path.isfile(place):
        raise FileNotFoundError(f"there is no Python file {place}")
    size = os.path.getsize(place)
    if size > MAX_MODULE_BYTES:  # Python reads all of it before it looks at the first line
        raise ImportError(f"{place} has {size} bytes, and at most {MAX_MODULE_BYTES} are read; name a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _registered(module: ModuleType) -> dict[str, Callable[..., Any]]:
    register = getattr(module, "register_actions", None)
    if register is not None:
        registry: dict[str, Callable[..., Any]] = {}
        register(registry, None)
        return registry
    return {
        name: value
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
    }
