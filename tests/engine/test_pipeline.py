"""A plain chain in one line: what it joins, what it calls its parts, what it refuses."""

from __future__ import annotations

import functools
from typing import Any

import harness
import pytest

import teastreams as ts


def read(state: dict[str, Any]) -> None:
    """A stage."""


def parse(state: dict[str, Any]) -> None:
    """A stage."""


def load(state: dict[str, Any]) -> None:
    """A stage."""


def names(app: ts.CompiledGraph) -> list[str]:
    return [node.name for node in app.graph.nodes]


def test_three_functions_are_joined_and_run() -> None:
    """Bytes go from the first to the last; updates are merged; every channel is a bare pipe."""
    told = harness.run(
        """
def read(state):
    for number in range(state["count"]):
        print(number)

def square(state):
    for line in sys.stdin:
        print(int(line) ** 2)
    return {"squared": True}

def total(state):
    return {"total": sum(map(int, sys.stdin)), "seen": state.get("squared")}

with untouched():
    result = ts.pipeline(read, square, total).run({"count": 1000})
counted = {name: [each.counted for each in figures.consumers.values()] for name, figures in result.channels.items()}
tell(state=dict(result.state), counted=counted)
"""
    ).told
    assert told["state"] == {
        "count": 1000,
        "squared": True,
        "total": sum(n * n for n in range(1000)),
        "seen": True,
    }
    assert "fan-out" not in str(told["counted"])
    assert sorted(told["counted"]) == ["read>square", "square>total"]


def test_stages_are_called_as_their_functions_unless_named() -> None:
    """A partial is called as what it calls; the second of one name is told apart."""
    assert names(ts.pipeline(read, ("second", parse), functools.partial(load))) == ["read", "second", "load"]
    assert names(ts.pipeline(read, parse, parse, parse, load)) == ["read", "parse", "parse_2", "parse_3", "load"]


def test_neighbours_share_a_channel_and_nobody_else_does() -> None:
    """The chain's own ends carry no channel."""
    streams = {node.name: node.streams for node in ts.pipeline(read, parse, load).graph.nodes}
    assert [streams[each] for each in ("read", "parse", "load")] == [
        ts.NodeStreamsConfig(stdout="read>parse"),
        ts.NodeStreamsConfig(stdin="read>parse", stdout="parse>load"),
        ts.NodeStreamsConfig(stdin="parse>load"),
    ]


def test_a_single_stage_is_a_plain_node() -> None:
    """It runs in this process, without a stream."""
    assert ts.pipeline(lambda state: {"got": state["given"]}).run({"given": 3}).state == {"given": 3, "got": 3}


@pytest.mark.parametrize("stages", [(), (read, 3), (read, "parse"), (read, []), (read, ["sort", 1]), ((read, parse),)])
def test_what_is_no_stage_is_refused(stages: tuple[Any, ...]) -> None:
    """Before anything is built."""
    with pytest.raises(ts.WorkflowError, match="stage"):
        ts.pipeline(*stages)


def test_a_chain_is_checked_like_any_graph() -> None:
    """What compile refuses of a graph it refuses here."""

    def wants(state: dict[str, Any], nonsense: int) -> None:
        """A stage that asks for what nobody gives."""

    with pytest.raises(ts.WorkflowError, match="nonsense"):
        ts.pipeline(read, wants)


def test_an_argument_vector_is_a_stage() -> None:
    """A program between two functions, called as its file."""
    told = harness.run(
        """
def write(state):
    for word in ("pear", "apple", "fig"):
        print(word)

def read(state):
    return {"words": sys.stdin.read().split()}

app = ts.pipeline(write, ["/usr/bin/env", "sort"], ("upper", ["tr", "a-z", "A-Z"]), read)
with untouched():
    result = app.run()
tell(words=result.state["words"], names=[node.name for node in app.graph.nodes])
"""
    ).told
    assert told == {"words": ["APPLE", "FIG", "PEAR"], "names": ["write", "env", "upper", "read"]}
