"""runtime/fanout/spill.py: the overflow log on a real disk, with faults from the call table."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Iterator

import pytest

from teastreams.runtime import calls
from teastreams.runtime.fanout.spill import MAX_SEGMENT_BYTES, MIN_SEGMENT_BYTES, SpillLog, segment_bytes

DATA = bytes(range(251)) * 3000  # 753 000 bytes: eleven segments and a half


@pytest.fixture(autouse=True)
def _table() -> Iterator[None]:
    yield
    calls.table = calls.Calls()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SpillLog]:
    log = SpillLog(str(tmp_path), 0)
    yield log
    log.close()


def append_all(log: SpillLog, offset: int, data: bytes) -> None:
    while data:
        count = log.append(offset, data)
        offset, data = offset + count, data[count:]


def read_all(log: SpillLog, offset: int, end: int) -> bytes:
    pieces = []
    while offset < end:
        pieces.append(log.read(offset, end - offset))
        offset += len(pieces[-1])
    return b"".join(pieces)


def open_descriptors() -> set[str]:
    return set(os.listdir("/dev/fd"))


class TestLog:
    def test_bytes_come_back_from_any_offset(self, log):
        """Offsets are those of the stream, wherever the log began and however many segments it takes."""
        append_all(log, 1_000_000, DATA)

        assert read_all(log, 1_000_000, 1_000_000 + len(DATA)) == DATA
        for place in (1, MIN_SEGMENT_BYTES - 1, MIN_SEGMENT_BYTES, len(DATA) - 1):
            assert DATA[place:] == read_all(log, 1_000_000 + place, 1_000_000 + len(DATA))

    def test_nothing_is_opened_before_it_is_needed(self, log):
        """An idle channel costs no descriptor."""
        before = open_descriptors()

        assert not log
        log.append(0, b"x")
        assert log
        assert len(open_descriptors()) == len(before) + 1

    def test_a_file_has_no_name_and_is_private(self, log, tmp_path):
        """Nothing to clean up after a kill, nothing for others to open or replace."""
        log.append(0, DATA)

        assert list(tmp_path.iterdir()) == []
        status = os.fstat(log._segments[0].fd.number)
        assert (status.st_nlink, stat.S_IMODE(status.st_mode)) == (0, 0o600)

    def test_segments_go_as_soon_as_nobody_needs_them(self, log):
        """A segment is kept while one byte of it is needed; the last one goes, too."""
        before = open_descriptors()
        append_all(log, 0, DATA)
        assert len(open_descriptors() - before) == 12

        log.drop_below(3 * MIN_SEGMENT_BYTES - 1)
        assert len(open_descriptors() - before) == 10
        log.drop_below(3 * MIN_SEGMENT_BYTES)
        assert len(open_descriptors() - before) == 9
        assert DATA[3 * MIN_SEGMENT_BYTES :] == read_all(log, 3 * MIN_SEGMENT_BYTES, len(DATA))
        log.drop_below(len(DATA))

        assert not log
        assert before == open_descriptors()

    def test_an_emptied_log_begins_anywhere(self, log):
        """After everything was dropped the next append says where the log starts."""
        log.append(0, b"old")
        log.drop_below(3)
        log.append(500, b"new")

        assert log.read(500, 10) == b"new"

    def test_close_gives_back_everything_and_may_come_twice(self, log):
        """No descriptor is left."""
        before = open_descriptors()
        append_all(log, 0, DATA)
        log.close()
        log.close()

        assert before == open_descriptors()

    @pytest.mark.parametrize(
        ("limit", "segment"),
        [(0, MIN_SEGMENT_BYTES), (2**20, 2**17), (2**30, MAX_SEGMENT_BYTES), (2**40, MAX_SEGMENT_BYTES)],
    )
    def test_a_segment_is_an_eighth_of_the_limit_within_bounds(self, limit, segment):
        """Small enough to give space back early, large enough for few descriptors."""
        assert segment == segment_bytes(limit)


class TestFaults:
    def test_short_writes_and_reads_are_passed_on_as_counts(self, log):
        """One byte at a time gives the same log."""
        calls.table.pwrite = lambda fd, data, place: os.pwrite(fd, data[:1], place)
        calls.table.pread = lambda fd, count, place: os.pread(fd, 1, place)
        append_all(log, 7, DATA[:500])

        assert DATA[:500] == read_all(log, 7, 507)

    def test_interrupted_calls_are_repeated(self, log):
        """EINTR is invisible."""
        script = iter([True, False] * 10)

        def interrupted(call):
            def wrapped(*args):
                if next(script):
                    raise InterruptedError(errno.EINTR, "injected")
                return call(*args)

            return wrapped

        calls.table.temporary_file = interrupted(calls.table.temporary_file)
        calls.table.pwrite, calls.table.pread = interrupted(os.pwrite), interrupted(os.pread)
        append_all(log, 0, b"abc")

        assert log.read(0, 3) == b"abc"

    def test_a_full_disk_is_an_error_and_leaves_the_log_readable(self, log):
        """ENOSPC passes through; what was written before is still served."""
        log.append(0, b"before")

        def full(*args):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        calls.table.pwrite = full
        with pytest.raises(OSError, match="No space left on device"):
            log.append(6, b"after")

        assert log.read(0, 100) == b"before"

    def test_a_write_of_nothing_is_an_error(self, log):
        """Or the caller would try for ever."""
        calls.table.pwrite = lambda *args: 0
        with pytest.raises(OSError, match="took no byte"):
            log.append(0, b"x")

    def test_a_file_that_lost_bytes_is_an_error(self, log):
        """An empty read is never taken for an end."""
        log.append(0, b"x")
        os.ftruncate(log._segments[0].fd.number, 0)
        with pytest.raises(OSError, match="shorter than what was written"):
            log.read(0, 1)

    def test_a_directory_that_is_gone_is_an_error(self, tmp_path):
        """Removed in the middle of a run: the caller learns it with the first append."""
        with pytest.raises(FileNotFoundError):
            SpillLog(str(tmp_path / "gone"), 0).append(0, b"x")
