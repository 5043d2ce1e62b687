"""`uses:` of a node: the name of an action and its arguments, as a function of the state.

What the name stands for is looked up when it is called, in what the node's context offers; who offers it has checked
before that it is there. Nothing is imported here.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, Mapping, Optional

from teastreams.core.language.trees import filled_tree
from teastreams.values import dataclass


@dataclass(frozen=True)
class Uses:
    """Call the action `name`; `arguments` is a tree of expressions for each of its parameters."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, state: Any, variables: Optional[Mapping[str, Any]] = None, context: Any = None) -> Any:
        return context.act(self.name, state, filled_tree(self.arguments, state, variables))


@dataclass(frozen=True)
class Import:
    """Where actions come from: a file or a package, and the namespace in front of their names ("" for none)."""

    path: Optional[str] = None
    package: Optional[str] = None
    namespace: str = ""
