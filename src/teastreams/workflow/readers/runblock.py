"""The text of a `run:` block -> a callable, compiled as the body of a function.

Laws: nothing is executed here, not even a `def`; the text is never changed, so strings keep their indentation;
every line number and column is that of the workflow file, so tracebacks and debuggers show the file itself. The
statements are parsed as a module and moved into an empty function: the parser allows `return` anywhere, only the
compiler asks where it stands.

Each call gets a fresh global namespace, so that `global` in a block means the same in a forked worker and in the
caller's process. What the returned value means is decided by the caller.
"""

from __future__ import annotations

import ast
import builtins
import warnings
from types import CodeType, FunctionType
from typing import Any, Iterator, Mapping, Optional, Sequence

from teastreams.errors import Position, Problem
from teastreams.values import dataclass
from teastreams.workflow.document import YamlScalar
from teastreams.workflow.wording import escaped, quoted

NAMES = ("state", "variables", "parallel_results", "node", "context")

_FUNCTION = f"def run({', '.join(NAMES)}): pass"
_OUTSIDE = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
_FIX_YIELD = "write to `sys.stdout` to stream, or put the generator into a function inside the block"
_FIX_ASYNC = "put it into an `async def` inside the block and call `asyncio.run`"


@dataclass(frozen=True)
class RunBlock:
    """A compiled `run:` block. Calling it runs the code and gives back what it returns, or None.

    `state` is the dict the block may change; the others are what their names say, None where there is none.
    """

    code: CodeType
    file: str

    def __call__(
        self,
        state: Any,
        variables: Any = None,
        parallel_results: Any = None,
        node: Any = None,
        context: Any = None,
    ) -> Any:
        # Under the name __main__ classes defined in a block are pickled by value, and dataclasses find their module.
        names = {"__name__": "__main__", "__file__": self.file, "__builtins__": builtins}
        return FunctionType(self.code, names)(state, variables, parallel_results, node, context)


def compile_run(source: YamlScalar, label: str) -> tuple[Optional[RunBlock], tuple[Problem, ...]]:
    """Compile the text of a `run:` block without executing any of it.

    Returns the callable, or None with the problems found. `label` is how messages call the node.
    """
    try:
        # A host that turns warnings into errors must still be able to load what runs elsewhere, and the warnings of
        # the parser would carry lines of the text instead of lines of the file.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _compiled(source, label)
    except (ValueError, RecursionError, MemoryError):
        message = f"the code of {label} is too deeply nested for Python"
        return None, (Problem(message, "move it into a module and import that", source.where),)


def _compiled(source: YamlScalar, label: str) -> tuple[Optional[RunBlock], tuple[Problem, ...]]:
    file = source.where.file
    if "\0" in source.text:
        fix = "write the escape `\\0` inside a Python string, in a `|` block"
        return None, (Problem(f"the code of {label} contains a null character", fix, source.where),)
    try:
        body = ast.parse(source.text, file).body
    except SyntaxError as error:
        line = max(1, min(error.lineno or 1, len(source.text.split("\n"))))
        return None, (_syntax_problem(error, line, max(0, (error.offset or 1) - 1), source, label),)
    problems = tuple(_refusals(body, source, label))
    if problems:
        return None, problems
    module = ast.parse(_FUNCTION)
    function = next(statement for statement in module.body if isinstance(statement, ast.FunctionDef))
    function.body = body
    _move(function, source)
    try:
        code = compile(module, file, "exec", dont_inherit=True)
    except SyntaxError as error:
        line = _compiler_line(error, source)
        column = _characters(source, line, max(0, (error.offset or 1) - 1 - source.indent))
        return None, (_syntax_problem(error, line, column, source, label),)
    inner = next(constant for constant in code.co_consts if isinstance(constant, CodeType))
    return RunBlock(inner, file), ()


# --- what a block may not contain ----------------------------------------------------------------------------------


def _refusals(body: Sequence[ast.stmt], source: YamlScalar, label: str) -> Iterator[Problem]:
    if all(_is_text(statement) for statement in body):
        yield Problem(f"the code of {label} does nothing", "write the statements the node is for", source.where)
        return
    for node in _own(body):
        found = _refusal(node)
        if found is not None:
            what, fix = found
            yield Problem(f"{what} at the top level of the code of {label}", fix, _node_place(node, source))


def _is_text(statement: ast.stmt) -> bool:
    """Is this a docstring, or text that stands alone?"""
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _refusal(node: ast.AST) -> Optional[tuple[str, str]]:
    """What is wrong with one syntax node that belongs to the function itself, and what to do."""
    if isinstance(node, (ast.Yield, ast.YieldFrom)):
        return "`yield`", _FIX_YIELD
    if isinstance(node, ast.Await):
        return "`await`", _FIX_ASYNC
    if isinstance(node, (ast.AsyncFor, ast.AsyncWith)):
        return f"`async {'for' if isinstance(node, ast.AsyncFor) else 'with'}`", _FIX_ASYNC
    if isinstance(node, ast.ImportFrom) and node.module == "__future__":
        return "`from __future__ import`", "remove the line; a block is a function, not a module"
    if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
        return "`import *`", "name what you import, or import the module"
    return None


def _own(body: Sequence[ast.stmt]) -> Iterator[ast.AST]:
    """The syntax nodes that run as part of the block, in the order of the text; bodies of inner functions do not."""
    waiting: list[ast.AST] = list(reversed(body))
    while waiting:
        node = waiting.pop()
        yield node
        inner = isinstance(node, _OUTSIDE)
        children = [
            child
            for name, value in ast.iter_fields(node)
            if not (inner and name == "body")
            for child in (value if isinstance(value, list) else [value])
            if isinstance(child, ast.AST)
        ]
        waiting.extend(reversed(children))


# --- places: from the text to the file -----------------------------------------------------------------------------


def _move(function: ast.FunctionDef, source: YamlScalar) -> None:
    """Give every syntax node its place in the file; where lines of text and file differ, the line of the key."""
    for node in ast.walk(function):
        if hasattr(node, "lineno"):
            _move_node(node, source)
    function.lineno = function.end_lineno = source.where.line


def _move_node(node: ast.AST, source: YamlScalar) -> None:
    down, right = source.first_line - 1, source.indent
    for line, column in (("lineno", "col_offset"), ("end_lineno", "end_col_offset")):
        if not source.aligned:
            setattr(node, line, source.where.line)
            setattr(node, column, 0)
        else:
            setattr(node, line, getattr(node, line) + down)
            setattr(node, column, getattr(node, column) + right)


def _place(source: YamlScalar, line: int, column: int) -> Position:
    """The place in the file of a line (from 1) and column (from 0) of the text."""
    if not source.aligned:
        return source.where
    return Position(source.where.file, source.first_line + line - 1, source.indent + column + 1)


def _node_place(node: ast.AST, source: YamlScalar) -> Position:
    places: Mapping[str, int] = vars(node)
    return _place(source, places["lineno"], _characters(source, places["lineno"], places["col_offset"]))


def _characters(source: YamlScalar, line: int, offset: int) -> int:
    """A column in characters; syntax trees count in UTF-8 bytes."""
    return len(source.text.split("\n")[line - 1].encode()[:offset].decode("utf-8", "ignore"))


def _compiler_line(error: SyntaxError, source: YamlScalar) -> int:
    """The line of the text on which the compiler found an error, whose lines are those of the file; 0 if unknown.

    Older compilers name no line, or one outside the text, for some errors.
    """
    line = (error.lineno or 0) - source.first_line + 1
    return line if source.aligned and 1 <= line <= len(source.text.split("\n")) else 0


def _syntax_problem(error: SyntaxError, line: int, column: int, source: YamlScalar, label: str) -> Problem:
    """The problem for an error at a line (0 if unknown) and column (from 0, in characters) of the text."""
    message = f"the code of {label} is not valid Python: {escaped(error.msg or 'syntax error')}"
    wrong = source.text.split("\n")[line - 1].strip() if line else ""
    where = _place(source, line, column) if line else source.where
    return Problem(message, f"correct {quoted(wrong)}" if wrong else "correct the code", where)
