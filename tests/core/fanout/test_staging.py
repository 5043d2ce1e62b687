"""core/fanout/staging.py, and what core/fanout/arithmetic.py says about rounds through private pipes."""

from __future__ import annotations

import pytest

from teastreams.core.endings import SinkEnd
from teastreams.core.fanout.arithmetic import Fanout, LogRead, Terms
from teastreams.core.fanout.staging import MOST_SECONDS, STALL_SECONDS, WORTH_BYTES, Patience, Staged, worth_staging


def fanout_of(*terms: tuple[str, int], spill_limit: int = 1000) -> Fanout:
    return Fanout([Terms(*each) for each in terms], spill_limit)


def round_of(fanout: Fanout, size: int) -> None:
    """One round in which everybody who is behind nothing gets all, and nobody needs memory."""
    fanout.begin_round(size, dict.fromkeys(fanout.members(), size))
    fanout.passed(size)


class TestRounds:
    def test_a_round_is_owed_out_of_the_private_pipes_and_held_nowhere_else(self):
        """Nothing is in memory; the lag is what is still in the pipe; the end comes when all is written."""
        fanout = fanout_of(("block", 100), ("fail", 100))
        round_of(fanout, 10)

        assert (fanout.head, fanout.held_bytes, fanout.round_left) == (10, 0, 0)
        assert fanout.owed(0) == Staged(10)
        assert (len(Staged(10)), repr(Staged(10)), {Staged(10)}) == (10, "Staged(10)", {Staged(10)})
        fanout.wrote(0, 4)
        assert (fanout.owed(0), fanout.lag_bytes(0)) == (Staged(6), 6)
        fanout.wrote(0, 6)
        assert (fanout.owed(0), fanout.lag_bytes(0)) == (None, 0)
        fanout.end()
        assert fanout.settled() == ((0, SinkEnd.DELIVERED),)
        fanout.wrote(1, 10)
        assert fanout.settled() == ((1, SinkEnd.DELIVERED),)

    def test_members_have_everything_and_a_policy_that_needs_no_records(self):
        """Whoever drops is served from memory beside the round; so is whoever lags."""
        fanout = fanout_of(("block", 100), ("spill", 100), ("drop_oldest", 100), ("fail", 100))
        assert fanout.members() == (0, 1, 3)

        fanout.feed(b"x" * 10)
        fanout.wrote(3, 10)

        assert fanout.members() == (3,)

    def test_bytes_in_a_private_pipe_count_as_lag(self):
        """The limit holds the source, and the high water is the same as it would be by memory."""
        fanout = fanout_of(("block", 10))
        round_of(fanout, 10)

        assert fanout.demand() == 0
        assert fanout.counters(0).high_water_bytes == 10
        assert fanout.standing(0) == (0, 10, 0)

    def test_the_rest_of_a_round_is_asked_for_before_anything_else(self):
        """Limits were looked at when it began; a member's part in its pipe may reach beyond what was read so far."""
        fanout = fanout_of(("block", 10), ("block", 10))
        fanout.begin_round(10, {0: 10, 1: 3})
        assert (fanout.demand(), fanout.round_left) == (10, 10)
        fanout.feed(b"0123")

        assert fanout.demand() == 6
        assert fanout.owed(0) == Staged(10)
        fanout.wrote(0, 10)
        assert (fanout.owed(0), fanout.lag_bytes(0)) == (None, 0)
        fanout.feed(b"456789")
        fanout.wrote(1, 3)
        assert fanout.owed(1) == b"3456789"
        assert fanout.owed(0) is None

    def test_who_is_left_behind_goes_on_from_memory_after_its_private_pipe(self):
        """First the rest of its own pipe, then the round that it was no member of; then it is a member again."""
        fanout = fanout_of(("block", 100), ("block", 100))
        round_of(fanout, 10)
        fanout.wrote(0, 10)
        fanout.wrote(1, 7)
        fanout.begin_round(5, {0: 5})
        fanout.feed(b"abcde")

        assert fanout.demand() == 92
        assert (fanout.owed(0), fanout.owed(1)) == (Staged(5), Staged(3))
        fanout.wrote(1, 3)
        assert fanout.owed(1) == b"abcde"
        fanout.wrote(1, 5)
        fanout.wrote(0, 5)
        assert fanout.members() == (0, 1)
        assert fanout.demand() == 100
        assert fanout.held_bytes == 0

    def test_a_part_that_was_not_moved_is_read_and_owed_from_memory(self):
        """The last member's copy was moved in part only."""
        fanout = fanout_of(("block", 100), ("block", 100))
        fanout.begin_round(10, {0: 10, 1: 6})
        fanout.passed(6)
        assert fanout.demand() == 4
        fanout.feed(b"6789")
        fanout.wrote(1, 6)

        assert fanout.owed(1) == b"6789"

    def test_what_is_read_back_from_a_private_pipe_is_owed_first_and_was_not_on_disk(self):
        """Then the rest of the pipe."""
        fanout = fanout_of(("block", 100))
        round_of(fanout, 10)
        fanout.unstaged(0, b"0123")

        assert fanout.owed(0) == b"0123"
        assert fanout.held_bytes == 4
        fanout.wrote(0, 4)
        assert fanout.owed(0) == Staged(6)
        assert fanout.counters(0).spilled_bytes == 0


class TestSpilling:
    def lagging(self) -> Fanout:
        """One member, and one that has 10 bytes in its pipe and 40 on disk."""
        fanout = fanout_of(("block", 1000), ("spill", 20))
        round_of(fanout, 10)
        fanout.wrote(0, 10)
        fanout.begin_round(40, {0: 40})
        fanout.feed(b"x" * 40)
        fanout.wrote(0, 40)
        offset, data = fanout.to_append() or (0, b"")
        assert (offset, len(data)) == (10, 40)
        fanout.appended(40)
        return fanout

    def test_the_log_begins_behind_the_private_pipe(self):
        """What lies in a pipe need not be written to disk."""
        fanout = self.lagging()

        assert fanout.log_floor() == 10
        assert fanout.owed(1) == Staged(10)
        fanout.wrote(1, 10)
        assert fanout.demand() > 0
        assert fanout.owed(1) == LogRead(10, 20)

    def test_a_round_may_pass_memory_on_its_way_to_the_log(self):
        """Once everybody who is no member lags beyond its memory; it reads from the log then."""
        fanout = self.lagging()
        fanout.begin_round(30, {0: 30})
        assert fanout.past_memory()
        assert fanout.to_append(whole=True) is None
        assert fanout.log_end == fanout.head
        fanout.logged(30)

        assert (fanout.head, fanout.log_end, fanout.round_left) == (80, 80, 0)
        assert fanout.held_bytes == 0
        fanout.wrote(0, 30)
        assert fanout.members() == (0,)
        assert fanout.behind() == {}

    def test_small_rests_are_appended_where_the_whole_is_asked_for(self):
        """Otherwise they wait for more."""
        fanout = self.lagging()
        fanout.feed(b"y")
        assert fanout.to_append() is None
        assert fanout.to_append(whole=True) == (50, b"y")

    @pytest.mark.parametrize("other", [("block", 1000), ("drop_oldest", 1000), ("spill", 1000)])
    def test_a_round_does_not_pass_somebody_who_needs_it_in_memory(self, other):
        """A reader that drops, or one that lags within its memory."""
        fanout = fanout_of(("spill", 20), other)
        fanout.feed(b"x" * 40)
        fanout.to_append()
        fanout.begin_round(10, {})

        assert not fanout.past_memory()


class TestPatience:
    def test_nobody_is_waited_for_when_nobody_lags(self):
        """No time passes."""
        assert Patience().seconds_left(1.0, {}) == 0.0

    def test_a_reader_that_stands_still_is_waited_for_once(self):
        """The next rounds do not wait for it again; as soon as it moves they do."""
        patience = Patience()
        assert patience.seconds_left(1.0, {0: 5}) == pytest.approx(STALL_SECONDS)
        assert patience.seconds_left(1.0 + STALL_SECONDS, {0: 5}) == 0.0
        patience.next_round()
        assert patience.seconds_left(2.0, {0: 5}) == 0.0
        assert patience.seconds_left(2.0, {0: 6}) == pytest.approx(STALL_SECONDS)

    def test_a_reader_that_creeps_is_waited_for_so_long_and_no_longer(self):
        """Until the next round, which waits anew."""
        patience = Patience()
        now, step = 10.0, STALL_SECONDS / 2
        given = 0
        while patience.seconds_left(now, {0: given, 1: 0}) > 0:
            now, given = now + step, given + 1
        assert MOST_SECONDS <= now - 10.0 <= MOST_SECONDS + step
        patience.next_round()
        assert patience.seconds_left(now, {0: given + 1, 1: 0}) > 0


@pytest.mark.parametrize(
    ("got", "source", "worth"),
    [(WORTH_BYTES, 1 << 20, True), (WORTH_BYTES - 1, 1 << 20, False), (4096, 4096, True), (4095, 4096, False)],
)
def test_a_round_is_worth_it_when_the_source_gives_much_or_is_full(got, source, worth):
    """Small pipes are full early."""
    assert worth_staging(got, source) is worth
