"""Values of a document with expressions inside them: `with:` and `output:`.

A text that is one `{{ expression }}` stands for the expression's own value, of whatever type; a text with expressions
in it for the text that comes out; lists and mappings for what their parts stand for. All expressions are compiled when
the tree is made.
"""

from __future__ import annotations

from typing import Any, Mapping, Optional, Union

from teastreams.core.language.expressions import CLOSING, OPENING, Expression, ExpressionError, parsed
from teastreams.values import dataclass

Output = Union[str, Mapping[str, Expression]]


@dataclass(frozen=True)
class Mixed:
    """A text with expressions in it, as its parts in their order."""

    parts: tuple[Union[str, Expression], ...]


def tree_of(value: Any) -> Any:
    """The value with every text that holds expressions compiled. ExpressionError for one that cannot be read."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return {key: tree_of(each) for key, each in value.items()}
    return [tree_of(each) for each in value] if isinstance(value, list) else value


def filled_tree(tree: Any, state: Mapping[str, Any], variables: Optional[Mapping[str, Any]], result: Any = None) -> Any:
    """What the tree stands for in this state. ExpressionError when an expression raises."""
    if isinstance(tree, Expression):
        return tree.value(state, variables, result)
    if isinstance(tree, Mixed):
        return "".join(str(filled_tree(part, state, variables, result)) for part in tree.parts)
    if isinstance(tree, Mapping):
        return {key: filled_tree(each, state, variables, result) for key, each in tree.items()}
    return [filled_tree(each, state, variables, result) for each in tree] if isinstance(tree, list) else tree


def stored(output: Output, value: Any, state: Mapping[str, Any], variables: Optional[Mapping[str, Any]]) -> Any:
    """What a node with `output:` sets: the whole value under one key, or what expressions make of it."""
    if isinstance(output, str):
        return {output: value}
    return {key: expression.value(state, variables, value) for key, expression in output.items()}


def _text(text: str) -> Any:
    parts: list[Union[str, Expression]] = []
    rest = text
    while OPENING in rest:
        before, _, rest = rest.partition(OPENING)
        inner, closing, rest = rest.partition(CLOSING)
        if not closing:
            raise ExpressionError(f"`{text}` has `{OPENING}` without `{CLOSING}`", f"add `{CLOSING}`")
        hole = parsed(f"{OPENING}{inner}{CLOSING}")
        parts += [before, hole] if before else [hole]
    parts += [rest] if rest else []
    if len(parts) == 1 and isinstance(parts[0], Expression):
        return parts[0]
    return text if not any(isinstance(part, Expression) for part in parts) else Mixed(tuple(parts))
