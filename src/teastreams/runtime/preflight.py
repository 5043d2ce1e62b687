"""What this machine allows, asked before the first fork: platform, threads, descriptors, pipe quota.

A run that cannot succeed fails here, with the number it needs and the number it has, and nothing was started. What
is only a wish (larger pipes) is fitted to the quota: over 16 384 pages per user the kernel gives new pipes one or two
pages and says nothing.
"""

from __future__ import annotations

import resource
import sys
import threading
import warnings
from contextlib import suppress
from typing import Optional

from teastreams.core.graph import DEFAULT_BUFFER_BYTES, StreamSettings
from teastreams.core.plan import SectionPlan
from teastreams.errors import LimitError, Problem, WorkflowError
from teastreams.runtime import calls
from teastreams.runtime.channels import validate_platform
from teastreams.runtime.fds import LOWEST, give_back, ledger
from teastreams.runtime.masking import signals_blocked

PAGE_BYTES = 4096
LARGEST_PIPE_BYTES = 1 << 20
NODE_DESCRIPTORS = 6
"""Per worker on the supervisor's side: result, control, lifeline, exit notice, two logs."""
WORKER_DESCRIPTORS = 5
"""Per worker on its own side, held here until it was forked: result, control, lifeline, two logs."""
MOST_FORKS_AT_ONCE = 16
"""More in a row save nothing: what each costs by itself is left."""
SPARE_DESCRIPTORS = 24
"""Signals, the ends of the worker being forked, and a little for the caller."""


MAX_DEPTH = 10
"""So many runs may stand inside of each other, each in a node of the one before: a node that runs its own workflow ends
here and not with the machine."""


class ForkWithThreads(RuntimeWarning):
    """The process has other threads while it forks: a lock that one of them holds stays locked in the nodes."""


def preflight(plan: SectionPlan, max_at_once: Optional[int], on_threads: str) -> int:
    """How many workers may be forked in a row: where descriptors are short, one by one.

    `PlatformError`, `LimitError` or `WorkflowError` when this plan cannot run here and now.
    """
    validate_platform()
    _look_at_depth()
    _look_at_threads(on_threads)
    workers = len(plan.workers) if max_at_once is None else min(max_at_once, len(plan.workers))
    need = workers * NODE_DESCRIPTORS + 2 * len(plan.pipes) + SPARE_DESCRIPTORS
    soft, hard = calls.table.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MOST_FORKS_AT_ONCE
    have = soft - LOWEST - open_descriptors()
    if have < need:
        room = (
            "" if hard != resource.RLIM_INFINITY and hard <= soft else f" (up to {hard} without root: ulimit -n {hard})"
        )
        raise LimitError(
            f"not enough file descriptors for {len(plan.workers)} workers; raise the limit of open files{room}, "
            "or run fewer nodes at once",
            need,
            max(0, have),
        )
    return min(MOST_FORKS_AT_ONCE, 1 + (have - need) // WORKER_DESCRIPTORS)


def pipe_bytes(plan: SectionPlan, settings: StreamSettings) -> Optional[int]:
    """The size to wish for each channel's pipe: as set, or the largest that fits into half of the user's quota."""
    forced = calls.forced_pipe_bytes()
    if forced is not None or not settings.buffer_grows:
        return forced or settings.buffer_size
    size, quota = LARGEST_PIPE_BYTES, pipe_quota_bytes()
    staging = sum(len(channel.consumers) for channel in plan.channels.values() if channel.fanout)
    while size > DEFAULT_BUFFER_BYTES and quota and size * max(1, len(plan.pipes) + staging) > quota // 2:
        size //= 2
    return size


def _look_at_depth() -> None:
    if ledger.depth >= MAX_DEPTH:
        raise LimitError(
            "this run stands too deep inside of others, each in a node of the one before; a node that runs its own "
            "workflow never ends: let it run another one, or none",
            ledger.depth + 1,
            MAX_DEPTH,
        )


def _look_at_threads(on_threads: str) -> None:
    count = 1 if on_threads == "allow" else _os_threads()
    if count < 2:
        return
    names = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    known = ", ".join(names) or "none of them known to Python"
    text = (
        f"this process has {count} threads while nodes are forked ({known}); a lock that one of them holds stays "
        "locked in the nodes: start threads after the run, or set on_threads to 'allow'"
    )
    if on_threads == "error":
        raise WorkflowError([Problem(text)])
    warnings.warn(text, ForkWithThreads, stacklevel=2)


def _os_threads() -> int:
    """Threads of any kind: Python counts only its own.

    A thread that was joined just now is no longer Python's but may still be the kernel's for a moment.
    """
    count = threading.active_count()
    if sys.platform == "linux":
        with suppress(OSError):
            for _look in range(20):
                count = len(calls.table.listdir("/proc/self/task"))
                if count <= threading.active_count():
                    break
                calls.table.sleep(0.001)
    return count


def open_descriptors() -> int:
    """How many numbers from LOWEST on are taken; ours all lie there."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        with suppress(OSError):
            return sum(int(name) >= LOWEST for name in calls.table.listdir(folder) if name.isdigit())
    return 64


def pipe_quota_bytes() -> int:
    """The soft quota of pipe memory per user on Linux; 0 where there is none."""
    if calls.portable():
        return 0
    with signals_blocked():  # a handler of the host that raised in between would leave the file open
        return _read_quota_bytes()


def _read_quota_bytes() -> int:
    try:
        fd = calls.table.open("/proc/sys/fs/pipe-user-pages-soft", 0)
    except OSError:
        return 0
    try:
        return int(calls.table.read(fd, 64)) * PAGE_BYTES
    except OSError:
        return 0
    finally:
        give_back(fd)
