"""Start one child with multiprocessing's fork context: mask, flush, fork, record, unmask.

The start method is asked for by name and the global default is left alone. The launch of multiprocessing is replaced
for three reasons: its failed fork leaks four descriptors, its sentinel is inherited by grandchildren and then never
fires, and its flush of the standard streams fails on a closed pipe. Signals are blocked from before the fork until the
pid is recorded (of 3 000 interrupted forks 1 825 children were lost without the mask, none with it).
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import sys
from contextlib import contextmanager, suppress
from multiprocessing import popen_fork
from typing import Any, Callable, Iterator, Optional, Sequence

from teastreams.errors import LimitError
from teastreams.runtime import calls
from teastreams.runtime.fds import ledger
from teastreams.runtime.masking import signals_blocked
from teastreams.values import dataclass

STATUS_LOST = 1 << 16
"""Exit code of a child whose status was collected by somebody else."""
RETRY_SECONDS = (0.05, 0.1, 0.2)

# ru_maxrss is in KiB on Linux and in bytes on macOS.
MEMORY_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024

_context = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Usage:
    """What one process and the children it waited for have used, as the kernel counted it.

    `peak_memory_bytes` is the largest resident set of any one of them; after a fork it includes the pages that are
    still shared with the caller.
    """

    cpu_seconds: float
    peak_memory_bytes: int


class _Launch(popen_fork.Popen):
    """multiprocessing's Popen, with a launch that leaks nothing and a sentinel that is not inherited."""

    def __init__(self, process_obj: Any) -> None:
        self.returncode = None
        self.usage: Optional[Usage] = None
        self.finalizer = None
        self._launch(process_obj)

    def poll(self, flag: int = os.WNOHANG) -> Any:
        """Collect the exit status. When somebody else did (`os.wait()` in the host) it is lost, not "still alive".

        Only a call that may wait collects: multiprocessing polls all children at every start of another one, and a pid
        that was collected behind our back can be a stranger's before its group is swept.
        """
        if self.returncode is None and flag != os.WNOHANG:
            try:
                pid, status, spent = calls.table.wait4(self.pid, flag)
            except ChildProcessError:
                self.returncode = STATUS_LOST
            else:
                self.returncode = os.waitstatus_to_exitcode(status) if pid == self.pid else None
                self.usage = Usage(spent.ru_utime + spent.ru_stime, spent.ru_maxrss * MEMORY_UNIT_BYTES)
        return self.returncode

    def _launch(self, process_obj: Any) -> None:
        self.sentinel = -1
        leave = calls.table.exit  # held: whatever its node does to our modules, the child never comes back from here
        self.pid = calls.table.fork()
        if self.pid == 0:
            code = 1
            # Or `_bootstrap` would close it and open /dev/null in its place, on a number that is soon given up again.
            sys.stdin = None
            try:
                code = process_obj._bootstrap(parent_sentinel=process_obj.parent_sentinel)
            finally:
                leave(code)


class WorkerProcess(_context.Process):  # type: ignore[name-defined,misc,unused-ignore]
    """A multiprocessing process of the fork context, started by `start` only."""

    parent_sentinel: int = -1

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802 - multiprocessing's name
        return _Launch(process_obj)


def start(name: str, target: Callable[[], None], parent_sentinel: int) -> WorkerProcess:
    """Prepare one child and launch it."""
    process = prepare(name, target, parent_sentinel)
    launch([process])
    return process


def prepare(name: str, target: Callable[[], None], parent_sentinel: int) -> WorkerProcess:
    """A child that will run `target`, which must not return; it starts with all signals blocked.

    `parent_sentinel` is a descriptor of the child that becomes readable when this process ends.
    """
    process = WorkerProcess(target=target, name=name, daemon=False)
    process.parent_sentinel = parent_sentinel
    return process


def launch(processes: Sequence[WorkerProcess]) -> None:
    """Fork them one right after another; those that run afterwards have a pid.

    LimitError when the machine has no room for one more process, after three patient tries.
    """
    _flush_standard_streams()
    with signals_blocked(), _children_allowed():
        for process in processes:
            _start(process)


def _start(process: WorkerProcess) -> None:
    for wait_seconds in (*RETRY_SECONDS, None):
        try:
            with ledger.guard:
                process.start()
            break
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.ENOMEM):
                raise
            if wait_seconds is None:
                raise LimitError(_no_room(process.name, error)) from error
        calls.table.sleep(wait_seconds)
    with suppress(OSError):  # the child does the same; whoever is first wins
        calls.table.setpgid(process.pid, process.pid)


@contextmanager
def _children_allowed() -> Iterator[None]:
    """Inside a daemon of multiprocessing (a worker of a Pool) children are forbidden, because they would outlive it.

    Ours cannot: their lifelines end them with it.
    """
    config: Any = getattr(multiprocessing.current_process(), "_config", {})
    daemon = config.pop("daemon", None)
    try:
        yield
    finally:
        if daemon is not None:
            config["daemon"] = daemon


def _flush_standard_streams() -> None:
    """What the caller has printed must not be written a second time by the child."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError, OSError):
            stream.flush()


def _no_room(name: str, error: OSError) -> str:
    return (
        f"the system refused to start a process for {name!r} ({error.strerror}); "
        "raise RLIMIT_NPROC (ulimit -u) or the pids limit of the control group, or run fewer nodes at once"
    )
