"""Updates across the result pipe, by cloudpickle, protocol 5.

Pickles travel only through anonymous pipes between a parent and the child that it forked, never to disk. What cannot
be sent is named by key, and so is what is too large. A large value is never copied to be sent: bytes and bytearrays are
written to the pipe as they stand, and what offers its memory to pickle (numpy arrays) travels outside of the pickle,
into memory that it then keeps.
"""

from __future__ import annotations

import pickle
from typing import Any, Mapping

import cloudpickle  # type: ignore[import-untyped]

from teastreams.core.frames import LONG_BYTES, Memory
from teastreams.core.merge import Update, as_parts, returned
from teastreams.runtime.node.tracked import TrackedState
from teastreams.values import dataclass


@dataclass(frozen=True)
class Parcel:
    """A pickled update: the pieces of its pickle, and the memory of large values that lies outside of it."""

    pieces: tuple[Memory, ...]
    buffers: tuple[Memory, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Everything that travels."""
        return sum(map(len, (*self.pieces, *self.buffers)))


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


def dump_update(value: Any, state: TrackedState, limit_bytes: int) -> Parcel:
    """The update, pickled; `Unsendable` names the key that cannot be sent."""
    update = update_of(value, state)
    if not update:
        return NOTHING
    try:
        parcel = pickled(update)
    except Exception as error:
        raise Unsendable(_culprit(update.values, error), type(error).__name__) from error
    if parcel.size_bytes > limit_bytes:
        raise Unsendable(_too_large(update.values, parcel.size_bytes, limit_bytes), "LimitError")
    return parcel


def load_update(parcel: Parcel) -> Update:
    """The update again; any exception of loading it passes through."""
    data = parcel.pieces[0] if len(parcel.pieces) == 1 else b"".join(parcel.pieces)
    update = pickle.loads(data, buffers=parcel.buffers)
    if not isinstance(update, Update):
        raise TypeError(f"expected an update, got {type(update).__name__}")
    return update


def pickled(value: Any) -> Parcel:
    """Any value as a parcel that refers to its large bytes instead of copying them."""
    pieces = _Pieces()
    buffers: list[memoryview] = []

    def stays_inside(buffer: pickle.PickleBuffer) -> bool:
        with memoryview(buffer) as view:
            inside = view.nbytes < LONG_BYTES or not view.contiguous
        if not inside:
            buffers.append(buffer.raw())
        return inside

    cloudpickle.Pickler(pieces, protocol=5, buffer_callback=stays_inside).dump(value)
    return Parcel(tuple(pieces), tuple(buffers))


class _Pieces(list):  # type: ignore[type-arg]  # list[Memory] is no base class with Python 3.9's typing rules
    """A file for a pickler, which hands bytes over as they are from `LONG_BYTES` on."""

    write = list.append


NOTHING = pickled(Update())
"""Nothing was changed: pickled once, before the fork, and not in each worker."""


def _culprit(values: Mapping[str, Any], error: Exception) -> str:
    for key, value in values.items():
        try:
            pickled(value)
        except Exception as refused:
            return (
                f"the value of {key!r} ({type(value).__name__}) cannot be sent back from the node's process: "
                f"{refused}; return plain data, or leave this key out"
            )
    return f"the returned values cannot be sent back from the node's process: {error}; return plain data"


def _too_large(values: Mapping[str, Any], size_bytes: int, limit_bytes: int) -> str:
    sizes = sorted(((pickled(value).size_bytes, key) for key, value in values.items()), reverse=True)
    largest = ", ".join(f"{key!r} {size} bytes" for size, key in sizes[:3])
    return (
        f"the returned update has {size_bytes} bytes, the limit is {limit_bytes} (largest: {largest}); "
        "write large data to a channel or a file and return its name, or raise `settings.parallel.result_limit`"
    )
