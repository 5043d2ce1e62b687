"""core/fanout/arithmetic.py: each policy by itself, and all of them under thousands of random schedules."""

from __future__ import annotations

import pytest
from simulate import known_seeds, simulate

from teastreams.core.endings import SinkEnd
from teastreams.core.fanout.arithmetic import LEAST_READ_BYTES, READ_BYTES, Fanout, LogRead, Terms

MIB = 1024 * 1024
GIB = 1024 * MIB


def fanout_of(*terms: tuple[str, int], spill_limit: int = 1000, read_bytes: int = READ_BYTES) -> Fanout:
    return Fanout([Terms(*each) for each in terms], spill_limit, read_bytes)


def take(fanout: Fanout, index: int, count: int = GIB) -> bytes:
    """Write what is owed, at most `count` bytes; stops where the log would have to be read."""
    got = b""
    while count > 0 and index in fanout.live:
        piece = fanout.owed(index)
        if piece is None or isinstance(piece, LogRead):
            break
        part = bytes(piece[:count])
        got, count = got + part, count - len(part)
        fanout.wrote(index, len(part))
    return got


class Disk:
    """A log that takes everything and remembers how."""

    def __init__(self, fanout: Fanout) -> None:
        self.fanout, self.start, self.data = fanout, -1, b""

    def keep(self) -> None:
        todo = self.fanout.to_append()
        while todo is not None:
            offset, piece = todo
            self.start = offset if self.start < 0 else self.start
            self.data += bytes(piece)
            self.fanout.appended(len(piece))
            todo = self.fanout.to_append()

    def fetch(self, index: int) -> LogRead:
        todo = self.fanout.owed(index)
        assert isinstance(todo, LogRead)
        place = todo.offset - self.start
        self.fanout.fetched(index, self.data[place : place + todo.length])
        return todo


class TestTerms:
    def test_an_unknown_policy_is_refused_with_the_known_ones(self):
        """The message lists what may be written instead."""
        with pytest.raises(ValueError, match="unknown overflow policy 'lossy'; use one of block, spill, drop_oldest"):
            Terms("lossy", 1)

    def test_a_limit_holds_at_least_one_byte(self):
        """0 is refused, 1 is not."""
        with pytest.raises(ValueError, match="a buffer limit of 0 bytes holds nothing; use 1 or more"):
            Terms("block", 0)

        assert Terms("block", 1).limit_bytes == 1


class TestOneWindowForAll:
    def test_readers_share_the_bytes(self):
        """However many lag, a byte is held once, and each gets the object that was read."""
        fanout = fanout_of(*[("block", MIB)] * 64)
        data = bytes(5000)
        fanout.feed(data)

        assert fanout.held_bytes == 5000
        assert all(fanout.owed(index) is data for index in range(64))

    def test_bytes_are_forgotten_when_the_last_has_them(self):
        """Memory is that of the slowest, not of the stream."""
        fanout = fanout_of(("block", MIB), ("block", MIB))
        for _ in range(10):
            fanout.feed(bytes(5000))
        take(fanout, 0)
        take(fanout, 1, 45_001)
        fanout.demand()

        assert fanout.held_bytes == 4999

    def test_a_reader_that_leaves_frees_what_only_it_needed(self):
        """Recomputed at once: the source may be read again, and memory is given back."""
        fanout = fanout_of(("block", 100), ("block", 100))
        fanout.feed(bytes(100))
        take(fanout, 0)
        assert fanout.demand() == 0

        fanout.leave(1)

        assert fanout.demand() == 100
        assert fanout.held_bytes == 0


class TestBlock:
    def test_demand_is_the_least_room(self):
        """The fullest consumer says how much may be read."""
        fanout = fanout_of(("block", 100), ("block", 80), ("block", 90), read_bytes=1000)

        assert fanout.demand() == 80

    @pytest.mark.parametrize(("lag", "demand"), [(50, 50), (51, 0), (100, 0), (0, 100)])
    def test_the_source_is_not_read_in_drips(self, lag, demand):
        """Less than half the limit (and less than 64 KiB) is no room, unless nothing is owed."""
        fanout = fanout_of(("block", 100), read_bytes=1000)
        fanout.feed(bytes(100))
        take(fanout, 0, 100 - lag)

        assert demand == fanout.demand()

    def test_a_large_limit_is_used_up_to_64_kib(self):
        """Limit - 64 KiB of lag still reads, one byte more does not."""
        fanout = fanout_of(("block", MIB))
        fanout.feed(bytes(MIB - LEAST_READ_BYTES))
        assert fanout.demand() == LEAST_READ_BYTES

        fanout.feed(b"x")

        assert fanout.demand() == 0

    def test_high_water_is_what_could_not_be_written(self):
        """A chunk that went straight through is no lag."""
        fanout = fanout_of(("block", MIB), ("block", MIB))
        fanout.feed(bytes(1000))
        take(fanout, 0)
        take(fanout, 1, 400)
        fanout.demand()
        take(fanout, 1)
        fanout.demand()

        assert (fanout.counters(0).high_water_bytes, fanout.counters(1).high_water_bytes) == (0, 600)


class TestEnd:
    def test_a_quick_reader_is_finished_before_a_slow_one(self):
        """Each is settled the moment it has everything."""
        fanout = fanout_of(("block", 100), ("block", 100))
        fanout.feed(b"12345")
        take(fanout, 0)
        fanout.end()

        assert fanout.settled() == ((0, SinkEnd.DELIVERED),)
        assert take(fanout, 1) == b"12345"
        assert fanout.settled() == ((1, SinkEnd.DELIVERED),)
        assert fanout.settled() == ()
        assert not fanout.live

    def test_nothing_is_read_after_the_end(self):
        """Neither when a reader still lags nor when all are gone."""
        fanout = fanout_of(("block", 100))
        fanout.feed(b"1")
        fanout.end()
        assert fanout.demand() == 0

        take(fanout, 0)

        assert fanout.demand() == 0

    def test_nothing_is_read_when_all_have_left(self):
        """The pump closes the source then, and the producer gets EPIPE."""
        fanout = fanout_of(("block", 100), ("drop_newest", 100))
        fanout.leave(0)
        fanout.leave(1)

        assert fanout.demand() == 0
        assert fanout.settled() == ((0, SinkEnd.LEFT), (1, SinkEnd.LEFT))

    def test_leaving_twice_is_settled_once(self):
        """A broken pipe can be noticed by a write and by poll in the same round."""
        fanout = fanout_of(("block", 100))
        fanout.leave(0)
        fanout.leave(0, SinkEnd.CUT)

        assert fanout.settled() == ((0, SinkEnd.LEFT),)

    def test_an_empty_stream_is_delivered(self):
        """End of file at once: everybody has everything."""
        fanout = fanout_of(("block", 1), ("spill", 1), ("drop_oldest", 1), ("drop_newest", 1), ("fail", 1))
        fanout.end()

        assert [end for _, end in fanout.settled()] == [SinkEnd.DELIVERED] * 5


class TestFail:
    def test_a_full_reader_fails_with_the_next_byte(self):
        """Limit is allowed, limit + 1 is an overflow: nothing more is owed to it, others go on."""
        fanout = fanout_of(("fail", 100), ("block", 1000))
        fanout.feed(bytes(100))
        take(fanout, 1)
        assert fanout.settled() == ()

        fanout.feed(b"x")

        assert fanout.settled() == ((0, SinkEnd.OVERFLOWED),)
        assert take(fanout, 1) == b"x"

    def test_only_what_it_has_not_taken_counts(self):
        """A reader that keeps up never overflows, however long the stream."""
        fanout = fanout_of(("fail", 100))
        for _ in range(10):
            fanout.feed(bytes(100))
            take(fanout, 0)

        assert fanout.settled() == ()

    def test_reading_stops_exactly_at_its_limit(self):
        """A large read must not break a reader that a smaller one would not have broken."""
        fanout = fanout_of(("fail", 100))
        fanout.feed(bytes(99))

        assert fanout.demand() == 1

    def test_a_full_reader_does_not_hold_the_producer(self):
        """With no room left the source is read on: an end of file is not an overflow, a byte is."""
        fanout = fanout_of(("fail", 100))
        fanout.feed(bytes(100))

        assert fanout.demand() == READ_BYTES
        fanout.end()
        assert fanout.settled() == ()
        assert bytes(100) == take(fanout, 0)
        assert fanout.settled() == ((0, SinkEnd.DELIVERED),)


class TestDrop:
    @pytest.mark.parametrize(("policy", "kept"), [("drop_oldest", b"c\nd\n"), ("drop_newest", b"a\nb\n")])
    def test_a_still_reader_loses_whole_records_and_holds_nobody(self, policy, kept):
        """The producer is never held, the losses are counted."""
        fanout = fanout_of((policy, 4))
        for record in (b"a\n", b"b\n", b"c\n", b"d\n"):
            fanout.feed(record)
            assert fanout.demand() > 0
        got = take(fanout, 0)
        fanout.end()

        assert kept == got
        counters = fanout.counters(0)
        assert (counters.delivered_bytes, counters.dropped_bytes, counters.dropped_records) == (4, 4, 2)
        assert fanout.settled() == ((0, SinkEnd.DELIVERED),)

    def test_a_reader_that_keeps_up_loses_nothing_to_a_large_read(self):
        """No more is read than it has room for, while it has some."""
        fanout = fanout_of(("drop_newest", 100))
        fanout.feed(b"x" * 40)
        assert fanout.demand() == 60
        fanout.feed(b"y" * 10)
        assert fanout.demand() == 50

        fanout.feed(b"z")

        assert fanout.demand() == 100

    def test_the_unterminated_rest_is_owed_at_the_end(self):
        """Not before: it could still grow beyond the limit."""
        fanout = fanout_of(("drop_oldest", 100))
        fanout.feed(b"rest")
        assert fanout.owed(0) is None
        fanout.end()

        assert fanout.settled() == ()
        assert take(fanout, 0) == b"rest"
        assert fanout.settled() == ((0, SinkEnd.DELIVERED),)

    def test_the_shared_window_does_not_grow_for_it(self):
        """Its queue is its own; the window holds nothing for it."""
        fanout = fanout_of(("drop_newest", 1000))
        for _ in range(100):
            fanout.feed(b"0123456789\n" * 10)
            fanout.demand()

        assert fanout.held_bytes <= 1000


class TestSpill:
    def lagging(self) -> tuple[Fanout, Disk]:
        """Reader 0 has everything, reader 1 stands still; 300 bytes came, 100 may be held for it."""
        fanout = fanout_of(("block", 1000), ("spill", 100))
        disk = Disk(fanout)
        for letter in b"abcdef":
            fanout.feed(bytes([letter]) * 50)
            take(fanout, 0)
            disk.keep()
            fanout.demand()
        return fanout, disk

    def test_within_its_memory_nothing_is_written(self):
        """At the limit the log is off, one byte further it is on and starts where the reader stands."""
        fanout = fanout_of(("spill", 100))
        fanout.feed(bytes(100))
        take(fanout, 0, 10)
        fanout.feed(bytes(10))
        assert fanout.to_append() is None

        fanout.feed(b"x")

        todo = fanout.to_append()
        assert todo is not None
        assert todo[0] == 10

    def test_memory_stays_at_the_limit_and_the_producer_goes_on(self):
        """The disk holds what memory gave up, each byte once and in order."""
        fanout, disk = self.lagging()

        assert fanout.held_bytes == 100
        assert disk.start == 0
        assert len(disk.data) >= fanout.head - 100
        assert b"".join(bytes([letter]) * 50 for letter in b"abcdef").startswith(disk.data)
        assert fanout.demand() > 0

    def test_the_laggard_gets_disk_then_memory(self):
        """Byte-exact across the seam, and counted apart."""
        fanout, disk = self.lagging()
        got = b""
        while 1 in fanout.live:
            if fanout.owed(1) is None:
                fanout.end()
            elif isinstance(fanout.owed(1), LogRead):
                assert disk.fetch(1).length == 200
            got += take(fanout, 1, 30)

        assert b"".join(bytes([letter]) * 50 for letter in b"abcdef") == got
        assert fanout.counters(1).spilled_bytes == 200
        assert fanout.counters(1).delivered_bytes == 300

    def test_however_small_the_limit_a_page_comes_back_at_a_time(self):
        """Byte by byte it took fifty times as long; never more than there is, nor what memory has anyway."""
        fanout = fanout_of(("block", GIB), ("spill", 1))
        disk, asked = Disk(fanout), []
        fanout.feed(b"x" * 10_000)
        take(fanout, 0)
        disk.keep()
        fanout.demand()
        while isinstance(fanout.owed(1), LogRead):
            asked.append(disk.fetch(1).length)
            take(fanout, 1, asked[-1])
        asked.append(len(take(fanout, 1)))

        assert asked == [4096, 4096, 1807, 1]

    def test_the_log_ends_well_inside_memory(self):
        """Not at the limit, where it would be started again at once, but at half of it."""
        fanout, disk = self.lagging()
        while isinstance(fanout.owed(1), LogRead):
            take(fanout, 1, disk.fetch(1).length)
        take(fanout, 1, 49)
        disk.keep()
        assert fanout.log_floor() == 249

        take(fanout, 1, 1)
        fanout.demand()
        disk.keep()

        assert fanout.head == fanout.log_floor()
        assert fanout.owed(1) == b"f" * 50

    def test_the_floor_is_the_slowest_reader(self):
        """Segments below it may go."""
        fanout = fanout_of(("spill", 10), ("spill", 10))
        disk = Disk(fanout)
        fanout.feed(bytes(50))
        disk.keep()
        take(fanout, 0, 30)
        take(fanout, 1, 20)

        assert fanout.log_floor() == 20

    @pytest.mark.parametrize(("limit", "demand"), [(100, LEAST_READ_BYTES), (100_000, 100_000), (2 * MIB, READ_BYTES)])
    def test_one_read_is_about_what_memory_holds(self, limit, demand):
        """Else a reader that keeps up would be sent to the disk by one large read."""
        assert fanout_of(("spill", limit), spill_limit=GIB).demand() == demand

    @pytest.mark.parametrize(("lag", "held"), [(950, False), (951, True)])
    def test_a_full_log_holds_the_producer(self, lag, held):
        """spill_limit bytes in use: from there it acts like block."""
        fanout = fanout_of(("spill", 100), spill_limit=1000)
        disk = Disk(fanout)
        fanout.feed(bytes(lag))
        disk.keep()

        assert held == (fanout.demand() == 0)

    def test_the_last_bytes_before_the_end_are_not_written_for_nothing(self):
        """After end of file memory needs no more room."""
        fanout = fanout_of(("spill", 10))
        fanout.feed(bytes(50))
        fanout.end()

        assert fanout.to_append() is None

    def test_a_laggard_that_leaves_ends_the_log(self):
        """Nobody needs it any more."""
        fanout, disk = self.lagging()
        fanout.leave(1)
        disk.keep()

        assert fanout.head == fanout.log_floor()
        assert fanout.demand() == 1000


class TestDiskThatRefuses:
    def refused(self) -> Fanout:
        """Reader 0 stands still with 10 bytes of memory; the disk took 20 bytes of 35 and then no more."""
        fanout = fanout_of(("spill", 10))
        fanout.feed(b"a" * 20)
        Disk(fanout).keep()
        fanout.demand()
        fanout.feed(b"b" * 15)
        assert fanout.to_append() is not None
        fanout.append_failed("no space")
        assert fanout.demand() == 0
        return fanout

    def catch_up(self, fanout: Fanout) -> None:
        while isinstance(todo := fanout.owed(0), LogRead):
            fanout.fetched(0, b"a" * todo.length)
            take(fanout, 0, todo.length)

    def test_the_producer_is_held_and_nothing_is_lost(self):
        """What is not on disk stays in memory, beyond the limit by one read at most."""
        fanout = self.refused()

        assert fanout.to_append() is None
        assert fanout.demand() == 0
        assert fanout.held_bytes == 15

    def test_the_reader_gets_everything_and_reading_goes_on(self):
        """First from the disk, then from memory; then there is room again."""
        fanout = self.refused()
        self.catch_up(fanout)

        assert fanout.counters(0).delivered_bytes == 20
        assert take(fanout, 0, 10) == b"b" * 10
        assert fanout.demand() == 5
        assert take(fanout, 0) == b"b" * 5

    def test_no_more_is_read_from_the_disk_than_it_took(self):
        """The seam between disk and memory may lie anywhere."""
        fanout = self.refused()
        for length, taken in ((20, 5), (15, 10), (5, 5)):
            todo = fanout.owed(0)
            assert isinstance(todo, LogRead)
            assert todo.length == length
            fanout.fetched(0, b"a" * taken)
            take(fanout, 0, taken)

        assert fanout.owed(0) == b"b" * 15

    def test_the_disk_is_tried_again_after_everybody_has_caught_up(self):
        """The refusals are counted, the first reason is kept."""
        fanout = self.refused()
        self.catch_up(fanout)
        take(fanout, 0)
        assert fanout.to_append() is None
        fanout.feed(b"c" * 20)
        assert fanout.to_append() == (35, b"c" * 20)

        fanout.append_failed("still no space")

        assert (fanout.spill_errors, fanout.spill_error) == (2, "no space")


class TestSchedules:
    @pytest.mark.slow
    @pytest.mark.parametrize("staging", [False, True], ids=["memory", "staging"])
    @pytest.mark.parametrize("first", range(0, 2000, 100))
    def test_random_schedules_keep_every_law(self, first, staging):
        """A hundred seeds: exactness, bounds, conservation, and an end for everybody."""
        for seed in range(first, first + 100):
            simulate(seed, staging)

    def test_seeds_that_failed_once_pass(self):
        """None is ever forgotten."""
        for seed in known_seeds():
            simulate(seed)
            simulate(seed, staging=True)

    def test_the_schedules_reach_every_corner(self):
        """Two hundred seeds see each kind of end, drops, spilling, and a disk that refuses."""
        worlds = [simulate(seed) for seed in range(200)]
        counters = [world.fanout.counters(index) for world in worlds for index in world.ends]

        assert {end for world in worlds for end in world.ends.values()} == set(SinkEnd) - {SinkEnd.HELD}
        assert any(each.spilled_bytes for each in counters)
        assert any(each.dropped_records and each.delivered_bytes for each in counters)
        assert any(world.fanout.spill_errors for world in worlds)

    @pytest.mark.slow
    def test_the_schedules_reach_every_corner_of_the_staging_path(self):
        """Rounds by pipes alone, beside memory, and straight to the disk; and spilling, drops and every end again."""
        worlds = [simulate(seed, staging=True) for seed in range(300)]
        counters = [world.fanout.counters(index) for world in worlds for index in world.ends]

        assert sum(world.by_pipes_alone for world in worlds) > 1000
        assert sum(world.rounds - world.by_pipes_alone for world in worlds) > 1000
        assert any(world.straight for world in worlds)
        assert {end for world in worlds for end in world.ends.values()} == set(SinkEnd) - {SinkEnd.HELD}
        assert any(each.spilled_bytes for each in counters)

    def test_a_broken_law_is_told_with_seed_plan_and_steps(self):
        """The story of a failure is enough to replay it."""
        world = simulate(7)
        story = world.story("something is wrong")

        assert "seed 7" in story
        assert "Plan(terms=(Terms(" in story
        assert world.trace[-1] in story
