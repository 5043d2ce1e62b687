"""Jinja's filters in expressions, for documents that were written with them: `{{ state.names | join(', ') }}`.

Laws: only what stands in braces, and only with the extra `jinja`; without braces `|` is Python's. Whatever Python can
read stays Python, unless a filter is in it. A name that nobody gives is refused as in Python, and an absent key is
None, or what `default` says. Statements (`{% ... %}`) are not read: they belong into the code of a node.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping as AnyMapping
from functools import lru_cache
from typing import Any, Callable, Mapping, Optional, Sequence

# Jinja's own, from its documentation; what else stands behind a `|` is Python's.
FILTERS = frozenset(
    {"abs", "attr", "batch", "capitalize", "center", "count", "d", "default", "dictsort", "e", "escape"}
    | {"filesizeformat", "first", "float", "forceescape", "format", "groupby", "indent", "int", "items", "join"}
    | {"last", "length", "list", "lower", "map", "max", "min", "pprint", "random", "reject", "rejectattr", "replace"}
    | {"reverse", "round", "safe", "select", "selectattr", "slice", "sort", "string", "striptags", "sum", "title"}
    | {"tojson", "trim", "truncate", "unique", "upper", "urlencode", "urlize", "wordcount", "wordwrap", "xmlattr"}
)
Evaluate = Callable[[Mapping[str, Any]], Any]


def uses_filter(tree: ast.AST) -> bool:
    """Is the name of a filter, alone or called, on the right of a `|`?"""
    operators = [node for node in ast.walk(tree) if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr)]
    return any(_is_filter(node.right) for node in operators)


def _is_filter(node: ast.expr) -> bool:
    # `x | sum + 1`: a filter of Jinja binds closer than `+`, the `|` of Python does not.
    while isinstance(node, ast.BinOp):
        node = node.left
    name = node.func if isinstance(node, ast.Call) else node
    return isinstance(name, ast.Name) and name.id in FILTERS


def installed() -> bool:
    """Is Jinja there?"""
    try:
        import jinja2
    except ImportError:
        return False
    return jinja2 is not None


def compiled(text: str, roots: Sequence[str]) -> Optional[Evaluate]:
    """The expression as a function of the roots' values, for Jinja.

    None where Jinja is not there or cannot read it, and for one that names anything but the roots.
    """
    if not installed():
        return None
    from jinja2 import TemplateError, nodes

    environment = _environment()
    try:
        # Not by `jinja2.meta`, which computes what is constant, too.
        tree = environment.parse("{{ (" + text + ") }}")
        names = {node.name for node in tree.find_all(nodes.Name)}
        evaluate = environment.compile_expression(text, undefined_to_none=True)
    # Besides its own errors Jinja lets through what Python says of its numbers (too many digits) and of the code that
    # it makes (too deeply nested).
    except (TemplateError, RecursionError, ValueError, SyntaxError, MemoryError):
        return None
    return None if names - set(roots) - set(environment.globals) else lambda given: _plain(evaluate(given))


@lru_cache(maxsize=1)
def _environment() -> Any:
    from jinja2 import ChainableUndefined, Environment

    # Not optimized: it would compute what is constant while it compiles, and a text can ask for years of that.
    environment: Any = Environment(undefined=ChainableUndefined, optimized=False)  # noqa: S701  no HTML is made
    attribute = environment.getattr

    def of_a_mapping(value: Any, name: str) -> Any:
        """A key goes before a method: `state.items` is the key `items`."""
        return value[name] if isinstance(value, AnyMapping) and name in value else attribute(value, name)

    environment.getattr = of_a_mapping
    return environment


def _plain(value: Any) -> Any:
    """Markup, which some filters give, is a text that changes what is added to it."""
    return str(value) if isinstance(value, str) else value
