"""Facts about which exit of a step is taken."""

from __future__ import annotations

from typing import Any

import pytest

from teastreams.core.control.deciding import Undecided, chosen, shown
from teastreams.core.control.flow import Exit
from teastreams.core.graph import Choice, Negated
from teastreams.core.language.expressions import parsed

HIGH = Exit(5, parsed("{{ state.score > 10 }}"))
LOW = Exit(6, Negated(parsed("state.score > 10")))
ELSE = Exit(7)


def to(*exits: Exit, state: Any = None, result: Any = None) -> int:
    return chosen(exits, state or {}, {"limit": 3}, result)


def test_the_first_condition_that_holds_is_taken() -> None:
    assert to(HIGH, LOW, ELSE, state={"score": 11}) == 5
    assert to(HIGH, LOW, ELSE, state={"score": 1}) == 6
    assert to(HIGH, Exit(8, parsed("state.score > 1")), ELSE, state={"score": 11}) == 5


def test_without_one_that_holds_the_way_without_a_condition_is_taken() -> None:
    assert to(HIGH, ELSE, state={"score": 1}) == 7


def test_variables_and_the_last_result_are_there() -> None:
    assert to(Exit(1, parsed("variables.limit == 3 and result.found")), ELSE, result={"found": 1}) == 1


def test_a_condition_that_raises_is_neither_true_nor_false() -> None:
    with pytest.raises(Undecided, match=r"^the expression `{{ state.score > 10 }}` raised TypeError: .*; correct it"):
        to(HIGH, ELSE, state={})


def test_the_cause_is_named_by_its_class() -> None:
    with pytest.raises(Undecided) as caught:
        to(Exit(1, parsed("1 / 0")))
    assert caught.value.error_type == "ZeroDivisionError"


def test_that_none_holds_is_an_error_that_names_them_all() -> None:
    with pytest.raises(Undecided) as caught:
        to(Exit(5, parsed("state.a")), Exit(6, Negated(parsed("True"))))
    assert str(caught.value) == (
        "none of its ways on is open: `state.a`, `not (True)` did not hold; add an edge without a condition"
    )


def test_a_function_that_edges_share_is_asked_once() -> None:
    asked: list[Any] = []

    def route(state: Any) -> str:
        asked.append(dict(state))
        return "right"

    assert to(*(Exit(n, Choice(route, a, ("left", "right"))) for n, a in enumerate(("left", "right")))) == 1
    assert asked == [{}]


def test_a_function_that_answers_strangely_is_an_error_unless_there_is_another_way() -> None:
    def route(state: Any) -> str:
        return "up"

    ways = [Exit(n, Choice(route, a, ("left", "right"))) for n, a in enumerate(("left", "right"))]
    assert to(*ways, ELSE) == 7
    message = r"its condition route returned 'up', and the edges know 'left', 'right'; add that answer"
    with pytest.raises(Undecided, match=message):
        to(*ways)


def test_a_known_answer_of_one_function_does_not_hide_that_none_of_all_holds() -> None:
    def no(state: Any) -> bool:
        return False

    with pytest.raises(Undecided, match=r"none of its ways on is open: `no\(state\) == True`, `state.a` did not hold"):
        to(Exit(1, Choice(no)), Exit(2, parsed("state.a")))


def test_a_function_that_raises_is_an_error() -> None:
    def broken(state: Any) -> bool:
        raise KeyError("gone")

    with pytest.raises(Undecided, match=r"its condition broken raised KeyError: 'gone'") as caught:
        to(Exit(1, Choice(broken)), ELSE)
    assert caught.value.error_type == "KeyError"


def test_a_callable_object_is_shown_by_its_class() -> None:
    class Gate:
        def __call__(self, state: Any) -> bool:
            return True

    assert shown(Choice(Gate())) == "Gate(state) == True"
    assert shown(parsed("{{ state.x }}")) == "state.x"
