"""Which ends of channels the caller may hold, and what it gave: checked before anything runs.

A channel can be fed when no node writes it and `compile(feed=...)` said so; it can be read when it belongs to the main
line. A channel inside a branch is joined in that branch's own process, where the caller cannot reach it.
"""

from __future__ import annotations

from typing import Any, Iterable, Iterator, Mapping, Optional

from teastreams.core.control.flow import Flow, Section, Step, nodes_in
from teastreams.core.graph import Graph
from teastreams.errors import Problem, WorkflowError
from teastreams.runtime.supervision.outside import Feed, Outside, Tap


def ends_of(graph: Graph, flow: Iterable[Step], feed: Optional[Mapping[str, Any]], can_read: bool) -> Outside:
    """The caller's ends of a run of `flow`: a feed for each channel so declared, a tap for each that nobody else reads.

    Raises:
        WorkflowError: a declared channel is not fed, another is, what feeds it is no source, or the caller cannot read.
    """
    given = dict(feed or {})
    ahead = _channels(graph, nodes_in(flow))
    problems = [*_unfed(graph, ahead, given), *([] if can_read else _unread(graph, ahead))]
    feeds = {}
    for channel, source in given.items():
        try:
            feeds[channel] = Feed(source)
        except TypeError as error:
            problems.append(Problem(f"channel {channel!r} cannot be fed: {error}"))
    if problems:
        raise WorkflowError(problems)
    return Outside(feeds, {channel: _tap(graph) for channel in sorted(graph.opened & ahead)})


def out_of_reach(graph: Graph, flow: Flow) -> Iterator[Problem]:
    """Channels that the caller was to hold and that lie inside a branch."""
    for channel in sorted((graph.fed | graph.opened) - _on_main_line(graph, flow)):
        fix = "join it in a section of the main line"
        yield Problem(f"the caller cannot reach channel {channel!r}, which lies inside a branch of a fan-out", fix)


def new_tap(graph: Graph, flow: Flow, channel: str) -> Tap:
    """A reading end of a channel of the main line; ValueError when there is none of that name."""
    readable = _on_main_line(graph, flow)
    if channel in readable:
        return _tap(graph)
    import difflib  # only a mistake needs it

    near = difflib.get_close_matches(channel, readable, 1)
    fix = f"did you mean {near[0]!r}?" if near else f"the channels are {', '.join(sorted(readable)) or 'none'}"
    raise ValueError(f"the caller cannot read channel {channel!r}: the main line has none of that name; {fix}")


def _tap(graph: Graph) -> Tap:
    """With the limit that every consumer of this graph has."""
    return Tap(graph.parallel.streams.buffer_limit)


def _on_main_line(graph: Graph, flow: Flow) -> frozenset[str]:
    return _channels(graph, [name for step in flow if isinstance(step, Section) for name in step.members])


def _channels(graph: Graph, nodes: Iterable[str]) -> frozenset[str]:
    """What these nodes read and write."""
    streams = [graph.node(name).streams for name in nodes]
    return frozenset(channel for each in streams if each is not None for channel in each.channels)


def _unfed(graph: Graph, ahead: frozenset[str], given: Mapping[str, Any]) -> Iterator[Problem]:
    for channel in sorted((graph.fed & ahead).difference(given)):
        fix = f"give run, start or arun feed={{{channel!r}: an iterable or a file}}"
        yield Problem(f"channel {channel!r} is fed by the caller, and nothing was given for it", fix)
    for channel in sorted(set(given).difference(graph.fed)):
        fix = f"name it when compiling: compile(feed=[{channel!r}]), or leave it out"
        yield Problem(f"channel {channel!r} is not fed by the caller", fix)


def _unread(graph: Graph, ahead: frozenset[str]) -> Iterator[Problem]:
    for channel in sorted(graph.opened & ahead):
        fix = f"use `with app.start(...) as run:` and read run.open({channel!r})"
        yield Problem(f"channel {channel!r} is read by the caller, who has no hand free in this call", fix)
