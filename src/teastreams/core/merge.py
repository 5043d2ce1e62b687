"""How updates and parallel results join the state.

An update is what one node changed: keys it set, keys it removed, and what it returned for keys with a reducer. Updates
of a stream section are applied in topological order of its channels, ties in declaration order. Updates of branches
are judged together first: a key that two of them set, with nothing to reduce it by, is a conflict.
"""

from __future__ import annotations

from dataclasses import field
from itertools import combinations
from typing import Any, Collection, Iterable, Iterator, Mapping, Optional

from teastreams.core.state.reducers import NONE, Reducers, reduced
from teastreams.core.state.types import shown
from teastreams.values import dataclass


@dataclass(frozen=True)
class Update:
    """What one node changed in the state: `values` it set, `removed` keys it deleted.

    `parts` are, for keys with a reducer, the returned values in their order: the reducer joins them to whatever the
    state holds when the update is applied.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    removed: frozenset[str] = frozenset()
    parts: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.values) or bool(self.removed) or bool(self.parts)

    @property
    def keys(self) -> frozenset[str]:
        """Every key that it changes."""
        return self.removed.union(self.values, self.parts)


def apply(state: dict[str, Any], update: Update, reducers: Reducers = NONE) -> None:
    """Change `state` in place by one update, as a whole or not at all. ReducerFailed when a reducer raises."""
    kept = {key: None if key in update.removed else dict.get(state, key) for key in update.parts}
    joined = {key: _joined(kept[key], key, parts, reducers) for key, parts in update.parts.items()}
    for key in update.removed:
        state.pop(key, None)
    state.update(update.values)
    state.update(joined)


def _joined(current: Any, key: str, parts: Iterable[Any], reducers: Reducers) -> Any:
    for part in parts:
        current = reduced(reducers[key], key, current, part)
    return current


def merged(state: Mapping[str, Any], updates: Iterable[Update], reducers: Reducers = NONE) -> dict[str, Any]:
    """A new dict: `state` with `updates` applied in the order given."""
    result = dict(state)
    for update in updates:
        apply(result, update, reducers)
    return result


def as_parts(update: Update, state: Mapping[str, Any], reducers: Reducers) -> Update:
    """The update of a node that returned `update.values`: those with a reducer become parts.

    A container that is the state's own, returned, is no part: it has been changed in place, or not at all.
    """
    if not reducers:
        return update
    new = {key: (value,) for key, value in update.values.items() if key in reducers and not _is_held(state, key, value)}
    values = {key: value for key, value in update.values.items() if key not in reducers}
    return Update(values, update.removed, {**update.parts, **new})


def _is_held(state: Mapping[str, Any], key: str, value: Any) -> bool:
    return isinstance(value, (list, dict, set, bytearray)) and state.get(key) is value


@dataclass(frozen=True)
class Conflict:
    """Two branches changed one key, and nothing says how both changes become one value."""

    key: str
    first: str
    second: str
    found: tuple[str, str]

    def __str__(self) -> str:
        one, other = self.found
        return (
            f"the branches {self.first!r} and {self.second!r} both changed the key {self.key!r}: to {one} and to "
            f"{other}; declare a reducer for it in `state_schema`, which holds for returned values, or join at a fan_in"
        )


def conflict(updates: Mapping[str, Update], above: Mapping[str, Collection[str]]) -> Optional[Conflict]:
    """The first key that two branches (by name) changed otherwise than both by parts, or both alike.

    `above` names those whose updates a branch has seen: what it then sets contains theirs.
    """
    for first, second in _overlapping(updates):
        one, other = updates[first], updates[second]
        for key in sorted(one.keys & other.keys) if first not in above.get(second, ()) else ():
            if not _agree(one, other, key):
                return Conflict(key, first, second, (_change(one, key), _change(other, key)))
    return None


def _overlapping(updates: Mapping[str, Update]) -> list[tuple[str, str]]:
    """The pairs that share a key, in their order; who changes keys of its own is compared with nobody."""
    names = list(updates)
    changing: dict[str, list[int]] = {}
    for place, update in enumerate(updates.values()):
        for key in update.keys:
            changing.setdefault(key, []).append(place)
    pairs = {pair for places in changing.values() for pair in combinations(places, 2)}
    return [(names[one], names[other]) for one, other in sorted(pairs)]


def _agree(one: Update, other: Update, key: str) -> bool:
    if key in one.parts or key in other.parts:
        return key in one.parts and key in other.parts
    if key in one.removed or key in other.removed:
        return key in one.removed and key in other.removed
    try:
        return bool(one.values[key] is other.values[key] or one.values[key] == other.values[key])
    except Exception:  # an array has no single answer, and a value's own __eq__ may raise
        return False


def _change(update: Update, key: str) -> str:
    if key in update.removed:
        return "nothing (removed)"
    return "more by its reducer" if key in update.parts else shown(update.values[key])


def composed(updates: Iterable[Update], reducers: Reducers) -> Update:
    """One update that changes what all of them change, one after another."""
    values: dict[str, Any] = {}
    removed: set[str] = set()
    parts: dict[str, tuple[Any, ...]] = {}
    for update in updates:
        for key in update.removed:
            values.pop(key, None), parts.pop(key, None)
        removed |= update.removed
        for key, more in update.parts.items():
            if key in values:
                values[key] = _joined(values[key], key, more, reducers)
            else:
                parts[key] = (*parts.get(key, ()), *more)
        values.update(update.values)
        parts = {key: known for key, known in parts.items() if key not in update.values}
    return Update(values, frozenset(removed), parts)


def only(update: Update, keys: Iterable[str]) -> Update:
    """The update without the changes of any other key."""
    kept = frozenset(keys)
    values = {key: value for key, value in update.values.items() if key in kept}
    return Update(values, update.removed & kept, update.parts)


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
