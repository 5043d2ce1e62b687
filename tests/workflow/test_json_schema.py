"""The schema for editors says what the readers say: nothing that they accept is marked, keys and kinds are.

The documents are the golden ones that the readers are tested with, and one value of every kind under every key. The
schema is applied by a small checker of our own, which fails on any keyword that it does not know.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from teastreams.core.graph import OVERFLOWS, STRATEGIES
from teastreams.workflow.document import read
from teastreams.workflow.json_schema import DIALECT, json_schema
from teastreams.workflow.keys import PLACES, Place
from teastreams.workflow.load import load_bytes
from teastreams.workflow.readers import nodes
from teastreams.workflow.scalars import SIZE_PATTERN, size_of
from teastreams.workflow.values import plain

CASES = Path(__file__).with_name("cases")
SCHEMA = json_schema()
GOOD = sorted((CASES / "good").glob("*.yaml"))
BAD = sorted((CASES / "bad").glob("*.yaml"))
TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "integer": int,
    "number": (int, float),
}


# -- a checker for the keywords that are used -------------------------------------------------------------------------


def has_type(value: Any, kinds: Any) -> bool:
    kinds = [kinds] if isinstance(kinds, str) else kinds
    return any(isinstance(value, TYPES[kind]) and (kind == "boolean" or value is not bool(value)) for kind in kinds)


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


CHECKS: dict[str, Any] = {
    "type": has_type,
    "enum": lambda value, words: value in words,
    "minimum": lambda value, least: not is_number(value) or value >= least,
    "exclusiveMinimum": lambda value, least: not is_number(value) or value > least,
    "maximum": lambda value, most: not is_number(value) or value <= most,
    "minLength": lambda value, least: not isinstance(value, str) or len(value) >= least,
    "pattern": lambda value, rule: not isinstance(value, str) or re.search(rule, value) is not None,
    "minItems": lambda value, least: not isinstance(value, list) or len(value) >= least,
    "required": lambda value, keys: not isinstance(value, dict) or set(keys) <= set(value),
    "anyOf": lambda value, schemas: any(fits(value, schema) for schema in schemas),
    "items": lambda value, schema: not isinstance(value, list) or all(fits(item, schema) for item in value),
    "$ref": lambda value, name: fits(value, SCHEMA["$defs"][name.rpartition("/")[2]]),  # type: ignore[index]
}
SILENT = {"$schema", "$defs", "title", "properties", "additionalProperties"}


def fits(value: Any, schema: Any) -> bool:
    assert set(schema) <= set(CHECKS) | SILENT
    known = schema.get("properties", {})
    if isinstance(value, dict):
        if schema.get("additionalProperties") is False and not set(value) <= set(known):
            return False
        if not all(fits(each, known[key]) for key, each in value.items() if key in known):
            return False
    return all(CHECKS[key](value, wanted) for key, wanted in schema.items() if key in CHECKS)


def accepted(data: bytes) -> bool:
    root = read(data, "f.yaml").root
    return root is not None and fits(plain(root), SCHEMA)


# -- the golden documents ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_a_good_document_is_not_marked(path: Path) -> None:
    """Nothing that `validate` accepts."""
    assert accepted(path.read_bytes())


# What only the readers can tell: Python, relations, and how a text must look to be a name.
BEYOND = re.compile(
    r"^(code_|disabled_|edge_con|edge_type_without|yaml_|config_raise|config_unknown|node_name_characters"
    r"|branch|endless|goto_and|loop_in|node_streams_(empty|null)|node_command_in_threads|node_outside|settings_two_timeouts)"
)


@pytest.mark.parametrize("path", [path for path in BAD if not BEYOND.match(path.stem)], ids=lambda path: path.stem)
def test_a_document_with_a_wrong_key_or_kind_is_marked(path: Path) -> None:
    """Unknown and misspelt keys, keys of later versions, wrong kinds, words and numbers, missing keys."""
    root = read(path.read_bytes(), path.name).root
    assert root is not None
    assert not fits(plain(root), SCHEMA)


def test_most_of_the_bad_documents_are_marked() -> None:
    """The list of what is beyond a schema does not hide the rest."""
    assert sum(not BEYOND.match(path.stem) for path in BAD) >= 40


# -- every key --------------------------------------------------------------------------------------------------------


def definition(place: Place) -> Any:
    """What the schema says of one kind of mapping."""
    name = place.name.replace("`", "").replace(" ", "_")
    return SCHEMA if name == "the_top_level" else SCHEMA["$defs"][name]  # type: ignore[index]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_the_keys_are_those_of_the_tables(place: Place) -> None:
    """All of them, in their order, no other one, and each with something to say about its value."""
    properties = definition(place)["properties"]
    assert list(properties) == list(place.keys)
    assert definition(place)["additionalProperties"] is False


def test_what_must_be_there_is_required() -> None:
    """Nodes, both ends of an edge, a node's name, the channel of a long form."""
    required = {place.name: set(definition(place).get("required", ())) for place in PLACES}
    assert required["the top level"] == {"nodes"}
    assert required["an edge"] == {"to"}
    assert SCHEMA["$defs"]["an_edge"]["anyOf"] == [{"required": ["from"]}, {"required": ["type"]}]  # type: ignore[index]
    assert required["a node"] == {"name"}
    work = ("run", "command", "uses", "type", "steps", "subgraph")
    assert definition_of_node()["anyOf"] == [{"required": [key]} for key in work]
    assert required["`stdin` of a node"] == {"from"}
    assert required["settings"] == set()


def definition_of_node() -> Any:
    return next(definition(place) for place in PLACES if place.name == "a node")


def test_a_key_that_means_nothing_alone_is_asked_for_in_company() -> None:
    """What goes with a program has its kind, though it is refused without one."""
    properties = definition_of_node()["properties"]
    assert properties["cwd"] == {"type": "string"}
    assert properties["env"] == {"type": "object"}
    assert properties["ok_exit_codes"] == {"type": "array", "items": {"type": "integer"}, "minItems": 1}


SURROUNDED = {
    "the top level": "{0}\nnodes: [{{name: a, run: pass}}]\n",
    "settings": "settings: {{{0}}}\nnodes: [{{name: a, run: pass}}]\n",
    "settings.parallel": "settings: {{parallel: {{{0}}}}}\nnodes: [{{name: a, run: pass}}]\n",
    "settings.parallel.streams": "settings: {{parallel: {{streams: {{{0}}}}}}}\nnodes: [{{name: a, run: pass}}]\n",
    "a node": "nodes: [{{name: a, run: pass, {0}}}]\n",
    "config": "config: {{{0}}}\nnodes: [{{name: a, run: pass}}]\n",
}
VALUES = ("null", "true", "-1", "0", "1", "1.5", "a", '""', "64KiB", "64K", "block", "[]", "[a]", "[1]", "{}")


@pytest.mark.parametrize(
    ("place", "key"),
    [(place.name, key) for place in PLACES if place.name in SURROUNDED for key in place.keys],
)
def test_no_value_that_is_valid_is_marked(place: str, key: str) -> None:
    """Under any key that means something without others."""
    texts = [SURROUNDED[place].format(f"{key}: {value}") for value in VALUES]
    valid = [text.encode() for text in texts if load_bytes(text.encode(), "f.yaml")[0] is not None]
    assert all(map(accepted, valid))


@pytest.mark.parametrize(
    ("place", "key", "value"),
    [
        ("settings.parallel", "strategy", "processes"),
        ("settings.parallel", "max_workers", "0"),
        ("settings.parallel", "max_workers", "1.5"),
        ("settings.parallel", "max_workers", "true"),
        ("settings.parallel.streams", "grace", "-1"),
        ("settings.parallel.streams", "grace", "null"),
        ("settings.parallel.streams", "timeout", "0"),
        ("settings.parallel.streams", "buffer_limit", "64K"),
        ("settings.parallel.streams", "buffer_size", "2147483648"),
        ("a node", "interrupt_before", "1"),
        ("a node", "timeout", "5m"),
        ("config", "interrupt_after", "a"),
        ("the top level", "version", "[1]"),
    ],
)
def test_a_value_that_is_never_valid_is_marked(place: str, key: str, value: str) -> None:
    """By `validate` and by the schema."""
    text = SURROUNDED[place].format(f"{key}: {value}").encode()
    assert load_bytes(text, "f.yaml")[1]
    assert not accepted(text)


def test_words_are_those_of_the_core() -> None:
    """An editor offers exactly what can be written."""
    assert definition_of("settings.parallel", "strategy") == {"enum": list(STRATEGIES)}
    assert definition_of("`stdin` of a node", "overflow") == {"enum": list(OVERFLOWS)}


def definition_of(place: str, key: str) -> Any:
    return next(definition(each)["properties"][key] for each in PLACES if each.name == place)


def test_the_dialect_is_named_and_every_reference_leads_somewhere() -> None:
    """Editors need the one, and readers the other."""
    assert SCHEMA["$schema"] == DIALECT == "https://json-schema.org/draft/2020-12/schema"
    references = set(re.findall(r"#/\$defs/([^'\"]+)", repr(SCHEMA)))
    assert references == set(SCHEMA["$defs"])  # type: ignore[call-overload]


def test_a_key_that_is_new_to_the_tables_appears_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its reader does with it; here nobody reads it, and so every value passes."""
    monkeypatch.setattr(nodes, "NODE", replace(nodes.NODE, keys=(*nodes.NODE.keys, "novel")))
    node: Any = json_schema()["$defs"]["a_node"]  # type: ignore[index]
    assert list(node["properties"])[-1] == "novel"
    assert fits({"name": "a", "run": "pass", "novel": {"anything": [1]}}, {**node, "$defs": {}})


@pytest.mark.parametrize("text", ["1B", "64KiB", "64 kb", "2 GB", "1TiB", "64K", "KiB", "1 KiBi", "-1B", "1  B", "1ib"])
def test_the_pattern_of_sizes_is_the_reader_of_sizes(text: str) -> None:
    """The same texts are sizes for both."""
    assert (re.search(SIZE_PATTERN, text) is not None) == (size_of(text) is not None)
