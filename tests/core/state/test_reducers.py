"""core/state/reducers.py: what is returned for a key joins what is there."""

from __future__ import annotations

from typing import Any

import pytest

from teastreams.core.state.reducers import NAMED, ReducerFailed, reduced, reducer_name


@pytest.mark.parametrize(
    ("name", "current", "part", "new"),
    [
        ("append", None, "a", ["a"]),
        ("append", None, ["a", "b"], ["a", "b"]),
        ("append", ["a"], ["b", ["c"]], ["a", "b", ["c"]]),
        ("append", ["a"], ("b",), ["a", ("b",)]),
        ("add", None, 2, 2),
        ("add", 1, 2, 3),
        ("add", "a", "b", "ab"),
        ("merge", None, {"a": 1}, {"a": 1}),
        ("merge", {"a": {"x": 1}, "b": 1}, {"a": {"y": 2}}, {"a": {"y": 2}, "b": 1}),
        ("replace", 1, 2, 2),
    ],
)
def test_the_named_reducers(name: str, current: Any, part: Any, new: Any) -> None:
    """Neither operand is changed; merging is one level deep."""
    before = repr((current, part))
    assert reduced(NAMED[name], "key", current, part) == new
    assert repr((current, part)) == before


def test_a_function_is_not_called_while_there_is_no_value() -> None:
    assert reduced(lambda current, part: 1 / 0, "key", None, "first") == "first"


@pytest.mark.parametrize(
    ("name", "current", "part", "said"),
    [
        ("append", "text", "a", "TypeError: append needs a list, and the state holds a str"),
        ("add", 1, "a", "TypeError: unsupported operand"),
        ("merge", {}, 1, "TypeError: 'int' object is not a mapping"),
        ("merge", None, 1, "TypeError: 'int' object is not a mapping"),
    ],
)
def test_a_reducer_that_raises_is_named_with_its_key(name: str, current: Any, part: Any, said: str) -> None:
    with pytest.raises(ReducerFailed) as failed:
        reduced(NAMED[name], "total", current, part)
    assert str(failed.value).startswith(f"the reducer {name!r} of the key 'total' raised {said}")
    assert isinstance(failed.value.__cause__, TypeError)


def test_a_reducer_without_a_name_is_called_by_its_class() -> None:
    class Longest:
        def __call__(self, current: Any, part: Any) -> Any:
            return max(current, part, key=len)

    assert reducer_name(Longest()) == "Longest"
    assert reduced(Longest(), "key", "a", "bb") == "bb"
