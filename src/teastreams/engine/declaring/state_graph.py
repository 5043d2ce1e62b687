"""`StateGraph`: a workflow written in Python, or loaded from YAML, and its compile step.

Declaring only records; `compile` checks everything at once and raises one `WorkflowError` with all problems. Giving
`streams=` to a node is the opt-in in Python: no setting is needed, and no strategy has to be named.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any, Callable, Mapping, Optional, Sequence, TypeVar, Union

from teastreams.checkpoint import Checkpointer
from teastreams.core import drawing, rules
from teastreams.core.control.bodies import Each, all_within
from teastreams.core.control.joins import with_joins
from teastreams.core.graph import END, START, Choice, Command, Edge, Graph, Node, ParallelConfig
from teastreams.core.limits import RateLimit
from teastreams.core.services import Given, SecretSources, ServiceSettings
from teastreams.engine.actions import Actions, problems_of
from teastreams.engine.app import CompiledGraph
from teastreams.engine.calling import name_of
from teastreams.engine.declaring.bodies import Inner, Value, asked, each_graph, loop_of, subgraph_of
from teastreams.engine.declaring.checking import nothing_to_run, unknown_names
from teastreams.engine.declaring.declarations import (
    Streams,
    When,
    command_value,
    condition_of,
    mapped,
    output_value,
    streams_config,
    uses_value,
)
from teastreams.engine.declaring.reactions import Reaction, Retry, reaction_value
from teastreams.engine.declaring.schema import Declared, Reduced
from teastreams.engine.declaring.schema import state_schema as schema_of
from teastreams.engine.live.ends import out_of_reach
from teastreams.errors import Problem, WorkflowError

Function = TypeVar("Function", bound=Callable[..., Any])


class StateGraph:
    """Nodes and edges as they are declared, and the keys of the state.

    `state_schema` maps keys to types (`list[str]`, `Optional[int]`, or the names of a document), or is a class with
    annotations, such as a TypedDict. With `enforce` the initial state and every update are checked against it; else it
    documents. `secrets` are a `SecretSources`, a mapping of names to texts, or a function that returns one. `reducers`
    maps keys to functions `(current, returned) -> new`, or to "append", "add", "merge" or "replace"; `Annotated[list,
    "append"]` in the schema says the same. WorkflowError for what is neither a type nor a reducer.
    """

    def __init__(
        self,
        state_schema: Optional[Declared] = None,
        *,
        parallel_config: Optional[ParallelConfig] = None,
        name: str = "",
        rate_limiters: Optional[Mapping[str, RateLimit]] = None,
        memory: Optional[Union[str, os.PathLike[str]]] = None,
        secrets: Optional[Union[SecretSources, Given]] = None,
        enforce: bool = False,
        reducers: Optional[Reduced] = None,
    ) -> None:
        self.state_schema = state_schema or {}
        self.graph = Graph(
            parallel=parallel_config or ParallelConfig(),
            name=name,
            strategy_given=parallel_config is not None,
            services=ServiceSettings(
                dict(rate_limiters or {}), None if memory is None else os.fspath(memory), _sources(secrets)
            ),
            schema=schema_of(state_schema, reducers, enforce),
        )

    @classmethod
    def from_graph(cls, graph: Graph) -> StateGraph:
        """A builder that goes on from a loaded graph."""
        built = cls()
        built.graph = graph
        return built

    def add_node(
        self,
        name: str,
        run: Optional[Callable[..., Any]] = None,
        *,
        streams: Optional[Streams] = None,
        timeout: Optional[float] = None,
        interrupt_before: bool = False,
        interrupt_after: bool = False,
        command: Optional[Union[Command, Sequence[Any]]] = None,
        env: Optional[Mapping[str, Optional[str]]] = None,
        cwd: Optional[str] = None,
        ok_exit_codes: Sequence[int] = (0,),
        retry: Optional[Retry] = None,
        on_error: Reaction = "raise",
        subgraph: Optional[Inner] = None,
        input: Optional[Mapping[str, Value]] = None,  # noqa: A002  what it is called in a document
        output: Union[str, Mapping[str, Value], None] = None,
        uses: Optional[str] = None,
        arguments: Optional[Mapping[str, Any]] = None,
    ) -> StateGraph:
        """Declare a node, a function, an external program or another workflow; returns the graph.

        `run` is called with what it names among state, parallel_results, node, context and variables. `streams` maps
        stdin, stdout and stderr to channel names; stdin may be {"from": name, "overflow": ..., "buffer_limit":
        bytes}. A stream may also be bound to the caller's own ("-") or to a file: {"from": {"file": path}},
        {"to": {"file": path, "append": True}}, {"to": {"file": path, "partial": "keep"}}. `timeout` is in seconds.
        `command` is a program and its arguments, run without a shell in the place of `run`; in the arguments, in paths
        and in the values of `env` (added to the environment; None removes), `{{ state.key }}` and `{{ variables.key }}`
        are filled in. `retry` is a `RetryPolicy` or a number of retries; `on_error` is "raise", "graceful" or "retry",
        or a mapping with `mode`, `fallback` and the fields of `RetryPolicy`, as in a document. WorkflowError for an
        unknown key in one of these.

        `subgraph` is a graph whose nodes run in the place of `run`, on the same state; with `input` (names to
        expressions or functions of the state) on a state of these values alone, with `output` (of its state) only
        these values come back. WorkflowError for text that is no expression.

        `uses` names an action that is called in the place of `run`, with `arguments`; `{{ expressions }}` in their
        texts are filled in. `output` keeps what `run` or the action returned: under one key, or what expressions over
        `result` make of it.
        """
        if uses is not None:
            run = uses_value(uses, arguments)
        config = streams_config(name, streams)
        program = command_value(command, env, cwd, ok_exit_codes)
        policy, reaction = reaction_value(f"node {name!r}", retry, on_error)
        node = Node(
            name,
            run,
            config,
            timeout,
            interrupt_before,
            interrupt_after,
            command=program,
            retry=policy,
            on_error=reaction,
            body=None if subgraph is None else subgraph_of(subgraph, input, mapped(output)),
            output=None if subgraph is not None else output_value(output),
        )
        return self._with(node)

    def add_loop(self, name: str, body: Inner, *, condition: Value, max_iterations: int) -> StateGraph:
        """Declare a node that runs the graph `body` while `condition` holds, at most `max_iterations` times (to 1000).

        `condition` is an expression or a function of the state, asked before each turn; all turns work on the one
        state. When it still holds at the end, a warning says so and control goes on.
        """
        return self._with(Node(name, body=loop_of(body, condition, max_iterations)))

    def add_each(
        self,
        name: str,
        items: Value,
        body: Union[Inner, Callable[..., Any]],
        *,
        item_var: str = "item",
        index_var: str = "index",
        max_concurrency: Optional[int] = None,
        fail_fast: Optional[bool] = None,
        strategy: Optional[str] = None,
        output: Optional[str] = None,
        fan_in: Optional[str] = None,
    ) -> StateGraph:
        """Declare a node that runs `body`, a graph or a function, once for every item, `max_concurrency` at once.

        `items` is an expression or a function of the state that yields an iterable. Each branch works on a copy of the
        state, with its item under `item_var` and its number from 0 under `index_var`. `output` is the key for the list
        of what the branches yielded, in the order of the items: what the function returned, or the keys that the graph
        has set. `fan_in` names the node that gets their results as `parallel_results`. `strategy` is thread or process.
        """
        inner = each_graph(body, name, self.graph.parallel)
        each = Each(
            inner,
            asked(items),
            item_var,
            index_var,
            max_concurrency,
            fail_fast,
            strategy,
            output,
            fan_in,
            single=callable(body),
        )
        self._with(Node(name, body=each))
        return self if fan_in is None else self.add_edge(name, fan_in)

    def _with(self, node: Node) -> StateGraph:
        self.graph = replace(self.graph, nodes=(*self.graph.nodes, node))
        return self

    def node(
        self,
        name: Optional[str] = None,
        *,
        stdin: Union[str, Mapping[str, Any], None] = None,
        stdout: Optional[str] = None,
        stderr: Optional[str] = None,
        timeout: Optional[float] = None,
        interrupt_before: bool = False,
        interrupt_after: bool = False,
        retry: Optional[Retry] = None,
        on_error: Reaction = "raise",
    ) -> Callable[[Function], Function]:
        """Decorate a function to declare it as a node: `@graph.node(stdout="lines")`.

        The node is called as the function unless `name` is given. The function comes back unchanged and can be
        called as before. `stdin`, `stdout` and `stderr` are what `add_node` takes as `streams`; `timeout` is in
        seconds; `retry` and `on_error` are as there. TypeError for a decorator without parentheses.
        """
        if callable(name):
            raise TypeError(f"graph.node decorates {name!r} without parentheses; write @graph.node()")
        given = {"stdin": stdin, "stdout": stdout, "stderr": stderr}
        streams = {stream: channel for stream, channel in given.items() if channel is not None} or None

        def declare(function: Function) -> Function:
            self.add_node(
                name_of(function) if name is None else name,
                run=function,
                streams=streams,
                timeout=timeout,
                interrupt_before=interrupt_before,
                interrupt_after=interrupt_after,
                retry=retry,
                on_error=on_error,
            )
            return function

        return declare

    def add_edge(
        self, source: str, target: str, *, stream_mode: str = "direct", when: Optional[When] = None
    ) -> StateGraph:
        """Declare a plain edge; `stream_mode="broadcast"` lets the source's channel have several consumers.

        With `when`, control takes it only when that holds: an expression such as "state.score > 10", or a function of
        the state. Edges of one node are asked in their order, the one without `when` last. A loop is an edge that leads
        back. WorkflowError for text that is no expression.
        """
        return self._add(Edge(source, (target,), stream_mode=stream_mode, condition=condition_of(when)))

    def add_conditional_edges(
        self, source: str, function: Callable[..., Any], targets: Mapping[Any, str]
    ) -> StateGraph:
        """Declare where control goes by what `function(state)` returns: `targets` maps each answer to a node or END.

        Another answer is an error of the run, unless an edge without condition leads on.
        """
        answers = tuple(targets)
        for answer, target in targets.items():
            self._add(Edge(source, (target,), condition=Choice(function, answer, answers)))
        return self

    def add_fanin_node(self, name: str, run: Callable[..., Any]) -> StateGraph:
        """Declare the node where branches join: `add_node` under the name that other engines have for it."""
        return self.add_node(name, run=run)

    def add_parallel_edge(
        self,
        source: str,
        targets: Union[str, Sequence[str]],
        fan_in: Optional[str] = None,
        *,
        strategy: Optional[str] = None,
        stream_mode: str = "direct",
        max_workers: Optional[int] = None,
        timeout_seconds: Optional[float] = None,
        fail_fast: Optional[bool] = None,
        retry: Optional[Retry] = None,
        on_error: Reaction = "raise",
        when: Optional[When] = None,
    ) -> StateGraph:
        """Declare a fan-out: all `targets` run at once, by thread or process, and join at the node `fan_in`.

        A single name adds a branch to the fan-out that leads from `source` to that `fan_in` already, if there is one.

        What is not None goes before the settings. `retry` tries a failed branch again, from its beginning; with
        `on_error="graceful"` the fan-in gets the results of failed branches, too. With
        `when`, control takes the edge only when that holds, as in `add_edge`. WorkflowError for an unknown key.

        Without a `fan_in` plain branches join where the edges lead all of them, or at the end, and what they changed is
        merged into the state: a key that two of them changed needs a reducer.
        """
        if isinstance(targets, str):
            known = next((each for each in self.graph.edges if _grows(each, source, fan_in)), None)
            targets = (targets,) if known is None else (*known.targets, targets)
            self.graph = replace(self.graph, edges=tuple(each for each in self.graph.edges if each is not known))
        policy, reaction = reaction_value(f"the parallel edge from {source!r}", retry, on_error)
        edge = Edge(
            source,
            tuple(targets),
            True,
            strategy,
            stream_mode,
            fan_in,
            max_workers=max_workers,
            timeout_seconds=timeout_seconds,
            fail_fast=fail_fast,
            retry=policy,
            on_error=reaction,
            condition=condition_of(when),
        )
        return self._add(edge)

    def set_entry_point(self, node: str) -> StateGraph:
        """The run begins at this node."""
        return self._add(Edge(START, (node,)))

    def set_conditional_entry_point(self, function: Callable[..., Any], targets: Mapping[Any, str]) -> StateGraph:
        """The run begins at the node to which `targets` maps what `function(state)` returns."""
        return self.add_conditional_edges(START, function, targets)

    def set_finish_point(self, node: str) -> StateGraph:
        """The run may end after this node."""
        return self._add(Edge(node, (END,)))

    def problems(self) -> tuple[Problem, ...]:
        """Everything that `compile` would complain about; nothing of the workflow is executed."""
        graphs = [self.graph, *all_within(self.graph)]
        found = [problem for graph in graphs for problem in (*nothing_to_run(graph), *unknown_names(graph))]
        return (*rules.check(self.graph), *problems_of(self.graph), *found)

    def draw(self, format: str = "text") -> str:  # noqa: A002  what it is called everywhere else
        """`CompiledGraph.draw` without compiling: nothing is imported. WorkflowError lists every problem at once."""
        problems = self.problems()
        if problems:
            raise WorkflowError(problems)
        return drawing.draw(with_joins(self.graph), format)

    def compile(
        self,
        *,
        checkpointer: Optional[Checkpointer] = None,
        interrupt_before: Sequence[str] = (),
        interrupt_after: Sequence[str] = (),
        feed: Sequence[str] = (),
        read: Sequence[str] = (),
        parallel_config: Optional[ParallelConfig] = None,
        actions: Optional[Actions] = None,
        secrets: Optional[Union[SecretSources, Given]] = None,
    ) -> CompiledGraph:
        """Check everything and return the workflow ready to run; `WorkflowError` lists every problem at once.

        `parallel_config` goes before what the graph was made with. `actions` are functions that nodes may use by name,
        beside those of `imports:` in the document, which are imported here. `secrets` replaces the sources of secrets
        that the graph has.
        `feed` names channels that no node writes, because the caller does (`run(feed={...})`); `read` names channels
        that no node has to read, because the caller does (`start().open(...)`).
        """
        graph = _with_interrupts(self.graph, interrupt_before, interrupt_after)
        graph = replace(graph, fed=frozenset(feed), opened=frozenset(read))
        if parallel_config is not None:
            graph = replace(graph, parallel=parallel_config, strategy_given=True)
        if secrets is not None:
            graph = replace(graph, services=replace(graph.services, secrets=_sources(secrets)))
        checked = StateGraph.from_graph(graph)
        problems = checked.problems()
        if problems:
            raise WorkflowError(problems)
        compiled = CompiledGraph(graph, checkpointer, actions)
        problems = tuple(out_of_reach(graph, compiled.flow))
        if problems:
            raise WorkflowError(problems)
        return compiled

    def _add(self, edge: Edge) -> StateGraph:
        self.graph = replace(self.graph, edges=(*self.graph.edges, edge))
        return self


def _sources(secrets: Optional[Union[SecretSources, Given]]) -> Optional[SecretSources]:
    """A mapping of names to texts, or a function that returns one, is a source as well."""
    return secrets if secrets is None or isinstance(secrets, SecretSources) else SecretSources(given=secrets)


def _grows(edge: Edge, source: str, fan_in: Optional[str]) -> bool:
    """Is this the fan-out to which a branch from `source` to `fan_in` belongs?"""
    return edge.parallel and edge.source == source and edge.fan_in == fan_in


def _with_interrupts(graph: Graph, before: Sequence[str], after: Sequence[str]) -> Graph:
    unknown = [name for name in (*before, *after) if name not in {node.name for node in graph.nodes}]
    if unknown:
        raise WorkflowError([Problem(f"an interrupt names the unknown node {name!r}") for name in unknown])
    nodes = tuple(
        replace(
            node,
            interrupt_before=node.interrupt_before or node.name in before,
            interrupt_after=node.interrupt_after or node.name in after,
        )
        for node in graph.nodes
    )
    return replace(graph, nodes=nodes)
