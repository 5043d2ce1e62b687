"""The caller's own ends of channels: what it feeds, and what it reads while the run goes on.

    iterable or file ──Feed──▶ pipe ──▶ node          node ──▶ pipe ──Tap──▶ the caller's reads

Laws: both are served by the supervisor's loop, so one caller that feeds and reads several channels waits for all of
them at once; memory is bounded (one piece per feed, `limit_bytes` per tap); a feed that raises is a failure with
a name, never an end of file (L2); an end of file is given to the caller only with a good verdict. A feed's source is
asked only when its pipe has room, and, where it is a pipe, socket or terminal, only when it has something.
"""

from __future__ import annotations

import fcntl
import io
import select
import stat
from contextlib import AbstractContextManager
from dataclasses import field
from functools import partial
from typing import Any, Callable, Iterable, Iterator, Optional

from teastreams.core.outcome import Verdict
from teastreams.core.plan import OUTSIDE, SectionPlan
from teastreams.runtime import calls
from teastreams.runtime.fds import LOWEST, Fd, ledger
from teastreams.runtime.loop import Loop
from teastreams.values import dataclass

PIECE_BYTES = 65536
TURN_SECONDS = 0.005
"""Small pieces are gathered for so long: a slow source is passed on at once, a quick one in large writes."""
GONE = select.POLLERR | select.POLLHUP | select.POLLNVAL
LATER = (BlockingIOError, InterruptedError)

HandsOff = Callable[[], AbstractContextManager[None]]
TakeEnd = Callable[[str, str], Optional[Fd]]


def pieces_of(source: object) -> Iterator[bytes]:
    """A binary file, or an iterable of bytes and str (as UTF-8), as pieces of bytes; TypeError for anything else."""
    if isinstance(source, (str, bytes, bytearray, memoryview)):
        source = (source,)
    read = getattr(source, "read1", None) or (source.read if isinstance(source, io.RawIOBase) else None)
    if read is not None:
        return iter(lambda: read(PIECE_BYTES) or b"", b"")
    if not isinstance(source, Iterable):
        raise TypeError(f"a channel is fed by an iterable of bytes or str, or by a file, not by {source!r}")
    return (_as_bytes(piece) for piece in source)


def _as_bytes(piece: object) -> bytes:
    if isinstance(piece, str):
        return piece.encode()
    if isinstance(piece, (bytes, bytearray, memoryview)):
        return bytes(piece)
    raise TypeError(f"a channel is fed with bytes or str, not with {type(piece).__name__}; convert each piece first")


class Feed:
    """Writes what the caller gives into one channel. `error` is what its source raised, `moved_bytes` what went out."""

    def __init__(self, source: object) -> None:
        self._pieces, self._source = pieces_of(source), source
        self._pending = memoryview(b"")
        self._exhausted = False
        self._notice: Optional[Fd] = None
        self._end: Optional[Fd] = None
        self.error: Optional[Exception] = None
        self.moved_bytes = 0

    def attach(self, loop: Loop, end: Fd, hands_off: HandsOff, ended: Callable[[], None]) -> None:
        """Feed the pipe from now on; `ended` is called once, when the source is at its end or the reader has gone.

        The caller's code runs inside `hands_off()`.
        """
        self._loop, self._end, self._hands_off, self._ended = loop, end, hands_off, ended
        calls.table.set_blocking(end.number, False)
        self._notice = _notice(self._source)
        loop.watch(end, select.POLLOUT, self._on_room)

    def detach(self) -> None:
        """Stop feeding and close the pipe's end; again is harmless."""
        for fd in (self._notice, self._end):
            if fd:
                self._loop.unwatch(fd)
                fd.close()

    def _on_room(self, events: int) -> None:
        if events & GONE:
            self._finish()
        elif self._pending or self._exhausted:
            self._write()
        elif self._notice:
            self._await_source(self._notice)
        else:
            self._refill()
            self._write()

    def _await_source(self, notice: Fd) -> None:
        """Nobody asks a source that would block; whether the reader leaves is watched meanwhile (mask 0)."""
        if self._end:
            self._loop.watch(self._end, 0, self._on_room)
            self._loop.watch(notice, select.POLLIN, self._on_source)

    def _on_source(self, _events: int) -> None:
        if self._notice and self._end:
            self._loop.unwatch(self._notice)
            self._refill()
            self._loop.watch(self._end, select.POLLOUT, self._on_room)

    def _refill(self) -> None:
        """Ask the source: until a piece is full, its time is up, or it is at its end."""
        gathered = bytearray()
        until = calls.table.monotonic() + TURN_SECONDS
        try:
            with self._loop.unmasked(), self._hands_off():
                while not gathered or (len(gathered) < PIECE_BYTES and calls.table.monotonic() < until):
                    gathered += next(self._pieces)
                    if self._notice:
                        break
        except StopIteration:
            self._exhausted = True
        except Exception as error:
            self._exhausted, self.error = True, error
        self._pending = memoryview(bytes(gathered))

    def _write(self) -> None:
        try:
            while self._pending and self._end:
                count = calls.table.write(self._end.number, self._pending)
                self._pending = self._pending[count:]
                self.moved_bytes += count
        except LATER:
            return
        except BrokenPipeError:
            self._finish()
            return
        if self._exhausted:
            self._finish()

    def _finish(self) -> None:
        self.detach()
        self._ended()


def _notice(source: Any) -> Optional[Fd]:
    """A descriptor of ours that says when the source has bytes; None where that is always so, or cannot be known."""
    if isinstance(source, io.TextIOBase) or not (hasattr(source, "read1") or isinstance(source, io.RawIOBase)):
        return None
    try:
        number = source.fileno()
    except (OSError, AttributeError):
        return None
    if stat.S_ISREG(calls.table.fstat(number).st_mode):
        return None
    with ledger.guard:
        return Fd(calls.table.fcntl(number, fcntl.F_DUPFD_CLOEXEC, LOWEST), "notice of a feed's source")


class Tap:
    """The caller's end of a channel it reads: what has come, and how it ends.

    `opened`: the caller has asked for it. `verdict` is set by the supervisor, None while nobody knows.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._buffer = bytearray()
        self._end: Optional[Fd] = None
        self._loop: Optional[Loop] = None
        self._at_end = False
        self.opened = self.closed = False
        self.started = self.over = False
        self.verdict: Optional[Verdict] = None
        self.moved_bytes = 0

    @property
    def full(self) -> bool:
        """Does it hold as much as it may?"""
        return len(self._buffer) >= self._limit_bytes

    @property
    def at_end(self) -> bool:
        """Has everything been handed out, up to the kernel's end of file?"""
        return self._at_end and not self._buffer

    @property
    def cut(self) -> bool:
        """Is nothing to come any more, though the pipe was not at its end? Its section is over."""
        return self.over and not self._at_end

    def attach(self, loop: Loop, end: Fd) -> None:
        """Read the pipe from now on, whenever the loop waits; a tap that was closed before leaves early."""
        self._loop, self._end, self.started = loop, end, True
        calls.table.set_blocking(end.number, False)
        if self.closed:
            end.close()
        else:
            self._watch()

    def detach(self) -> None:
        """The loop is gone; what is still in the pipe can be taken."""
        if self._loop is not None and self._end is not None:
            self._loop.unwatch(self._end)
        self._loop, self.over = None, True

    def take(self, most_bytes: int) -> bytes:
        """What is there, at most so much; b"" when nothing is there now."""
        if not self._buffer:
            return self._read(most_bytes)
        data = bytes(self._buffer[:most_bytes])
        del self._buffer[:most_bytes]
        self._watch()
        return data

    def close(self) -> None:
        """Leave early: the producer gets EPIPE at its next write. Again is harmless."""
        self.closed = True
        self._buffer.clear()
        if self._end:
            if self._loop is not None:
                self._loop.unwatch(self._end)
            self._end.close()

    def _watch(self) -> None:
        if self._loop is not None and self._end and not self.full and not self._at_end:
            self._loop.watch(self._end, select.POLLIN, self._on_bytes)

    def _on_bytes(self, _events: int) -> None:
        self._buffer += self._read(PIECE_BYTES)
        if self.full and self._loop is not None and self._end:
            self._loop.unwatch(self._end)

    def _read(self, most_bytes: int) -> bytes:
        if not self._end:
            return b""
        try:
            data = calls.table.read(self._end.number, most_bytes)
        except LATER:
            return b""
        self.moved_bytes += len(data)
        if not data:
            self._at_end = True
            if self._loop is not None:
                self._loop.unwatch(self._end)
            self._end.close()
        return data


@dataclass
class Outside:
    """The caller's ends of one run, by channel."""

    feeds: dict[str, Feed] = field(default_factory=dict)
    taps: dict[str, Tap] = field(default_factory=dict)

    def among(self, channels: Iterable[str]) -> Outside:
        """Those of some channels."""
        wanted = set(channels)
        return Outside(
            {name: feed for name, feed in self.feeds.items() if name in wanted},
            {name: tap for name, tap in self.taps.items() if name in wanted},
        )

    def attach(
        self, plan: SectionPlan, loop: Loop, take: TakeEnd, hands_off: HandsOff, ended: Callable[[str, Feed], None]
    ) -> list[str]:
        """Begin with every end that `take` has for the caller; returns the channels that are fed from now on.

        `ended` is called with a channel and its feed when that is at its end.
        """
        fed = []
        for channel in plan.channels.values():
            feed, tap = self.feeds.get(channel.name), self.taps.get(channel.name)
            written = take(channel.source, "w") if feed is not None else None
            if feed is not None and written is not None:
                fed.append(channel.name)
                feed.attach(loop, written, hands_off, partial(ended, channel.name, feed))
            read = take(channel.consumer(OUTSIDE).pipe, "r") if tap is not None else None
            if tap is not None and read is not None:
                tap.attach(loop, read)
        return fed
