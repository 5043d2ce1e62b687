"""Processes beside teastreams: forks and programs that do the same work over pipes made by hand.

They are what a program would write with `os.pipe` and `os.fork`. `Children` owns all of one measurement: whoever
leaves it early leaves none of them. It does not tell slow from stuck: that is for who waits at the terminal.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from typing import Callable, Iterable, Iterator, Sequence

from teastreams.errors import LimitError

ENDING = (signal.SIGTERM, signal.SIGINT)


class Children:
    """The processes of one measurement, in a `with` block."""

    def __init__(self) -> None:
        self._running: dict[int, str] = {}

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *_exc: object) -> None:
        for pid in self._running:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in list(self._running):
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)

    def fork(self, name: str, body: Callable[[], bool], close: Iterable[int] = ()) -> int:
        """A fork that closes these descriptors; it ended well when its body returned True. Its pid."""
        with _undisturbed():
            pid = os.fork()
            if pid == 0:
                _live(body, close)
            self._running[pid] = name
        return pid

    def spawn(self, name: str, argv: Sequence[str], keep: Iterable[int], **streams: int) -> None:
        """A program that inherits these descriptors, and `stdin` and `stdout` where given."""
        with _undisturbed():
            program = subprocess.Popen(argv, pass_fds=tuple(keep), **streams)  # type: ignore[call-overload]
            self._running[program.pid] = name
            program.returncode = 0  # waited for here: Popen would warn that it still runs

    def wait(self) -> None:
        """Until all have ended. LimitError when one of them did not end well."""
        while self._running:
            pid = next(iter(self._running))
            status = os.waitpid(pid, 0)[1]
            name = self._running.pop(pid)
            if status:
                code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
                raise LimitError(f"bench: {name} ended with {code}, so nothing was measured; run it again with --only")


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A handler that raised between a fork and the note of its pid would leave that process to nobody.

    Programs inherit the mask: none is started here that would have to be asked to end, `Children` kills.
    """
    old = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


def _live(body: Callable[[], bool], close: Iterable[int]) -> None:
    """Never returns: what stands below the fork belongs to the parent."""
    code = 1
    try:
        for number in ENDING:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        for fd in close:
            os.close(fd)
        code = 0 if body() else 1
    except Exception:
        sys.excepthook(*sys.exc_info())  # what went wrong in a fork is seen nowhere else
    finally:
        os._exit(code)
