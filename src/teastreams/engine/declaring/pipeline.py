"""A plain chain in one line: `pipeline(read, parse, load)`.

Each stage's stdout is the next one's stdin, through one bare pipe; the channels are called after both ends
("read>parse"). What is built is an ordinary graph, declared with the public calls and checked by its compile step: a
chain that outgrows this form is written as a graph, and nothing else about it changes.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional, Sequence, Union

from teastreams.checkpoint import Checkpointer
from teastreams.core.graph import ParallelConfig
from teastreams.engine.app import CompiledGraph
from teastreams.engine.calling import name_of
from teastreams.engine.declaring.state_graph import StateGraph
from teastreams.errors import Problem, WorkflowError

Work = Union[Callable[..., Any], Sequence[str]]
Stage = Union[Work, tuple[str, Work]]


def pipeline(
    *stages: Stage,
    parallel_config: Optional[ParallelConfig] = None,
    checkpointer: Optional[Checkpointer] = None,
    name: str = "",
    stdin: Optional[str] = None,
    stdout: Optional[str] = None,
) -> CompiledGraph:
    """Join functions stdout to stdin and return the chain ready to run.

    A stage is a function, or `(name, function)`; a list of strings is the argv of a program, and may be named
    likewise. A stage without a name is called as its function or its program; the second of the same name gets "_2".
    `stdin` names the channel into the first stage, which the caller then feeds (`run(feed={...})`), `stdout` the one
    out of the last, which the caller then reads (`start().open(...)`). A single stage with neither is a plain node.

    Raises:
        WorkflowError: there is no stage, one is neither of these, or the graph is refused by its compile step.
    """
    named = _named(stages)
    graph = StateGraph(parallel_config=parallel_config, name=name)
    names = [each for each, _work in named]
    channels = [f"{source}>{target}" for source, target in zip(names, names[1:])]
    for (stage, work), above, below in zip(named, [stdin, *channels], [*channels, stdout]):
        _add(graph, stage, work, {"stdin": above, "stdout": below})
    for source, target in zip(names, names[1:]):
        graph.add_edge(source, target)
    graph.set_entry_point(names[0]).set_finish_point(names[-1])
    fed, read = ([end] if end is not None else [] for end in (stdin, stdout))
    return graph.compile(checkpointer=checkpointer, feed=fed, read=read)


def _add(graph: StateGraph, name: str, work: Work, ends: Mapping[str, Optional[str]]) -> None:
    streams = {stream: channel for stream, channel in ends.items() if channel is not None} or None
    what: dict[str, Any] = {"run": work} if callable(work) else {"command": list(work)}
    graph.add_node(name, streams=streams, **what)


def _named(stages: Sequence[Stage]) -> list[tuple[str, Work]]:
    """Every stage with a name of its own."""
    if not stages:
        raise WorkflowError([Problem("a pipeline has no stages", "give it one function or more")])
    named: list[tuple[str, Work]] = []
    for stage in stages:
        name, work = _parted(stage)
        taken = [each for each, _work in named]
        number = 2
        unique = name
        while unique in taken:
            unique, number = f"{name}_{number}", number + 1
        named.append((unique, work))
    return named


def _parted(stage: object) -> tuple[str, Work]:
    """(name, work) of one stage."""
    if isinstance(stage, tuple) and len(stage) == 2 and isinstance(stage[0], str) and _is_work(stage[1]):
        return stage[0], stage[1]
    if callable(stage):
        return name_of(stage), stage
    if isinstance(stage, list) and _is_work(stage):
        return str(stage[0]).rpartition("/")[2] or stage[0], stage
    problem = f"the stage {stage!r} of a pipeline is neither a function nor a command"
    raise WorkflowError([Problem(problem, "give a function, (name, function), or an argv list of strings")])


def _is_work(value: object) -> bool:
    return callable(value) or (
        isinstance(value, list) and bool(value) and all(isinstance(argument, str) for argument in value)
    )
