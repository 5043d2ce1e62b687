"""What one run writes down between its steps: a checkpoint for each step that finished, as a chain.

A step is finished when its checkpoint is durable; so a run that is killed goes on behind the last one, and no finished
step is run again. The first checkpoint stands before every step, or where a resume begins, with what it was given; the
last one says how the run ended. Without a checkpointer only a pause is written, to memory. Decides nothing about the
way through the graph.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any, Mapping, Optional

from teastreams.checkpoint import Checkpoint, Checkpointer, CheckpointError


class Journal:
    """The chain of checkpoints of one run, from `place` on."""

    def __init__(self, checkpointer: Optional[Checkpointer], place: Checkpoint) -> None:
        self._checkpointer, self._last = checkpointer, place

    @property
    def keeps(self) -> bool:
        """Is anything written but a pause?"""
        return self._checkpointer is not None

    def begin(self, state: Mapping[str, Any], at_end: bool) -> None:
        """Write where the run begins, with the state that it begins with; `at_end`: no step is left to run."""
        self._keep(replace(self._last, state=state, status="finished" if at_end else "running"))

    def finished(self, index: int, node: str, state: Mapping[str, Any], at_end: bool) -> None:
        """Write that a step finished, and whether it was the last one."""
        status = "finished" if at_end else "running"
        self._keep(replace(self._last, step=index, node=node, when="after", state=state, status=status))

    def paused(self, index: int, node: str, when: str, state: Mapping[str, Any]) -> str:
        """Write that the run pauses there, and return the checkpoint's id."""
        if self._checkpointer is None:
            from teastreams.checkpoint.memory import MemoryCheckpointer

            self._checkpointer = MemoryCheckpointer()
        self._keep(replace(self._last, step=index, node=node, when=when, state=state, status="paused"))
        return self._last.checkpoint_id

    def failed(self, index: int, node: str) -> None:
        """Write that a step failed: with the state of the checkpoint before it, whatever the step did to it since.

        What cannot be written is not told: the failure of the step is the news.
        """
        if self._checkpointer is None:
            return
        with suppress(CheckpointError):
            before = self._checkpointer.load(self._last.checkpoint_id)
            self._keep(replace(before, step=index, node=node, when="before", status="failed"))

    def undecided(self, index: int, node: str, state: Mapping[str, Any]) -> None:
        """Write that a step finished, and that no way on from it was found."""
        with suppress(CheckpointError):
            self._keep(replace(self._last, step=index, node=node, when="after", state=state, status="failed"))

    def _keep(self, record: Checkpoint) -> None:
        if self._checkpointer is None:
            return
        record = replace(record, parent=self._last.checkpoint_id, checkpoint_id="", created_at=None)
        self._last = replace(record, checkpoint_id=self._checkpointer.save(record))
