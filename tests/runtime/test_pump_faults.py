"""runtime/fanout/pump.py when something goes wrong: faulty calls, a refusing disk, broken pipes, a lost supervisor.

Faults are planted in the call table of the scene's own interpreter; see pump_stage.py.
"""

from __future__ import annotations

import errno
import itertools
import os
import resource
import signal
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
    stream,
    take_all,
    take_text,
    whole,
    write_all,
)

from teastreams.runtime import calls
from teastreams.runtime.fanout.reports import Instruction
from teastreams.runtime.fds import make_pipe

TEN_MB = 10_000_000


def awkward_calls():
    """Every call gives as little as it may, or says EINTR or EAGAIN first."""
    stage = Stage()
    stage.producer(produce(30_000))
    stage.reader("a", take_all)
    stage.reader("b", take_all, "spill", 100)

    def moody(call, *refusals):
        moods = itertools.cycle([*refusals, None, None])

        def wrapped(*args):
            mood = next(moods)
            if mood is not None:
                raise mood(errno.EAGAIN, "injected")
            return call(*args)

        return wrapped

    calls.table.read = moody(lambda fd, count: os.read(fd, min(count, 7)), InterruptedError, BlockingIOError)
    calls.table.write = moody(lambda fd, data: os.write(fd, data[:5]), BlockingIOError, InterruptedError)
    calls.table.pwrite = lambda fd, data, place: os.pwrite(fd, data[:3], place)
    real_poll = calls.table.poll

    class MoodyPoll(real_poll):
        poll = moody(real_poll.poll, InterruptedError)

    calls.table.poll = MoodyPoll
    control, supervisor = make_pipe("control")
    write_all(supervisor.number, b"nothing that the pump knows")
    return stage.pump(control=control)


def test_short_counts_eintr_and_eagain_are_invisible():
    """One to seven bytes at a time, and every other call refused: byte-exact."""
    out = play(awkward_calls)

    assert whole(30_000) == out["results"]["a"] == out["results"]["b"]


# -- the disk -----------------------------------------------------------------------------------------------


def refusing_disk(replace: Any):
    """The slow reader begins when the disk has refused: until then it holds everybody."""
    stage, gate = Stage(), Gate()
    stage.producer(produce(TEN_MB))
    stage.reader("quick", take_all)
    stage.reader("slow", gate.before(take_all), "spill", 100_000)
    replace(gate)
    return stage.pump(spill_directory="/var/tmp")


def full_disk():
    def replace(gate: Gate) -> None:
        def refuse(fd: int, data: Any, place: int) -> int:
            if place < 1_000_000:
                return os.pwrite(fd, data, place)
            gate.open()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        real_splice = calls.table.splice

        def refuse_to_move(source: int, target: int, count: int, offset: Any = None) -> int:
            if offset is None or offset < 1_000_000:
                return real_splice(source, target, count, offset)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        calls.table.pwrite, calls.table.splice = refuse, refuse_to_move

    return refusing_disk(replace)


def truly_full_device():
    def replace(gate: Gate) -> None:
        def full(directory: Any) -> int:
            gate.open()
            return os.open("/dev/full", os.O_RDWR)

        calls.table.temporary_file = full

    return refusing_disk(replace)


def limited_file_size():
    def replace(gate: Gate) -> None:
        signal.signal(signal.SIGXFSZ, lambda *_: gate.open())
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))

    return refusing_disk(replace)


@pytest.mark.parametrize(
    ("scene", "errno_text"),
    [
        (full_disk, "No space left on device"),
        (truly_full_device, "No space left on device"),
        (limited_file_size, "File too large"),
    ],
)
def test_a_disk_that_refuses_costs_speed_never_a_byte(scene, errno_text):
    """ENOSPC from the seam, from /dev/full, EFBIG from the limit: everybody gets all, the refusal is named."""
    out = play(scene)

    assert whole(TEN_MB) == out["results"]["quick"] == out["results"]["slow"]
    assert out["ends"] == {"quick": "delivered", "slow": "delivered"}
    assert out["spill_errors"] >= 1
    assert f"spilling to /var/tmp failed: {errno_text}" == out["spill_error"]


def unreadable_log():
    def broken(fd: int, count: int, place: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    calls.table.pread = broken
    return slow_reader("spill", TEN_MB, 100_000)


def test_a_log_that_cannot_be_read_back_cuts_its_reader():
    """It is reported as cut, with the reason, and never as delivered."""
    out = play(unreadable_log)

    assert out["ends"] == {"quick": "delivered", "slow": "cut"}
    assert (
        "overflow log in the temporary directory cannot be read back: Input/output error"
        in (out["sinks"]["slow"]["detail"])
    )
    length, digest = out["results"]["slow"]
    assert length < TEN_MB
    assert fingerprint(length) == digest


# -- faults of the pipes ------------------------------------------------------------------------------------


def unreadable_source():
    stage = Stage()
    stage.producer(produce(1000))
    stage.reader("a", take_all)

    def broken(fd: int, count: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    calls.table.read = broken
    return stage.pump()


def test_a_source_that_cannot_be_read_cuts_everybody():
    """An error is no end of file."""
    out = play(unreadable_source)

    assert (out["source"], out["ends"]) == ("FAILED", {"a": "cut"})
    assert out["sinks"]["a"]["detail"] == "reading the channel failed: Input/output error"


def sink_that_fails(number: int):
    stage = Stage()
    stage.producer(produce(1000))
    stage.reader("a", take_all)
    stage.reader("b", take_all)
    bad = stage.sinks[0].fd.number

    def broken(fd: int, data: Any) -> int:
        if fd == bad:
            raise OSError(number, os.strerror(number))
        return os.write(fd, data)

    calls.table.write = broken
    return stage.pump()


def unwritable_sink():
    return sink_that_fails(errno.EIO)


def test_a_sink_that_cannot_be_written_is_cut_alone():
    """Others go on."""
    out = play(unwritable_sink)

    assert out["ends"] == {"a": "cut", "b": "delivered"}
    assert out["sinks"]["a"]["detail"] == "writing to it failed: Input/output error"
    assert whole(1000) == out["results"]["b"]


def abandoned_sink():
    return sink_that_fails(errno.EPIPE)


def test_a_broken_pipe_is_a_reader_that_left():
    """Noticed by a write before poll could tell: no error, no detail."""
    out = play(abandoned_sink)

    assert out["ends"] == {"a": "left", "b": "delivered"}
    assert out["sinks"]["a"]["detail"] == ""


# -- the supervisor -----------------------------------------------------------------------------------------


def told_that_the_source_ended(data: bytes) -> Instruction:
    return Instruction.SOURCE_ENDED


def held_source():
    """The producer has ended, but its write end lives on here; only the drain time ends that."""
    stage = Stage()
    read, ours = make_pipe("source")
    stage.source = read
    os.write(ours.number, b"some bytes")
    stage.reader("a", take_text)
    control, supervisor = make_pipe("control")
    os.write(supervisor.number, b"ended")
    return stage.pump(control=control, on_control=told_that_the_source_ended, drain_seconds=0.02)


def test_a_held_source_is_given_up_after_the_drain_time():
    """Somebody outside still holds the write end: what came is delivered, and nobody is told it was all."""
    out = play(held_source)

    assert (out["source"], out["ends"]) == ("HELD", {"a": "held"})
    assert out["results"]["a"] == "some bytes"
    assert "somebody else still holds its stream open" in out["sinks"]["a"]["detail"]


def drain_and_slow_reader():
    """The clock leaps by an hour at every look; all bytes are in the source and it has ended, but the reader waits."""
    stage, gate = Stage(pipe_bytes=4096), Gate()
    hours = iter(range(0, 10**9, 3600))
    calls.table.monotonic = lambda: next(hours)
    stage.source, ours = make_pipe("source")
    write_all(ours.number, next(stream(60_000)))
    ours.close()
    stage.reader("slow", gate.before(take_all), limit=1000)
    control, supervisor = make_pipe("control")
    os.write(supervisor.number, b"ended")
    told: list[bytes] = []

    class WatchedPoll(calls.table.poll):
        def poll(self, timeout_seconds=None):
            if told and timeout_seconds is None:
                gate.open()
            return super().poll(timeout_seconds)

    def on_control(data: bytes) -> Instruction:
        told.append(data)
        return Instruction.SOURCE_ENDED

    calls.table.poll = WatchedPoll
    return stage.pump(control=control, on_control=on_control, drain_seconds=5)


def test_the_drain_time_does_not_run_while_a_slow_reader_holds_the_source():
    """Only a source that is empty, open and wanted counts as held."""
    out = play(drain_and_slow_reader)

    assert (out["source"], out["ends"]) == ("EOF", {"slow": "delivered"})
    assert whole(60_000) == out["results"]["slow"]


def orphaned():
    stage = Stage()
    read, _ours = make_pipe("source")
    stage.source = read
    stage.reader("a", take_text)
    control, supervisor = make_pipe("control")
    supervisor.close()
    out = stage.pump(control=control)
    out["source_closed"] = not read
    return out


def test_without_a_supervisor_the_pump_leaves_at_once():
    """Nobody is left to report to; everything is closed."""
    out = play(orphaned)

    assert (out["source"], out["ends"], out["results"]["a"]) == ("ABANDONED", {}, "")
    assert out["source_closed"]


if __name__ == "__main__":
    perform(globals())
