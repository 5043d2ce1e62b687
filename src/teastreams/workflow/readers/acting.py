"""`uses:`, `with:`, `output:` of a node, `imports:` and `initial_state:` of a document.

Nothing is imported: a document that is only validated executes nothing. That a file of `imports:` exists is checked
when it is compiled to run, since only then is it clear where the document stands.
"""

from __future__ import annotations

from typing import Any, Mapping, Optional

from teastreams.core.language.actions import Import, Uses
from teastreams.core.language.expressions import Expression, ExpressionError, parsed
from teastreams.core.language.trees import Output, tree_of
from teastreams.workflow.document import YamlMapping, YamlScalar, YamlSequence, YamlValue
from teastreams.workflow.keys import IMPORT
from teastreams.workflow.values import Block, Report, kind, name_of, opened, place_of, plain
from teastreams.workflow.wording import escaped


def uses_of(block: Block) -> Optional[Uses]:
    """The action that a node uses; None if it uses none."""
    arguments = _arguments(block)
    value = block.get("uses")
    if value is None:
        if "with" in block.entries:
            message = f"`with` of {block.label} are the arguments of an action, and there is none"
            block.report.add(place_of(block.entries["with"]), message, "add `uses: some.action`")
        return None
    name = name_of(value, "uses", block.label, block.report)
    if "run" in block.entries:
        message = f"{block.label} has both `run` and `uses`"
        block.report.add(place_of(block.entries["uses"]), message, "keep one of them, or make two nodes of it")
    return Uses(name, arguments) if name else None


def output_of(block: Block) -> Optional[Output]:
    """Under which keys what a node returns is kept; None where it returns what it sets."""
    value = block.get("output")
    if value is not None:
        block.report.takes[block.entries["output"].where] = {"type": ["string", "object"]}
    if value is None or not block.entries.keys() & {"run", "uses"} or "type" in block.entries:
        return None
    if not isinstance(value, YamlMapping):
        return name_of(value, "output", block.label, block.report)
    found = {entry.key: _expression(block, f"output.{escaped(entry.key)}", entry.value) for entry in value.entries}
    return {key: each for key, each in found.items() if each is not None}


def imports_of(document: Block) -> tuple[Import, ...]:
    """The `imports:` of a document."""
    value = document.get("imports")
    if value is None:
        return ()
    if not isinstance(value, YamlSequence):
        document.wrong("imports", "a list", "[{path: actions.py, namespace: my}]")
        return ()
    found = [_import(item, number, document.report) for number, item in enumerate(value.items, start=1)]
    return tuple(each for each in found if each is not None)


def initial_state_of(document: Block) -> Mapping[str, Any]:
    """The state that a run begins with, before what the caller gives."""
    value = document.get("initial_state")
    if isinstance(value, YamlMapping):
        return {entry.key: plain(entry.value) for entry in value.entries}
    if value is not None and not (isinstance(value, YamlScalar) and value.value is None):
        document.wrong("initial_state", "a mapping of state keys to values", "{count: 0}")
    return {}


def _import(value: YamlValue, number: int, report: Report) -> Optional[Import]:
    block = opened(value, IMPORT, f"import {number}", report)
    if block is None:
        return None
    path, package, namespace = (block.text(key) for key in ("path", "package", "namespace"))
    if bool(path) == bool(package):
        message = f"{block.label} names {'both a file and a package' if path else 'neither a file nor a package'}"
        report.add(block.where, message, "write `path: actions.py`, or `package: some.package`")
        return None
    return Import(path or None, package or None, namespace)


def _arguments(block: Block) -> Mapping[str, Any]:
    value = block.get("with")
    if value is None or (isinstance(value, YamlScalar) and value.value is None):
        return {}
    if not isinstance(value, YamlMapping):
        block.wrong("with", "a mapping of the action's arguments", '{key: "{{ state.some_key }}"}')
        return {}
    found = {}
    for entry in value.entries:
        try:
            found[entry.key] = tree_of(plain(entry.value))
        except ExpressionError as error:
            message = f"`with.{escaped(entry.key)}` of {block.label}: {escaped(str(error))}"
            block.report.add(place_of(entry), message, escaped(error.fix))
    return found


def _expression(block: Block, key: str, value: YamlValue) -> Optional[Expression]:
    if not isinstance(value, YamlScalar) or not isinstance(value.value, str):
        message = f"`{key}` of {block.label} must be an expression, not {kind(value)}"
        block.report.add(value.where, message, 'write one, such as "{{ result.total }}"')
        return None
    try:
        return parsed(value.value)
    except ExpressionError as error:
        block.report.add(value.where, f"`{key}` of {block.label}: {escaped(str(error))}", escaped(error.fix))
        return None
