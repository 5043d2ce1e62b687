"""What a scenario's script can use: imported with a star into the fresh interpreter.

`tell(key=value)` hands JSON values to the test. `untouched()` wraps runs and fails when they leave anything: a child,
a descriptor, a thread, a handler, a changed mask, working directory, umask or standard object. `stream(seed, size)`
is a keyed pseudo-random byte stream in which loss, doubling and exchange all show.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

import recording

import teastreams as ts

__all__ = [
    "Path",
    "digest",
    "hashlib",
    "json",
    "os",
    "signal",
    "stream",
    "sys",
    "tell",
    "threading",
    "time",
    "ts",
    "untouched",
]


def tell(**values: Any) -> None:
    """Hand values to the test outside."""
    with open(os.environ["TEASTREAMS_SCENARIO_HISTORY"], "a") as file:
        file.write(json.dumps(values) + "\n")


def stream(seed: str, size: int, block: int = 65536) -> Iterator[bytes]:
    """`size` bytes in blocks, each block derived from the seed and its own position."""
    for start in range(0, size, block):
        yield hashlib.shake_128(f"{seed}:{start}".encode()).digest(min(block, size - start))


def digest(seed: str, size: int) -> str:
    """The SHA-256 of that stream."""
    whole = hashlib.sha256()
    for block in stream(seed, size):
        whole.update(block)
    return whole.hexdigest()


@contextmanager
def untouched() -> Iterator[None]:
    """The caller's world is the same after the block as before it, however the block ends."""
    before = _world()
    try:
        yield
    finally:
        after = _world()
        changed = {key: (before[key], after[key]) for key in before if before[key] != after[key]}
        if changed:
            raise AssertionError(f"the run changed its caller's world: {changed}")
        _no_child()


def _world() -> dict[str, Any]:
    return {
        "descriptors": _descriptors(),
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "handlers": {int(n): repr(signal.getsignal(n)) for n in signal.valid_signals()},
        "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "directory": os.getcwd(),
        "umask": _umask(),
        "standard": [id(sys.stdin), id(sys.stdout), id(sys.stderr)],
        "wakeup": _wakeup(),
    }


def _descriptors() -> dict[str, str]:
    found = {}
    for name in os.listdir("/dev/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            found[name] = "open" if sys.platform != "linux" else "gone"
    return {name: target for name, target in found.items() if target != "gone"}


def _umask() -> int:
    now = os.umask(0o077)
    os.umask(now)
    return now


def _wakeup() -> int:
    now = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(now)
    return now


def _no_child() -> None:
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return
    raise AssertionError(f"a child is left: pid {pid}, status {status}")


if "TEASTREAMS_SCENARIO_HISTORY" in os.environ:  # a test that looks at what a script uses has none
    recording.begin(os.environ["TEASTREAMS_SCENARIO_HISTORY"] + recording.HISTORIES, _world)
