"""Rate limits that all threads and all forked workers of a run share.

Where each limiter stands is kept in one piece of memory that forks inherit and share. A call takes its place under a
lock of microseconds and sleeps outside of it, exactly as long as the rule of `core.limits` says. A worker that is
killed while it waits has used up its place: the rate is never exceeded, at worst not used up. Between the runs of one
compiled workflow the memory is kept as bytes.
"""

from __future__ import annotations

from contextlib import contextmanager
from types import TracebackType
from typing import Any, Callable, Iterator, Mapping, Optional, Protocol

from teastreams.core.limits import RateLimit, next_place
from teastreams.errors import LimitError
from teastreams.runtime import calls
from teastreams.services.exclusion import Exclusion

MAX_LIMITERS = 256
# A row: 16 bytes that stand for the name, then when it is due, its burst, and its interval. A row without an interval
# is free; the interval is written last, so that a killed worker leaves no half of a row.
_NAME_BYTES, _DUE, _BURST, _INTERVAL, _ROW = 16, 2, 3, 4, 5
_CELL_BYTES = 8

Pause = Callable[[float], bool]


class Limits:
    """The rate limiters of one run. Make it before the first fork; `earlier` is the `memory` of the run before."""

    def __init__(self, declared: Mapping[str, RateLimit], earlier: bytes = b"") -> None:
        self._declared = dict(declared)
        self._exclusion = Exclusion()
        self._shared = calls.table.shared_memory(MAX_LIMITERS * _ROW * _CELL_BYTES)
        self._bytes = memoryview(self._shared)
        self._cells = self._bytes.cast("d")
        self._bytes[: len(earlier)] = earlier
        for name, rate in declared.items():
            self._row(name, rate.interval_seconds, float(rate.burst))

    def close(self) -> bytes:
        """Give memory and lock back; what the next run begins with."""
        kept = bytes(self._bytes)
        self._cells.release()
        self._bytes.release()
        self._shared.close()
        self._exclusion.close()
        return kept

    def wait(
        self,
        name: str,
        timeout: Optional[float] = None,
        rate: Optional[RateLimit] = None,
        pause: Optional[Pause] = None,
    ) -> float:
        """Wait until the next call may start; the seconds that were waited.

        `rate` makes a limiter of this name that the settings do not have; whoever is first makes it for all. A call
        that would wait longer than `timeout` seconds takes no place, and does not wait.

        Raises:
            TimeoutError: the limiter is not free in time.
            LimitError: there is no such limiter, it has another rate, there are too many, or the run is stopping.
        """
        wait_seconds = self._take_place(name, self._rate(name, rate), timeout)
        if wait_seconds > 0 and not (pause or _sleep)(wait_seconds):
            raise LimitError(f"the wait for the rate limiter {name!r} was given up, because the run is being stopped")
        return wait_seconds

    def _rate(self, name: str, rate: Optional[RateLimit]) -> RateLimit:
        known = self._declared.get(name, rate)
        if known is None:
            names = ", ".join(map(repr, self._declared)) or "none"
            raise LimitError(
                f"there is no rate limiter {name!r} (declared: {names}); "
                f"add it to the settings: `rate_limiters: {{{name}: {{rpm: 60}}}}`"
            )
        return known if rate is None else rate

    def _take_place(self, name: str, rate: RateLimit, timeout: Optional[float]) -> float:
        cells = self._cells
        interval, burst = rate.interval_seconds, float(rate.burst)
        with self._exclusion.held():
            first = self._row(name, interval, burst)
            place = next_place(interval, burst, cells[first + _DUE], calls.table.monotonic())
            if timeout is not None and place.wait_seconds > timeout:
                raise TimeoutError(
                    f"the rate limiter {name!r} is free in {place.wait_seconds:.3g} s and the timeout is {timeout:g} s;"
                    " allow more time, or a higher rate"
                )
            cells[first + _DUE] = place.due
        return place.wait_seconds

    def _row(self, name: str, interval: float, burst: float) -> int:
        """Where the limiter stands among the cells; a new one is entered. The lock is held."""
        import hashlib  # 3 ms, for who has rate limits

        cells, digest = self._cells, hashlib.blake2b(name.encode(), digest_size=_NAME_BYTES).digest()
        for first in range(0, MAX_LIMITERS * _ROW, _ROW):
            start = first * _CELL_BYTES
            if not cells[first + _INTERVAL]:
                self._bytes[start : start + _NAME_BYTES] = digest
                cells[first + _DUE], cells[first + _BURST] = 0.0, burst
                cells[first + _INTERVAL] = interval
                return first
            if self._bytes[start : start + _NAME_BYTES] == digest:
                self._check(name, first, interval, burst)
                return first
        raise LimitError(f"a run can have {MAX_LIMITERS} rate limiters, {name!r} is one more; use fewer names")

    def _check(self, name: str, first: int, interval: float, burst: float) -> None:
        known = self._cells[first + _INTERVAL]
        if (known, self._cells[first + _BURST]) != (interval, burst):
            raise LimitError(
                f"the rate limiter {name!r} is asked for {60 / interval:g} calls a minute and has {60 / known:g}, or "
                "another burst; give it the same rate everywhere, best once under `rate_limiters` in the settings"
            )


class Turn:
    """One call through a limiter, for `with context.limit(name):`; made when its place has come.

    `waited_seconds` is how long that took. Nothing happens at the end of the block: a rate limits how often something
    starts, not how long it lasts.
    """

    def __init__(self, waited_seconds: float) -> None:
        self.waited_seconds = waited_seconds

    def __enter__(self) -> Turn:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        return None


@contextmanager
def opened(declared: Mapping[str, RateLimit], keep: Callable[[bytes], None], earlier: bytes = b"") -> Iterator[Limits]:
    """Limiters for one run; at its end `keep` is given what the next one begins with."""
    limits = Limits(declared, earlier)
    try:
        yield limits
    finally:
        keep(limits.close())


def _sleep(seconds: float) -> bool:
    calls.table.sleep(seconds)
    return True


# -- the action -------------------------------------------------------------------------------------------------------


class Caller(Protocol):
    """What the action needs of a node's context: its limiters and the actions that it can call."""

    services: Mapping[str, Any]

    def limit(self, name: str, timeout: Optional[float] = None, *, rate: Optional[RateLimit] = None) -> Turn:
        """Wait for a place."""
        ...


def wrap(
    context: Caller,
    action: str,
    limiter: str,
    args: Optional[Mapping[str, Any]] = None,
    rpm: Optional[float] = None,
    rps: Optional[float] = None,
    timeout: Optional[float] = None,
) -> Any:
    """`ratelimit.wrap`: wait for the limiter, then call another action with `args` and return what it returns.

    A mapping that it returns is given `_ratelimit_limiter` and `_ratelimit_waited_ms`. The errors of the action pass
    through; TimeoutError when the limiter is not free within `timeout` seconds.
    """
    known = context.services.get("actions", {})
    if action not in known:
        raise LimitError(f"`ratelimit.wrap` is to call {action!r}, which is no action; write the name of one")
    rate = None if rpm is None and rps is None else RateLimit(rpm, rps)
    turn = context.limit(limiter, timeout, rate=rate)
    result = known[action](context, **(args or {}))
    if not isinstance(result, Mapping):
        return result
    return {**result, "_ratelimit_limiter": limiter, "_ratelimit_waited_ms": turn.waited_seconds * 1000}


ACTIONS: Mapping[str, Callable[..., Any]] = {"ratelimit.wrap": wrap, "actions.ratelimit_wrap": wrap}
"""Called as f(context, **arguments)."""
