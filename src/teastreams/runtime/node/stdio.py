"""sys.stdin, sys.stdout and sys.stderr of a node, on descriptors 0, 1 and 2.

Laws: end of file is a verdict (L2): at the kernel's EOF the raw reader waits for the supervisor's word, merges what the
upstream returned (L3) and only then returns b"", or raises `UpstreamFailed`, then and at every later read. The
Python object and the descriptor move together, so that Python code, C extensions and child programs of the node see the
same stream. A node that closes `sys.stdout` ends its stream there and then; the number stays taken by /dev/null,
so that the next file it opens cannot become its stdout. Text is UTF-8, strict as in a UTF-8 locale.

Reading waits on descriptor 0 *and* on the control pipe: a stranger may hold the write end for ever.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Callable, Optional

from teastreams.errors import UpstreamFailed
from teastreams.runtime import calls
from teastreams.runtime.fds import give_back, room_to_wait
from teastreams.runtime.gauges import Gauge, Phase

if TYPE_CHECKING:
    from teastreams.runtime.node.control import Control

BUFFER_BYTES = 65536
WRITE_BUFFER_BYTES = 61440
"""Less than a write of 64 KiB, and than a chunk of text: io hands what is larger than its buffer on without a copy."""
_READING, _WRITING = Phase.READING.value, Phase.WRITING.value
_ENDED = select.POLLHUP | select.POLLERR | select.POLLNVAL


class InputPipe(io.RawIOBase):
    """The raw reader under sys.stdin when stdin is a channel."""

    def __init__(
        self,
        fd: int,
        control: Control,
        gauge: Gauge,
        drain_seconds: float,
        producer: str = "",
        on_close: Optional[Callable[[int], None]] = None,
        counts_records: bool = False,
    ) -> None:
        super().__init__()
        self.stand_in: io.IOBase = io.BytesIO()
        self._producer, self._on_close = producer, on_close
        self._counts_records = counts_records  # a copy of every block: a fifth of a bare pipe's speed
        self._fd, self._control, self._gauge = fd, control, gauge
        self._drain_seconds = drain_seconds
        self._inode = calls.table.fstat(fd).st_ino
        # Made once: making a poll set for every read cost a tenth of a bare pipe's speed.
        self._watch_input, self._watch_both = calls.table.poll(), calls.table.poll()
        for watch in (self._watch_input, self._watch_both):
            watch.register(fd, select.POLLIN)
        self._watch_both.register(control.fileno(), select.POLLIN)
        self._failure: Optional[UpstreamFailed] = None
        self._at_end = False
        self._left: Optional[bool] = None

    def readable(self) -> bool:
        """True."""
        return True

    def fileno(self) -> int:
        """0 in a node."""
        return self._fd

    def readinto(self, buffer: Any) -> int:
        """Read into `buffer`; 0 is the end, said only when everything upstream ended well."""
        if self._failure is not None:
            raise self._failure
        if self._at_end or not len(buffer):
            return 0
        count = self._read(buffer)
        if count == 0:
            self._end()
        self._gauge.add(0, count)
        if self._counts_records:
            self._gauge.add_records(0, bytes(buffer[:count]).count(b"\n"))
        return count

    def close(self) -> None:
        """Leave early: the producer gets EPIPE at its next write."""
        if not self.closed:
            self._left = self.left_early()
            super().close()
            self.stand_in.close()
            give_up(self._fd, os.O_RDONLY)
            if self._on_close is not None:
                self._on_close(self._fd)

    def left_early(self) -> bool:
        """Proof that nobody in this node can have seen the end of the input: a writer is still there.

        When in doubt (the node closed descriptor 0 or put something else there) the answer is False.
        """
        if self._left is not None:
            return self._left
        try:
            same = calls.table.fstat(self._fd).st_ino == self._inode
        except OSError:
            return False
        return same and not has_ended(self._fd)

    def _read(self, buffer: Any) -> int:
        while True:
            # What is there is read at once: only a wait is worth two looks at the clock.
            if not self._watch_input.poll(0):
                self._wait()
            try:
                return calls.table.readv(self._fd, [buffer])
            except BlockingIOError:  # a stream of the caller's that is non-blocking, and somebody else was quicker
                continue

    def _wait(self) -> None:
        self._gauge.begin(_READING, 0)
        try:
            self._wait_for_bytes()
        finally:
            self._gauge.end()

    def _wait_for_bytes(self) -> None:
        """Until descriptor 0 has bytes or its end. A failed verdict cuts the wait, an unheld end never comes."""
        while not self._control.has_verdict:
            ready = [number for number, _events in self._watch_both.poll()]
            if ready == [self._fd]:
                return
            self._control.receive()
            if self._fd in ready:
                return
        if not self._watch_input.poll(self._patience_seconds()):
            self._end_without_eof()

    def _patience_seconds(self) -> Optional[float]:
        """How long an open but empty pipe is waited for once the verdict is there.

        A caller who writes may take for ever.
        """
        if not self._control.verdict().well:
            return 0
        return self._drain_seconds if self._producer else None

    def _end(self) -> None:
        self._gauge.begin(Phase.VERDICT, 0)
        try:
            verdict = self._control.verdict()
        finally:
            self._gauge.end()
        if not verdict.well:
            self._fail(UpstreamFailed(verdict.culprit, verdict.reason))
        self._control.take_updates()
        self._control.told = self._at_end = True

    def _end_without_eof(self) -> None:
        """Everybody upstream has ended and the pipe is empty, yet it is open: somebody kept the write end."""
        verdict = self._control.verdict()
        if verdict.well:
            reason = f"a process that it started kept its stream open for {self._drain_seconds:g} s after its end"
            self._control.held = True
            self._fail(UpstreamFailed(self._producer or "the producer", reason))
        self._fail(UpstreamFailed(verdict.culprit, verdict.reason))

    def _fail(self, failure: UpstreamFailed) -> None:
        self._control.told, self._failure = True, failure
        raise failure


class OutputPipe(io.RawIOBase):
    """The raw writer under sys.stdout or sys.stderr."""

    def __init__(
        self,
        fd: int,
        gauge: Gauge,
        on_close: Optional[Callable[[int], None]] = None,
        counts_records: bool = False,
    ) -> None:
        super().__init__()
        self.stand_in: io.IOBase = io.BytesIO()
        self._fd, self._gauge, self._on_close = fd, gauge, on_close
        self._counts_records = counts_records
        self._inode = calls.table.fstat(fd).st_ino

    def writable(self) -> bool:
        """True."""
        return True

    def fileno(self) -> int:
        """1 or 2 in a node."""
        return self._fd

    def write(self, data: Any) -> int:
        """Write some of `data`; BrokenPipeError when every reader has gone."""
        self._gauge.begin(_WRITING, self._fd)
        try:
            count = calls.table.write(self._fd, data)
        except BlockingIOError:
            count = self._write_patiently(data)
        finally:
            self._gauge.end()
        self._gauge.add(self._fd, count)
        if self._counts_records:
            self._gauge.add_records(self._fd, bytes(memoryview(data)[:count]).count(b"\n"))
        return count

    def _write_patiently(self, data: Any) -> int:
        """A stream of the caller's may be non-blocking, and is not ours to change: then we wait for room ourselves."""
        watch = calls.table.poll()
        watch.register(self._fd, select.POLLOUT)
        while True:
            watch.poll()
            with suppress(BlockingIOError):
                return calls.table.write(self._fd, data)

    def close(self) -> None:
        """End the stream there and then, cleanly."""
        if not self.closed:
            super().close()
            self.stand_in.close()
            give_up(self._fd, os.O_WRONLY)
            # Closed on the way out of a failure (`with sys.stdout`, `finally`), it vouches for nothing.
            if self._on_close is not None and sys.exc_info()[0] is None:
                self._on_close(self._fd)

    def reader_left(self) -> bool:
        """Proof that nobody reads this stream any more, while the node still holds it.

        When in doubt (the node closed the descriptor or put something else there) the answer is False.
        """
        try:
            same = calls.table.fstat(self._fd).st_ino == self._inode
        except OSError:
            return False
        return same and has_ended(self._fd)


def give_up(fd: int, flags: int) -> None:
    """Put /dev/null where a stream was."""
    number = calls.table.open(os.devnull, flags | os.O_CLOEXEC)
    if number == fd:  # the caller had closed it
        calls.table.set_inheritable(fd, True)
    else:
        calls.table.dup2(number, fd)
        give_back(number)


def text_reader(raw: io.RawIOBase, some_pipe: Optional[int] = None) -> io.TextIOWrapper:
    """A text layer as Python gives sys.stdin: universal newlines. `some_pipe` as in `_text`."""
    return _text(io.BufferedReader, raw, BUFFER_BYTES, some_pipe, errors="strict")


def text_writer(
    raw: io.RawIOBase, errors: str, line_buffering: bool, some_pipe: Optional[int] = None
) -> io.TextIOWrapper:
    """As Python gives sys.stdout (block buffered on a channel) or sys.stderr. `some_pipe` as in `_text`."""
    kind: Any = io.BufferedWriter
    return _text(kind, raw, WRITE_BUFFER_BYTES, some_pipe, errors=errors, newline="\n", line_buffering=line_buffering)


def _text(kind: Any, raw: Any, size_bytes: int, some_pipe: Optional[int], **options: Any) -> io.TextIOWrapper:
    """Text over a buffer over `raw`. `some_pipe` is any open one of this process; not a byte goes through it.

    For every line CPython's text layer asks its buffer whether it is closed, and that asks `raw`: a fifth of the time
    of a print. It asks a plain FileIO without a call, and looks once, when it is made, whether one is below. So it is
    made over one, which is then exchanged for `raw`; `raw` closes it when it is closed itself.
    """
    mode = "r" if kind is io.BufferedReader else "w"
    stand_in = None if some_pipe is None else io.FileIO(some_pipe, mode, closefd=False)
    buffer = kind(raw if stand_in is None else stand_in, size_bytes)
    text = io.TextIOWrapper(buffer, encoding="utf-8", **options)
    if stand_in is not None:
        buffer.__init__(raw, size_bytes)
        raw.stand_in = stand_in
    # The default of 8 KiB a chunk costs a third of the speed of line loops; the attribute is CPython's and PyPy's.
    text._CHUNK_SIZE = BUFFER_BYTES  # type: ignore[attr-defined]
    return text


def install(stdin: io.TextIOBase, stdout: io.TextIOBase, stderr: io.TextIOBase) -> list[Any]:
    """Make these the standard streams of this process; returns the old objects, which must be kept alive.

    What is in their buffers belongs to the parent, which writes it itself; collected, they would flush it into
    our stream.
    """
    old: list[Any] = []
    for name, stream in (("stdin", stdin), ("stdout", stdout), ("stderr", stderr)):
        old += [getattr(sys, name), getattr(sys, f"__{name}__")]
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    return old


def has_ended(fd: int) -> bool:
    """Has the other side of this pipe gone? For a reader: no writer is left, for a writer: no reader."""
    watch = calls.table.poll()
    watch.register(fd, 0)
    with room_to_wait(1):
        return any(events & _ENDED for _fd, events in watch.poll(0))


def is_broken_pipe(error: BaseException) -> bool:
    """Is this the EPIPE of a write to a reader that left?"""
    return isinstance(error, OSError) and error.errno == errno.EPIPE
