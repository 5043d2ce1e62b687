"""Shared counters: how many bytes each worker moved, and what it waits for, without a message.

One page of memory shared by fork, one slot group per worker, one writer per slot. The supervisor reads it to see that
nothing moves any more (`stall_timeout`) and who waits for whom, and at the end for the bytes of direct channels,
which have nobody in the middle who could count. Figures, not promises: bytes that a node moves past `sys.std*` are
not seen.
"""

from __future__ import annotations

from enum import IntEnum

from teastreams.runtime import calls
from teastreams.runtime.fds import room_for

SLOTS = 4


class Phase(IntEnum):
    """What a worker was doing when it last said so."""

    OWN_CODE = 0
    READING = 1
    WRITING = 2
    VERDICT = 3


class Gauge:
    """The slots of one worker: bytes moved on descriptors 0, 1 and 2, and its phase."""

    def __init__(self, cells: memoryview, first: int) -> None:
        self._cells, self._first = cells, first

    def add(self, fd: int, count_bytes: int) -> None:
        """Count bytes moved on descriptor 0, 1 or 2."""
        self._cells[self._first + fd] += count_bytes

    def moved(self, fd: int) -> int:
        """Bytes moved so far on descriptor 0, 1 or 2."""
        return int(self._cells[self._first + fd])

    @property
    def phase(self) -> Phase:
        """What the worker waits for."""
        return Phase(self._cells[self._first + 3])

    @phase.setter
    def phase(self, phase: Phase) -> None:
        self._cells[self._first + 3] = phase


class Gauges:
    """The shared page of one section; LimitError when there is no memory for it."""

    def __init__(self, workers: int) -> None:
        with room_for("a section"):
            self._memory = calls.table.shared_memory(max(1, workers) * SLOTS * 8)
        self._cells = memoryview(self._memory).cast("Q")

    def gauge(self, index: int) -> Gauge:
        """The gauge of the worker with that index."""
        return Gauge(self._cells, index * SLOTS)

    def close(self) -> None:
        """Give the page back."""
        self._cells.release()
        self._memory.close()
