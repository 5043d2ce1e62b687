"""One entry of `nodes:` -> `Node`.

Checks all that can be said of one node alone: its keys, its values, its code. What the nodes are to each other is the
business of `core.rules`. A node whose code cannot be compiled still becomes a `Node`, so that its relations are
checked; the graph it belongs to is never handed out.
"""

from __future__ import annotations

from typing import Optional

from teastreams.core.control.bodies import Each
from teastreams.core.graph import Edge, Node
from teastreams.workflow.document import YamlMapping, YamlScalar, YamlValue
from teastreams.workflow.keys import NODE
from teastreams.workflow.readers.acting import output_of, uses_of
from teastreams.workflow.readers.bodies import WORK, body_of
from teastreams.workflow.readers.commands import command_of
from teastreams.workflow.readers.conditions import goto_edges
from teastreams.workflow.readers.reliability import reaction_of
from teastreams.workflow.readers.runblock import RunBlock, compile_run
from teastreams.workflow.readers.streams import streams_of
from teastreams.workflow.values import Block, Report, kind, name_of, opened, place_of
from teastreams.workflow.wording import quoted

# Keys of later versions that give a node something to do: where one of them is refused, `run` is not missing.
OTHER_WORK = frozenset(("script", "action", "dynamic_parallel", "while_loop"))


def node_of(value: YamlValue, number: int, report: Report) -> Optional[tuple[Node, tuple[Edge, ...]]]:
    """The node declared by the `number`th entry of `nodes:`, and the edges of its `goto`; None if it has no name."""
    block = opened(value, NODE, _label(value, number), report)
    if block is None:
        return None
    name = _name(block)
    command = command_of(block)
    run = _run(block)
    uses = uses_of(block)
    body = body_of(block, name or "", run, node_of)
    block.text("description")
    if not isinstance(body, Each):
        block.flag("fan_in")
    positions = block.positions()
    retry, on_error = reaction_of(block, positions)
    node = Node(
        name=name or "",
        run=None if isinstance(body, Each) else run or uses,
        streams=streams_of(block, positions),
        timeout_seconds=block.seconds("timeout"),
        interrupt_before=block.flag("interrupt_before"),
        interrupt_after=block.flag("interrupt_after"),
        where=block.where,
        positions=positions,
        command=command,
        retry=retry,
        on_error=on_error,
        body=body,
        output=output_of(block),
    )
    jumps = goto_edges(block, name or "")
    return (node, jumps) if name else None


def _label(value: YamlValue, number: int) -> str:
    """`node 'reader'`, or `node 3` as long as it has no readable name."""
    entries = value.entries if isinstance(value, YamlMapping) else ()
    for entry in entries:
        if entry.key == "name" and isinstance(entry.value, YamlScalar) and entry.value.text:
            return f"node {quoted(entry.value.text)}"
    return f"node {number}"


def _name(block: Block) -> Optional[str]:
    value = block.require("name", f"{block.label} has no name", "add `name: some_name`")
    return None if value is None else name_of(value, "name", block.label, block.report)


def _run(block: Block) -> Optional[RunBlock]:
    value = block.get("run")
    if value is None:
        busy = (
            block.entries.keys() & {"command", "uses"}
            or block.misspelt & {"run", "command"}
            or block.later & OTHER_WORK
        )
        if not busy and not block.entries.keys() & WORK:
            block.report.add(block.where, f"{block.label} has nothing to run", "add `run: |` and Python code below it")
        return None
    if not isinstance(value, YamlScalar) or not isinstance(value.value, str):
        message = f"`run` of {block.label} must be Python code, not {kind(value)}"
        block.report.add(place_of(block.entries["run"]), message, "write `run: |` and the code on the lines below it")
        return None
    run, problems = compile_run(value, block.label)
    for problem in problems:
        block.report.add(problem.where or value.where, problem.message, problem.fix)
    return run
