"""The JSON Schema of workflow documents, for editors. There is no second list of keys: the readers are asked.

Every key of every table in `keys` is shown to the readers that validate, in a small document of its own, with one value
of every kind. What a reader says it takes (`Report.takes`), which mapping it opens (`Report.opens`), and which kinds it
lets pass without a problem is the schema of that key. A key that is new to the tables is so in the schema, too.

The schema never refuses what `validate` accepts. It accepts more: relations between keys, nodes and channels, and what
the code of a node may be, are not in it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Iterator, Mapping, Optional, Union

from teastreams.errors import Position
from teastreams.values import dataclass
from teastreams.workflow.document import YamlEntry, YamlMapping, YamlScalar, YamlSequence, YamlValue
from teastreams.workflow.keys import DOCUMENT, Place
from teastreams.workflow.scalars import Plain
from teastreams.workflow.schema import graph_of
from teastreams.workflow.values import Report

Schema = dict[str, object]
Sample = Union[Plain, list[Plain], dict[str, Plain]]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

# Where things stand in a document that is asked about: a problem says by its line whom it concerns.
_AROUND, _SUBJECT, _KEY, _VALUE, _INSIDE = (Position("", line, 1) for line in range(1, 6))

# How a mapping can stand under a key.
_ONE, _LIST, _NAMES = "one", "list", "names"
_SHAPES = (_ONE, _LIST, _NAMES)

# A value of every kind. The text is a name, a word and a line of Python at once.
_SCALARS: tuple[tuple[str, Plain], ...] = (("null", None), ("boolean", True), ("number", 1.5), ("string", "a"))
_IN_LISTS: tuple[tuple[str, Plain], ...] = (("boolean", True), ("number", 1.5), ("integer", 1), ("string", "a"))


@dataclass(frozen=True)
class _Way:
    """How to come to a kind of mapping from the top of a document: keys, and whether each holds one, a list, or names.

    `company` is what always stands in the mapping: some keys mean nothing without another one.
    """

    steps: tuple[tuple[str, str], ...] = ()
    company: tuple[YamlEntry, ...] = ()

    def report(self, *entries: YamlEntry) -> Report:
        """What the readers note about a document in which the mapping at the end of the way has these entries."""
        value: YamlValue = YamlMapping(_SUBJECT, (*self.company, *entries))
        for key, shape in reversed(self.steps):
            value = YamlMapping(_AROUND, (YamlEntry(key, _AROUND, _shaped(value, shape, _AROUND)),))
        report = Report()
        graph_of(value, "", report)
        return report


def json_schema() -> Schema:
    """The schema of a whole document, draft 2020-12."""
    ways = {DOCUMENT.name: _Way()}
    waiting = deque([DOCUMENT])
    schemas: dict[str, Schema] = {}
    while waiting:
        place = waiting.popleft()
        schemas[place.name], below = _mapping(place, ways[place.name])
        for found, way in below:
            if found.name not in ways:
                ways[found.name] = way
                waiting.append(found)
    top = schemas.pop(DOCUMENT.name)
    definitions = {_defined(name): schema for name, schema in schemas.items()}
    return {"$schema": DIALECT, "title": "a teastreams workflow", **top, "$defs": definitions}


def _shaped(inner: YamlValue, shape: str, where: Position) -> YamlValue:
    """The value alone, in a list, or under a name of the author's choice."""
    if shape == _LIST:
        return YamlSequence(where, (inner,))
    return YamlMapping(where, (YamlEntry("a", where, inner),)) if shape == _NAMES else inner


def _defined(place: str) -> str:
    return place.replace("`", "").replace(" ", "_")


def _mapping(place: Place, way: _Way) -> tuple[Schema, list[tuple[Place, _Way]]]:
    """The schema of one kind of mapping, and the kinds of mapping that its keys lead to."""
    below: list[tuple[Place, _Way]] = []
    properties: dict[str, Schema] = {}
    for key in place.keys:
        inner = {shape: _opened(way, key, shape) for shape in _SHAPES}
        below += [(found, _Way((*way.steps, (key, shape)))) for shape, found in inner.items() if found]
        asked = (_value(each, key, inner) for each in (way, *_accompanied(way, key, place)))
        properties[key] = next(filter(None, asked), {})
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**schema, **_required(way, place)}, below


def _accompanied(way: _Way, key: str, place: Place) -> Iterator[_Way]:
    """The same way with each other key of the mapping in place, one at a time."""
    for other in place.keys:
        if other != key:
            entry = _best(way, other)
            yield replace(way, company=(YamlEntry(other, _AROUND, entry.value),))


def _opened(way: _Way, key: str, shape: str) -> Optional[Place]:
    """The kind of mapping that a reader takes under the key, in a list there, or under names."""
    value = _shaped(YamlMapping(_INSIDE), shape, _VALUE)
    return way.report(YamlEntry(key, _KEY, value)).opens.get(_INSIDE)


# -- one value --------------------------------------------------------------------------------------------------------


def _value(way: _Way, key: str, inner: Mapping[str, Optional[Place]]) -> Schema:
    mapping, item, named = (inner[shape] for shape in _SHAPES)
    takes = way.report(_entry(key, "a")).takes.get(_KEY)
    found: list[Schema] = [dict(takes)] if takes else _kinds(way, key)
    if mapping:
        found.append(_reference(mapping))
    elif named:
        found.append({"type": "object", "additionalProperties": _reference(named)})
    elif not takes and _passes(way, key, {"a": "a"}):
        found.append({"type": "object"})
    if item:
        found.append({"type": "array", "items": _reference(item), **_least(way, key)})
    elif not takes:
        found += _list(way, key)
    return found[0] if len(found) == 1 else {"anyOf": found} if found else {}


def _reference(place: Place) -> Schema:
    return {"$ref": f"#/$defs/{_defined(place.name)}"}


def _kinds(way: _Way, key: str) -> list[Schema]:
    kinds = [kind for kind, sample in _SCALARS if _passes(way, key, sample)]
    if not kinds:
        return []
    schema: Schema = {"type": kinds[0] if len(kinds) == 1 else kinds}
    return [schema if "string" not in kinds or _passes(way, key, "") else {**schema, "minLength": 1}]


def _list(way: _Way, key: str) -> list[Schema]:
    kinds = [kind for kind, sample in _IN_LISTS if _passes(way, key, [sample])]
    if not kinds:
        return []
    kinds = [kind for kind in kinds if kind != "integer" or "number" not in kinds]
    items: Schema = {"type": kinds[0] if len(kinds) == 1 else kinds}
    return [{"type": "array", "items": items, **_least(way, key)}]


def _least(way: _Way, key: str) -> Schema:
    return {} if _passes(way, key, []) else {"minItems": 1}


def _passes(way: _Way, key: str, sample: Sample) -> bool:
    """Do the readers find nothing wrong with this value under this key?"""
    problems = way.report(_entry(key, sample)).problems
    return not any(problem.where in (_KEY, _VALUE, _INSIDE) for problem in problems)


def _entry(key: str, sample: Sample) -> YamlEntry:
    return YamlEntry(key, _KEY, _yaml(sample, _VALUE))


def _yaml(sample: Sample, where: Position) -> YamlValue:
    if isinstance(sample, dict):
        entries = (YamlEntry(key, _INSIDE, _yaml(value, _INSIDE)) for key, value in sample.items())
        return YamlMapping(where, tuple(entries))
    if isinstance(sample, list):
        return YamlSequence(where, tuple(_yaml(value, _INSIDE) for value in sample))
    return YamlScalar(sample, where, "" if sample is None else str(sample))


# -- keys that must be there ------------------------------------------------------------------------------------------


def _required(way: _Way, place: Place) -> Schema:
    """The keys that cure a complaint about the mapping: those that none can replace, and those of which one will do."""
    complaints = _complaints(way)
    cured: dict[str, dict[str, None]] = {complaint: {} for complaint in complaints}
    for key in place.keys:
        for entry in (_best(way, key), *_words(way, key)):
            left = _complaints(way, entry)
            for complaint in complaints:
                if complaint not in left:
                    cured[complaint][key] = None
    required = [next(iter(keys)) for keys in cured.values() if len(keys) == 1]
    choices = [[{"required": [key]} for key in keys] for keys in cured.values() if len(keys) > 1]
    both = {"anyOf": choices[0]} if len(choices) == 1 else {"allOf": [{"anyOf": each} for each in choices]}
    return {**({"required": required} if required else {}), **(both if choices else {})}


def _best(way: _Way, key: str) -> YamlEntry:
    """The key with a value that passes, if one does."""
    samples: tuple[Sample, ...] = ("a", ["a"], True, 1.5)
    return _entry(key, next((sample for sample in samples if _passes(way, key, sample)), "a"))


def _words(way: _Way, key: str) -> list[YamlEntry]:
    """The key with each of the words that a reader knows there."""
    takes = way.report(_entry(key, "a")).takes.get(_KEY) or {}
    words = takes.get("enum", ())
    return [_entry(key, str(word)) for word in words] if isinstance(words, list) else []


def _complaints(way: _Way, *entries: YamlEntry) -> list[str]:
    """What is wrong with the mapping itself, not with what it holds: its fix, as messages name it."""
    return [problem.fix for problem in way.report(*entries).problems if problem.where == _SUBJECT]
