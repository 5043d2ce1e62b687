"""A checkpoint, the protocol of whatever keeps them, and its form as one row of plain values.

The last column of a row is the SHA-256 of all the others: a row is read back only if it fits. It finds damage, not
forgery; whoever may write the file may change it, so the file's rights are what protects it. Decides only; `sqlite` and
`memory` keep the rows.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Mapping, Optional, Protocol

from teastreams.checkpoint.values import CheckpointError, state_of, text_of

FORMAT = 1
MOMENTS = ("before", "after")
MAX_STATE_BYTES = 256 * 1024 * 1024

COLUMNS = {
    "format": int,
    "checkpoint_id": str,
    "run_id": str,
    "step": int,
    "node": str,
    "moment": str,
    "workflow_hash": str,
    "created_at": str,
    "state": str,
    "sha256": str,
}
Row = tuple[Any, ...]  # the values of COLUMNS in their order


@dataclass(frozen=True)
class Checkpoint:
    """The state of one run at one place: `when` ("before" or "after") the node `node`, which is step `step`.

    `workflow_hash` tells whether the workflow is still the one that wrote it. `checkpoint_id` and `created_at` (in UTC)
    are given by the checkpointer that saves it.
    """

    run_id: str
    step: int
    node: str
    when: str
    workflow_hash: str
    state: Mapping[str, Any]
    checkpoint_id: str = ""
    created_at: Optional[datetime] = None


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


def row_of(record: Checkpoint) -> Row:
    """The record as a row, with a new id and the time of now."""
    if record.when not in MOMENTS:
        raise CheckpointError(f"a checkpoint stands 'before' or 'after' its node, not {record.when!r}")
    state = text_of(record.state)
    if len(state) > MAX_STATE_BYTES:
        raise CheckpointError(f"the state has {len(state)} bytes as JSON, at most {MAX_STATE_BYTES}; use files")
    created = datetime.now(timezone.utc).isoformat()
    place = (record.run_id, record.step, record.node, record.when, record.workflow_hash)
    row = (FORMAT, secrets.token_hex(6), *place, created, state)
    return (*row, _digest(row))


def checkpoint_of(row: Row, source: str) -> Checkpoint:
    """The record of a row that was read from `source`; CheckpointError if it is damaged or of another format."""
    if tuple(map(type, row)) != tuple(COLUMNS.values()) or row[-1] != _digest(row[:-1]):
        raise CheckpointError(f"a checkpoint in {source} is damaged, its checksum does not fit; resume from another")
    version, checkpoint_id, run_id, step, node, when, workflow_hash, created, state, _ = row
    if version != FORMAT:
        raise CheckpointError(f"a checkpoint in {source} has format {version}, and this version reads format {FORMAT}")
    try:
        created_at = datetime.fromisoformat(created)
    except ValueError as error:
        raise CheckpointError(f"a checkpoint in {source} has no readable time: {error}") from error
    return Checkpoint(run_id, step, node, when, workflow_hash, state_of(state), checkpoint_id, created_at)


def missing(checkpoint_id: Optional[str], source: str) -> CheckpointError:
    """The error that says that `source` does not hold what was asked for."""
    wanted = "no checkpoint yet" if checkpoint_id is None else f"no checkpoint {checkpoint_id[:100]!r}"
    return CheckpointError(f"there is {wanted} in {source}; start the run from its beginning, or name another one")


def _digest(row: Row) -> str:
    return hashlib.sha256(json.dumps(row).encode()).hexdigest()
