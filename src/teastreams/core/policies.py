"""Retry and circuit breaker as pure rules: the clock and the dice are passed in.

Both answer a question and change nothing. A circuit breaker is a value: what happened to a call turns it into the next
value, and whoever runs the calls keeps it. Attempts are counted from 1; times are seconds of whatever clock the caller
reads, as long as it is always the same one. Nothing here sleeps, waits or catches.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import Iterable, Optional

from teastreams.values import dataclass


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how patiently a failed branch is tried again.

    `max_retries` counts the attempts after the first. The delay starts at `base_delay` seconds and grows by
    `backoff_multiplier` per attempt up to `max_delay` seconds. With `jitter` it is shortened by up to a half, so that
    branches which failed together do not come back together. `retry_on` holds names of exception classes; a failure is
    retried when its class or one of its base classes has such a name. Empty: every failure is.
    """

    max_retries: int = 3
    base_delay: float = 1.0
    max_delay: float = 60.0
    backoff_multiplier: float = 2.0
    jitter: bool = False
    retry_on: tuple[str, ...] = ()

    def should_retry(self, attempt: int, error_type_names: Iterable[str]) -> bool:
        """Is there another attempt after attempt number `attempt` failed with an error of these names?"""
        if attempt > self.max_retries:
            return False
        return not self.retry_on or not set(self.retry_on).isdisjoint(error_type_names)

    def delay_seconds(self, attempt: int, dice: float) -> float:
        """Seconds between the failure of attempt number `attempt` and the next one; `dice` is in [0, 1)."""
        try:
            delay = min(self.max_delay, self.base_delay * self.backoff_multiplier ** (attempt - 1))
        except OverflowError:  # a float ends near 2 ** 1024; the cap was passed long before
            delay = self.max_delay
        return delay * (1 - dice / 2) if self.jitter else delay


def error_type_names(error_type: type) -> tuple[str, ...]:
    """The names under which `retry_on` knows a class: its own and those of its bases, short and with their module."""
    short = tuple(one.__name__ for one in error_type.__mro__ if one is not object)
    full = tuple(f"{one.__module__}.{one.__qualname__}" for one in error_type.__mro__ if one is not object)
    return short + full


ERROR_MODES = ("raise", "graceful", "retry")


@dataclass(frozen=True)
class OnError:
    """What happens when a node has failed for good, its retries included.

    `mode` raise: the run fails. graceful: the error goes into the state under `__error__`, and the run goes on along
    the node's own way. retry: as raise; where no retries are given, those of `RetryPolicy()` are made. `fallback` names
    the node that runs in the place of the failed one before any of this; the mode then holds for a failed fallback.
    """

    mode: str = "raise"
    fallback: Optional[str] = None


RAISE = OnError()
ERROR_KEY = "__error__"
"""Where the state holds the last error that did not end the run."""


@dataclass(frozen=True)
class CircuitBreakerConfig:
    """When a circuit opens and how it closes again.

    `failure_threshold` failures in a row open it. After `reset_timeout` seconds it lets `half_open_max_calls` calls
    through to see whether they succeed. Branches whose circuits have the same `name` share one; without a name, each
    branch has its own.
    """

    failure_threshold: int = 5
    reset_timeout: float = 30.0
    half_open_max_calls: int = 1
    name: Optional[str] = None


class CircuitState(Enum):
    """CLOSED lets every call through, OPEN none, HALF_OPEN a few on trial."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True)
class CircuitBreaker:
    """Keeps calls away from something that fails anyway: a value, and its transitions.

        CLOSED --(failures in a row)--> OPEN --(time passed, next call)--> HALF_OPEN --(all trials succeed)--> CLOSED
                                          ^-----------(one trial fails)-------'

    `now` is the caller's monotonic clock in seconds. A call that was let through must be answered by `succeeded` or
    `failed`; a trial that never is keeps its place until `reset_timeout` has passed once more.
    """

    config: CircuitBreakerConfig = CircuitBreakerConfig()
    state: CircuitState = CircuitState.CLOSED
    failures: int = 0
    since: float = 0.0
    trials: int = 0
    trials_passed: int = 0

    def allow(self, now: float) -> tuple[bool, CircuitBreaker]:
        """May a call start now? The answer, and the breaker that has taken note of it."""
        if self.state is CircuitState.CLOSED:
            return True, self
        if now - self.since >= self.config.reset_timeout:
            return True, replace(self, state=CircuitState.HALF_OPEN, since=now, trials=1, trials_passed=0)
        if self.state is CircuitState.HALF_OPEN and self.trials < self.config.half_open_max_calls:
            return True, replace(self, trials=self.trials + 1)
        return False, self

    def succeeded(self, now: float) -> CircuitBreaker:
        """A call that was let through ended well."""
        if self.state is CircuitState.CLOSED:
            return replace(self, failures=0)
        if self.state is CircuitState.OPEN:
            return self  # it started before the circuit opened and says nothing about what came after
        passed = self.trials_passed + 1
        if passed < self.config.half_open_max_calls:
            return replace(self, trials_passed=passed)
        return CircuitBreaker(self.config, since=now)

    def failed(self, now: float) -> CircuitBreaker:
        """A call that was let through ended badly."""
        failures = self.failures + 1
        if self.state is CircuitState.OPEN:
            return replace(self, failures=failures)
        if self.state is CircuitState.HALF_OPEN or failures >= self.config.failure_threshold:
            return CircuitBreaker(self.config, CircuitState.OPEN, failures, now)
        return replace(self, failures=failures)

    def retry_after_seconds(self, now: float) -> float:
        """Seconds until a refused call would be let through on trial; 0 where one would be now."""
        if self.state is CircuitState.CLOSED:
            return 0.0
        return max(0.0, self.since + self.config.reset_timeout - now)
