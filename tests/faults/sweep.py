"""Sweeps: for a topology, a role and an action the first call fails, then the second, until a run ends without a fault.

Runs inside one warm interpreter (see `harness`), which forks a host for each attempt (`warm`). How many points there
are is found out by running, so code that is written tomorrow is covered tomorrow. A dry run counts which calls a role
makes at all; then N is raised for each of them until nothing fires.
"""

from __future__ import annotations

import importlib
import os
import resource
import signal
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Optional

import inside
import topologies
import warm
from checker import Reader, check, recorded_as
from plan import FATAL, NAMES, ROLES, Fault, Page, applicable, planted

import teastreams as ts

PAGE = Page()
# After this many points of one call the rest are taken in steps: a stream of 150 KB is a loop, and its turns are alike.
DENSE = 6
LIMIT_SECONDS = 6.0
PAUSE_SECONDS = 0.01
STOPPED_SECONDS = 0.3
SLACK_BYTES = 4 << 20
DEADLY = (*FATAL, "exit")


def main(arguments: list[str]) -> None:
    """Each argument is "topology role action [lasting] [part parts]"; tells the attempts and violations of each."""
    warm_up()
    for argument in arguments:
        topology, role, action, *parts = argument.split()
        started = time.monotonic()
        lasting = "lasting" in parts
        attempts, wrong, faulted = sweep(topology, role, action, *map(int, parts[lasting:]), lasting=lasting)
        seconds = round(time.monotonic() - started, 2)
        inside.tell(**{argument: {"attempts": attempts, "wrong": wrong, "faulted": dict(faulted), "seconds": seconds}})


def tell_used() -> None:
    """Tells which entries of the call table the topologies use at all."""
    warm_up()
    used = set()
    for topology in topologies.TOPOLOGIES:
        if topology != "grandchildren":
            attempt(topology, None)
            used |= {name for name in NAMES for role in ROLES if PAGE.counted(role, name)}
    inside.tell(used=sorted(used))


def warm_up() -> None:
    """Load what is loaded late, or every attempt would: that was nine tenths of its time."""
    for module in ("ctypes", "tempfile", "cloudpickle", "traceback"):
        importlib.import_module(module)
    for name in ("spill", "command"):
        topologies.TOPOLOGIES[name][0]().run(echo_output=False)


def sweep(
    topology: str, role: str, action: str, part: int = 0, parts: int = 1, *, lasting: bool = False
) -> tuple[int, list[str], Counter[str]]:
    """The attempts made, what was wrong, and how often each call was faulted; every `parts`-th call from `part` on."""
    wrong = [f"without a fault: {each}" for each in attempt(topology, None)]
    calls = [call for call in applicable(action) if PAGE.counted(role, call)][part::parts]
    attempts, faulted = 1, Counter[str]()
    for call in calls:
        nth, fired = 1, True
        while fired:
            fault = Fault(role, call, nth, action, lasting)
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
        outside, seen = warm.attempt(lambda: _host(make, consumers, fault), Path(folder), look=_waker(fault))
    died = fault is not None and PAGE.fired and fault.action in DEADLY and fault.role == "supervisor" and seen is None
    if died:
        outside, seen = [each for each in outside if "left no record" not in each], {"how": "died"}
    if seen is None:
        return outside
    seen.setdefault("readers", _readers(consumers))
    grown = PAGE.grown_pages * resource.getpagesize()
    seen |= {"outside": outside, "limit_seconds": LIMIT_SECONDS, "memory_bytes": grown}
    history = recorded_as({**seen, **_expected(fault, consumers)})
    return check(replace(history, memory_limit_bytes=consumers * topologies.SIZE + SLACK_BYTES))


def _readers(consumers: int) -> list[dict[str, Any]]:
    """What the readers have noted so far; a second run notes over it."""
    return [
        asdict(Reader(f"consumer{index}", *topologies.BOARD.seen(index), topologies.SIZE))
        for index in range(1, consumers + 1)
    ]


def _expected(fault: Optional[Fault], consumers: int) -> dict[str, Any]:
    """Whom the error must name, and whether there must be one: a worker that was killed is never a success."""
    if fault is None or not PAGE.fired or fault.action not in (*FATAL, "exit") or fault.role == "supervisor":
        return {}
    names = {
        "consumer": ", ".join(f"consumer{index}" for index in range(1, consumers + 1)),
        "fan-out": "fan-out of 'bytes'",
    }
    hard = fault.action in FATAL
    cut = hard and fault.role == "producer"
    return {"victim": names.get(fault.role, fault.role), "hard": hard, "cut_upstream": cut}


def _waker(fault: Optional[Fault]) -> warm.Look:
    """Wakes who paused, once and a moment later."""
    if fault is None or fault.action != "pause":
        return None
    seen: list[float] = []

    def look() -> None:
        if PAGE.fired:
            seen.append(time.monotonic())
            if seen[-1] - seen[0] > PAUSE_SECONDS:
                with suppress(ProcessLookupError):
                    os.kill(PAGE.victim, signal.SIGCONT)

    return look


def _host(make: Any, consumers: int, fault: Optional[Fault]) -> dict[str, Any]:
    if fault is not None and fault.action == "stop":
        topologies.DEADLINE["timeout"] = STOPPED_SECONDS
    app = make()
    seen: dict[str, Any] = {"untouched": ""}
    started = time.monotonic()
    try:
        with inside.untouched(), planted(PAGE, fault):
            seen.update(_run(app))
    except KeyboardInterrupt:  # between the run and the end of the plan
        seen["how"] = "interrupted"
    except AssertionError as changed:
        seen["untouched"] = str(changed)
    seen["seconds"] = time.monotonic() - started
    seen["readers"] = _readers(consumers)
    topologies.DEADLINE["timeout"] = LIMIT_SECONDS
    seen["second"] = _second()
    return seen


def _run(app: ts.CompiledGraph) -> dict[str, Any]:
    try:
        app.run({"token": topologies.CANARY}, echo_output=False)
    except ts.WorkflowFailed as failed:
        return {
            "how": "failed",
            "cause": failed.primary.node,
            "message": str(failed),
            "keys": [str(key) for key in failed.result.state if key != "token"],
            "canaries": ["the error"] * (topologies.CANARY in str(failed)),
        }
    except KeyboardInterrupt:
        return {"how": "interrupted"}
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
