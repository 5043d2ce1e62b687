"""What is asked of the machine before the first fork: with machines of our own making."""

from __future__ import annotations

import resource
import threading
import warnings
from typing import Any, Callable, Iterator, Optional

import pytest

from teastreams.core.graph import DEFAULT_BUFFER_BYTES, NodeStreamsConfig, StreamSettings
from teastreams.core.plan import SectionPlan, plan_section
from teastreams.errors import LimitError, WorkflowError
from teastreams.runtime import calls
from teastreams.runtime.fds import ledger
from teastreams.runtime.preflight import (
    LARGEST_PIPE_BYTES,
    MAX_DEPTH,
    MOST_FORKS_AT_ONCE,
    NODE_DESCRIPTORS,
    PAGE_BYTES,
    SPARE_DESCRIPTORS,
    ForkWithThreads,
    pipe_bytes,
    preflight,
)

SETTINGS = StreamSettings()


def chain(nodes: int) -> SectionPlan:
    """n0 -> n1 -> n2 ...: a worker each, a pipe between neighbours."""
    names = [f"c{index}" for index in range(nodes - 1)]
    members = [
        (f"n{index}", NodeStreamsConfig(stdin=above, stdout=below))
        for index, (above, below) in enumerate(zip([None, *names], [*names, None]))
    ]
    return plan_section(members, SETTINGS)


PLAN = chain(3)
NEED = 3 * NODE_DESCRIPTORS + 2 * 2 + SPARE_DESCRIPTORS


class Machine:
    """Limits, open descriptors and threads as a test wants them."""

    def __init__(self) -> None:
        self.limits = (1_000_000, 1_000_000)
        self.descriptors = 0
        self.tasks = [1]
        self.slept: list[float] = []
        self.quota: Optional[str] = "16384"

    def getrlimit(self, which: int) -> tuple[int, int]:
        assert which == resource.RLIMIT_NOFILE
        return self.limits

    def listdir(self, path: str) -> list[str]:
        if path.endswith("task"):
            return ["1"] * (self.tasks.pop(0) if len(self.tasks) > 1 else self.tasks[0])
        low = ["0", "1", "2", "31"]  # they cost us nothing: ours begin at 32
        return [*low, *(str(32 + index) for index in range(self.descriptors))]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(calls.table, "getrlimit", made.getrlimit)
    monkeypatch.setattr(calls.table, "listdir", made.listdir)
    monkeypatch.setattr(calls.table, "sleep", made.slept.append)
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv(calls.PORTABLE, raising=False)
    monkeypatch.delenv(calls.PIPE_SIZE, raising=False)
    return made


def look(plan: SectionPlan = PLAN, at_once: Optional[int] = None, on_threads: str = "error") -> None:
    preflight(plan, at_once, on_threads)


class TestDepth:
    @pytest.mark.parametrize(("depth", "room"), [(0, True), (MAX_DEPTH - 1, True), (MAX_DEPTH, False)])
    def test_runs_inside_of_each_other_come_to_an_end(
        self, depth: int, room: bool, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A node that runs its own workflow would otherwise take the whole machine."""
        monkeypatch.setattr(ledger, "depth", depth)
        if room:
            look()
        else:
            with pytest.raises(LimitError, match="too deep inside of others") as refused:
                look()
            assert (refused.value.need, refused.value.have) == (MAX_DEPTH + 1, MAX_DEPTH)


class TestDescriptors:
    def test_as_many_as_are_needed_are_enough(self, machine: Machine) -> None:
        """Those that are open already, from 32 on, count."""
        machine.descriptors = 5
        machine.limits = (32 + 5 + NEED, 4096)
        look()

    def test_one_less_is_refused_with_both_numbers(self, machine: Machine) -> None:
        """Before anything was started, with what to do."""
        machine.descriptors = 5
        machine.limits = (32 + 5 + NEED - 1, 4096)
        with pytest.raises(LimitError, match="not enough file descriptors for 3 workers") as refused:
            look()
        assert (refused.value.need, refused.value.have) == (NEED, NEED - 1)
        assert "up to 4096 without root: ulimit -n 4096" in str(refused.value)

    @pytest.mark.parametrize(("spare", "row"), [(0, 1), (4, 1), (5, 2), (12, 3), (1000, MOST_FORKS_AT_ONCE)])
    def test_workers_are_forked_in_rows_for_whose_ends_there_is_room(
        self, spare: int, row: int, machine: Machine
    ) -> None:
        """Where descriptors are short, one by one: that they are few refuses nothing."""
        machine.limits = (32 + NEED + spare, 4096)
        assert preflight(PLAN, None, "error") == row

    def test_a_limit_that_only_root_can_raise_is_not_advised(self, machine: Machine) -> None:
        """Nor is there less than nothing."""
        machine.limits = (10, 10)
        with pytest.raises(LimitError) as refused:
            look()
        assert "ulimit" not in str(refused.value)
        assert refused.value.have == 0

    def test_without_a_limit_nothing_is_refused(self, machine: Machine) -> None:
        """RLIM_INFINITY is -1 in Python, and is no small number."""
        machine.limits = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        assert preflight(PLAN, None, "error") == MOST_FORKS_AT_ONCE

    def test_a_batch_needs_room_for_those_at_once(self, machine: Machine) -> None:
        """A thousand branches, two at a time."""
        branches = plan_section([(f"n{index}", None) for index in range(1000)], SETTINGS)
        machine.limits = (32 + 2 * NODE_DESCRIPTORS + SPARE_DESCRIPTORS, 4096)
        look(branches, at_once=2)
        with pytest.raises(LimitError):
            look(branches, at_once=3)
        with pytest.raises(LimitError):
            look(branches)


@pytest.fixture
def named_thread() -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, name="the-busy-one")
    thread.start()
    yield
    stop.set()
    thread.join()


class TestThreads:
    def test_one_thread_is_no_matter(self, machine: Machine) -> None:
        """Not even where threads are an error."""
        look(on_threads="error")

    def test_other_threads_are_an_error_where_they_are_unwanted(self, machine: Machine, named_thread: None) -> None:
        """With their names, as far as Python knows them, and what to do."""
        machine.tasks = [3]
        with pytest.raises(WorkflowError, match="this process has 3 threads") as refused:
            look(on_threads="error")
        assert "the-busy-one" in str(refused.value)
        assert "'allow'" in str(refused.value)

    def test_they_are_a_warning_of_a_kind_of_its_own(self, machine: Machine) -> None:
        """So that it can be filtered."""
        machine.tasks = [2]
        with pytest.warns(ForkWithThreads, match="this process has 2 threads"):
            look(on_threads="warn")

    def test_they_may_be_allowed(self, machine: Machine) -> None:
        """Then nobody even looks."""
        machine.tasks = [2]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            look(on_threads="allow")

    def test_a_thread_that_is_just_leaving_is_given_a_moment(self, machine: Machine) -> None:
        """Python has joined it, the kernel still counts it."""
        machine.tasks = [2, 2, 1]
        look(on_threads="error")
        assert machine.slept == [0.001, 0.001]

    def test_without_the_kernels_count_pythons_is_used(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        """/proc may be missing."""

        def missing(path: str) -> list[str]:
            raise FileNotFoundError(path)

        monkeypatch.setattr(calls.table, "listdir", missing)
        look(on_threads="error")
        monkeypatch.setattr(threading, "active_count", lambda: 2)
        with pytest.raises(WorkflowError):
            look(on_threads="error")


@pytest.fixture
def quota(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Callable[[Optional[str]], None]:
    """Sets /proc/sys/fs/pipe-user-pages-soft; None is a kernel without it. Every descriptor must be closed."""
    opened: list[int] = []

    def set_quota(text: Optional[str]) -> None:
        def opening(path: str, _flags: int) -> int:
            assert path == "/proc/sys/fs/pipe-user-pages-soft"
            if text is None:
                raise FileNotFoundError(path)
            opened.append(99)
            return 99

        monkeypatch.setattr(calls.table, "open", opening)
        monkeypatch.setattr(calls.table, "read", lambda fd, _size: (text or "").encode() + b"\n")
        monkeypatch.setattr(calls.table, "close", opened.remove)

    set_quota("16384")
    return set_quota


class TestPipes:
    @pytest.mark.parametrize(
        ("pages", "nodes", "size"),
        [
            ("16384", 3, LARGEST_PIPE_BYTES),
            ("16384", 33, LARGEST_PIPE_BYTES),
            ("16384", 34, LARGEST_PIPE_BYTES // 2),
            ("16384", 130, LARGEST_PIPE_BYTES // 8),
            ("16384", 400, DEFAULT_BUFFER_BYTES),
            ("1", 3, DEFAULT_BUFFER_BYTES),
            ("0", 400, LARGEST_PIPE_BYTES),
            (None, 400, LARGEST_PIPE_BYTES),
        ],
    )
    def test_all_pipes_together_fit_into_half_of_the_quota(
        self, pages: Optional[str], nodes: int, size: int, quota: Callable[[Optional[str]], None]
    ) -> None:
        """The largest power of two that does, never less than the default; 0 and a missing file mean no quota."""
        quota(pages)
        plan = chain(nodes)
        assert pipe_bytes(plan, SETTINGS) == size
        fits = len(plan.pipes) * size <= int(pages or 0) * PAGE_BYTES // 2
        assert fits or size == DEFAULT_BUFFER_BYTES or pages in (None, "0")

    @pytest.mark.parametrize(("readers", "size"), [(15, LARGEST_PIPE_BYTES), (16, LARGEST_PIPE_BYTES // 2)])
    def test_each_reader_of_a_broadcast_counts_twice(self, readers: int, size: int, quota: Any) -> None:
        """Its own pipe, and the private one that the fan-out worker has for it."""
        quota("16384")
        names = [f"r{index}" for index in range(readers)]
        members = [("p", NodeStreamsConfig(stdout="c")), *((name, NodeStreamsConfig(stdin="c")) for name in names)]
        assert pipe_bytes(plan_section(members, SETTINGS), SETTINGS) == size

    def test_a_size_that_was_asked_for_is_the_wish(self, quota: Any) -> None:
        """Nobody looks at the quota then."""
        quota("not read")
        assert pipe_bytes(chain(400), StreamSettings(buffer_size=12345, buffer_grows=False)) == 12345

    def test_a_forced_size_outranks_everything(self, quota: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """For tests that want small pipes."""
        monkeypatch.setenv(calls.PIPE_SIZE, "4096")
        assert pipe_bytes(PLAN, SETTINGS) == 4096
        assert pipe_bytes(PLAN, StreamSettings(buffer_size=12345, buffer_grows=False)) == 4096
