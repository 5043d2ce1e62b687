"""The stall watch: when nothing has moved for long enough, and the story it tells. Time is the test's own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Callable, Iterator, Optional

import pytest

from teastreams.core.graph import NodeStreamsConfig, StreamSettings
from teastreams.core.plan import plan_section
from teastreams.runtime import calls
from teastreams.runtime.gauges import Gauge, Gauges, Phase
from teastreams.runtime.supervision.stall import LOOKS, StallWatch

TIMEOUT = 8.0
PLAN = plan_section(
    [
        ("p", NodeStreamsConfig(stdout="x")),
        ("m", NodeStreamsConfig(stdin="x", stdout="y")),
        ("c", NodeStreamsConfig(stdin="y")),
    ],
    StreamSettings(),
)


class World:
    """A supervisor of three workers as the watch sees it, a clock, and a kernel that counts (or does not)."""

    def __init__(self) -> None:
        self.now = 100.0
        self.alive = ["p", "m", "c"]
        self.judge = SimpleNamespace(closed=set())
        self.order = SimpleNamespace(plan=PLAN)
        self.loop = self
        self.due: Optional[tuple[float, Callable[[], None]]] = None
        self.faults: list[tuple[str, str, float]] = []
        self.kernel: Optional[str] = "rchar: 1\nwchar: 1\n"
        self.opened: list[str] = []
        self.gauges = Gauges(len(PLAN.workers))
        self.watch: StallWatch

    def at(self, _key: str, seconds: float, call: Callable[[], None]) -> None:
        self.due = (self.now + seconds, call)

    def running(self) -> list[Any]:
        return [SimpleNamespace(name=name, pid=1000 + index) for index, name in enumerate(self.alive)]

    def fault(self, phase: str, message: str) -> None:
        self.faults.append((phase, message, self.now))

    def gauge(self, name: str) -> Gauge:
        return self.gauges.gauge([worker.name for worker in PLAN.workers].index(name))

    def run_for(self, seconds: float, each: Callable[[], None] = lambda: None) -> None:
        """Let time pass; `each` happens right before every look of the watch."""
        end = self.now + seconds
        while self.due is not None and self.due[0] <= end:
            (self.now, call), self.due = self.due, None
            each()
            call()
        self.now = end

    def open(self, path: str, _flags: int) -> int:
        self.opened.append(path)
        if self.kernel is None:
            raise PermissionError(path)
        return 5


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World()
    monkeypatch.setattr(calls.table, "monotonic", lambda: made.now)
    monkeypatch.setattr(calls.table, "monotonic_ns", lambda: int(made.now * 1e9))
    monkeypatch.setattr(calls.table, "open", made.open)
    monkeypatch.setattr(calls.table, "read", lambda _fd, _size: (made.kernel or "").encode())
    monkeypatch.setattr(calls.table, "close", lambda _fd: made.opened.append("closed"))
    made.watch = StallWatch(made, made.gauges, TIMEOUT)  # type: ignore[arg-type]
    made.watch.arm()
    yield made
    made.gauges.close()


def test_a_section_in_which_nothing_moves_has_stalled(world: World) -> None:
    """Not before its time, at most an eighth after it, and only once."""
    world.run_for(TIMEOUT * 3)
    ((phase, _message, at),) = world.faults
    assert phase == "stall"
    assert TIMEOUT <= at - 100.0 <= TIMEOUT * (1 + 1 / LOOKS)
    assert world.due is None


@pytest.mark.parametrize(("name", "fd"), [("p", 1), ("c", 0), ("m", 2)])
def test_a_byte_anywhere_is_movement(name: str, fd: int, world: World) -> None:
    """One in each look keeps the section alive; the time counts from the last one."""
    world.run_for(TIMEOUT * 5, each=lambda: world.gauge(name).add(fd, 1))
    assert world.faults == []
    last = world.now
    world.run_for(TIMEOUT - TIMEOUT / LOOKS)
    assert world.faults == []
    world.run_for(TIMEOUT)
    assert world.faults[0][2] >= last - TIMEOUT / LOOKS + TIMEOUT


def test_a_consumer_that_computes_after_its_input_has_ended_is_no_stall(world: World) -> None:
    """No channel can carry bytes any more: everybody who writes one has gone."""
    world.alive = ["c"]
    world.run_for(TIMEOUT * 10)
    assert world.faults == []


def test_a_producer_that_closed_its_stream_moves_nothing_any_more(world: World) -> None:
    """It may compute as long as it likes; while one channel is open, the watch is on."""
    world.judge.closed = {("p", 1), ("m", 1)}
    world.run_for(TIMEOUT * 10)
    assert world.faults == []
    world.judge.closed = {("p", 1)}
    world.run_for(TIMEOUT * 2)
    assert len(world.faults) == 1


def test_bytes_past_our_streams_are_seen_by_the_kernels_count(world: World) -> None:
    """A node that writes by os.write alone is in its own code, and its gauge stands still."""

    def more() -> None:
        world.kernel = f"rchar: 1\nwchar: {int(world.now)}\nsyscr: 7\n"

    world.run_for(TIMEOUT * 5, each=more)
    assert world.faults == []
    assert world.opened.count("closed") == len(world.opened) // 2 > 0


def test_other_figures_of_the_kernel_are_no_movement(world: World) -> None:
    """A node that only makes system calls, such as a sleep in a loop, moves no bytes."""

    def more() -> None:
        world.kernel = f"rchar: 1\nwchar: 1\nsyscr: {int(world.now)}\nread_bytes: {int(world.now)}\n"

    world.run_for(TIMEOUT * 2, each=more)
    assert len(world.faults) == 1


def test_a_node_that_waits_in_our_streams_is_not_asked_about(world: World) -> None:
    """Its gauge says all there is to know, and what the kernel counts may be its log."""
    for name in ("p", "m", "c"):
        world.gauge(name).phase = Phase.WRITING
    world.run_for(TIMEOUT * 2)
    assert (len(world.faults), world.opened) == (1, [])


def test_where_nobody_counts_the_gauges_decide(world: World) -> None:
    """/proc may be missing or forbidden."""
    world.kernel = None
    world.run_for(TIMEOUT * 2)
    assert len(world.faults) == 1
    assert "closed" not in world.opened


def test_the_story_says_who_waits_for_whom(world: World) -> None:
    """Each node that runs, with its channel and its neighbour; those that ended are left out."""
    world.gauge("p").phase = Phase.WRITING
    world.gauge("m").phase = Phase.OWN_CODE
    world.gauge("c").phase = Phase.READING
    world.run_for(TIMEOUT * 2)
    story = world.faults[0][1]
    assert story.startswith("no byte moved in this section for 8 s: ")
    waits = "'p' waits for room in 'x', read by 'm'; 'm' is in its own code; 'c' waits for bytes of 'y' from 'm'"
    assert f": {waits}; look at " in story
    world.alive.remove("p")
    world.gauge("c").phase = Phase.VERDICT
    assert world.watch.waits() == "'m' is in its own code; 'c' waits for everything upstream of 'y' to end"


def test_without_anybody_running_there_is_nothing_to_tell(world: World) -> None:
    """An empty text, which a time-out shows as such."""
    world.alive = []
    assert world.watch.waits() == ""
