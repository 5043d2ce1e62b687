"""Children end with us: even when the supervisor is SIGKILLed, no worker and no child of a worker stays.

Each worker holds the read end of a pipe whose write end only the supervisor has. When that closes, the kernel
itself sends SIGKILL to the worker's whole process group (F_SETOWN, F_SETSIG, O_ASYNC): no thread, no polling, works
while the node computes, and was measured at 6 ms for the worker, 50 ms for its children. `PR_SET_PDEATHSIG` is not
used: it fires when the forking *thread* ends. One pipe per worker, because the owner belongs to the open file.
The portable path has no F_SETSIG: SIGIO with a handler that kills the group.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
from types import FrameType
from typing import Optional

from teastreams.runtime import calls
from teastreams.runtime.fds import Fd


def arm(lifeline: Fd) -> None:
    """Tie this process and its group to the other end of `lifeline`; call after the group was made."""
    group = calls.table.getpid()
    if calls.portable():
        calls.table.set_handler(signal.SIGIO, _end_group)
    else:
        calls.table.fcntl(lifeline.number, fcntl.F_SETSIG, signal.SIGKILL)
    calls.table.fcntl(lifeline.number, fcntl.F_SETOWN, -group)
    flags = calls.table.fcntl(lifeline.number, fcntl.F_GETFL)
    calls.table.fcntl(lifeline.number, fcntl.F_SETFL, flags | os.O_ASYNC)
    if _is_cut(lifeline):
        _end_group(signal.SIGIO, None)


def _is_cut(lifeline: Fd) -> bool:
    """The supervisor may have died before O_ASYNC was set: that end would never be signalled."""
    watch = calls.table.poll()
    watch.register(lifeline.number, select.POLLIN)
    return bool(watch.poll(0))


def _end_group(_signal: int, _frame: Optional[FrameType]) -> None:
    calls.table.killpg(calls.table.getpid(), signal.SIGKILL)
