"""runtime/fanout/tee.py: how a fan-out worker speaks with its supervisor.

How it moves bytes is told in test_pump.py.
"""

from __future__ import annotations

import json
from typing import Any

import harness
import pytest

from teastreams.core.endings import SinkEnd
from teastreams.core.fanout.arithmetic import Fanout, Terms
from teastreams.core.frames import Kind, frame
from teastreams.runtime.fanout import tee
from teastreams.runtime.fanout.reports import Instruction, SinkReport
from teastreams.runtime.gauges import Gauges

REPORT = SinkReport("c", SinkEnd.OVERFLOWED, 1, 2, 3, 4, 5, "because")


class TestSinks:
    @pytest.mark.parametrize("report", [REPORT, SinkReport("d", SinkEnd.DELIVERED)])
    def test_travel_as_plain_data(self, report: SinkReport) -> None:
        assert tee.load_sink(tee.dump_sink(report)) == report

    @pytest.mark.parametrize(
        "payload",
        [
            b"",
            b"\xff",
            b"null",
            b"[]",
            b"{}",
            b'{"end": "vanished"}',
            json.dumps({"end": "left"}).encode(),
            json.dumps({"end": "left", "name": "c", "more": 1}).encode(),
        ],
    )
    def test_what_is_none_is_none(self, payload: bytes) -> None:
        assert tee.load_sink(payload) is None


class TestListening:
    def test_it_hears_which_readers_have_exited(self) -> None:
        """Those are noted; the producer is another matter."""
        ended: set[str] = set()
        listen = tee._listener(ended)

        assert listen(frame(Kind.READER_ENDED, b"a") + frame(Kind.READER_ENDED, "ä".encode())) is None
        assert ended == {"a", "ä"}

    def test_it_hears_that_its_producer_has_exited(self) -> None:
        """From pieces, too, and whatever else was said before."""
        listen = tee._listener(set())
        word = frame(Kind.GO) + frame(Kind.SOURCE_ENDED)

        assert [listen(word[:10]), listen(word[10:17]), listen(word[17:])] == [None, None, Instruction.SOURCE_ENDED]
        assert listen(frame(Kind.SOURCE_ENDED)) is Instruction.SOURCE_ENDED


class TestCounting:
    def test_the_gauges_show_totals_and_how_far_each_reader_is(self) -> None:
        """What was read and delivered to all together; per reader what it got, what it is owed and what it lost."""
        gauges, fanout = Gauges(1, 2), Fanout([Terms("block", 100), Terms("drop_newest", 4)])
        sinks = [gauges.sink(0), gauges.sink(1)]
        count = tee._gauge_hook(gauges.gauge(0), sinks)
        fanout.feed(b"ab\ncd\nef\n")
        fanout.wrote(0, 7)
        count(fanout)

        assert (gauges.gauge(0).moved(0), gauges.gauge(0).moved(1)) == (9, 7)
        assert [(sink.delivered, sink.held, sink.dropped) for sink in sinks] == [(7, 2, 0), (0, 3, 6)]
        fanout.leave(0)
        count(fanout)
        assert (gauges.gauge(0).moved(0), sinks[0].held) == (9, 0)
        gauges.close()


PRELUDE = """
import errno
from teastreams.runtime import calls

def graph(*cs, **streams):
    settings = ts.StreamSettings(grace_seconds=0.3, drain_seconds=0.3, **streams)
    g = ts.StateGraph(parallel_config=ts.ParallelConfig(strategy="process", streams=settings))
    g.add_node("p", p, streams={"stdout": "x"})
    for name, (c, delivery) in zip("cd", cs):
        g.add_node(name, c, streams={"stdin": {"from": "x", **delivery}})
    if len(cs) > 1:
        g.add_parallel_edge("p", list("cd"[:len(cs)]), stream_mode="broadcast")
    g.set_entry_point("p")
    return g.compile()

flag = Path(os.environ["TEASTREAMS_SCENARIO_HISTORY"] + ".flag")

def p(state): sys.stdout.write("line\\n" * 800_000)

def late(state):
    # Reads only after the fault has struck: until then the fan-out worker has to keep what it gets.
    while not flag.exists():
        time.sleep(0.001)
    return {"n": len(sys.stdin.read())}
"""


def told(script: str) -> dict[str, Any]:
    return harness.run(PRELUDE + script, deadline_seconds=30).told


class TestLife:
    def test_a_refusing_disk_is_told_and_loses_nothing(self) -> None:
        """The producer is held instead, and the caller learns why."""
        seen = told("""
def full(*_args):
    flag.touch()
    raise OSError(errno.ENOSPC, "No space left on device")
calls.table.pwrite = full
terms = {"overflow": "spill", "buffer_limit": 1000}
with untouched():
    events = list(graph((late, terms), (late, terms)).stream(echo_output=False))
tell(warned=[e.message for e in events if isinstance(e, ts.Warned)], n=events[-1].result.state["n"])
""")

        assert seen["n"] == 4_000_000
        [warning] = seen["warned"]
        assert warning.startswith("channel 'x' could not spill to disk")
        assert "No space left" in warning

    @pytest.mark.parametrize(
        ("fault", "text"),
        [
            ("calls.table.temporary_file = lambda *_: fail()", "fault"),
            ("calls.table.set_blocking = lambda *a: os.set_blocking(*a) if os.getpid() == here else fail()", "fault"),
        ],
    )
    def test_one_that_cannot_go_on_names_itself_and_the_channel(self, fault: str, text: str) -> None:
        """A fault in it is no fault of the nodes, and nothing hangs."""
        seen = told(f"""
here = os.getpid()
def fail():
    flag.touch()
    raise RuntimeError("fault")
{fault}
try:
    with untouched():
        graph((late, {{"overflow": "spill", "buffer_limit": 1000}})).run(echo_output=False)
except ts.WorkflowFailed as failed:
    tell(cause=failed.primary.node, message=failed.primary.message)
""")

        assert seen["cause"] == "fan-out of 'x'"
        assert text in seen["message"]
