"""Sweeps: for a topology, a role and an action the first call fails, then the second, until a run ends without a fault.

Runs inside one warm interpreter (see `harness`), which forks a host for each attempt (`warm`). How many points there
are is found out by running, so code that is written tomorrow is covered tomorrow. A dry run counts which calls a role
makes at all; then N is raised for each of them until nothing fires.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Optional

import inside
import topologies
import warm
from checker import Reader, check, recorded_as
from plan import ANYTHING, Fault, Page, applicable, planted

import teastreams as ts

PAGE = Page()
# After this many points of one call the rest are taken in steps: a stream of 150 KB is a loop, and its turns are alike.
DENSE = 6
LIMIT_SECONDS = 6.0


def main(arguments: list[str]) -> None:
    """Each argument is "topology role action [part parts]"; tells the attempts and the violations of each."""
    for argument in arguments:
        topology, role, action, *parts = argument.split()
        started = time.monotonic()
        attempts, wrong, faulted = sweep(topology, role, action, *map(int, parts))
        seconds = round(time.monotonic() - started, 2)
        inside.tell(**{argument: {"attempts": attempts, "wrong": wrong, "faulted": dict(faulted), "seconds": seconds}})


def sweep(topology: str, role: str, action: str, part: int = 0, parts: int = 1) -> tuple[int, list[str], Counter[str]]:
    """The attempts made, what was wrong, and how often each call was faulted; every `parts`-th call from `part` on."""
    wrong = attempt(topology, None)
    calls = [call for call in applicable(action) if PAGE.counted(role, call)][part::parts]
    attempts, faulted = 1, Counter[str]()
    for call in calls:
        nth, fired = 1, True
        while fired:
            fault = Fault(role, call, nth, action)
            found = attempt(topology, fault)
            fired = PAGE.fired
            attempts += 1
            faulted[call] += fired
            wrong += [f"{fault}: {each}" for each in found]
            nth += 1 if nth < DENSE else nth // 2
            if len(wrong) > 5:
                return attempts, wrong, faulted
    return attempts, wrong, faulted


def attempt(topology: str, fault: Optional[Fault]) -> list[str]:
    """One run with this fault, in a host of its own: the violations."""
    make, consumers = topologies.TOPOLOGIES[topology]
    PAGE.clear()
    topologies.BOARD.clear()
    with tempfile.TemporaryDirectory() as folder:
        outside, seen = warm.attempt(lambda: _host(make, fault), Path(folder))
    fatal = fault is not None and PAGE.fired and fault.action in ANYTHING
    died = fatal and fault is not None and fault.role == "supervisor"
    if died:
        outside, seen = [each for each in outside if "left no record" not in each], {"how": "died"}
    if seen is None:
        return outside
    readers = [
        Reader(f"consumer{index}", *topologies.BOARD.seen(index), topologies.SIZE) for index in range(1, consumers + 1)
    ]
    history = recorded_as({**seen, "outside": outside, **_expected(fault, fatal)})
    return check(_with_readers(history, readers))


def _with_readers(history: Any, readers: list[Reader]) -> Any:
    from dataclasses import replace

    return replace(history, readers=tuple(readers))


def _expected(fault: Optional[Fault], fatal: bool) -> dict[str, Any]:
    if fault is None or not fatal or fault.role != "producer":
        return {"limit_seconds": LIMIT_SECONDS}
    return {"limit_seconds": LIMIT_SECONDS, "victim": fault.role}


def _host(make: Any, fault: Optional[Fault]) -> dict[str, Any]:
    app = make()
    seen: dict[str, Any] = {"untouched": ""}
    started = time.monotonic()
    try:
        with inside.untouched(), planted(PAGE, fault):
            seen.update(_run(app))
    except AssertionError as changed:
        seen["untouched"] = str(changed)
    seen["seconds"] = time.monotonic() - started
    seen["second"] = _second()
    return seen


def _run(app: ts.CompiledGraph) -> dict[str, Any]:
    try:
        app.run(echo_output=False)
    except ts.WorkflowFailed as failed:
        return {
            "how": "failed",
            "cause": failed.primary.node,
            "message": str(failed),
            "keys": [str(k) for k in failed.result.state],
        }
    except ts.LimitError as error:
        return {"how": "limit", "message": str(error)}
    except BaseException as error:
        return {"how": type(error).__name__, "message": str(error)}
    return {"how": "well"}


def _second() -> bool:
    try:
        with inside.untouched():
            return bool(topologies.direct().run(echo_output=False).state["read1"] == topologies.SIZE)
    except BaseException:
        return False
