"""runtime/gauges.py: counters that are shared over a fork."""

from __future__ import annotations

import harness
import pytest

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
