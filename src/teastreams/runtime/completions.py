"""The ends of threads, waited for in the loop, so that a signal always wakes the wait and never tears a lock.

Two facts about CPython forbid waiting in `Future.result` or `Thread.join` where Ctrl-C must work. A handler that raises
may do so inside the lock of a future or of a starting thread, which then nobody gives back, and the other thread waits
for ever (python/cpython#74174). And a lock's wait goes on when the kernel hands the signal to another thread: the
handler runs in the main thread only, and nobody wakes that. The descriptor to which Python writes a signal's number
wakes the loop in either case. It starts no thread and ends none.
"""

from __future__ import annotations

import select
from contextlib import contextmanager
from typing import Callable, Iterator, Optional

from teastreams.runtime import calls
from teastreams.runtime.fds import Fd, make_pipe, room_for
from teastreams.runtime.interrupts import Interrupts, raise_again
from teastreams.runtime.loop import Loop


class Completions:
    """Counts what threads `tell`; made by `completions`."""

    def __init__(self, loop: Loop, ends: tuple[Fd, Fd]) -> None:
        self._loop, self._ends = loop, ends
        self._told = 0
        self.abandoned = False
        loop.watch(ends[0], select.POLLIN, self._count)

    def tell(self, _whatever: object = None) -> None:
        """One more has ended. From any thread."""
        calls.table.write(self._ends[1].number, b".")

    def wait(self, number: int) -> bool:
        """Wait until so many have been told in all; False when the wait was given up after a second signal."""
        while self._told < number and not self.abandoned:
            self._loop.wait()
        return not self.abandoned

    def close(self) -> None:
        """Not after giving up: whatever still runs tells it when it ends."""
        if not self.abandoned:
            self._loop.unwatch(self._ends[0])
            for end in self._ends:
                end.close()

    def _count(self, _events: int) -> None:
        self._told += len(calls.table.read(self._ends[0].number, 4096))


@contextmanager
def completions(on_signal: Callable[[], None]) -> Iterator[Completions]:
    """Take the host's stopping signals over while threads are started, waited for and joined.

    `on_signal` is called at the first one, in the loop; the second makes `wait` give up. At the end the first is raised
    again for the host: KeyboardInterrupt, or `Interrupted` where the handler returns. `LimitError` when there is no
    room for the pipes.
    """
    signals: list[int] = []
    made: Optional[Completions] = None

    def signalled(number: int) -> None:
        signals.append(number)
        on_signal()
        if made is not None:
            made.abandoned = len(signals) > 1

    loop = Loop()
    interrupts = Interrupts(loop, signalled, children=False)
    interrupts.capture()
    try:
        with room_for("thread branches"):
            made = Completions(loop, make_pipe("completions"))
        yield made
    finally:
        if made is not None:
            made.close()
        interrupts.release()
    raise_again(signals[0] if signals else None)
