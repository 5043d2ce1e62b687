"""Checkpoints in this process: for tests, and for interrupts that are resumed by the same program.

The rules for the state are those of the file: rows are kept, not objects, so that a later change of the caller's state
does not reach into a checkpoint and a value that a file would refuse is refused here. Nothing survives the process.
"""

from __future__ import annotations

from typing import Iterable, Optional

from teastreams.checkpoint.protocol import Checkpoint
from teastreams.checkpoint.records import Row, checkpoint_of, missing, outline_of, rows_of
from teastreams.checkpoint.values import Codec, checked_codecs

_SOURCE = "memory"


class MemoryCheckpointer:
    """Keeps checkpoints in this process, with the same rules for their state, and the same codecs, as a file."""

    def __init__(self, codecs: Iterable[Codec] = ()) -> None:
        self._codecs = checked_codecs(codecs)
        self._rows: dict[str, Row] = {}
        self._parts: dict[str, str] = {}

    def save(self, record: Checkpoint) -> str:
        """Keep `record` and return its id; CheckpointError names the key of a value that cannot be kept."""
        row, parts = rows_of(record, self._codecs)
        checkpoint_id = str(row[1])
        self._parts.update(parts)
        self._rows[checkpoint_id] = row
        return checkpoint_id

    def load(self, checkpoint_id: Optional[str] = None) -> Checkpoint:
        """The checkpoint of that id, or the newest one; CheckpointError if there is none."""
        wanted = next(reversed(self._rows), None) if checkpoint_id is None else checkpoint_id
        if wanted is None or wanted not in self._rows:
            raise missing(checkpoint_id, _SOURCE)
        return checkpoint_of(self._rows[wanted], _SOURCE, self._parts.__getitem__, self._codecs)

    def list(self, run_id: Optional[str] = None) -> tuple[Checkpoint, ...]:
        """The checkpoints of one run, or of all, oldest first."""
        every = self._rows.values()
        found = (checkpoint_of(row, _SOURCE, self._parts.__getitem__, self._codecs) for row in every)
        return tuple(one for one in found if run_id in (None, one.run_id))

    def history(self, run_id: Optional[str] = None) -> tuple[Checkpoint, ...]:
        """What `list` gives, without the states."""
        every = (outline_of(row, _SOURCE) for row in self._rows.values())
        return tuple(one for one in every if run_id in (None, one.run_id))
