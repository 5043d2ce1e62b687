"""The command line's arguments: their syntax, and the state they give.

Nothing is run here. What cannot be used is a `UsageError`, or argparse's own message; both end with exit code 2.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, NoReturn, Sequence

from teastreams.cli.visible import visible
from teastreams.core.drawing import FORMATS

DESCRIPTION = "Run workflows whose nodes are real processes joined by real pipes."
EPILOG = (
    "exit codes: 0 finished, 1 a node failed, 2 usage or invalid workflow, 3 paused at an interrupt, "
    "5 timeout or stall, 75 this machine cannot now, 130 interrupted, 143 terminated"
)

MOST_SECONDS = 100_000_000
"""Three years. The kernel's timers take more, but not everything that a float can hold."""
MOST_CHARACTERS = 256 * 1024 * 1024
"""Of --input: as many as the default limit of what a node may return has bytes. `/dev/zero` has no end."""


MOST_COUNTED = 1_000_000
BENCHMARKS = ("direct", "broadcast-3", "broadcast-8", "text", "start")
"""Those of teastreams.bench.tasks, which is loaded by nobody who only reads arguments."""


class _Version(argparse.Action):
    """Looks the version up only when asked: reading package metadata costs more than parsing all the rest."""

    def __call__(self, *_arguments: Any, **_named: Any) -> None:
        try:
            from importlib import metadata  # 15 ms: e-mail, zip, sockets

            version = metadata.version("teastreams")
        except metadata.PackageNotFoundError:
            version = "unknown (not installed)"
        sys.stdout.write(f"teastreams {version}\n")
        sys.exit(0)


class UsageError(Exception):
    """An argument that cannot be used; the text says which and why."""


class _Parser(argparse.ArgumentParser):
    """Repeats an argument only as far as it cannot act on a terminal: a pattern of the shell may have found it."""

    def error(self, message: str) -> NoReturn:
        """The usage and `message` on stderr, then exit code 2."""
        super().error(visible(message))


def parser() -> argparse.ArgumentParser:
    """The whole syntax."""
    top = _Parser(prog="teastreams", description=DESCRIPTION, epilog=EPILOG)
    top.add_argument("--version", action=_Version, nargs=0, help="show the version and leave")
    # Without `prog` it is composed of the usage line, for which shutil measures the terminal: 4 ms.
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND", prog=top.prog)
    run = commands.add_parser("run", help="run a workflow and print its final state as JSON", epilog=EPILOG)
    _add_run_options(run)
    resume = commands.add_parser("resume", help="go on from a checkpoint", epilog=EPILOG)
    _add_run_options(resume)
    resume.add_argument("--from", "--id", dest="id", metavar="ID", help="the checkpoint to go on from (the newest one)")
    resume.add_argument("--fork", action="store_true", help="as a run of its own, with a new run id")
    validate = commands.add_parser("validate", help="check a workflow; nothing of it is executed")
    validate.add_argument("file", metavar="FILE")
    _add_looking(commands)
    return top


def _add_looking(commands: Any) -> None:
    """The commands that run nothing and show something."""
    history = commands.add_parser("history", help="list the checkpoints in a file, oldest first")
    history.add_argument("database", metavar="DB", help="the file that runs were given as --checkpoint")
    history.add_argument("--run", metavar="ID", help="those of one run only")
    history.add_argument("--json", action="store_true", help="as JSON lines")
    graph = commands.add_parser("graph", help="draw a workflow; nothing of it is executed")
    graph.add_argument("file", metavar="FILE")
    graph.add_argument("--format", choices=tuple(FORMATS), default="text", help="text unless given")
    commands.add_parser("schema", help="print a JSON Schema of workflow documents, for editors")
    doctor = commands.add_parser("doctor", help="say what this machine allows, and what to do about it", epilog=EPILOG)
    doctor.add_argument("--json", action="store_true", help="as one JSON object")
    _add_bench(commands)


def _add_bench(commands: Any) -> None:
    bench = commands.add_parser("bench", help="measure this machine, beside pipes and programs without teastreams")
    bench.add_argument("--json", action="store_true", help="as one JSON object, with every single time")
    bench.add_argument("--svg", metavar="FILE", help="draw the figures there, too")
    bench.add_argument("--size", metavar="MIB", type=_count, default=256, help="how much to send (256)")
    bench.add_argument("--rounds", metavar="N", type=_count, default=5, help="how often to measure each way (5)")
    bench.add_argument("--only", action="append", choices=BENCHMARKS, default=[], help="this comparison alone")


def _add_run_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", metavar="FILE", help="the workflow, a YAML file")
    command.add_argument("--input", metavar="JSON|@FILE|-", help="the state to start with, a JSON object")
    command.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="set one key of the state")
    command.add_argument("--output", metavar="FILE", help="write the final state there instead of stdout")
    command.add_argument("--events", metavar="FILE|-", help="write every event as a JSON line")
    command.add_argument("--checkpoint", metavar="DB", help="keep a checkpoint of each finished step in this file")
    command.add_argument("--timeout", metavar="SECONDS", type=_seconds, help="end the whole run after so many seconds")
    command.add_argument("--progress", choices=("auto", "plain", "off"), default="auto")
    command.add_argument("-q", "--quiet", action="store_true", help="no progress and no output of nodes")
    command.add_argument("-v", "--verbose", action="store_true", help="figures of nodes and channels at the end")


def given_state(options: argparse.Namespace) -> dict[str, Any]:
    """The state from --input and --set; `UsageError` when they give none."""
    state = _input(options.input) if options.input is not None else {}
    for pair in options.set:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {pair!r}: write it as KEY=VALUE")
        state[key] = _value(text)
    return state


def _input(text: str) -> dict[str, Any]:
    source = _read(text)
    try:
        state = json.loads(source)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--input is no JSON: {error}") from None
    if not isinstance(state, dict):
        raise UsageError(f"--input must be a JSON object, this is a {type(state).__name__}")
    return state


def _read(text: str) -> str:
    if text != "-" and not text.startswith("@"):
        return text
    try:
        # Not sys.stdin: its encoding is the terminal's, JSON is UTF-8; and it is None when the caller closed it.
        with open(0 if text == "-" else text[1:], encoding="utf-8", closefd=text != "-") as file:
            source = file.read(MOST_CHARACTERS + 1)
    except (OSError, ValueError) as error:  # a name with a null character, bytes that are no text
        raise UsageError(f"--input {text}: the file cannot be read: {error}") from None
    if len(source) > MOST_CHARACTERS:
        message = f"--input {text}: more than {MOST_CHARACTERS} characters"
        raise UsageError(f"{message}; let a node read large data from a file")
    return source


def _value(text: str) -> Any:
    """JSON where it is JSON, text where it is not: --set n=3 is a number, --set name=tea is a text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _count(text: str) -> int:
    """Of MiB, or of rounds: nobody waits for more than a million."""
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 8 else 0
    if not 0 < number <= MOST_COUNTED:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 to {MOST_COUNTED}")
    return number


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= MOST_SECONDS:
        raise argparse.ArgumentTypeError(f"must be a positive number of seconds, at most {MOST_SECONDS}, not {text!r}")
    return seconds


def command_line(argv: Sequence[str]) -> argparse.Namespace:
    """The parsed arguments; argparse ends the process with exit code 2 on misuse."""
    return parser().parse_args(argv)
