"""Children that a node leaves behind.

A program that a node started and did not wait for may still be writing to the node's stream: killing it with the group
would cut the stream and look like success. So a worker with an output channel waits for its children, for a while. Only
the worker itself can know them; once it has exited they belong to nobody.
"""

from __future__ import annotations

import os
from multiprocessing import resource_tracker
from typing import Any, Optional

from teastreams.runtime import calls

LOOK_SECONDS = 0.005


def wait_for_children(limit_seconds: float) -> bool:
    """True as soon as no child runs; False when one still does after `limit_seconds`."""
    _let_the_tracker_go()
    deadline = calls.table.monotonic() + limit_seconds
    while _child_runs():
        if calls.table.monotonic() >= deadline:
            return False
        # There is no portable wait for "any child, at most so long" without a handler in the node's process.
        calls.table.sleep(LOOK_SECONDS)
    return True


def _child_runs() -> bool:
    """Collects what has ended; every child of this process is the node's."""
    pid = -1
    while pid != 0:
        try:
            pid, _status = calls.table.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
    return True


def _let_the_tracker_go() -> None:
    """multiprocessing's tracker of shared memory holds 0, 1 and 2 as every child does, and lives as long as its pipe.

    One that this process inherited is the host's and stays.
    """
    tracker: Any = getattr(resource_tracker, "_resource_tracker", None)
    number = getattr(tracker, "_fd", None)
    if number is not None and _is_running_child(getattr(tracker, "_pid", None)):
        tracker._fd = None
        calls.table.close(number)


def _is_running_child(pid: Optional[int]) -> bool:
    try:
        return pid is not None and calls.table.waitpid(pid, os.WNOHANG)[0] == 0
    except ChildProcessError:
        return False
