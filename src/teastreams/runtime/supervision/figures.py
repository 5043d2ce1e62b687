"""What a section leaves behind when it has ended, as plain data: the supervisor's answer to its caller.

No descriptor, no process, nothing to close: it can be pickled, printed and kept. Sizes in bytes, times in seconds.
"""

from __future__ import annotations

from dataclasses import field, replace
from typing import Mapping, Optional

from teastreams.core.merge import Update
from teastreams.core.outcome import Status
from teastreams.errors import NodeError
from teastreams.values import dataclass


@dataclass(frozen=True)
class NodeFigures:
    """How one node ended. Times in seconds.

    `output_tail` maps stdout/stderr to its last lines when it is no channel. `cpu_seconds` and `peak_memory_bytes` are
    the kernel's count for its process and the children it waited for, None where it had no process of its own; pages
    that a fork shares with the caller count as memory. `retry_count` counts the attempts before the last one.
    """

    status: Status
    seconds: float
    exit_code: Optional[int] = None
    error: Optional[NodeError] = None
    output_tail: Mapping[str, str] = field(default_factory=dict)
    cpu_seconds: Optional[float] = None
    peak_memory_bytes: Optional[int] = None
    retry_count: int = 0


@dataclass(frozen=True)
class ConsumerFigures:
    """What one consumer of a channel got. `bytes` were handed to it; dropped ones are counted, never hidden (L1).

    `counted` says by whom the bytes were counted: "fan-out", "caller" or "file" (exact), "node": its own `sys.stdin`,
    which does not see what a node reads past it, "sampled": the kernel's count of all that a program read, or
    "unknown". `records` are newlines, None where nobody counted them; `starved_seconds` is the time it waited for
    bytes, None where nobody could tell.
    """

    bytes: int
    overflow: str = "block"
    end: str = ""
    dropped_bytes: int = 0
    dropped_records: int = 0
    spilled_bytes: int = 0
    high_water_bytes: int = 0
    counted: str = "node"
    records: Optional[int] = None
    starved_seconds: Optional[float] = None


@dataclass(frozen=True)
class ChannelFigures:
    """What went through one channel: its bytes, and every consumer's share.

    `warning` says what did not go as asked and lost nothing, such as a disk that refused to take what was to be
    spilled. `producer` is "" for the caller. `counted` and `records` are as in `ConsumerFigures`, for what was written;
    `blocked_seconds` is the time spent in writing, most of it waiting for room, None where nobody could tell.
    """

    bytes: int
    consumers: Mapping[str, ConsumerFigures] = field(default_factory=dict)
    warning: str = ""
    producer: str = ""
    counted: str = "node"
    records: Optional[int] = None
    blocked_seconds: Optional[float] = None


@dataclass(frozen=True)
class BranchFigures:
    """What is known of the nodes inside one branch of several, and of their channels."""

    nodes: dict[str, NodeFigures] = field(default_factory=dict)
    channels: dict[str, ChannelFigures] = field(default_factory=dict)

    def nodes_in(self, branch: str, whole: NodeFigures) -> dict[str, NodeFigures]:
        """The figures of every node, where `whole` are those of the branch.

        Processor time, memory and output are known of the whole only, and stand with the node that the branch is
        named after. A branch of a single node has the figures of the whole.
        """
        own = self.nodes.get(branch)
        if own is None or len(self.nodes) == 1:
            return {**self.nodes, branch: whole}
        first = replace(
            own,
            exit_code=whole.exit_code if whole.status is own.status else own.exit_code,
            output_tail=whole.output_tail,
            cpu_seconds=whole.cpu_seconds,
            peak_memory_bytes=whole.peak_memory_bytes,
        )
        return {**self.nodes, branch: first}


@dataclass(frozen=True)
class SectionOutcome:
    """The end of a section: updates of the nodes that ended well in topological order, figures, and the blame.

    `primary` is the cause when it failed, `collateral` the consequences; `signal` is set when it was stopped from
    outside. `branches` holds the figures inside each worker that ran a branch.
    """

    updates: Mapping[str, Update]
    nodes: Mapping[str, NodeFigures]
    channels: Mapping[str, ChannelFigures]
    seconds: float
    primary: Optional[NodeError] = None
    collateral: tuple[NodeError, ...] = ()
    signal: Optional[int] = None
    branches: Mapping[str, BranchFigures] = field(default_factory=dict)
