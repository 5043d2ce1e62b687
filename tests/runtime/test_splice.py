"""runtime/fanout/splice.py: the kernel duplicates, and whatever it refuses is made up for from memory.

Real pipes and processes, each scene in a fresh interpreter (see pump_stage.py); faults are planted in the call table.
"""

from __future__ import annotations

import errno
import itertools
import os
import socket
import sys
from contextlib import suppress
from typing import Any, Callable

import pytest
from pump_stage import (
    Gate,
    Stage,
    fingerprint,
    perform,
    play,
    produce,
    resized,
    slow_reader,
    take_all,
    whole,
    write_all,
)

from teastreams.core.fanout.staging import FIRST_ASK_BYTES
from teastreams.runtime import calls
from teastreams.runtime.fanout.reports import Sink
from teastreams.runtime.fds import Fd

pytestmark = pytest.mark.skipif(calls.portable(), reason="the portable path has no tee and no splice")

MIB = 2**20
TOTAL = 4_000_000
# A stream that lies in the source as a whole before anybody reads: how much comes at once is then no matter of timing.
FULL = 512 * 1024


class Count:
    """What was moved by which call, in bytes and in calls; `order` has the calls that fed one descriptor."""

    def __init__(self) -> None:
        self.bytes = dict.fromkeys(("tee", "splice", "write", "to_log"), 0)
        self.calls = dict(self.bytes)
        self.order: dict[int, list[str]] = {}
        table = calls.table
        tee, splice, write = table.tee, table.splice, table.write
        table.tee = lambda source, target, count: self.saw("tee", target, tee, source, target, count)
        table.splice = lambda source, target, count, offset=None: self.saw(
            "splice" if offset is None else "to_log", target, splice, source, target, count, offset
        )
        table.write = lambda fd, data: self.saw("write", fd, write, fd, data)

    def saw(self, name: str, target: int, call: Callable[..., int], *args: Any) -> int:
        self.calls[name] += 1
        count = call(*args)
        self.bytes[name] += count
        self.order.setdefault(target, []).append(name)
        return count


def readers(names: str = "abc", *, pipe_bytes: Any = None, total: int = TOTAL) -> Stage:
    stage = Stage(pipe_bytes)
    stage.producer(produce(total))
    for name in names:
        stage.reader(name, take_all)
    return stage


def full_source(names: str = "abc") -> Stage:
    """The readers' pipes have room for all of it, too."""
    stage, written = Stage(FULL), Gate()

    def fill(fd: int) -> str:
        said = produce(FULL)(fd)
        written.open()
        return said

    stage.producer(fill)
    written.wait()
    for name in names:
        stage.reader(name, take_all)
    return stage


def refusing(number: int, after: int = 0) -> Any:
    """A call that works so many times and is refused then."""

    def wrap(call: Any) -> Any:
        seen = [0]

        def wrapped(*args: Any) -> int:
            seen[0] += 1
            if seen[0] > after:
                raise OSError(number, os.strerror(number))
            return call(*args)

        wrapped.seen = seen  # type: ignore[attr-defined]
        return wrapped

    return wrap


def moody(call: Any, *moods: Any) -> Any:
    """A call that says EAGAIN or EINTR, or does less than it was asked, in turn."""
    turns = itertools.cycle(moods)

    def wrapped(source: int, target: int, count: int, *rest: Any) -> int:
        mood = next(turns)
        if isinstance(mood, type):
            raise mood(errno.EAGAIN, "injected")
        return call(source, target, min(count, mood), *rest)

    return wrapped


# -- all is well ----------------------------------------------------------------------------------------------


def by_the_kernel() -> Any:
    stage = full_source()
    count = Count()
    return {**stage.pump(), "bytes": count.bytes}


def test_most_of_a_stream_is_never_seen_by_the_pump():
    """Two copies are made by `tee`, one is the source itself, and next to nothing is written."""
    out = play(by_the_kernel)

    assert {name: whole(FULL) for name in "abc"} == {name: out["results"][name] for name in "abc"}
    assert out["bytes"]["tee"] == 2 * (FULL - FIRST_ASK_BYTES)
    assert out["bytes"]["write"] == 3 * FIRST_ASK_BYTES
    assert out["delivered_bytes"] == 3 * FULL


def one_reader() -> Any:
    stage = full_source("a")
    count = Count()
    return {**stage.pump(), "bytes": count.bytes}


def test_a_reader_that_is_alone_gets_the_source_itself():
    """Nothing has to be duplicated."""
    out = play(one_reader)

    assert out["results"]["a"] == whole(FULL)
    assert out["bytes"]["tee"] == 0
    assert out["bytes"]["splice"] == 2 * (FULL - FIRST_ASK_BYTES)


def one_page() -> Any:
    stage = readers("abc", pipe_bytes=4096, total=MIB)
    count = Count()
    return {**stage.pump(), "bytes": count.bytes}


def test_pipes_of_one_page_are_enough():
    """Rounds of a page."""
    out = play(one_page)

    assert {name: whole(MIB) for name in "abc"} == {name: out["results"][name] for name in "abc"}
    assert out["bytes"]["tee"] > 0


def one_sips() -> Any:
    """Two readers in a hurry, one that takes a little at a time."""

    def sip(fd: int) -> Any:
        length = 0
        while data := os.read(fd, 3000):
            length += len(data)
        return length

    stage = readers("ab")
    stage.reader("sipper", sip, "block", 200_000)
    return stage.pump()


def test_who_reads_a_little_at_a_time_gets_all():
    """Its pipe never has room for a round."""
    out = play(one_sips)

    assert out["results"]["sipper"] == TOTAL
    assert whole(TOTAL) == out["results"]["a"] == out["results"]["b"]
    assert out["sinks"]["sipper"]["high_water_bytes"] <= 200_000


def comes_back() -> Any:
    """The late reader begins when some rounds have been made without it, and the rest of the stream waits for that."""
    stage, late, rest, caught_up = Stage(), Gate(), Gate(), Gate()

    def in_two_parts(fd: int) -> str:
        blocks = itertools.cycle([bytes(65536)])
        for block in itertools.islice(blocks, 64):
            write_all(fd, block)
        caught_up.wait()
        for block in itertools.islice(blocks, 64):
            write_all(fd, block)
        return "all written"

    def counting(fd: int) -> int:
        length = 0
        while data := os.read(fd, 65536):
            length += len(data)
            if length == 64 * 65536:
                caught_up.open()
        return length

    stage.producer(in_two_parts)
    stage.reader("quick", lambda fd: take_all(fd)[0])
    stage.reader("late", late.before(counting), "block", 8 * MIB)
    number = stage.sinks[1].fd.number
    count = Count()

    def gauge(fanout: Any) -> None:
        if fanout.head == 64 * 65536 and fanout.delivered_bytes >= fanout.head:
            late.open()

    rest.open()
    out = stage.pump(gauge=gauge)
    return {**out, "order": [name for name, _ in itertools.groupby(count.order[number])]}


def test_who_lags_goes_on_from_memory_and_comes_back():
    """Moved, then written, then moved again: and everything came."""
    out = play(comes_back)

    assert out["results"]["late"] == out["results"]["quick"] == 128 * 65536
    assert "splice" in out["order"][out["order"].index("write") + 1 :]


def beside_a_dropper() -> Any:
    stage = full_source("ab")
    stage.reader("dropper", lambda fd: take_all(fd)[0], "drop_oldest", 100_000)
    count = Count()
    return {**stage.pump(), "bytes": count.bytes}


def test_who_drops_records_is_served_from_memory_beside_the_others():
    """It needs whole records; the others are fed by the kernel all the same."""
    out = play(beside_a_dropper)

    sink = out["sinks"]["dropper"]
    assert sink["delivered_bytes"] + sink["dropped_bytes"] == FULL
    assert out["results"]["dropper"] == sink["delivered_bytes"]
    assert whole(FULL) == out["results"]["a"] == out["results"]["b"]
    assert out["bytes"]["tee"] == 2 * (FULL - FIRST_ASK_BYTES)


# -- spilling -------------------------------------------------------------------------------------------------


def straight_to_disk() -> Any:
    """The quick one has room for everything; of the slow one's a quarter fits into its pipes and its memory."""
    stage, gate = full_source("q"), Gate()
    stage.reader("slow", gate.before(take_all), "spill", 4096)
    resized(stage.sinks[1].fd, 65536)
    stage.on_report = lambda report: gate.open() if report.name == "q" else None
    count = Count()
    return {**stage.pump(), "bytes": count.bytes}


def test_who_is_far_behind_gets_its_bytes_on_disk_without_their_being_read():
    """`splice` into the log: byte-exact, and the pump has read little of it."""
    out = play(straight_to_disk)

    assert whole(FULL) == out["results"]["q"] == out["results"]["slow"]
    assert out["bytes"]["to_log"] > FULL // 2


def disk_that_cannot_splice() -> Any:
    splice = calls.table.splice

    def refuse(source: int, target: int, count: int, offset: Any = None) -> int:
        if offset is not None:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return splice(source, target, count)

    calls.table.splice = refuse
    return slow_reader("spill", TOTAL, 100_000)


def disk_that_is_moody() -> Any:
    splice = calls.table.splice
    some = moody(splice, InterruptedError, 5000, 1)

    def to_log(source: int, target: int, count: int, offset: Any = None) -> int:
        return splice(source, target, count) if offset is None else some(source, target, count, offset)

    calls.table.splice = to_log
    return slow_reader("spill", 2_000_000, 100_000)


@pytest.mark.parametrize(("scene", "total"), [(disk_that_cannot_splice, TOTAL), (disk_that_is_moody, 2_000_000)])
def test_a_file_that_takes_no_splice_is_written(scene, total):
    """Refused, interrupted or short: by way of memory then."""
    out = play(scene)

    assert whole(total) == out["results"]["quick"] == out["results"]["slow"]
    assert out["spill_errors"] == 0


# -- the kernel refuses -----------------------------------------------------------------------------------------


def tee_refused(number: int = errno.ENOSYS, after: int = 0) -> Any:
    stage = readers()
    calls.table.tee = wrapped = refusing(number, after)(calls.table.tee)
    return {**stage.pump(), "asked": wrapped.seen[0]}


def tee_refused_eperm() -> Any:
    return tee_refused(errno.EPERM)


def tee_refused_einval() -> Any:
    return tee_refused(errno.EINVAL)


def tee_refused_later() -> Any:
    return tee_refused(errno.EPERM, after=7)


@pytest.mark.parametrize(
    ("scene", "asked"), [(tee_refused, 1), (tee_refused_eperm, 1), (tee_refused_einval, 1), (tee_refused_later, 8)]
)
def test_a_kernel_that_refuses_tee_is_asked_once_more_and_never_again(scene, asked):
    """At once, or in the middle of a round: everything comes, by way of memory."""
    out = play(scene)

    assert {name: whole(TOTAL) for name in "abc"} == {name: out["results"][name] for name in "abc"}
    assert dict.fromkeys("abc", "delivered") == out["ends"]
    assert out["asked"] == asked


def splice_refused() -> Any:
    stage = readers()
    calls.table.splice = refusing(errno.EINVAL, 9)(calls.table.splice)
    return stage.pump()


def splice_moves_nothing() -> Any:
    stage = readers()
    splice, seen = calls.table.splice, [0]

    def tired(source: int, target: int, count: int) -> int:
        seen[0] += 1
        return splice(source, target, count) if seen[0] < 10 else 0

    calls.table.splice = tired
    return stage.pump()


@pytest.mark.parametrize("scene", [splice_refused, splice_moves_nothing])
def test_what_lies_in_a_staging_pipe_is_read_back_when_splice_is_refused(scene):
    """Not a byte is lost with the pipe."""
    out = play(scene)

    assert {name: whole(TOTAL) for name in "abc"} == {name: out["results"][name] for name in "abc"}


def moody_kernel() -> Any:
    stage = readers(total=2_000_000)
    calls.table.tee = moody(calls.table.tee, MIB, 5000, BlockingIOError, MIB, InterruptedError, MIB, 70_000)
    calls.table.splice = moody(calls.table.splice, MIB, MIB, 1, MIB, BlockingIOError, MIB, InterruptedError, 30_000)
    return stage.pump()


def test_short_counts_eintr_and_eagain_are_invisible():
    """Copies of unequal length are made even from memory."""
    out = play(moody_kernel)

    assert {name: whole(2_000_000) for name in "abc"} == {name: out["results"][name] for name in "abc"}


def nothing_to_read_back() -> Any:
    stage = readers()
    bad = stage.sinks[0].fd.number
    splice, read, lost = calls.table.splice, calls.table.read, []

    def refuse(source: int, target: int, count: int) -> int:
        if target != bad:
            return splice(source, target, count)
        lost.append(source)
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    def gone(fd: int, count: int) -> bytes:
        if fd in lost:
            raise BlockingIOError
        return read(fd, count)

    calls.table.splice, calls.table.read = refuse, gone
    return stage.pump()


def test_who_lost_bytes_is_cut_and_never_counted_as_served():
    """Whatever the kernel did with them: the reader learns it."""
    out = play(nothing_to_read_back)

    assert out["ends"] == {"a": "cut", "b": "delivered", "c": "delivered"}
    assert out["sinks"]["a"]["detail"] == "bytes of its staging pipe are gone"
    length, digest = out["results"]["a"]
    assert (length < TOTAL, digest) == (True, fingerprint(length))


def second_reader_of_the_source() -> Any:
    stage = readers("ab")
    source = stage.source.number
    read, tee = calls.table.read, calls.table.tee
    teed: list[int] = []

    def short(from_fd: int, target: int, count: int) -> int:
        teed.append(target)
        return tee(from_fd, target, count)

    calls.table.tee = short
    calls.table.splice = refusing(errno.EINVAL)(calls.table.splice)
    calls.table.read = lambda fd, count: b"" if fd == source and teed else read(fd, count)
    return stage.pump()


def test_an_end_of_file_in_the_middle_of_a_round_is_no_end():
    """Bytes that were there a moment ago have gone: everybody is cut."""
    out = play(second_reader_of_the_source)

    assert (out["source"], out["ends"]) == ("FAILED", {"a": "cut", "b": "cut"})
    assert "somebody else reads the channel" in out["sinks"]["a"]["detail"]


# -- who cannot have a staging pipe -------------------------------------------------------------------------------


def no_more_pipes() -> Any:
    stage = readers()

    def none_left() -> Any:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    calls.table.pipe = none_left
    count = Count()
    return {**stage.pump(), "bytes": count.bytes}


def quota_used_up() -> Any:
    stage = readers()
    fcntl = calls.table.fcntl

    def small(fd: int, command: int, *rest: Any) -> Any:
        if command == calls.F_SETPIPE_SZ:
            return fcntl(fd, command, 4096)
        return fcntl(fd, command, *rest)

    calls.table.fcntl = small
    count = Count()
    return {**stage.pump(), "bytes": count.bytes}


@pytest.mark.parametrize("scene", [no_more_pipes, quota_used_up])
def test_without_room_for_staging_pipes_memory_serves(scene):
    """No descriptors, or pipes of a page: nothing fails."""
    out = play(scene)

    assert {name: whole(TOTAL) for name in "abc"} == {name: out["results"][name] for name in "abc"}
    assert out["bytes"]["tee"] == 0


def relay(source: int, target: int) -> None:
    """Fork a process that copies one descriptor to another, and holds no other."""
    if not os.fork():
        for fd in range(3, 200):
            if fd not in (source, target):
                with suppress(OSError):
                    os.close(fd)
        while data := os.read(source, 65536):
            write_all(target, data)
        os._exit(0)
    os.close(source)
    os.close(target)


def into_a_socket() -> Any:
    stage = readers("ab")
    count = Count()
    ours, theirs = socket.socketpair()
    sink = stage.sinks[1]
    relay(theirs.detach(), sink.fd.take())
    stage.sinks[1] = Sink(sink.name, Fd(ours.detach(), "a socket"))
    return {**stage.pump(), "bytes": count.bytes}


def out_of_a_socket() -> Any:
    stage = readers("ab")
    count = Count()
    ours, theirs = socket.socketpair()
    relay(stage.source.take(), theirs.detach())
    stage.source = Fd(ours.detach(), "a socket")
    return {**stage.pump(), "bytes": count.bytes}


@pytest.mark.parametrize(("scene", "teed"), [(into_a_socket, True), (out_of_a_socket, False)])
def test_what_is_no_pipe_is_served_from_memory(scene, teed):
    """A reader alone, or everybody when it is the source."""
    out = play(scene)

    assert whole(TOTAL) == out["results"]["a"] == out["results"]["b"]
    assert (out["bytes"]["tee"] > 0) is teed


# -- leaving --------------------------------------------------------------------------------------------------


def killed_with_a_full_staging_pipe() -> Any:
    """Its pipe is full and its staging pipe is not empty when it dies."""
    stage, gate = Stage(pipe_bytes=65536), Gate()
    stage.producer(produce(TOTAL))
    stage.reader("a", take_all)
    stage.reader("doomed", gate.before(lambda fd: os.kill(os.getpid(), 9)), "block", MIB)
    stage.reader("b", take_all)
    doomed = stage.sinks[1].fd.number
    splice, full = calls.table.splice, []

    def watched(source: int, target: int, count: int) -> int:
        moved = 0
        try:
            moved = splice(source, target, count)
        finally:
            if target == doomed and moved < count and not full:
                full.append(count - moved)
                gate.open()
        return moved

    calls.table.splice = watched
    out_of_pump = pump_without_results(stage, "doomed")
    return {**out_of_pump, "left_in_staging": full}


def pump_without_results(stage: Stage, name: str) -> Any:
    """A killed reader has no result to read."""
    results = stage._results
    read, write = os.pipe()
    os.write(write, b"null")
    os.close(write)
    os.close(results[name])
    results[name] = read
    return stage.pump()


def test_who_is_killed_with_bytes_in_its_staging_pipe_changes_nothing_for_the_others():
    """It left; what it had not taken is not counted as delivered."""
    out = play(killed_with_a_full_staging_pipe)

    assert out["ends"] == {"a": "delivered", "doomed": "left", "b": "delivered"}
    assert whole(TOTAL) == out["results"]["a"] == out["results"]["b"]
    assert out["left_in_staging"]
    assert out["sinks"]["doomed"]["delivered_bytes"] < TOTAL


# -- what it costs where it is not used ---------------------------------------------------------------------------


def trickle() -> Any:
    stage = Stage()
    stage.producer(lambda fd: os.write(fd, b"a little"))
    stage.reader("a", take_all)
    stage.reader("b", take_all)
    before = "ctypes" in sys.modules
    out = stage.pump()
    return {**out, "ctypes": (before, "ctypes" in sys.modules)}


def test_a_stream_that_gives_little_never_loads_what_the_fast_path_needs():
    """Memory is quicker for it, and ctypes takes milliseconds."""
    assert play(trickle)["ctypes"] == [False, False]


def portable() -> Any:
    stage = readers()
    os.environ[calls.PORTABLE] = "1"
    count = Count()
    return {**stage.pump(), "bytes": count.bytes, "ctypes": "ctypes" in sys.modules}


def test_the_portable_path_duplicates_nothing_in_the_kernel():
    """Everything is read and written."""
    out = play(portable)

    assert {name: whole(TOTAL) for name in "abc"} == {name: out["results"][name] for name in "abc"}
    assert (out["bytes"]["tee"], out["bytes"]["splice"], out["ctypes"]) == (0, 0, False)


if __name__ == "__main__":
    perform(globals())
