"""Workflows to draw: one that has everything, and one whose names try to break out of every format."""

from __future__ import annotations

from teastreams.core.graph import (
    END,
    START,
    Delivery,
    Edge,
    Graph,
    Node,
    NodeStreamsConfig,
    ParallelConfig,
    StreamSettings,
)
from teastreams.core.rules import check


def checked(graph: Graph) -> Graph:
    assert check(graph) == ()
    return graph


SETTINGS = ParallelConfig(
    strategy="process",
    streams=StreamSettings(timeout=60, stall_timeout=2.5, buffer_size=4096, buffer_grows=False),
)

EVERYTHING = checked(
    Graph(
        name="all",
        parallel=SETTINGS,
        nodes=(
            Node("first", interrupt_before=True),
            Node("reader", streams=NodeStreamsConfig(stdout="lines", stderr="remarks")),
            Node("quick", streams=NodeStreamsConfig(stdin="lines")),
            Node("slow", streams=NodeStreamsConfig("lines", None, None, Delivery("spill", 2**20, 3 * 2**30))),
            Node("remarked", timeout_seconds=1.5, streams=NodeStreamsConfig(stdin="remarks")),
            Node("report"),
            Node("left"),
            Node("right"),
            Node("last"),
        ),
        edges=(
            Edge(START, ("first",)),
            Edge("first", ("reader",)),
            Edge("reader", ("quick", "slow"), True, stream_mode="broadcast", fan_in="report"),
            Edge("report", ("left", "right"), True, "thread", fan_in="last"),
            Edge("last", (END,)),
        ),
    )
)

HOSTILE = [
    'a"] --> b',
    "end",
    "subgraph",
    "a\nb",
    "x\x1b[31m",
    "<script>alert(1)</script>",
    "a|b",
    "`a`",
    "#quot;",
    "&amp;",
    "\\N\\",
    '"}',
    "%% a",
    "a; b --> c",
    "日本語",
    "-",
]


def named(name: str) -> Graph:
    """A workflow in which a node, a channel and the whole are called `name`."""
    return checked(
        Graph(
            name=name,
            nodes=(
                Node(name, streams=NodeStreamsConfig(stdout=name)),
                Node("reader", streams=NodeStreamsConfig(stdin=name)),
            ),
        )
    )
