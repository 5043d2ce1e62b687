"""`state_schema:` and `settings.state` -> `StateSchema`: types and reducers of the keys of the state.

A key has a type, by name, or a mapping of its type and its reducer. What cannot be read is noted with its place and
left out: a key without a type is free. That `settings` itself is a mapping is the business of `settings`.
"""

from __future__ import annotations

from typing import Optional

from teastreams.core.state.reducers import NAMED, Reducer
from teastreams.core.state.schema import StateSchema
from teastreams.core.state.types import NAMED as TYPES
from teastreams.core.state.types import Type, UnknownType, type_named
from teastreams.errors import Position
from teastreams.workflow.document import YamlEntry, YamlMapping, YamlScalar, YamlValue
from teastreams.workflow.keys import STATE_KEY, STATE_SETTINGS
from teastreams.workflow.values import Block, Report, kind, opened_mapping
from teastreams.workflow.wording import nearest, quoted

# What a reducer needs the value to be; `add` and `replace` take several.
FITTING = {"append": "list", "merge": "dict"}


def state_schema(document: Block) -> StateSchema:
    """The schema of a document's state."""
    keys = _keys(document)
    types = {entry.key: _type_of(entry, document.report) for entry in keys}
    reducers = {entry.key: _reducer_of(entry, types[entry.key], document.report) for entry in keys}
    return StateSchema(
        {key: each for key, each in types.items() if each is not None},
        {key: each for key, each in reducers.items() if each is not None},
        _enforced(document),
    )


def _keys(document: Block) -> tuple[YamlEntry, ...]:
    if "state_schema" not in document.entries:
        return ()
    document.report.takes[document.entries["state_schema"].where] = _as_json_schema()
    value = document.get("state_schema")
    if isinstance(value, YamlMapping):
        return value.entries
    document.wrong("state_schema", "a mapping of state keys to type names", "{path: str}")
    return ()


def _as_json_schema() -> dict[str, object]:
    text: dict[str, object] = {"type": "string"}
    fields = {"type": text, "reducer": {"enum": list(NAMED)}, "description": text}
    long = {"type": "object", "properties": fields, "additionalProperties": False}
    return {"type": "object", "additionalProperties": {"anyOf": [text, long]}}


def _enforced(document: Block) -> bool:
    settings = document.get("settings")
    if not isinstance(settings, YamlMapping):
        return False
    # Opened a second time only to be looked into: its strange keys are noted by who reads `settings`.
    entries = {entry.key: entry for entry in settings.entries}
    block = Block(settings.where, "settings", document.report, entries).open("state", STATE_SETTINGS, "settings.state")
    return block is not None and block.flag("enforce")


def _block(entry: YamlEntry, report: Report) -> Optional[Block]:
    """The long form of a key."""
    if not isinstance(entry.value, YamlMapping):
        return None
    entries = {each.key: each for each in entry.value.entries}
    return Block(entry.value.where, _label(entry), report, entries)


def _label(entry: YamlEntry) -> str:
    return f"the state key {quoted(entry.key)}"


def _type_of(entry: YamlEntry, report: Report) -> Optional[Type]:
    """The declared type; None, with a note where it is needed, if there is none that can be read."""
    if not isinstance(entry.value, YamlMapping):
        return _named(entry.value, entry, report)
    block = opened_mapping(entry.value, STATE_KEY, _label(entry), report)
    block.text("description")
    written = block.get("type")
    return None if written is None else _named(written, entry, report)


def _named(value: YamlValue, entry: YamlEntry, report: Report) -> Optional[Type]:
    text = value.value if isinstance(value, YamlScalar) else None
    if not isinstance(text, str):
        message = f"the type of {_label(entry)} must be the name of a type, not {kind(value)}"
        report.add(value.where, message, "write a type such as `str`, or `list[str]`")
        return None
    try:
        return type_named(text)
    except UnknownType as unknown:
        likely = nearest(text, sorted(TYPES))
        fix = f"did you mean `{likely}`?" if likely else unknown.fix
        report.add(value.where, f"the type of {_label(entry)}: {unknown}", fix)
        return None


def _reducer_of(entry: YamlEntry, declared: Optional[Type], report: Report) -> Optional[Reducer]:
    block = _block(entry, report)
    name = None if block is None else block.choice("reducer", list(NAMED))
    if block is None or name is None:
        return None
    wanted = FITTING.get(name)
    if wanted is not None and declared is not None and not _fits(declared, wanted):
        message = f"the reducer `{name}` of {_label(entry)} needs a {wanted}, and its type is `{declared.name}`"
        report.add(_place(block), message, f"write `type: {wanted}`, or another reducer")
    return NAMED[name] if name != "replace" else None


def _place(block: Block) -> Position:
    return block.positions()["reducer"]


def _fits(declared: Type, wanted: str) -> bool:
    """Can a value of this type be what the reducer makes?"""
    choices = declared.choices or (declared,)
    return any(issubclass(cls, each.classes) for each in choices for cls in TYPES[wanted].classes)
