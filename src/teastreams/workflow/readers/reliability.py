"""`retry:`, `on_error:` and `circuit_breaker:` -> the values of `core.policies`, wherever they stand.

A policy may be a mapping or, in short, a number of retries; `on_error` a mapping or, in short, its mode. What stands
nowhere has the defaults of the values. Where a policy makes sense is the business of `core.rules.reliability`.
"""

from __future__ import annotations

from typing import Optional

from teastreams.core.policies import ERROR_MODES, CircuitBreakerConfig, OnError, RetryPolicy
from teastreams.errors import Position
from teastreams.workflow.document import YamlMapping
from teastreams.workflow.keys import CIRCUIT_BREAKER, ON_ERROR, RETRY
from teastreams.workflow.values import Block, name_of, place_of

RETRY_KEYS = frozenset((*RETRY.keys, "retry_delay"))


def retry_of(block: Block, key: str, positions: dict[str, Position], prefix: str = "") -> Optional[RetryPolicy]:
    """The policy under a key, as a count or a mapping; None if it is absent. Its places are added to `positions`."""
    if not isinstance(block.get(key), YamlMapping):
        count = block.count(key, least=0)
        return None if count is None else RetryPolicy(max_retries=count)
    policy = block.open(key, RETRY, f"`{key}` of {block.label}")
    if policy is None:
        return None
    positions.update(policy.positions(f"{prefix}{key}."))
    return _policy(policy)


def reaction_of(block: Block, positions: dict[str, Position]) -> tuple[Optional[RetryPolicy], OnError]:
    """`retry` and `on_error` of a node or an edge, which may hold the policy as well."""
    retry = retry_of(block, "retry", positions)
    if not isinstance(block.get("on_error"), YamlMapping):
        mode = block.choice("on_error", ERROR_MODES) or "raise"
        return _retry_for(mode, retry), OnError(mode)
    inner = block.open("on_error", ON_ERROR, f"`on_error` of {block.label}")
    if inner is None:
        return retry, OnError()
    positions.update(inner.positions("on_error."))
    own = _policy(inner) if RETRY_KEYS & inner.entries.keys() else None
    if own is not None and "retry" in block.entries:
        where = place_of(block.entries["retry"])
        block.report.add(where, f"{block.label} says twice how it is retried", "keep `retry`, or what is in `on_error`")
    on_error = OnError(inner.choice("mode", ERROR_MODES) or "raise", _fallback(inner))
    return _retry_for(on_error.mode, retry or own), on_error


def circuit_of(block: Block, positions: dict[str, Position], prefix: str) -> Optional[CircuitBreakerConfig]:
    """The `circuit_breaker` of the settings; None if there is none."""
    circuit = block.open("circuit_breaker", CIRCUIT_BREAKER, f"`circuit_breaker` of {block.label}")
    if circuit is None:
        return None
    positions.update(circuit.positions(f"{prefix}circuit_breaker."))
    default = CircuitBreakerConfig()
    value = circuit.get("name")
    return CircuitBreakerConfig(
        failure_threshold=circuit.count("failure_threshold") or default.failure_threshold,
        reset_timeout=_seconds(circuit, "reset_timeout", default.reset_timeout),
        half_open_max_calls=circuit.count("half_open_max_calls") or default.half_open_max_calls,
        name=None if value is None else name_of(value, "name", circuit.label, circuit.report),
    )


def _policy(block: Block) -> RetryPolicy:
    default = RetryPolicy()
    count = block.count("max_retries", least=0)
    if "retry_delay" in block.entries and "base_delay" in block.entries:
        where = place_of(block.entries["retry_delay"])
        message = f"`retry_delay` and `base_delay` of {block.label} are the same setting"
        block.report.add(where, message, "keep one of the two")
    delay = "retry_delay" if "retry_delay" in block.entries else "base_delay"
    return RetryPolicy(
        max_retries=default.max_retries if count is None else count,
        base_delay=_seconds(block, delay, default.base_delay),
        max_delay=_seconds(block, "max_delay", default.max_delay),
        backoff_multiplier=block.number("backoff_multiplier", default.backoff_multiplier, least=1),
        jitter=block.flag("jitter", default.jitter),
        retry_on=block.texts("retry_on", "[ConnectionError]"),
    )


def _retry_for(mode: str, retry: Optional[RetryPolicy]) -> Optional[RetryPolicy]:
    """`mode: retry` without a word about how often means the defaults."""
    return RetryPolicy() if mode == "retry" and retry is None else retry


def _fallback(block: Block) -> Optional[str]:
    value = block.get("fallback")
    return None if value is None else name_of(value, "fallback", block.label, block.report)


def _seconds(block: Block, key: str, default: float) -> float:
    found = block.seconds(key, default, zero=True)
    return default if found is None else found
