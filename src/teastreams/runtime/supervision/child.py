"""The supervisor's side of one worker: its process, its state in the lifecycle table, its pipes.

A child owns four kinds of descriptors: the result pipe it reads, the control pipe it writes, the lifeline it only
holds, and the logs of output that is no channel. All are non-blocking on this side; what cannot be written now waits
in the outbox. It decides nothing: the table does, and the supervisor acts.
"""

from __future__ import annotations

import os
import select
import signal
from collections import deque
from contextlib import suppress
from typing import Callable, Iterator, Optional

from teastreams.core.endings import How
from teastreams.core.frames import FrameError, FrameReader, Kind, Payload, header
from teastreams.core.graph import DEFAULT_RESULT_BYTES
from teastreams.core.lifecycle import LIVE, State
from teastreams.runtime import calls
from teastreams.runtime.exits import ExitWatch
from teastreams.runtime.fds import Fd, adopt, resize
from teastreams.runtime.fork import STATUS_LOST, Usage, WorkerProcess
from teastreams.runtime.loop import Loop
from teastreams.runtime.node.branch import LIMIT_BYTES as FIGURES_LIMIT
from teastreams.runtime.node.ending import Report, load_report
from teastreams.runtime.node.pickles import Parcel
from teastreams.runtime.node.stdio import has_ended
from teastreams.runtime.secrecy import longest_bytes, masked_bytes

READ_BYTES = 1 << 18
FRAME_LIMIT = 1 << 20
LONG_PIPE_BYTES = 1 << 20
TAIL_LINES = 20
LINE_LIMIT = 1 << 16
STREAM_NAMES = {1: "stdout", 2: "stderr"}


class Log:
    """One pipe of output that is no channel: cut into lines, the last ones kept."""

    def __init__(self, fd: Fd, on_line: Callable[[str], None]) -> None:
        self.fd, self._on_line = fd, on_line
        self._rest = b""
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)

    def feed(self, data: bytes) -> None:
        """Take bytes; hand out each whole line. A longer line is cut after each 64 KiB, however its bytes come in.

        What is guarded is masked before that; of a line that goes on, so much is kept back that none of it is cut.
        """
        *lines, rest = (self._rest + data).split(b"\n")
        for line in map(masked_bytes, lines):
            for start in range(0, len(line) or 1, LINE_LIMIT):
                self._emit(line[start : start + LINE_LIMIT])
        self._rest = masked_bytes(rest)
        while len(self._rest) > LINE_LIMIT + longest_bytes():
            self._emit(self._rest[:LINE_LIMIT])
            self._rest = self._rest[LINE_LIMIT:]

    def end(self) -> None:
        """Hand out what stands after the last newline."""
        if self._rest:
            self.feed(b"\n")

    def _emit(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace")
        self.tail.append(text)
        self._on_line(text)


class Child:
    """One worker as the supervisor sees it.

    A `program` reports nothing. Whatever it started holds the result pipe as well: after its own exit (`exit_seen`)
    that pipe tells when all of them have gone; `left_running` says that they had to be killed. Nor does it say why a
    write failed: the `witnesses`, copies of its outputs, tell at its exit which of them nobody reads any more
    (`broken`), and on Linux whether somebody still writes (`stragglers`). While a witness is open the reader sees no
    end of file: whoever has gone by then has gone early. Of the `outputs`, the channels that it writes, those `lent`
    are the caller's, and have other writers anyway; those `unread` have lost their reader since.
    """

    def __init__(self, name: str, loop: Loop, result: Fd, control: Fd, lifeline: Fd, program: bool = False) -> None:
        self.name, self._loop, self.program = name, loop, program
        self.exit_seen = self.left_running = False
        self.result, self.control, self.lifeline = result, control, lifeline
        self.logs: dict[int, Log] = {}
        self.witnesses: dict[int, Fd] = {}
        self.broken: frozenset[int] = frozenset()
        self.outputs: frozenset[int] = frozenset()
        self.lent: frozenset[int] = frozenset()
        self.unread: set[int] = set()
        self.stragglers: dict[int, Fd] = {}
        self._on_drained: Callable[[], None] = lambda: None
        self.state = State.FORKED
        self.process: Optional[WorkerProcess] = None
        self.exit: Optional[ExitWatch] = None
        self.pid = -1
        self.exit_code: Optional[int] = None
        self.usage: Optional[Usage] = None
        self.kernel_bytes: Optional[tuple[int, int]] = None
        self.report: Optional[Report] = None
        self.update: Optional[Parcel] = None
        self.figures: Payload = b""
        self.stop_reason = ""
        self.timed_out = False
        self.started_at = self.finished_at = calls.table.monotonic()
        self._limits = {Kind.FIGURES: FIGURES_LIMIT}
        self._buffers: list[Payload] = []
        self._wide = False
        self._frames = FrameReader(self._limits, FRAME_LIMIT)
        self._outbox: deque[memoryview] = deque()
        self.limit_result(DEFAULT_RESULT_BYTES)

    @property
    def live(self) -> bool:
        """Has its exit not been seen yet?"""
        return self.state in LIVE

    @property
    def drained(self) -> bool:
        """Are all pipes from it at their end?"""
        return not self.result and not any((*self.stragglers.values(), *(log.fd for log in self.logs.values())))

    @property
    def has_returned(self) -> bool:
        """Was its last word a good one, and is there nothing that only its exit would show?"""
        returned = self.report is not None and self.report.how is How.RETURNED and self.state is State.ENDING
        return returned and not (calls.portable() and bool(self.could_be_cut))

    @property
    def could_be_cut(self) -> frozenset[int]:
        """It has exited: in which outputs would it look like a good end if whoever is left behind were cut off?"""
        report = self.report
        ours = self.outputs - self.lent - self.broken - self.unread
        if report is None:  # a program sends none; that of a node may still be on its way
            good = self.state is State.RUNNING and (self.program or bool(self.result))
        else:
            good = self.state is State.ENDING and report.how is How.RETURNED and not report.left_running
            ours -= report.broken
        return ours if good else frozenset()

    @property
    def seconds(self) -> float:
        """How long it ran."""
        return self.finished_at - self.started_at

    def limit_result(self, limit_bytes: int) -> None:
        """The most that it may send back as its update."""
        self._limits.update({Kind.UPDATE: limit_bytes, Kind.BUFFER: limit_bytes})

    def take_buffer(self, buffer: Payload) -> None:
        """A part of its update: the whole of it stays within the limit."""
        self._buffers.append(buffer)
        self.limit_result(self._limits[Kind.BUFFER] - len(buffer))

    def take_update(self, pickle: Payload) -> None:
        """The last part of its update."""
        self.update = Parcel((pickle,), tuple(self._buffers))
        self._buffers.clear()

    def watch(self, on_frame: Callable[[Kind, Payload], None], on_drained: Callable[[], None]) -> None:
        """Read everything it says."""
        self._on_drained = on_drained
        self._loop.watch(self.result, select.POLLIN, lambda _events: self._read_result(on_frame, on_drained))
        for log in self.logs.values():
            self._loop.watch(log.fd, select.POLLIN, self._log_reader(log, on_drained))

    def send(self, kind: Kind, payload: bytes = b"") -> None:
        """Say something to it; what its pipe does not take now is sent later."""
        if self.control:
            self._outbox += (memoryview(part) for part in (header(kind, len(payload)), payload) if part)
            self._flush()

    def signal(self, number: int) -> None:
        """Signal its whole group, then wake it: a stopped process cannot die politely."""
        for each in (number, signal.SIGCONT):
            with suppress(ProcessLookupError, PermissionError):  # macOS says EPERM of a group of zombies
                calls.table.killpg(self.pid, each)
            with suppress(ProcessLookupError, PermissionError):
                if calls.table.getpgid(self.pid) != self.pid:  # the node took itself out of its group
                    calls.table.kill(self.pid, each)

    def hear_witnesses(self) -> None:
        """It has exited: see which of its outputs have no reader, then let the others come to their ends."""
        self.broken |= {fd for fd, witness in self.witnesses.items() if has_ended(witness.number)}
        inner = self.witnesses.keys() - self.broken - self.lent
        ends = {fd: _other_side(self.witnesses[fd]) for fd in inner}
        self.stragglers = {fd: end for fd, end in ends.items() if end is not None}
        for witness in self.witnesses.values():
            witness.close()
        self.witnesses.clear()
        for fd, end in self.stragglers.items():
            self._loop.watch(end, 0, self._straggler_watcher(fd))

    def _straggler_watcher(self, fd: int) -> Callable[[int], None]:
        return lambda _events: self.forget_stragglers(fd)

    def forget_stragglers(self, fd: int) -> None:
        """The last of them has gone, or their reader, and then they are to see that, too: our end would hide it."""
        self.unread.add(fd)
        end = self.stragglers.pop(fd, None)
        if end is not None:
            self._shut(end, self._on_drained)

    def sweep(self) -> None:
        """Kill what is left in its group; its own number is not collected yet, so it cannot be a stranger's."""
        with suppress(ProcessLookupError, PermissionError):
            calls.table.killpg(self.pid, signal.SIGKILL)

    def reap(self) -> None:
        """Collect its status. It has exited, so this does not wait."""
        if self.process is not None and self.process._popen is not None:
            code = self.process._popen.poll(0)
            self.exit_code = None if code == STATUS_LOST else code
            self.usage = self.process._popen.usage
        if self.exit is not None:
            if self.exit.fd is not None:
                self._loop.unwatch(self.exit.fd)
            self.exit.close()

    def close(self) -> None:
        """Give everything back; the process must have been reaped."""
        for log in self.logs.values():
            log.end()
        more = (*(log.fd for log in self.logs.values()), *self.witnesses.values(), *self.stragglers.values())
        for fd in (self.result, self.control, self.lifeline, *more):
            self._loop.unwatch(fd)
            fd.close()
        if self.process is not None:
            self.process.join(0)
            self.process.close()
            self.process = None

    def _read_result(self, on_frame: Callable[[Kind, Payload], None], on_drained: Callable[[], None]) -> None:
        try:
            for kind, payload in self._frames_now():
                on_frame(kind, payload)
        except (FrameError, EOFError):  # who writes no frames is no worker of ours any more; its exit will tell
            self._shut(self.result, on_drained)

    def _frames_now(self) -> Iterator[tuple[Kind, Payload]]:
        """What one read of the result pipe completes; EOFError at its end. A long payload is read where it stays."""
        room = self._frames.room
        if room is None:
            data = self._read(self.result)
            frames = self._frames.feed(data or b"")
            ended = data == b""
        else:
            self._widen()
            count = self._read_into(room)
            frames = self._frames.filled(count or 0)
            ended = count == 0
        if ended:
            raise EOFError
        yield from frames

    def _log_reader(self, log: Log, on_drained: Callable[[], None]) -> Callable[[int], None]:
        def read(_events: int) -> None:
            data = self._read(log.fd)
            if data:
                log.feed(data)
            elif data is not None:
                log.end()
                self._shut(log.fd, on_drained)

        return read

    def _read(self, fd: Fd) -> Optional[bytes]:
        """Bytes, b"" at the end, None when there is nothing now."""
        try:
            return calls.table.read(fd.number, READ_BYTES)
        except BlockingIOError:
            return None

    def _widen(self) -> None:
        """Once a long payload is under way: a quarter less time for 256 MiB, measured. The kernel may refuse."""
        if not self._wide:
            self._wide = True
            resize(self.result, LONG_PIPE_BYTES)

    def _read_into(self, room: memoryview) -> Optional[int]:
        """The number of bytes read, 0 at the end, None when there is nothing now."""
        try:
            return calls.table.readv(self.result.number, [room])
        except BlockingIOError:
            return None

    def _shut(self, fd: Fd, on_drained: Callable[[], None]) -> None:
        self._loop.unwatch(fd)
        fd.close()
        if self.drained:
            on_drained()

    def _flush(self) -> None:
        while self._outbox:
            try:
                count = calls.table.write(self.control.number, self._outbox[0])
            except BlockingIOError:
                self._loop.watch(self.control, select.POLLOUT, lambda _events: self._flush())
                return
            except OSError:  # it has gone; its exit will tell how
                break
            rest = self._outbox.popleft()[count:]
            if rest:
                self._outbox.appendleft(rest)
        self._outbox.clear()
        self._loop.unwatch(self.control)


def _other_side(witness: Fd) -> Optional[Fd]:
    """The read end of the pipe that `witness` writes: it hangs up when the last writer goes. Linux opens it anew."""
    if calls.portable():
        return None
    try:
        return adopt(calls.table.open(f"/proc/self/fd/{witness.number}", os.O_RDONLY | os.O_CLOEXEC), witness.label)
    except OSError:
        return None


def parse_report(payload: Payload) -> Optional[Report]:
    """The report of a worker, or None when it is none."""
    try:
        return load_report(bytes(payload))
    except (ValueError, KeyError, TypeError):
        return None
