"""runtime/fanout/pump.py: real pipes, real processes, each scene in a fresh interpreter (see pump_stage.py)."""

from __future__ import annotations

import os
import resource
import select
from typing import Any

import pytest
from pump_stage import (
    Gate,
    Stage,
    fingerprint,
    perform,
    play,
    produce,
    slow_reader,
    take_all,
    take_text,
    whole,
    write_all,
)

from teastreams.core.fanout.staging import FIRST_ASK_BYTES, next_ask
from teastreams.runtime import calls
from teastreams.runtime.fanout.pump import pump
from teastreams.runtime.fanout.reports import Sink
from teastreams.runtime.fds import Fd, make_pipe

MIB = 2**20
TEN_MB = 10_000_000


# -- lossless -----------------------------------------------------------------------------------------------


def three_readers():
    stage = Stage()
    stage.producer(produce(TEN_MB))
    for name in "abc":
        stage.reader(name, take_all)
    return stage.pump()


@pytest.mark.scenario("001.3-INT-001", "001.3-INT-003", "QA-001.3-INT-004")
def test_every_reader_gets_every_byte_in_order():
    """Three readers of ten megabytes: identical to what was produced, counted, reported before the close."""
    out = play(three_readers)

    assert {name: whole(TEN_MB) for name in "abc"} == {name: out["results"][name] for name in "abc"}
    assert dict.fromkeys("abc", "delivered") == out["ends"]
    assert out["still_open"] == [True] * 3
    assert (out["source"], out["read_bytes"], out["delivered_bytes"]) == ("EOF", TEN_MB, 3 * TEN_MB)
    assert out["results"]["producer"] == "all written"


def small_pipes():
    stage = Stage(pipe_bytes=4096)
    stage.producer(produce(MIB))
    for name, overflow in zip("abcde", ("block", "spill", "block", "spill", "block")):
        stage.reader(name, take_all, overflow, 10_000)
    return stage.pump()


@pytest.mark.scenario("001.3-INT-002")
def test_pipes_of_one_page_are_enough():
    """Five readers, pipes of 4096 bytes, limits below one chunk: byte-exact."""
    out = play(small_pipes)

    assert {name: whole(MIB) for name in "abcde"} == {name: out["results"][name] for name in "abcde"}


def sixty_four_readers():
    stage = Stage(pipe_bytes=4096)
    stage.producer(produce(500_000))
    for number in range(64):
        stage.reader(f"r{number}", take_all)
    return stage.pump()


def test_sixty_four_readers():
    """The largest broadcast there may be."""
    out = play(sixty_four_readers)

    assert [whole(500_000)] * 64 == [out["results"][f"r{number}"] for number in range(64)]


# -- leaving ------------------------------------------------------------------------------------------------


def one_leaves():
    stage = Stage()
    stage.producer(produce(TEN_MB))
    stage.reader("early", lambda fd: len(os.read(fd, 1000)))
    stage.reader("a", take_all)
    stage.reader("b", take_all)
    return stage.pump()


def test_a_reader_that_leaves_changes_nothing_for_the_others():
    """The others get everything, the leaver is reported as such."""
    out = play(one_leaves)

    assert whole(TEN_MB) == out["results"]["a"] == out["results"]["b"]
    assert out["ends"] == {"early": "left", "a": "delivered", "b": "delivered"}
    assert 0 < out["sinks"]["early"]["delivered_bytes"] < TEN_MB


def all_leave():
    """The producer writes a little and waits, without writing, for its reader to go."""
    stage = Stage()

    def waits(fd: int) -> str:
        os.write(fd, b"hello")
        poll = select.poll()
        poll.register(fd, 0)
        poll.poll()
        return produce(10)(fd)

    stage.producer(waits)
    for name in "ab":
        stage.reader(name, lambda fd: len(os.read(fd, 5)))
    return stage.pump()


def test_when_all_have_left_the_producer_learns_it_at_once():
    """Nobody writes anything: departures are noticed by poll alone, and the source is closed."""
    out = play(all_leave)

    assert out["results"]["producer"] == "EPIPE"
    assert (out["source"], out["ends"]) == ("NO_READERS", {"a": "left", "b": "left"})


# -- the slow and the quick ---------------------------------------------------------------------------------


def slow_spill():
    return slow_reader("spill", TEN_MB, 100_000)


@pytest.mark.scenario("001.3-INT-008")
def test_a_slow_reader_with_spill_gets_all_and_holds_nobody():
    """Most of ten megabytes goes by way of the disk; the quick reader is done before the slow one begins."""
    out = play(slow_spill)

    assert out["order"] == ["quick", "slow"]
    assert whole(TEN_MB) == out["results"]["quick"] == out["results"]["slow"]
    assert out["sinks"]["slow"]["spilled_bytes"] > TEN_MB // 2
    assert out["sinks"]["quick"]["spilled_bytes"] == 0


def slow_ten_kilobytes():
    return slow_reader("block", 10_000, MIB)


@pytest.mark.scenario("001.3-INT-007")
def test_a_slow_reader_within_its_limit_holds_nobody():
    """Ten kilobytes: producer and quick reader end while the slow one has not read a byte; it still gets all."""
    out = play(slow_ten_kilobytes)

    assert whole(10_000) == out["results"]["slow"]
    assert out["ends"] == {"quick": "delivered", "slow": "delivered"}


def slow_fail():
    return slow_reader("fail", TEN_MB, 100_000)


def test_a_slow_reader_with_fail_overflows_alone():
    """Its input ends early and is reported as such first; what it got is the beginning of the stream."""
    out = play(slow_fail)

    length, digest = out["results"]["slow"]
    assert out["ends"] == {"slow": "overflowed", "quick": "delivered"}
    assert out["sinks"]["slow"]["delivered_bytes"] == length < TEN_MB
    assert fingerprint(length) == digest
    assert whole(TEN_MB) == out["results"]["quick"]


def greedy_reader():
    """Once the quick one is done, the pipe of the other takes whatever it is given: how much goes in one turn?"""
    stage, gate, done, turns = Stage(), Gate(), [], [0]
    stage.producer(produce(TEN_MB))
    stage.reader("quick", take_all)
    stage.reader("greedy", gate.before(take_all), "spill", 3 * MIB)
    greedy = stage.sinks[1].fd.number

    def write(fd: int, data: Any) -> int:
        if fd != greedy:
            return os.write(fd, data)
        if not done:
            raise BlockingIOError
        turns[-1] += len(data)
        return len(data)

    class CountingPoll(calls.table.poll):
        def poll(self, timeout_seconds=None):
            turns.append(0)
            return super().poll(timeout_seconds)

    calls.table.write, calls.table.poll = write, CountingPoll
    stage.on_report = lambda report: done.append(report.name) or (gate.open() if report.name == "greedy" else None)
    out = stage.pump()
    out["longest_turn"], out["all_turns"] = max(turns), sum(turns)
    return out


def test_a_reader_that_catches_up_does_not_starve_the_others():
    """However much it can take, after a megabyte or two it is the others' turn."""
    out = play(greedy_reader)

    assert out["all_turns"] == TEN_MB
    assert out["longest_turn"] <= 2 * MIB
    assert out["sinks"]["greedy"]["delivered_bytes"] == TEN_MB


def many_limits():
    """Memory while 48 MB pass three readers that stand still, with limits of one megabyte."""
    stage, gate = Stage(), Gate()
    stage.producer(lambda fd: [write_all(fd, (b"x" * 99 + b"\n") * 5000) for _ in range(96)] and 0)
    stage.reader("quick", lambda fd: take_all(fd)[0])
    for overflow in ("spill", "drop_oldest", "drop_newest"):
        stage.reader(overflow, gate.before(lambda fd: take_all(fd)[0]), overflow, MIB)
    stage.on_report = lambda report: [gate.open() for _ in range(3)] if report.name == "quick" else None
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    out = stage.pump()
    out["growth_kib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return out


def test_memory_is_bounded_by_the_limits_not_by_the_stream():
    """At most consumers x limit + 4 MiB, and the droppers' counts are exact on 480 000 records."""
    out = play(many_limits)

    assert out["growth_kib"] <= (4 * MIB + 4 * MIB) // 1024
    assert out["results"]["spill"] == 48_000_000
    for name in ("drop_oldest", "drop_newest"):
        sink = out["sinks"][name]
        assert sink["delivered_bytes"] == out["results"][name]
        assert sink["delivered_bytes"] + sink["dropped_bytes"] == 48_000_000
        assert sink["delivered_bytes"] // 100 + sink["dropped_records"] == 480_000
        assert sink["dropped_records"] > 400_000
        assert sink["high_water_bytes"] <= MIB


def numbered_records():
    """Records of differing length, one of them too long, no newline at the end; both dropping readers stand still."""
    stage, gate = Stage(pipe_bytes=4096), Gate()
    records = [f"{number}:{'x' * (number % 90)}\n" for number in range(20_000)]
    records[10_000] = "y" * 70_000 + "\n"
    text = "".join(records) + "rest"
    stage.producer(lambda fd: write_all(fd, text.encode()))
    stage.reader("quick", lambda fd: take_all(fd)[0])
    for overflow in ("drop_oldest", "drop_newest"):
        stage.reader(overflow, gate.before(take_text), overflow, 30_000)
    stage.on_report = lambda report: [gate.open() for _ in range(2)] if report.name == "quick" else None
    out = stage.pump()
    out["produced"] = text
    return out


@pytest.mark.parametrize(("overflow", "last"), [("drop_oldest", "rest"), ("drop_newest", None)])
def test_what_is_dropped_is_whole_records_counted_exactly(overflow, last):
    """Delivered is a subsequence of whole records; delivered and dropped together are what was produced."""
    out = play(numbered_records)
    got, produced, sink = out["results"][overflow], out["produced"], out["sinks"][overflow]

    records = iter(produced.splitlines(keepends=True))
    assert all(piece in records for piece in got.splitlines(keepends=True))
    assert len(got) + sink["dropped_bytes"] == len(produced)
    assert len(got.splitlines()) + sink["dropped_records"] == 20_001
    assert got.startswith("0:\n1:x\n")
    assert last is None or got.endswith(last)


# -- the seam -----------------------------------------------------------------------------------------------


def counted():
    stage = Stage()
    seen: list[tuple[int, int]] = []
    stage.producer(produce(MIB))
    stage.reader("a", take_all)
    stage.reader("b", take_all)
    before = set(os.listdir("/dev/fd"))
    out = stage.pump(gauge=lambda fanout: seen.append((fanout.head, fanout.delivered_bytes)))
    out["rises"] = seen == sorted(seen)
    out["last"] = seen[-1]
    out["new_descriptors"] = sorted(set(os.listdir("/dev/fd")) - before)
    return out


def test_the_gauge_rises_to_the_totals_and_nothing_stays_open():
    """Bytes read and bytes delivered, never falling; no descriptor is left behind."""
    out = play(counted)

    assert out["rises"]
    assert out["last"] == [MIB, 2 * MIB]
    assert out["new_descriptors"] == []


def idle():
    """A silent producer, one reader that has all and one that takes nothing: how often does the pump wake?"""
    stage, gate = Stage(pipe_bytes=4096), Gate()
    wakes = [0]

    class CountingPoll(calls.table.poll):
        def poll(self, timeout_seconds=None):
            wakes[0] += 1
            return super().poll(timeout_seconds)

    calls.table.poll = CountingPoll

    def silent(fd: int) -> None:
        write_all(fd, bytes(8000))
        select.select([], [], [], 0.2)  # the time over which idleness is measured
        gate.open()

    stage.producer(silent)
    stage.reader("a", take_all)
    stage.reader("b", gate.before(take_all), "block", 8000)
    out = stage.pump()
    out["wakes"] = wakes[0]
    return out


def test_an_idle_pump_sleeps():
    """A fifth of a second with nothing to do costs a handful of wake-ups, not thousands."""
    out = play(idle)

    assert out["wakes"] < 20
    assert out["ends"] == {"a": "delivered", "b": "delivered"}


def small_pump() -> tuple[Fd, Fd, Fd]:
    """Ends for a pump inside the test process (source, sink, and the sink's reader): nothing here forks."""
    read, feed = make_pipe("source")
    reader, write = make_pipe("sink")
    feed.close()
    return read, write, reader


def test_a_wrong_policy_is_refused_and_everything_closed():
    """ValueError, and no descriptor survives it."""
    read, write, reader = small_pump()
    with pytest.raises(ValueError, match="unknown overflow policy"):
        pump(read, [Sink("a", write, "lossy")], lambda report: None)

    assert (read.number, write.number) == (-1, -1)
    reader.close()


def test_an_error_of_the_report_passes_through_and_everything_is_closed():
    """Whoever reports knows what to do about it."""
    read, write, reader = small_pump()

    def broken(report: object) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        pump(read, [Sink("a", write)], broken)

    assert (read.number, write.number) == (-1, -1)
    reader.close()


@pytest.mark.parametrize(
    ("asked", "got", "next_one"),
    [
        (FIRST_ASK_BYTES, FIRST_ASK_BYTES, 2 * FIRST_ASK_BYTES),
        (MIB, MIB, MIB),
        (MIB, MIB // 2 + 1, MIB),
        (MIB, MIB // 2, MIB // 2),
        (FIRST_ASK_BYTES, 10, FIRST_ASK_BYTES),
    ],
)
def test_reads_follow_what_the_source_gives(asked, got, next_one):
    """Twice as much after a full read, half as much after a half empty one, within bounds."""
    assert next_one == next_ask(asked, got, MIB)


if __name__ == "__main__":
    perform(globals())
