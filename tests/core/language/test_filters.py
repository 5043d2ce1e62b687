"""Facts about Jinja's filters in expressions, with the extra `jinja` and without it."""

from __future__ import annotations

import copy
import pickle
import sys
import time
from contextlib import suppress
from typing import Any

import pytest

from teastreams.core.language import filters
from teastreams.core.language.expressions import ExpressionError, parsed
from teastreams.core.language.trees import filled_tree, tree_of

STATE = {"names": ["a", "b"], "deep": {"x": [{"y": 1}]}, "text": "abc", "number": 2.567, "items": [1, 2]}
with_jinja = pytest.mark.skipif(not filters.installed(), reason="needs the extra jinja")


def value(text: str) -> Any:
    return parsed(text).value(STATE, {"v": 5}, {"r": 7})


@with_jinja
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ state.names | join(', ') }}", "a, b"),
        ("{{ state.names | length > 1 }}", True),
        ("{{ state.items | sum + variables.v + result.r }}", 15),
        ("{{ state.names | first | upper }}", "A"),
        ("{{ state.number | round(1) }}", 2.6),
        ("{{ state.deep | tojson }}", '{"x": [{"y": 1}]}'),
        ("{{ state.deep.x | map(attribute='y') | list }}", [1]),
        ("{{ state.absent | default('q') }}", "q"),
        ("{{ state.absent.below | default('q') }}", "q"),
        ("{{ state.absent | first }}", None),
        ("{{ state.text is defined and state.absent is not defined }}", True),
        ("{{ state.text ~ '!' }}", "abc!"),
        ("{{ true and not none }}", True),
    ],
)
def test_what_they_yield(text: str, expected: Any) -> None:
    """Also after a pickle, which has the text alone."""
    found = value(text)

    assert found == expected
    assert type(found) is type(expected)
    assert pickle.loads(pickle.dumps(parsed(text))).value(STATE, {"v": 5}, {"r": 7}) == expected
    assert copy.deepcopy(parsed(text)) == parsed(text)


@with_jinja
def test_they_stand_in_texts_of_a_tree() -> None:
    tree = tree_of({"a": "n: {{ state.names | length }} of {{ state.text }}", "b": ["{{ state.items | last }}"]})

    assert filled_tree(tree, STATE, {}) == {"a": "n: 2 of abc", "b": [2]}


@with_jinja
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ nope | upper }}", "has a filter of Jinja, and Jinja cannot read it, or it names what is not there"),
        ("{{ state.x | upper(}}", "is not a Python expression"),
        ("{{ state.x | shout }}", "names 'shout'"),
        ("{{ nope }}", "names 'nope'"),
        ("{{ state.x is strange }}", "names 'strange'"),
    ],
)
def test_what_jinja_cannot_read_either_is_refused(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parsed(text)
    assert message in str(caught.value)
    assert caught.value.fix


@with_jinja
def test_a_filter_that_raises_names_its_expression() -> None:
    with pytest.raises(ExpressionError, match=r"the expression `\{\{ state.text \| round \}\}` raised TypeError"):
        value("{{ state.text | round }}")


@pytest.mark.parametrize("jinja", [True, False])
def test_without_braces_everything_is_python(jinja: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """And in braces, too, what is no filter."""
    if not jinja:
        monkeypatch.setitem(sys.modules, "jinja2", None)

    assert value("5 | int(2)") == 7
    assert value("{{ {1} | set([2]) }}") == {1, 2}
    with pytest.raises(ExpressionError, match="names 'upper'"):
        parsed("state.text | upper")


def test_without_jinja_a_filter_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ExpressionError, match="has a filter of Jinja, which is not installed") as caught:
        parsed("{{ state.names | join(', ') }}")

    assert caught.value.fix == "pip install 'teastreams[jinja]', or write it in Python"
    with pytest.raises(ExpressionError, match="is not a Python expression"):
        parsed("{{ state.text ~ '!' }}")


@with_jinja
@pytest.mark.parametrize(
    "text",
    ["{{ 8 ** (9 ** 9) | int }}", "{{ ('a' * 10 ** 12) | length }}", "{{ '%09999999999d' | format(1) }}"],
)
def test_reading_computes_nothing_of_what_is_constant(text: str) -> None:
    """Jinja would, while it compiles: a document that is only looked at could ask for years and for all memory."""
    begun = time.monotonic()

    assert parsed(text).text == text
    assert time.monotonic() - begun < 2


@with_jinja
@pytest.mark.parametrize("inner", ["1" * 5000, "(" * 150 + "1" + ")" * 150, "[" * 150 + "1" + "]" * 150])
def test_what_python_refuses_of_what_jinja_makes_is_a_problem_of_the_expression(inner: str) -> None:
    with suppress(ExpressionError):  # nothing else may come out, whatever this Python can read
        assert parsed("{{ " + inner + " | int }}").code
