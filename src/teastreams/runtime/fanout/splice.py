"""The zero-copy path on Linux: rounds of bytes that are duplicated by the kernel and never enter this process.

    source ─ tee ──▶ staging pipe 0 ─ splice ─▶ consumer 0
      │ ─── tee ───▶ staging pipe 1 ─ splice ─▶ consumer 1
      └─── splice ─▶ staging pipe 2 ─ splice ─▶ consumer 2       the last copy is the source itself, moved

`tee` copies from the head of a pipe and cannot skip, and the consumers' pipes have unequal room: so each member of a
round has an empty staging pipe of the source's size, into which everything fits. What the kernel did is told to
`core.fanout.arithmetic`, which knows what is owed; a copy that came out short is made up for from memory by that alone.

Laws: never on the portable path, nor for a source that is no pipe; a kernel that refuses (seccomp, an old one) is asked
once and then never again, which is no failure; a consumer that cannot have a staging pipe (no descriptor, quota used
up, no FIFO) is served from memory; nothing here waits.
"""

from __future__ import annotations

import stat
from contextlib import suppress
from typing import Optional, Sequence

from teastreams.core.fanout.arithmetic import Fanout
from teastreams.core.fanout.staging import worth_staging
from teastreams.runtime import calls
from teastreams.runtime.fanout.spill import SpillLog
from teastreams.runtime.fds import Fd, make_pipe, resize

NOW_OR_LATER = (BlockingIOError, InterruptedError)


class _StagingPipe:
    """One private pipe: its two ends, and how many bytes it can hold."""

    def __init__(self, size_bytes: int) -> None:
        self.read, self.write = make_pipe("a staging pipe")
        self.size_bytes = resize(self.write, size_bytes)
        for end in (self.read, self.write):
            calls.table.set_blocking(end.number, False)

    def close(self) -> None:
        self.read.close()
        self.write.close()


class Staging:
    """The staging pipes of one pump. `sinks` are the numbers of the consumers' pipe ends, in the order of `fanout`."""

    def __init__(self, source: Fd, sinks: Sequence[int], fanout: Fanout) -> None:
        self._source, self._sinks, self._fanout = source, sinks, fanout
        self._pipes: dict[int, Optional[_StagingPipe]] = {}
        self._source_bytes = 0
        self._gives_enough = False
        self._log_refused = False
        self.refused = calls.portable()

    @property
    def busy(self) -> bool:
        """Did the source give so much that the next round is worth its calls?"""
        return self._gives_enough and not self.refused

    def saw(self, count: int) -> None:
        """The source gave `count` bytes at once."""
        if self.refused:
            return
        if not self._source_bytes:
            self._source_bytes = self._size_of_source()
        self._gives_enough = worth_staging(count, self._source_bytes)

    def round(self, want: int) -> int:
        """Duplicate up to `want` bytes for the members; returns how many, 0 for none: then the source must be read.

        Afterwards `Fanout.round_left` says how much of that is still to be read from the source.
        """
        members = [index for index in self._fanout.members() if self._pipe(index)]
        alone = len(members) == len(self._fanout.live)
        copies = members[:-1] if alone else members
        staged = self._tee(copies, want)
        size = staged.get(copies[0], 0) if copies else want
        if alone and members and size and all(staged.get(index) == size for index in copies):
            staged[members[-1]] = moved = self._move_source(members[-1], size)
            size = size if copies else moved
        else:
            moved = 0
        if size and staged:
            self._fanout.begin_round(size, staged)
        if moved:
            self._fanout.passed(moved)
        self.saw(size if staged else 0)
        return size if staged else 0

    def hand_over(self, index: int, length: int) -> int:
        """Move up to `length` bytes from a consumer's staging pipe to it; 0 when they must be read back instead.

        BlockingIOError while it has no room, BrokenPipeError when it has gone.
        """
        pipe = self._pipes[index]
        if pipe is None or self.refused:
            return 0
        try:
            count = calls.table.splice(pipe.read.number, self._sinks[index], length)
        except (*NOW_OR_LATER, BrokenPipeError, ConnectionResetError):
            raise
        except OSError:
            count = 0
        self.refused = not count
        return count

    def read_back(self, index: int, length: int) -> bytes:
        """Up to `length` bytes out of a consumer's staging pipe; b"" when they are not there."""
        pipe = self._pipes[index]
        try:
            return calls.table.read(pipe.read.number, length) if pipe else b""
        except BlockingIOError:
            return b""

    def log_rest(self, spill: SpillLog) -> None:
        """Move what is left of the round from the source into the log, as far as that goes; memory gets the rest."""
        fanout = self._fanout
        while fanout.round_left and fanout.past_memory() and fanout.log_end == fanout.head and not self._log_refused:
            try:
                count = spill.append_from(self._source.number, fanout.head, fanout.round_left)
            except InterruptedError:
                continue
            except OSError:  # the disk is full, or its file system cannot: writing to it will tell which
                count = 0
            self._log_refused = not count
            fanout.logged(count)

    def drop(self, index: int) -> None:
        """Give a consumer's staging pipe back, and what is in it."""
        pipe = self._pipes.pop(index, None)
        if pipe is not None:
            pipe.close()

    def close(self) -> None:
        """Give everything back."""
        for index in tuple(self._pipes):
            self.drop(index)

    # -- inside ---------------------------------------------------------------------------------------------

    def _size_of_source(self) -> int:
        try:
            return int(calls.table.fcntl(self._source.number, calls.F_GETPIPE_SZ))
        except OSError:  # not a pipe
            self.refused = True
            return 0

    def _pipe(self, index: int) -> Optional[_StagingPipe]:
        """Made when it is needed first; None when this consumer is to be served from memory."""
        if index not in self._pipes:
            self._pipes[index] = self._new_pipe(self._sinks[index])
        return self._pipes[index]

    def _new_pipe(self, sink: int) -> Optional[_StagingPipe]:
        pipe = None
        with suppress(OSError):
            if stat.S_ISFIFO(calls.table.fstat(sink).st_mode):
                pipe = _StagingPipe(self._source_bytes)
        if pipe is not None and not worth_staging(pipe.size_bytes, self._source_bytes):
            pipe.close()
            return None
        return pipe

    def _tee(self, members: Sequence[int], want: int) -> dict[int, int]:
        """Copy up to `want` bytes into each staging pipe: how many are where. The first one says how many there are."""
        staged: dict[int, int] = {}
        for index in members:
            pipe = self._pipes[index]
            count = self._do(calls.table.tee, pipe.write.number, want) if pipe else 0
            if not count and not staged:
                break
            staged[index] = count
            want = next(iter(staged.values()))
        return staged

    def _move_source(self, index: int, size: int) -> int:
        pipe = self._pipes[index]
        return self._do(calls.table.splice, pipe.write.number, size) if pipe else 0

    def _do(self, call: calls.Mover, target: int, count: int) -> int:
        """How many bytes it moved; 0 when it cannot now, and for good when the kernel refuses."""
        try:
            return 0 if self.refused else call(self._source.number, target, count)
        except NOW_OR_LATER:
            return 0
        except OSError:
            self.refused = True
            return 0
