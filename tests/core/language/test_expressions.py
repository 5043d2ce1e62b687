"""Facts about expressions: what they see, what they yield, and how they fail."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import pytest

from teastreams.core.language.expressions import Expression, ExpressionError, View, inside, parsed

STATE = {
    "score": 11,
    "items": [1, 2],
    "user": {"name": "ann", "roles": [{"name": "admin"}], "get": "own"},
    "text": "abc",
    "with space": 1,
}


def value(text: str, **more: Any) -> Any:
    return parsed(text).value(STATE, **more)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("state.score > 10", True),
        ("{{ state.score > 10 }}", True),
        ('state["score"] + 1', 12),
        ("state.items", [1, 2]),
        ("state.items[0]", 1),
        ("state.user.name", "ann"),
        ("state.user.get", "own"),
        ("state.absent", None),
        ("state.absent is None and state['absent'] is None", True),
        ("state.get('absent', 5)", 5),
        ("state.get('score')", 11),
        ("state['with space']", 1),
        ("'score' in state and 'absent' not in state", True),
        ("len(state)", 5),
        ("sorted(state)", sorted(STATE)),
        ("list(state.keys()) == list(state)", True),
        ("repr(state.user)", repr(STATE["user"])),
        ("[each * 2 for each in state.items]", [2, 4]),
        ("sum(map(lambda each: each, state.items))", 3),
        ("f'{state.text}!'", "abc!"),
        ("(n := state.score) and n - 1", 10),
        ("state.user.roles[0]['name']", "admin"),
        ("state.user.roles[0].name", "admin"),
        ("[role.name for role in state.user.roles if role.level is None]", ["admin"]),
        ("state.__len__()", 5),
        ("variables.limit", 3),
        ("result", None),
    ],
)
def test_it_yields(text: str, expected: Any) -> None:
    assert value(text, variables={"limit": 3}) == expected


def test_what_it_yields_is_the_value_itself() -> None:
    """No view of a mapping leaves an expression, alone or inside another value."""
    assert type(value("state.user")) is dict
    assert value("state.user") is STATE["user"]
    assert type(value("state")) is dict
    assert [type(each) for each in value("[state.user, (state.user, 1)]")] == [dict, tuple]
    assert type(value("(state.user, 1)")[0]) is dict
    assert type(value("{'a': state.user}")["a"]) is dict
    assert value("state.items") is STATE["items"]
    assert value("state.user.roles") == [{"name": "admin"}]
    assert type(value("state.user.roles")[0]) is dict


def test_the_result_of_the_node_before_is_there() -> None:
    assert value("result.found == 1 and result['found'] == 1", result={"found": 1}) is True
    assert value("result", result="text") == "text"


@pytest.mark.parametrize(
    ("text", "kind"),
    [("1 / 0", "ZeroDivisionError"), ("state.text > 1", "TypeError"), ("state.text.nothing", "AttributeError")],
)
def test_one_that_raises_names_itself_and_its_cause(text: str, kind: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        value(text)
    assert str(caught.value).startswith(f"the expression `{text}` raised {kind}: ")
    assert type(caught.value.__cause__).__name__ == kind
    assert caught.value.fix


@pytest.mark.parametrize(
    ("text", "told", "fix"),
    [
        ("state.x > > 1", "`state.x > > 1` is not a Python expression: invalid syntax", "write one, such as"),
        ("", "`` is not a Python expression", "write one, such as"),
        ("a b", "`a b` is not a Python expression", "write one, such as"),
        ("x = 1", "`x = 1` is not a Python expression", "write one, such as"),
        ("\0", "is not a Python expression", "write one, such as"),
        ("score > 10", "`score > 10` names 'score', which is neither", "write `state.score`"),
        ("stat.score", "names 'stat'", "did you mean `state`?"),
        ("secrets.KEY", "names 'secrets'", "a secret is asked for in the code of a node"),
        ("state.ok == true", "names 'true'", "Python writes `True`"),
        ("state.x is null", "names 'null'", "Python writes `None`"),
    ],
)
def test_one_that_cannot_be_read_is_refused(text: str, told: str, fix: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parsed(text)
    assert told in str(caught.value)
    assert fix in caught.value.fix


def test_it_is_compiled_once_and_travels_as_its_text() -> None:
    expression = parsed("{{ state.score }}")
    again = pickle.loads(pickle.dumps(expression))

    assert again == expression == Expression("{{ state.score }}")
    assert again.code is None
    assert again.value(STATE) == 11


def test_braces_count_only_around_the_whole() -> None:
    assert inside("{{ state.x }}") == "state.x"
    assert inside("{'a': {1: 2}}") == "{'a': {1: 2}}"


def test_a_view_says_what_it_holds() -> None:
    view = View({"a": 1, "keys": 2})
    assert (view.a, view.keys, view.nothing, view["nothing"]) == (1, 2, None, None)
    assert dict(View({"a": 1})) == {"a": 1}


@pytest.mark.parametrize("text", ["state.x is 1", r"'\d' + state.x"])
def test_what_python_only_warns_of_is_read_in_silence_by_every_host(text: str) -> None:
    """A warning would name `<expression>` instead of the document, and a host may turn warnings into errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")

        assert parsed(text).code is not None
