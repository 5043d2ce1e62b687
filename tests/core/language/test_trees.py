"""Facts about values with expressions inside them."""

from __future__ import annotations

from typing import Any

import pytest

from teastreams.core.language.actions import Uses
from teastreams.core.language.expressions import ExpressionError, parsed
from teastreams.core.language.trees import filled_tree, stored, tree_of

STATE = {"n": 3, "names": ["a", "b"], "user": {"name": "ann"}}


def filled(value: Any) -> Any:
    return filled_tree(tree_of(value), STATE, {"limit": 7}, {"found": 1})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("{{ state.names }}", ["a", "b"]),
        ("  {{ state.n }}", "  3"),
        ("{{ state.n }} of {{ variables.limit }}!", "3 of 7!"),
        ("{{ state.n }}{{ state.n }}", "33"),
        ("plain", "plain"),
        ("", ""),
        (5, 5),
        (None, None),
        ({"a": "{{ result.found }}", "b": ["{{ state.user }}", 1]}, {"a": 1, "b": [{"name": "ann"}, 1]}),
    ],
)
def test_it_stands_for(value: Any, expected: Any) -> None:
    assert filled(value) == expected


def test_a_value_of_the_state_is_given_as_it_is() -> None:
    assert filled("{{ state.names }}") is STATE["names"]


@pytest.mark.parametrize("text", ["{{ state.n", "{{ a b }}", "x {{ nothing }}"])
def test_a_text_that_cannot_be_read_is_refused_when_the_tree_is_made(text: str) -> None:
    with pytest.raises(ExpressionError):
        tree_of({"key": [text]})


def test_what_a_node_returned_is_kept_under_a_key_or_taken_apart() -> None:
    assert stored("page", {"a": 1}, STATE, None) == {"page": {"a": 1}}
    output = {"total": parsed("result.a + state.n"), "whole": parsed("result")}
    assert stored(output, {"a": 1}, STATE, None) == {"total": 4, "whole": {"a": 1}}


def test_an_action_is_asked_of_the_context_with_its_arguments_filled_in() -> None:
    class Context:
        def act(self, *asked: Any) -> Any:
            return asked

    uses = Uses("my.action", tree_of({"text": "{{ state.n }}"}))
    assert uses(STATE, {}, Context()) == ("my.action", STATE, {"text": 3})
