"""When has a worker gone, and with it all that could still write into its streams?

A Python node has gone when its process has exited. A program may have left others behind, who hold its streams: it has
gone when they have, or after the drain time, and then they are `left_running`. Every worker departs once. It decides
nothing about what that means, and collects no status: the table and the supervisor do.
"""

from __future__ import annotations

import select
from functools import partial
from typing import Callable

from teastreams.runtime.exits import PEEK_SECONDS
from teastreams.runtime.loop import Loop
from teastreams.runtime.supervision.child import Child


class Departures:
    """Calls `departed(child)` for every watched worker that has gone, from inside the loop."""

    def __init__(self, loop: Loop, drain_seconds: float, departed: Callable[[Child], None]) -> None:
        self._loop, self._drain_seconds, self._departed = loop, drain_seconds, departed
        self._peeked: list[Child] = []

    def watch(self, child: Child) -> None:
        """From now on: by its exit notice, or, where there is none, by looking now and then."""
        if child.exit is not None and child.exit.fd is not None:
            self._loop.watch(child.exit.fd, select.POLLIN, lambda _events: self._on_exit(child))
        else:
            self._peeked.append(child)
            self._loop.peek_seconds, self._loop.on_peek = PEEK_SECONDS, self._peek

    def drained(self, child: Child) -> None:
        """All pipes from it are at their end. Before its exit, that means only that it closed them."""
        if child.exit_seen:
            self.forget(child)
            self._departed(child)

    def forget(self, child: Child) -> None:
        """Wait for nobody of its any more; harmless if nobody was waited for."""
        self._loop.forget(("left running", child.name))

    def _peek(self) -> None:
        for child in self._peeked:
            if child.live and child.exit is not None and child.exit.exited():
                self._on_exit(child)

    def _on_exit(self, child: Child) -> None:
        if child.witnesses:
            child.hear_witnesses()
        if not child.program or child.drained:
            self._departed(child)
        elif not child.exit_seen:
            child.exit_seen = True
            if child.exit is not None and child.exit.fd is not None:
                self._loop.unwatch(child.exit.fd)
            self._loop.at(("left running", child.name), self._drain_seconds, partial(self._on_left_running, child))

    def _on_left_running(self, child: Child) -> None:
        child.left_running = True
        self._departed(child)
