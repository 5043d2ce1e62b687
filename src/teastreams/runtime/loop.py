"""The only place that waits: one poll set, one deadline.

Watchers are callbacks by descriptor; deadlines are absolute monotonic times by key, of which only the earliest counts.
While `peek_seconds` is set (no kernel notice of exits on this machine) the wait is cut short and `on_peek` is
called. No threads, no other sleeping anywhere in the supervisor.

A handler of the host may raise (a time limit by SIGALRM does): it runs while we wait, never in the middle of a
callback, which would leave half a step behind.
"""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import Any, Callable, Hashable, Iterator, Optional

from teastreams.runtime import calls
from teastreams.runtime.fds import Fd, room_to_wait
from teastreams.runtime.masking import signals_blocked

Ready = Callable[[int], None]


class Loop:
    """Waits for descriptors and deadlines, then calls back."""

    def __init__(self) -> None:
        self._set = calls.table.poll()
        self._watchers: dict[int, Ready] = {}
        self._masks: dict[int, int] = {}
        self._deadlines: dict[Hashable, tuple[float, Callable[[], None]]] = {}
        self._mask: Any = []
        self.peek_seconds: Optional[float] = None
        self.on_peek: Callable[[], None] = lambda: None

    def watch(self, fd: Fd, mask: int, ready: Ready) -> None:
        """Call `ready(events)` whenever `fd` has one of `mask`; watching again replaces mask and callback."""
        self._set.register(fd.number, mask)
        self._watchers[fd.number], self._masks[fd.number] = ready, mask

    def unwatch(self, fd: Fd) -> None:
        """Forget `fd`; harmless if it was not watched or is closed. Always before closing it."""
        if self._watchers.pop(fd.number, None) is not None:
            del self._masks[fd.number]
            self._set.unregister(fd.number)

    def at(self, key: Hashable, seconds: Optional[float], call: Callable[[], None]) -> None:
        """Call `call` once, `seconds` from now; None takes the deadline of this key away."""
        if seconds is None:
            self.forget(key)
        else:
            self._deadlines[key] = (calls.table.monotonic() + seconds, call)

    def forget(self, key: Hashable) -> None:
        """Take the deadline of this key away; harmless if there is none."""
        self._deadlines.pop(key, None)

    def has(self, key: Hashable) -> bool:
        """Is a deadline of this key set?"""
        return key in self._deadlines

    def wait(self) -> None:
        """Wait once, then call back whatever is ready and whatever is due."""
        found = self._found()
        with signals_blocked() as self._mask:
            for number, events in found:
                ready = self._watchers.get(number)  # an earlier callback of this round may have closed it
                if ready is not None:
                    ready(events)
            if self.peek_seconds is not None:
                self.on_peek()
            self._call_due()

    def _found(self) -> list[tuple[int, int]]:
        with room_to_wait(len(self._watchers)):
            return self._set.poll(self.timeout_seconds())

    @contextmanager
    def unmasked(self) -> Iterator[None]:
        """In a callback: code of the host runs inside, with the host's mask."""
        ours = calls.table.sigmask(signal.SIG_SETMASK, self._mask)
        try:
            yield
        finally:
            calls.table.sigmask(signal.SIG_SETMASK, ours)

    def interests(self) -> list[tuple[int, int]]:
        """What `wait` would wait for, as (descriptor, mask): for an event loop of the host that waits in its place."""
        return [(number, self._masks[number]) for number in self._watchers]

    def timeout_seconds(self) -> Optional[float]:
        """How long `wait` would wait at most; None is for ever."""
        times = [at for at, _call in self._deadlines.values()]
        left = max(0.0, min(times) - calls.table.monotonic()) if times else None
        if self.peek_seconds is None:
            return left
        return self.peek_seconds if left is None else min(left, self.peek_seconds)

    def _call_due(self) -> None:
        now = calls.table.monotonic()
        for key, (at, call) in list(self._deadlines.items()):
            if at <= now and self._deadlines.get(key) == (at, call):
                del self._deadlines[key]
                call()
