"""The conformance kit: our checkpointers pass every check, and for each check there is a broken one that fails it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Optional

import pytest

import teastreams as ts
from teastreams.testing import checkpointers

Found = tuple[ts.Checkpoint, ...]


@pytest.mark.parametrize("check", checkpointers.CHECKS.values(), ids=checkpointers.CHECKS)
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_ours_conform(tmp_path: Path, kind: str, check: checkpointers.Check) -> None:
    # A file that was made, and holds nothing: an empty store, as the checks expect it.
    (tmp_path / "db").touch(0o600)
    check(ts.MemoryCheckpointer() if kind == "memory" else ts.SqliteCheckpointer(tmp_path / "db"))


class Broken:
    """A checkpointer on a good one, for others to break in one place."""

    def __init__(self) -> None:
        self.good = ts.MemoryCheckpointer()

    def save(self, record: ts.Checkpoint) -> str:
        return self.good.save(record)

    def load(self, checkpoint_id: Optional[str] = None) -> ts.Checkpoint:
        return self.good.load(checkpoint_id)

    def list(self, run_id: Optional[str] = None) -> Found:
        return self.good.list(run_id)

    def history(self, run_id: Optional[str] = None) -> Found:
        return self.good.history(run_id)


class ForgetsTheParent(Broken):
    def save(self, record: ts.Checkpoint) -> str:
        return self.good.save(replace(record, parent=""))


class MakesTuplesLists(Broken):
    def save(self, record: ts.Checkpoint) -> str:
        changed = {key: list(map(plain, each)) if key == "typed" else each for key, each in record.state.items()}
        return self.good.save(replace(record, state=changed))


def plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


class ReturnsOneId(Broken):
    def save(self, record: ts.Checkpoint) -> str:
        self.good.save(record)
        return "the same"

    def load(self, checkpoint_id: Optional[str] = None) -> ts.Checkpoint:
        return self.good.load()


class IsLate(Broken):
    def load(self, checkpoint_id: Optional[str] = None) -> ts.Checkpoint:
        found = self.good.load(checkpoint_id)
        assert found.created_at is not None
        return replace(found, created_at=found.created_at + timedelta(hours=1))


class LoadsTheHighestStep(Broken):
    def load(self, checkpoint_id: Optional[str] = None) -> ts.Checkpoint:
        if checkpoint_id is not None or not self.good.list():
            return self.good.load(checkpoint_id)
        return max(self.good.list(), key=lambda one: one.step)


class ListsBySteps(Broken):
    def list(self, run_id: Optional[str] = None) -> Found:
        return tuple(sorted(self.good.list(run_id), key=lambda one: one.step))


class MixesRuns(Broken):
    def history(self, run_id: Optional[str] = None) -> Found:
        return self.good.history()


class KeepsTheObjects(Broken):
    def __init__(self) -> None:
        super().__init__()
        self.states: dict[str, Any] = {}

    def save(self, record: ts.Checkpoint) -> str:
        checkpoint_id = self.good.save(record)
        self.states[checkpoint_id] = record.state
        return checkpoint_id

    def load(self, checkpoint_id: Optional[str] = None) -> ts.Checkpoint:
        found = self.good.load(checkpoint_id)
        return replace(found, state=self.states[found.checkpoint_id])


class TellsStates(Broken):
    def history(self, run_id: Optional[str] = None) -> Found:
        return self.good.list(run_id)


class RaisesKeyError(Broken):
    def load(self, checkpoint_id: Optional[str] = None) -> ts.Checkpoint:
        try:
            return self.good.load(checkpoint_id)
        except ts.CheckpointError:
            raise KeyError(checkpoint_id) from None


class SavesTheRest(Broken):
    def save(self, record: ts.Checkpoint) -> str:
        try:
            return self.good.save(record)
        except ts.CheckpointError:
            return self.good.save(replace(record, state={}))


class TakesAnyStatus(Broken):
    def save(self, record: ts.Checkpoint) -> str:
        return self.good.save(replace(record, status="paused"))


BROKEN = {
    "a_record_comes_back_whole": ForgetsTheParent,
    "every_kind_of_value_comes_back": MakesTuplesLists,
    "an_id_is_of_one_checkpoint": ReturnsOneId,
    "the_time_is_that_of_saving": IsLate,
    "the_newest_is_the_one_saved_last": LoadsTheHighestStep,
    "lists_are_in_the_order_of_saving": ListsBySteps,
    "runs_are_kept_apart": MixesRuns,
    "a_checkpoint_does_not_change_with_the_state": KeepsTheObjects,
    "a_history_holds_no_states": TellsStates,
    "what_is_not_there_is_an_error": RaisesKeyError,
    "a_value_that_cannot_be_kept_is_refused_by_its_key": SavesTheRest,
    "a_wrong_moment_and_a_wrong_status_are_refused": TakesAnyStatus,
}


def test_there_is_a_broken_one_for_every_check() -> None:
    assert list(BROKEN) == list(checkpointers.CHECKS)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_one_is_found_by_its_check_and_by_name(name: str) -> None:
    with pytest.raises((AssertionError, KeyError)):
        checkpointers.CHECKS[name](BROKEN[name]())
    with pytest.raises(AssertionError, match=f"(?s)does not conform:.*  {name}: "):
        checkpointers.conforms(BROKEN[name])


def test_a_good_one_conforms() -> None:
    checkpointers.conforms(ts.MemoryCheckpointer)
    checkpointers.conforms(Broken)
