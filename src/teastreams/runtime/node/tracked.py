"""A state dict that knows what was changed in it, for workers whose node returns nothing.

A node may change `state` in place; the changes must then travel back. Sending everything would overwrite what nodes
upstream changed with stale copies, and comparing everything would cost as much as the state is big. So a value that can
change in place is fingerprinted when it is first looked at, by a digest of its pickle, which is never held as a whole,
and compared at the end. Values nobody looked at cost nothing; bytes and other atoms never do.
"""

from __future__ import annotations

import pickle
from typing import Any, Callable, Iterable, Iterator, Mapping, Optional

from teastreams.core.merge import Update, apply
from teastreams.core.state.reducers import NONE, Reducers

try:  # hashlib itself loads all of OpenSSL, which costs 3 ms once and a little at every fork
    from _blake2 import blake2b
except ImportError:  # pragma: no cover - another Python than CPython
    from hashlib import blake2b

_ATOMS = (str, bytes, int, float, bool, complex, type(None), frozenset)


class TrackedState(dict):  # type: ignore[type-arg]  # dict[str, Any] is no base class with Python 3.9's typing rules
    """Behaves as a dict; `difference()` is what the node changed since it got it."""

    def __init__(self, entry: Mapping[str, Any], reducers: Reducers = NONE) -> None:
        super().__init__(entry)
        self.reducers = reducers
        self._entry = dict(entry)
        self._parts: dict[str, tuple[Any, ...]] = {}
        self._prints: dict[str, Optional[bytes]] = {}

    def given(self, update: Update) -> None:
        """Take an update from upstream (L3): it is not this node's change."""
        apply(self, update, self.reducers)
        for key in update.removed:
            self._entry.pop(key, None)
        self._known((*update.values, *update.parts))
        for key in update.removed:
            self._prints.pop(key, None)

    def joined(self, update: Update) -> None:
        """Take an update of this node's own steps. Its parts stay parts, unless the key was changed in place, too."""
        kept = {key: parts for key, parts in update.parts.items() if not self._touched(key)}
        apply(self, update, self.reducers)
        self._known(kept)
        for key, parts in kept.items():
            self._parts[key] = (*self._parts.get(key, ()), *parts)

    def difference(self) -> Update:
        """Keys set, changed inside, or removed since entry; parts of keys that were not."""
        values = {key: value for key, value in dict.items(self) if self._changed(key, value)}
        removed = frozenset(key for key in self._entry if not dict.__contains__(self, key))
        parts = {key: parts for key, parts in self._parts.items() if key not in values and key not in removed}
        return Update(values, removed, parts)

    def _known(self, keys: Iterable[str]) -> None:
        """From here on, these values are those to compare with."""
        for key in keys:
            self._entry[key] = dict.__getitem__(self, key)
            self._prints.pop(key, None)

    def _touched(self, key: str) -> bool:
        if dict.__contains__(self, key):
            return self._changed(key, dict.__getitem__(self, key))
        return key in self._entry

    def _changed(self, key: str, value: Any) -> bool:
        if key not in self._entry or value is not self._entry[key]:
            return True
        return self._prints.get(key) is not None and _fingerprint(value) != self._prints[key]

    def _look(self, key: Any) -> None:
        if key not in self._prints and dict.__contains__(self, key):
            value = dict.__getitem__(self, key)
            if not isinstance(value, _ATOMS) and self._entry.get(key) is value:
                self._prints[key] = _fingerprint(value)

    def _look_at_all(self) -> None:
        for key in dict.keys(self):
            self._look(key)

    def __getitem__(self, key: Any) -> Any:
        self._look(key)
        return super().__getitem__(key)

    def get(self, key: Any, default: Any = None) -> Any:
        """As dict.get."""
        self._look(key)
        return super().get(key, default)

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """As dict.setdefault."""
        self._look(key)
        return super().setdefault(key, default)

    def pop(self, key: Any, *default: Any) -> Any:
        """As dict.pop: what is taken out may be changed and put back."""
        self._look(key)
        return super().pop(key, *default)

    def popitem(self) -> tuple[Any, Any]:
        """As dict.popitem."""
        self._look(next(reversed(self), None))
        return super().popitem()

    def __iter__(self) -> Iterator[Any]:
        # Overridden so that dict(state) and {**state} take the road through __getitem__ and are seen.
        return super().__iter__()

    def items(self) -> Any:
        """As dict.items."""
        self._look_at_all()
        return super().items()

    def values(self) -> Any:
        """As dict.values."""
        self._look_at_all()
        return super().values()

    def copy(self) -> dict[str, Any]:
        """A plain dict with the same items."""
        return dict(self.items())

    def __reduce__(self) -> tuple[Any, ...]:
        return (dict, (list(self.items()),))


def snapshot(state: Mapping[str, Any]) -> dict[str, Any]:
    """A plain dict with the same items, to be kept and not looked into: nothing is fingerprinted for it."""
    return dict(dict.items(state)) if isinstance(state, TrackedState) else dict(state)


class _Digest:
    """A file for a pickler: what is written leaves only its digest behind."""

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=16)
        self.write = self._hash.update

    def value(self) -> bytes:
        return self._hash.digest()


def _fingerprint(value: Any) -> Optional[bytes]:
    """What tells the value from a changed one; None where it has no pickle: it is then compared by identity only."""
    import cloudpickle  # type: ignore[import-untyped]  # loaded with `pickles`, before any fork

    # In this order: cloudpickle would send the classes of __main__ by value, with all that hangs on them.
    return _digested(pickle.Pickler, value) or _digested(cloudpickle.Pickler, value)


def _digested(pickler: Callable[..., Any], value: Any) -> Optional[bytes]:
    digest = _Digest()
    try:
        pickler(digest, protocol=5).dump(value)
    except Exception:
        return None
    return digest.value()
