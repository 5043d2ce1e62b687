"""The sampler: every figure of `Progress`, where it comes from, and what is said when nobody knows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Iterator, Optional

import harness
import pytest

from teastreams.core.events import ConsumerProgress, NodeProgress
from teastreams.core.graph import Delivery, NodeStreamsConfig, StreamSettings
from teastreams.core.lifecycle import State
from teastreams.core.outcome import Status
from teastreams.core.plan import plan_section
from teastreams.runtime import calls
from teastreams.runtime.gauges import Gauge, Gauges, Phase
from teastreams.runtime.supervision.sampling import Sampler, kernel_bytes, sink_count, sink_gauges

# p writes x to a and b by a fan-out worker; b writes y to c by a bare pipe.
PLAN = plan_section(
    [
        ("p", NodeStreamsConfig(stdout="x")),
        ("a", NodeStreamsConfig(stdin="x")),
        ("b", NodeStreamsConfig(stdin="x", stderr="y", delivery=Delivery(overflow="spill", buffer_limit=100))),
        ("c", NodeStreamsConfig(stdin="y")),
    ],
    StreamSettings(),
)
FANOUT = PLAN.channels["x"].fanout or ""


class World:
    """A supervisor as the sampler sees it; every worker runs, and time is the test's own."""

    def __init__(self) -> None:
        self.now = 10.0
        self.order = SimpleNamespace(plan=PLAN, outside=SimpleNamespace(feeds={}, taps={}))
        self.judge = SimpleNamespace(statuses={}, sinks={})
        self.children: dict[str, Any] = {
            worker.name: SimpleNamespace(
                state=State.RUNNING, started_at=11.0, finished_at=11.0, pid=100 + index, kernel_bytes=None
            )
            for index, worker in enumerate(PLAN.workers)
        }
        self.gauges = Gauges(len(PLAN.workers), sink_count(PLAN))
        self.kernel: Optional[bytes] = b"rchar: 70\nwchar: 80\nsyscr: 1\n"
        self.sampler: Sampler

    def gauge(self, name: str) -> Gauge:
        return self.gauges.gauge([worker.name for worker in PLAN.workers].index(name))

    def node(self, name: str) -> NodeProgress:
        return next(node for node in self.sampler.progress().nodes if node.node == name)

    def consumer(self, channel: str, node: str) -> ConsumerProgress:
        found = next(each for each in self.sampler.progress().channels if each.channel == channel)
        return next(each for each in found.consumers if each.node == node)

    def open(self, _path: str, _flags: int) -> int:
        if self.kernel is None:
            raise PermissionError
        return 5


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World()
    monkeypatch.setattr(calls.table, "monotonic", lambda: made.now)
    monkeypatch.setattr(calls.table, "monotonic_ns", lambda: int(made.now * 1e9))
    monkeypatch.setattr(calls.table, "open", made.open)
    monkeypatch.setattr(calls.table, "read", lambda _fd, _size: made.kernel)
    monkeypatch.setattr(calls.table, "close", lambda _fd: None)
    made.sampler = Sampler(made, made.gauges)  # type: ignore[arg-type]
    made.now = 15.0
    yield made
    made.gauges.close()


def test_time_counts_from_the_beginning_of_the_section(world: World) -> None:
    progress = world.sampler.progress()
    assert (progress.seconds, [node.node for node in progress.nodes]) == (5.0, list(PLAN.nodes))
    assert [channel.channel for channel in progress.channels] == ["x", "y"]


@pytest.mark.parametrize(
    ("phase", "doing", "waits", "channel"),
    [
        (Phase.OWN_CODE, "running", (), ""),
        (Phase.PROGRAM, "program", (), ""),
        (Phase.READING, "reading", ("p",), "x"),
        (Phase.VERDICT, "finishing", ("p",), "x"),
        (Phase.WRITING, "writing", ("c",), "y"),
    ],
)
def test_a_running_node_does_what_its_gauge_says(
    phase: Phase, doing: str, waits: tuple[str, ...], channel: str, world: World
) -> None:
    """And waits for the neighbour on that channel."""
    world.gauge("b").begin(phase, 2 if phase is Phase.WRITING else 0)
    assert world.node("b") == NodeProgress("b", doing, 4.0, waits, channel)


def test_a_node_at_its_end_waits_for_everything_upstream(world: World) -> None:
    world.gauge("c").begin(Phase.VERDICT, 0)
    assert world.node("c").waits_for == ("p", "b")


def test_writing_to_a_log_is_waiting_for_nobody(world: World) -> None:
    """Descriptor 1 of `b` is no channel."""
    world.gauge("b").begin(Phase.WRITING, 1)
    assert world.node("b") == NodeProgress("b", "writing", 4.0)


@pytest.mark.parametrize(
    ("state", "doing"),
    [(State.READY, "starting"), (State.ENDING, "ending"), (State.TERMED, "stopping"), (State.DRAINING, "ended")],
)
def test_a_node_that_does_not_run_is_where_its_life_is(state: State, doing: str, world: World) -> None:
    """Whatever its gauge said last."""
    world.gauge("a").begin(Phase.READING, 0)
    world.children["a"].state = state
    assert world.node("a") == NodeProgress("a", doing, 4.0)


def test_a_node_that_has_ended_keeps_its_time_and_its_status(world: World) -> None:
    world.children["a"].state, world.children["a"].finished_at = State.FINISHED, 12.5
    world.judge.statuses["a"] = Status.STOPPED
    assert world.node("a") == NodeProgress("a", "stopped", 1.5)
    assert world.consumer("x", "a").done


def test_a_node_that_was_not_started_waits(world: World) -> None:
    del world.children["a"]
    assert world.node("a") == NodeProgress("a", "waiting")


def test_a_fan_out_counts_for_its_readers(world: World) -> None:
    """What each got, what it is owed, what it lost; its limit and policy beside it."""
    world.gauge(FANOUT).add(0, 500)
    first, second = sink_gauges(PLAN, world.gauges, "x")
    first.show(500, 0, 0)
    second.show(300, 150, 50)
    (x, _y) = world.sampler.progress().channels
    assert (x.producer, x.bytes, x.counted) == ("p", 500, "fan-out")
    a, b = x.consumers
    assert (a.node, a.bytes, a.counted, a.buffered_bytes, a.overflow) == ("a", 500, "fan-out", 0, "block")
    assert (b.bytes, b.buffered_bytes, b.dropped_bytes, b.limit_bytes, b.overflow) == (300, 150, 50, 100, "spill")
    assert sink_gauges(PLAN, world.gauges, "y")[0].delivered == 0


def test_a_bare_pipe_is_counted_at_its_ends(world: World) -> None:
    """What is written and not read is in between; waiting is told for both sides."""
    world.gauge("b").add(2, 100)
    world.gauge("b").add_records(2, 4)
    world.gauge("c").add(0, 60)
    world.gauge("c").begin(Phase.READING, 0)
    world.now += 0.5
    (_x, y) = world.sampler.progress().channels
    assert (y.bytes, y.counted, y.records, y.blocked_seconds) == (100, "node", 4, 0.0)
    (c,) = y.consumers
    assert (c.bytes, c.counted, c.buffered_bytes, c.limit_bytes, c.starved_seconds) == (60, "node", 40, 0, 0.5)


def test_a_program_in_the_place_of_a_node_is_sampled(world: World) -> None:
    """It counts nothing: what the kernel counts for its process stands there, its fill and waiting are unknown."""
    world.gauge("b").add(2, 100)
    world.gauge("c").begin(Phase.PROGRAM, 0)
    c = world.consumer("y", "c")
    assert (c.bytes, c.counted, c.buffered_bytes, c.starved_seconds) == (70, "sampled", None, None)
    world.gauge("p").begin(Phase.PROGRAM, 0)
    (x, _y) = world.sampler.progress().channels
    assert (x.counted, x.records, x.blocked_seconds) == ("fan-out", None, None)


def test_where_the_kernel_does_not_count_nobody_knows(world: World) -> None:
    """No /proc, or not for us; the last look before the end is used when there was one."""
    world.kernel = None
    world.gauge("c").begin(Phase.PROGRAM, 0)
    assert (kernel_bytes(1), world.consumer("y", "c").counted) == (None, "unknown")
    world.children["c"].kernel_bytes = (33, 44)
    assert (world.consumer("y", "c").bytes, world.consumer("y", "c").counted) == (33, "sampled")


@pytest.fixture
def fed(world: World) -> World:
    """The caller writes `in` and reads `out`."""
    plan = plan_section(
        [("f", NodeStreamsConfig(stdin="in", stdout="out"))], StreamSettings(), frozenset(("in", "out"))
    )
    world.order.plan = plan
    world.order.outside.feeds["in"] = SimpleNamespace(moved_bytes=30)
    world.order.outside.taps["out"] = SimpleNamespace(moved_bytes=7)
    world.children = {"f": world.children["p"]}
    world.sampler = Sampler(world, world.gauges)  # type: ignore[arg-type]
    return world


def test_the_caller_counts_what_it_feeds_and_reads(fed: World) -> None:
    """It moves the bytes itself: nothing has to be guessed."""
    gauge = fed.gauges.gauge(0)
    gauge.add(0, 10)
    gauge.add(1, 9)
    (into, out) = fed.sampler.progress().channels
    assert (into.producer, into.bytes, into.counted, into.consumers[0].buffered_bytes) == ("", 30, "caller", 20)
    assert (out.bytes, out.counted) == (9, "node")
    assert [(each.node, each.bytes, each.counted, each.buffered_bytes) for each in out.consumers] == [
        ("", 7, "caller", 2)
    ]


GRAPH = """
import select
from teastreams.runtime import calls

def graph(p, c):
    g = ts.StateGraph()
    g.add_node("p", p, streams={"stdout": "x"})
    g.add_node("c", c, streams={"stdin": "x"})
    g.add_edge("p", "c"); g.set_entry_point("p")
    return g.compile()
"""


def test_progress_comes_while_a_section_runs() -> None:
    """Bytes and records of a bare pipe, who waits for whom: what the nodes do is steered by the events themselves."""
    told = harness.run(
        GRAPH
        + """
read, write = os.pipe()
def p(state):
    print("one"); print("two", flush=True)
    os.read(read, 1)
    return {}
def c(state):
    return {"n": len(sys.stdin.readlines())}
seen, done = [], None
for event in graph(p, c).stream(progress_seconds=0.02):
    if isinstance(event, ts.Progress):
        (x,) = event.channels
        (who,) = x.consumers
        waits = {node.node: [node.doing, list(node.waits_for)] for node in event.nodes}
        seen.append([x.bytes, x.counted, x.records, who.bytes, who.counted, waits])
        if not done and who.bytes == 8 and waits["c"] == ["reading", ["p"]]:
            done = seen[-1]
            os.write(write, b"x")
    elif isinstance(event, ts.RunFinished):
        result = event.result
x = result.channels["x"]
tell(done=done, records=[x.records, x.consumers["c"].records], text=result.summary(),
     cpu=[each.cpu_seconds > 0 and each.peak_memory_bytes > 1 << 20 for each in result.nodes.values()],
     starved=x.consumers["c"].starved_seconds > 0)
"""
    ).told
    assert told["done"][:5] == [8, "node", 2, 8, "node"]
    assert told["done"][5] == {"p": ["running", []], "c": ["reading", ["p"]]}
    assert (told["records"], told["cpu"], told["starved"]) == ([2, 2], [True, True], True)
    assert told["text"].splitlines()[0].split() == ["node", "end", "time", "cpu", "memory"]


def test_nobody_wakes_up_when_nobody_asked() -> None:
    """While both nodes of a section sleep, the supervisor's one wait lasts until one of them speaks."""
    told = harness.run(
        GRAPH
        + """
class CountingPoll(calls.Poll):
    def poll(self, timeout_seconds=None):
        ready = super().poll(timeout_seconds)
        if os.getpid() == here and not ready:
            idle.append(timeout_seconds)
        return ready
here, idle = os.getpid(), []
calls.table.poll = CountingPoll
def p(state):
    time.sleep(0.5)
def c(state):
    return {"n": len(sys.stdin.read())}
app = graph(p, c)
app.run()
quiet = [seconds for seconds in idle if seconds]
idle.clear()
looks = sum(isinstance(event, ts.Progress) for event in app.stream(progress_seconds=0.05))
tell(quiet=quiet, asked=len([seconds for seconds in idle if seconds]), looks=looks)
""",
        environment={"TEASTREAMS_PORTABLE": "0"},
    ).told
    assert told["quiet"] == []
    assert told["looks"] >= 2


def test_records_are_unknown_when_nobody_asked() -> None:
    """Counting costs a copy of every block."""
    told = harness.run(
        GRAPH
        + """
def p(state): print("one")
def c(state): return {"n": len(sys.stdin.read())}
x = graph(p, c).run().channels["x"]
tell(records=[x.records, x.consumers["c"].records], bytes=[x.bytes, x.consumers["c"].bytes])
"""
    ).told
    assert told == {"records": [None, None], "bytes": [4, 4]}


@pytest.mark.parametrize("seconds", ["0", "-1", "float('nan')"])
def test_progress_never_is_refused(seconds: str) -> None:
    """A wait of nothing would be a loop."""
    told = harness.run(
        GRAPH
        + f"""
try:
    next(graph(lambda state: None, lambda state: None).stream(progress_seconds={seconds}))
except ValueError as error:
    tell(error=str(error))
"""
    ).told
    assert told["error"].startswith("progress_seconds must be above 0, not ")
