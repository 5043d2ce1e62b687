"""core/state/schema.py: a whole set of values is judged at once."""

from __future__ import annotations

from teastreams.core.state.schema import StateSchema
from teastreams.core.state.types import type_named

TYPES = {"count": type_named("int"), "log": type_named("list[str]")}


def test_every_wrong_key_is_in_one_message_in_the_order_of_the_declaration() -> None:
    said = StateSchema(TYPES, enforced=True).refusal({"log": ["a", 3], "count": "three", "free": object()})
    assert said == (
        "'count' must be int, not str: 'three'; 'log[1]' must be str, not int: 3; "
        "give what `state_schema` declares, or correct the declaration"
    )


def test_absent_keys_and_undeclared_ones_are_free() -> None:
    assert StateSchema(TYPES, enforced=True).refusal({"other": 1}) is None


def test_without_enforcement_types_only_document() -> None:
    assert StateSchema(TYPES).refusal({"count": "three"}) is None
