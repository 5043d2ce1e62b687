"""The overflow log of one channel: a run of segments on disk, appended at the end, dropped at the front.

Laws: offsets are those of the stream; segments have no name and mode 0600, so they vanish with the process and
nobody can put a link in their place; a segment goes as soon as nobody needs any of it, so the disk holds at most
the spill limit and one segment more. Errors of the disk pass through: what to do about them is decided in
`core/fanout/arithmetic.py`. Called by `pump` alone.
"""

from __future__ import annotations

import errno
from collections import deque
from typing import Callable, Optional, TypeVar

from teastreams.core.fanout.window import Buffer
from teastreams.runtime import calls
from teastreams.runtime.fds import Fd
from teastreams.values import dataclass

MAX_SEGMENT_BYTES = 64 * 1024 * 1024
MIN_SEGMENT_BYTES = 64 * 1024
SEGMENTS_PER_LIMIT = 8

T = TypeVar("T")


@dataclass
class _Segment:
    fd: Fd
    start: int
    end: int


def segment_bytes(limit_bytes: int) -> int:
    """The segment size for a log of at most `limit_bytes`."""
    return max(MIN_SEGMENT_BYTES, min(MAX_SEGMENT_BYTES, limit_bytes // SEGMENTS_PER_LIMIT))


class SpillLog:
    """The log. Opens no file before the first `append`; `directory` None is the system's temporary directory."""

    def __init__(self, directory: Optional[str], limit_bytes: int) -> None:
        self.directory = directory
        self._segment_bytes = segment_bytes(limit_bytes)
        self._segments: deque[_Segment] = deque()

    def __bool__(self) -> bool:
        return bool(self._segments)

    def append(self, offset: int, data: Buffer) -> int:
        """Write the beginning of `data` at `offset`, which is the end of the log unless it is empty.

        Returns how many bytes were written, at least one. OSError when the disk refuses.
        """
        segment = self._segment_for(offset)
        place = offset - segment.start
        piece = memoryview(data)[: self._segment_bytes - place]
        written = _uninterrupted(lambda: calls.table.pwrite(segment.fd.number, piece, place))
        if written <= 0:
            raise OSError(errno.EIO, "the disk took no byte and gave no reason")
        segment.end = offset + written
        return written

    def append_from(self, source: int, offset: int, count: int) -> int:
        """Move up to `count` bytes out of the pipe `source` to `offset`, like `append`, without reading them."""
        segment = self._segment_for(offset)
        place = offset - segment.start
        moved = calls.table.splice(source, segment.fd.number, min(count, self._segment_bytes - place), place)
        segment.end = offset + moved
        return moved

    def read(self, offset: int, length: int) -> bytes:
        """At least one and at most `length` bytes from `offset`, which was appended. OSError when they are gone."""
        segment = next(each for each in self._segments if each.start <= offset < each.end)
        wanted = min(length, segment.end - offset)
        data = _uninterrupted(lambda: calls.table.pread(segment.fd.number, wanted, offset - segment.start))
        if not data:
            raise OSError(errno.EIO, "the overflow file is shorter than what was written to it")
        return data

    def drop_below(self, offset: int) -> None:
        """Give back every segment that lies below `offset` altogether."""
        while self._segments and self._segments[0].end <= offset:
            self._segments.popleft().fd.close()

    def close(self) -> None:
        """Give back everything."""
        while self._segments:
            self._segments.popleft().fd.close()

    def _segment_for(self, offset: int) -> _Segment:
        last = self._segments[-1] if self._segments else None
        if last is None or offset - last.start >= self._segment_bytes:
            number = _uninterrupted(lambda: calls.table.temporary_file(self.directory))
            last = _Segment(Fd(number, "overflow log"), offset, offset)
            self._segments.append(last)
        return last


def _uninterrupted(call: Callable[[], T]) -> T:
    """Python repeats after EINTR by itself; a replaced table entry may not."""
    while True:
        try:
            return call()
        except InterruptedError:
            continue
