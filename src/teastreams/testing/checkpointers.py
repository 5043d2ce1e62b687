"""A conformance kit: facts that hold for every `Checkpointer`, as checks that an implementation of yours can run.

A check gets a checkpointer that is empty, and raises AssertionError when a fact does not hold. The checks know the
protocol only. Durability, locking and files are not looked at: they are of one kind of store, and so are its tests.

    @pytest.mark.parametrize("check", checkpointers.CHECKS.values(), ids=checkpointers.CHECKS)
    def test_conforms(check):
        check(MyCheckpointer())
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Callable

from teastreams.checkpoint import Checkpoint, Checkpointer, CheckpointError

Check = Callable[[Checkpointer], None]

STATE: dict[str, Any] = {
    "plain": [None, True, 1, -(2**70), 0.5, "Grüße \x00", {"nested": [{}]}],
    "typed": [b"\x00\xff", (1, (2,)), {1, 2}, frozenset({"a"}), Path("/a path"), {1: "a", (2,): "b"}],
    "times": [datetime(2024, 1, 1, tzinfo=timezone.utc), timedelta(days=-1)],
    "large": "x" * 100_000,
}


def conforms(factory: Callable[[], Checkpointer]) -> None:
    """Run every check, each on a new empty checkpointer; AssertionError names all that fail."""
    failed = []
    for name, check in CHECKS.items():
        try:
            check(factory())
        except Exception as error:
            failed.append(f"{name}: {type(error).__name__}: {error}")
    if failed:
        raise AssertionError("this checkpointer does not conform:\n  " + "\n  ".join(failed))


def _record(step: int = 0, run_id: str = "run", **state: Any) -> Checkpoint:
    return Checkpoint(run_id, step, f"node {step}", "after", "hash", state)


def _holds(fact: bool, otherwise: str = "not the checkpoints that were saved, or not in their order") -> None:
    """An assertion that also holds under `python -O`."""
    if not fact:
        raise AssertionError(otherwise)


def _refused(call: Callable[[], object]) -> str:
    try:
        call()
    except CheckpointError as error:
        return str(error)
    raise AssertionError("no CheckpointError was raised")


def a_record_comes_back_whole(keeper: Checkpointer) -> None:
    saved = Checkpoint("run", 7, "a node", "before", "hash", {"x": 1}, status="running", parent="above")
    found = keeper.load(keeper.save(saved))
    for name in ("run_id", "step", "node", "when", "workflow_hash", "status", "parent"):
        _holds(getattr(found, name) == getattr(saved, name), f"{name} is {getattr(found, name)!r}")
    _holds(dict(found.state) == {"x": 1}, f"the state is {found.state!r}")


def every_kind_of_value_comes_back(keeper: Checkpointer) -> None:
    keeper.save(_record(**STATE))
    found = dict(keeper.load().state)
    _holds(repr(found) == repr(STATE) or found == STATE, "the state is not what was saved")
    kinds = [type(value) for value in found["typed"]]
    _holds(kinds == [type(value) for value in STATE["typed"]], f"the types are {kinds}")


def an_id_is_of_one_checkpoint(keeper: Checkpointer) -> None:
    ids = [keeper.save(_record()) for _ in range(3)]
    _holds(len(set(ids)) == 3, f"the ids are {ids}")
    _holds([one.checkpoint_id for one in keeper.list()] == ids, "`list` does not give the ids that `save` returned")


def the_time_is_that_of_saving(keeper: Checkpointer) -> None:
    before = datetime.now(timezone.utc)
    found = keeper.load(keeper.save(_record())).created_at
    _holds(found is not None and before <= found <= datetime.now(timezone.utc), f"`created_at` is {found}")


def the_newest_is_the_one_saved_last(keeper: Checkpointer) -> None:
    for step in (1, 3, 2):
        keeper.save(_record(step))
    _holds(keeper.load().step == 2, f"`load` gives step {keeper.load().step}")


def lists_are_in_the_order_of_saving(keeper: Checkpointer) -> None:
    for step in (2, 1, 3):
        keeper.save(_record(step))
    _holds([one.step for one in keeper.list()] == [2, 1, 3])
    _holds([one.step for one in keeper.history()] == [2, 1, 3])


def runs_are_kept_apart(keeper: Checkpointer) -> None:
    for step, run_id in enumerate(("a", "b", "a")):
        keeper.save(_record(step, run_id))
    for found in (keeper.list, keeper.history):
        _holds([one.step for one in found("a")] == [0, 2])
        _holds(tuple(found("c")) == ())


def a_checkpoint_does_not_change_with_the_state(keeper: Checkpointer) -> None:
    items = [1]
    keeper.save(_record(items=items))
    items.append(2)
    keeper.load().state["items"].append(3)
    _holds(keeper.load().state["items"] == [1], "a later change reached into the checkpoint")


def a_history_holds_no_states(keeper: Checkpointer) -> None:
    checkpoint_id = keeper.save(_record(5, large="x" * 10_000))
    (one,) = keeper.history()
    _holds((one.checkpoint_id, one.step, dict(one.state)) == (checkpoint_id, 5, {}))
    _holds(one.size_bytes >= 10_000, f"`size_bytes` is {one.size_bytes}")


def what_is_not_there_is_an_error(keeper: Checkpointer) -> None:
    _refused(keeper.load)
    keeper.save(_record())
    _refused(lambda: keeper.load("no such id"))


def a_value_that_cannot_be_kept_is_refused_by_its_key(keeper: Checkpointer) -> None:
    told = _refused(lambda: keeper.save(_record(outer={"inner": object()})))
    _holds("outer" in told and "inner" in told, f"the error does not name the key: {told}")
    _refused(keeper.load)


def a_wrong_moment_and_a_wrong_status_are_refused(keeper: Checkpointer) -> None:
    _refused(lambda: keeper.save(Checkpoint("run", 0, "node", "during", "hash", {})))
    _refused(lambda: keeper.save(Checkpoint("run", 0, "node", "after", "hash", {}, status="done")))


CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        a_record_comes_back_whole,
        every_kind_of_value_comes_back,
        an_id_is_of_one_checkpoint,
        the_time_is_that_of_saving,
        the_newest_is_the_one_saved_last,
        lists_are_in_the_order_of_saving,
        runs_are_kept_apart,
        a_checkpoint_does_not_change_with_the_state,
        a_history_holds_no_states,
        what_is_not_there_is_an_error,
        a_value_that_cannot_be_kept_is_refused_by_its_key,
        a_wrong_moment_and_a_wrong_status_are_refused,
    )
}
