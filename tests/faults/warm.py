"""Attempts in processes of their own, forked one after another from a warm interpreter.

An attempt is a function of a folder. The process that runs it, the *host*, has its stderr in a file of that folder and
writes there what it has to tell. This process looks from outside: did it end in time, did it print anything, is any
process of it left alive? A host that hangs is asked for the stacks of all its processes.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
import traceback
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Callable, Iterator, Optional

import harness

import teastreams as ts

PATIENCE_SECONDS = 20.0
PR_SET_CHILD_SUBREAPER = 36
Look = Optional[Callable[[], object]]


def load() -> None:
    """Load what is loaded late, or every attempt would; and a host in another root, or of another user, could not."""
    for name in ts.__all__:
        getattr(ts, name)
    for name in ("ctypes", "tempfile", "cloudpickle", "traceback", "difflib", "hashlib", "random", "shutil"):
        importlib.import_module(name)
    ts.pipeline(lambda state: print("x"), lambda state: {"n": len(sys.stdin.read())}).run(echo_output=False)


def attempt(
    host: Callable[[], Any], folder: Path, *, escapes: bool = False, prints: bool = False, look: Look = None
) -> tuple[list[str], Optional[Any]]:
    """Run `host` in a forked process; returns what was wrong as seen from outside, and what it returned, as JSON.

    What `escapes` on purpose is ended here without a word; a host that `prints` may write to its stderr. `look` is
    called again and again while the host lives.
    """
    _adopt_orphans()
    pid = os.fork()
    if pid == 0:
        _be_host(host, folder)
    found = [*_wait(pid, look), *_survivors(escapes)]
    printed = (folder / "stderr").read_text(errors="replace")
    told = (folder / "told").read_text() if (folder / "told").exists() else ""
    if printed and not (prints and told):
        found.append(f"the host printed: {printed[-3000:]}")
    return (found, json.loads(told)) if told else ([*found, "the host left no record"], None)


def _be_host(host: Callable[[], Any], folder: Path) -> None:
    try:
        number = os.open(folder / "stderr", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(number, 2)
        os.close(number)
        # By the folder's descriptor, into which no node can write: the host may be in another root by then.
        place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        value = host()
        told = os.open("told", os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=place)
        os.fchmod(told, 0o600)
        os.write(told, json.dumps(value).encode())
    except BaseException:
        with suppress(OSError):
            os.write(2, traceback.format_exc().encode(errors="replace"))
    finally:
        os._exit(0)


def _wait(pid: int, look: Look) -> Iterator[str]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        if time.monotonic() > deadline:
            for each in tagged():
                with suppress(ProcessLookupError):
                    os.kill(each, signal.SIGCONT)
                    os.kill(each, signal.SIGABRT)
            os.waitpid(pid, 0)
            yield "it hung; its stacks are in what it printed"
            return
        if look is not None:
            look()
        time.sleep(0.002)


def tagged() -> list[int]:
    """Every other process with our tag."""
    return [pid for pid in harness.tagged(os.environ[harness.TAG]) if pid != os.getpid()]


def _survivors(escapes: bool) -> Iterator[str]:
    deadline = time.monotonic() + (0 if escapes else 1.0)
    left = _left()
    while left and time.monotonic() < deadline:
        time.sleep(0.002)
        left = _left()
    survivors = tuple(left)
    while left:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)
        left = _left()
    if survivors and not escapes:
        yield f"processes {list(survivors)} outlived the host"


def _left() -> list[int]:
    """What is left of an attempt: on Linux our own children, for we adopt its orphans; elsewhere what has our tag."""
    if not _adopt_orphans():
        return tagged()
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
        return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    return []


@cache
def _adopt_orphans() -> bool:
    """To look at every process of the machine took most of the time of an attempt."""
    if sys.platform != "linux" or not Path(f"/proc/self/task/{os.getpid()}/children").exists():
        return False
    import ctypes

    return bool(ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
