"""Every exception a user can catch, and the two values that travel inside them.

The class says whose fault it is: the declaration (`WorkflowError`), one node (`NodeError`), the run as a
whole (`WorkflowFailed`), something above in the stream (`UpstreamFailed`), this machine (`PlatformError`,
`LimitError`), or somebody outside (`Interrupted`). Every message has three parts: what happened, to whom,
what to do. All of them survive pickling. This file imports nothing of ours, so that every floor may use it.
"""

from __future__ import annotations

from typing import Any, Optional, Sequence

from teastreams.values import dataclass

__all__ = [
    "Interrupted",
    "LimitError",
    "NodeError",
    "PlatformError",
    "Position",
    "Problem",
    "RecordError",
    "TeaStreamsError",
    "UpstreamFailed",
    "WorkflowError",
    "WorkflowFailed",
]


UNIX_ONLY = "use parallel_strategy: thread instead, or run under WSL"
"""What to do where there is no fork and there are no such pipes."""


@dataclass(frozen=True)
class Position:
    """A place in a document: file name, line and column, both counted from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a workflow: what is wrong, the text to write instead, and where."""

    message: str
    fix: str = ""
    where: Optional[Position] = None

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}{self.message}{'; ' + self.fix if self.fix else ''}"


class TeaStreamsError(Exception):
    """The root of every error that teastreams raises by itself."""


class WorkflowError(TeaStreamsError, ValueError):
    """The declaration is wrong; `problems` lists every mistake at once, in the order of the document."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(tuple(problems))
        self.problems: tuple[Problem, ...] = tuple(problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class PlatformError(TeaStreamsError):
    """This platform cannot run stream workflows (Windows has no fork and no such pipes)."""


class LimitError(TeaStreamsError):
    """A limit of this machine or of the settings was reached; `need` and `have` say by how much."""

    def __init__(self, message: str, need: Optional[int] = None, have: Optional[int] = None) -> None:
        super().__init__(message, need, have)
        self.message, self.need, self.have = message, need, have

    def __str__(self) -> str:
        if self.need is None:
            return self.message
        return f"{self.message} (need {self.need}, have {self.have})"


class Interrupted(TeaStreamsError):
    """The run was stopped from outside by a signal; everything was ended in order first."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number

    def __str__(self) -> str:
        return f"the run was stopped by signal {self.signal_number}; every node was ended in order"


class UpstreamFailed(TeaStreamsError):
    """Raised by a node's own read of its stdin when something upstream of it failed (law L2).

    Without it a cut stream would look like a finished one: a pipe has the same end of file for both.
    `culprit` names the node or channel that failed, `reason` says how.
    """

    def __init__(self, culprit: str, reason: str) -> None:
        super().__init__(culprit, reason)
        self.culprit, self.reason = culprit, reason

    def __str__(self) -> str:
        return f"the input of this node is incomplete: {self.culprit!r} failed upstream ({self.reason})"


class NodeError(TeaStreamsError):
    """One node ended badly: which one, in which phase, how, and what it said last.

    `phase` is one of start, run, route, result, timeout, stall, upstream, overflow. `exit_code` is the worker's exit
    code, or the negative signal number; None where the node ran in the caller's process. `traceback` is text, with the
    lines of the YAML file for a `run:` block. `stderr_tail` holds the last lines the node wrote.
    `error_type_names` are the names of the exception's class and its bases.
    """

    def __init__(
        self,
        node: str,
        phase: str,
        message: str,
        *,
        error_type: str = "",
        exit_code: Optional[int] = None,
        traceback: str = "",
        stderr_tail: str = "",
        error_type_names: Sequence[str] = (),
    ) -> None:
        super().__init__(node, phase, message)
        self.node, self.phase, self.message = node, phase, message
        self.error_type, self.exit_code = error_type, exit_code
        self.traceback, self.stderr_tail = traceback, stderr_tail
        self.error_type_names: tuple[str, ...] = tuple(error_type_names)

    def __str__(self) -> str:
        kind = f"{self.error_type}: " if self.error_type else ""
        return f"node {self.node!r} failed ({self.phase}): {kind}{self.message}"


class WorkflowFailed(TeaStreamsError):
    """The run ended badly: `primary` is the cause, `collateral` what ended because of it (law L6).

    `exceptions` holds both, the cause first. `result` is the `RunResult` as far as the run came: its state
    is that before the step which failed.
    """

    def __init__(self, primary: NodeError, collateral: Sequence[NodeError] = (), result: Any = None) -> None:
        super().__init__(primary, tuple(collateral), result)
        self.primary = primary
        self.collateral: tuple[NodeError, ...] = tuple(collateral)
        self.result = result

    @property
    def exceptions(self) -> tuple[NodeError, ...]:
        """The cause, then its consequences in the order in which they were noticed."""
        return (self.primary, *self.collateral)

    def __str__(self) -> str:
        lines = [str(self.primary)]
        if self.primary.traceback:
            lines.append(self.primary.traceback.rstrip())
        if self.primary.stderr_tail:
            lines += [f"last lines of its stderr ({self.primary.node}):", self.primary.stderr_tail.rstrip()]
        if self.collateral:
            lines.append("also ended because of this:")
            lines += [f"  {error.node}: {error.message}" for error in self.collateral]
        return "\n".join(lines)


class RecordError(TeaStreamsError, ValueError):
    """A stream does not consist of the records that a node expects, or a record cannot be written as one.

    The text says which record, by its first byte's place in the stream, what is wrong with it, and what to do.
    """
