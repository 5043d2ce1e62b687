"""Random sections, run for real: trees of up to fifty nodes, several channels each, all policies, nodes that misbehave.

A seed is expanded into a plan (`plan_of`), plain data that can be printed; `graph_of` makes the workflow of it, `host`
runs it as the host of an attempt (see `warm`), `judge` compares what was seen with what the plan allows. What a node
writes does not depend on what it reads, so that every end of file can be held against a known size: whoever saw one
has everything, or what it lacks was counted as dropped.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Optional

import inside
import topologies
import warm
from checker import Reader, check, recorded_as

import teastreams as ts

RECORD_BYTES = 32
MOST_NODES = 50
LAST_TURN = 1_000_000
DROPPING = ("drop_oldest", "drop_newest")
POLICIES = ("block", "block", "block", "spill", "spill", "drop_oldest", "drop_newest", "fail")
# What ends a run badly: raises, leaves without a word, is killed, exits with a status.
MISDEEDS = ("raise", "vanish", "killed", "exit")
# What is odd and no failure: leaves with input unread, reads nothing, closes its stdout when it has written, does not
# care for the verdict, writes before it reads, reads before it writes, pauses.
MANNERS = ("relay", "relay", "relay", "leave", "deaf", "close", "ignore", "write first", "read first", "slow")
NOTHING, END_OF_FILE, UPSTREAM_FAILED, LEFT = 0, 1, 2, 3


@dataclass(frozen=True)
class Output:
    """A channel: written on `fd` by its node, `records` in all; `key` says what they look like."""

    channel: str
    fd: int
    records: int
    key: str


@dataclass(frozen=True)
class Member:
    """One node. `reads` is its channel, or ""; `after` counts the turns (of reading and writing) before a misdeed."""

    name: str
    reads: str
    outputs: tuple[Output, ...]
    manner: str
    misdeed: str = ""
    after: int = 0
    block_bytes: int = 4096
    leave_bytes: int = 0
    overflow: str = "block"
    limit_bytes: Optional[int] = None
    spill_bytes: Optional[int] = None
    program: bool = False


@dataclass(frozen=True)
class Plan:
    """All that a seed decides. `pipe_bytes` is forced on every pipe; None leaves the size to the library."""

    seed: int
    members: tuple[Member, ...]
    pipe_bytes: Optional[int]
    portable: bool

    def output(self, channel: str) -> Output:
        return next(each for member in self.members for each in member.outputs if each.channel == channel)

    def culprits(self) -> set[str]:
        """Whom a failure may be blamed on: who misbehaves, and the fan-out of a reader that must not fall behind."""
        found = {member.name for member in self.members if member.misdeed}
        return found | {f"fan-out of {member.reads!r}" for member in self.members if member.overflow == "fail"}

    def must_fail(self) -> bool:
        """A misdeed before the first byte cannot be forestalled by a reader that leaves; any other may be."""
        return any(member.misdeed and not member.after for member in self.members)


def plan_of(seed: int, most_nodes: int = MOST_NODES) -> Plan:
    """Expand a seed."""
    dice = random.Random(f"section {seed}")
    count = dice.choice((2, 3, 4, 6, 8, 12, 12, 20, most_nodes))
    members: list[Member] = []
    free: list[Output] = []
    taken: set[str] = set()
    bad = dice.choice((0.0, 0.0, 0.0, 0.05, 0.3))
    for index in range(min(count, most_nodes)):
        reads = dice.choice(free) if index else None
        name = "producer" if not index else f"other{index}"
        member = _member(dice, index, name, reads, last=index > count // 2, bad=bad)
        members.append(member)
        if reads is not None:
            taken.add(reads.channel)
        free.extend(member.outputs)
    members = [_without_unread(member, taken) for member in members]
    pipe = dice.choice((4096, 4096, 4096, 8192, 65536, None))
    return Plan(seed, tuple(members), pipe, portable=dice.random() < 0.3)


def _member(dice: random.Random, index: int, name: str, reads: Optional[Output], last: bool, bad: float) -> Member:
    fds = dice.choice(((1,), (1, 2), (2,), ())) if last else dice.choice(((1,), (1, 2)))
    fds = fds or (() if index else (1,))
    overflow = dice.choice(POLICIES) if reads else "block"
    limit = dice.choice((None, 1, 100, 4096, 20_000)) if reads else None
    if reads and limit is not None and reads.records > 50:
        limit = max(limit, 1000)  # a byte at a time is for short streams
    common = {
        "name": name,
        "reads": reads.channel if reads else "",
        "overflow": overflow,
        "limit_bytes": limit if overflow not in DROPPING else limit or 4096,
        "spill_bytes": dice.choice((None, 1, 10_000)) if overflow == "spill" else None,
    }
    if reads and overflow in ("block", "spill") and dice.random() < 0.08:
        copied = (Output(f"c{index}.1", 1, reads.records, reads.key),)
        return Member(outputs=copied, manner="program", program=True, **common)
    block = dice.choice((100, 1000, 4096, 50_000))
    most = 200 if block < 4096 else 3000
    lengths = [min(most, dice.choice((0, 1, 3, 50, 200, 1000, 3000))) for _ in fds]
    outputs = tuple(Output(f"c{index}.{fd}", fd, count, f"{index}.{fd}") for fd, count in zip(fds, lengths))
    misdeed = dice.choice(MISDEEDS) if dice.random() < bad else ""
    return Member(
        outputs=outputs,
        manner=dice.choice(MANNERS),
        misdeed=misdeed,
        after=dice.choice((0, 0, 1, 5, 30)),
        block_bytes=block,
        leave_bytes=dice.choice((0, 1, 5000)),
        **common,
    )


def _without_unread(member: Member, taken: set[str]) -> Member:
    """A channel nobody reads is an error of the document; a program whose copy nobody reads writes to its log."""
    return replace(member, outputs=tuple(each for each in member.outputs if each.channel in taken))


# -- the workflow -----------------------------------------------------------------------------------------------


BOARD = topologies.Board(MOST_NODES)


def record(key: str, number: int) -> bytes:
    """One line of 32 bytes, which says where it belongs."""
    return f"{key} {number:>20}".encode().rjust(RECORD_BYTES - 1, b".") + b"\n"


def graph_of(plan: Plan, **settings: Any) -> ts.CompiledGraph:
    """The workflow of a plan."""
    streams = ts.StreamSettings(grace_seconds=0.5, drain_seconds=0.5, **settings)
    g = ts.StateGraph(parallel_config=ts.ParallelConfig(strategy="process", streams=streams))
    for index, member in enumerate(plan.members):
        work = {"command": ["cat"]} if member.program else {"run": node(plan, index)}
        g.add_node(member.name, streams=_streams(member), **work)
    readers = Counter(member.reads for member in plan.members)
    above = {each.channel: member.name for member in plan.members for each in member.outputs}
    for member in plan.members[1:]:
        mode = "broadcast" if readers[member.reads] > 1 else "direct"
        g.add_edge(above[member.reads], member.name, stream_mode=mode)
    return g.set_entry_point(plan.members[0].name).compile()


def _streams(member: Member) -> dict[str, Any]:
    streams: dict[str, Any] = {("", "stdout", "stderr")[each.fd]: each.channel for each in member.outputs}
    if member.reads:
        wanted = {"overflow": member.overflow, "buffer_limit": member.limit_bytes, "spill_limit": member.spill_bytes}
        given = {key: value for key, value in wanted.items() if value is not None}
        streams["stdin"] = {"from": member.reads, **given}
    return streams


def node(plan: Plan, index: int) -> Any:
    """The code of one member: turns of reading and writing, as its manner has it."""
    member = plan.members[index]

    def work(state: dict[str, Any]) -> dict[str, Any]:
        turns = Turns(plan, index)
        turns.misbehave_at(0)
        for turn in range(1, LAST_TURN):
            reading, writing = turns.wants_to_read(), turns.wants_to_write()
            if not reading and not writing:
                break
            if writing and not (member.manner == "read first" and reading):
                turns.write()
            if reading and not (member.manner == "write first" and writing):
                turns.read()
            if member.manner == "slow" and turn < 50:
                time.sleep(0.001)
            turns.misbehave_at(turn)
        turns.misbehave_at(LAST_TURN)
        return {f"read {member.name}": turns.count}

    return work


class Turns:
    """A node at work: what it has read and written so far."""

    def __init__(self, plan: Plan, index: int) -> None:
        self.member, self.index = plan.members[index], index
        source = plan.output(self.member.reads) if self.member.reads else None
        self.source, self.count, self.wrong, self.rest, self.last = source, 0, False, b"", -1
        self.open = dict.fromkeys(self.member.outputs, 0)
        self.reading = source is not None and self.member.manner != "deaf"
        BOARD.note(index, 0, False, NOTHING if self.reading else LEFT)

    def misbehave_at(self, turn: int) -> None:
        if self.member.misdeed and turn in (self.member.after, LAST_TURN):
            misbehave(self.member.misdeed)

    def wants_to_read(self) -> bool:
        return self.reading

    def wants_to_write(self) -> bool:
        return bool(self.open)

    def read(self) -> None:
        try:
            block = sys.stdin.buffer.read1(self.member.block_bytes)
        except ts.UpstreamFailed:
            self._stop_reading(UPSTREAM_FAILED)
            if self.member.manner != "ignore":
                raise
            return
        self.count += len(block)
        self._compare(block)
        BOARD.note(self.index, self.count, self.wrong, NOTHING)
        if not block:
            self.wrong = self.wrong or bool(self.rest)
            self._stop_reading(END_OF_FILE)
        elif self.member.manner == "leave" and self.count >= self.member.leave_bytes:
            self._stop_reading(LEFT)

    def _stop_reading(self, end: int) -> None:
        self.reading = False
        BOARD.note(self.index, self.count, self.wrong, end)

    def _compare(self, block: bytes) -> None:
        """Every whole record is one of the stream's, behind the one before; the next one on a lossless channel."""
        assert self.source is not None
        data = self.rest + block
        whole = len(data) - len(data) % RECORD_BYTES
        for start in range(0, whole, RECORD_BYTES):
            line = data[start : start + RECORD_BYTES]
            number = int(line[-21:]) if line[-21:-1].strip().isdigit() else -1
            expected = number if self.member.overflow in DROPPING and number > self.last else self.last + 1
            self.wrong = self.wrong or line != record(self.source.key, expected)
            self.last = expected
        self.rest = data[whole:]

    def write(self) -> None:
        for output, written in list(self.open.items()):
            count = min(max(1, self.member.block_bytes // RECORD_BYTES), output.records - written)
            data = b"".join(record(output.key, written + each) for each in range(count))
            self.open[output] = written + count
            try:
                self._send(output, data, self.open[output] == output.records)
            except BrokenPipeError:
                del self.open[output]
                if len(self.member.outputs) == 1 and self.member.manner != "ignore":
                    raise
                continue
            if self.open[output] == output.records:
                del self.open[output]

    def _send(self, output: Output, data: bytes, last: bool) -> None:
        stream = sys.stdout if output.fd == 1 else sys.stderr
        stream.buffer.write(data)
        stream.buffer.flush()
        if last and self.member.manner == "close":
            stream.close()


def misbehave(how: str) -> None:
    """A node's end that is none."""
    if how == "raise":
        raise RuntimeError("on purpose")
    if how == "vanish":
        os._exit(0)
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.exit(3)


# -- one attempt ------------------------------------------------------------------------------------------------


def attempt(plan: Plan, patience_seconds: float = 60.0) -> list[str]:
    """Run the section of a plan in a host of its own: the violations."""
    warm.PATIENCE_SECONDS = patience_seconds
    BOARD.clear()
    with tempfile.TemporaryDirectory() as folder:
        outside, seen = warm.attempt(lambda: host(plan), Path(folder))
    return outside if seen is None else judge(plan, seen, outside)


def host(plan: Plan, again: bool = True) -> dict[str, Any]:
    """What the host of an attempt does: the run and, if wanted `again`, an ordinary second one."""
    for name, value in (("PIPE_SIZE", plan.pipe_bytes), ("PORTABLE", 1 if plan.portable else None)):
        os.environ.pop(f"TEASTREAMS_{name}", None)
        if value is not None:
            os.environ[f"TEASTREAMS_{name}"] = str(value)
    app = graph_of(plan)
    seen: dict[str, Any] = {"untouched": "", "dropped": {}}
    started = time.monotonic()
    try:
        with inside.untouched():
            seen.update(run(app))
    except AssertionError as changed:
        seen["untouched"] = str(changed)
    seen["seconds"] = time.monotonic() - started
    seen["second"] = again and second()
    return seen


def run(app: ts.CompiledGraph) -> dict[str, Any]:
    """How it ended, as plain data."""
    try:
        result = app.run(echo_output=False)
    except ts.WorkflowFailed as failed:
        return {
            "how": "failed",
            "cause": failed.primary.node,
            "message": str(failed),
            "keys": [str(key) for key in failed.result.state],
            **_figures(failed.result),
        }
    except ts.LimitError as error:
        return {"how": "limit", "message": str(error)}
    except BaseException as error:
        return {"how": type(error).__name__, "message": str(error)}
    return {"how": "well", **_figures(result)}


def _figures(result: ts.RunResult) -> dict[str, Any]:
    dropped = {
        name: each.dropped_bytes for channel in result.channels.values() for name, each in channel.consumers.items()
    }
    return {"dropped": dropped, "statuses": {name: each.status.name for name, each in result.nodes.items()}}


def second() -> bool:
    """An ordinary run in the same process."""
    with suppress(BaseException), inside.untouched():
        return bool(topologies.direct().run(echo_output=False).state["read1"] == topologies.SIZE)
    return False


def judge(plan: Plan, seen: dict[str, Any], outside: list[str], disturbed: bool = False) -> list[str]:
    """What the plan does not allow. Who is `disturbed` from outside may fail anywhere."""
    dropped, statuses = seen.pop("dropped", {}), seen.pop("statuses", {})
    history = recorded_as({**seen, "outside": outside, "limit_seconds": 60.0})
    found = check(history)
    found += [f"I1/I2: {each}" for each in _wrong_readers(plan, history.how, dropped, statuses)]
    if disturbed:
        return found
    missing = {member.name for member in plan.members} - set(statuses)
    if history.how in ("well", "failed") and missing:
        found.append(f"statuses are missing: {sorted(missing)}")
    culprits = plan.culprits()
    if history.how not in ("well", "failed"):
        found.append(f"it ended as {history.how}: {history.message}")
    elif history.how == "failed" and history.cause not in culprits:
        found.append(f"I8: {history.cause!r} is blamed, not one of {sorted(culprits)}: {history.message[:800]}")
    elif history.how == "well" and plan.must_fail():
        found.append("I8: a node failed before its first byte, and the run ended well")
    return found


def _wrong_readers(plan: Plan, how: str, dropped: dict[str, int], statuses: dict[str, str]) -> list[str]:
    found = []
    for index, member in enumerate(plan.members):
        if not member.reads or member.program:
            continue
        reader = Reader(member.name, *BOARD.seen(index), plan.output(member.reads).records * RECORD_BYTES)
        lost = dropped.get(member.name, 0)
        if how not in ("well", "failed") and member.overflow in DROPPING:
            lost = reader.whole - reader.count  # an interrupted caller is told no figures
        if reader.wrong:
            found.append(f"{reader.name} read other bytes than were written")
        if reader.end == END_OF_FILE and reader.count + lost != reader.whole:
            found.append(f"{reader.name} took {reader.count} of {reader.whole} bytes for all ({lost} dropped)")
        if how == "well" and reader.end in (NOTHING, UPSTREAM_FAILED) and statuses.get(reader.name) != "STOPPED":
            found.append(f"all ended well, and {reader.name} has read {reader.count} of {reader.whole} bytes")
    return found


def told(plan: Plan) -> str:
    """The expanded plan, a member a line."""
    lines = [f"  {asdict(member)}" for member in plan.members]
    head = f"seed {plan.seed}, {len(plan.members)} nodes, pipes of {plan.pipe_bytes}, portable {plan.portable}"
    return "\n".join([head, *lines])


def main(arguments: list[str]) -> None:
    """Try the seeds from the first argument up to the second (not included); tells how many, and what was wrong."""
    first, end = map(int, arguments)
    wrong = []
    for seed in range(first, end):
        plan = plan_of(seed)
        found = attempt(plan)
        if found:
            wrong.append("\n".join([*found, told(plan)]))
        if len(wrong) > 2:
            break
    inside.tell(wrong=wrong, attempts=seed + 1 - first)
