"""core/lifecycle.py: the table, looked at cell by cell, and lives led through it."""

from __future__ import annotations

import itertools
import random
from collections import deque

import pytest

from teastreams.core.lifecycle import LIVE, TABLE, Action, Event, State, step

A, E, S = Action, Event, State

# What cannot happen, and why. Everything else must have a cell.
REFUSED = {
    # GO is given to whoever said READY, and only once.
    **{(state, E.GO): "only a worker that is ready is let go" for state in set(S) - {S.READY}},
    (S.FINISHED, E.SAID_READY): "nobody listens to it any more",
    (S.FINISHED, E.REPORTED): "nobody listens to it any more",
    **{(state, E.EXITED): "a process exits once" for state in (S.DRAINING, S.FINISHED)},
    **{(state, E.DRAINED): "its pipes end with it: before its exit that says nothing" for state in LIVE},
    **{(state, E.DEADLINE): "no deadline is set" for state in (S.FORKED, S.READY, S.RUNNING, S.KILLED, S.FINISHED)},
}
CELLS = list(itertools.product(State, Event))
ARMS = {A.ARM_GRACE, A.ARM_DRAIN}


def lives(event: Event, state: State) -> tuple[State, list[Action]]:
    """The state after `event` and then whatever has to follow until the process has exited and its pipes are empty."""
    actions: list[Action] = []
    for each in (event, E.EXITED, E.DRAINED):
        if (state, each) in TABLE:
            state, more = step(state, each)
            actions += more
    return state, actions


def reachable(ways: dict[State, set[State]], start: State) -> set[State]:
    reached, waiting = {start}, deque([start])
    while waiting:
        new = ways[waiting.popleft()] - reached
        reached |= new
        waiting += new
    return reached


class TestTable:
    @pytest.mark.parametrize(("state", "event"), CELLS, ids=lambda each: each.name)
    def test_every_pair_has_a_cell_or_a_reason(self, state: State, event: Event) -> None:
        """Nothing was forgotten: what is not in the table is listed above as impossible."""
        assert ((state, event) in TABLE) != ((state, event) in REFUSED)

    @pytest.mark.parametrize(
        ("state", "event"), [cell for cell in CELLS if cell in REFUSED], ids=lambda each: each.name
    )
    def test_what_cannot_happen_is_an_error_that_names_both(self, state: State, event: Event) -> None:
        with pytest.raises(ValueError, match=f"a worker that is {state.value} cannot meet '{event.value}'"):
            step(state, event)

    @pytest.mark.parametrize(("state", "event"), list(TABLE), ids=lambda each: each.name)
    def test_a_step_is_the_cell(self, state: State, event: Event) -> None:
        assert step(state, event) == TABLE[state, event]

    def test_live_are_the_states_before_the_exit(self) -> None:
        assert set(State) - set(LIVE) == {S.DRAINING, S.FINISHED}

    def test_finished_is_final(self) -> None:
        for (state, _), (after, actions) in TABLE.items():
            if state is S.FINISHED:
                assert (after, actions) == (S.FINISHED, ())


class TestOrdinaryLife:
    def test_it_is_ready_runs_reports_exits_and_is_drained(self) -> None:
        """The picture at the head of the file."""
        state, seen = S.FORKED, []
        for event in (E.SAID_READY, E.GO, E.REPORTED, E.EXITED, E.DRAINED):
            state, actions = step(state, event)
            seen.append((state, actions))

        assert seen == [
            (S.READY, ()),
            (S.RUNNING, (A.SEND_GO,)),
            (S.ENDING, (A.ARM_GRACE,)),
            (S.DRAINING, (A.SWEEP, A.REAP, A.ARM_DRAIN)),
            (S.FINISHED, (A.DISARM,)),
        ]


class TestEnding:
    @pytest.mark.parametrize("state", State, ids=lambda each: each.name)
    def test_stop_now_exit_and_drain_finish_from_anywhere(self, state: State) -> None:
        assert lives(E.STOP_NOW, state)[0] is S.FINISHED

    @pytest.mark.parametrize("state", State, ids=lambda each: each.name)
    def test_stop_exit_and_drain_finish_from_anywhere(self, state: State) -> None:
        assert lives(E.STOP, state)[0] is S.FINISHED

    @pytest.mark.parametrize("state", [state for state in LIVE if state not in (S.TERMED, S.KILLED)])
    def test_the_first_stop_asks_the_second_at_once_forces(self, state: State) -> None:
        asked, actions = step(state, E.STOP)
        forced, more = step(asked, E.STOP_NOW)

        assert (asked, actions) == (S.TERMED, (A.TERM, A.ARM_GRACE))
        assert (forced, more) == (S.KILLED, (A.KILL, A.DISARM))

    @pytest.mark.parametrize("state", [S.TERMED, S.ENDING])
    def test_whoever_does_not_end_in_its_grace_is_forced(self, state: State) -> None:
        assert step(state, E.DEADLINE) == (S.KILLED, (A.KILL, A.DISARM))

    @pytest.mark.parametrize("event", [E.DEADLINE, E.STOP_NOW])
    def test_pipes_that_somebody_holds_are_abandoned(self, event: Event) -> None:
        assert step(S.DRAINING, event) == (S.FINISHED, (A.ABANDON, A.DISARM))

    @pytest.mark.parametrize("state", LIVE)
    def test_the_group_is_swept_before_the_number_is_given_back(self, state: State) -> None:
        """After REAP its pid could be a stranger's."""
        _, actions = step(state, E.EXITED)

        assert actions == (A.SWEEP, A.REAP, A.ARM_DRAIN)

    def test_nothing_is_signalled_after_the_exit(self) -> None:
        for (state, _), (_, actions) in TABLE.items():
            if state in (S.DRAINING, S.FINISHED):
                assert not {A.TERM, A.KILL, A.SWEEP, A.REAP} & set(actions)


class TestRandomLives:
    def test_every_state_can_be_reached_and_leads_to_the_end(self) -> None:
        """No state is there for nothing, and none is a dead end but the last."""
        ways = {state: {after for (before, _), (after, _) in TABLE.items() if before is state} for state in State}

        assert reachable(ways, S.FORKED) == set(State)
        assert all(S.FINISHED in reachable(ways, state) for state in State)

    def test_no_life_goes_back(self) -> None:
        """States are only ever left for later ones, so every life ends when events do."""
        order = [S.FORKED, S.READY, S.RUNNING, S.ENDING, S.TERMED, S.KILLED, S.DRAINING, S.FINISHED]
        for (before, _), (after, _) in TABLE.items():
            assert order.index(after) >= order.index(before)

    def test_deadlines_are_armed_and_taken_away_in_balance(self) -> None:
        """Whoever waits for a deadline has one; a finished worker has none; one is reaped and swept exactly once."""
        for seed in range(2000):
            dice = random.Random(seed)
            state, armed, history = S.FORKED, False, [S.FORKED.name]
            counts = dict.fromkeys(Action, 0)
            while state is not S.FINISHED:
                possible = [event for event in Event if (state, event) in TABLE and (event is not E.DEADLINE or armed)]
                event = dice.choice(possible)
                history.append(event.name)
                armed = armed and event is not E.DEADLINE
                state, actions = step(state, event)
                for action in actions:
                    counts[action] += 1
                    armed = action in ARMS or (armed and action is not A.DISARM)
                assert armed == (state in (S.ENDING, S.TERMED, S.DRAINING)), f"seed {seed}: {history}"
            assert (counts[A.SWEEP], counts[A.REAP]) == (1, 1), f"seed {seed}: {history}"
            assert counts[A.SEND_GO] <= 1, f"seed {seed}: {history}"
            assert counts[A.KILL] <= 1, f"seed {seed}: {history}"
