"""`teastreams run | resume | history | validate | graph | schema | doctor | bench`: from arguments to an exit code.

Each command imports what it needs: a run pays for nothing but running.

| exit | meaning |
|---|---|
| 0 | finished |
| 1 | a node failed |
| 2 | usage, or the workflow is invalid |
| 3 | paused at an interrupt (the resume command is printed) |
| 5 | timeout or stall |
| 75 | this machine cannot now: out of processes, descriptors, disk |
| 130, 143 | interrupted, terminated: after an ordered stop |
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import IO, Any, Callable, Optional, Sequence

from teastreams.checkpoint import Checkpointer, CheckpointError
from teastreams.cli import outlet, reporting
from teastreams.cli.arguments import UsageError, command_line, given_state
from teastreams.engine.app import CompiledGraph
from teastreams.engine.declaring.yaml_engine import YAMLEngine
from teastreams.engine.results import RunFinished, RunResult
from teastreams.errors import Interrupted, LimitError, PlatformError, WorkflowError, WorkflowFailed
from teastreams.services.secrets import SecretError

CLOSED = -1
"""In the place of a stream that the caller closed: what stands on its number now is not the caller's."""

FINISHED, FAILED, INVALID, PAUSED, LATE, NOT_NOW, INTERRUPTED, TERMINATED = 0, 1, 2, 3, 5, 75, 130, 143


class _Terminated(BaseException):
    """SIGTERM reached the command line itself; every node was ended before."""


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command line and return its exit code."""
    options = command_line(sys.argv[1:] if argv is None else argv)
    command = COMMANDS[options.command]
    options.closed = outlet.closed_streams()
    with outlet.stdout_aside() as stdout:
        return _guarded(lambda: command(options, stdout), options)


def _guarded(command: Any, options: argparse.Namespace) -> int:  # noqa: PLR0911  a table, as code
    """Every way in which a command can end, as an exit code and a word on stderr."""
    clock = _Clock(getattr(options, "timeout", None))
    try:
        with clock:
            return int(command())
    except WorkflowFailed as failed:
        outlet.say(f"teastreams: {failed}")
        return LATE if failed.primary.phase in ("timeout", "stall") else FAILED
    except (WorkflowError, UsageError, CheckpointError) as error:
        outlet.say(str(error))
        return INVALID
    except (LimitError, PlatformError, SecretError, outlet.CannotWrite) as error:
        outlet.say(f"teastreams: {error}")
        return NOT_NOW
    except KeyboardInterrupt:
        outlet.say("teastreams: interrupted; every node was ended in order")
        return INTERRUPTED
    except (_Terminated, Interrupted):
        if clock.rang:
            outlet.say(f"teastreams: timed out after {options.timeout:g} s; every node was ended in order")
            return LATE
        outlet.say("teastreams: terminated; every node was ended in order")
        return TERMINATED


def _validate(options: argparse.Namespace, stdout: IO[str]) -> int:
    graph = YAMLEngine().load_from_file(options.file)
    problems = graph.problems()
    if problems:
        raise WorkflowError(problems)
    outlet.write_result(f"{options.file}: valid, {len(graph.graph.nodes)} nodes", None, stdout)
    return FINISHED


def _graph(options: argparse.Namespace, stdout: IO[str]) -> int:
    graph = YAMLEngine().load_from_file(options.file)
    outlet.write_result(graph.draw(options.format), None, stdout)
    return FINISHED


def _schema(_options: argparse.Namespace, stdout: IO[str]) -> int:
    from teastreams.workflow.json_schema import json_schema

    outlet.write_result(json.dumps(json_schema(), indent=2), None, stdout)
    return FINISHED


def _doctor(options: argparse.Namespace, stdout: IO[str]) -> int:
    from teastreams.cli import doctor
    from teastreams.core.machine.findings import findings, streams_can_run
    from teastreams.engine.reporting.doctor import examined

    machine = examined()
    found = findings(machine)
    outlet.write_result(doctor.as_json(found, machine) if options.json else doctor.as_lines(found), None, stdout)
    return FINISHED if streams_can_run(found) else NOT_NOW


def _bench(options: argparse.Namespace, stdout: IO[str]) -> int:
    from teastreams.bench.command import bench

    reason = outlet.refused_path(options.svg)
    if reason:
        raise UsageError(f"--svg {options.svg} cannot be written: {reason}; name another file")
    shown = bench(options.size << 20, options.rounds, options.only, outlet.say)
    if options.svg is not None:
        outlet.write_result(shown.svg.rstrip("\n"), options.svg, stdout)
    outlet.write_result(shown.json if options.json else shown.table, None, stdout)
    return FINISHED


def _history(options: argparse.Namespace, stdout: IO[str]) -> int:
    from teastreams.cli import past

    found = _keeper(options.database).history(options.run)
    if options.run is not None and not found:
        raise UsageError(f"{options.database} holds no run {options.run!r}; leave --run out to see all runs")
    outlet.write_result((past.as_json_lines if options.json else past.as_table)(found), None, stdout)
    return FINISHED


def _keeper(path: str) -> Checkpointer:
    from teastreams.checkpoint.sqlite import SqliteCheckpointer  # only a run with checkpoints loads SQLite

    return SqliteCheckpointer(path)


def _run(options: argparse.Namespace, stdout: IO[str]) -> int:
    lent: dict[str, Any] = {"stdout": stdout, **dict.fromkeys(options.closed, CLOSED)}
    app = YAMLEngine().load_from_file(options.file).compile().with_streams(**lent)
    _refuse_shared_streams(app, options)
    state = given_state(options)
    keeper = _keeper(options.checkpoint) if options.checkpoint else None
    _refuse_lost_pauses(app, options)
    _refuse_lost_output(options)
    if options.command == "resume":
        if keeper is None:
            raise UsageError("resume needs --checkpoint DB, the file that the run was given")
        place = {"checkpoint_id": options.id, "fork": options.fork}
        begin = partial(app.resume_stream, keeper, state, echo_output=False, **place)
    else:
        begin = partial(app.stream, state, checkpointer=keeper, echo_output=False)
    options.live = not _shares_screen(app, options, stdout)
    return _finish(_watched(begin, options, stdout), options, stdout, app.binds("stdout"))


def _watched(begin: Any, options: argparse.Namespace, stdout: IO[str]) -> RunResult:
    """Walk the events to the last one, telling those who want to know; show the figures, however it ends."""
    log = outlet.EventLog(options.events, stdout)
    reporter = reporting.reporter(options.progress, options.quiet, os.environ, options.live)
    asked = [reporter.progress_seconds, log.progress_seconds, reporting.PLAIN_SECONDS if options.verbose else None]
    events = begin(progress_seconds=min((each for each in asked if each is not None), default=None))
    try:
        result = _walked(events, log, reporter)
    except BaseException as error:
        reporter.close()
        with suppress(outlet.CannotWrite):  # what ended the run is told, and goes before a full disk
            log.write(outlet.failure_of(error))
        if isinstance(error, WorkflowFailed) and isinstance(error.result, RunResult):
            _show_figures(error.result, reporter, options)
        raise
    finally:
        reporter.close()
        log.close()
    _show_figures(result, reporter, options)
    return result


def _walked(events: Any, log: outlet.EventLog, reporter: reporting.Reporter) -> RunResult:
    try:
        for event in events:
            log.write(event)
            reporter.show(event)
            if isinstance(event, RunFinished):
                return event.result
    finally:
        events.close()
    raise RuntimeError("a run ended without its last event")


def _show_figures(result: RunResult, reporter: reporting.Reporter, options: argparse.Namespace) -> None:
    if options.verbose or isinstance(reporter, reporting.Live):
        reporting.show_summary(result)


def _finish(result: RunResult, options: argparse.Namespace, stdout: IO[str], stdout_taken: bool) -> int:
    """`stdout_taken` by the bytes of a stream: the state would look like a part of them."""
    if result.pause is None:
        if options.output is not None or (options.events != "-" and not stdout_taken):
            outlet.write_result(outlet.state_as_json(result.state), options.output, stdout)
        return FINISHED
    outlet.say(f"paused {result.pause.when} {result.pause.node!r}, checkpoint {result.checkpoint_id}; go on with:")
    words = ["python", "-m", "teastreams", "resume", options.file, "--checkpoint", options.checkpoint]
    import shlex

    outlet.say(f"  {shlex.join([*words, '--from', str(result.checkpoint_id)])}")
    return PAUSED


def _refuse_lost_pauses(app: CompiledGraph, options: argparse.Namespace) -> None:
    pausing = [node.name for node in app.graph.nodes if node.interrupt_before or node.interrupt_after]
    if pausing and not options.checkpoint:
        raise UsageError(f"the run will pause at {pausing[0]!r} and could not be resumed; add --checkpoint DB")


def _refuse_shared_streams(app: CompiledGraph, options: argparse.Namespace) -> None:
    """A stream that a node is bound to is that node's alone."""
    if app.binds("stdin") and getattr(options, "input", None) == "-":
        raise UsageError("--input - and a node of this workflow both read stdin; give the state as --input @FILE")
    if app.binds("stdout") and options.events == "-":
        raise UsageError("--events - and a node of this workflow both write stdout; write --events FILE")


def _shares_screen(app: CompiledGraph, options: argparse.Namespace, stdout: IO[str]) -> bool:
    """Somebody else writes on the terminal while we run: what reads our stdout, or who types our stdin."""
    written = app.binds("stdout") or options.events == "-"
    return (written and outlet.may_reach_terminal(stdout)) or (app.binds("stdin") and os.isatty(0))


def _refuse_lost_output(options: argparse.Namespace) -> None:
    for option in ("output", "events"):
        path = getattr(options, option)
        reason = "" if option == "events" and path == "-" else outlet.refused_path(path)
        if reason:
            raise UsageError(f"--{option} {path} cannot be written: {reason}; name another file")


COMMANDS: dict[str, Callable[[argparse.Namespace, IO[str]], int]] = {
    "run": _run,
    "resume": _run,
    "validate": _validate,
    "graph": _graph,
    "schema": _schema,
    "doctor": _doctor,
    "bench": _bench,
    "history": _history,
}


class _Clock:
    """SIGTERM as an exception, and the whole run's time limit: when it rings it terminates us, in order."""

    def __init__(self, seconds: Optional[float]) -> None:
        self._seconds = seconds
        self.rang = False
        self._old: dict[int, Any] = {}

    def __enter__(self) -> _Clock:
        self._old[signal.SIGTERM] = signal.signal(signal.SIGTERM, self._terminate)
        if self._seconds is not None:
            self._old[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._ring)
            signal.setitimer(signal.ITIMER_REAL, self._seconds)
        return self

    def __exit__(self, *_exc: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _ring(self, _signal: int, _frame: Optional[FrameType]) -> None:
        self.rang = True
        signal.raise_signal(signal.SIGTERM)

    def _terminate(self, _signal: int, _frame: Optional[FrameType]) -> None:
        raise _Terminated
