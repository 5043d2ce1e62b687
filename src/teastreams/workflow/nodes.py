"""One entry of `nodes:` -> `Node`.

Checks all that can be said of one node alone: its keys, its values, its code. What the nodes are to each other is the
business of `core.rules`. A node whose code cannot be compiled still becomes a `Node`, so that its relations are
checked; the graph it belongs to is never handed out.
"""

from __future__ import annotations

from typing import Optional

from teastreams.core.graph import OVERFLOWS, Delivery, Node, NodeStreamsConfig
from teastreams.errors import Position
from teastreams.workflow.document import YamlMapping, YamlScalar, YamlValue
from teastreams.workflow.keys import NODE, OUTPUT, STDIN, STREAMS
from teastreams.workflow.runblock import RunBlock, compile_run
from teastreams.workflow.values import Block, Report, kind, name_of, opened, opened_mapping, place_of
from teastreams.workflow.wording import quoted

# Keys of later versions that give a node something to do: where one of them is refused, `run` is not missing.
OTHER_WORK = frozenset(("script", "command", "uses", "steps", "type", "dynamic_parallel", "while_loop"))


def node_of(value: YamlValue, number: int, report: Report) -> Optional[Node]:
    """The node declared by the `number`th entry of `nodes:`; None if it has no name."""
    block = opened(value, NODE, _label(value, number), report)
    if block is None:
        return None
    name = _name(block)
    run = _run(block)
    block.text("description")
    block.flag("fan_in")
    positions = block.positions()
    node = Node(
        name=name or "",
        run=run,
        streams=_streams(block, positions),
        timeout_seconds=block.seconds("timeout"),
        interrupt_before=block.flag("interrupt_before"),
        interrupt_after=block.flag("interrupt_after"),
        where=block.where,
        positions=positions,
    )
    return node if name else None


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
        if "run" not in block.misspelt and not block.later & OTHER_WORK:
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


def _streams(node: Block, positions: dict[str, Position]) -> Optional[NodeStreamsConfig]:
    block = node.open("streams", STREAMS, f"`streams` of {node.label}")
    if block is None:
        return None
    if not block.entries and not block.misspelt:
        where = node.entries["streams"].where
        node.report.add(where, f"{block.label} names no channel", "add `stdout: some_channel`")
    positions.update(block.positions("streams."))
    stdin, delivery = _stdin(block, node.label, positions)
    return NodeStreamsConfig(
        stdin=stdin,
        stdout=_output(block, "stdout", node.label, positions),
        stderr=_output(block, "stderr", node.label, positions),
        delivery=delivery,
    )


def _stdin(streams: Block, owner: str, positions: dict[str, Position]) -> tuple[Optional[str], Delivery]:
    value = streams.get("stdin")
    if not isinstance(value, YamlMapping):
        return _channel(streams, "stdin", owner), Delivery()
    block = opened_mapping(value, STDIN, f"`stdin` of {owner}", streams.report)
    if block.require("from", f"{block.label} names no channel", "add `from: some_channel`") is not None:
        positions["streams.stdin"] = block.positions()["from"]
    delivery = Delivery(
        overflow=block.choice("overflow", OVERFLOWS),
        buffer_limit=block.size("buffer_limit", "8MiB"),
        spill_limit=block.size("spill_limit", "1GiB"),
    )
    positions.update(block.positions("streams.stdin."))
    return _channel(block, "from", block.label), delivery


def _output(streams: Block, key: str, owner: str, positions: dict[str, Position]) -> Optional[str]:
    value = streams.get(key)
    if not isinstance(value, YamlMapping):
        return _channel(streams, key, owner)
    block = opened_mapping(value, OUTPUT, f"`{key}` of {owner}", streams.report)
    if block.require("to", f"{block.label} names no channel", "add `to: some_channel`") is not None:
        positions[f"streams.{key}"] = block.positions()["to"]
    return _channel(block, "to", block.label)


def _channel(block: Block, key: str, label: str) -> Optional[str]:
    """The channel a key names. Files, several channels, and `-` for the program's own streams come later."""
    value = block.get(key)
    if value is None:
        return None
    if isinstance(value, YamlScalar) and value.value != "-":
        return name_of(value, key, label, block.report)
    what = "`-` as a channel" if isinstance(value, YamlScalar) else "anything but one channel"
    message = f"{what} in `{key}` of {label} is not supported in this version"
    block.report.lacks(value.where, message, f"write `{key}: some_channel`; open files inside a `run:` block")
    return None
