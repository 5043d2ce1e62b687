"""A checkpoint, the protocol of whatever keeps them, and the error that both know.

Apart from how a state becomes text and rows (`values`, `records`), which a run without checkpoints does not load.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Mapping, Optional, Protocol

from teastreams.errors import TeaStreamsError
from teastreams.values import dataclass


class CheckpointError(TeaStreamsError, ValueError):
    """A checkpoint cannot be written, found or trusted; the text says which, why, and what to do."""


@dataclass(frozen=True)
class Checkpoint:
    """The state of one run at one place: `when` ("before" or "after") the node `node`, which is step `step`.

    `workflow_hash` tells whether the workflow is still the one that wrote it. `checkpoint_id` and `created_at` (in UTC)
    are given by the checkpointer that saves it, and so is `size_bytes`, the length of the state as text. `status` is
    running, paused, finished or failed; `parent` is the id of the checkpoint before it, of the same run or of the one
    that it was forked from, "" for none.
    """

    run_id: str
    step: int
    node: str
    when: str
    workflow_hash: str
    state: Mapping[str, Any]
    checkpoint_id: str = ""
    created_at: Optional[datetime] = None
    status: str = "paused"
    parent: str = ""
    size_bytes: int = 0


class Checkpointer(Protocol):
    """Where a run keeps its checkpoints."""

    def save(self, record: Checkpoint) -> str:
        """Keep `record` and return the id given to it; CheckpointError if its state cannot be kept."""
        ...

    def load(self, checkpoint_id: Optional[str] = None) -> Checkpoint:
        """The checkpoint of that id, the newest for None; CheckpointError if there is none or it is damaged."""
        ...

    def list(self, run_id: Optional[str] = None) -> tuple[Checkpoint, ...]:
        """The checkpoints of one run, or of all, oldest first; CheckpointError if one is damaged."""
        ...

    def history(self, run_id: Optional[str] = None) -> tuple[Checkpoint, ...]:
        """What `list` gives, without the states: they are empty, and nothing of them is read."""
        ...
