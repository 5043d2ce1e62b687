"""runtime/gauges.py: counters that are shared over a fork."""

from __future__ import annotations

import harness
import pytest

from teastreams.runtime import calls
from teastreams.runtime.gauges import Gauges, Phase


def test_each_worker_has_its_own_slots() -> None:
    gauges = Gauges(3)
    first, second, last = (gauges.gauge(index) for index in range(3))
    first.add(0, 5)
    first.add(0, 6)
    first.add(2, 1)
    last.add(1, 1 << 40)
    last.phase = Phase.VERDICT

    assert [first.moved(fd) for fd in (0, 1, 2)] == [11, 0, 1]
    assert [second.moved(fd) for fd in (0, 1, 2)] == [0, 0, 0]
    assert last.moved(1) == 1 << 40
    assert [each.phase for each in (first, second, last)] == [Phase.OWN_CODE, Phase.OWN_CODE, Phase.VERDICT]
    gauges.close()


def test_two_gauges_of_one_worker_show_the_same() -> None:
    gauges = Gauges(1)
    gauges.gauge(0).add(1, 3)
    gauges.gauge(0).phase = Phase.WRITING

    assert (gauges.gauge(0).moved(1), gauges.gauge(0).phase) == (3, Phase.WRITING)
    gauges.close()


def test_no_worker_still_has_a_page() -> None:
    """An empty mapping would be an error of the system."""
    Gauges(0).close()


def test_figures_cannot_be_read_after_the_page_was_given_back() -> None:
    gauges = Gauges(1)
    gauge = gauges.gauge(0)
    gauges.close()

    with pytest.raises(ValueError, match="released"):
        gauge.moved(0)


def test_what_a_child_counts_its_parent_sees() -> None:
    told = harness.run("""
        from teastreams.runtime.gauges import Gauges, Phase
        gauges = Gauges(2)
        pid = os.fork()
        if pid == 0:
            gauges.gauge(1).add(0, 77)
            gauges.gauge(1).phase = Phase.READING
            os._exit(0)
        os.waitpid(pid, 0)
        tell(moved=gauges.gauge(1).moved(0), phase=gauges.gauge(1).phase.name, other=gauges.gauge(0).moved(0))
    """).told

    assert told == {"moved": 77, "phase": "READING", "other": 0}


def test_records_are_counted_beside_bytes() -> None:
    gauges = Gauges(2)
    gauge = gauges.gauge(1)
    gauge.add_records(0, 3)
    gauge.add_records(1, 5)
    gauge.add_records(1, 1)

    assert [gauge.records(fd) for fd in (0, 1, 2)] == [3, 6, 0]
    assert [gauge.moved(fd) for fd in (0, 1, 2)] == [0, 0, 0]
    assert gauges.gauge(0).records(1) == 0
    gauges.close()


def test_waiting_is_added_up_by_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait that still lasts is in it; one for the verdict is no waiting for bytes."""
    clock = [10.0]
    monkeypatch.setattr(calls.table, "monotonic_ns", lambda: int(clock[0] * 1e9))
    gauges = Gauges(1)
    gauge = gauges.gauge(0)
    for phase, fd, seconds in [(Phase.READING, 0, 2.0), (Phase.WRITING, 2, 0.5), (Phase.WRITING, 1, 1.0)]:
        gauge.begin(phase, fd)
        clock[0] += seconds
        gauge.end()
        clock[0] += 100.0
    gauge.begin(Phase.VERDICT, 0)
    clock[0] += 7.0
    assert gauge.waited_seconds(0) == 2.0
    gauge.end()
    gauge.begin(Phase.READING, 0)
    clock[0] += 3.0

    assert [gauge.waited_seconds(fd) for fd in (0, 1, 2)] == [5.0, 1.0, 0.5]
    assert (gauge.phase, gauge.phase_fd) == (Phase.READING, 0)
    gauge.end()
    assert (gauge.waited_seconds(0), gauge.phase) == (5.0, Phase.OWN_CODE)
    gauges.close()


def test_readers_of_a_fan_out_have_slots_behind_those_of_the_workers() -> None:
    """Nobody writes into another one's."""
    gauges = Gauges(2, 2)
    gauges.sink(0).show(5, 4, 3)
    gauges.sink(1).show(50, 40, 30)
    gauges.gauge(1).add(2, 9)

    assert [(each.delivered, each.held, each.dropped) for each in map(gauges.sink, (0, 1))] == [(5, 4, 3), (50, 40, 30)]
    assert [gauges.gauge(0).moved(fd) for fd in (0, 1, 2)] == [0, 0, 0]
    gauges.close()
