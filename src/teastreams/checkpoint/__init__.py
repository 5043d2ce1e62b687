"""State between the steps of a run: checked JSON in SQLite, never a pickle."""

from teastreams.checkpoint.memory import MemoryCheckpointer
from teastreams.checkpoint.records import Checkpoint, Checkpointer
from teastreams.checkpoint.sqlite import SqliteCheckpointer
from teastreams.checkpoint.values import CheckpointError, Codec

__all__ = ["Checkpoint", "CheckpointError", "Checkpointer", "Codec", "MemoryCheckpointer", "SqliteCheckpointer"]
