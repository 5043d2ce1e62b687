"""What a pump is given and what it tells: consumers, how each was finished with, and the totals.

Plain values, without a descriptor of their own but the pipe end that a `Sink` hands over. Used by `pump`, by those who
start it (`tee`, `broadcast`), and by the supervisor, who reads the same reports from the fan-out worker's result pipe.
"""

from __future__ import annotations

from enum import Enum

from teastreams.core.endings import SinkEnd
from teastreams.core.graph import DEFAULT_LIMIT_BYTES
from teastreams.runtime.fds import Fd
from teastreams.values import dataclass


@dataclass(frozen=True)
class Sink:
    """One consumer: its name, the write end of its pipe, its policy, and how far it may lag in memory."""

    name: str
    fd: Fd
    overflow: str = "block"
    buffer_limit_bytes: int = DEFAULT_LIMIT_BYTES


@dataclass(frozen=True)
class SinkReport:
    """How one consumer was finished with. `detail` is text for people, "" when all is well. Sizes in bytes."""

    name: str
    end: SinkEnd
    delivered_bytes: int = 0
    dropped_bytes: int = 0
    dropped_records: int = 0
    spilled_bytes: int = 0
    high_water_bytes: int = 0
    detail: str = ""


class SourceEnd(Enum):
    """Why the pump stopped reading."""

    EOF = "end of file"
    NO_READERS = "every consumer has left"
    HELD = "the producer has ended, but somebody else still holds its stream open"
    FAILED = "reading failed"
    ABANDONED = "the supervisor is gone"


class Instruction(Enum):
    """What the supervisor can tell a pump over the control pipe."""

    SOURCE_ENDED = "the producer has exited: an end of file is due within the drain time"


@dataclass(frozen=True)
class PumpReport:
    """The totals of one broadcast, `sinks` in the order given. `spill_error` names the first refusal of the disk."""

    source: SourceEnd
    read_bytes: int
    delivered_bytes: int
    sinks: tuple[SinkReport, ...]
    spill_errors: int = 0
    spill_error: str = ""
