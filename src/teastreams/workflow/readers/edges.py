"""`edges:` -> `Edge`s, in both spellings of a fan-out.

`to: [a, b]` with `parallel: true` is one edge. Edges with `type: parallel` (or `parallel: true`), one target each and
the same `from` are joined into one edge, in their order. Whether the names exist is the business of `core.rules`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Iterable, Optional, Sequence

from teastreams.core.control.deciding import shown
from teastreams.core.graph import START, STRATEGIES, STREAM_MODES, Choice, Edge, Negated
from teastreams.core.language.expressions import Expression
from teastreams.core.policies import OnError, RetryPolicy
from teastreams.workflow.document import YamlSequence, YamlValue
from teastreams.workflow.keys import EDGE
from teastreams.workflow.readers.conditions import condition_of
from teastreams.workflow.readers.reliability import reaction_of
from teastreams.workflow.values import Block, Report, name_of, opened, place_of, plain
from teastreams.workflow.wording import quoted

EDGE_TYPES = ("normal", "parallel", "entry", "finish")

# What an edge says of its whole fan-out: the key, and the field that holds it.
_FIELDS = {
    "parallel_strategy": "strategy",
    "stream_mode": "stream_mode",
    "fan_in": "fan_in",
    "max_workers": "max_workers",
    "timeout_seconds": "timeout_seconds",
    "fail_fast": "fail_fast",
    "retry": "retry",
    "on_error": "on_error",
    "when": "condition",
    "condition": "condition",
}


def edge_of(value: YamlValue, number: int, report: Report) -> Optional[Edge]:
    """The edge declared by the `number`th entry of `edges:`; None if one of its ends is missing."""
    block = opened(value, EDGE, f"edge {number}", report)
    if block is None:
        return None
    parallel = _parallel(block)
    positions = block.positions()
    positions.update({f"to.{index}": item.where for index, item in enumerate(_target_values(block))})
    retry, on_error = reaction_of(block, positions)
    edge = Edge(
        source=_source(block) or "",
        targets=_targets(block),
        parallel=parallel,
        strategy=block.choice("parallel_strategy", STRATEGIES),
        stream_mode=block.choice("stream_mode", STREAM_MODES) or "direct",
        fan_in=_fan_in(block),
        where=block.where,
        positions=positions,
        condition=condition_of(block),
        max_workers=block.count("max_workers"),
        timeout_seconds=block.seconds("timeout_seconds"),
        fail_fast=block.flag("fail_fast") if "fail_fast" in block.entries else None,
        retry=retry,
        on_error=on_error,
    )
    return edge if edge.source and edge.targets else None


def _parallel(block: Block) -> bool:
    kind, flag = block.choice("type", EDGE_TYPES), block.flag("parallel")
    if kind not in (None, "parallel") and flag:
        message = f"{block.label} is `parallel: true` and `type: {kind}` at once"
        block.report.add(place_of(block.entries["type"]), message, "write `type: parallel`, or leave `type` out")
    if kind == "parallel" and "parallel" in block.entries and not flag:
        message = f"{block.label} is `type: parallel` and `parallel: false` at once"
        block.report.add(place_of(block.entries["parallel"]), message, "leave `parallel` out")
    parallel = flag or kind == "parallel" or (_unclear(block, kind) and _looks_parallel(block))
    if not parallel and "parallel_strategy" in block.entries:
        message = f"`parallel_strategy` of {block.label} has a meaning only on a parallel edge"
        block.report.add(place_of(block.entries["parallel_strategy"]), message, "add `parallel: true`")
    return parallel


def _unclear(block: Block, kind: Optional[str]) -> bool:
    """Was there a word about the kind of this edge that could not be read?"""
    unread = kind is None and "type" in block.entries
    wrong = "parallel" in block.entries and not isinstance(plain(block.entries["parallel"].value), bool)
    return unread or wrong or not block.misspelt.isdisjoint(("parallel", "type"))


def _looks_parallel(block: Block) -> bool:
    return len(_target_values(block)) > 1 or not block.entries.keys().isdisjoint(("fan_in", "parallel_strategy"))


def _type_word(block: Block) -> object:
    """What `type` says, known or not."""
    return plain(block.entries["type"].value) if "type" in block.entries else None


def _source(block: Block) -> Optional[str]:
    if "from" not in block.entries and _type_word(block) == "entry":
        return START
    value = block.require("from", f"{block.label} has no `from`", "add `from: some_node` or `from: __start__`")
    return None if value is None else name_of(value, "from", block.label, block.report)


def _target_values(block: Block) -> tuple[YamlValue, ...]:
    value = block.get("to")
    if isinstance(value, YamlSequence):
        return value.items
    return () if value is None else (value,)


def _targets(block: Block) -> tuple[str, ...]:
    value = block.require("to", f"{block.label} has no `to`", "add `to: some_node` or `to: __end__`")
    if isinstance(value, YamlSequence) and not value.items:
        block.report.lacks(value.where, f"`to` of {block.label} is an empty list", "name at least one node")
    names = [name_of(item, "to", block.label, block.report) for item in _target_values(block)]
    return tuple(name for name in names if name is not None)


def _fan_in(block: Block) -> Optional[str]:
    value = block.get("fan_in")
    return None if value is None else name_of(value, "fan_in", block.label, block.report)


# --- one edge per target -> one edge -------------------------------------------------------------------------------


def joined(edges: Iterable[Edge], report: Report) -> tuple[Edge, ...]:
    """The edges, with parallel edges of one target each and the same source made one, at the place of the first."""
    groups: list[list[Edge]] = []
    fans: dict[str, list[Edge]] = {}
    for edge in edges:
        branch = edge.parallel and len(edge.targets) == 1
        if branch and edge.source in fans:
            fans[edge.source].append(edge)
            continue
        groups.append([edge])
        if branch:
            fans[edge.source] = groups[-1]
    return tuple(_one(group, report) if len(group) > 1 else group[0] for group in groups)


def _one(branches: Sequence[Edge], report: Report) -> Edge:
    """One edge from several of one target each; what any of them says holds for all."""
    said = {key: _said(branches, key, report) for key in _FIELDS}
    positions = dict(branches[0].positions)
    positions.update({f"to.{index}": branch.positions["to.0"] for index, branch in enumerate(branches)})
    positions.update({key: edge.positions[key] for key, edge in said.items() if edge is not None})
    fields = {_FIELDS[key]: getattr(edge, _FIELDS[key]) for key, edge in said.items() if edge is not None}
    return replace(branches[0], targets=tuple(branch.targets[0] for branch in branches), positions=positions, **fields)


def _said(branches: Sequence[Edge], key: str, report: Report) -> Optional[Edge]:
    """The first edge that has the key; every other that has another value is noted."""
    having = [branch for branch in branches if key in branch.positions]
    for branch in having[1:]:
        first, here = (getattr(edge, _FIELDS[key]) for edge in (having[0], branch))
        if first != here:
            message = (
                f"`{key}` is {quoted(_text(here))} here and {quoted(_text(first))} in line "
                f"{having[0].positions[key].line}, but the parallel edges from {quoted(branch.source)} are one fan-out"
            )
            report.add(branch.positions[key], message, f"give all of them the same `{key}`")
    return having[0] if having else None


def _text(value: object) -> str:
    """A value as a message names it: a policy by what matters first."""
    if isinstance(value, RetryPolicy):
        return f"{value.max_retries} retries"
    if isinstance(value, (Expression, Negated, Choice)):
        return shown(value)
    return value.mode if isinstance(value, OnError) else str(value)
