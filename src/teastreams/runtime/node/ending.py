"""How a node's code ended, as plain data: it travels where an exception object would not.

A report survives exceptions that cannot be pickled, printed or loaded, and is capped in size. It decides only the
kind of the end; what that means for others is `core.outcome`'s business.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from dataclasses import asdict, replace
from typing import Any, Mapping, Optional

from teastreams.core.endings import Ending, ErrorText, How
from teastreams.core.policies import error_type_names
from teastreams.errors import NodeError, UpstreamFailed
from teastreams.runtime.node.stdio import is_broken_pipe
from teastreams.runtime.secrecy import masked
from teastreams.values import dataclass

TEXT_LIMIT = 256 * 1024
MESSAGE_LIMIT = 16 * 1024
OUR_CODE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))


class BranchFailed(Exception):
    """Leaves a branch of several steps: `error` is that of the node in which it failed, and is told instead of this."""

    def __init__(self, error: NodeError) -> None:
        super().__init__(error)
        self.error = error


@dataclass(frozen=True)
class Report:
    """What a worker says about its own end. `phase` is run, start or result, or that of an error inside its branch."""

    how: How
    exit_code: int = 0
    error: Optional[ErrorText] = None
    left_early: bool = False
    told: bool = False
    held: bool = False
    broken: frozenset[int] = frozenset()
    left_running: bool = False
    phase: str = "run"

    def having(self, **changes: Any) -> Report:
        """The same report with some fields changed."""
        return Report(**{**vars(self), **changes})  # `replace` takes five times as long

    def as_dict(self) -> dict[str, Any]:
        """Plain data for the frame, and for every eye: nothing guarded leaves the worker in it."""
        data = {**vars(self), "how": self.how.value, "broken": sorted(self.broken)}
        if self.error is not None:
            safe = replace(self.error, message=masked(self.error.message), traceback=masked(self.error.traceback))
            data["error"] = asdict(safe)
        return data

    def ending(self, order: int, exit_code: Optional[int]) -> Ending:
        """The supervisor's view, with the exit code that the kernel gave."""
        return Ending(
            how=self.how,
            order=order,
            exit_code=self.exit_code if exit_code is None else exit_code,
            error=self.error,
            left_early=self.left_early,
            told=self.told,
            broken=self.broken,
            left_running=self.left_running,
            held=self.held,
        )


def dump_report(report: Report) -> bytes:
    """The report as it travels: JSON, because a pickle of a node that has gone astray would be code."""
    return _READY.get(report) or json.dumps(report.as_dict()).encode()


def load_report(data: bytes) -> Report:
    """The inverse; ValueError, KeyError or TypeError for bytes that are none."""
    return _READ.get(data) or report_from(json.loads(data))


def report_from(data: Mapping[str, Any]) -> Report:
    """The inverse of `as_dict`."""
    error = data["error"]
    return Report(
        **{
            **data,
            "how": How(data["how"]),
            "error": ErrorText(**{**error, "names": tuple(error["names"])}) if error else None,
            "broken": frozenset(data["broken"]),
        }
    )


# What nearly every node reports: written and read once, before the fork, and not for each.
_READ = {
    json.dumps(report.as_dict()).encode(): report
    for report in (Report(How.RETURNED), Report(How.RETURNED, told=True))
}
_READY = {report: data for data, report in _READ.items()}


def classify(error: Optional[BaseException], broken: frozenset[int]) -> Report:
    """The kind of end: returned, raised, stopped by EPIPE, or stopped by a failure upstream."""
    if error is None:
        return Report(How.RETURNED, broken=broken)
    try:
        return _classified(error, broken)
    except BaseException:  # it resists being looked at: whatever it pretends, the node ended by an error
        return Report(How.RAISED, exit_code=1, error=error_text(error), broken=broken)


def _classified(error: BaseException, broken: frozenset[int]) -> Report:
    if issubclass(type(error), SystemExit):  # isinstance would believe what its `__class__` says
        return _left_by_exit(error, broken)
    if _comes_from_upstream(error):
        return Report(How.UPSTREAM, exit_code=1, error=error_text(error), broken=broken)
    if is_broken_pipe(error) and broken:
        return Report(How.EPIPE, exit_code=0, broken=broken)
    phase = error.error.phase if isinstance(error, BranchFailed) else "run"
    return Report(How.RAISED, exit_code=1, error=error_text(error), broken=broken, phase=phase)


def _left_by_exit(error: BaseException, broken: frozenset[int]) -> Report:
    """sys.exit() and sys.exit(0) return; a number is an exit code without an error; a text is an error."""
    code = getattr(error, "code")  # noqa: B009 - a SystemExit has one
    code = 0 if code is None else code
    if isinstance(code, int):
        seen = code & 0xFF  # the system keeps no more of it
        return Report(How.RAISED if seen else How.RETURNED, exit_code=seen, broken=broken)
    return Report(How.RAISED, exit_code=1, error=ErrorText("SystemExit", masked(_safe_text(error))), broken=broken)


def _comes_from_upstream(error: BaseException) -> bool:
    seen: set[int] = set()
    at: Optional[BaseException] = error
    while at is not None and id(at) not in seen:
        if isinstance(at, UpstreamFailed):
            return True
        seen.add(id(at))
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)
    return False


def error_text(error: BaseException) -> ErrorText:
    """An exception as text, with the traceback from the user's first frame on; whatever it does when it is asked."""
    if issubclass(type(error), BranchFailed):
        inner: NodeError = vars(error)["error"]
        names = inner.error_type_names
        return ErrorText(inner.error_type, inner.message, inner.traceback, inner.node, names, inner.phase)
    message = masked(_safe_text(error))[:MESSAGE_LIMIT]
    names = tuple(map(masked, _type_names(error)))
    return ErrorText(masked(_type_name(error)), message, _traceback(error), names=names)


def _safe_text(error: BaseException) -> str:
    try:
        return "".join(str(error))  # a text of a class of the node's own would do what that class says
    except BaseException:
        return f"its message cannot be shown: {_type_name(error)}.__str__ raised"


def _type_name(error: BaseException) -> str:
    """The name of its class, which the class of the class cannot hide."""
    name: str = vars(type)["__name__"].__get__(type(error))
    return name


def _type_names(error: BaseException) -> tuple[str, ...]:
    try:
        return tuple("".join(name) for name in error_type_names(type(error)))
    except BaseException:
        return (_type_name(error),)


def _traceback(error: BaseException) -> str:
    try:
        lines = traceback.format_exception(type(error), error, _first_user_frame(error))
    except BaseException:
        return ""
    text = masked("".join(lines))
    return text if len(text) <= TEXT_LIMIT else text[: TEXT_LIMIT // 2] + "\n...\n" + text[-TEXT_LIMIT // 2 :]


def _first_user_frame(error: BaseException) -> Any:
    at = error.__traceback__
    while at is not None and at.tb_next is not None and at.tb_frame.f_code.co_filename.startswith(OUR_CODE):
        at = at.tb_next
    return at


def current_error_text() -> ErrorText:
    """The exception being handled, as text."""
    error = sys.exc_info()[1]
    return error_text(error) if error is not None else ErrorText("Exception", "")
