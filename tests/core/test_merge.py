"""core/merge.py: how updates and parallel results join the state."""

from __future__ import annotations

import operator
import pickle
from collections import OrderedDict
from typing import Any

import pytest

from teastreams.core.merge import (
    ParallelFlowResult,
    ParallelResults,
    Update,
    apply,
    as_parts,
    composed,
    conflict,
    merged,
    only,
    returned,
)
from teastreams.core.state.reducers import ReducerFailed, append


class Unlike:
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise ValueError("neither equal nor unequal")


class TestUpdate:
    @pytest.mark.parametrize(
        ("update", "something"),
        [(Update(), False), (Update({"a": None}), True), (Update(removed=frozenset({"a"})), True)],
    )
    def test_is_true_when_it_changes_something(self, update: Update, something: bool) -> None:
        """A key set to None is a change."""
        assert bool(update) is something

    def test_apply_changes_the_dict_in_place(self) -> None:
        state = {"a": 1, "b": 2}
        apply(state, Update({"a": 10, "c": 3}, frozenset({"b", "never there"})))

        assert state == {"a": 10, "c": 3}

    def test_a_key_that_is_removed_and_set_is_set(self) -> None:
        state = {"a": 1}
        apply(state, Update({"a": 2}, frozenset({"a"})))

        assert state == {"a": 2}


class TestMerged:
    def test_later_updates_win(self) -> None:
        assert merged({"a": 0, "b": 0}, [Update({"a": 1}), Update({"a": 2}, frozenset({"b"}))]) == {"a": 2}

    def test_leaves_the_state_alone(self) -> None:
        """A new dict, whose values are the same objects."""
        state: dict[str, Any] = {"a": []}
        result = merged(state, [Update({"b": 1})])

        assert state == {"a": []}
        assert result["a"] is state["a"]
        assert merged(state, []) is not state


class TestReturned:
    @pytest.mark.parametrize(
        ("value", "sets"),
        [
            ({"a": 1}, {"a": 1}),
            ({}, {}),
            (OrderedDict(a=1), {"a": 1}),
            (ParallelFlowResult("b", state={"a": 1}), {"a": 1}),
            (3, {"result": 3}),
            ("text", {"result": "text"}),
            ([("a", 1)], {"result": [("a", 1)]}),
        ],
    )
    def test_a_mapping_sets_its_keys_anything_else_is_the_result(self, value: Any, sets: dict[str, Any]) -> None:
        assert returned(value) == sets
        assert type(returned(value)) is dict


class TestParallelFlowResult:
    RESULT = ParallelFlowResult("left", success=False, state={"error": "mine", "n": 2}, error="boom", exit_code=1)

    def test_is_a_mapping_over_the_branches_state(self) -> None:
        result = self.RESULT

        assert (result["n"], result.get("n"), result.get("none", 7), "n" in result, "none" in result) == (
            2,
            2,
            7,
            True,
            False,
        )
        assert (list(result), len(result), dict(result)) == (["error", "n"], 2, {"error": "mine", "n": 2})
        with pytest.raises(KeyError, match="none"):
            result["none"]

    def test_fields_never_shadow_state_keys(self) -> None:
        """Nor the other way round."""
        assert (self.RESULT["error"], self.RESULT.error) == ("mine", "boom")
        assert "branch" not in self.RESULT

    @pytest.mark.scenario("001.2-UNIT-005")
    def test_has_an_exit_code(self) -> None:
        assert self.RESULT.exit_code == 1
        assert ParallelFlowResult("thread").exit_code is None

    def test_is_read_only(self) -> None:
        with pytest.raises(AttributeError):
            self.RESULT.success = True  # type: ignore[misc]
        with pytest.raises(TypeError):
            self.RESULT["n"] = 3  # type: ignore[index]

    def test_survives_pickling(self) -> None:
        assert pickle.loads(pickle.dumps(self.RESULT)) == self.RESULT


class TestParallelResults:
    RESULTS = ParallelResults([ParallelFlowResult("b", state={"x": 1}), ParallelFlowResult("a", state={"x": 2})])

    def test_stand_in_the_order_of_to(self) -> None:
        assert [result.branch for result in self.RESULTS] == ["b", "a"]
        assert (len(self.RESULTS), self.RESULTS[0].branch, self.RESULTS[-1].branch) == (2, "b", "a")
        assert [result.branch for result in self.RESULTS[1:]] == ["a"]

    def test_can_be_looked_up_by_branch(self) -> None:
        assert (self.RESULTS["a"]["x"], self.RESULTS["b"]["x"]) == (2, 1)

    def test_an_unknown_branch_is_an_error_that_names_the_known_ones(self) -> None:
        with pytest.raises(KeyError, match="no branch 'c'; the branches are b, a"):
            self.RESULTS["c"]


REDUCERS = {"log": append, "n": operator.add}


class TestParts:
    def test_a_reducer_joins_parts_to_whatever_the_state_holds(self) -> None:
        state = {"log": ["a"], "k": 1}
        apply(state, Update({"k": 2}, parts={"log": ("b", ["c"]), "n": (1, 2)}), REDUCERS)

        assert state == {"log": ["a", "b", "c"], "n": 3, "k": 2}
        assert bool(Update(parts={"log": ("a",)})) is True

    def test_a_key_removed_before_begins_anew(self) -> None:
        state = {"log": ["a"]}
        apply(state, Update(removed=frozenset({"log"}), parts={"log": ("b",)}), REDUCERS)

        assert state == {"log": ["b"]}

    def test_a_reducer_that_raises_changes_nothing(self) -> None:
        state = {"n": 1, "log": ["a"]}
        with pytest.raises(ReducerFailed):
            apply(state, Update({"k": 1}, parts={"log": ("b",), "n": ("x",)}), REDUCERS)

        assert state == {"n": 1, "log": ["a"]}

    def test_what_is_returned_for_a_key_with_a_reducer_is_a_part(self) -> None:
        state = {"log": ["a"], "n": 1}
        update = as_parts(Update({"log": ["b"], "n": 1, "k": 2}), state, REDUCERS)

        assert update == Update({"k": 2}, parts={"log": (["b"],), "n": (1,)})

    def test_the_own_container_of_the_state_returned_is_no_part(self) -> None:
        """`{**state}` does not double a list."""
        state = {"log": ["a"], "n": 1}

        assert as_parts(Update({"log": state["log"]}), state, REDUCERS) == Update()

    def test_without_reducers_an_update_stays_what_it_is(self) -> None:
        update = Update({"log": ["b"]})

        assert as_parts(update, {}, {}) is update


class TestConflict:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (Update({"k": 1}), Update({"j": 1})),
            (Update({"k": 1}), Update({"k": 1})),
            (Update({"k": [1]}), Update({"k": [1]})),
            (Update(removed=frozenset("k")), Update(removed=frozenset("k"))),
            (Update(parts={"log": ("a",)}), Update(parts={"log": ("b",)})),
        ],
    )
    def test_changes_that_can_both_hold_are_none(self, one: Update, other: Update) -> None:
        assert conflict({"a": one, "b": other}, {}) is None

    @pytest.mark.parametrize(
        ("one", "other", "found"),
        [
            (Update({"log": 1}), Update({"log": 2}), "to int: 1 and to int: 2;"),
            (Update({"log": 1}), Update(removed=frozenset({"log"})), "to int: 1 and to nothing (removed);"),
            (Update(parts={"log": (1,)}), Update({"log": [1]}), "to more by its reducer and to list with 1 items;"),
            (Update({"log": Unlike()}), Update({"log": Unlike()}), "to Unlike and to Unlike;"),
        ],
    )
    def test_others_name_the_key_and_both_branches(self, one: Update, other: Update, found: str) -> None:
        """Also where a comparison raises, as that of arrays does."""
        said = str(conflict({"a": one, "x": Update(), "b": other}, {}))

        assert said.startswith("the branches 'a' and 'b' both changed the key 'log': ")
        assert found in said

    def test_who_has_seen_the_other_contains_it(self) -> None:
        updates = {"a": Update({"k": 1}), "b": Update({"k": 2})}

        assert conflict(updates, {"b": ("a",)}) is None


class TestComposed:
    def test_one_update_after_another(self) -> None:
        updates = [
            Update({"k": 1}, parts={"log": ("a",), "n": (1,)}),
            Update({"k": 2}, frozenset({"j"}), {"log": ("b",)}),
            Update({"n": 10}),
            Update(parts={"n": (5,)}),
        ]

        assert composed(updates, REDUCERS) == Update({"k": 2, "n": 15}, frozenset({"j"}), {"log": ("a", "b")})

    def test_a_removed_key_forgets_what_was_before(self) -> None:
        updates = [Update({"k": 1}, parts={"log": ("a",)}), Update(removed=frozenset({"k", "log"}))]

        assert composed(updates, REDUCERS) == Update(removed=frozenset({"k", "log"}))

    def test_only_some_keys(self) -> None:
        update = Update({"k": 1, "log": [1]}, frozenset({"j"}), {"n": (1,)})

        assert only(update, REDUCERS) == Update({"log": [1]}, parts={"n": (1,)})
