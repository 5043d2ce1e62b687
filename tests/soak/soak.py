"""Soak: random mixtures for a given time, and what must not grow meanwhile.

    python tests/soak/soak.py SECONDS [SEED]       from this seed on; without one, from the clock
    python tests/soak/soak.py --replay SEED        that attempt alone, as exactly as real processes allow

Each seed draws a section (`tests/faults/sections.py`: topology, policies, sizes, manners, misdeeds, pipe sizes, the
portable path), in a quarter of the attempts faults of the call table, in others a nemesis that stops and continues,
signals and kills processes from outside, the supervisor among them. Batch work with a checkpoint is mixed in. The
checker judges each; an ordinary second run follows in the same process. Prints the seed and the expanded plan of a
failure, a line per minute, and a summary; the exit code is 1 when anything was wrong.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterator

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent / "src"), str(HERE.parent / "scenarios"), str(HERE.parent / "faults")]

import harness  # noqa: E402
import plan as faultplan  # noqa: E402
import sections  # noqa: E402
import warm  # noqa: E402

import teastreams as ts  # noqa: E402

PATIENCE_SECONDS = 90.0
SIGNALS = {"stop": signal.SIGSTOP, "term": signal.SIGTERM, "kill": signal.SIGKILL, "int": signal.SIGINT}
# What a planted fault does once it fires. "stop" is the nemesis's: a process that stops itself is never continued.
ACTIONS = ("short", "short", "EIO", "EMFILE", "ENOMEM", "ENOSPC", "EAGAIN", "kill", "exit")
PAGE = faultplan.Page()
Write = Callable[[str], object]


@dataclass(frozen=True)
class Blow:
    """After so many seconds: a signal to the supervisor, or to the worker that `pick` falls upon."""

    seconds: float
    kind: str
    supervisor: bool
    pick: int


@dataclass(frozen=True)
class Mixture:
    """All that a seed decides."""

    section: sections.Plan
    faults: tuple[faultplan.Fault, ...]
    blows: tuple[Blow, ...]
    batch: str  # the strategy of an additional run with a checkpoint, or ""


def mixture_of(seed: int) -> Mixture:
    """Expand a seed."""
    dice = random.Random(f"soak {seed}")
    section = sections.plan_of(seed, most_nodes=dice.choice((4, 8, 20, 50)))
    faults = tuple(_faults(dice)) if dice.random() < 0.25 else ()
    blows = tuple(_blows(dice)) if dice.random() < 0.4 else ()
    return Mixture(section, faults, blows, dice.choice(("", "", "thread", "process")))


def _faults(dice: random.Random) -> Iterator[faultplan.Fault]:
    """Six sites, each of which is switched on with 25 %; at least one."""
    sites = [_site(dice) for _ in range(6)]
    yield from [site for site in sites if dice.random() < 0.25] or sites[:1]


def _site(dice: random.Random) -> faultplan.Fault:
    action = dice.choice(ACTIONS)
    call = dice.choice(faultplan.applicable(action))
    # No kernel says for ever that a pipe is ready and then that it is not: whoever asks again would ask for ever.
    ends = action in faultplan.ANYTHING or (action == "EAGAIN" and call != "fork")
    lasting = not ends and dice.random() < 0.25
    return faultplan.Fault(dice.choice(faultplan.ROLES), call, dice.choice((1, 2, 3, 8, 30)), action, lasting)


def _blows(dice: random.Random) -> Iterator[Blow]:
    """Mostly a swizzle of stops; in some, one deadly blow."""
    at = 0.0
    for _ in range(dice.choice((1, 3, 6))):
        at += dice.choice((0.0, 0.01, 0.05, 0.2))
        yield Blow(at, "stop", False, dice.randrange(1000))
    if dice.random() < 0.5:
        supervisor = dice.random() < 0.5
        kind = dice.choice(("int", "term", "kill") if supervisor else ("term", "kill"))
        yield Blow(at + dice.choice((0.0, 0.02, 0.1)), kind, supervisor, dice.randrange(1000))


# -- one attempt ------------------------------------------------------------------------------------------------


def attempt(mixture: Mixture, counts: Counter[str]) -> list[str]:
    """Run a mixture in a host of its own: the violations."""
    sections.BOARD.clear()
    PAGE.clear()
    with tempfile.TemporaryDirectory(prefix="teastreams-soak-") as folder:
        place = Path(folder)
        pid = os.fork()
        if pid == 0:
            warm._be_host(lambda: hosted(mixture, place), place)
        deadly, found = strike(pid, mixture.blows)
        _continue_all()  # stopped before its lifeline was armed, or with a handler for one, a worker dies when it runs
        found += warm._survivors(False)
        printed = (place / "stderr").read_text(errors="replace")
        told = (place / "told").read_text() if (place / "told").exists() else ""
    counts["with faults that fired"] += PAGE.fired
    counts["with deadly signals"] += bool(deadly)
    found += [f"the host printed: {printed[-6000:]}"] if printed else []
    return found + _judged(mixture, told, deadly, counts)


def hosted(mixture: Mixture, folder: Path) -> dict[str, Any]:
    """A Ctrl-C before the run, or after it, ends the host like any program."""
    try:
        return host(mixture, folder)
    except KeyboardInterrupt:
        if not any(each.kind == "int" for each in mixture.blows):
            raise
        return {"how": "KeyboardInterrupt"}


def host(mixture: Mixture, folder: Path) -> dict[str, Any]:
    """The section under its faults, a second run, and batch work with a checkpoint."""
    with ExitStack() as planted:
        for fault in mixture.faults:
            planted.enter_context(faultplan.planted(PAGE, fault))
        seen = sections.host(mixture.section, again=False)
    # A blow that comes when the section has ended falls upon the second run: then the third is the ordinary one.
    struck = any(each.kind != "stop" for each in mixture.blows)
    again = sections.second() or (struck and sections.second())
    seen["second"] = again and (not mixture.batch or struck or batch(mixture.batch, folder / "batch.db"))
    return seen


def batch(strategy: str, database: Path) -> bool:
    """Branches by this strategy, a pause, and a resumption from the checkpoint."""
    g = ts.StateGraph(parallel_config=ts.ParallelConfig(strategy=strategy))
    g.add_node("start", run=lambda state: {"x": 1})
    names = [f"branch{number}" for number in range(3)]
    for number, name in enumerate(names):
        g.add_node(name, run=lambda state, number=number: {"value": state["x"] + number})
    g.add_node("join", run=lambda parallel_results: {"sum": sum(each["value"] for each in parallel_results)})
    g.add_node("last", run=lambda state: {"last": state["sum"] + 1}, interrupt_before=True)
    g.add_parallel_edge("start", names, fan_in="join")
    app = g.add_edge("join", "last").set_entry_point("start").set_finish_point("last").compile()
    with suppress(BaseException):
        keeper = ts.SqliteCheckpointer(str(database))
        app.run(checkpointer=keeper)
        return bool(app.resume(keeper).state["last"] == 7)
    return False


def strike(pid: int, blows: tuple[Blow, ...]) -> tuple[str, list[str]]:
    """Wait for the host, with the blows at their times; which deadly one fell, and whether it hung."""
    started, todo, deadly = time.monotonic(), list(blows), ""
    let_go = max([each.seconds for each in blows], default=0.0) + 0.3
    found: list[str] = []
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        now = time.monotonic() - started
        if todo and now >= todo[0].seconds:
            deadly = _fall(todo.pop(0), pid) or deadly
        elif blows and not todo and now > let_go:
            _continue_all()
            let_go = float("inf")
        elif now > PATIENCE_SECONDS:
            found.append("it hung; its stacks are in what it printed")
            for each in warm.tagged():
                with suppress(ProcessLookupError):
                    os.kill(each, signal.SIGCONT)
                    os.kill(each, signal.SIGABRT)
            os.waitpid(pid, 0)
            break
        time.sleep(0.002)
    return deadly, found


def _fall(blow: Blow, host_pid: int) -> str:
    """Strike; says whom, if it may be deadly."""
    workers = sorted(set(warm.tagged()) - {host_pid})
    victim = host_pid if blow.supervisor else workers[blow.pick % len(workers)] if workers else 0
    if not victim:
        return ""
    with suppress(ProcessLookupError):
        os.kill(victim, SIGNALS[blow.kind])
    return "" if blow.kind == "stop" else "supervisor" if blow.supervisor else "worker"


def _continue_all() -> None:
    for each in warm.tagged():
        with suppress(ProcessLookupError):
            os.kill(each, signal.SIGCONT)


def _judged(mixture: Mixture, told: str, deadly: str, counts: Counter[str]) -> list[str]:
    died = deadly == "supervisor" or _fatal(mixture, "supervisor")
    if not told:
        counts["supervisor ended"] += died
        return [] if died else ["the host left no record"]
    seen = warm.json.loads(told)
    counts[seen["how"]] += 1
    if seen["how"] == "KeyboardInterrupt" and died:
        seen["how"] = "died"
    return sections.judge(mixture.section, seen, [], disturbed=bool(deadly) or PAGE.fired)


def _fatal(mixture: Mixture, role: str) -> bool:
    return PAGE.fired and any(each.role == role and each.action in faultplan.ANYTHING for each in mixture.faults)


# -- the whole --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Size:
    """What must not grow: kilobytes of memory, descriptors, entries of the temporary folder, threads."""

    memory: int
    descriptors: int
    entries: int
    threads: int

    @classmethod
    def now(cls) -> Size:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        entries = len(os.listdir(tempfile.gettempdir()))  # a folder of our own
        return cls(pages * 4, len(os.listdir("/proc/self/fd")), entries, threading.active_count())

    def grown(self, first: Size) -> list[str]:
        found = [f"memory grew from {first.memory} to {self.memory} KiB"] * (self.memory > first.memory + 20_000)
        found += [f"descriptors: {first.descriptors}, now {self.descriptors}"] * (self.descriptors != first.descriptors)
        found += [f"threads: {first.threads}, now {self.threads}"] * (self.threads != first.threads)
        found += [f"temporary entries: {first.entries}, now {self.entries}"] * (self.entries > first.entries)
        return found


def soak(seconds: float, seed: int, write: Write) -> int:
    """Mixtures until the time is over; how many were wrong."""
    write(f"from seed {seed}")
    if not sections.second():  # it also loads everything, so that a host does not begin with imports
        write("an ordinary run fails")
        return 1
    started = minute = time.monotonic()
    counts: Counter[str] = Counter()
    wrong, first, size = 0, None, None
    while time.monotonic() - started < seconds:
        wrong += bool(_tried(seed, counts, write))
        seed, counts["attempts"] = seed + 1, counts["attempts"] + 1
        size = Size.now()
        first = first or (size if counts["attempts"] == 20 else None)  # by then everything is loaded
        if time.monotonic() - minute >= 60:
            minute = time.monotonic()
            write(f"{minute - started:.0f} s: {_line(counts)}, {wrong} wrong; {size}")
    grown = size.grown(first) if size and first else []
    end = "; ".join(grown) or "no growth"
    write(f"soaked {time.monotonic() - started:.0f} s: {_line(counts)}, {wrong} wrong; {end}")
    return wrong + len(grown)


def _tried(seed: int, counts: Counter[str], write: Write) -> list[str]:
    mixture = mixture_of(seed)
    found = attempt(mixture, counts)
    if found:
        write(f"WRONG: seed {seed}\n" + "\n".join(found) + "\n" + told(mixture))
    return found


def told(mixture: Mixture) -> str:
    """The expanded plan."""
    return f"{sections.told(mixture.section)}\n  {mixture.faults}\n  {mixture.blows}\n  batch {mixture.batch!r}"


def _line(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.most_common())


def main(arguments: list[str]) -> int:
    """As the head of this file says."""

    def write(text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    if arguments[:1] == ["--replay"]:
        mixture = mixture_of(int(arguments[1]))
        found = attempt(mixture, Counter())
        write("\n".join([told(mixture), *(found or ["nothing wrong"])]))
        return bool(found)
    first = int(arguments[1]) if len(arguments) > 1 else int(time.time())
    return bool(soak(float(arguments[0]), first, write))


if __name__ == "__main__":
    if harness.TAG not in os.environ:
        # The tag is read from the environment that a process began with: begin again with one.
        with tempfile.TemporaryDirectory(prefix="teastreams-soak-") as own:
            environment = {**os.environ, harness.TAG: uuid.uuid4().hex, "TMPDIR": own}
            command = [sys.executable, "-X", "faulthandler", "-W", "error", *sys.argv]
            sys.exit(subprocess.run(command, env=environment, check=False).returncode)
    sys.exit(main(sys.argv[1:]))
