"""The circuits that calls go through, by name, kept while several threads report to them.

A circuit belongs to one branch, or to all that give it the same name; it lives as long as the compiled workflow, so
that one run learns from the one before. An answer counts only in the state in which its call was let through: one that
started before the circuit opened says nothing about the trials that came after. A forked worker has a copy, and what
happens in there stays there; the branches themselves are asked for and told of in the supervisor.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Mapping, Optional, Union

from teastreams.core.policies import CircuitBreaker, CircuitBreakerConfig, CircuitState
from teastreams.values import dataclass

Key = tuple[str, str]


@dataclass(frozen=True)
class Permit:
    """A call may start; it must be answered by `Circuits.report`."""

    key: Key
    state: CircuitState
    since: float


@dataclass(frozen=True)
class Refusal:
    """A call may not start; `reason` says why and until when."""

    reason: str


class Circuits:
    """Circuit breakers by name. `breakers` are those to begin with."""

    def __init__(self, breakers: Optional[Mapping[Key, CircuitBreaker]] = None) -> None:
        self._guard = threading.Lock()
        self._breakers = dict(breakers or {})

    def inherited(self) -> Circuits:
        """For a forked worker: the same circuits, and a guard that nobody held at the fork."""
        return Circuits(self._breakers)

    def ask(self, branch: str, config: Optional[CircuitBreakerConfig], now: float) -> Union[Permit, Refusal, None]:
        """May a call of this branch start now? None: nobody minds, and there is nothing to report."""
        if config is None:
            return None
        key = ("branch", branch) if config.name is None else ("name", config.name)
        with self._guard:
            known = self._breakers.get(key, CircuitBreaker(config))
            allowed, breaker = replace(known, config=config).allow(now)
            self._breakers[key] = breaker
        if allowed:
            return Permit(key, breaker.state, breaker.since)
        circuit = "its circuit" if config.name is None else f"the circuit {config.name!r}"
        return Refusal(
            f"branch {branch!r} was not called: {circuit} is open after {breaker.failures} failures in a row; "
            f"it is tried again in {breaker.retry_after_seconds(now):.1f} s"
        )

    def report(self, permit: Optional[Permit], success: bool, now: float) -> None:
        """A call that was let through has ended."""
        if permit is None:
            return
        with self._guard:
            breaker = self._breakers[permit.key]
            if (breaker.state, breaker.since) == (permit.state, permit.since):
                self._breakers[permit.key] = breaker.succeeded(now) if success else breaker.failed(now)
