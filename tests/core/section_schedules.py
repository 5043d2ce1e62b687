"""Seeded schedules of whole sections: trees of nodes, pipes, fan-outs, a supervisor; no process, no clock.

What is decided comes from `core`: the plan, the lifecycle table, the `Judge`, the arithmetic of `Fanout`. What would be
done is a fake: a pipe is a buffer with a size, a node a small machine that reads, writes, leaves early, fails, closes
its stdout, or does not care for the verdict. Who may step steps in an order drawn from the seed. Two questions are
kept apart: nothing wrong happened, and it ended (a state in which nobody can step while somebody lives is a deadlock).
As a program: `python tests/core/section_schedules.py COUNT [FIRST]`, spread over the cores.
"""

from __future__ import annotations

import os
import random
import sys
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Optional

from teastreams.core.endings import Ending, ErrorText, How, SinkEnd
from teastreams.core.fanout.arithmetic import Fanout, LogRead, Terms
from teastreams.core.graph import OVERFLOWS, Delivery, NodeStreamsConfig, StreamSettings
from teastreams.core.lifecycle import Action, Event, State, step
from teastreams.core.outcome import WELL, Judge, Status
from teastreams.core.plan import Channel, SectionPlan, plan_section

SEEDS = Path(__file__).with_name("section_seeds.txt")
DROPPING = ("drop_oldest", "drop_newest")
MANNERS = ("relay", "relay", "relay", "leave", "deaf", "close", "ignore", "fail")
MOST_STEPS = 400_000


@dataclass(frozen=True)
class Part:
    """What a node does: bytes to write on each descriptor, its manner, and the turn at which that shows."""

    name: str
    streams: NodeStreamsConfig
    writes: dict[int, int]
    manner: str
    turn: int
    block: int


@dataclass(frozen=True)
class Drawn:
    """All that a seed decides before the first step."""

    parts: tuple[Part, ...]
    pipes: dict[str, int]
    read_bytes: int


def drawn_from(dice: random.Random) -> Drawn:
    """A tree: every node but the first reads a channel of an earlier one."""
    count = dice.choice((2, 2, 3, 3, 4, 5, 6, 8, 12, 50 if dice.random() < 0.05 else 7))
    bad = dice.choice((0.0, 0.3, 1.0))
    free: list[str] = []
    drawn: list[tuple[str, dict[str, Any], Delivery]] = []
    for index in range(count):
        reads = dice.choice(free) if index else None
        delivery = Delivery(dice.choice((None, None, *OVERFLOWS)), dice.choice((None, 1, 7, 40)), dice.choice((1, 60)))
        mine = {stream: f"{stream[3]}{index}" for stream in dice.choice((("stdout",), ("stdout", "stderr")))}
        free += mine.values()
        drawn.append((f"n{index}", {"stdin": reads, **mine}, delivery if reads else Delivery()))
    taken = {streams["stdin"] for _name, streams, _delivery in drawn}
    parts = []
    for name, streams, delivery in drawn:
        kept = {key: value for key, value in streams.items() if key == "stdin" or value in taken}
        writes = {fd: dice.choice((0, 1, 10, 60)) for fd, key in ((1, "stdout"), (2, "stderr")) if key in kept}
        manner = dice.choice(MANNERS) if dice.random() < bad else "relay"
        config = NodeStreamsConfig(**kept, delivery=delivery)
        parts.append(Part(name, config, writes, manner, dice.choice((0, 1, 4)), dice.choice((1, 5, 30))))
    return Drawn(tuple(parts), {}, dice.choice((1, 8, 50)))


def byte_at(place: int) -> int:
    """Every byte depends on its place; a new line after each seventh."""
    return 10 if place % 7 == 6 else 33 + (place * 31 + place // 7) % 90


class Pipe:
    """A kernel pipe: so many bytes, and whether each end is held."""

    def __init__(self, size: int) -> None:
        self.size, self.data, self.writer, self.reader = size, bytearray(), True, True

    @property
    def room(self) -> int:
        return self.size - len(self.data)


@dataclass
class Node:
    """A node at work."""

    part: Part
    got: bytearray = field(default_factory=bytearray)
    written: dict[int, int] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)
    broken: set[int] = field(default_factory=set)
    turns: int = 0
    reading: bool = False
    at_eof: bool = False
    told: Optional[bool] = None  # the verdict that a read was answered with
    state: State = State.FORKED
    how: Optional[How] = None
    failed_itself: bool = False
    reported: bool = False
    exited: bool = False
    reaped: bool = False
    left: bool = False


class World:
    """The section with everything around it."""

    def __init__(self, seed: int, early_verdicts: bool = False, never_closes: bool = False) -> None:
        self.seed, self.dice = seed, random.Random(f"section {seed}")
        self.drawn = drawn_from(self.dice)
        members = [(part.name, part.streams) for part in self.drawn.parts]
        self.plan: SectionPlan = plan_section(members, StreamSettings(buffer_limit=50, spill_limit=200))
        self.judge = Judge(self.plan)
        self.pipes = {name: Pipe(self.dice.choice((1, 3, 16, 100))) for name in self.plan.pipes}
        self.nodes = {part.name: Node(part) for part in self.drawn.parts}
        for name, node in self.nodes.items():
            node.reading = name in self.plan.inputs and node.part.manner != "deaf"
            node.open = set(node.part.writes)
            node.written = dict.fromkeys(node.part.writes, 0)
        self.fanouts = {c.name: Relay(self, c) for c in self.plan.channels.values() if c.fanout}
        self.early_verdicts, self.never_closes = early_verdicts, never_closes
        # Whether a return counts from its report on, or from its exit as on the portable path: each seed has its way.
        self.by_report = random.Random(f"end {seed}").random() < 0.5
        self.verdicts: dict[str, bool] = {}  # sent, by reader
        self.trace: deque[str] = deque(maxlen=60)

    def note(self, what: str) -> None:
        self.trace.append(what)

    def story(self, what: str) -> str:
        steps = "\n  ".join(self.trace)
        parts = "\n".join(map(str, self.drawn.parts))
        return f"{what}\nseed {self.seed}, reads of {self.drawn.read_bytes}\n{parts}\n  {steps}"

    # -- the schedule ---------------------------------------------------------------------------------------

    def run(self) -> None:
        for node in self.nodes.values():
            self.meet(node, Event.SAID_READY)
        for node in self.nodes.values():
            self.meet(node, Event.GO)
        actors: list[Callable[[], bool]] = [self.actor(name) for name in self.nodes]
        actors += [relay.step for relay in self.fanouts.values()]
        for _ in range(MOST_STEPS):
            self.dice.shuffle(actors)
            if not any([actor() for actor in actors if self.dice.random() < 0.9]):  # noqa: C419 - all of them
                stepped = any([actor() for actor in actors])  # noqa: C419
                if not stepped:
                    break
        self.check_end()

    def actor(self, name: str) -> Callable[[], bool]:
        node = self.nodes[name]
        return lambda: self.step(name, node)

    def step(self, name: str, node: Node) -> bool:
        """One turn of a node; False when it can only wait."""
        if node.exited:
            return not node.reaped and self.reap(name, node)
        if node.how is not None:
            return self.leave(name, node)
        if node.part.manner == "fail" and node.turns >= node.part.turn:
            node.failed_itself = True
            return self.ends(name, node, How.RAISED)
        choices = [fd for fd in node.open if self.can_write(name, node, fd)]
        if node.reading and self.can_read(name, node):
            choices.append(0)
        if not choices:
            done = not node.reading and not node.open
            return done and self.ends(name, node, How.RETURNED)
        node.turns += 1
        fd = self.dice.choice(choices)
        return self.read(name, node) if fd == 0 else self.write(name, node, fd)

    def can_read(self, name: str, node: Node) -> bool:
        pipe = self.input(name)
        return bool(pipe.data) or (not pipe.writer and name in self.verdicts)

    def can_write(self, name: str, node: Node, fd: int) -> bool:
        pipe = self.output(name, fd)
        return pipe.room > 0 or not pipe.reader or node.written[fd] == node.part.writes[fd]

    def input(self, name: str) -> Pipe:
        channel = self.plan.channels[self.plan.inputs[name]]
        return self.pipes[channel.consumer(name).pipe]

    def output(self, name: str, fd: int) -> Pipe:
        wire = next(worker for worker in self.plan.workers if worker.name == name).wire(fd)
        assert wire is not None
        return self.pipes[wire.pipe]

    def read(self, name: str, node: Node) -> bool:
        pipe = self.input(name)
        if pipe.data:
            count = self.dice.randint(1, min(node.part.block, len(pipe.data)))
            node.got += pipe.data[:count]
            del pipe.data[:count]
            self.note(f"{name} reads {count}")
            if node.part.manner == "leave" and len(node.got) > node.part.turn:
                node.reading = False
            return True
        node.reading, node.at_eof, node.told = False, True, self.verdicts[name]
        self.note(f"{name} is told {node.told}")
        assert name in self.judge.verdicts, self.story(f"{name} is told before anybody can know")
        if not node.told and node.part.manner != "ignore":
            return self.ends(name, node, How.UPSTREAM)
        return True

    def write(self, name: str, node: Node, fd: int) -> bool:
        pipe = self.output(name, fd)
        left = node.part.writes[fd] - node.written[fd]
        if left and not pipe.reader:
            node.broken.add(fd)
            node.open.discard(fd)
            self.note(f"{name} writes {fd} to nobody")
            return True if len(node.part.writes) > 1 else self.ends(name, node, How.EPIPE)
        count = self.dice.randint(1, min(left, pipe.room, node.part.block)) if left else 0
        pipe.data += bytes(byte_at(node.written[fd] + each) for each in range(count))
        node.written[fd] += count
        if node.written[fd] == node.part.writes[fd]:
            node.open.discard(fd)
            if node.part.manner == "close":
                pipe.writer = False
                self.judge.closed.add((name, fd))
                self.note(f"{name} closes {fd}")
                self.settle()
        return True

    # -- ends -----------------------------------------------------------------------------------------------

    def ends(self, name: str, node: Node, how: How) -> bool:
        """It reports; its exit is a later step."""
        self.note(f"{name} {how.value}")
        for fd in node.part.writes:  # what the worker finds when it leaves: streams whose reader has gone
            if not self.output(name, fd).reader and (name, fd) not in self.judge.closed:
                node.broken.add(fd)
        node.how = how
        if self.left_early(name, node):
            self.judge.leaving.add(name)
        self.meet(node, Event.REPORTED)
        if how is How.RETURNED and self.by_report:  # its streams were flushed and given up before its last word
            node.left = self.left_early(name, node)
            for fd in node.part.writes:
                self.output(name, fd).writer = False
            self.enter_ending(name, node)
        self.settle()
        return True

    def left_early(self, name: str, node: Node) -> bool:
        """The worker's proof: there is still something in its pipe, or somebody still writes."""
        if name not in self.plan.inputs or node.at_eof:
            return False
        pipe = self.input(name)
        return bool(pipe.data) or pipe.writer

    def leave(self, name: str, node: Node) -> bool:
        if self.dice.random() < 0.3:
            return True  # it dawdles
        assert node.how is not None
        node.left = self.left_early(name, node) or name in self.judge.leaving
        for fd in node.part.writes:
            self.output(name, fd).writer = False
        if name in self.plan.inputs:
            self.input(name).reader = False
        node.exited = True
        self.note(f"{name} has exited")
        return True

    def reap(self, name: str, node: Node) -> bool:
        """The supervisor sees the exit when it gets to it: its readers may have found the pipe at its end by then."""
        if self.dice.random() < 0.3:
            return True
        assert node.how is not None
        node.reaped = True
        self.meet(node, Event.EXITED)
        self.meet(node, Event.DRAINED)
        self.enter_ending(name, node)
        self.note(f"{name} is reaped")
        self.settle()
        return True

    def enter_ending(self, name: str, node: Node) -> None:
        if name in self.judge.endings:
            return
        assert node.how is not None
        error = ErrorText("RuntimeError", "on purpose") if node.how is How.RAISED else None
        broken = frozenset(node.broken)
        told = node.told is not None
        ending = Ending(node.how, len(self.judge.endings), 0, error, left_early=node.left, told=told, broken=broken)
        self.judge.endings[name] = ending

    def meet(self, node: Node, event: Event) -> None:
        """The lifecycle table, which refuses what cannot happen."""
        node.state, actions = step(node.state, event)
        assert Action.KILL not in actions, self.story("killed without a reason")

    def settle(self) -> None:
        for name in self.judge.settle():
            self.verdicts[name] = self.judge.verdicts[name].well
            self.check_verdict(name)
        if self.early_verdicts:
            for name in self.plan.inputs:
                self.verdicts.setdefault(name, True)

    # -- the checker ----------------------------------------------------------------------------------------

    def check_verdict(self, name: str) -> None:
        """A good one comes when everything above has ended well, or closed that stream itself."""
        channel = self.plan.channels.get(self.plan.inputs.get(name, ""))
        if channel is None or not self.verdicts[name]:
            return
        vouched = (channel.producer, channel.fd) in self.judge.closed
        well = self.judge.statuses.get(channel.producer) in WELL
        assert vouched or well, self.story(f"{name} is told that all is well before {channel.producer} has ended so")

    def check_end(self) -> None:
        alive = [name for name, node in self.nodes.items() if not node.reaped]
        alive += [relay.name for relay in self.fanouts.values() if not relay.done]
        assert not alive, self.story(f"nobody can step, and {', '.join(alive)} live")
        self.judge.settle()
        missing = set(self.nodes) - set(self.judge.statuses)
        assert not missing, self.story(f"without a status: {sorted(missing)}")
        assert all(node.state is State.FINISHED for node in self.nodes.values()), self.story("a life is not finished")
        for name, node in self.nodes.items():
            if name in self.plan.inputs:
                self.check_bytes(name, node)
        self.check_blame()

    def check_bytes(self, name: str, node: Node) -> None:
        channel = self.plan.channels[self.plan.inputs[name]]
        whole = self.nodes[channel.producer].part.writes[channel.fd]
        consumer = channel.consumer(name)
        lost = self.fanouts[channel.name].dropped(name) if channel.fanout else 0
        if not (channel.fanout and consumer.overflow in DROPPING):
            expected = bytes(map(byte_at, range(len(node.got))))
            assert bytes(node.got) == expected, self.story(f"{name} got other bytes than were written")
        if node.at_eof and node.told:
            assert len(node.got) + lost == whole, self.story(f"{name} took {len(node.got)} of {whole} for all")

    def check_blame(self) -> None:
        blame, statuses = self.judge.blame(), self.judge.statuses
        culprits = {name for name, node in self.nodes.items() if node.failed_itself}
        overflowed = {relay.name for relay in self.fanouts.values() if relay.overflowed}
        if blame is None:
            guilty = culprits | overflowed
            assert not guilty, self.story(f"nobody is blamed for {guilty}")
            assert all(status in WELL for status in statuses.values()), self.story("a bad end without blame")
        else:
            assert blame.primary in culprits | overflowed, self.story(f"{blame.primary} is blamed without a cause")
        for name in culprits:
            assert statuses[name] in (Status.FAILED, Status.CONSEQUENCE), self.story(f"{name} failed unseen")


class Relay:
    """A fan-out worker: `Fanout` between its pipes, with a disk that never fails."""

    def __init__(self, world: World, channel: Channel) -> None:
        assert channel.fanout is not None
        self.world, self.channel, self.name = world, channel, channel.fanout
        terms = [Terms(each.overflow, each.buffer_limit) for each in channel.consumers]
        spill = min(each.spill_limit for each in channel.consumers)
        self.fanout = Fanout(terms, spill, world.drawn.read_bytes)
        self.source = world.pipes[channel.source]
        self.sinks = [world.pipes[each.pipe] for each in channel.consumers]
        self.disk: dict[int, int] = {}
        self.done = self.overflowed = False

    def step(self) -> bool:
        if self.done:
            return False
        moved = [self.serve(index) for index in list(self.fanout.live)]
        moved += [self.keep_log(), self.pull(), self.close_settled()]
        if not self.fanout.live:
            self.finish()
            return True
        return any(moved)

    def serve(self, index: int) -> bool:
        pipe = self.sinks[index]
        if not pipe.reader:
            self.fanout.leave(index)
            return True
        owed = self.fanout.owed(index)
        if isinstance(owed, LogRead):
            places = range(owed.offset, owed.offset + self.world.dice.randint(1, owed.length))
            self.fanout.fetched(index, bytes(self.disk[place] for place in places))
            return True
        if owed is None or not pipe.room:
            return False
        count = self.world.dice.randint(1, min(pipe.room, len(owed)))  # type: ignore[arg-type]
        pipe.data += bytes(owed[:count])  # type: ignore[index]
        self.fanout.wrote(index, count)
        return True

    def keep_log(self) -> bool:
        todo, moved = self.fanout.to_append(), False
        while todo is not None:
            offset, data = todo
            self.disk.update(zip(range(offset, offset + len(data)), bytes(data)))
            self.fanout.appended(len(data))
            todo, moved = self.fanout.to_append(), True
        return moved

    def pull(self) -> bool:
        want = self.fanout.demand()
        if self.fanout.ended or not want:
            return False
        if self.source.data:
            count = self.world.dice.randint(1, min(want, len(self.source.data)))
            data = bytes(self.source.data[:count])
            del self.source.data[:count]
            self.fanout.feed(data)
            return True
        if not self.source.writer:
            self.fanout.end()
            return True
        return False

    def close_settled(self) -> bool:
        if self.world.never_closes:
            return False
        settled = self.fanout.settled()
        for index, end in settled:
            self.sinks[index].writer = False
            self.overflowed = self.overflowed or end is SinkEnd.OVERFLOWED
            self.world.judge.sinks[self.channel.name, self.channel.consumers[index].node] = end
            self.world.note(f"{self.name}: {self.channel.consumers[index].node} is {end.value}")
        if settled:
            self.world.settle()
        return bool(settled)

    def finish(self) -> None:
        self.source.reader = False
        self.done = True
        self.world.judge.endings[self.name] = Ending(How.RETURNED, len(self.world.judge.endings), 0)
        self.world.note(f"{self.name} has exited")
        self.world.settle()

    def dropped(self, node: str) -> int:
        index = [each.node for each in self.channel.consumers].index(node)
        return self.fanout.counters(index).dropped_bytes


def simulate(seed: int, **broken: bool) -> World:
    """One schedule to its end; AssertionError with the story when a law is broken. `broken` breaks one on purpose."""
    world = World(seed, **broken)
    world.run()
    return world


def known_seeds() -> list[int]:
    """The seeds that ever failed."""
    lines = (line.split("#")[0].strip() for line in SEEDS.read_text(encoding="utf-8").splitlines())
    return [int(line) for line in lines if line]


def spread(one: Callable[[int], object], count: int, first: int, what: str) -> int:
    """`one` for so many seeds, over all cores; the exit code of the worst."""
    cores = os.cpu_count() or 1
    children = []
    for core in range(cores):
        pid = os.fork()
        if pid == 0:
            for seed in range(first + core, first + count, cores):
                one(seed)
            os._exit(0)
        children.append(pid)
    worst = max(os.waitpid(pid, 0)[1] for pid in children)
    sys.stdout.write(f"{count} schedules of {what} from seed {first}: {'all well' if not worst else 'see above'}\n")
    return int(bool(worst))


if __name__ == "__main__":
    sys.exit(spread(simulate, int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0, "sections"))
