"""runtime/calls.py: the table of system calls, and the few of its entries that are more than a name."""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import os
import select
import signal
import stat
import subprocess
import sys
from contextlib import suppress
from typing import Iterator, Optional

import harness
import pytest

from teastreams.runtime import calls
from teastreams.runtime.calls import Calls, Poll


@pytest.fixture
def ends() -> Iterator[tuple[int, int]]:
    pair = os.pipe()
    yield pair
    for end in pair:
        with suppress(OSError):
            os.close(end)


class TestTable:
    def test_every_entry_can_be_called_and_replaced(self) -> None:
        """That is the fault seam: a test replaces one field, the children inherit it."""
        table = Calls()
        for field in dataclasses.fields(table):
            assert callable(getattr(table, field.name)), field.name
        table.read = lambda _fd, _count: b"injected"

        assert table.read(0, 1) == b"injected"
        assert Calls().read is os.read


class TestPoll:
    def test_reports_what_is_ready(self, ends: tuple[int, int]) -> None:
        reader, writer = ends
        watch = Poll()
        watch.register(reader, select.POLLIN)

        assert watch.poll(0) == []
        os.write(writer, b"x")
        assert watch.poll(None) == [(reader, select.POLLIN)]

    def test_mask_0_still_tells_that_the_reader_has_gone(self, ends: tuple[int, int]) -> None:
        """So departures are learnt without writing."""
        reader, writer = ends
        watch = Poll()
        watch.register(writer, 0)

        assert watch.poll(0) == []
        os.close(reader)
        [(number, mask)] = watch.poll(None)
        assert number == writer
        assert mask & (select.POLLERR | select.POLLHUP)

    def test_registering_again_replaces_the_mask(self, ends: tuple[int, int]) -> None:
        watch = Poll()
        watch.register(ends[1], 0)
        watch.register(ends[1], select.POLLOUT)

        assert watch.poll(0) == [(ends[1], select.POLLOUT)]

    def test_what_is_not_watched_cannot_be_forgotten(self, ends: tuple[int, int]) -> None:
        watch = Poll()
        watch.register(ends[0], select.POLLIN)
        watch.unregister(ends[0])

        with pytest.raises(KeyError):
            watch.unregister(ends[0])

    @pytest.mark.parametrize(
        ("seconds", "milliseconds"), [(None, None), (0, 0), (-1, 0), (0.0004, 1), (0.001, 1), (0.0105, 11), (2.5, 2500)]
    )
    def test_times_are_rounded_up(self, seconds: float, milliseconds: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """Rounded down, it would wake just before a deadline, again and again. In the past means now."""
        asked = []

        class Fake:
            def poll(self, timeout: object) -> list[tuple[int, int]]:
                asked.append(timeout)
                return []

        monkeypatch.setattr(select, "poll", Fake)
        Poll().poll(seconds)

        assert asked == [milliseconds]


class TestPlatform:
    @pytest.mark.parametrize(
        ("platform", "value", "portable"),
        [
            ("linux", None, False),
            ("linux", "0", False),
            ("linux", "1", True),
            ("darwin", None, True),
            ("darwin", "0", True),
        ],
    )
    def test_the_portable_path_is_taken_elsewhere_and_on_demand(
        self, platform: str, value: str, portable: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "platform", platform)
        monkeypatch.delenv(calls.PORTABLE, raising=False)
        if value is not None:
            monkeypatch.setenv(calls.PORTABLE, value)

        assert calls.portable() is portable

    @pytest.mark.parametrize(
        ("value", "forced"), [(None, None), ("", None), ("4096", 4096), ("large", None), ("-1", None)]
    )
    def test_a_pipe_size_can_be_forced(self, value: str, forced: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv(calls.PIPE_SIZE, raising=False)
        if value is not None:
            monkeypatch.setenv(calls.PIPE_SIZE, value)

        assert calls.forced_pipe_bytes() == forced

    def test_the_numbers_are_those_of_the_kernel(self) -> None:
        """Python has names for them from 3.10 on."""
        for name in ("F_SETPIPE_SZ", "F_GETPIPE_SZ"):
            assert getattr(fcntl, name, getattr(calls, name)) == getattr(calls, name)

    def test_where_there_is_no_pidfd_the_number_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "platform", "darwin")

        assert calls.table.pidfd_open(1) == -1


class TestProcesses:
    def test_an_exit_is_seen_and_its_status_left_where_it_is(self) -> None:
        child = subprocess.Popen([sys.executable, "-c", "input(); raise SystemExit(7)"], stdin=subprocess.PIPE)
        assert not calls.table.has_exited(child.pid)

        assert child.stdin is not None
        child.stdin.write(b"\n")
        child.stdin.close()
        while not calls.table.has_exited(child.pid):
            pass
        assert calls.table.has_exited(child.pid)
        assert child.wait() == 7

    def test_forking_beside_a_thread_does_not_warn(self) -> None:
        """Python 3.12 does at every fork; preflight has said so once, and with names."""
        told = harness.run("""
            from teastreams.runtime import calls
            stop = threading.Event()
            thread = threading.Thread(target=stop.wait); thread.start()
            pid = calls.table.fork()
            if pid == 0:
                calls.table.exit(5)
            tell(status=os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            stop.set(); thread.join()
        """).told

        assert told == {"status": 5}


@pytest.mark.skipif(sys.platform != "linux", reason="calls of Linux")
class TestDuplicating:
    def test_tee_copies_and_leaves_the_source_alone(self, ends: tuple[int, int]) -> None:
        """The same bytes can be read from both pipes; no more than was asked for."""
        read, write = os.pipe()
        os.write(ends[1], b"abcdef")

        assert calls.table.tee(ends[0], write, 4) == 4
        assert (os.read(read, 100), os.read(ends[0], 100)) == (b"abcd", b"abcdef")
        os.close(read)
        os.close(write)

    def test_an_empty_source_refuses_and_a_closed_one_is_at_its_end(self, ends: tuple[int, int]) -> None:
        """EAGAIN although nobody made the pipes non-blocking; 0 is the end of file."""
        read, write = os.pipe()
        with pytest.raises(BlockingIOError):
            calls.table.tee(ends[0], write, 4)
        with pytest.raises(BlockingIOError):
            calls.table.splice(ends[0], write, 4)
        os.close(ends[1])
        assert calls.table.tee(ends[0], write, 4) == 0
        os.close(read)
        os.close(write)

    @pytest.mark.parametrize("has_splice", [True, False])
    def test_splice_moves_into_a_pipe_and_into_a_file_at_its_place(
        self, ends: tuple[int, int], has_splice: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also on Python 3.9, whose os has no splice."""
        if not has_splice:
            monkeypatch.setattr(calls, "_os_splice", None)
        read, write = os.pipe()
        os.write(ends[1], b"abcdef")
        assert calls.table.splice(ends[0], write, 2) == 2
        assert os.read(read, 100) == b"ab"
        file = calls.table.temporary_file()
        assert calls.table.splice(ends[0], file, 100, 10) == 4
        assert os.pread(file, 100, 0) == bytes(10) + b"cdef"
        with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
            calls.table.splice(file, file, 1)
        for fd in (read, write, file):
            os.close(fd)

    def test_a_library_without_the_call_is_a_kernel_that_refuses(self) -> None:
        """Nobody has to know two ways of saying no."""
        with pytest.raises(OSError, match=os.strerror(errno.ENOSYS)) as refusal:
            calls._from_libc("no_call_of_this_name")
        assert refusal.value.errno == errno.ENOSYS


class TestGroups:
    """Would a KILL for the group meet anybody, when its leader is a zombie?"""

    def test_one_that_is_left_is_met(self) -> None:
        leader = subprocess.Popen(["sh", "-c", "sleep 1000 & exit 0"], start_new_session=True)
        os.waitid(os.P_PID, leader.pid, os.WEXITED | os.WNOWAIT)
        lives = calls.table.group_lives(leader.pid)
        os.killpg(leader.pid, signal.SIGKILL)
        leader.wait()

        assert lives

    def test_a_leader_that_waits_to_be_collected_is_nobody(self) -> None:
        leader = subprocess.Popen(["true"], start_new_session=True)
        os.waitid(os.P_PID, leader.pid, os.WEXITED | os.WNOWAIT)
        lives = calls.table.group_lives(leader.pid)
        leader.wait()

        assert not lives

    @pytest.mark.parametrize(("answer", "lives"), [(None, True), (errno.EPERM, False), (errno.ESRCH, False)])
    def test_macos_is_asked_by_signal_0(
        self, answer: Optional[int], lives: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It passes over zombies: EPERM says that nobody is left whom a signal could meet."""

        def killpg(group: int, number: int) -> None:
            assert (group, number) == (77, 0)
            if answer is not None:
                raise OSError(answer, os.strerror(answer))

        monkeypatch.setattr(sys, "platform", "darwin")
        monkeypatch.setattr(os, "killpg", killpg)

        assert calls.table.group_lives(77) is lives


class TestMemory:
    def test_a_temporary_file_has_no_name(self, tmp_path: os.PathLike[str]) -> None:
        """It vanishes with its last descriptor, even after SIGKILL."""
        number = calls.table.temporary_file(str(tmp_path))
        facts = os.fstat(number)

        assert (facts.st_nlink, stat.S_IMODE(facts.st_mode), os.listdir(tmp_path)) == (0, 0o600, [])
        assert number >= 32
        assert not os.get_inheritable(number)
        os.write(number, b"abc")
        assert os.pread(number, 10, 1) == b"bc"
        os.close(number)

    def test_shared_memory_begins_with_zeros(self) -> None:
        with calls.table.shared_memory(100) as memory:
            assert memory[:100] == bytes(100)
