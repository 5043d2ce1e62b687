"""runtime/loop.py: one wait for descriptors and deadlines, by a clock and a poll set that the test holds."""

from __future__ import annotations

import select
from typing import Optional

import harness
import pytest

from teastreams.runtime import calls
from teastreams.runtime.fds import Fd
from teastreams.runtime.loop import Loop


class World:
    """A clock that only moves while somebody waits, and a poll set that says what it is told to."""

    def __init__(self) -> None:
        self.now = 100.0
        self.ready: list[list[tuple[int, int]]] = []
        self.waits: list[Optional[float]] = []
        self.masks: dict[int, int] = {}

    def monotonic(self) -> float:
        return self.now

    def register(self, number: int, mask: int) -> None:
        self.masks[number] = mask

    def unregister(self, number: int) -> None:
        del self.masks[number]

    def poll(self, seconds: Optional[float]) -> list[tuple[int, int]]:
        self.waits.append(seconds)
        if self.ready:
            return self.ready.pop(0)
        assert seconds is not None, "it would wait for ever"
        self.now += seconds
        return []


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(calls.table, "poll", lambda: world)
    monkeypatch.setattr(calls.table, "monotonic", world.monotonic)
    return world


@pytest.fixture
def ends() -> list[Fd]:
    """Two owners of numbers that nobody opened: the poll set is a fake, too."""
    owners = [Fd(1001, "one"), Fd(1002, "two")]
    yield owners
    for owner in owners:
        owner.take()


class TestDescriptors:
    def test_what_is_ready_is_called_with_its_events(self, world: World, ends: list[Fd]) -> None:
        loop, seen = Loop(), []
        loop.watch(ends[0], select.POLLIN, lambda events: seen.append(("one", events)))
        loop.watch(ends[1], select.POLLOUT, lambda events: seen.append(("two", events)))
        world.ready = [[(1002, select.POLLOUT), (1001, select.POLLHUP)]]
        loop.wait()

        assert seen == [("two", select.POLLOUT), ("one", select.POLLHUP)]
        assert world.waits == [None]
        assert world.masks == {1001: select.POLLIN, 1002: select.POLLOUT}

    def test_watching_again_replaces_mask_and_callback(self, world: World, ends: list[Fd]) -> None:
        loop, seen = Loop(), []
        loop.watch(ends[0], select.POLLIN, lambda _: seen.append("old"))
        loop.watch(ends[0], select.POLLOUT, lambda _: seen.append("new"))
        world.ready = [[(1001, select.POLLOUT)]]
        loop.wait()

        assert (seen, world.masks) == (["new"], {1001: select.POLLOUT})

    def test_a_callback_may_forget_what_is_ready_in_the_same_round(self, world: World, ends: list[Fd]) -> None:
        """It may have closed it; its number may be a stranger's by now."""
        loop = Loop()
        loop.watch(ends[0], select.POLLIN, lambda _: loop.unwatch(ends[1]))
        loop.watch(ends[1], select.POLLIN, lambda _: pytest.fail("it was forgotten"))
        world.ready = [[(1001, select.POLLIN), (1002, select.POLLIN)]]
        loop.wait()

        assert world.masks == {1001: select.POLLIN}

    def test_forgetting_is_harmless(self, world: World, ends: list[Fd]) -> None:
        loop = Loop()
        loop.unwatch(ends[0])
        loop.watch(ends[0], select.POLLIN, lambda _: None)
        loop.unwatch(ends[0])
        loop.unwatch(ends[0])

        assert world.masks == {}


class TestSignals:
    """A handler of the host that raises must not tear a step apart."""

    SCRIPT = """
import select
from teastreams.runtime.fds import make_pipe
from teastreams.runtime.loop import Loop
class Late(Exception): pass
def handler(*_): raise Late
signal.signal(signal.SIGALRM, handler)
loop, seen = Loop(), []
for _ in range(2):
    read, write = make_pipe("x")
    write.close()
    loop.watch(read, select.POLLIN, lambda events: callback())
def wait():
    try:
        loop.wait(); seen.append("returned")
    except Late:
        seen.append("raised")
"""

    def test_it_waits_until_every_callback_is_done(self) -> None:
        told = harness.run(
            self.SCRIPT
            + """
def callback():
    os.kill(os.getpid(), signal.SIGALRM); seen.append("done")
wait(); tell(seen=seen)"""
        ).told

        assert told == {"seen": ["done", "done", "raised"]}

    def test_the_hosts_own_code_has_the_hosts_mask(self) -> None:
        told = harness.run(
            self.SCRIPT
            + """
def callback():
    with loop.unmasked():
        os.kill(os.getpid(), signal.SIGALRM)
    seen.append("done")
wait(); tell(seen=seen, mask=len(signal.pthread_sigmask(signal.SIG_BLOCK, [])))"""
        ).told

        assert told == {"seen": ["raised"], "mask": 0}


class TestDeadlines:
    def test_only_the_earliest_counts(self, world: World) -> None:
        loop, seen = Loop(), []
        loop.at("late", 5.0, lambda: seen.append("late"))
        loop.at("early", 2.0, lambda: seen.append("early"))
        loop.wait()
        assert (world.waits, seen, loop.has("early"), loop.has("late")) == ([2.0], ["early"], False, True)

        loop.wait()
        assert (world.waits, seen, loop.has("late")) == ([2.0, 3.0], ["early", "late"], False)

    def test_one_that_has_passed_is_called_at_once(self, world: World) -> None:
        loop, seen = Loop(), []
        loop.at("soon", 0.0, lambda: seen.append("called"))
        world.now += 10
        loop.wait()

        assert (world.waits, seen) == ([0.0], ["called"])

    def test_descriptors_go_before_deadlines(self, world: World, ends: list[Fd]) -> None:
        """What has been said before a deadline may take it away."""
        loop, seen = Loop(), []
        loop.at("deadline", 0.0, lambda: seen.append("deadline"))
        loop.watch(ends[0], select.POLLIN, lambda _: (seen.append("bytes"), loop.at("deadline", None, lambda: None)))
        world.ready = [[(1001, select.POLLIN)]]
        loop.wait()

        assert seen == ["bytes"]

    def test_setting_it_again_moves_it(self, world: World) -> None:
        loop, seen = Loop(), []
        loop.at("key", 1.0, lambda: seen.append("first"))
        loop.at("key", 3.0, lambda: seen.append("second"))
        loop.wait()

        assert (world.waits, seen) == ([3.0], ["second"])

    def test_none_takes_it_away_also_when_there_is_none(self, world: World) -> None:
        loop = Loop()
        loop.at("key", None, lambda: None)
        loop.at("key", 1.0, lambda: None)
        loop.at("key", None, lambda: None)

        assert not loop.has("key")

    def test_one_may_set_itself_again(self, world: World) -> None:
        loop, seen = Loop(), []

        def again() -> None:
            seen.append(world.now)
            loop.at("tick", 1.0, again)

        loop.at("tick", 1.0, again)
        for _ in range(3):
            loop.wait()

        assert seen == [101.0, 102.0, 103.0]

    def test_one_may_take_another_of_the_same_moment_away(self, world: World) -> None:
        """Or move it: neither is called then."""
        loop, seen = Loop(), []

        def first() -> None:
            seen.append("first")
            loop.at("second", None, lambda: None)
            loop.at("third", 5.0, lambda: seen.append("third"))

        loop.at("first", 1.0, first)
        loop.at("second", 1.0, lambda: seen.append("second"))
        loop.at("third", 1.0, lambda: seen.append("too early"))
        loop.wait()

        assert (seen, loop.has("third")) == (["first"], True)


class TestPeeking:
    @pytest.mark.parametrize(("deadline", "waited"), [(None, 0.02), (5.0, 0.02), (0.01, 0.01)])
    def test_no_wait_is_longer_than_the_time_between_two_looks(
        self, deadline: Optional[float], waited: float, world: World
    ) -> None:
        """Where the kernel gives no notice of exits, somebody has to look."""
        loop, looks = Loop(), []
        loop.peek_seconds, loop.on_peek = 0.02, lambda: looks.append(world.now)
        loop.at("deadline", deadline, lambda: None)
        loop.wait()

        assert world.waits == [pytest.approx(waited)]
        assert looks == [100.0 + world.waits[0]]

    def test_nobody_looks_without_being_asked(self, world: World) -> None:
        loop = Loop()
        loop.at("deadline", 1.0, lambda: None)
        loop.wait()

        assert world.waits == [1.0]


class TestWhoeverWaitsInItsPlace:
    def test_interests_are_what_is_watched_now(self, world: World, ends: list[Fd]) -> None:
        """With the mask that was asked for last; what is no longer watched is gone."""
        loop = Loop()
        one, two = ends
        loop.watch(one, select.POLLIN, lambda _events: None)
        loop.watch(two, select.POLLIN, lambda _events: None)
        loop.watch(two, select.POLLOUT, lambda _events: None)
        assert loop.interests() == [(1001, select.POLLIN), (1002, select.POLLOUT)]

        loop.unwatch(one)
        assert loop.interests() == [(1002, select.POLLOUT)]

    def test_the_time_is_that_of_the_earliest_deadline(self, world: World) -> None:
        """None while there is none."""
        loop = Loop()
        assert loop.timeout_seconds() is None
        loop.at("late", 5.0, lambda: None)
        loop.at("soon", 2.0, lambda: None)
        assert loop.timeout_seconds() == pytest.approx(2.0)
