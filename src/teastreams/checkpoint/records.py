"""A checkpoint as one row of plain values, and back.

The last column of a row is the SHA-256 of all the others: a row is read back only if it fits. It finds damage, not
forgery; whoever may write the file may change it, so the file's rights are what protects it. Decides only; `sqlite` and
`memory` keep the rows.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any, Callable, Iterable, Optional

from teastreams.checkpoint.parts import digest_of, divided
from teastreams.checkpoint.protocol import Checkpoint, CheckpointError
from teastreams.checkpoint.values import Codec, state_of, tree_of

FORMAT = 2
OLD_FORMAT = 1
MOMENTS = ("before", "after")
STATUSES = ("running", "paused", "finished", "failed")
MAX_STATE_BYTES = 256 * 1024 * 1024
MAX_NAME_CHARACTERS = 1024 * 1024

COLUMNS = {
    "format": int,
    "checkpoint_id": str,
    "run_id": str,
    "step": int,
    "node": str,
    "moment": str,
    "workflow_hash": str,
    "created_at": str,
    "status": str,
    "parent": str,
    "size_bytes": int,
    "state": str,
    "sha256": str,
}
NEW_COLUMNS = {"status": "paused", "parent": "", "size_bytes": 0}
"""What format 1 had no columns for, with what holds for its records."""

Row = tuple[Any, ...]  # the values of COLUMNS in their order
Part = Callable[[str], str]


def rows_of(record: Checkpoint, codecs: Iterable[Codec] = ()) -> tuple[Row, dict[str, str]]:
    """The record as a row, with a new id and the time of now, and the parts of its state that the row only names."""
    if record.when not in MOMENTS:
        raise CheckpointError(f"a checkpoint stands 'before' or 'after' its node, not {record.when!r}")
    if record.status not in STATUSES:
        raise CheckpointError(f"the status of a checkpoint is one of {', '.join(STATUSES)}, not {record.status!r}")
    state, parts = divided(tree_of(record.state, codecs))
    size_bytes = len(state) + sum(map(len, parts.values()))
    if size_bytes > MAX_STATE_BYTES:
        raise CheckpointError(f"the state has {size_bytes} bytes as JSON, at most {MAX_STATE_BYTES}; use files")
    created = datetime.now(timezone.utc).isoformat()
    longest = max(map(len, (record.run_id, record.node, record.workflow_hash, record.parent)))
    if longest > MAX_NAME_CHARACTERS:
        raise CheckpointError(f"a name has {longest} characters, at most {MAX_NAME_CHARACTERS}; give a shorter one")
    place = (record.run_id, record.step, record.node, record.when, record.workflow_hash)
    row = (FORMAT, os.urandom(6).hex(), *place, created, record.status, record.parent, size_bytes, state)
    return (*row, _digest(row)), parts


def checkpoint_of(row: Row, source: str, part: Part, codecs: Iterable[Codec] = ()) -> Checkpoint:
    """The record of a row that was read from `source`; CheckpointError if it is damaged or of another format.

    `part` finds the text that a name in the state stands for; what it finds must fit the name.
    """

    def checked(name: str) -> str:
        text = part(name)
        if digest_of(text) != name:
            raise CheckpointError(f"a part of a checkpoint in {source} is damaged; resume from another")
        return text

    return replace(outline_of(row, source), state=state_of(row[-2], checked, codecs))


def outline_of(row: Row, source: str) -> Checkpoint:
    """`checkpoint_of`, without the state."""
    if tuple(map(type, row)) != tuple(COLUMNS.values()) or row[-1] != _digest(row[:-1]):
        raise CheckpointError(f"a checkpoint in {source} is damaged, its checksum does not fit; resume from another")
    version, checkpoint_id, run_id, step, node, when, workflow_hash, created, status, parent, size_bytes, state, _ = row
    if version not in (OLD_FORMAT, FORMAT):
        raise CheckpointError(f"a checkpoint in {source} has format {version}, and this version reads format {FORMAT}")
    try:
        created_at = datetime.fromisoformat(created)
    except ValueError as error:
        raise CheckpointError(f"a checkpoint in {source} has no readable time: {error}") from error
    place = (run_id, step, node, when, workflow_hash)
    return Checkpoint(*place, {}, checkpoint_id, created_at, status, parent, size_bytes or len(state))


def missing(checkpoint_id: Optional[str], source: str) -> CheckpointError:
    """The error that says that `source` does not hold what was asked for."""
    wanted = "no checkpoint yet" if checkpoint_id is None else f"no checkpoint {checkpoint_id[:100]!r}"
    return CheckpointError(f"there is {wanted} in {source}; start the run from its beginning, or name another one")


def _digest(row: Row) -> str:
    """The checksum of all columns but the last; in format 1 it was made of the columns that were there.

    What a record of format 1 says in the new columns has then to be what `NEW_COLUMNS` says.
    """
    values = dict(zip(COLUMNS, row))
    if values["format"] == OLD_FORMAT and {key: values[key] for key in NEW_COLUMNS} == NEW_COLUMNS:
        row = tuple(value for key, value in values.items() if key not in NEW_COLUMNS)
    return digest_of(json.dumps(row))
