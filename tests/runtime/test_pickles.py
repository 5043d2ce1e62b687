"""runtime/node/pickles.py: what a node returned becomes an update, the update bytes, and the bytes an update again."""

from __future__ import annotations

import pickle
import threading
from typing import Any

import pytest

from teastreams.core.merge import Update
from teastreams.runtime.node.pickles import Unsendable, dump_update, load_update, update_of
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
    size = len(dump_update(value, state(), MIB))

    assert len(dump_update(value, state(), size)) == size
    with pytest.raises(Unsendable) as refused:
        dump_update(value, state(), size - 1)
    text = str(refused.value)
    assert f"has {size} bytes, the limit is {size - 1}" in text
    assert text.index("'large'") < text.index("'middle'") < text.index("'small'")
    assert refused.value.error_type == "LimitError"


def test_bytes_that_are_no_update_are_refused():
    """Whatever else they unpickle to."""
    with pytest.raises(TypeError, match="expected an update, got dict"):
        load_update(pickle.dumps({"values": {}}))


def test_an_error_while_loading_passes_through():
    """The supervisor guards it; nothing is hidden here."""
    with pytest.raises(ZeroDivisionError):
        load_update(pickle.dumps(BreaksWhenLoaded()))


class BreaksWhenLoaded:
    def __reduce__(self) -> Any:
        return divmod, (1, 0)
