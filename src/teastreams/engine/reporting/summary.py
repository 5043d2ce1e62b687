"""The figures of a run as two tables of text: what each node used, and what went through each channel.

Nothing is computed that is not in the `RunResult`. A "?" is a figure that nobody could tell, "~" one that was
sampled from outside; a table without rows is left out.
"""

from __future__ import annotations

from typing import Mapping

from teastreams.core.plan import OUTSIDE
from teastreams.engine.reporting.quantities import count, duration, size, table
from teastreams.runtime.supervision.figures import ChannelFigures, ConsumerFigures, NodeFigures

NODE_HEAD = ("node", "end", "time", "cpu", "memory")
CHANNEL_HEAD = ("channel", "", "who", "bytes", "records", "waited", "dropped", "spilled", "counted by")
NONE = "-"


def summary(nodes: Mapping[str, NodeFigures], channels: Mapping[str, ChannelFigures], seconds: float) -> str:
    """Both tables and the whole time, as lines without a last newline."""
    lines = table([NODE_HEAD, *(_node(name, each) for name, each in nodes.items())], left=(0, 1)) if nodes else []
    if channels:
        rows = [row for name, channel in channels.items() for row in _channel(name, channel)]
        lines += ["", *table([CHANNEL_HEAD, *rows], left=(0, 1, 2, 8))]
    lines += ["", *(f"note: channel {name}: {each.warning}" for name, each in channels.items() if each.warning)]
    return "\n".join([*lines, f"whole run: {duration(seconds)}"]).lstrip("\n")


def _node(name: str, figures: NodeFigures) -> tuple[str, ...]:
    used = (duration(figures.cpu_seconds), size(figures.peak_memory_bytes))
    inside = figures.cpu_seconds is None and figures.exit_code is None  # ran in the caller's process
    return (
        name,
        figures.status.name.lower(),
        duration(figures.seconds),
        *((NONE, NONE) if inside else used),
    )


def _channel(name: str, channel: ChannelFigures) -> list[tuple[str, ...]]:
    wrote = (size(channel.bytes, channel.counted), count(channel.records), duration(channel.blocked_seconds))
    rows = [(name, "from", channel.producer or "(outside)", *wrote, NONE, NONE, channel.counted)]
    return rows + [("", "to", node or "(outside)", *_consumer(node, each)) for node, each in channel.consumers.items()]


def _consumer(node: str, share: ConsumerFigures) -> tuple[str, ...]:
    # A caller who reads the pipe by itself is not seen.
    counted = "unknown" if node == OUTSIDE and share.counted == "node" else share.counted
    return (
        size(share.bytes, counted),
        count(share.records),
        duration(share.starved_seconds),
        _dropped(share),
        size(share.spilled_bytes) if share.spilled_bytes else NONE,
        counted,
    )


def _dropped(share: ConsumerFigures) -> str:
    return f"{size(share.dropped_bytes)} ({count(share.dropped_records)})" if share.dropped_bytes else NONE
