"""Rounds through staging pipes: how long one waits for the slower, when it is worth its calls, how much is asked for.

    source ─ tee ─▶ private pipe of each member ─ splice ─▶ the member's pipe
       └──── the last member's copy is moved; or it is read into memory, for those who are behind

A *round* is a run of bytes that is duplicated in the kernel. Its *members* are those who had everything before it.
Who has not emptied its private pipe when the next round comes is no member of that: it goes on from memory, or from
the log, and is a member again once it has caught up. So that this stays rare, the source is held for a moment for
readers that make progress. Law: waiting ends by itself, and costs nothing for a reader that stands still. The clock is
the caller's; what is owed to whom is decided in `arithmetic`, this file only says when.
"""

from __future__ import annotations

from dataclasses import field
from typing import Mapping, Optional

from teastreams.values import dataclass

# With more runnable processes than cores, a reader is off the CPU for some milliseconds at a time.
STALL_SECONDS = 0.006
# A reader that is steadily slower must not make the pace for the quick ones, nor for a spill log that is faster.
MOST_SECONDS = 0.025
# Below this, one read and a write per reader cost less than the calls of a round; and small rounds would use up the
# slots of the readers' pipes, which hold a page or less each.
WORTH_BYTES = 32 * 1024
FIRST_ASK_BYTES = 64 * 1024


class Staged:
    """To do: move up to `length` bytes from this consumer's private pipe into its pipe, then say `Fanout.wrote`.

    Where that is impossible: read up to `Fanout.fetch_bytes` of them from there, and give them to `Fanout.unstaged`.
    No record: one is made for every reader in every round, and a frozen record takes four times as long to make.
    """

    __slots__ = ("length",)

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Staged) and other.length == self.length

    def __hash__(self) -> int:
        return hash(self.length)

    def __repr__(self) -> str:
        return f"Staged({self.length})"


def worth_staging(got_bytes: int, source_bytes: int) -> bool:
    """Does a source of that size, which gave `got_bytes` last time, have enough for a round?"""
    return got_bytes >= min(WORTH_BYTES, source_bytes)


@dataclass
class Patience:
    """How long the source is held before the next round. Seconds, on the caller's clock."""

    stall_seconds: float = STALL_SECONDS
    most_seconds: float = MOST_SECONDS
    _since: Optional[float] = None
    _seen: dict[int, tuple[int, float]] = field(default_factory=dict)

    def next_round(self) -> None:
        """A round has begun: the next one may be waited for anew."""
        self._since = None

    def seconds_left(self, now: float, behind: Mapping[int, int]) -> float:
        """How much longer to wait; 0 is not at all. `behind`: readers that lag, and how much each was given so far."""
        if not behind:
            return 0.0
        if self._since is None:
            self._since = now
        latest = 0.0
        for index, delivered in behind.items():
            seen = self._seen.get(index)
            if seen is None or seen[0] != delivered:
                seen = self._seen[index] = (delivered, now)
            latest = max(latest, seen[1] + self.stall_seconds)
        return max(0.0, min(latest, self._since + self.most_seconds) - now)


def next_ask(ask_bytes: int, got_bytes: int, most_bytes: int) -> int:
    """How much to ask a source for that gave `got_bytes` when asked for `ask_bytes`.

    `os.read` allocates what it is asked for, and glibc maps and unmaps fresh pages for each large block that comes
    back short: asking a pipe of 64 KiB for 1 MiB costs 40 % of the throughput with three consumers.
    """
    if got_bytes >= ask_bytes:
        return min(2 * ask_bytes, max(most_bytes, FIRST_ASK_BYTES))
    return max(ask_bytes // 2, FIRST_ASK_BYTES) if 2 * got_bytes <= ask_bytes else ask_bytes
