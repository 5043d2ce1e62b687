"""Signals of the host while a run supervises workers, and everything put back afterwards.

The handler is empty: Python writes the signal's number to a pipe that the loop watches (`signal.set_wakeup_fd`), and
nothing else happens in signal context. SIGINT and SIGTERM are taken unless the host ignores them; SIGPIPE is ignored
and SIGCHLD not ignored while we write to and wait for children. Outside the main thread Python allows none of this:
the host's own handling stays, and ending is left to the host. After an ordered stop the signal is raised again for
the host.
"""

from __future__ import annotations

import select
import signal
import threading
from contextlib import contextmanager
from types import FrameType
from typing import Any, Callable, Iterator, Optional

from teastreams.errors import Interrupted
from teastreams.runtime import calls
from teastreams.runtime.fds import Fd, make_pipe, room_for
from teastreams.runtime.loop import Loop
from teastreams.runtime.masking import signals_blocked

STOPPING = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Captures the stopping signals between `capture` and `release`; both may be called again and again.

    `children`: there are some, which must be ended in order whatever the host does, and written to. Without them only
    handlers that Python would run are taken.
    """

    def __init__(self, loop: Loop, on_signal: Callable[[int], None], children: bool = True) -> None:
        self._loop, self._on_signal, self._children = loop, on_signal, children
        self._old: dict[int, Any] = {}
        self._old_wakeup = -1
        self._ends: Optional[tuple[Fd, Fd]] = None

    def capture(self) -> None:
        """Take the signals over. Does nothing outside the main thread, or when they are taken already.

        LimitError when there is no room for the pipe.
        """
        if threading.current_thread() is not threading.main_thread() or self._ends is not None:
            return
        with signals_blocked():
            self._take()

    def release(self) -> None:
        """Put the host's handlers back. A signal that comes meanwhile is the host's."""
        if self._ends is not None:
            with signals_blocked():
                self._give_back(self._ends)

    @contextmanager
    def released(self) -> Iterator[None]:
        """Code of the host runs inside, with its own handlers."""
        try:
            self.release()
            yield
        finally:
            self.capture()

    def _take(self) -> None:
        with room_for("a section"):
            self._ends = make_pipe("wake-up by signals")
        for end in self._ends:
            calls.table.set_blocking(end.number, False)
        self._loop.watch(self._ends[0], select.POLLIN, self._woken)
        self._old_wakeup = calls.table.set_wakeup_fd(self._ends[1].number, warn_on_full_buffer=False)
        wanted_handlers = _wanted() if self._children else dict.fromkeys(_run_by_python(), _nothing)
        for number, wanted in wanted_handlers.items():
            self._old[number] = calls.table.set_handler(number, wanted)

    def _give_back(self, ends: tuple[Fd, Fd]) -> None:
        for number, handler in self._old.items():
            calls.table.set_handler(number, handler)
        self._old.clear()
        calls.table.set_wakeup_fd(self._old_wakeup)
        self._woken(0)
        self._loop.unwatch(ends[0])
        for end in ends:
            end.close()
        self._ends = None

    def _woken(self, _events: int) -> None:
        if self._ends is None:
            return
        try:
            numbers = calls.table.read(self._ends[0].number, 64)
        except BlockingIOError:
            return
        for number in numbers:
            if number in STOPPING:
                self._on_signal(number)


def _wanted() -> dict[int, Any]:
    """What to set for which signal, as the host has it now. A handler that is not Python's (None) is left alone."""
    wanted: dict[int, Any] = {
        number: _nothing for number in STOPPING if calls.table.get_handler(number) not in (signal.SIG_IGN, None)
    }
    if calls.table.get_handler(signal.SIGPIPE) is signal.SIG_DFL:
        wanted[signal.SIGPIPE] = signal.SIG_IGN
    if calls.table.get_handler(signal.SIGCHLD) is signal.SIG_IGN:
        wanted[signal.SIGCHLD] = signal.SIG_DFL
    return wanted


def _run_by_python() -> list[int]:
    return [number for number in STOPPING if callable(calls.table.get_handler(number))]


def _nothing(_signal: int, _frame: Optional[FrameType]) -> None:
    return


def raise_again(number: Optional[int]) -> None:
    """After an ordered stop, let the host's own handler have the signal that caused it.

    Python's default turns SIGINT into KeyboardInterrupt, the system's default for SIGTERM ends the process.
    `Interrupted` is raised where the host's handler returns: the run did not finish.
    """
    if number is not None:
        calls.table.raise_signal(number)
        raise Interrupted(number)
