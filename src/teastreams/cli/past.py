"""The history of runs as a table for people and as JSON lines for programs.

One row for each checkpoint, oldest first; nothing of a state is read or shown. Decides nothing: what a row says was
written by the run.
"""

from __future__ import annotations

import json
from typing import Sequence

from teastreams.checkpoint import Checkpoint
from teastreams.cli.visible import columns, padded, visible
from teastreams.engine.reporting.quantities import size

HEADINGS = ("id", "run", "step", "where", "status", "time", "size", "from")


def as_table(history: Sequence[Checkpoint]) -> str:
    """Aligned columns; `from` is the checkpoint that a run was resumed or forked from."""
    rows = [HEADINGS, *(_row(one, before) for one, before in zip(history, (None, *history)))]
    shown = [tuple(map(visible, row)) for row in rows]
    widths = [max(map(columns, column)) for column in zip(*shown)]
    return "\n".join("  ".join(map(padded, row, widths)).rstrip() for row in shown)


def as_json_lines(history: Sequence[Checkpoint]) -> str:
    """One object for each checkpoint."""
    return "\n".join(json.dumps(_object(one)) for one in history)


def _row(one: Checkpoint, before: object) -> tuple[str, ...]:
    where = f"{one.when} {one.node}" if one.node else "start"
    follows = isinstance(before, Checkpoint) and before.checkpoint_id == one.parent and before.run_id == one.run_id
    moment = one.created_at.isoformat(" ", "seconds")[:19] if one.created_at is not None else "-"
    size_text, parent = size(one.size_bytes), "" if follows else one.parent
    return (one.checkpoint_id, one.run_id, str(one.step + 1), where, one.status, moment, size_text, parent)


def _object(one: Checkpoint) -> dict[str, object]:
    return {
        "id": one.checkpoint_id,
        "run": one.run_id,
        "step": one.step,
        "node": one.node,
        "when": one.when,
        "status": one.status,
        "time": one.created_at.isoformat() if one.created_at is not None else None,
        "size_bytes": one.size_bytes,
        "parent": one.parent,
        "workflow_hash": one.workflow_hash,
    }
