"""State between the steps of a run: checked JSON in SQLite, never a pickle. The keepers are loaded by who uses them."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from teastreams.checkpoint.protocol import Checkpoint, Checkpointer, CheckpointError

if TYPE_CHECKING:
    from teastreams.checkpoint.memory import MemoryCheckpointer
    from teastreams.checkpoint.sqlite import SqliteCheckpointer
    from teastreams.checkpoint.values import Codec

__all__ = ["Checkpoint", "CheckpointError", "Checkpointer", "Codec", "MemoryCheckpointer", "SqliteCheckpointer"]

_HOME_OF = {"Codec": "values", "MemoryCheckpointer": "memory", "SqliteCheckpointer": "sqlite"}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
