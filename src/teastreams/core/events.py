"""What happens in a run, as typed values in the order in which it happened.

`app.stream` yields them, `app.invoke` turns them into dicts, `app.run` drops all but the last: three views of one
scheduler. Times are seconds on a monotonic clock since the run began.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, Mapping, Optional, Union

from teastreams.core.merge import ParallelFlowResult
from teastreams.values import dataclass


@dataclass(frozen=True)
class NodeStarted:
    """A node began: in the caller's process, in a thread, or in a worker of its own (`pid`)."""

    node: str
    pid: Optional[int] = None


@dataclass(frozen=True)
class NodeFinished:
    """A node ended. `status` is one of done, stopped, failed, consequence, tainted, cancelled."""

    node: str
    status: str
    seconds: float
    exit_code: Optional[int] = None


@dataclass(frozen=True)
class NodeRetried:
    """Attempt number `attempt` of a node or branch failed with `error`; the next one follows after `delay_seconds`.

    `max_attempts` is how many there may be in all. Of branches in threads it is told when all branches have ended.
    """

    node: str
    attempt: int
    max_attempts: int
    delay_seconds: float
    error: str

    def __str__(self) -> str:
        again = f"attempt {self.attempt + 1} of at most {self.max_attempts}"
        return f"node {self.node!r} failed: {self.error}; {again} after {self.delay_seconds:.3g} s"


@dataclass(frozen=True)
class NodeOutput:
    """One line that a node wrote to a standard stream which is no channel, without its newline."""

    node: str
    stream: str
    text: str


@dataclass(frozen=True)
class SectionStarted:
    """All workers of a stream section are ready; bytes may flow from now on."""

    nodes: tuple[str, ...]


@dataclass(frozen=True)
class SectionFinished:
    """A stream section has ended and nothing of it is left."""

    nodes: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class BranchesFinished:
    """A fan-out has ended; `results` go to the node `fan_in`."""

    fan_in: str
    results: tuple[ParallelFlowResult, ...]


@dataclass(frozen=True)
class StateChanged:
    """The state after a step of the main line."""

    node: str
    state: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Warned:
    """Something the caller should know and that stops nothing."""

    message: str

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True)
class NodeProgress:
    """What one node of a section is doing.

    `doing` is one of waiting (not started), starting, running, reading, writing, finishing (its input has ended and it
    waits for everything upstream to end), program (another program runs in its place and cannot be asked), ending (its
    code has ended, its process not), stopping, ended; once its end has been judged, the status that `NodeFinished`
    gives. `waits_for` names the nodes it waits for, `channel` the channel on which it does.
    """

    node: str
    doing: str
    seconds: float = 0.0
    waits_for: tuple[str, ...] = ()
    channel: str = ""


@dataclass(frozen=True)
class ConsumerProgress:
    """What one reader of a channel has got so far.

    `buffered_bytes` were written for it and not read yet, as far as that can be known: None where nobody can tell.
    `counted` says by whom: "fan-out", "node" (its own `sys.stdin`), "caller", "sampled" (the kernel's count of all that
    a program has read), "unknown". `limit_bytes` is what a fan-out may keep for it in memory, 0 for a bare pipe.
    """

    node: str
    bytes: int
    counted: str
    buffered_bytes: Optional[int] = None
    limit_bytes: int = 0
    overflow: str = "block"
    dropped_bytes: int = 0
    starved_seconds: Optional[float] = None
    done: bool = False


@dataclass(frozen=True)
class ChannelProgress:
    """What has gone through one channel so far; `counted` and `None` are as in `ConsumerProgress`."""

    channel: str
    producer: str
    bytes: int
    counted: str
    consumers: tuple[ConsumerProgress, ...]
    records: Optional[int] = None
    blocked_seconds: Optional[float] = None


@dataclass(frozen=True)
class Progress:
    """Where a section is, `seconds` after its beginning; comes only when it was asked for (`progress_seconds`).

    Figures of a moment, read from counters while they run: they may be one block apart from each other.
    """

    seconds: float
    nodes: tuple[NodeProgress, ...]
    channels: tuple[ChannelProgress, ...]


@dataclass(frozen=True)
class Waiting:
    """The run is about to wait. Only who drives a run in steps is told; no view of a run shows it."""


RunEvent = Union[
    NodeStarted,
    NodeFinished,
    NodeRetried,
    NodeOutput,
    SectionStarted,
    SectionFinished,
    BranchesFinished,
    StateChanged,
    Warned,
    Progress,
    Waiting,
]
