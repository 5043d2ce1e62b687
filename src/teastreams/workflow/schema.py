"""YAML data -> `core.graph.Graph`, with every problem of shape collected at once.

Shape is what can be said of one key or value alone, and the one switch that allows `streams:`. Relations between nodes,
edges and channels belong to `core.rules`. The graph is built as far as it can be understood: it is None when a
node or an edge is missing from it, because its relations would then be judged wrongly.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Callable, Mapping, Optional, TypeVar

from teastreams.core.graph import Graph, Node, ParallelConfig
from teastreams.errors import Position, Problem
from teastreams.workflow.document import YamlMapping, YamlScalar, YamlSequence, YamlValue
from teastreams.workflow.keys import CONFIG, DOCUMENT
from teastreams.workflow.readers.acting import imports_of, initial_state_of
from teastreams.workflow.readers.bodies import adopted
from teastreams.workflow.readers.conditions import without_plain_edges
from teastreams.workflow.readers.edges import edge_of, joined
from teastreams.workflow.readers.nodes import node_of
from teastreams.workflow.readers.settings import parallel_config, service_settings
from teastreams.workflow.readers.state import state_schema
from teastreams.workflow.values import Block, Report, kind, name_of, opened, plain
from teastreams.workflow.wording import nearest, quoted

T = TypeVar("T")

# Nodes have one way on, or one fan-out; far more edges than nodes (see core.graph.MAX_NODES) are always a mistake.
MAX_EDGES = 1024
INTERRUPTS = ("interrupt_before", "interrupt_after")


def graph_of(
    root: YamlValue, file: str, report: Optional[Report] = None
) -> tuple[Optional[Graph], tuple[Problem, ...]]:
    """The graph a document declares, and what is wrong with the document, noted in `report` where one is given.

    The graph may come together with problems: then it is good for checking relations, not for running.
    """
    report = report or Report()
    document = opened(root, DOCUMENT, "the document", report)
    graph = None if document is None else _graph(document, file, report)
    return (None if report.incomplete else graph), tuple(report.problems)


def _graph(document: Block, file: str, report: Report) -> Graph:
    positions = document.positions()
    parallel = parallel_config(document, positions)
    declared = _listed(document, "nodes", node_of)
    nodes = tuple(node for node, _ in declared)
    jumps = tuple(edge for _, edges in declared for edge in edges)
    edges = joined(_listed(document, "edges", edge_of), report)
    _metadata(document)
    parallel = _with_streams_allowed(nodes, parallel, document)
    graph = Graph(
        nodes=_interrupted(nodes, document),
        edges=(*without_plain_edges(edges, jumps, report), *jumps),
        parallel=parallel,
        name=document.text("name"),
        file=file,
        strategy_given="settings.parallel.strategy" in positions,
        streams_optional=False,
        variables=_variables(document),
        positions=positions,
        services=service_settings(document),
        schema=state_schema(document),
        imports=imports_of(document),
        initial_state=initial_state_of(document),
    )
    return adopted(graph)


def _listed(document: Block, key: str, read: Callable[[YamlValue, int, Report], Optional[T]]) -> tuple[T, ...]:
    """Every entry of `nodes:` or `edges:` that could be read."""
    what = key[:-1]
    if key == "edges" and key not in document.entries:
        return ()  # then the nodes run in the order of the list
    value = document.require(key, f"the document has no `{key}`", "add `nodes:` with at least one node")
    if value is None:
        return ()
    if not isinstance(value, YamlSequence) or not value.items:
        found = "an empty list" if isinstance(value, YamlSequence) else kind(value)
        message = f"`{key}` must be a list of at least one {what}, not {found}"
        fix = f"begin each {what} with `- `, such as `- {'name: some_node' if key == 'nodes' else 'from: __start__'}`"
        document.report.lacks(value.where, message, fix)
        return ()
    if key == "edges" and len(value.items) > MAX_EDGES:
        message = f"`edges` has {len(value.items)} entries, and at most {MAX_EDGES} are possible"
        document.report.lacks(document.entries[key].where, message, "split the workflow into several")
        return ()
    entries = [read(item, number, document.report) for number, item in enumerate(value.items, start=1)]
    return tuple(entry for entry in entries if entry is not None)


def _metadata(document: Block) -> None:
    """Keys that only people and other tools read: checked for their kind, not kept."""
    document.text("description")
    version = document.get("version")
    if version is not None and not (isinstance(version, YamlScalar) and type(version.value) in (str, int, float)):
        document.wrong("version", "text or a number", '"1.0"')


def _variables(document: Block) -> Mapping[str, object]:
    value = document.get("variables")
    if isinstance(value, YamlMapping):
        return {entry.key: plain(entry.value) for entry in value.entries}
    if value is not None and not (isinstance(value, YamlScalar) and value.value is None):
        document.wrong("variables", "a mapping of names to values", "{limit: 10}")
    return {}


# --- streams need their switch -------------------------------------------------------------------------------------


def _with_streams_allowed(nodes: tuple[Node, ...], parallel: ParallelConfig, document: Block) -> ParallelConfig:
    """The settings, with a note if nodes have streams and the document does not enable them.

    The note says to write the strategy too where the document has none; its lack is then no second problem.
    """
    streaming = [node for node in nodes if node.streams is not None]
    if parallel.streams.enabled or not streaming:
        return parallel
    others = f" (and {len(streaming) - 1} more)" if streaming[1:] else ""
    message = f"node {quoted(streaming[0].name)}{others} has `streams:`, but streams are not enabled in this document"
    fix = _enabling(document)
    document.report.add(streaming[0].positions["streams"], message, fix)
    return replace(parallel, strategy="process") if "strategy" in fix else parallel


def _enabling(document: Block) -> str:
    """The exact text to add, for the settings that are there already."""
    path = ("settings", "parallel", "streams")
    depth, value = 0, document.get("settings")
    while isinstance(value, YamlMapping):
        depth += 1
        value = next((entry.value for entry in value.entries if path[depth : depth + 1] == (entry.key,)), None)
    text = "enabled: true"
    for key in reversed(path[depth:]):
        text = f"{key}: {{{'strategy: process, ' if key == 'parallel' else ''}{text}}}"
    return f"write `{text}` under `{'.'.join(path[:depth])}`" if depth else f"add the line `{text}` to the document"


# --- interrupts of `config:` belong to the nodes -------------------------------------------------------------------


def _interrupted(nodes: tuple[Node, ...], document: Block) -> tuple[Node, ...]:
    """The nodes, with the interrupts that `config:` names among their flags."""
    config = document.open("config", CONFIG, "config")
    if config is None:
        return nodes
    if not config.flag("raise_exceptions", True):
        config.wrong("raise_exceptions", "true (errors are always raised)", "true")
    for key in INTERRUPTS:
        named = _names(config, key, {node.name for node in nodes})
        nodes = tuple(_flagged(node, key, named[node.name]) if node.name in named else node for node in nodes)
    return nodes


def _flagged(node: Node, key: str, where: Position) -> Node:
    positions = {**node.positions, key: where}
    if key == "interrupt_before":
        return replace(node, interrupt_before=True, positions=positions)
    return replace(node, interrupt_after=True, positions=positions)


def _names(config: Block, key: str, known: set[str]) -> dict[str, Position]:
    """The nodes that a list under `config:` names, with their places."""
    value = config.get(key)
    if value is None:
        return {}
    if not isinstance(value, YamlSequence):
        config.wrong(key, "a list of node names", "[some_node]")
        return {}
    named: dict[str, Position] = {}
    for item in value.items:
        name = name_of(item, key, "config", config.report)
        if name in known and name is not None:
            named[name] = item.where
        elif name is not None and not config.report.incomplete:
            _note_unknown(config, key, name, known, item.where)
    return named


def _note_unknown(config: Block, key: str, name: str, known: set[str], where: Position) -> None:
    likely = None if config.report.full else nearest(name, sorted(known))
    fix = f"did you mean `{likely}`?" if likely else "name a node of this document, or remove the name"
    config.report.add(where, f"`{key}` of config names {quoted(name)}, which is no node", fix)
