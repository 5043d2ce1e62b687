"""What was declared of the state: types and reducers by key, and whether the types are enforced.

Keys that nobody declared are free, and a declared key may be absent. Without `enforced` the types only document; the
reducers hold always. A whole set of values is judged at once, so that every wrong key is named in one message.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, Mapping, Optional

from teastreams.core.state.reducers import Reducer
from teastreams.core.state.types import Mismatch, Type, mismatch
from teastreams.values import dataclass


@dataclass(frozen=True)
class StateSchema:
    """Types and reducers by key; `reducers` has no key that is simply replaced."""

    types: Mapping[str, Type] = field(default_factory=dict)
    reducers: Mapping[str, Reducer] = field(default_factory=dict)
    enforced: bool = False

    def mismatches(self, values: Mapping[str, Any]) -> tuple[Mismatch, ...]:
        """Every value that is not of its declared type, in the order of the declaration; none unless enforced."""
        if not self.enforced:
            return ()
        found = (mismatch(wanted, values[key], key) for key, wanted in self.types.items() if key in values)
        return tuple(each for each in found if each is not None)

    def refusal(self, values: Mapping[str, Any]) -> Optional[str]:
        """What is wrong with the values and what to do, as one text; None if nothing is."""
        wrong = self.mismatches(values)
        if not wrong:
            return None
        keys = "; ".join(str(each) for each in wrong)
        return f"{keys}; give what `state_schema` declares, or correct the declaration"
