"""Shared counters: what each worker moved, and what it waits for, without a message.

One page of memory shared by fork, one group of slots per worker and per reader of a fan-out, one writer per slot. The
supervisor reads it to see that nothing moves any more (`stall_timeout`) and who waits for whom, for progress while a
section runs, and at the end for what nobody in the middle could count. Figures, not promises: what a node moves past
`sys.std*` is not seen, and two threads of one node may count over each other.
"""

from __future__ import annotations

from enum import IntEnum

from teastreams.runtime import calls
from teastreams.runtime.fds import room_for

# Three groups of one slot per descriptor 0, 1 and 2, then the phase, its descriptor, and when it began.
_RECORDS, _WAITED, _PHASE, _PHASE_FD, _SINCE = 3, 6, 9, 10, 11
SLOTS = 12
NANOSECONDS = 1_000_000_000


class Phase(IntEnum):
    """What a worker was doing when it last said so."""

    OWN_CODE = 0
    READING = 1
    WRITING = 2
    VERDICT = 3
    PROGRAM = 4
    """Another program has taken the worker's place: nobody counts here any more."""


# A number, not a member: looking a member up in its class costs as much as the clock in the oldest Pythons.
_OWN_CODE, _VERDICT = Phase.OWN_CODE.value, Phase.VERDICT.value


class Gauge:
    """The slots of one worker: bytes, records and waiting on descriptors 0, 1 and 2, and its phase."""

    def __init__(self, cells: memoryview, first: int) -> None:
        self._cells, self._first = cells, first

    def add(self, fd: int, count_bytes: int) -> None:
        """Count bytes moved on descriptor 0, 1 or 2."""
        self._cells[self._first + fd] += count_bytes

    def moved(self, fd: int) -> int:
        """Bytes moved so far on descriptor 0, 1 or 2."""
        return int(self._cells[self._first + fd])

    def add_records(self, fd: int, count: int) -> None:
        """Count newlines moved on descriptor 0, 1 or 2."""
        self._cells[self._first + _RECORDS + fd] += count

    def records(self, fd: int) -> int:
        """Newlines moved so far on descriptor 0, 1 or 2, if anybody counts them."""
        return int(self._cells[self._first + _RECORDS + fd])

    def begin(self, phase: int, fd: int) -> None:
        """The worker waits from now on: to read, to write or for the verdict on descriptor 0, 1 or 2."""
        cells, first = self._cells, self._first
        cells[first + _SINCE] = calls.table.monotonic_ns()
        cells[first + _PHASE_FD] = fd
        cells[first + _PHASE] = phase

    def end(self) -> None:
        """The worker is back in its own code; what it waited is added up."""
        cells, first = self._cells, self._first
        if _OWN_CODE < cells[first + _PHASE] < _VERDICT:
            waited = calls.table.monotonic_ns() - cells[first + _SINCE]
            if waited > 0:  # another thread may have begun between the two
                cells[first + _WAITED + cells[first + _PHASE_FD]] += waited
        cells[first + _PHASE] = _OWN_CODE

    def waited_seconds(self, fd: int) -> float:
        """How long it has waited to read (0) or to write (1, 2), a wait that still lasts included."""
        cells, first = self._cells, self._first
        waited = int(cells[first + _WAITED + fd])
        if cells[first + _PHASE_FD] == fd and self.phase in (Phase.READING, Phase.WRITING):
            waited += max(0, calls.table.monotonic_ns() - cells[first + _SINCE])
        return waited / NANOSECONDS

    @property
    def phase(self) -> Phase:
        """What the worker waits for."""
        return Phase(self._cells[self._first + _PHASE])

    @phase.setter
    def phase(self, phase: Phase) -> None:
        self._cells[self._first + _PHASE] = phase

    @property
    def phase_fd(self) -> int:
        """The descriptor that the phase is about."""
        return int(self._cells[self._first + _PHASE_FD])


class SinkGauge:
    """The slots of one reader of a fan-out: what it got, how far it is behind, what it lost; in bytes."""

    def __init__(self, cells: memoryview, first: int) -> None:
        self._cells, self._first = cells, first

    def show(self, delivered: int, held: int, dropped: int) -> None:
        """Say where this reader is."""
        self._cells[self._first], self._cells[self._first + 1], self._cells[self._first + 2] = delivered, held, dropped

    @property
    def delivered(self) -> int:
        """Bytes written into its pipe."""
        return int(self._cells[self._first])

    @property
    def held(self) -> int:
        """Bytes it is owed: in memory, and in the spill log."""
        return int(self._cells[self._first + 1])

    @property
    def dropped(self) -> int:
        """Bytes that its policy dropped."""
        return int(self._cells[self._first + 2])


class Gauges:
    """The shared page of one section, for `workers` and `sinks`; LimitError when there is no memory for it."""

    def __init__(self, workers: int, sinks: int = 0) -> None:
        self._workers = workers
        with room_for("a section"):
            self._memory = calls.table.shared_memory(max(1, workers + sinks) * SLOTS * 8)
        self._cells = memoryview(self._memory).cast("Q")

    def gauge(self, index: int) -> Gauge:
        """The gauge of the worker with that index."""
        return Gauge(self._cells, index * SLOTS)

    def sink(self, index: int) -> SinkGauge:
        """The gauge of the reader of a fan-out with that index."""
        return SinkGauge(self._cells, (self._workers + index) * SLOTS)

    def close(self) -> None:
        """Give the page back."""
        self._cells.release()
        self._memory.close()
