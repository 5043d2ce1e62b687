"""When has a worker gone, and with it all that could still write into its streams?

A Python node has gone when its process has exited: it has waited for what it started. A program may have left others
behind, who hold its streams: it has gone when they have, or after the drain time, and then they are `left_running`. On
the portable path nobody can tell who holds a stream. There both have gone when nobody is left in their group, or all
that they wrote was read to its end. Every worker departs once. It decides nothing about what that means, and collects
no status: the table and the supervisor do.
"""

from __future__ import annotations

import select
from functools import partial
from typing import Callable

from teastreams.core.endings import SinkEnd
from teastreams.core.lifecycle import State
from teastreams.core.outcome import Judge
from teastreams.core.plan import SectionPlan
from teastreams.runtime import calls
from teastreams.runtime.exits import PEEK_SECONDS
from teastreams.runtime.gauges import Gauges, Phase
from teastreams.runtime.loop import Loop
from teastreams.runtime.supervision.child import Child


class Readers:
    """Who has read a stream to the kernel's end of file? Then nobody can write there any more."""

    def __init__(self, plan: SectionPlan, gauges: Gauges, judge: Judge) -> None:
        self._channels = {(channel.producer, channel.fd): channel for channel in plan.channels.values()}
        self._gauges = {worker.name: gauges.gauge(index) for index, worker in enumerate(plan.workers)}
        self._judge = judge

    def at_end(self, producer: str, fd: int) -> bool:
        """True if its reader says so, or has ended; a program never says so."""
        channel = self._channels[producer, fd]
        names = [consumer.node for consumer in channel.consumers]
        if channel.fanout is not None:
            return any(self._judge.sinks.get((channel.name, name)) is SinkEnd.DELIVERED for name in names)
        return all(name in self._judge.endings or self._gauges[name].phase is Phase.VERDICT for name in names)


class Departures:
    """Calls `departed(child)` for every watched worker that has gone, from inside the loop."""

    def __init__(self, loop: Loop, drain_seconds: float, readers: Readers, departed: Callable[[Child], None]) -> None:
        self._loop, self._drain_seconds, self._departed = loop, drain_seconds, departed
        self._readers = readers
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
            self._look(child)

    def forget(self, child: Child) -> None:
        """Wait for nobody of its any more; harmless if nobody was waited for."""
        for what in ("left running", "left in its group"):
            self._loop.forget((what, child.name))

    def _peek(self) -> None:
        for child in self._peeked:
            if child.live and not child.exit_seen and child.exit is not None and child.exit.exited():
                self._on_exit(child)

    def _on_exit(self, child: Child) -> None:
        child.exit_seen = True
        if child.exit is not None and child.exit.fd is not None:
            self._loop.unwatch(child.exit.fd)
        if child.witnesses:
            child.hear_witnesses()
        self._look(child)
        if child.live:
            self._loop.at(("left running", child.name), self._drain_seconds, partial(self._on_left_running, child))

    def _look(self, child: Child) -> None:
        """It departs, unless somebody is left who could still write."""
        if child.live and not (child.program and not child.drained) and not self._is_left_in_group(child):
            self.forget(child)
            self._departed(child)

    def _is_left_in_group(self, child: Child) -> bool:
        """Where no pipe tells who writes it: whoever is left in the group would be killed with it, and may write."""
        if not calls.portable() or child.state in (State.TERMED, State.KILLED):
            return False  # and if somebody was left, that stays true of it
        unread = any(not self._readers.at_end(child.name, fd) for fd in child.could_be_cut)
        child.left_running = unread and calls.table.group_lives(child.pid)
        if child.left_running:
            self._loop.forget(child)  # the grace is for a worker that does not leave; this one has
            self._loop.at(("left in its group", child.name), PEEK_SECONDS, partial(self._look, child))
        return child.left_running

    def _on_left_running(self, child: Child) -> None:
        child.left_running = True
        self.forget(child)
        self._departed(child)
