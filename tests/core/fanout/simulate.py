"""Seeded schedules for the broadcast arithmetic: a fake source, fake pipes, a fake disk, and one checker.

The same seed is played on both paths: by memory alone, and with rounds through private pipes (`staging`), whose own
faults (calls that are refused, or do less than they were asked) come from dice of their own.
Everything is derived from one seed; a failure shows the seed, all that was derived from it, and the last steps.
A seed that ever failed stays in `seeds.txt`. As a program it tries many: `python tests/core/fanout/simulate.py 50000`.
Two questions are kept apart: nothing wrong happened (after every step), and it ended (at the last).
"""

from __future__ import annotations

import random
import sys
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from teastreams.core.endings import SinkEnd
from teastreams.core.fanout.arithmetic import LEAST_FETCH_BYTES, Fanout, LogRead, Terms
from teastreams.core.fanout.staging import Staged
from teastreams.core.graph import OVERFLOWS

SEEDS = Path(__file__).with_name("seeds.txt")
DROPPING = ("drop_oldest", "drop_newest")


@dataclass(frozen=True)
class Plan:
    """All that a seed decides before the first step. Sizes in bytes; a chance is per step."""

    terms: tuple[Terms, ...]
    total: int
    read_bytes: int
    spill_limit: int
    pipes: tuple[int, ...]
    slowness: tuple[float, ...]
    leave_chance: float
    append_error_chance: float
    fetch_error_chance: float
    short_append_chance: float
    record_bytes: int


def plan_of(dice: random.Random) -> Plan:
    count = dice.choice((1, 2, 2, 3, 3, 4, 8))
    favourite = dice.choice((None, None, *OVERFLOWS))
    terms = tuple(Terms(favourite or dice.choice(OVERFLOWS), dice.choice((1, 2, 7, 20, 64, 200))) for _ in range(count))
    return Plan(
        terms=terms,
        total=dice.choice((0, 1, 50, 200, 500)),
        read_bytes=dice.choice((1, 8, 50, 300)),
        spill_limit=dice.choice((0, 10, 150, 10_000)),
        pipes=tuple(dice.choice((1, 5, 40, 1000)) for _ in range(count)),
        slowness=tuple(dice.choice((0.0, 0.3, 0.9, 0.99)) for _ in range(count)),
        leave_chance=dice.choice((0.0, 0.0, 0.002, 0.02)),
        append_error_chance=dice.choice((0.0, 0.0, 0.05, 1.0)),
        fetch_error_chance=dice.choice((0.0, 0.0, 0.1)),
        short_append_chance=dice.choice((0.0, 0.5)),
        record_bytes=dice.choice((1, 5, 30, 120)),
    )


def stream_of(dice: random.Random, plan: Plan) -> bytes:
    """`total` bytes in which every byte depends on its place: loss, doubling and swapping all show."""
    cut = 1 / plan.record_bytes
    return bytes(10 if dice.random() < cut else 33 + (place * 31 + place // 7) % 90 for place in range(plan.total))


@dataclass(frozen=True)
class Faults:
    """How often rounds go through private pipes, and how often something about that goes wrong; all per call."""

    round_chance: float = 0.0
    short_chance: float = 0.0
    refuse_chance: float = 0.0
    read_back_chance: float = 0.0


def faults_of(dice: random.Random) -> Faults:
    return Faults(
        round_chance=dice.choice((0.1, 0.5, 0.9, 1.0)),
        short_chance=dice.choice((0.0, 0.0, 0.1, 0.5)),
        refuse_chance=dice.choice((0.0, 0.0, 0.1)),
        read_back_chance=dice.choice((0.0, 0.0, 0.1, 1.0)),
    )


@dataclass
class World:
    """The fan-out under test with everything around it."""

    seed: int
    dice: random.Random
    plan: Plan
    stream: bytes
    fanout: Fanout
    trace: deque[str] = field(default_factory=lambda: deque(maxlen=60))
    disk: dict[int, int] = field(default_factory=dict)
    appended_once: int = 0
    read: int = 0
    calm: bool = False  # towards the end everybody reads and nothing fails: does it come to an end?
    faults: Faults = Faults()
    rounds: int = 0
    by_pipes_alone: int = 0
    straight: int = 0

    def __post_init__(self) -> None:
        count = len(self.plan.terms)
        self.chance = random.Random(f"staging {self.seed}")
        self.staging = [bytearray() for _ in range(count)]
        self.pipes = [bytearray() for _ in range(count)]
        self.received = [bytearray() for _ in range(count)]
        self.ends: dict[int, SinkEnd] = {}

    # -- steps ----------------------------------------------------------------------------------------------

    def round(self) -> None:
        for index in list(self.fanout.live):
            if not self.calm and self.dice.random() < self.plan.leave_chance:
                self.note(f"{index} leaves")
                self.fanout.leave(index)
            elif self.calm or self.dice.random() >= self.plan.slowness[index]:
                self.drain(index)
        for index in list(self.fanout.live):
            self.write(index)
        self.keep_log()
        self.pull()
        self.collect()
        self.check()

    def drain(self, index: int) -> None:
        pipe = self.pipes[index]
        count = self.dice.randint(0, len(pipe)) if not self.calm else len(pipe)
        self.received[index] += pipe[:count]
        del pipe[:count]

    def write(self, index: int) -> None:
        while index in self.fanout.live:
            owed = self.fanout.owed(index)
            if isinstance(owed, LogRead):
                self.fetch(index, owed)
                continue
            pipe = bytearray()
            if isinstance(owed, Staged):
                assert owed.length == len(self.staging[index]), self.story(f"{index} has another count in its pipe")
                if not self.calm and self.chance.random() < self.faults.read_back_chance:
                    self.read_back(index, min(owed.length, self.fanout.fetch_bytes(index)))  # a pipe gives no more
                    continue
                pipe = self.staging[index]
                owed = bytes(pipe)
            room = self.plan.pipes[index] - len(self.pipes[index])
            if owed is None or not room:
                return
            count = self.dice.randint(1, min(room, len(owed)))
            self.pipes[index] += owed[:count]
            del pipe[:count]
            self.note(f"{index} takes {count}")
            self.fanout.wrote(index, count)

    def fetch(self, index: int, todo: LogRead) -> None:
        assert todo.length > 0, self.story("an empty read of the log")
        if not self.calm and self.dice.random() < self.plan.fetch_error_chance:
            self.note(f"{index} cannot be read back")
            self.fanout.leave(index, SinkEnd.CUT)
            return
        length = self.dice.randint(1, todo.length)
        self.note(f"{index} fetches {length} at {todo.offset}")
        missing = [place for place in range(todo.offset, todo.offset + length) if place not in self.disk]
        assert not missing, self.story(f"bytes {missing[:3]} were never on the disk, or are gone")
        self.fanout.fetched(index, bytes(self.disk[place] for place in range(todo.offset, todo.offset + length)))

    def keep_log(self, whole: bool = False) -> None:
        todo = self.fanout.to_append(whole)
        while todo is not None:
            offset, data = todo
            if not self.calm and self.dice.random() < self.plan.append_error_chance:
                self.note(f"disk refuses at {offset}")
                self.fanout.append_failed("the disk is full")
            else:
                self.append(offset, bytes(data))
            todo = self.fanout.to_append(whole)
        floor = self.fanout.log_floor()
        for place in [place for place in self.disk if place < floor]:
            del self.disk[place]

    def append(self, offset: int, data: bytes) -> None:
        if self.dice.random() < self.plan.short_append_chance:
            data = data[: self.dice.randint(1, len(data))]
        self.note(f"log takes {len(data)} at {offset}")
        assert offset not in self.disk, self.story("a byte is written to the disk twice")
        assert not self.disk or offset == max(self.disk) + 1, self.story("a hole in the log")
        self.disk.update(zip(range(offset, offset + len(data)), data))
        self.fanout.appended(len(data))

    # -- rounds ---------------------------------------------------------------------------------------------

    def read_back(self, index: int, most: int) -> None:
        data = bytes(self.staging[index][: self.chance.randint(1, most)])
        del self.staging[index][: len(data)]
        self.note(f"{index} reads {len(data)} back from its private pipe")
        self.fanout.unstaged(index, data)

    def some_of(self, count: int) -> int:
        """How much of `count` bytes a call moves: all, less, or nothing because it is refused."""
        if self.chance.random() < self.faults.refuse_chance:
            return 0
        return self.chance.randint(1, count) if self.chance.random() < self.faults.short_chance else count

    def stage(self, want: int) -> bool:
        """A round as the runtime makes it: `tee` to each member; with no one beside them, the last one's is moved."""
        members = self.fanout.members()
        assert not any(self.staging[index] for index in members), self.story("a member's pipe is not empty")
        size = min(self.chance.randint(1, want), len(self.stream) - self.read)
        if not members or not size:
            return False
        self.rounds += 1
        alone = len(members) == len(self.fanout.live)
        counts = {index: self.some_of(size) for index in (members[:-1] if alone else members)}
        moved = self.some_of(size) if alone and all(count == size for count in counts.values()) else 0
        if moved:
            counts[members[-1]] = moved
            self.by_pipes_alone += 1
        for index, count in counts.items():
            self.staging[index] += self.stream[self.read : self.read + count]
        self.note(f"round of {size}: {counts}, {moved} left the source")
        self.fanout.begin_round(size, counts)
        if moved:
            self.read += moved
            self.fanout.passed(moved)
        else:
            self.log_round()
        return True

    def log_round(self) -> None:
        """What is left of the round goes straight to the disk where that may be, as far as the disk plays along."""
        fanout = self.fanout
        if not fanout.past_memory():
            return
        self.keep_log(whole=True)
        count = self.some_of(fanout.round_left)
        if count and fanout.past_memory() and fanout.log_end == fanout.head:
            data = self.stream[self.read : self.read + count]
            self.note(f"log takes {count} at {fanout.head} from the source")
            assert not self.disk or fanout.head == max(self.disk) + 1, self.story("a hole in the log")
            self.disk.update(zip(range(fanout.head, fanout.head + count), data))
            self.read += count
            self.straight += 1
            fanout.logged(count)

    def pull(self) -> None:
        want = self.fanout.demand()
        if not want or self.fanout.ended or (not self.calm and self.dice.random() < 0.2):
            return
        if not self.fanout.round_left and self.chance.random() < self.faults.round_chance:
            if self.stage(want):
                want = self.fanout.round_left if self.calm else self.fanout.round_left // 2
            if not want:
                return
        data = self.stream[self.read : self.read + self.dice.randint(1, want)]
        self.read += len(data)
        self.note(f"source gives {len(data)}")
        if data:
            self.fanout.feed(data)
        else:
            self.fanout.end()

    def collect(self) -> None:
        for index, end in self.fanout.settled():
            assert index not in self.ends, self.story(f"{index} ends twice")
            self.ends[index] = end
            self.staging[index].clear()
            self.note(f"{index} is {end.value}")

    # -- the checker ----------------------------------------------------------------------------------------

    def check(self) -> None:
        fanout, plan = self.fanout, self.plan
        for index in fanout.live:
            assert index not in self.ends, self.story(f"{index} lives after its end")
            lag = self.read - self.delivered(index)
            if not fanout.round_left and plan.terms[index].overflow not in DROPPING:
                assert fanout.lag_bytes(index) == lag, self.story(f"{index} shows a wrong lag")
            if plan.terms[index].overflow == "block":
                assert lag <= plan.terms[index].limit_bytes, self.story(f"{index} is held back by {lag}")
            elif plan.terms[index].overflow == "spill":
                limit = max(plan.terms[index].limit_bytes, plan.spill_limit)
                limit += plan.terms[index].limit_bytes if fanout.spill_errors else 0  # the log as it is, and memory
                assert lag <= limit, self.story(f"{index} lags by {lag}, more than memory and log may hold")
        shared = max((terms.limit_bytes for terms in plan.terms if terms.overflow not in DROPPING), default=0)
        has_own = OVERFLOWS if self.faults.read_back_chance else (*DROPPING, "spill")
        least = min(LEAST_FETCH_BYTES, plan.read_bytes)  # of what is brought back from a disk or a private pipe
        own = sum(max(terms.limit_bytes, least) for terms in plan.terms if terms.overflow in has_own)
        bound = shared + own + plan.read_bytes
        disk = max(plan.spill_limit, shared)
        assert len(self.disk) <= disk, self.story(f"{len(self.disk)} bytes on disk, {disk} allowed")
        assert fanout.held_bytes <= bound, self.story(f"{fanout.held_bytes} bytes held, {bound} allowed")
        self.check_not_held()

    def check_not_held(self) -> None:
        """Policies other than block never hold the producer, spill not before its disk is used up."""
        live = [self.plan.terms[index].overflow for index in self.fanout.live]
        free = all(self.spill_has_room(index) for index in self.fanout.live)
        if live and "block" not in live and free and not self.fanout.ended:
            assert self.fanout.demand() > 0, self.story("the producer is held without a reason")

    def spill_has_room(self, index: int) -> bool:
        terms = self.plan.terms[index]
        if terms.overflow != "spill":
            return True
        lag = self.read - self.delivered(index)
        return not self.fanout.spill_errors and lag + terms.limit_bytes <= self.plan.spill_limit

    def delivered(self, index: int) -> int:
        return len(self.received[index]) + len(self.pipes[index])

    def check_end(self) -> None:
        assert not self.fanout.live, self.story("it does not come to an end")
        assert set(self.ends) == set(range(len(self.plan.terms))), self.story("a consumer has no end")
        for index, end in self.ends.items():
            got = bytes(self.received[index] + self.pipes[index])
            counters = self.fanout.counters(index)
            assert counters.delivered_bytes == len(got), self.story(f"{index} counts wrongly")
            if self.plan.terms[index].overflow in DROPPING:
                self.check_records(index, end, got)
            else:
                assert self.stream.startswith(got), self.story(f"{index} got other bytes than the producer wrote")
                whole = end is not SinkEnd.DELIVERED or got == self.stream
                assert whole, self.story(f"{index} counts as delivered and is not")
        total = sum(self.delivered(index) for index in self.ends)
        assert total == self.fanout.delivered_bytes, self.story("the total is not the sum of the deliveries")
        self.check_kinds_of_end()

    def check_records(self, index: int, end: SinkEnd, got: bytes) -> None:
        produced, counters = self.stream.splitlines(keepends=True), self.fanout.counters(index)
        if end is not SinkEnd.DELIVERED:
            return
        rest = iter(produced)
        pieces = got.splitlines(keepends=True)
        assert all(piece in rest for piece in pieces), self.story(f"{index} got something else than whole records")
        assert len(got) + counters.dropped_bytes == len(self.stream), self.story(f"{index} lost bytes uncounted")
        assert len(pieces) + counters.dropped_records == len(produced), self.story(f"{index} lost records uncounted")
        limit = self.plan.terms[index].limit_bytes
        assert counters.high_water_bytes <= limit, self.story(f"{index} held more than {limit}")

    def check_kinds_of_end(self) -> None:
        for index, end in self.ends.items():
            allowed = {SinkEnd.DELIVERED, SinkEnd.LEFT}
            if self.plan.terms[index].overflow == "fail":
                allowed.add(SinkEnd.OVERFLOWED)
            if self.plan.terms[index].overflow == "spill" and self.plan.fetch_error_chance:
                allowed.add(SinkEnd.CUT)
            assert end in allowed, self.story(f"{index} ends as {end.value}")

    # -- the story ------------------------------------------------------------------------------------------

    def note(self, what: str) -> None:
        self.trace.append(what)

    def story(self, what: str) -> str:
        steps = "\n  ".join(self.trace)
        who = f"seed {self.seed}\n{self.plan}\n{self.faults}"
        return f"{what}\n{who}\nread {self.read} of {len(self.stream)}\n  {steps}"


def simulate(seed: int, staging: bool = False) -> World:
    """Run one schedule to its end, by memory or by `staging`; AssertionError with the story when a law is broken."""
    dice = random.Random(seed)
    plan = plan_of(dice)
    fanout = Fanout(plan.terms, plan.spill_limit, plan.read_bytes)
    faults = faults_of(random.Random(f"faults {seed}")) if staging else Faults()
    world = World(seed, dice, plan, stream_of(dice, plan), fanout, faults=faults)
    for _ in range(dice.choice((20, 100, 300))):
        world.round()
        if not fanout.live:
            break
    world.calm = True
    for _ in range(4 * plan.total + 10):
        if not fanout.live:
            break
        world.round()
    world.check_end()
    return world


def known_seeds() -> list[int]:
    """The seeds that ever failed."""
    lines = (line.split("#")[0].strip() for line in SEEDS.read_text(encoding="utf-8").splitlines())
    return [int(line) for line in lines if line]


def on_both_paths(seed: int) -> None:
    simulate(seed)
    simulate(seed, staging=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from section_schedules import spread

    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    sys.exit(spread(on_both_paths, int(sys.argv[1]), first, "a broadcast, on both paths,"))
