"""Children that a node leaves behind.

A program that a node started and did not wait for may still be writing to the node's stream: killing it with the group
would cut the stream and look like success. So a worker with an output channel waits for its children, for a while. Only
the worker itself can know them; once it has exited they belong to nobody. Those that it cannot know, because its child
that started them has ended (`subprocess.run("work &", shell=True)`), show by the stream that still has a writer: Linux
lets us look. Elsewhere the supervisor looks, after the exit, who is left in the group (`supervision.departures`).
"""

from __future__ import annotations

import os
import stat
from multiprocessing import resource_tracker
from typing import Any, Collection, Optional

from teastreams.runtime import calls
from teastreams.runtime.fds import Fd, adopt, give_back, open_numbers
from teastreams.runtime.node.stdio import give_up, has_ended

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


def wait_for_writers(fds: Collection[int], limit_seconds: float) -> bool:
    """True as soon as nobody else can write these streams, which this process gives up for that."""
    if calls.portable():
        for fd in fds:
            give_up(fd, os.O_WRONLY)
        return True
    deadline = calls.table.monotonic() + limit_seconds
    return all(_is_over(fd, deadline) for fd in fds)


def _is_over(fd: int, deadline: float) -> bool:
    try:
        with _read_end(fd) as witness:
            give_up(fd, os.O_WRONLY)
            if has_ended(witness.number):  # nearly always: no copy is there to be looked for
                return True
            _give_up_copies(witness)
            while not has_ended(witness.number):
                if calls.table.monotonic() >= deadline:
                    return False
                calls.table.sleep(LOOK_SECONDS)
    except OSError:  # the node closed it, or left no descriptor to look with
        return True
    return True


def _read_end(fd: int) -> Fd:
    """Linux opens the other end of a pipe anew. It hangs up when the last writer goes."""
    return adopt(calls.table.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "writers")


def _give_up_copies(witness: Fd) -> None:
    """Whatever number this process has for the same pipe leads nowhere from now on."""
    pipe = calls.table.fstat(witness.number)
    if not stat.S_ISFIFO(pipe.st_mode):
        raise OSError("no pipe")
    for number in open_numbers():
        if number != witness.number and _is_same(number, pipe):
            give_up(number, os.O_WRONLY)


def _is_same(number: int, pipe: os.stat_result) -> bool:
    try:
        other = calls.table.fstat(number)
    except OSError:  # it was open only while we looked
        return False
    return (other.st_dev, other.st_ino) == (pipe.st_dev, pipe.st_ino)


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
        give_back(number)


def _is_running_child(pid: Optional[int]) -> bool:
    try:
        return pid is not None and calls.table.waitpid(pid, os.WNOHANG)[0] == 0
    except ChildProcessError:
        return False
