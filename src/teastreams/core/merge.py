"""How updates and parallel results join the state.

An update is what one node changed: keys it set and keys it removed. Updates of a stream section are applied in
topological order of its channels, ties in declaration order (DESIGN 2.1, "State in a section").
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Iterable, Iterator, Mapping, Optional


@dataclass(frozen=True)
class Update:
    """What one node changed in the state: `values` it set, `removed` keys it deleted."""

    values: Mapping[str, Any] = field(default_factory=dict)
    removed: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.values) or bool(self.removed)


def apply(state: dict[str, Any], update: Update) -> None:
    """Change `state` in place by one update."""
    for key in update.removed:
        state.pop(key, None)
    state.update(update.values)


def merged(state: Mapping[str, Any], updates: Iterable[Update]) -> dict[str, Any]:
    """A new dict: `state` with `updates` applied in the order given."""
    result = dict(state)
    for update in updates:
        apply(result, update)
    return result


def returned(value: Any) -> Mapping[str, Any]:
    """What a node's return value sets: a mapping sets its keys, anything else becomes {"result": value}."""
    return dict(value) if isinstance(value, Mapping) else {"result": value}


@dataclass(frozen=True)
class ParallelFlowResult(Mapping[str, Any]):
    """What one branch of a fan-out ended with: a read-only mapping over the branch's state.

    `result["key"]`, `.get`, `in` and iteration see `state` only; the fields below are attributes and never shadow a
    state key. `error` is text or None; a worker that left by `sys.exit(42)` has `exit_code` 42 and no error.
    `exit_code` is the worker's exit code, the negative signal number, -1 after a timeout, None for a thread.
    `timing_ms` is wall clock in milliseconds.
    """

    branch: str
    success: bool = True
    state: Mapping[str, Any] = field(default_factory=dict)
    error: Optional[str] = None
    error_type: Optional[str] = None
    traceback: Optional[str] = None
    timing_ms: float = 0.0
    retry_count: int = 0
    exit_code: Optional[int] = None

    def __getitem__(self, key: str) -> Any:
        return self.state[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.state)

    def __len__(self) -> int:
        return len(self.state)


class ParallelResults(tuple[ParallelFlowResult, ...]):
    """The results of one fan-out in the order of `to`; an index may also be a branch name."""

    __slots__ = ()

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, str):
            return super().__getitem__(key)
        for result in self:
            if result.branch == key:
                return result
        raise KeyError(f"no branch {key!r}; the branches are {', '.join(r.branch for r in self)}")
