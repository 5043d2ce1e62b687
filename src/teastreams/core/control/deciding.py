"""Which of a step's exits control takes, from the state as it is after the step.

Conditions are asked in the order of the exits, the one without a condition is for when none holds. Laws: an error in a
condition is an error of the run that names the condition, never "true" and never "false"; that none holds is an error
as well. A Python function that several edges share is asked once.
"""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from teastreams.core.control.flow import Exit
from teastreams.core.graph import Choice, Condition, Negated
from teastreams.core.language.expressions import ExpressionError, inside

Answers = dict[int, Any]


class Undecided(Exception):
    """No exit can be chosen; the text says why and what to do."""

    def __init__(self, message: str, error_type: str = "") -> None:
        super().__init__(message)
        self.error_type = error_type


def chosen(exits: Sequence[Exit], state: Mapping[str, Any], variables: Mapping[str, Any], result: Any) -> int:
    """Where control goes. `Undecided` when a condition raises, or when none holds and nothing is said for that case."""
    answers: Answers = {}
    for each in exits:
        if each.condition is None or _holds(each.condition, state, variables, result, answers):
            return each.to
    _refuse_strange_answers(exits, answers)
    tried = ", ".join(f"`{shown(each.condition)}`" for each in exits if each.condition is not None)
    raise Undecided(f"none of its ways on is open: {tried} did not hold; add an edge without a condition")


def shown(condition: Condition) -> str:
    """A condition as messages and drawings show it."""
    if isinstance(condition, Choice):
        name = getattr(condition.function, "__name__", type(condition.function).__name__)
        return f"{name}(state) == {condition.answer!r}"
    if isinstance(condition, Negated):
        return f"not ({inside(condition.expression.text)})"
    return inside(condition.text)


def _holds(
    condition: Condition, state: Mapping[str, Any], variables: Mapping[str, Any], result: Any, answers: Answers
) -> bool:
    if isinstance(condition, Choice):
        return bool(_answer(condition, state, answers) == condition.answer)
    negated = isinstance(condition, Negated)
    expression = condition.expression if isinstance(condition, Negated) else condition
    try:
        return bool(expression.value(state, variables, result)) is not negated
    except ExpressionError as error:
        cause = type(error.__cause__).__name__
        raise Undecided(f"{error}; {error.fix}", cause) from error


def _answer(choice: Choice, state: Mapping[str, Any], answers: Answers) -> Any:
    known = id(choice.function)
    if known not in answers:
        try:
            answers[known] = choice.function(state)
        except Exception as error:
            name = getattr(choice.function, "__name__", repr(choice.function))
            raise Undecided(
                f"its condition {name} raised {type(error).__name__}: {error}", type(error).__name__
            ) from error
    return answers[known]


def _refuse_strange_answers(exits: Sequence[Exit], answers: Answers) -> None:
    for each in exits:
        if isinstance(each.condition, Choice) and answers[id(each.condition.function)] not in each.condition.answers:
            answer = answers[id(each.condition.function)]
            known = ", ".join(map(repr, each.condition.answers))
            name = getattr(each.condition.function, "__name__", repr(each.condition.function))
            raise Undecided(f"its condition {name} returned {answer!r}, and the edges know {known}; add that answer")
