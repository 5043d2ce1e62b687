"""`when:`, `condition:` and `goto:` -> conditions and edges.

A condition is a Python expression over `state`, `variables` and `result`, with or without `{{ }}`; the name of a state
key alone means that its value is true, and `!` before it that it is not. The epic's long form, `condition: {type:
expression, value: ...}` with `when: true` or `when: false`, says the same. Expressions are compiled here, never
evaluated.
"""

from __future__ import annotations

from typing import Iterable, Iterator, Optional

from teastreams.core.graph import Condition, Edge, Negated
from teastreams.core.language.expressions import Expression, ExpressionError, inside, parsed
from teastreams.errors import Position
from teastreams.workflow.document import YamlScalar, YamlSequence, YamlValue
from teastreams.workflow.keys import CONDITION, GOTO
from teastreams.workflow.values import Block, Report, name_of, opened, place_of
from teastreams.workflow.wording import escaped, quoted

EXAMPLE = '"state.score > 10"'


def condition_of(block: Block) -> Optional[Condition]:
    """The condition of an edge; None where it is always open."""
    if "condition" not in block.entries:
        return _short_form(block)
    expression = _long_form(block)
    flag = _flag(block)
    if flag is None:
        message = f"{block.label} has an expression under `when` and another under `condition`"
        block.report.add(place_of(block.entries["when"]), message, "write true or false, or leave `condition` out")
    return Negated(expression) if flag is False and isinstance(expression, Expression) else expression


def goto_edges(block: Block, name: str) -> tuple[Edge, ...]:
    """The edges that `goto:` of the node `name` declares: one, or one for each entry of a list."""
    value = block.get("goto")
    if value is None:
        return ()
    if not isinstance(value, YamlSequence):
        block.report.takes[block.entries["goto"].where] = {"type": "string"}
        target = name_of(value, "goto", block.label, block.report)
        return (_jump(name, target, None, value.where, {"to": value.where}),) if target else ()
    rules = [_rule(item, name, number, block.report) for number, item in enumerate(value.items, start=1)]
    if not rules:
        block.report.lacks(value.where, f"`goto` of {block.label} is an empty list", "write `goto: some_node`")
    return tuple(edge for edge in rules if edge is not None)


def without_plain_edges(edges: Iterable[Edge], jumps: Iterable[Edge], report: Report) -> Iterator[Edge]:
    """The edges, without those of nodes that have a `goto`, which goes before them."""
    sources = {edge.source for edge in jumps}
    for edge in edges:
        if edge.source not in sources:
            yield edge
        elif edge.parallel and edge.where is not None:
            message = f"node {quoted(edge.source)} has a `goto`, which goes before its parallel edge"
            report.add(
                edge.where, message, "delete the `goto`, or lead to a node of its own from which the edge starts"
            )


def _rule(value: YamlValue, name: str, number: int, report: Report) -> Optional[Edge]:
    block = opened(value, GOTO, f"entry {number} of `goto` of node {quoted(name)}", report)
    if block is None:
        return None
    target = block.require("to", f"{block.label} has no `to`", "add `to: some_node` or `to: __end__`")
    to = None if target is None else name_of(target, "to", block.label, report)
    condition = _expression(block, "if")
    return _jump(name, to, condition, block.where, block.positions()) if to else None


def _jump(
    name: str, target: str, condition: Optional[Condition], where: Position, positions: dict[str, Position]
) -> Edge:
    return Edge(name, (target,), where=where, positions=positions, condition=condition)


def _flag(block: Block) -> Optional[bool]:
    """`when` as true or false, true where it is not there; None where it is something else."""
    value = block.get("when")
    if value is None:
        return True
    block.report.takes[block.entries["when"].where] = {"type": ["string", "boolean"]}
    return value.value if isinstance(value, YamlScalar) and isinstance(value.value, bool) else None


def _short_form(block: Block) -> Optional[Condition]:
    flag = _flag(block)
    if flag is False:
        message = f"{block.label} is never taken: its `when` is false"
        block.report.add(place_of(block.entries["when"]), message, f"write `when: {EXAMPLE}`, or delete the edge")
    return None if flag is not None else _expression(block, "when")


def _long_form(block: Block) -> Optional[Condition]:
    value = block.entries["condition"].value
    if isinstance(value, YamlScalar):
        return _expression(block, "condition")
    inner = opened(value, CONDITION, f"`condition` of {block.label}", block.report)
    if inner is None:
        return None
    inner.choice("type", ("expression",))
    inner.require("value", f"{inner.label} has no `value`", f"add `value: {EXAMPLE}`")
    return _expression(inner, "value")


def _expression(block: Block, key: str) -> Optional[Condition]:
    """The condition under a key; None, noted, when it cannot be read."""
    value = block.get(key)
    if value is None:
        return None
    block.report.takes.setdefault(block.entries[key].where, {"type": "string"})
    if not isinstance(value, YamlScalar) or not isinstance(value.value, str):
        block.wrong(key, "an expression", EXAMPLE)
        return None
    text = value.value.strip()
    try:
        return Negated(_parsed(text[1:])) if text.startswith("!") else _parsed(text)
    except ExpressionError as error:
        block.report.add(value.where, f"`{key}` of {block.label}: {escaped(str(error))}", escaped(error.fix))
        return None


def _parsed(text: str) -> Expression:
    """An expression; the name of a state key alone stands for its value."""
    return parsed(meant(text))


def meant(text: str) -> str:
    """What a condition says, as an expression: a state key alone for its value, `!` for what does not hold."""
    stripped = text.strip()
    if stripped.startswith("!"):
        return f"not ({inside(meant(stripped[1:]))})"
    return f"state.{stripped}" if _is_key(stripped) else text


def _is_key(text: str) -> bool:
    return text.isidentifier() and text not in ("True", "False", "None", "state", "variables", "result")
