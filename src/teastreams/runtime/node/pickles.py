"""Updates across the result pipe, by cloudpickle, protocol 5.

Pickles travel only through anonymous pipes between a parent and the child that it forked, never to disk. What cannot
be sent is named by key, and so is what is too large.
"""

from __future__ import annotations

import pickle
from typing import Any, Mapping

import cloudpickle  # type: ignore[import-untyped]

from teastreams.core.merge import Update, as_parts, returned
from teastreams.runtime.node.tracked import TrackedState


class Unsendable(Exception):
    """An update that cannot travel; the text names the key and says what to do."""

    def __init__(self, message: str, error_type: str) -> None:
        super().__init__(message)
        self.error_type = error_type


def update_of(value: Any, state: TrackedState) -> Update:
    """What a node's return value and its changes of `state` mean. ReducerFailed when a reducer refuses a value."""
    # The state itself, returned, must not overwrite with stale copies what nodes beside this one changed.
    if value is None or value is state:
        return state.difference()
    if isinstance(value, Update):
        return as_parts(value, state, state.reducers)
    given = as_parts(Update(returned(value)), state, state.reducers)
    state.joined(Update(parts=given.parts))
    changed = state.difference()
    return Update({**changed.values, **given.values}, changed.removed - given.values.keys(), changed.parts)


def dump_update(value: Any, state: TrackedState, limit_bytes: int) -> bytes:
    """The bytes of an update; `Unsendable` names the key that cannot be sent."""
    update = update_of(value, state)
    try:
        data: bytes = cloudpickle.dumps(update, protocol=5)
    except Exception as error:
        raise Unsendable(_culprit(update.values, error), type(error).__name__) from error
    if len(data) > limit_bytes:
        raise Unsendable(_too_large(update.values, len(data), limit_bytes), "LimitError")
    return data


def load_update(data: bytes) -> Update:
    """The update from its bytes; any exception of loading it passes through."""
    update = pickle.loads(data)
    if not isinstance(update, Update):
        raise TypeError(f"expected an update, got {type(update).__name__}")
    return update


def _culprit(values: Mapping[str, Any], error: Exception) -> str:
    for key, value in values.items():
        try:
            cloudpickle.dumps(value, protocol=5)
        except Exception as refused:
            return (
                f"the value of {key!r} ({type(value).__name__}) cannot be sent back from the node's process: "
                f"{refused}; return plain data, or leave this key out"
            )
    return f"the returned values cannot be sent back from the node's process: {error}; return plain data"


def _too_large(values: Mapping[str, Any], size_bytes: int, limit_bytes: int) -> str:
    sizes = sorted(((len(cloudpickle.dumps(value, protocol=5)), key) for key, value in values.items()), reverse=True)
    largest = ", ".join(f"{key!r} {size} bytes" for size, key in sizes[:3])
    return (
        f"the returned update has {size_bytes} bytes, the limit is {limit_bytes} (largest: {largest}); "
        "write large data to a channel or a file and return its name"
    )
