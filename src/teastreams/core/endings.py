"""How workers come to their ends: the facts, as plain data, before anybody judges them.

The supervisor collects them, a fan-out worker reports its share of them, `core.outcome` draws the conclusions. A fact
decides nothing: an end by EPIPE can be a good one, a return can be tainted.
"""

from __future__ import annotations

from enum import Enum
from typing import Optional

from teastreams.values import dataclass


class How(Enum):
    """How a worker came to its end, before anybody judged it."""

    RETURNED = "returned"
    RAISED = "raised"
    EPIPE = "stopped: its reader left"
    UPSTREAM = "raised UpstreamFailed"
    SILENT = "ended without a report"
    STOPPED = "stopped by the supervisor"
    TIMED_OUT = "timed out"


@dataclass(frozen=True)
class ErrorText:
    """An exception as plain text: it survives where the object would not. `node` names the inner node of a branch,
    `names` the class and its bases, `phase` what was going on."""

    type: str
    message: str
    traceback: str = ""
    node: str = ""
    names: tuple[str, ...] = ()
    phase: str = "run"


@dataclass(frozen=True)
class Ending:
    """One worker's end as the supervisor saw it.

    `order` counts endings from 0. `left_early` is a proof by the worker that its stdin was not at its end when it
    finished, `told` that one of its reads was answered with the verdict. `broken` are the streams that it still held
    when their last reader had gone: a proof that these readers saw no end of file. `reason` says why we stopped it,
    when we did; `left_running` that a child of the node outlived it, `held` that the node's input stayed open, held by
    a stranger, after everybody upstream had ended.
    """

    how: How
    order: int
    exit_code: Optional[int] = None
    error: Optional[ErrorText] = None
    left_early: bool = False
    told: bool = False
    broken: frozenset[int] = frozenset()
    reason: str = ""
    left_running: bool = False
    held: bool = False


class SinkEnd(Enum):
    """How the fan-out worker finished with one consumer."""

    DELIVERED = "delivered"
    LEFT = "left"
    OVERFLOWED = "overflowed"
    CUT = "cut"
    HELD = "held"


SIGPIPE = 13
HELD_OPEN = "a process that it started kept its stream open after it had ended; wait for it, or give it another stdout"

_LET_IT_RETURN = "it left by os._exit, or took its result's descriptor away: let it return"
_CRASHED = "a crash in compiled code: run it with PYTHONFAULTHANDLER=1 to see where"
# The numbers that Linux and macOS share.
_SIGNALS = {
    1: " (SIGHUP)",
    2: " (SIGINT)",
    3: " (SIGQUIT)",
    4: f" (SIGILL), {_CRASHED}",
    5: " (SIGTRAP)",
    6: f" (SIGABRT), {_CRASHED}",
    8: f" (SIGFPE), {_CRASHED}",
    9: " (SIGKILL), perhaps out of memory: see the kernel's log, or let it hold less",
    11: f" (SIGSEGV), {_CRASHED}",
    13: " (SIGPIPE)",
    14: " (SIGALRM)",
    15: " (SIGTERM)",
    24: " (SIGXCPU), its limit of processor time (ulimit -t)",
    25: " (SIGXFSZ), its limit of file size (ulimit -f)",
}

SINK_REASONS = {
    SinkEnd.OVERFLOWED: (
        "the consumer fell behind by more than its buffer_limit and its overflow policy is fail; "
        "raise its buffer_limit, or choose block or spill"
    ),
    SinkEnd.CUT: "bytes on their way to this consumer were lost",
    SinkEnd.HELD: HELD_OPEN,
}


def describe(ending: Ending) -> str:
    """One phrase for how a worker ended."""
    if ending.left_running:
        return (
            "it returned, but a process that it started still ran and could hold its streams; wait for it, "
            "or give it another stdout"
        )
    if ending.how in (How.STOPPED, How.TIMED_OUT):
        return ending.reason or ending.how.value
    if ending.error is not None:
        return f"{ending.error.type}: {ending.error.message}"
    if ending.exit_code is not None and ending.exit_code < 0:
        return f"killed by signal {-ending.exit_code}{_SIGNALS.get(-ending.exit_code, '')}"
    if ending.how is How.SILENT:
        advice = f"; {_LET_IT_RETURN}" if ending.exit_code is not None else ""  # None: nobody knows how it left
        return f"ended without a result, exit code {ending.exit_code}{advice}"
    return f"exit code {ending.exit_code}" if ending.how is How.RAISED else ending.how.value
