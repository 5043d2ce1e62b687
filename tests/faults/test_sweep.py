"""Every call of every role fails in turn, and each time the run ends as it should: see `sweep` and `checker`.

A commit sweeps a part of it; with TEASTREAMS_FAULTS=all every topology, role and action.
"""

from __future__ import annotations

import os
from typing import Callable

import harness
import pytest
from plan import ANYTHING, BEFALLS, CANNOT_FAIL, SIGNALS

Record = Callable[[str, object], None]
HERE = os.path.dirname(__file__)
SCRIPT = f"sys.path.insert(0, {HERE!r})\nimport sweep\nsweep.main(sys.argv[1:])"
ALL = os.environ.get("TEASTREAMS_FAULTS") == "all"

ENDS = ("supervisor", "producer", "consumer")
ROLES = {
    **dict.fromkeys(("direct", "stderr"), ENDS),
    **dict.fromkeys(("broadcast2", "broadcast8", "diamond", "spill"), (*ENDS, "fan-out")),
    "command": (*ENDS, "other"),
}
# What a commit sweeps; the nightly run has every topology, role and action.
SWEPT = {
    "direct supervisor": ("EMFILE", "ENOMEM", "EIO", "EAGAIN", "EPERM", "short", "kill"),
    "direct producer": ("EMFILE", "EIO", "short", "kill"),
    "direct consumer": ("EMFILE", "EIO", "short", "kill"),
    "stderr producer": ("EIO", "short", "kill"),
    "broadcast2 supervisor": ("EIO", "ESRCH", "ECHILD", "EMFILE", "ENOMEM"),
    "broadcast2 producer": ("EIO", "kill"),
    "broadcast2 consumer": ("EIO", "kill"),
    "broadcast2 fan-out": ("EMFILE", "ENOMEM", "EIO", "EINVAL", "short", "kill"),
    "broadcast8 fan-out": ("EMFILE", "EIO"),
    "diamond fan-out": ("EIO", "short", "kill"),
    "spill fan-out": ("ENOSPC", "EIO", "short", "kill"),
    "command supervisor": ("EMFILE",),
    "command other": ("EMFILE", "EIO", "kill"),
}
# And where the trouble stays. (A pipe that is ready for ever and never gives anything is none that a kernel has.)
LASTING = {"direct supervisor": ("ENOMEM",), "command supervisor": ("ENOMEM",), "broadcast2 fan-out": ("EIO",)}
LASTING_ERRORS = ("EMFILE", "ENFILE", "ENOMEM", "EIO", "ENOSPC", "EPERM")
ACTIONS = tuple(action for action in BEFALLS if action not in SIGNALS or action == "kill")  # others: test_signals


def sweeps() -> list[str]:
    """What is swept, "topology role action part parts": what can befall any call is divided, to share it out."""
    everything = {f"{topology} {role}": ACTIONS for topology, roles in ROLES.items() for role in roles}
    once = [
        f"{place} {action} {part} {parts}"
        for place, actions in (everything if ALL else SWEPT).items()
        for action in actions
        for parts in [2 if action in ANYTHING else 1]
        for part in range(parts)
    ]
    lasting = dict.fromkeys(everything, LASTING_ERRORS) if ALL else LASTING
    return once + [f"{place} {action} lasting 0 1" for place, actions in lasting.items() for action in actions]


@pytest.mark.slow
@pytest.mark.parametrize("wanted", sweeps())
def test_a_run_ends_as_it_should_whichever_call_fails(wanted: str, record_property: Record) -> None:
    """Byte-exact, or failed with the cause named; nothing left, the caller untouched, and a second run succeeds."""
    told = harness.run(SCRIPT, arguments=(wanted,), deadline_seconds=600).told

    record_property("attempts", told[wanted]["attempts"])
    assert not told[wanted]["wrong"], "\n".join(told[wanted]["wrong"])
    assert told[wanted]["attempts"] >= 1


@pytest.mark.slow
def test_a_fault_that_is_planted_fires() -> None:
    """The sweep is not green because nothing ever fails: an errno and a death were seen to strike."""
    wanted = ["direct producer EMFILE 0 1", "direct producer kill 0 9"]

    told = harness.run(SCRIPT, arguments=tuple(wanted), deadline_seconds=300).told

    assert [bool(sum(told[each]["faulted"].values())) for each in wanted] == [True] * len(wanted)


@pytest.mark.slow
def test_every_call_of_the_table_that_a_run_makes_is_made_to_fail() -> None:
    """By an errno or by doing half; the rest is named with the reason why it cannot fail."""
    script = SCRIPT.replace("sweep.main(sys.argv[1:])", "sweep.tell_used()")
    used = set(harness.run(script, deadline_seconds=120).told["used"])
    failing = {call for calls in BEFALLS.values() for call in calls}

    assert used - failing - CANNOT_FAIL.keys() == set()
    assert failing & CANNOT_FAIL.keys() == set()
    assert {"pipe", "fork", "tee", "splice", "execvpe"} <= used
