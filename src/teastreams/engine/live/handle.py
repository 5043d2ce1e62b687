"""A run in the caller's hand: read its channels while it goes on, ask it, wait for it, cancel it.

Laws: no thread of ours: the run goes on inside the supervisor's loop whenever the caller reads, waits or asks, and all
feeds and open channels are served then; a caller that does neither leaves bounded buffers full, which holds the
producers. An end of file is given out only with a good verdict (L2). However the `with` block is left, nothing of the
run is left (L4). Between two calls the host's own signal handlers are in place.
"""

from __future__ import annotations

import io
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as WaitTimeout
from types import TracebackType
from typing import IO, Any, Callable, Iterator, Optional, Union

from teastreams.core.events import RunEvent, Waiting
from teastreams.engine.results import RunFinished, RunResult
from teastreams.engine.scheduler import Scheduler
from teastreams.errors import UpstreamFailed, WorkflowFailed
from teastreams.runtime import calls
from teastreams.runtime.loop import Loop
from teastreams.runtime.node.stdio import BUFFER_BYTES, text_reader
from teastreams.runtime.supervision.outside import Tap

LOOK_SECONDS = 0.1
"""A caller whose channel always has bytes never waits: so often the rest of the run is looked after all the same."""
MODES = ("r", "rt", "rb")

Events = Iterator[Union[RunEvent, RunFinished]]


class RunHandle:
    """One run, made by `CompiledGraph.start`; a context manager with the habits of `concurrent.futures.Future`.

    The run begins with the first call that reads, asks or waits. Leaving the block waits for its end and raises what
    `run` would raise, unless that was told before; leaving it by an exception cancels it.
    """

    def __init__(self, events: Events, scheduler: Scheduler, tap: Callable[[str], Tap]) -> None:
        self._events, self._scheduler, self._new_tap = events, scheduler, tap
        self._callbacks: list[Callable[[RunHandle], Any]] = []
        self._result: Optional[RunResult] = None
        self._error: Optional[BaseException] = None
        self._begun = self._cancelled = self._told = False
        self._waiting = False
        self._looked_at = self._back_at = calls.table.monotonic()
        self._raised: Optional[UpstreamFailed] = None

    def __enter__(self) -> RunHandle:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._close_taps()
        if error is None or error is self._raised:
            if not (self._told or self._cancelled):
                self.result()
        else:
            self.cancel()

    def __repr__(self) -> str:
        state = "cancelled" if self._cancelled else "finished" if self._ended else "begun" if self._begun else "pending"
        return f"<RunHandle {self._scheduler.run_id}: {state}>"

    # -- channels -------------------------------------------------------------------------------------------

    def open(self, channel: str, mode: str = "r") -> IO[Any]:
        """The bytes of a channel as a file: lines of text (UTF-8) to iterate over, or a binary file with mode "rb".

        The caller becomes one more reader: it gets every byte from the first, and may leave early by closing the
        file. To be called before the channel's own section begins, so before the first read of any channel in it.

        Raises:
            ValueError: there is no such channel on the main line, or the mode is another.
            RuntimeError: it was opened before, or its section has begun.
        The file's reads raise `UpstreamFailed` where the stream is cut by a failure.
        """
        if mode not in MODES:
            raise ValueError(f"a channel is opened for reading, as text ('r') or bytes ('rb'), not as {mode!r}")
        taps = self._scheduler.outside.taps
        tap = taps.get(channel) or self._new_tap(channel)
        if tap.opened or tap.closed or self._has_begun(channel):
            why = "was opened or left before" if tap.opened or tap.closed else "carries bytes already"
            raise RuntimeError(f"channel {channel!r} {why}; open it once, before the first read")
        tap.opened, taps[channel] = True, tap
        raw = ChannelFile(channel, tap, self._read)
        return io.BufferedReader(raw, BUFFER_BYTES) if mode == "rb" else text_reader(raw)

    # -- the habits of a Future -----------------------------------------------------------------------------

    def result(self, timeout: Optional[float] = None) -> RunResult:
        """Wait for the end, at most `timeout` seconds, and return the `RunResult`, or raise what ended the run.

        A channel that only the caller reads and did not open is left early. `CancelledError` and `TimeoutError` are
        those of `concurrent.futures`; after the latter the run goes on. RuntimeError when an open channel is full and
        nobody but the caller can read it.
        """
        self._await_end(timeout)
        self._told = True
        if self._cancelled:
            raise CancelledError
        if self._error is not None:
            raise self._error
        if self._result is None:
            raise RuntimeError("a run ended without its last event")
        return self._result

    def exception(self, timeout: Optional[float] = None) -> Optional[BaseException]:
        """What ended the run, or None when it ended well; waits and raises otherwise as `result` does."""
        self._await_end(timeout)
        self._told = True
        if self._cancelled:
            raise CancelledError
        return self._error

    def done(self) -> bool:
        """Has it ended, in whatever way? Lets the run do what it can do now; does not wait."""
        self._look()
        return self._ended

    def running(self) -> bool:
        """Has it begun, and not ended? Lets the run do what it can do now; does not wait."""
        if self._begun:
            self._look()
        return self._begun and not self._ended

    def cancelled(self) -> bool:
        """Was it cancelled before its end?"""
        return self._cancelled

    def cancel(self) -> bool:
        """End it: every worker is asked, then, after the grace, forced. False when it had ended; nothing is left."""
        self._close_taps()
        if self._ended:
            return False
        self.ask_to_stop()
        while self.stopping:
            self.advance()
        self.abandon()
        return True

    def add_done_callback(self, call: Callable[[RunHandle], Any]) -> None:
        """Call `call(handle)` once the run has ended, at once if it has; what it raises is logged."""
        if self._ended:
            self._call(call)
        else:
            self._callbacks.append(call)

    # -- for whoever drives it -------------------------------------------------------------------------------

    def advance(self, most_seconds: Optional[float] = None) -> Optional[Union[RunEvent, RunFinished]]:
        """`step`, where the time since the last one was the caller's own and counts for no `stall_timeout`."""
        supervisor = self._scheduler.supervisor
        if supervisor is not None:
            supervisor.excuse(calls.table.monotonic() - self._back_at)
        try:
            return self.step(most_seconds)
        finally:
            self._back_at = calls.table.monotonic()

    def step(self, most_seconds: Optional[float] = None) -> Optional[Union[RunEvent, RunFinished]]:
        """Go on to the next event and return it; waits, at most so long, where the last one was `Waiting`.

        None when the run has ended otherwise than well; why is kept for `result`. What is none of the workflow's
        errors (Ctrl-C) is raised here as well.
        """
        self._begun = True
        if self._waiting:
            self._bound(most_seconds)
        try:
            event = next(self._events, None)
        except Exception as error:
            self._end(error)
            return None
        except BaseException as error:
            self._told = True
            self._end(error)
            raise
        if event is None or isinstance(event, RunFinished):
            self._result = event.result if event is not None else None
            self._end(None)
        self._waiting = isinstance(event, Waiting)
        return event

    @property
    def loop(self) -> Optional[Loop]:
        """What waits for the workers right now; None when there are none."""
        supervisor = self._scheduler.supervisor
        return supervisor.loop if supervisor is not None else None

    def ask_to_stop(self) -> None:
        """Begin to cancel: `stopping` says when the workers have gone, `abandon` gives up the rest."""
        self._cancelled = self._told = True
        supervisor = self._scheduler.supervisor
        if supervisor is not None:
            supervisor.stop("cancelled by the caller")

    @property
    def stopping(self) -> bool:
        """Are there workers at work?"""
        return not self._ended and self._scheduler.supervisor is not None

    def abandon(self) -> None:
        """End at once what has not ended; the steps to come are not run. Harmless after the end."""
        if not self._ended:
            self._end(None)

    # -- inside ---------------------------------------------------------------------------------------------

    @property
    def _ended(self) -> bool:
        """Whatever the way: nothing of it is left then."""
        return self._events is _OVER

    def _end(self, error: Optional[BaseException]) -> None:
        events, self._events = self._events, _OVER
        self._error = error
        close = getattr(events, "close", None)
        if close is not None:
            close()
        callbacks, self._callbacks = self._callbacks, []
        for call in callbacks:
            self._call(call)

    def _call(self, call: Callable[[RunHandle], Any]) -> None:
        try:
            call(self)
        except Exception:
            import logging

            logging.getLogger("teastreams").exception("a callback of %r raised", self)

    def _bound(self, most_seconds: Optional[float]) -> None:
        """The next wait ends after so long, whatever happens."""
        if self.loop is not None:
            self.loop.at("caller", most_seconds, _nothing)

    def _look(self) -> None:
        """Let the run do what it can without waiting."""
        self._looked_at = calls.table.monotonic()
        event = None if self._ended else self.advance(0)
        while event is not None and not self._ended and not isinstance(event, Waiting):
            event = self.advance(0)

    def _await_end(self, timeout: Optional[float]) -> None:
        deadline = None if timeout is None else calls.table.monotonic() + timeout
        for tap in self._scheduler.outside.taps.values():
            if not tap.opened:
                tap.close()
        while not self._ended:
            self._refuse_full()
            left = None if deadline is None else deadline - calls.table.monotonic()
            if left is not None and left < 0:
                raise WaitTimeout(f"the run goes on after {timeout:g} s; wait again, or cancel it")
            self.advance(left)

    def _refuse_full(self) -> None:
        for name, tap in self._scheduler.outside.taps.items():
            if tap.full:
                text = f"channel {name!r} is open and full, and nobody but the caller reads it, so the run cannot end"
                raise RuntimeError(f"{text}; read it to its end, or close it")

    def _close_taps(self) -> None:
        for tap in self._scheduler.outside.taps.values():
            tap.close()

    def _has_begun(self, channel: str) -> bool:
        tap = self._scheduler.outside.taps.get(channel)
        if tap is not None:
            return False
        supervisor = self._scheduler.supervisor
        begun = supervisor is not None and channel in supervisor.order.plan.channels
        return self._ended or begun or channel in self._scheduler.channels

    def _read(self, channel: str, tap: Tap, most_bytes: int) -> bytes:
        """Bytes of one channel, waiting for them as long as it takes; b"" is its good end."""
        if calls.table.monotonic() - self._looked_at > LOOK_SECONDS:
            self._look()
        while True:
            data = tap.take(most_bytes)
            if data:
                return data
            if tap.verdict is not None and not tap.verdict.well:
                raise self._cut(tap.verdict.culprit, tap.verdict.reason)
            if tap.at_end and tap.verdict is not None:
                return b""
            if self._ended or tap.over:
                raise self._cut(*self._why(channel, tap))
            self.advance()

    def _why(self, channel: str, tap: Tap) -> tuple[str, str]:
        if tap.verdict is not None:
            return channel, "a process that its producer started kept the stream open after the end"
        if isinstance(self._error, WorkflowFailed):
            return self._error.primary.node, self._error.primary.message
        return "the run", str(self._error or "it was stopped before this channel had ended")

    def _cut(self, culprit: str, reason: str) -> UpstreamFailed:
        self._raised = UpstreamFailed(culprit, reason)
        return self._raised


class ChannelFile(io.RawIOBase):
    """The raw file under what `RunHandle.open` returns."""

    def __init__(self, channel: str, tap: Tap, read: Callable[[str, Tap, int], bytes]) -> None:
        super().__init__()
        self.name, self._tap, self._read = channel, tap, read

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into `buffer`; 0 is the end, said only when everything upstream ended well."""
        if not len(buffer):
            return 0
        data = self._read(self.name, self._tap, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Leave early: the producer gets EPIPE at its next write."""
        if not self.closed:
            super().close()
            self._tap.close()


def _nothing() -> None:
    return


_OVER: Events = iter(())
