"""What can be said of an end: a node's status, the verdict that a reader is told, and who is to blame.

Words only. A status is what a node's end means, a verdict what the end of an input means; both are final once said.
Which of them holds is for `core.outcome` to find.
"""

from __future__ import annotations

from enum import Enum
from typing import Optional

from teastreams.values import dataclass


class Status(Enum):
    """What a node's end means."""

    DONE = "done"
    STOPPED = "stopped early, well"
    FAILED = "failed"
    CONSEQUENCE = "ended because another failed"
    TAINTED = "ended on an input that was cut"
    CANCELLED = "stopped by the supervisor"


WELL = frozenset({Status.DONE, Status.STOPPED})


@dataclass(frozen=True)
class Verdict:
    """What a consumer is told at the end of its input; `culprit` names who failed, `reason` how."""

    well: bool
    culprit: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Blame:
    """Who failed first, and who ended because of it; names of nodes or fan-out workers."""

    primary: str
    collateral: tuple[str, ...] = ()


ALL_WELL = Verdict(True)
NO_VOUCHER = "nobody can vouch for its input"

SEVERITY: dict[Optional[Status], int] = {
    Status.FAILED: 0,
    Status.TAINTED: 2,
    Status.CONSEQUENCE: 3,
    Status.CANCELLED: 4,
}
"""Causes before consequences; None is a fault that no status shows."""
