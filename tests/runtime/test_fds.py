"""runtime/fds.py: one owner per descriptor, high numbers, nothing left behind by what fails half-way."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from dataclasses import replace
from typing import Iterator

import pytest

from teastreams.runtime import calls
from teastreams.runtime.fds import LOWEST, Fd, Ledger, adopt, duplicate, ledger, make_pipe, resize


def descriptors() -> set[int]:
    """The open ones of this process; that of the look itself is gone by the time it is checked."""
    found = set()
    for name in os.listdir("/dev/fd"):
        try:
            os.fstat(int(name))
        except OSError:
            continue
        found.add(int(name))
    return found


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    before, owned = descriptors(), set(ledger.open)
    yield
    assert descriptors() == before
    assert ledger.open == owned


def null() -> int:
    return os.open(os.devnull, os.O_RDONLY)


class TestFd:
    def test_owns_a_number_until_it_is_closed(self) -> None:
        fd = Fd(null(), "the void")
        number = fd.fileno()

        assert (bool(fd), fd.number, repr(fd)) == (True, number, f"<Fd {number}: the void>")
        fd.close()
        assert (bool(fd), fd.number, repr(fd)) == (False, -1, "<Fd -1: the void>")
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)

    def test_descriptor_0_is_a_descriptor(self) -> None:
        """Closed is -1, not something that is false."""
        fd = Fd(0, "stdin")

        assert fd
        assert fd.take() == 0

    def test_closing_again_does_not_hit_a_stranger(self) -> None:
        """The kernel gives the number to the next file that is opened."""
        fd = Fd(null(), "first")
        number = fd.number
        fd.close()
        stranger = null()
        assert stranger == number

        fd.close()
        os.fstat(stranger)
        os.close(stranger)

    def test_what_was_taken_is_the_takers(self) -> None:
        fd = Fd(null(), "given away")
        number = fd.take()
        fd.close()

        assert fd.take() == -1
        os.close(number)

    def test_an_error_of_close_is_final(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Linux has freed the number all the same: trying again would close somebody else's file."""
        closed = []

        def failing(number: int) -> None:
            closed.append(number)
            os.close(number)
            raise OSError(errno.EIO, "injected")

        monkeypatch.setattr(calls.table, "close", failing)
        fd = Fd(null(), "failing")
        number = fd.number
        fd.close()
        fd.close()

        assert closed == [number]


class TestLedger:
    def test_knows_what_is_open(self) -> None:
        reader, writer = make_pipe("a pipe")

        assert {reader, writer} <= ledger.open
        writer.close()
        assert writer not in ledger.open
        os.close(reader.take())
        assert reader not in ledger.open

    def test_closes_all_but_what_is_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What a forked child does first."""
        book = Ledger()
        monkeypatch.setattr("teastreams.runtime.fds.ledger", book)
        kept, *others = (Fd(null(), str(index)) for index in range(4))
        book.close_all_but([kept])

        assert (bool(kept), [bool(fd) for fd in others]) == (True, [False] * 3)
        kept.close()

    def test_a_childs_threads_do_not_wait_for_the_fork_to_end(self) -> None:
        """A child is forked under the guard and never comes back to release it: its first act makes a new one."""
        book = Ledger()
        free: list[bool] = []
        with book.guard:
            book.close_all_but(())
            other = threading.Thread(target=lambda: free.append(book.guard.acquire(blocking=False)))
            other.start()
            other.join()

        assert free == [True]

    def test_its_guard_can_be_held_by_whoever_makes_a_pipe_and_forks(self) -> None:
        """The same thread may enter it again; it must not lock itself out."""
        with ledger.guard, ledger.guard:
            for end in make_pipe("inside"):
                end.close()


class TestAdopt:
    def test_moves_above_the_standard_numbers(self) -> None:
        low = null()
        fd = adopt(low, "moved")

        assert fd.number >= LOWEST > low
        assert fcntl.fcntl(fd.number, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
        assert low not in descriptors()
        fd.close()

    def test_what_is_high_already_stays(self) -> None:
        low = null()
        high = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 100)
        os.close(low)
        fd = adopt(high, "high")

        assert fd.number == high
        fd.close()

    def test_closes_the_number_when_it_cannot_be_moved(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_args: object) -> int:
            raise OSError(errno.EMFILE, "injected")

        monkeypatch.setattr(calls.table, "fcntl", full)
        with pytest.raises(OSError, match="injected"):
            adopt(null(), "no room")


class TestMakePipe:
    def test_bytes_come_out_as_they_went_in_and_the_end_comes_after_the_close(self) -> None:
        reader, writer = make_pipe("numbers")

        assert (reader.label, writer.label) == ("read end of numbers", "write end of numbers")
        os.write(writer.number, b"1 2 3")
        writer.close()
        assert (os.read(reader.number, 100), os.read(reader.number, 100)) == (b"1 2 3", b"")
        reader.close()

    def test_both_ends_are_high_blocking_and_closed_on_exec(self) -> None:
        for end in make_pipe("flags"):
            assert end.number >= LOWEST
            assert os.get_blocking(end.number)
            assert not os.get_inheritable(end.number)
            end.close()

    @pytest.mark.parametrize("failing", [1, 2])
    def test_leaves_nothing_when_an_end_cannot_be_moved(self, failing: int, monkeypatch: pytest.MonkeyPatch) -> None:
        turns = iter(range(1, 3))

        def sometimes_full(number: int, command: int, *rest: int) -> int:
            if next(turns) == failing:
                raise OSError(errno.EMFILE, "injected")
            return int(fcntl.fcntl(number, command, *rest))

        monkeypatch.setattr(calls.table, "fcntl", sometimes_full)
        with pytest.raises(OSError, match="injected"):
            make_pipe("half")


class TestResize:
    @pytest.fixture
    def linux(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv(calls.PORTABLE, raising=False)
        if calls.portable():
            pytest.skip("only Linux can resize pipes")

    def test_answers_with_the_size_that_it_has_now(self, linux: None) -> None:
        """The kernel rounds up to pages, in powers of two."""
        reader, writer = make_pipe("resized")

        assert resize(writer, 4096) == 4096
        assert resize(reader, 5000) == 8192
        reader.close()
        writer.close()

    def test_a_refused_wish_leaves_a_working_pipe(self, linux: None, monkeypatch: pytest.MonkeyPatch) -> None:
        reader, writer = make_pipe("refused")

        def refuse(number: int, command: int, *rest: int) -> int:
            if command == calls.F_SETPIPE_SZ:
                raise OSError(errno.EPERM, "injected")
            return int(fcntl.fcntl(number, command, *rest))

        monkeypatch.setattr(calls.table, "fcntl", refuse)
        assert resize(writer, 1 << 20) == 65536
        os.write(writer.number, b"x")
        assert os.read(reader.number, 10) == b"x"
        reader.close()
        writer.close()

    def test_the_portable_path_does_not_ask(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(calls.PORTABLE, "1")
        reader, writer = make_pipe("portable")

        def refuse(*_args: object) -> int:
            raise AssertionError("the portable path has no such call")

        with monkeypatch.context() as inner:
            inner.setattr(calls.table, "fcntl", refuse)
            assert resize(writer, 4096) == 0
        reader.close()
        writer.close()


def test_a_limit_below_our_lowest_number_is_one_too_many_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel calls it an invalid argument; other errors stay as they are."""
    read, write = os.pipe()
    for said, heard in ((errno.EINVAL, errno.EMFILE), (errno.EBADF, errno.EBADF)):

        def refuse(*_args: object, said: int = said) -> int:
            raise OSError(said, os.strerror(said))

        with monkeypatch.context() as patch:
            patch.setattr(calls.table, "fcntl", refuse)
            with pytest.raises(OSError, match=os.strerror(heard)) as raised:
                duplicate(read, "copy")
        assert raised.value.errno == heard
    os.close(read)
    os.close(write)


def test_many_foreign_descriptors_are_closed_in_few_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neighbouring numbers go in one call, however many; gaps and what is kept are left alone."""
    ranges: list[tuple[int, int]] = []
    monkeypatch.setattr(calls, "table", replace(calls.table, closerange=lambda *ends: ranges.append(ends)))
    book = Ledger()
    monkeypatch.setattr("teastreams.runtime.fds.ledger", book)
    owned = {number: Fd(number, "any") for number in (*range(1000, 4000), 5000)}
    closed = Fd(-1, "closed before")
    book.close_all_but([owned[2000]])
    assert ranges == [(1000, 2000), (2001, 4000), (5000, 5001)]
    assert {number for number, fd in owned.items() if fd} == {2000}
    assert not closed
    assert book.open == {owned[2000]}
    owned[2000].take()
