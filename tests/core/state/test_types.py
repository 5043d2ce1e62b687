"""core/state/types.py: names of types, and what is a value of them."""

from __future__ import annotations

from typing import Any, Optional

import pytest

from teastreams.core.state.types import MAX_TEXT, NAMED, Type, UnknownType, mismatch, one_of, shown, type_named


@pytest.mark.parametrize(
    ("text", "fits", "fits_not"),
    [
        ("str", ["", "a"], [b"a", 1, None]),
        ("int", [1, True], [1.0, "1"]),
        ("float", [1.5, 1, True], ["1", None]),
        ("bool", [True], [1, 0.0]),
        ("bytes", [b"a"], ["a", bytearray(b"a")]),
        ("list", [[], [1, "a"]], [(), {}]),
        ("dict", [{}, {1: 2}], [[]]),
        ("set", [{1}, frozenset()], [[]]),
        ("any", [None, 1, object()], []),
        ("null", [None], [0, ""]),
        ("list[str]", [[], ["a"]], [[1], ["a", None]]),
        ("set[int]", [{1}], [{"a"}]),
        ("dict[str, int]", [{}, {"a": 1}], [{"a": "b"}, {1: 1}]),
        ("dict[str, list[int]]", [{"a": [1]}], [{"a": ["b"]}]),
        ("tuple[int, str]", [(1, "a")], [(1,), (1, 2), (1, "a", 2)]),
        ("str | null", ["a", None], [1]),
        ("list[int | str] | None", [[1, "a"], None], [[None], "a"]),
        (" number ", [1.5], ["a"]),
        ("object", [{}], [[]]),
    ],
)
def test_a_named_type_takes_its_values_and_no_others(text: str, fits: list[Any], fits_not: list[Any]) -> None:
    """As typing has it: an int is a float, a bool is an int."""
    wanted = type_named(text)
    assert [mismatch(wanted, value, "key") for value in fits] == [None] * len(fits)
    assert all(mismatch(wanted, value, "key") for value in fits_not)


@pytest.mark.parametrize(
    ("text", "message", "fix"),
    [
        ("strng", "`strng` is no type", "the types are " + ", ".join(NAMED)),
        ("", "an empty text is no type", "the types are " + ", ".join(NAMED)),
        ("str |", "an empty text is no type", "the types are " + ", ".join(NAMED)),
        ("list[str", "`list[str` has no closing bracket", "write `list[...]`"),
        ("list[str, int]", "`list[str, int]` is no type", "write `list[str]`"),
        ("dict[str]", "`dict[str]` is no type", "write `dict[str, int]`"),
        ("set[str, int]", "`set[str, int]` is no type", "write `set[str]`"),
        ("int[str]", "`int[str]` is no type", "write `int`"),
        pytest.param(
            "list[" * 1000, f"a type of 5000 characters is longer than {MAX_TEXT}", "write `dict` or `list`", id="deep"
        ),
    ],
)
def test_a_text_that_names_no_type_is_refused_with_what_to_write(text: str, message: str, fix: str) -> None:
    """Also a text made to exhaust the stack."""
    with pytest.raises(UnknownType) as refused:
        type_named(text)
    assert (str(refused.value), refused.value.fix) == (message, fix)


@pytest.mark.parametrize(
    ("text", "value", "said"),
    [
        ("int", "three", "'log' must be int, not str: 'three'"),
        ("list[str]", ["a", 3], "'log[1]' must be str, not int: 3"),
        ("dict[str, int]", {"a": None}, "\"log['a']\" must be int, not null"),
        ("dict[str, int]", {7: 1}, "'a key of log' must be str, not int: 7"),
        ("tuple[int, str]", (1, 2), "'log[1]' must be str, not int: 2"),
        ("list[int] | null", [1, "b"], "'log[1]' must be int, not str: 'b'"),
        ("int | null", "b", "'log' must be int | null, not str: 'b'"),
        ("str", list(range(9)), "'log' must be str, not list with 9 items"),
    ],
)
def test_a_mismatch_names_the_place_the_type_and_the_value(text: str, value: Any, said: str) -> None:
    assert str(mismatch(type_named(text), value, "log")) == said


def test_literals_are_compared_with_their_type() -> None:
    """1 is not True."""
    wanted = Type("one of 1", literals=(1,))
    assert mismatch(wanted, 1, "key") is None
    assert mismatch(wanted, True, "key") is not None


def test_one_choice_is_no_union() -> None:
    assert one_of([NAMED["int"]]) is NAMED["int"]


class Nasty:
    def __repr__(self) -> str:
        raise AssertionError("a message must not call the user's code")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        ("x" * 100, "str: '" + "x" * 40 + "'..."),
        (b"ab", "bytes: b'ab'"),
        (1.5, "float: 1.5"),
        pytest.param(10**5000, "int", id="a number too long to print"),
        ({"a": 1}, "dict with 1 items"),
        (Nasty(), "Nasty"),
    ],
)
def test_what_is_shown_of_a_value_is_short(value: Optional[object], text: str) -> None:
    assert shown(value) == text
