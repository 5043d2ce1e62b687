"""What `add_node` and `add_parallel_edge` take as `retry=` and `on_error=` -> the frozen values of `core.policies`.

The same short and long forms as in a document. Only what has no place in the values is refused here; everything else
is the business of `core.rules`.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Mapping, Optional, Union

from teastreams.core.policies import OnError, RetryPolicy
from teastreams.errors import Problem, WorkflowError

Retry = Union[RetryPolicy, int, Mapping[str, Any]]
Reaction = Union[OnError, str, Mapping[str, Any]]

POLICY_KEYS = tuple(field.name for field in fields(RetryPolicy))


def reaction_value(whose: str, retry: Optional[Retry], on_error: Reaction) -> tuple[Optional[RetryPolicy], OnError]:
    """The policy and the reaction of a node or an edge. WorkflowError for a key that is not known."""
    policy = _policy(whose, retry)
    if isinstance(on_error, Mapping):
        own = {key: value for key, value in on_error.items() if key in POLICY_KEYS}
        if own and policy is not None:
            raise _refused(f"{whose} says twice how it is retried", "keep `retry`, or what is in `on_error`")
        rest = {key: value for key, value in on_error.items() if key not in own}
        _check(f"`on_error` of {whose}", rest, ("mode", "fallback"), POLICY_KEYS)
        policy, on_error = (_policy(whose, own) if own else policy), OnError(**rest)
    reaction = on_error if isinstance(on_error, OnError) else OnError(on_error)
    return (RetryPolicy() if reaction.mode == "retry" and policy is None else policy), reaction


def _policy(whose: str, retry: Optional[Retry]) -> Optional[RetryPolicy]:
    if retry is None or isinstance(retry, RetryPolicy):
        return retry
    if not isinstance(retry, Mapping):
        return RetryPolicy(max_retries=retry)
    _check(f"`retry` of {whose}", retry, POLICY_KEYS)
    names = retry.get("retry_on", ())
    return RetryPolicy(**{**retry, "retry_on": (names,) if isinstance(names, str) else tuple(names)})


def _check(what: str, given: Mapping[str, Any], known: tuple[str, ...], also: tuple[str, ...] = ()) -> None:
    unknown = [key for key in given if key not in known]
    if unknown:
        raise _refused(f"{what} has the unknown key {unknown[0]!r}", f"the keys are {', '.join((*known, *also))}")


def _refused(message: str, fix: str) -> WorkflowError:
    return WorkflowError([Problem(message, fix)])
