"""Facts about a machine -> findings: ok, note or problem, each in words, with what to do about it.

One small function per subject, in a table; each yields what it has to say. A *problem* is something that does not work;
`stops` marks those with which no stream can run. A *note* works, at less speed or with less room. Nothing is asked of
the system here.
"""

from __future__ import annotations

from enum import Enum
from typing import Callable, Iterator, Sequence

from teastreams.core.drawing.compose import size_text
from teastreams.core.graph import DEFAULT_BUFFER_BYTES, DEFAULT_SPILL_BYTES
from teastreams.core.machine.facts import Machine
from teastreams.values import dataclass

TESTED = ("linux", "darwin")
KNOWN_VARIABLES = {
    "TEASTREAMS_PORTABLE": "nothing that only Linux has is used",
    "TEASTREAMS_PIPE_SIZE": "every pipe of a channel is forced to this size",
}
FEW_NODES = 32
"""Room for fewer nodes than this is worth a word: a fan-out to many readers would not fit."""
FEWEST_NODES = 2


class Level(Enum):
    """How good it is."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """One line: what it is about, how good it is, what was found, what to do; `stops`: no stream can run."""

    subject: str
    level: Level
    text: str
    advice: str = ""
    stops: bool = False


def findings(machine: Machine) -> tuple[Finding, ...]:
    """Everything there is to say about a machine, in the order of `SUBJECTS`."""
    return tuple(found for look in SUBJECTS.values() for found in look(machine))


def streams_can_run(found: Sequence[Finding]) -> bool:
    """Is there nothing among the findings with which no stream can run?"""
    return not any(each.stops for each in found)


def _ok(subject: str, text: str) -> Finding:
    return Finding(subject, Level.OK, text)


def _note(subject: str, text: str, advice: str) -> Finding:
    return Finding(subject, Level.NOTE, text, advice)


def _platform(machine: Machine) -> Iterator[Finding]:
    text = f"{machine.platform}, Python {machine.python}"
    if machine.platform in TESTED:
        yield _ok("platform", text)
    else:
        yield _note("platform", f"{text}: not among the tested ones", "run the test suite here before you rely on it")


def _fork(machine: Machine) -> Iterator[Finding]:
    if not machine.fork_refused:
        yield _ok("fork", "a child was started and ended")
        return
    advice = "raise the limit of processes (ulimit -u) or the pids limit of the control group, or free memory"
    yield Finding("fork", Level.PROBLEM, f"no child can be started: {machine.fork_refused}", advice, stops=True)


def _pipe(machine: Machine) -> Iterator[Finding]:
    pipes = machine.pipes
    if not pipes.new_bytes:
        yield _ok("pipe size", "what the kernel gives; `buffer_size` has no effect")
    elif pipes.new_bytes < DEFAULT_BUFFER_BYTES:
        text = f"new pipes hold {size_text(pipes.new_bytes)}: the quota of this user is used up; streams run, slower"
        yield _note("pipe size", text, "end programs that hold many pipes, or raise fs.pipe-user-pages-soft (sysctl)")
    elif pipes.max_bytes and pipes.grown_bytes < pipes.max_bytes:
        text = f"{size_text(pipes.new_bytes)}, and cannot grow beyond {size_text(pipes.grown_bytes)} now"
        yield _note("pipe size", text, "end programs that hold large pipes, or raise fs.pipe-user-pages-soft (sysctl)")
    else:
        yield _ok("pipe size", f"{size_text(pipes.new_bytes)}, grows to {size_text(pipes.grown_bytes)}")


def _quota(machine: Machine) -> Iterator[Finding]:
    quota, size = machine.pipes.quota_bytes, machine.pipes.grown_bytes
    if not quota or not size:
        yield _ok("pipe quota", "none")
    else:
        yield _ok("pipe quota", f"{size_text(quota)} for all pipes of this user: {quota // size} of the largest size")


def _files(machine: Machine) -> Iterator[Finding]:
    files = machine.files
    if files.soft is None or files.nodes is None:
        yield _ok("open files", "no limit")
        return
    text = f"{files.soft}: room for about {max(0, files.nodes)} stream nodes at once"
    more = "as root" if files.hard == files.soft else f"ulimit -n {files.hard or 'unlimited'}"
    advice = f"raise the limit of open files ({more})"
    if files.nodes < FEWEST_NODES:
        yield Finding("open files", Level.PROBLEM, text, advice, stops=True)
    elif files.nodes < FEW_NODES:
        yield _note("open files", text, advice)
    else:
        yield _ok("open files", text)


def _processes(machine: Machine) -> Iterator[Finding]:
    limit, left = machine.processes.limit, machine.processes.group_left
    words = ["no limit for this user" if limit is None else f"{limit} for this user"]
    words += [] if left is None else [f"{max(0, left)} more in this control group"]
    room = min((number for number in (limit, left) if number is not None), default=FEW_NODES)
    advice = "raise ulimit -u, or the pids limit of the control group (docker run --pids-limit), or run fewer nodes"
    if left is not None and left < FEWEST_NODES:
        yield Finding("processes", Level.PROBLEM, ", ".join(words), advice, stops=True)
    elif room < FEW_NODES:
        yield _note("processes", ", ".join(words), advice)
    else:
        yield _ok("processes", ", ".join(words))


def _spill(machine: Machine) -> Iterator[Finding]:
    spill = machine.spill
    if spill.refused:
        text = f"{spill.directory} cannot be used: {spill.refused}; `overflow: spill` fails"
        yield Finding("spill", Level.PROBLEM, text, "set TMPDIR to a folder on a disk that you can write")
        return
    free = f"{spill.free_bytes / 1024**3:.1f}GiB free"
    if spill.in_memory:
        text = f"{spill.directory} lies in memory, {free}: what is spilled there takes the memory it should save"
        yield _note("spill", text, "set TMPDIR to a folder on a disk")
    elif spill.free_bytes < DEFAULT_SPILL_BYTES:
        advice = "free some room, set TMPDIR to another disk, or set a smaller `spill_limit`"
        text = f"{spill.directory}, {free}: less than one channel may spill ({size_text(DEFAULT_SPILL_BYTES)})"
        yield _note("spill", text, advice)
    else:
        yield _ok("spill", f"{spill.directory}, {free}")


def _exits(machine: Machine) -> Iterator[Finding]:
    words = {
        "pidfd": _ok("exits", "noticed at once (pidfd)"),
        "kqueue": _ok("exits", "looked at every 20 ms (kqueue)"),
    }
    advice = "nothing to do: a run ends at most 20 ms later; pidfd needs Linux 5.3 and no filter that forbids it"
    yield words.get(machine.exits, _note("exits", "looked at every 20 ms", advice))


def _lifeline(machine: Machine) -> Iterator[Finding]:
    if machine.lifeline_refused:
        text = f"the kernel refuses the signal that ends workers with their supervisor: {machine.lifeline_refused}"
        advice = "set TEASTREAMS_PORTABLE=1: a signal handler in each worker then does it"
        yield Finding("lifeline", Level.PROBLEM, text, advice, stops=True)
    elif machine.portable:
        text = "workers end with a killed supervisor by a signal handler of their own"
        yield _note("lifeline", text, "know that a node inside a long call of a C library ends when that returns")
    else:
        yield _ok("lifeline", "the kernel ends workers whose supervisor is killed")


def _splice(machine: Machine) -> Iterator[Finding]:
    text = "splice(2) is there" if machine.splice else "no splice(2) here"
    yield _ok("zero copy", f"{text}; fan-out workers copy by read and write in this version")


def _variables(machine: Machine) -> Iterator[Finding]:
    if not machine.variables:
        yield _ok("environment", "no TEASTREAMS variable is set")
    for name, value in machine.variables.items():
        meaning = KNOWN_VARIABLES.get(name, "this name means nothing")
        yield _note("environment", f"{name}={value}: {meaning}", f"unset {name} unless you want that")


def _libraries(machine: Machine) -> Iterator[Finding]:
    if machine.libraries:
        yield _ok("libraries", ", ".join(f"{name} {version}" for name, version in machine.libraries.items()))
    for extra, lacking in machine.extras.items():
        if lacking:
            advice = f"pip install 'teastreams[{extra}]' if you want it"
            yield _note("extras", f"{extra}: {', '.join(lacking)} not installed", advice)
        else:
            yield _ok("extras", f"{extra}: installed")


SUBJECTS: dict[str, Callable[[Machine], Iterator[Finding]]] = {
    "platform": _platform,
    "fork": _fork,
    "pipe size": _pipe,
    "pipe quota": _quota,
    "open files": _files,
    "processes": _processes,
    "spill": _spill,
    "exits": _exits,
    "lifeline": _lifeline,
    "zero copy": _splice,
    "environment": _variables,
    "libraries": _libraries,
}
