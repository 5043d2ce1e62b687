"""`command:` of one node -> `Command`, with `env:`, `cwd:` and `ok_exit_codes:`.

An argument vector and never a line for a shell: a line would have to be cut into words here, and what a value of the
state becomes there would depend on what is in it. What the texts mean is checked by `core.rules`.
"""

from __future__ import annotations

import shlex
from typing import Optional

from teastreams.core.graph import Command
from teastreams.workflow.document import YamlMapping, YamlScalar, YamlSequence, YamlValue
from teastreams.workflow.values import Block, kind
from teastreams.workflow.wording import escaped

BESIDE_A_COMMAND = ("env", "cwd", "ok_exit_codes")


def command_of(block: Block) -> Optional[Command]:
    """The program a node runs; None if it has none. Keys that belong to one and stand alone are noted."""
    if "command" not in block.entries:
        for key in BESIDE_A_COMMAND:
            if key in block.entries and "command" not in block.misspelt:
                message = f"`{key}` of {block.label} is for programs, and it has no `command`"
                block.report.add(block.entries[key].where, message, "add `command: [PROGRAM, ARGUMENT]`, or delete it")
        return None
    return Command(_argv(block), _environment(block), block.text("cwd") or None, _exit_codes(block))


def _argv(block: Block) -> tuple[str, ...]:
    value = block.get("command")
    if isinstance(value, YamlSequence) and value.items:
        return tuple(_argument(block, item) for item in value.items)
    expected = "a list with the program and its arguments"
    if isinstance(value, YamlSequence):
        where = block.entries["command"].where
        block.report.add(where, f"`command` of {block.label} is empty", "write `command: [gzip, -c]`")
    else:
        block.wrong("command", expected, _as_list(value))
    return ("?",)


def _as_list(value: Optional[YamlValue]) -> str:
    """The list that a line for a shell was probably meant to be."""
    text = value.value if isinstance(value, YamlScalar) else None
    try:
        words = shlex.split(text) if isinstance(text, str) else []
    except ValueError:
        words = []
    plain = all(word.replace("-", "a").replace(".", "a").replace("/", "a").isalnum() for word in words)
    return f"[{', '.join(words)}]" if words and plain and sum(map(len, words)) < 100 else "[gzip, -c]"


def _argument(block: Block, item: YamlValue) -> str:
    """One argument. A number is its text as it stands in the document: `-n 010` must stay `010`."""
    if isinstance(item, YamlScalar) and item.value is not None and not isinstance(item.value, bool):
        return _text(item) or ""
    fix = f'put it in quotes: `"{item.text}"`' if isinstance(item, YamlScalar) and item.text else "write a text"
    block.report.add(item.where, f"an argument in `command` of {block.label} is {kind(item)}", fix)
    return ""


def _text(value: YamlScalar) -> Optional[str]:
    """A scalar as text; None for null."""
    return value.value if value.value is None or isinstance(value.value, str) else value.text


def _environment(block: Block) -> dict[str, Optional[str]]:
    value = block.get("env")
    if value is None:
        return {}
    if not isinstance(value, YamlMapping):
        block.wrong("env", "a mapping of names to texts", "{LC_ALL: C}")
        return {}
    env: dict[str, Optional[str]] = {}
    for entry in value.entries:
        if not isinstance(entry.value, YamlScalar) or isinstance(entry.value.value, bool):
            message = f"`{escaped(entry.key)}` in `env` of {block.label} is {kind(entry.value)}"
            block.report.add(entry.where, message, f'write `{escaped(entry.key)}: "text"`, or null to remove it')
        else:
            env[entry.key] = _text(entry.value)
    return env


def _exit_codes(block: Block) -> frozenset[int]:
    value = block.get("ok_exit_codes")
    if value is None:
        return frozenset((0,))
    items = value.items if isinstance(value, YamlSequence) else ()
    codes = [each.value for each in items if isinstance(each, YamlScalar)]
    good = [code for code in codes if isinstance(code, int) and not isinstance(code, bool)]
    if not items or len(good) != len(items):
        block.wrong("ok_exit_codes", "a list of exit codes", "[0, 1]")
        return frozenset((0,))
    return frozenset(good)
