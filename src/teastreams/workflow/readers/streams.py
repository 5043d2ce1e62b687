"""`streams:` of one node -> `NodeStreamsConfig`: what its standard streams are joined to.

A stream names a channel, or it is bound outside the workflow: to `-` (the stream of the workflow itself), or to a file.
Channels become channels only among nodes, and so their rules are in `core.rules`.
"""

from __future__ import annotations

from dataclasses import field
from typing import Optional

from teastreams.core.graph import OVERFLOWS, STREAMS, Binding, Delivery, NodeStreamsConfig
from teastreams.errors import Position
from teastreams.values import dataclass
from teastreams.workflow.document import YamlMapping, YamlScalar, YamlValue
from teastreams.workflow.keys import FROM_FILE, OUTPUT, STDIN, TO_FILE
from teastreams.workflow.keys import STREAMS as STREAMS_PLACE
from teastreams.workflow.values import Block, kind, name_of, opened_mapping

OUTER = "-"
PARTIAL = ("discard", "keep")


@dataclass
class _Ends:
    """What has been read so far: channels and bindings by stream."""

    channels: dict[str, str] = field(default_factory=dict)
    bindings: dict[str, Binding] = field(default_factory=dict)


def streams_of(node: Block, positions: dict[str, Position]) -> Optional[NodeStreamsConfig]:
    """The streams of a node, None if it has none; enters their places in `positions`."""
    block = node.open("streams", STREAMS_PLACE, f"`streams` of {node.label}")
    if block is None:
        return None
    if not block.entries and not block.misspelt:
        where = node.entries["streams"].where
        node.report.add(where, f"{block.label} names no channel", "add `stdout: some_channel`")
    positions.update(block.positions("streams."))
    ends, delivery = _Ends(), Delivery()
    for stream in STREAMS:
        value = block.get(stream)
        if isinstance(value, YamlMapping):
            inner = _long_form(block, value, stream, node.label, ends, positions)
            delivery = _delivery(inner) if stream == "stdin" else delivery
        elif value is not None:
            _end(block, stream, stream, ends, node.label)
    return NodeStreamsConfig(
        ends.channels.get("stdin"), ends.channels.get("stdout"), ends.channels.get("stderr"), delivery, ends.bindings
    )


def _long_form(
    streams: Block, value: YamlMapping, stream: str, owner: str, ends: _Ends, positions: dict[str, Position]
) -> Block:
    """`{from: ...}` or `{to: ...}`."""
    place, key = (STDIN, "from") if stream == "stdin" else (OUTPUT, "to")
    block = opened_mapping(value, place, f"`{stream}` of {owner}", streams.report)
    if block.require(key, f"{block.label} names no channel", f"add `{key}: some_channel`") is not None:
        positions[f"streams.{stream}"] = block.positions()[key]
        _end(block, key, stream, ends, block.label)
    if stream == "stdin":
        positions.update(block.positions("streams.stdin."))
    return block


def _delivery(block: Block) -> Delivery:
    return Delivery(
        overflow=block.choice("overflow", OVERFLOWS),
        buffer_limit=block.size("buffer_limit", "8MiB"),
        spill_limit=block.size("spill_limit", "1GiB"),
    )


def _end(block: Block, key: str, stream: str, ends: _Ends, label: str) -> None:
    """Enter the channel or the binding that a key names."""
    value = block.entries[key].value
    if isinstance(value, YamlMapping):
        ends.bindings[stream] = _file(block, value, stream, f"`{key}` of {label}")
    elif isinstance(value, YamlScalar) and value.value == OUTER:
        ends.bindings[stream] = Binding()
    elif isinstance(value, YamlScalar):
        name = name_of(value, key, label, block.report)
        if name is not None:
            ends.channels[stream] = name
    else:
        _refuse(block, value, key, label)


def _file(block: Block, value: YamlMapping, stream: str, label: str) -> Binding:
    place = FROM_FILE if stream == "stdin" else TO_FILE
    file = opened_mapping(value, place, label, block.report)
    file.require("file", f"{file.label} has no path", "add `file: PATH`")
    return Binding(
        file=file.text("file"), append=file.flag("append"), keep_partial=file.choice("partial", PARTIAL) == "keep"
    )


def _refuse(block: Block, value: YamlValue, key: str, label: str) -> None:
    message = f"`{key}` of {label} must be one channel, not {kind(value)}"
    block.report.lacks(value.where, message, f"write `{key}: some_channel`")
