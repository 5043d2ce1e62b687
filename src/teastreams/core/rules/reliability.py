"""Rules about failures: what can be tried again, what can stand in for a failed node, and what an edge may say of it.

Two facts are behind most of them. A live stream cannot be read twice, nor taken back once somebody has read it; and a
stream section starts and ends as one. A fallback node is reached by the failure alone: control knows nothing of it.
"""

from __future__ import annotations

from typing import Iterator, Optional

from teastreams.core.graph import Edge, Graph, Node
from teastreams.core.policies import RAISE
from teastreams.core.rules.wording import Found, found, meant, path, quoted, yaml_name

AS_A_WHOLE = "to try a whole section again, run it as a workflow of its own inside a plain node with `retry`"
BRANCHES_ONLY = ("max_workers", "timeout_seconds", "fail_fast", "retry")


def unknown_fallbacks(graph: Graph) -> Iterator[Found]:
    names = [node.name for node in graph.nodes]
    for node in graph.nodes:
        name = node.on_error.fallback
        if name is not None and name not in names:
            message = f"the fallback of node {quoted(node.name)} is {quoted(name)}, which is no node"
            others = [other for other in names if other != node.name]
            yield found(node, message, meant(name, others, "fallback"), "on_error.fallback")


def circular_fallbacks(graph: Graph) -> Iterator[Found]:
    following = {node.name: node.on_error.fallback for node in graph.nodes}
    told: set[str] = set()
    for node in graph.nodes:
        trail = _trail(node.name, following)
        if trail[-1] == node.name and trail[1:] and node.name not in told:
            told.update(trail)
            fix = "name a node that does something else when this one has failed"
            yield found(node, f"fallbacks go round in a circle: {path(trail)}", fix, "on_error.fallback")


def fallbacks_with_edges(graph: Graph) -> Iterator[Found]:
    fallbacks = graph.fallbacks
    for edge in graph.edges:
        for name in (edge.source, *edge.targets, edge.fan_in):
            if name in fallbacks:
                message = f"{quoted(name or '')} is the fallback of another node and has an edge of its own"
                fix = "delete the edge: a fallback runs in the place of the failed node, and the run goes on from there"
                yield found(edge, message, fix, "from" if name == edge.source else "to")


def unfit_fallbacks(graph: Graph) -> Iterator[Found]:
    fallbacks = graph.fallbacks
    for node in graph.nodes:
        if node.name not in fallbacks:
            continue
        if node.streaming:
            message = f"the fallback {quoted(node.name)} has streams or is a program"
            yield found(node, message, "give it `run:`; a fallback is a plain node", "streams", "command")
        for key in ("interrupt_before", "interrupt_after"):
            if getattr(node, key):
                message = f"the fallback {quoted(node.name)} has {key}, but stands on no way of the run"
                yield found(node, message, "delete it, or put it on the node that may fail", key)


def streams_tried_again(graph: Graph) -> Iterator[Found]:
    for node in graph.nodes:
        if node.patient and node.streaming:
            reason = _why_not(graph, node)
            if reason is not None:
                key = "retry" if node.retry is not None else "on_error"
                yield found(node, f"node {quoted(node.name)} has `{key}`, but {reason[0]}", reason[1], key, "on_error")


def edges_without_branches(graph: Graph) -> Iterator[Found]:
    for edge in graph.edges:
        if not edge.parallel:
            for key in _said(edge):
                message = f"`{key}` of the edge from {quoted(edge.source)} has a meaning only on a parallel edge"
                yield found(edge, message, "write it on the node, or add `parallel: true`", key)


def edges_with_fallback(graph: Graph) -> Iterator[Found]:
    for edge in graph.edges:
        name = edge.on_error.fallback
        if name is not None:
            message = f"the edge from {quoted(edge.source)} has a fallback, which only a node can have"
            fix = f"write `on_error: {{fallback: {yaml_name(name)}}}` on the nodes of the branches"
            yield found(edge, message, fix, "on_error.fallback")


def stream_branches_tried_again(graph: Graph) -> Iterator[Found]:
    streaming = {node.name for node in graph.nodes if node.streaming}
    for edge in graph.edges:
        names = [target for target in edge.targets if target in streaming]
        keys = [key for key in ("retry", "on_error") if key in _said(edge)]
        if edge.parallel and names and keys:
            message = f"the parallel edge from {quoted(edge.source)} has `{keys[0]}`, but {quoted(names[0])} is started"
            reason = "as part of a stream section, which starts and ends as one"
            yield found(edge, f"{message} {reason}", f"delete it; {AS_A_WHOLE}", *keys)


def _trail(name: str, following: dict[str, Optional[str]]) -> list[str]:
    """From one node along its fallbacks, up to the first that was there before."""
    trail = [name]
    after = following.get(name)
    while after is not None and after not in trail:
        trail.append(after)
        after = following.get(after)
    return [*trail, after] if after is not None else trail


def _why_not(graph: Graph, node: Node) -> Optional[tuple[str, str]]:
    """Why a stream node cannot be run again by itself, and what to do; None if it can."""
    streams = node.streams
    if streams is not None and streams.stdin is not None:
        reason = f"it reads the live stream {quoted(streams.stdin)}, which cannot be read a second time"
        return reason, f"delete it; {AS_A_WHOLE}"
    if streams is not None and streams.channels:
        reason = f"what it has written to {quoted(streams.channels[0])} may have been read, and nobody can take it back"
        return reason, f"delete it; {AS_A_WHOLE}"
    if streams is not None and any(binding.file is None for binding in streams.bindings.values()):
        reason = "it is bound to the workflow's own streams: what was read is gone, what was written stays"
        return reason, "bind it to a file, or delete it"
    if any(edge.parallel and node.name in edge.targets for edge in graph.edges):
        reason = "it is started together with the other branches of its parallel edge"
        return reason, "put a plain node before it in its branch, or delete it"
    return None


def _said(edge: Edge) -> list[str]:
    """The keys about branches that an edge has."""
    said = [key for key in BRANCHES_ONLY if getattr(edge, key) is not None]
    return [*said, "on_error"] if edge.on_error != RAISE else said
