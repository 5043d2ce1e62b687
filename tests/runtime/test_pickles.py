"""runtime/node/pickles.py: what a node returned becomes an update, the update bytes, and the bytes an update again."""

from __future__ import annotations

import pickle
import threading
from typing import Any

import pytest

from teastreams.core.frames import LONG_BYTES
from teastreams.core.merge import Update
from teastreams.runtime.node.pickles import Parcel, Unsendable, dump_update, load_update, update_of
from teastreams.runtime.node.tracked import TrackedState

MIB = 1 << 20


def state(**values: Any) -> TrackedState:
    return TrackedState(values)


def round_trip(value: Any, given: TrackedState) -> Update:
    return load_update(dump_update(value, given, MIB))


@pytest.mark.parametrize(
    ("value", "update"),
    [
        (None, Update()),
        ({"a": 1}, Update({"a": 1})),
        ({}, Update()),
        (7, Update({"result": 7})),
        ([1, 2], Update({"result": [1, 2]})),
        (False, Update({"result": False})),
        ("", Update({"result": ""})),
        (Update({"a": 1}, frozenset({"b"})), Update({"a": 1}, frozenset({"b"}))),
    ],
)
def test_what_a_return_value_means(value: Any, update: Update):
    """A mapping sets its keys, None nothing, an update is itself, anything else is the result, falsy or not."""
    assert round_trip(value, state(kept=1)) == update


def test_returned_keys_and_changes_in_place_travel_together():
    """Where both set the same key, the returned value counts; a removed key that is returned is set."""
    given = state(list=[1], gone=1, back=2, both=[0])
    given["list"].append(2)
    given["both"].append(1)
    del given["gone"], given["back"]

    assert update_of({"both": "returned", "back": 3}, given) == Update(
        {"list": [1, 2], "both": "returned", "back": 3}, frozenset({"gone"})
    )


def test_a_node_that_returns_its_own_state_sends_only_what_it_changed():
    """The rest would overwrite, with stale copies, what the nodes beside it changed."""
    given = state(untouched=1, list=[1], gone=2)
    given["list"].append(2)
    del given["gone"]

    assert update_of(given, given) == Update({"list": [1, 2]}, frozenset({"gone"}))


def test_functions_and_local_classes_travel():
    """cloudpickle takes them by value."""

    class Local:
        def __init__(self, number: int) -> None:
            self.number = number

    update = round_trip({"add": lambda x: x + 1, "local": Local(5)}, state())

    assert (update.values["add"](1), update.values["local"].number) == (2, 5)


def test_what_cannot_be_sent_is_named_by_its_key():
    """Not the first key but the guilty one, with its type and what to do; the error type is the refusal's."""
    message = r"the value of 'guilty' \(lock\) cannot be sent back.*return plain data"
    with pytest.raises(Unsendable, match=message) as refused:
        dump_update({"fine": 1, "guilty": threading.Lock()}, state(), MIB)
    assert refused.value.error_type == "TypeError"


def test_a_value_whose_pickling_raises_anything_is_named():
    """The node's own class may do what it likes there."""

    class Wicked:
        def __reduce__(self) -> Any:
            raise LookupError("not me")

    with pytest.raises(Unsendable, match=r"'wicked' \(Wicked\).*not me") as refused:
        dump_update({"wicked": Wicked()}, state(), MIB)
    assert refused.value.error_type == "LookupError"


def test_an_endless_value_is_named():
    """A hundred thousand lists inside each other break the recursion limit, not the worker."""
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    try:
        with pytest.raises(Unsendable, match="'deep'"):
            dump_update({"deep": deep}, state(), MIB)
    finally:
        while deep:  # freed one by one: a recursive deallocation is somebody else's test
            deep = deep.pop()


def test_a_cycle_is_no_problem():
    """Pickle keeps identity."""
    cycle: list[Any] = []
    cycle.append(cycle)
    back = round_trip({"cycle": cycle}, state()).values["cycle"]

    assert back[0] is back


def test_an_update_over_the_limit_names_its_largest_values():
    """Exactly at the limit it travels; one byte less and it is refused with both numbers."""
    value = {"small": 1, "large": "x" * 5000, "middle": "y" * 3000}
    size = dump_update(value, state(), MIB).size_bytes

    assert dump_update(value, state(), size).size_bytes == size
    with pytest.raises(Unsendable) as refused:
        dump_update(value, state(), size - 1)
    text = str(refused.value)
    assert f"has {size} bytes, the limit is {size - 1}" in text
    assert text.index("'large'") < text.index("'middle'") < text.index("'small'")
    assert text.endswith("or raise `settings.parallel.result_limit`")
    assert refused.value.error_type == "LimitError"


class Array:
    """Offers its memory to pickle, as numpy's arrays do."""

    def __init__(self, memory: Any) -> None:
        self.memory = memory

    def __reduce_ex__(self, protocol: int) -> Any:
        return Array, (pickle.PickleBuffer(self.memory),)


@pytest.mark.parametrize("size", [0, 1, LONG_BYTES - 1, LONG_BYTES, LONG_BYTES + 1, 3 * MIB])
def test_every_kind_of_memory_comes_back_as_it_was(size: int):
    """Bytes as bytes, a bytearray as a bytearray, an array over memory that it may change; one object stays one."""
    given = bytes(range(256)) * (size // 256) + bytes(range(size % 256))
    twice = bytearray(given)
    value = {"bytes": given, "deep": [{"x": (twice, twice)}], "array": Array(bytearray(given)), "text": "é" * size}

    back = load_update(dump_update(value, state(), 1 << 30)).values

    assert type(back["bytes"]) is bytes
    assert back["bytes"] == given
    first, second = back["deep"][0]["x"]
    assert type(first) is bytearray
    assert first is second
    assert first == given
    assert bytes(back["array"].memory) == given
    assert not memoryview(back["array"].memory).readonly
    assert back["text"] == "é" * size


def test_large_bytes_are_not_copied_to_be_sent():
    """The parcel holds the very objects that the node returned, and the memory of an array stays the array's."""
    given, changeable, array = bytes(MIB), bytearray(MIB), Array(bytearray(MIB))

    parcel = dump_update({"a": given, "b": changeable, "c": array}, state(), 1 << 30)

    assert any(piece is given for piece in parcel.pieces)
    assert any(piece is changeable for piece in parcel.pieces)
    [outside] = parcel.buffers
    array.memory[0] = 7
    assert outside[0] == 7


def test_an_array_keeps_the_memory_that_it_was_received_in():
    """No copy is made of a buffer when the update is loaded."""
    sent = dump_update({"array": Array(bytearray(MIB))}, state(), 1 << 30)
    received = bytearray(sent.buffers[0])

    update = load_update(Parcel((b"".join(sent.pieces),), (received,)))

    assert update.values["array"].memory is received


def test_an_update_within_the_limit_counts_what_lies_outside_of_its_pickle():
    """A buffer is part of what travels."""
    with pytest.raises(Unsendable, match="'array' 1048"):
        dump_update({"array": Array(bytearray(MIB))}, state(), MIB)


def test_bytes_that_are_no_update_are_refused():
    """Whatever else they unpickle to."""
    with pytest.raises(TypeError, match="expected an update, got dict"):
        load_update(Parcel((pickle.dumps({"values": {}}),)))


def test_an_error_while_loading_passes_through():
    """The supervisor guards it; nothing is hidden here."""
    with pytest.raises(ZeroDivisionError):
        load_update(Parcel((pickle.dumps(BreaksWhenLoaded()),)))


class BreaksWhenLoaded:
    def __reduce__(self) -> Any:
        return divmod, (1, 0)
