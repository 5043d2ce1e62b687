"""The worker of an external program: wired like any other, then it becomes the program (execve).

Laws: never a shell; SIGPIPE, SIGXFSZ and the mask are as a shell would leave them; of our descriptors the program
keeps only two above 2: the lifeline, by which the kernel ends it when the supervisor dies, and the write end of the
result pipe. Nobody writes into that one: its end tells that the program and all that it started have gone. A program
that cannot be started is reported like a node that fails to start, with the exit codes of a shell (126, 127).
"""

from __future__ import annotations

import os
import signal
from dataclasses import field
from typing import Mapping, Optional

from teastreams.core.endings import ErrorText, How
from teastreams.core.frames import Kind
from teastreams.core.merge import Update
from teastreams.core.policies import error_type_names
from teastreams.runtime import calls
from teastreams.runtime.fds import Fd, open_numbers
from teastreams.runtime.gauges import Phase
from teastreams.runtime.node.control import Control
from teastreams.runtime.node.ending import Report, error_text
from teastreams.runtime.node.worker import Line, Seat, enter, wire
from teastreams.values import dataclass

NOT_FOUND, NOT_EXECUTABLE = 127, 126


@dataclass(frozen=True)
class Program:
    """What to execute: every template is filled. `env` is added to the inherited environment, None removes a name."""

    argv: tuple[str, ...]
    env: Mapping[str, Optional[str]] = field(default_factory=dict)
    cwd: Optional[str] = None
    ok_exit_codes: frozenset[int] = frozenset((0,))

    def environment(self) -> dict[str, str]:
        """The environment of the program."""
        changed = {**os.environ, **self.env}
        return {name: value for name, value in changed.items() if value is not None}


def run_program(seat: Seat, program: Program) -> None:
    """Everything the worker of a program does up to its execve; never returns."""
    line = Line(seat.result)
    code = 1
    try:
        enter(seat)
        control = Control(seat.control, _no_update)
        wire(seat, control, line)
        calls.table.sigmask(signal.SIG_SETMASK, [])
        line.send(Kind.READY)
        control.wait_go()
        _become(seat, program)
    except (OSError, ValueError) as error:
        code = NOT_FOUND if _is_missing(program, error) else NOT_EXECUTABLE
        line.report(Report(How.RAISED, exit_code=code, error=_explained(program, error), phase="start"))
    except BaseException as error:  # nothing of ours may unwind into the caller's stack
        line.report(Report(How.RAISED, exit_code=code, error=error_text(error), phase="start"))
    finally:
        calls.table.exit(code)


def _no_update(_update: Update) -> None:
    """A program has no state to be brought up to date."""


def _become(seat: Seat, program: Program) -> None:
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and what is ignored survives execve
        calls.table.set_handler(number, signal.SIG_DFL)
    if program.cwd is not None:
        calls.table.chdir(program.cwd)
    _keep_only((seat.lifeline, seat.result))
    seat.gauge.phase = Phase.PROGRAM  # last of all: from now on an exit code is the program's
    calls.table.execvpe(program.argv[0], program.argv, program.environment())


def _keep_only(kept: tuple[Fd, ...]) -> None:
    numbers = {fd.number for fd in kept}
    for number in open_numbers():
        if number > 2:
            try:
                calls.table.set_inheritable(number, number in numbers)
            except OSError:  # the one that was open only while we looked
                continue


def _is_missing(program: Program, error: Exception) -> bool:
    """No such program; a folder that is none in PATH says ENOTDIR, a script whose interpreter is missing ENOENT."""
    name = program.argv[0]
    if "/" not in name:
        return isinstance(error, (FileNotFoundError, NotADirectoryError)) and not _is_about_cwd(program, error)
    return isinstance(error, FileNotFoundError) and error.filename == name and not calls.table.access(name, os.F_OK)


def _is_about_cwd(program: Program, error: Exception) -> bool:
    return program.cwd is not None and isinstance(error, OSError) and error.filename == program.cwd


def _explained(program: Program, error: Exception) -> ErrorText:
    """What could not be done, to which program, and what to do."""
    name = program.argv[0]
    reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
    if _is_about_cwd(program, error):
        text = f"its working directory {program.cwd!r} cannot be entered: {reason}; create it, or correct `cwd`"
    elif "/" in name and isinstance(error, FileNotFoundError) and calls.table.access(name, os.F_OK):
        text = f"the program {name!r} cannot be executed: its interpreter is missing; correct its first line"
    elif _is_missing(program, error):
        where = "" if "/" in name else " on PATH"
        text = f"there is no program {name!r}{where}; install it, or correct the first word of `command`"
    else:
        text = f"the program {name!r} cannot be executed: {reason}; check its permissions and arguments"
    return ErrorText(type(error).__name__, text, names=error_type_names(type(error)))
