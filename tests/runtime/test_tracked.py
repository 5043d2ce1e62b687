"""runtime/node/tracked.py: what a node changed travels back, what it only had does not."""

from __future__ import annotations

import copy
import json
import pickle
import threading
import tracemalloc
from typing import Any, Callable

import pytest

from teastreams.core.merge import Update
from teastreams.core.state.reducers import append
from teastreams.runtime.node.tracked import TrackedState, snapshot


def entry() -> dict[str, Any]:
    return {"number": 1, "list": [1], "nested": {"deep": {"list": []}}, "untouched": {"large": "value"}}


def grow(**values: Any) -> None:
    values["list"].append(2)


def difference(change: Callable[[TrackedState], Any]) -> tuple[dict[str, Any], set[str]]:
    """What `change` did to a fresh state, as (values, removed)."""
    state = TrackedState(entry())
    change(state)
    update = state.difference()
    return dict(update.values), set(update.removed)


def test_a_state_nobody_changed_has_no_difference():
    """Looking at everything, in every way, changes nothing."""

    def look(state: TrackedState) -> None:
        list(state), list(state.items()), list(state.values()), dict(state)
        state.get("list"), state["nested"], "x" in state

    assert difference(lambda state: None) == ({}, set())
    assert difference(look) == ({}, set())
    assert not TrackedState(entry()).difference()


def test_it_is_a_dict():
    """For isinstance, comparison, length, json and pattern of use; it is never a second view of the caller's dict."""
    given = entry()
    state = TrackedState(given)

    assert isinstance(state, dict)
    assert (state == given, len(state), json.loads(json.dumps(state))) == (True, 4, given)
    state["new"] = 1
    assert "new" not in given


@pytest.mark.parametrize(
    ("change", "values"),
    [
        pytest.param(lambda s: s.__setitem__("new", 2), {"new": 2}, id="new key"),
        pytest.param(lambda s: s.__setitem__("number", 2), {"number": 2}, id="other value"),
        pytest.param(lambda s: s.update(number=2, new=3), {"number": 2, "new": 3}, id="update"),
        pytest.param(lambda s: s.__ior__({"number": 2}), {"number": 2}, id="or-assign"),
        pytest.param(lambda s: s.setdefault("new", []).append(1), {"new": [1]}, id="setdefault of a new key"),
        pytest.param(lambda s: s.setdefault("list", []).append(2), {"list": [1, 2]}, id="setdefault of a known key"),
        pytest.param(lambda s: s["list"].append(2), {"list": [1, 2]}, id="in place"),
        pytest.param(lambda s: s.get("list").append(2), {"list": [1, 2]}, id="in place, by get"),
        pytest.param(lambda s: s["nested"]["deep"].clear(), {"nested": {"deep": {}}}, id="deep inside"),
        pytest.param(lambda s: [v.append(2) for k, v in s.items() if k == "list"], {"list": [1, 2]}, id="by items"),
        pytest.param(lambda s: [v.append(2) for v in s.values() if v == [1]], {"list": [1, 2]}, id="by values"),
        pytest.param(lambda s: dict(s)["list"].append(2), {"list": [1, 2]}, id="through dict()"),
        pytest.param(lambda s: {**s}["list"].append(2), {"list": [1, 2]}, id="through a display"),
        pytest.param(lambda s: (s | {})["list"].append(2), {"list": [1, 2]}, id="through a union"),
        pytest.param(lambda s: s.copy()["list"].append(2), {"list": [1, 2]}, id="through copy"),
        pytest.param(lambda s: copy.copy(s)["list"].append(2), {"list": [1, 2]}, id="through copy.copy"),
        pytest.param(lambda s: grow(**s), {"list": [1, 2]}, id="through keywords"),
    ],
)
def test_what_was_changed_comes_back_alone(change: Callable[[TrackedState], Any], values: dict[str, Any]):
    """Set, or changed in place by whatever road the value was reached; the keys beside it stay out."""
    assert difference(change) == (values, set())


@pytest.mark.parametrize(
    ("change", "removed"),
    [
        pytest.param(lambda s: s.__delitem__("number"), {"number"}, id="del"),
        pytest.param(lambda s: s.pop("list"), {"list"}, id="pop"),
        pytest.param(lambda s: s.pop("nowhere", None), set(), id="pop of nothing"),
        pytest.param(lambda s: s.popitem(), {"untouched"}, id="popitem"),
        pytest.param(lambda s: s.clear(), {"number", "list", "nested", "untouched"}, id="clear"),
    ],
)
def test_what_was_removed_is_named(change: Callable[[TrackedState], Any], removed: set[str]):
    """And only that; a key that never was there cannot be removed."""
    assert difference(change) == ({}, removed)


def test_a_key_that_came_and_went_leaves_no_trace():
    """It was not there before and is not there now."""

    def change(state: TrackedState) -> None:
        state["new"] = 1
        del state["new"]

    assert difference(change) == ({}, set())


@pytest.mark.parametrize("take", [lambda s: s.pop("list"), lambda s: s.popitem()[1]])
def test_a_value_taken_out_changed_and_put_back_has_changed(take: Callable[[TrackedState], Any]):
    """The same object under the same key, but not the same inside."""
    state = TrackedState({"number": 1, "list": [1]})
    taken = take(state)
    taken.append(2)
    state["list"] = taken

    assert state.difference().values["list"] == [1, 2]


def test_an_equal_value_that_was_set_counts_as_set():
    """The node said so; another node may have said otherwise."""
    assert difference(lambda s: s.__setitem__("list", [1])) == ({"list": [1]}, set())


def test_a_value_of_functions_changed_in_place_comes_back():
    """Plain pickle has no bytes for a lambda; what has travelled by cloudpickle must not be lost for that."""
    state = TrackedState({"hooks": [lambda: 1], "others": [lambda: 2]})
    state["hooks"].append(lambda: 3)
    assert [hook() for hook in state["hooks"]] == [1, 3]
    assert len(state["others"]) == 1

    assert set(state.difference().values) == {"hooks"}


def test_a_value_without_bytes_is_compared_by_identity():
    """A lock cannot be sent: looked at it stays out, replaced it is in the difference, for an error to name it."""
    lock = threading.Lock()
    state = TrackedState({"lock": lock})
    assert state["lock"] is lock
    assert not state.difference()

    state["lock"] = other = threading.Lock()
    assert state.difference().values == {"lock": other}


def test_values_nobody_looks_at_are_never_pickled():
    """They cost nothing, and may be of any kind."""

    class Loud:
        def __reduce__(self) -> Any:
            raise AssertionError("looked at")

    state = TrackedState({"loud": Loud(), "list": [1]})
    state["list"].append(2)

    assert state.difference() == Update({"list": [1, 2]})


# -- updates from upstream ----------------------------------------------------------------------------------


def test_an_update_from_upstream_is_seen_and_is_not_this_nodes_change():
    """New keys, other values, removed keys: visible at once, and not sent back as ours."""
    state = TrackedState(entry())
    assert state["list"] == [1]
    state.given(Update({"new": [5], "list": [9]}, frozenset({"number"})))

    assert (state["new"], state["list"], "number" in state) == ([5], [9], False)
    assert state.difference() == Update()


def test_a_change_inside_what_came_from_upstream_is_this_nodes_change():
    """The value is followed from its arrival on."""
    state = TrackedState(entry())
    state.given(Update({"new": [5], "list": [9]}))
    state["new"].append(6)
    state["list"].append(10)

    assert state.difference() == Update({"new": [5, 6], "list": [9, 10]})


def test_what_upstream_gave_can_be_removed():
    """The removal is this node's."""
    state = TrackedState({})
    state.given(Update({"new": 1}))
    del state["new"]

    assert state.difference() == Update({}, frozenset({"new"}))


def test_what_upstream_removed_is_not_removed_again_and_may_return():
    """Setting the key anew is a change."""
    state = TrackedState(entry())
    state.given(Update({}, frozenset({"list", "number"})))
    state["list"] = "again"

    assert state.difference() == Update({"list": "again"})


def test_it_travels_as_a_plain_dict():
    """A pickle of it needs nothing of ours to be loaded, nor does a deep copy drag the fingerprints along."""
    state = TrackedState(entry())

    assert type(pickle.loads(pickle.dumps(state))) is dict
    assert copy.deepcopy(state) == entry()
    assert type(copy.deepcopy(state)) is dict


def test_a_large_value_is_watched_without_a_copy():
    """Its fingerprint is a digest: looking at it takes no memory that grows with it, and one changed byte shows."""
    state = TrackedState({"raw": bytearray(32 << 20)})
    tracemalloc.start()
    try:
        state["raw"][-1] = 7
        changed = state.difference()
        _now, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert changed.values.keys() == {"raw"}
    assert peak_bytes < 1 << 20


def test_a_snapshot_looks_at_nothing():
    """It has the same items, and values that cannot even be pickled cost nothing."""

    class Untouchable:
        def __reduce__(self) -> Any:
            raise AssertionError("looked at")

    value = Untouchable()
    state = TrackedState({"value": value, "list": [1]})
    taken = snapshot(state)
    taken["list"].append(2)

    assert taken == {"value": value, "list": [1, 2]}
    assert type(taken) is dict
    assert state.difference() == Update()
    assert snapshot({"a": 1}) == {"a": 1}


class TestReducers:
    """What steps inside the node returned for a key with a reducer stays apart, for whoever joins it elsewhere."""

    def test_parts_of_its_own_steps_are_told_as_parts(self) -> None:
        state = TrackedState({"log": ["0"]}, {"log": append})
        state.joined(Update({"k": 1}, parts={"log": ("a",)}))
        state.joined(Update(parts={"log": (["b"],)}))

        assert (state["log"], state.difference()) == (["0", "a", "b"], Update({"k": 1}, parts={"log": ("a", ["b"])}))

    def test_what_came_from_upstream_is_reduced_and_is_not_its_own(self) -> None:
        state = TrackedState({"log": ["0"]}, {"log": append})
        state.given(Update(parts={"log": ("a",)}))

        assert (state["log"], state.difference()) == (["0", "a"], Update())

    @pytest.mark.parametrize("order", ["before", "after"])
    def test_a_key_changed_in_place_as_well_is_told_whole(self, order: str) -> None:
        state = TrackedState({"log": ["0"]}, {"log": append})
        changes = [lambda: state["log"].append("x"), lambda: state.joined(Update(parts={"log": ("a",)}))]
        for change in changes if order == "before" else reversed(changes):
            change()

        assert state.difference() == Update({"log": state["log"]})
        assert sorted(state["log"]) == ["0", "a", "x"]

    def test_a_key_removed_afterwards_is_removed(self) -> None:
        state = TrackedState({}, {"log": append})
        state.joined(Update(parts={"log": ("a",)}))
        del state["log"]
        state.joined(Update(removed=frozenset({"log"})))

        assert state.difference() == Update(removed=frozenset({"log"}))
