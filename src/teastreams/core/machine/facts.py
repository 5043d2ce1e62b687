"""What was found out about a machine, as numbers and names; nothing here says whether that is good.

`runtime.probing` fills it by trying what a run would do; `findings` judges it. None stands for "no limit" or "not
known", said at each field. Sizes in bytes.
"""

from __future__ import annotations

from dataclasses import field
from typing import Mapping, Optional

from teastreams.values import dataclass


@dataclass(frozen=True)
class Pipes:
    """A pipe that was made for a try: its size when new and the size it could be given (0: not known).

    `max_bytes` is the most for one pipe without root (None: not known), `quota_bytes` for all pipes of the user (0:
    none).
    """

    new_bytes: int = 65536
    grown_bytes: int = 1 << 20
    max_bytes: Optional[int] = 1 << 20
    quota_bytes: int = 64 << 20


@dataclass(frozen=True)
class Files:
    """The limits of open files (None: no limit), and how many stream nodes find room in the soft one."""

    soft: Optional[int] = 1024
    hard: Optional[int] = 4096
    nodes: Optional[int] = 90


@dataclass(frozen=True)
class Processes:
    """The user's limit of processes (None: no limit, or root), and what the control group still allows (None: all)."""

    limit: Optional[int] = None
    group_left: Optional[int] = None


@dataclass(frozen=True)
class Spill:
    """Where streams are spilled to: why not ("": it works), how much is free, and whether it lies in memory."""

    directory: str = "/tmp"  # noqa: S108  an example of the usual place; nothing is opened here
    refused: str = ""
    free_bytes: int = 1 << 40
    in_memory: bool = False


@dataclass(frozen=True)
class Machine:
    """One machine as a run would meet it.

    `fork_refused` and `lifeline_refused` say why a try failed ("": it worked). `exits` is how the end of a child is
    noticed: pidfd, kqueue or looking. `portable` says that only the portable path is used. `variables` are those of the
    environment that begin with TEASTREAMS_, with the values of those that we know; `libraries` are versions by name,
    `extras` what each optional extra lacks.
    """

    platform: str = "linux"
    python: str = "3.11.0"
    fork_refused: str = ""
    pipes: Pipes = Pipes()
    files: Files = Files()
    processes: Processes = Processes()
    spill: Spill = Spill()
    exits: str = "pidfd"
    lifeline_refused: str = ""
    splice: bool = True
    portable: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)
    libraries: Mapping[str, str] = field(default_factory=dict)
    extras: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
