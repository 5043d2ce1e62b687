"""What happens in a run, as typed values in the order in which it happened.

`app.stream` yields them, `app.invoke` turns them into dicts, `app.run` drops all but the last: three views of one
scheduler. Times are seconds on a monotonic clock since the run began.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping, Optional, Union

from teastreams.core.merge import ParallelFlowResult


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


@dataclass(frozen=True)
class Waiting:
    """The run is about to wait. Only who drives a run in steps is told; no view of a run shows it."""


RunEvent = Union[
    NodeStarted,
    NodeFinished,
    NodeOutput,
    SectionStarted,
    SectionFinished,
    BranchesFinished,
    StateChanged,
    Warned,
    Waiting,
]
