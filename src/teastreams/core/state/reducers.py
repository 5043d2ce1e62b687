"""How what nodes return for one key joins what the state already holds.

A reducer is called with the current value and with one returned value (a *part*), and gives the new value; it changes
neither. While there is no value yet, or None, `append` starts from an empty list, `merge` from an empty dict, and for
every other reducer the part is the value. A key without a reducer is replaced.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping

Reducer = Callable[[Any, Any], Any]
Reducers = Mapping[str, Reducer]
NONE: Reducers = {}


def append(current: Any, part: Any) -> Any:
    """A list with the items of `part` after those of `current`; what is no list is one item."""
    if not isinstance(current, list):
        raise TypeError(f"append needs a list, and the state holds a {type(current).__name__}")
    return [*current, *(part if isinstance(part, list) else [part])]


def add(current: Any, part: Any) -> Any:
    """`current + part`."""
    return current + part


def merge(current: Any, part: Any) -> Any:
    """A dict with the keys of both; where both have one, that of `part`, whole: dicts inside are not merged."""
    return {**current, **part}


def replace(_current: Any, part: Any) -> Any:
    """`part`: what holds for a key without a reducer."""
    return part


NAMED: Reducers = {"append": append, "add": add, "merge": merge, "replace": replace}


class ReducerFailed(Exception):
    """A reducer raised: `key` and `reducer` name it, the cause is what it raised."""

    def __init__(self, key: str, reducer: str, error: Exception) -> None:
        super().__init__(
            f"the reducer {reducer!r} of the key {key!r} raised {type(error).__name__}: {error}; "
            "return for this key what its reducer takes, or correct the reducer"
        )
        self.key, self.reducer = key, reducer


def reducer_name(reducer: Reducer) -> str:
    """What messages call a reducer."""
    return str(getattr(reducer, "__name__", type(reducer).__name__))


def reduced(reducer: Reducer, key: str, current: Any, part: Any) -> Any:
    """The new value of a key. ReducerFailed, with the cause, when the reducer raises."""
    try:
        if current is None:
            if reducer is append or reducer is merge:
                return reducer([] if reducer is append else {}, part)
            return part
        return reducer(current, part)
    except Exception as error:
        raise ReducerFailed(key, reducer_name(reducer), error) from error
