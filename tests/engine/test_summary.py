"""engine/reporting/summary.py: the figures of a run as text, exactly."""

from __future__ import annotations

import harness

from teastreams.core.outcome import Status
from teastreams.engine.results import RunResult
from teastreams.runtime.supervision.figures import ChannelFigures, ConsumerFigures, NodeFigures

MIB = 1 << 20
NODES = {
    "reader": NodeFigures(Status.DONE, 2.5, 0, cpu_seconds=1.25, peak_memory_bytes=20 * MIB),
    "slow": NodeFigures(Status.FAILED, 75.0, -9, cpu_seconds=0.5, peak_memory_bytes=300 * MIB),
    "zip": NodeFigures(Status.DONE, 3.0, 0),
    "report": NodeFigures(Status.DONE, 0.01),
}
CHANNELS = {
    "lines": ChannelFigures(
        10 * MIB,
        {
            "slow": ConsumerFigures(
                8 * MIB,
                "drop_oldest",
                dropped_bytes=2 * MIB,
                dropped_records=1234,
                counted="fan-out",
                starved_seconds=0.0,
            ),
            "zip": ConsumerFigures(10 * MIB, "spill", spilled_bytes=5 * MIB, counted="fan-out"),
        },
        producer="reader",
        counted="fan-out",
        records=123456,
        blocked_seconds=1.5,
        warning="the disk was full",
    ),
    "packed": ChannelFigures(2 * MIB, {"": ConsumerFigures(0)}, producer="zip", counted="sampled"),
}


def test_the_tables_of_a_run() -> None:
    """Everything that is known; what is not known is no number, and what was sampled is marked."""
    assert RunResult({}, NODES, CHANNELS, 76.2).summary().splitlines() == [
        "node    end       time     cpu    memory",
        "reader  done    2.50 s  1.25 s  20.0 MiB",
        "slow    failed    1:15  0.50 s   300 MiB",
        "zip     done    3.00 s       ?         ?",
        "report  done    0.01 s       -         -",
        "",
        "channel        who            bytes  records  waited           dropped   spilled  counted by",
        "lines    from  reader      10.0 MiB  123 456  1.50 s                 -         -  fan-out",
        "         to    slow        8.00 MiB        ?  0.00 s  2.00 MiB (1 234)         -  fan-out",
        "         to    zip         10.0 MiB        ?       ?                 -  5.00 MiB  fan-out",
        "packed   from  zip        ~2.00 MiB        ?       ?                 -         -  sampled",
        "         to    (outside)          ?        ?       ?                 -         -  unknown",
        "",
        "note: channel lines: the disk was full",
        "whole run: 1:16",
    ]


def test_a_run_without_channels_has_one_table() -> None:
    assert RunResult({}, {"a": NodeFigures(Status.DONE, 1.0)}, {}, 1.0).summary().splitlines() == [
        "node  end     time  cpu  memory",
        "a     done  1.00 s    -       -",
        "",
        "whole run: 1.00 s",
    ]


def test_a_run_of_nothing_has_its_time() -> None:
    assert RunResult({}).summary() == "whole run: 0.00 s"


def test_branches_in_processes_have_figures_and_those_in_threads_have_none() -> None:
    """CPU time is the kernel's, of one process and nobody else."""
    told = harness.run("""
        def busy(state):
            end = time.process_time() + 0.05
            while time.process_time() < end: pass
            return {}
        def used(strategy):
            g = ts.StateGraph(parallel_config=ts.ParallelConfig(strategy=strategy))
            for name in ("a", "b", "c", "d"):
                g.add_node(name, busy)
            g.add_parallel_edge("a", ["b", "c"], fan_in="d"); g.set_entry_point("a")
            nodes = g.compile().run().nodes
            return {name: [nodes[name].cpu_seconds, nodes[name].peak_memory_bytes] for name in "abcd"}
        tell(process=used("process"), thread=used("thread"))
    """).told
    assert set(map(tuple, told["thread"].values())) == {(None, None)}
    assert [told["process"][name] for name in "ad"] == [[None, None]] * 2
    for cpu_seconds, memory_bytes in (told["process"][name] for name in "bc"):
        assert 0.05 <= cpu_seconds < 10
        assert memory_bytes > 1 << 20
