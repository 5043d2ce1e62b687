"""Expressions of a document: Python over `state`, `variables` and `result`, compiled once, evaluated often.

Laws: compiling executes nothing; an expression that raises is an `ExpressionError` that names it, never "true". A key
of the state reads as an attribute too (`state.score > 10`), at any depth, and an absent key is None. `{{ ... }}` around
the whole text means the text inside. Filling texts with values is the business of `templates`.
"""

from __future__ import annotations

import ast
import builtins
import warnings
from collections.abc import Mapping as AnyMapping
from dataclasses import field
from types import CodeType
from typing import Any, Iterator, Mapping, Optional, Union

from teastreams.core.language import filters
from teastreams.values import dataclass

ROOTS = ("state", "variables", "result")
OPENING, CLOSING = "{{", "}}"


class ExpressionError(ValueError):
    """An expression that cannot be read, or that raised; `fix` is what to do."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.fix = fix


@dataclass(frozen=True)
class Expression:
    """A compiled expression; `text` is what stands in the document."""

    text: str
    code: Optional[Union[CodeType, filters.Evaluate]] = field(default=None, compare=False, repr=False)

    def value(self, state: Mapping[str, Any], variables: Optional[Mapping[str, Any]] = None, result: Any = None) -> Any:
        """What it yields for this state. ExpressionError, with the exception as its cause, when it raises."""
        code = self.code or parsed(self.text).code
        given = {"state": View(state), "variables": View(variables or {}), "result": seen(result)}
        try:
            # A workflow file is a program and runs with the caller's rights: the builtins are all there.
            if callable(code):  # Jinja has its own way with keys that are absent
                return code({"state": state, "variables": variables or {}, "result": result})
            return own(eval(code, {"__builtins__": builtins, **given}))  # type: ignore[arg-type]  # noqa: S307
        except Exception as error:
            message = f"the expression `{self.text}` raised {type(error).__name__}: {error}"
            raise ExpressionError(message, "correct it, or make sure that the state has what it reads") from error

    def __reduce__(self) -> Any:
        return Expression, (self.text,)


def parsed(text: str) -> Expression:
    """The expression of a text. ExpressionError when it is no expression, or names what it cannot know."""
    inner = inside(text)
    in_braces = inner != text.strip()
    try:
        return Expression(text, _python(text, inner, in_braces))
    except ExpressionError:
        evaluate = filters.compiled(inner, ROOTS) if in_braces else None
        if evaluate is None:
            raise
        return Expression(text, evaluate)


def _python(text: str, inner: str, in_braces: bool) -> CodeType:
    """The code of an expression of Python. ExpressionError for one that has a filter of Jinja, too."""
    try:
        # A host that turns warnings into errors must still read what is read elsewhere, and nobody knows where in the
        # document the `<expression>` of a warning stands.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(inner, "<expression>", "eval")
            code = compile(tree, "<expression>", "eval", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        message = f"`{text}` is not a Python expression: {reason}"
        raise ExpressionError(message, "write one, such as `state.score > 10`") from None
    if in_braces and filters.uses_filter(tree):
        raise _about_filter(text)
    for name in _unknown(tree):
        fix = _fix(name)
        raise ExpressionError(f"`{text}` names {name!r}, which is neither {', '.join(ROOTS)} nor a builtin", fix)
    return code


def _about_filter(text: str) -> ExpressionError:
    """What holds of a filter unless Jinja is there and takes it."""
    if filters.installed():
        message = f"`{text}` has a filter of Jinja, and Jinja cannot read it, or it names what is not there"
        return ExpressionError(message, f"correct it; the names are {', '.join(ROOTS)}")
    fix = "pip install 'teastreams[jinja]', or write it in Python"
    return ExpressionError(f"`{text}` has a filter of Jinja, which is not installed", fix)


def _fix(name: str) -> str:
    if name == "secrets":
        return "a secret is asked for in the code of a node: `context.secrets['NAME']`"
    if name in _PYTHON:
        return f"Python writes `{_PYTHON[name]}`"
    import difflib  # only a mistake needs it

    near = difflib.get_close_matches(name, ROOTS, 1)
    return f"did you mean `{near[0]}`?" if near else f"for a key of the state write `state.{name}`"


class View(AnyMapping[str, Any]):
    """A mapping whose keys read as attributes too; an absent key is None. `get`, `in` and iteration as ever."""

    __slots__ = ("_inner",)

    def __init__(self, inner: Mapping[str, Any]) -> None:
        object.__setattr__(self, "_inner", inner)

    def __getattribute__(self, name: str) -> Any:
        inner = object.__getattribute__(self, "_inner")
        if name in inner:
            return seen(inner[name])
        if name.startswith("_") or name in ("get", "keys", "values", "items"):
            return object.__getattribute__(self, name)
        return None

    def __getitem__(self, key: str) -> Any:
        inner = object.__getattribute__(self, "_inner")
        return seen(inner[key]) if key in inner else None

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key, or `default`."""
        inner = object.__getattribute__(self, "_inner")
        return seen(inner[key]) if key in inner else default

    def __iter__(self) -> Iterator[str]:
        return iter(object.__getattribute__(self, "_inner"))

    def __len__(self) -> int:
        return len(object.__getattribute__(self, "_inner"))

    def __contains__(self, key: object) -> bool:
        return key in object.__getattribute__(self, "_inner")

    def __repr__(self) -> str:
        return repr(object.__getattribute__(self, "_inner"))


# What may hold a view; only what the expression itself built can, since values of the state are given as they are.
_HOLDING = (View, list, tuple, dict)
_PYTHON = {"true": "True", "false": "False", "null": "None", "none": "None"}


def seen(value: Any) -> Any:
    """A value as an expression sees it: mappings as views, also those in a list."""
    if type(value) is dict:
        return View(value)
    if type(value) is list and any(type(each) is dict for each in value):
        return [seen(each) for each in value]
    return value


def own(value: Any) -> Any:
    """A value as the document's author meant it: without the views that the expression put into it."""
    kind = type(value)
    if kind is View:
        return object.__getattribute__(value, "_inner")
    if kind in (list, tuple, set) and any(type(each) in _HOLDING for each in value):
        return kind(map(own, value))
    if kind is dict and any(type(each) in _HOLDING for each in value.values()):
        return {key: own(each) for key, each in value.items()}
    return value


def inside(text: str) -> str:
    """The text of an expression without the braces around it."""
    stripped = text.strip()
    whole = stripped.startswith(OPENING) and stripped.endswith(CLOSING) and OPENING not in stripped[2:]
    return stripped[2:-2].strip() if whole else stripped


def _unknown(tree: ast.AST) -> Iterator[str]:
    """Names that are read and that nobody gives, in the order of the text."""
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    bound = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    bound |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    known = {*ROOTS, *dir(builtins), *bound}
    return (node.id for node in names if node.id not in known)
