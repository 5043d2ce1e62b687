"""Every `run` of a workflow in a scenario leaves a history, which the harness gives to the checker.

`inside` begins it, and the last line of each script, which the harness adds, calls `end`. Recorded is what can be known
without knowing the scenario: how the run ended, whether every reader that the fan-out worker was done with has all, and
what the run left in its caller. When one failed, an ordinary run follows at the end of the script, in the same process.
Only of the interpreter that the harness started, not of what it forked; and only where the script itself left the world
as it was, without threads and with the table of calls in place. It judges nothing, and a run is not changed by it.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import threading
import time
from contextlib import suppress
from typing import Any, Callable, Optional

import teastreams as ts

HISTORIES = "-histories"
ALL = [f"I{number}" for number in range(1, 13)]
World = Callable[[], dict[str, Any]]


class Recording:
    """The runs of this process: how deep it is in one, whether one has failed, where histories go."""

    def __init__(self, path: str, world: World) -> None:
        self._path, self._world = path, world
        self._pid, self._depth = os.getpid(), 0
        self.failed = False

    def recorded(self, run: Callable[..., Any]) -> Callable[..., Any]:
        """`run`, and a history of each call that is not inside of another."""

        @functools.wraps(run)
        def recording(*args: Any, **named: Any) -> Any:
            if self._depth or os.getpid() != self._pid or threading.current_thread() is not threading.main_thread():
                return run(*args, **named)
            self._depth += 1
            before, started = self._seen(), time.monotonic()
            history: dict[str, Any] = {"how": "well", "recorded": ALL}
            try:
                result = run(*args, **named)
                history["readers"] = _readers(result)
                return result
            except BaseException as error:
                history.update(_failure(error))
                self.failed = True
                raise
            finally:
                self._depth -= 1
                history["seconds"] = time.monotonic() - started
                self._tell({**history, "limit_seconds": float("inf"), "untouched": self._changes(before)})

        return recording

    def second(self) -> None:
        """An ordinary run after one that failed. A script may have left this process without room for one."""
        if not self.failed or os.getpid() != self._pid or not self._is_ordinary():
            return
        how = {"second": False, "message": ""}
        try:
            how["second"] = ts.pipeline(_write, _count).run(echo_output=False).state == {"n": 4}
        except ts.LimitError:
            return
        except BaseException as error:
            how["message"] = f"{type(error).__name__}: {error}"
        self._tell({"how": "well", **how})

    def _is_ordinary(self) -> bool:
        calls = sys.modules["teastreams.runtime.calls"]
        return threading.active_count() == 1 and bool(calls.table == calls.Calls())

    def _seen(self) -> Optional[dict[str, Any]]:
        """What a run must leave as it was; None where others than the run may change it meanwhile."""
        if threading.active_count() > 1:
            return None
        with suppress(OSError):
            return {**self._world(), "children": _has_children()}
        return None

    def _changes(self, before: Optional[dict[str, Any]]) -> str:
        after = self._seen()
        if before is None or after is None:
            return ""
        changed = {key: (before[key], after[key]) for key in before if before[key] != after[key]}
        if before["children"]:  # one of them may have been waited for
            changed.pop("children", None)
        return f"the run changed its caller's world: {changed}" if changed else ""

    def _tell(self, history: dict[str, Any]) -> None:
        with suppress(OSError), open(self._path, "a") as file:
            file.write(json.dumps(history) + "\n")


_recordings: list[Recording] = []


def end() -> None:
    """The script is through. Not by `atexit`: what runs there can load no module that starts threads."""
    for recording in _recordings:
        recording.second()


def begin(path: str, world: World) -> None:
    """From now on. What the library loads late is still loaded late."""
    recording, look_up = Recording(path, world), vars(ts)["__getattr__"]
    _recordings.append(recording)

    def looked_up(name: str) -> Any:
        value = look_up(name)
        app = sys.modules.get("teastreams.engine.app")
        if app is not None and not hasattr(app.CompiledGraph.run, "__wrapped__"):
            app.CompiledGraph.run = recording.recorded(app.CompiledGraph.run)
        return value

    vars(ts)["__getattr__"] = looked_up


def _readers(result: Any) -> list[dict[str, Any]]:
    """Those with whom a fan-out worker was done: what was dropped on purpose is accounted for."""
    return [
        {"name": name, "count": got.bytes + got.dropped_bytes, "wrong": False, "end": 1, "whole": channel.bytes}
        for channel in result.channels.values()
        for name, got in channel.consumers.items()
        if got.counted == "fan-out" and got.end == "delivered"
    ]


def _failure(error: BaseException) -> dict[str, Any]:
    if isinstance(error, ts.WorkflowFailed):
        cause = error.primary.node
        return {"how": "failed", "cause": cause, "message": str(error), "readers": _readers(error.result)}
    if isinstance(error, (KeyboardInterrupt, ts.Interrupted)):
        return {"how": "interrupted"}
    if isinstance(error, ts.TeaStreamsError):
        return {"how": "limit", "message": str(error)}
    # The script's own: a handler that raises, a plain node's `SystemExit`, a call that makes no sense.
    return {"how": type(error).__name__, "recorded": [each for each in ALL if each != "I8"]}


def _has_children() -> bool:
    """Any, whether it still runs or not; nothing is collected (and nothing known on macOS before Python 3.13)."""
    if not hasattr(os, "waitid"):
        return False
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _write(_state: dict[str, Any]) -> None:
    sys.stdout.write("abcd")


def _count(_state: dict[str, Any]) -> dict[str, Any]:
    return {"n": len(sys.stdin.read())}
