"""Where the command line's words go: data to the real stdout, talk to stderr.

At start the real stdout is kept aside and descriptor 1 is pointed at stderr, so that whatever a plain node or a
library prints cannot mix with the result.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
import stat
import sys
import time
from contextlib import contextmanager, suppress
from enum import Enum
from typing import IO, Any, Callable, Iterator, Mapping, Optional

from teastreams.cli.visible import visible
from teastreams.core.events import Progress
from teastreams.core.security.trust import unsafe_to_write, without_links
from teastreams.errors import WorkflowFailed

ESCAPED = "backslashreplace"
"""Half a surrogate pair is no UTF-8; what Python writes for it instead is JSON's own escape of it."""

PROGRESS_SECONDS = 1.0
"""How often a log of events has `Progress`."""


class CannotWrite(Exception):
    """What was to be written could not be: the text says what, where and why."""


def closed_streams() -> tuple[str, ...]:
    """Which of stdin, stdout and stderr the caller gave us closed; asked before `stdout_aside` puts something there."""
    return tuple(name for fd, name in enumerate(("stdin", "stdout", "stderr")) if not _is_open(fd))


@contextmanager
def stdout_aside() -> Iterator[IO[str]]:
    """The real stdout as a file of our own; from now on descriptor 1 leads to stderr."""
    _open_missing()
    if sys.stdout is not None:
        sys.stdout.flush()
    real = os.dup(1)  # not inheritable: programs that nodes start cannot keep a reader of the result waiting
    os.dup2(2, 1)
    file = os.fdopen(real, "w", encoding="utf-8", errors=ESCAPED)
    try:
        yield file
    finally:
        with suppress(OSError):  # what could not be flushed has been told
            file.close()


def _open_missing() -> None:
    """A standard descriptor that the caller closed leads to /dev/null: else the next file of ours got its number."""
    for fd in (0, 1, 2):
        if not _is_open(fd):
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number: this one


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def state_as_json(state: Mapping[str, Any]) -> str:
    """The final state as one JSON object; what JSON does not know appears as its text, and stderr says so."""
    unknown: dict[str, None] = {}

    def as_text(value: Any) -> Any:
        if isinstance(value, Mapping):
            return dict(value)
        unknown[_kind(value)] = None
        return _text(value)

    text = json.dumps(_plain(dict(state), as_text), ensure_ascii=False, allow_nan=False, indent=2)
    if unknown:
        say(f"note: values of type {', '.join(unknown)} are no JSON and were written as text")
    return text


def _plain(value: Any, stranger: Callable[[Any], Any], above: tuple[int, ...] = ()) -> Any:
    """`value` in JSON's own types. What is none of them, or contains itself, is what `stranger` makes of it."""
    if value is None or isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if id(value) not in above:
        above = (*above, id(value))
        if isinstance(value, dict):
            return {_key(key, stranger): _plain(each, stranger, above) for key, each in value.items()}
        if isinstance(value, (list, tuple)):
            return [_plain(each, stranger, above) for each in value]
        return _plain(stranger(value), stranger, above)
    return _text(value)


def _key(key: Any, stranger: Callable[[Any], Any]) -> Any:
    """JSON's keys are texts; json.dumps writes numbers, True and None as such by itself."""
    known = key is None or isinstance(key, (str, int)) or (isinstance(key, float) and math.isfinite(key))
    return key if known else str(stranger(key))


def _kind(value: Any) -> str:
    return f"float ({value})" if isinstance(value, float) else type(value).__name__


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception as error:
        return f"<{type(value).__name__}, whose text cannot be had: {type(error).__name__}>"


def refused_path(path: Optional[str]) -> str:
    """Why nothing could be put at `path` at the end of a run, asked before it; "" when nothing speaks against it."""
    if path is None:
        return ""
    try:
        real = _real(path)
        folder = os.path.dirname(os.path.abspath(real))
        planted = _distrust(os.stat(real), folder) if os.path.exists(real) else ""
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    if planted or _is_special(path):
        return planted
    reasons = {
        "it is a folder": os.path.isdir(path),
        f"there is no folder {folder}": not os.path.isdir(folder),
        f"the folder {folder} cannot be written": not os.access(folder, os.W_OK | os.X_OK),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def write_result(text: str, path: Optional[str], stdout: IO[str]) -> None:
    """To `path`, whole or not at all, or to stdout. A reader of stdout that has left is no error.

    `/dev/stdout` and `/dev/stderr` are the caller's streams, as they stand: our descriptor 1 is not the caller's, and a
    file behind one of them is not to be replaced. CannotWrite when the disk is full, or the file cannot be made.
    """
    try:
        if path is None or path in ("/dev/stdout", "/dev/stderr"):
            file = sys.stderr if path == "/dev/stderr" else stdout
            file.write(shown(text, file) + "\n")
            file.flush()
        elif _is_special(path):
            with open(path, "w", encoding="utf-8", errors=ESCAPED, opener=_trusted) as device:
                device.write(text + "\n")
        else:
            _replace(_real(path), (text + "\n").encode("utf-8", ESCAPED))
    except BrokenPipeError:
        return
    except OSError as error:
        raise CannotWrite(f"the result cannot be written to {path or 'stdout'}: {error.strerror}") from error


def shown(text: str, file: IO[str]) -> str:
    """The text as it goes to a file; on a terminal nothing in it acts, which JSON alone leaves to half of them."""
    return "\n".join(map(visible, text.split("\n"))) if file.isatty() else text


def _is_special(path: str) -> bool:
    """A device or a FIFO is written to; to put a file in its place would be a disaster (/dev/null, as root)."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def _real(path: str) -> str:
    """Where the path leads; PermissionError by a link that another user may have planted.

    What is open has links in /proc that lead to no path (`/dev/stdout` does, for a pipe): then it is the path itself.
    """
    real = without_links(path, os.lstat, os.readlink, os.geteuid(), os.getcwd())
    return path if os.path.exists(path) and not os.path.lexists(real) else real


def _distrust(found: os.stat_result, folder: str) -> str:
    return unsafe_to_write(found, os.stat(folder), os.geteuid())


def _trusted(path: str, flags: int) -> int:
    """An opener for `open`: through no link of others, and what is not ours is not cut."""
    real = _real(path)
    no_link = 0 if real is path else os.O_NOFOLLOW
    fd = os.open(real, flags & ~os.O_TRUNC | no_link, 0o666)
    try:
        found = os.fstat(fd)
        reason = _distrust(found, os.path.dirname(os.path.abspath(real)))
        if reason:
            raise PermissionError(errno.EACCES, reason)
        if flags & os.O_TRUNC and stat.S_ISREG(found.st_mode):
            os.ftruncate(fd, 0)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _replace(target: str, data: bytes) -> None:
    """Written beside the target under another name first, so that nobody sees, or is left with, a part of it."""
    import tempfile  # 4 ms, and only --output FILE needs it

    folder, name = os.path.split(target)
    with tempfile.NamedTemporaryFile("wb", dir=folder, prefix=f".{name}.", delete=False) as file:
        try:
            file.write(data)
            file.flush()
            os.replace(file.name, target)
        except BaseException:
            os.unlink(file.name)
            raise


def may_reach_terminal(file: IO[str]) -> bool:
    """Could what is written there come up on a terminal? It is one, or a pipe to somebody of whom we know nothing."""
    mode = os.fstat(file.fileno()).st_mode
    return os.isatty(file.fileno()) or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def say(text: str) -> None:
    """One message to stderr. On a terminal nothing in it acts: an error may repeat what strangers wrote."""
    with suppress(OSError, ValueError, AttributeError):  # stderr may be full, closed, or None
        sys.stderr.write(shown(text, sys.stderr) + "\n")
        sys.stderr.flush()


@dataclasses.dataclass(frozen=True)
class RunFailed:
    """The last line of a log of events when the run did not come to its end.

    `kind` is failed (a node did), interrupted or terminated (a signal), or error; `message` says more. `node`, `phase`,
    `error_type` and `exit_code` are those of the cause, `collateral` names the nodes that ended because of it, `result`
    is the run as far as it came.
    """

    kind: str
    message: str
    node: str = ""
    phase: str = ""
    error_type: str = ""
    exit_code: Optional[int] = None
    collateral: tuple[str, ...] = ()
    result: Any = None


class EventLog:
    """Writes every event as one JSON line: `seq`, `time`, `type`, then its fields. A reader that has left is no error.

    `seq` counts from 1, `time` is wall clock in seconds since 1970; `Progress` is written at most once a second.
    """

    def __init__(self, path: Optional[str], stdout: IO[str], clock: Callable[[], float] = time.time) -> None:
        self._own = path not in (None, "-")
        self._file: Optional[IO[str]] = None
        self._clock, self._count = clock, 0
        self._progress_at = -PROGRESS_SECONDS
        self.progress_seconds = None if path is None else PROGRESS_SECONDS
        if path is not None:
            self._file = _opened(path) if self._own else stdout

    def write(self, event: Any) -> None:
        """Append one event; CannotWrite when the disk is full."""
        if self._file is None or self._is_too_soon(event):
            return
        self._count += 1
        head = {"seq": self._count, "time": round(self._clock(), 6), "type": type(event).__name__}
        line = json.dumps({**head, **_fields(event)}, ensure_ascii=False, allow_nan=False)
        try:
            self._file.write(shown(line, self._file) + "\n")
            self._file.flush()
        except BrokenPipeError:
            self.close()
        except OSError as error:
            raise CannotWrite(f"the events cannot be written: {error.strerror}") from error

    def _is_too_soon(self, event: Any) -> bool:
        """A view may look more often than a log should grow. An earlier second is another section's."""
        if not isinstance(event, Progress):
            return False
        # A tenth of patience: a timer that is a little early must not cost every second line.
        if 0 <= event.seconds - self._progress_at < 0.9 * PROGRESS_SECONDS:
            return True
        self._progress_at = event.seconds
        return False

    def close(self) -> None:
        """Close the file, unless it is stdout. Nothing is written after that."""
        file, self._file = self._file, None
        if file is not None and self._own:
            with suppress(OSError):  # every line was flushed, or its failure told
                file.close()


def failure_of(error: BaseException) -> RunFailed:
    """What ended a run before its end, as the last event of its log."""
    if isinstance(error, WorkflowFailed):
        cause = error.primary
        names = tuple(each.node for each in error.collateral)
        return RunFailed(
            "failed", cause.message, cause.node, cause.phase, cause.error_type, cause.exit_code, names, error.result
        )
    kind = "interrupted" if isinstance(error, KeyboardInterrupt) else "error" if isinstance(error, Exception) else ""
    return RunFailed(kind or "terminated", str(error))


def _opened(path: str) -> IO[str]:
    try:
        return open(path, "w", encoding="utf-8", errors=ESCAPED, opener=_trusted)
    except OSError as error:
        raise CannotWrite(f"the events cannot be written to {path}: {error.strerror}") from error


def _fields(value: Any) -> Any:
    fields = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    return _plain(fields, _as_fields)


def _as_fields(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.name.lower()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    return dict(value) if isinstance(value, Mapping) else _text(value)
