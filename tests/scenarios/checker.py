"""The one checker: `check(history)` says which of the invariants a recorded attempt broke.

A history is plain data: what the host of an attempt wrote down, and what was seen of it from outside (`attempts`). The
invariants are I1 to I12; what a scenario does not record is not checked, and `recorded` says what that is.

| | holds when |
|---|---|
| I1 | a reader that ended well has every byte, any other a prefix |
| I2 | nobody downstream of a failure saw an end of file; no state of a failed section was merged |
| I3 | no process is left when the host has ended |
| I4 | the host has no child, and no zombie, after the run |
| I5 | the descriptors of the host are those from before |
| I6 | memory stayed within its bound |
| I7 | it ended within the time allowed |
| I8 | the first failure names the victim, in an error of ours |
| I9 | the caller's handlers, mask, directory, umask, standard objects and threads are as before; no file is left |
| I10 | an ordinary second run in the same process succeeded |
| I11 | nothing was printed, no traceback above all |
| I12 | no secret was seen |
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Optional

END_OF_FILE, UPSTREAM_FAILED = 1, 2


@dataclass(frozen=True)
class Reader:
    """What one consumer got: `end` is 0 while it reads or was cut, 1 at an end of file, 2 at UpstreamFailed."""

    name: str
    count: int
    wrong: bool
    end: int
    whole: int


@dataclass(frozen=True)
class History:
    """One attempt.

    `how` is "well", "failed" (WorkflowFailed), "limit" (LimitError), "died" (the host was the victim), "interrupted"
    (KeyboardInterrupt after a SIGINT of ours) or the name of any other exception. `victim` is the node at fault (or
    several, with commas), "" where a fault may stay invisible, `hard` whether the run
    cannot have ended well, `cut_upstream` whether a stream is known to have been cut, `outside` what was seen from
    outside of the host.
    """

    how: str = "well"
    cause: str = ""
    message: str = ""
    keys: tuple[str, ...] = ()
    readers: tuple[Reader, ...] = ()
    victim: str = ""
    hard: bool = False
    cut_upstream: bool = False
    untouched: str = ""
    second: bool = True
    seconds: float = 0.0
    limit_seconds: float = 10.0
    outside: tuple[str, ...] = ()
    memory_bytes: Optional[int] = None
    memory_limit_bytes: Optional[int] = None
    canaries: tuple[str, ...] = ()
    recorded: tuple[str, ...] = tuple(f"I{n}" for n in range(1, 13))


ERRORS_OF_OURS = ("failed", "limit", "well", "died", "interrupted")


def check(history: History) -> list[str]:
    """The violations, each beginning with its invariant, of those that were recorded."""
    found = (violation for invariant in INVARIANTS for violation in invariant(history))
    return [violation for violation in found if violation.partition(":")[0] in history.recorded]


def _bytes(history: History) -> Iterator[str]:
    for reader in history.readers:
        if reader.wrong:
            yield f"I1: {reader.name} read other bytes than were written"
        elif reader.count > reader.whole:
            yield f"I1: {reader.name} read {reader.count} bytes of {reader.whole}"
        elif reader.end == END_OF_FILE and reader.count != reader.whole and not history.cut_upstream:
            yield f"I1: {reader.name} took {reader.count} of {reader.whole} bytes for all of them"
        elif history.how == "well" and reader.end != END_OF_FILE:
            yield f"I1: the run ended well, and {reader.name} has read only {reader.count} bytes"


def _verdicts(history: History) -> Iterator[str]:
    if history.cut_upstream:
        for reader in history.readers:
            if reader.end == END_OF_FILE:
                yield f"I2: {reader.name} saw an end of file behind a failure"
    if history.how == "failed" and history.keys:
        yield f"I2: a failed section left state: {', '.join(history.keys)}"


def _outside(history: History) -> Iterator[str]:
    for each in history.outside:
        invariant = "I3" if "outlived" in each else "I7" if "hung" in each else "I11"
        yield f"{invariant}: {each}"


def _world(history: History) -> Iterator[str]:
    if history.untouched:
        invariant = "I4" if "child" in history.untouched else "I5" if "descriptors" in history.untouched else "I9"
        yield f"{invariant}: {history.untouched}"


def _time(history: History) -> Iterator[str]:
    if history.seconds > history.limit_seconds:
        yield f"I7: it took {history.seconds:.1f} s of {history.limit_seconds:.1f}"


def _memory(history: History) -> Iterator[str]:
    used, limit = history.memory_bytes, history.memory_limit_bytes
    if used is not None and limit is not None and used > limit:
        yield f"I6: it held {used} bytes, {limit} allowed"


def _blame(history: History) -> Iterator[str]:
    if history.how not in ERRORS_OF_OURS:
        yield f"I8: the caller got {history.how}: {history.message[:500]}"
    elif history.how == "failed" and history.victim and not _names(history.cause, history.victim):
        yield f"I8: {history.victim!r} is at fault, and {history.cause!r} is named: {history.message[:500]}"
    elif history.how in ("failed", "limit") and not history.message:
        yield "I8: the error says nothing"
    elif history.hard and history.how == "well":
        yield f"I8: {history.victim!r} was ended, and the run ended well"


def _names(cause: str, victim: str) -> bool:
    return bool(set(cause.split(", ")) & set(victim.split(", ")))


def _again(history: History) -> Iterator[str]:
    if not history.second and history.how != "died":
        yield f"I10: an ordinary second run did not succeed {history.message}"


def _secrets(history: History) -> Iterator[str]:
    for where in history.canaries:
        yield f"I12: a secret stands in {where}"


INVARIANTS = (_bytes, _verdicts, _outside, _world, _time, _memory, _blame, _again, _secrets)


def recorded_as(data: dict[str, Any]) -> History:
    """A history from its form as JSON."""
    readers = tuple(Reader(**each) for each in data.pop("readers", ()))
    lists = {key: tuple(value) for key, value in data.items() if isinstance(value, list)}
    return History(**{**data, **lists}, readers=readers)
