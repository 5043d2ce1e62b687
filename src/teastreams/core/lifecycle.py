"""One worker's life as a table: (state, event) -> (next state, actions).

"What if it dies while we wait for its report?" is answered by looking at a cell. The supervisor holds one state
per worker, feeds events, performs actions; nothing here touches a process. A pair that is not in the table is an
error by construction. Ending is always asked first (TERM and CONT to the whole group), then, after the grace, forced.

              ready         go           reported          exited            drained
    FORKED ─────────▶ READY ────▶ RUNNING ─────────▶ ENDING ───────▶ DRAINING ───────▶ FINISHED
       └───────┬────────┴────────────┴────────────────┘ ▲
          stop │                                        │ exited
               └──────▶ TERMED ── deadline ──▶ KILLED ──┘
"""

from __future__ import annotations

from enum import Enum
from typing import Mapping


class State(Enum):
    """Where a worker is in its life."""

    FORKED = "forked"
    READY = "ready"
    RUNNING = "running"
    ENDING = "ending"
    TERMED = "termed"
    KILLED = "killed"
    DRAINING = "draining"
    FINISHED = "finished"


class Event(Enum):
    """What can happen to a worker."""

    SAID_READY = "said ready"
    GO = "go"
    REPORTED = "reported"
    EXITED = "exited"
    DRAINED = "drained"
    DEADLINE = "deadline"
    STOP = "stop"
    STOP_NOW = "stop now"


class Action(Enum):
    """What the supervisor does about it."""

    SEND_GO = "send go"
    TERM = "TERM, then CONT, to the group"
    KILL = "KILL, then CONT, to the group"
    SWEEP = "KILL whatever is left in the group of an exited worker"
    REAP = "collect the exit status"
    ARM_GRACE = "deadline after the grace"
    ARM_DRAIN = "deadline after the drain time"
    DISARM = "no deadline"
    ABANDON = "close our ends though somebody still holds the other"


S, E, A = State, Event, Action

LIVE = (S.FORKED, S.READY, S.RUNNING, S.ENDING, S.TERMED, S.KILLED)
"""States in which the process has not been seen to exit."""

Cell = tuple[State, tuple[Action, ...]]

_EXITED: Cell = (S.DRAINING, (A.SWEEP, A.REAP, A.ARM_DRAIN))
_STOP: Cell = (S.TERMED, (A.TERM, A.ARM_GRACE))
_STOP_NOW: Cell = (S.KILLED, (A.KILL, A.DISARM))


def _quiet(state: State) -> Cell:
    return (state, ())


TABLE: Mapping[tuple[State, Event], Cell] = {
    (S.FORKED, E.SAID_READY): _quiet(S.READY),
    (S.READY, E.GO): (S.RUNNING, (A.SEND_GO,)),
    (S.RUNNING, E.REPORTED): (S.ENDING, (A.ARM_GRACE,)),
    # A worker that cannot even start reports, too.
    (S.FORKED, E.REPORTED): (S.ENDING, (A.ARM_GRACE,)),
    (S.READY, E.REPORTED): (S.ENDING, (A.ARM_GRACE,)),
    # It reported and does not leave: a thread of the node, or an exit function that hangs.
    (S.ENDING, E.DEADLINE): _STOP_NOW,
    (S.TERMED, E.DEADLINE): _STOP_NOW,
    # What was on its way when we asked it to end is still true, and changes nothing.
    (S.TERMED, E.SAID_READY): _quiet(S.TERMED),
    (S.KILLED, E.SAID_READY): _quiet(S.KILLED),
    (S.TERMED, E.REPORTED): _quiet(S.TERMED),
    (S.KILLED, E.REPORTED): _quiet(S.KILLED),
    (S.DRAINING, E.REPORTED): _quiet(S.DRAINING),
    (S.DRAINING, E.SAID_READY): _quiet(S.DRAINING),
    # A worker whose node writes into its pipe may say anything twice; only the first time counts.
    **{(state, E.SAID_READY): _quiet(state) for state in (S.READY, S.RUNNING, S.ENDING)},
    (S.ENDING, E.REPORTED): _quiet(S.ENDING),
    **{(state, E.EXITED): _EXITED for state in LIVE},
    **{(state, E.STOP): _STOP for state in LIVE if state not in (S.TERMED, S.KILLED)},
    (S.TERMED, E.STOP): _quiet(S.TERMED),
    (S.KILLED, E.STOP): _quiet(S.KILLED),
    (S.DRAINING, E.STOP): _quiet(S.DRAINING),
    (S.FINISHED, E.STOP): _quiet(S.FINISHED),
    **{(state, E.STOP_NOW): _STOP_NOW for state in LIVE if state is not S.KILLED},
    (S.KILLED, E.STOP_NOW): _quiet(S.KILLED),
    (S.DRAINING, E.STOP_NOW): (S.FINISHED, (A.ABANDON, A.DISARM)),
    (S.FINISHED, E.STOP_NOW): _quiet(S.FINISHED),
    (S.DRAINING, E.DRAINED): (S.FINISHED, (A.DISARM,)),
    (S.DRAINING, E.DEADLINE): (S.FINISHED, (A.ABANDON, A.DISARM)),
    (S.FINISHED, E.DRAINED): _quiet(S.FINISHED),
}


def step(state: State, event: Event) -> Cell:
    """The next state and what to do; ValueError for a pair that cannot happen."""
    try:
        return TABLE[state, event]
    except KeyError:
        raise ValueError(f"a worker that is {state.value} cannot meet {event.value!r}") from None
