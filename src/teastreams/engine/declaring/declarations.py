"""What `StateGraph.add_node` takes as plain Python values -> the frozen values of `core.graph`.

The same keys as in a document, so that one text explains both. Only what has no place in the values is refused here;
everything else is the business of `core.rules`.
"""

from __future__ import annotations

import os
from typing import Any, Callable, Mapping, Optional, Sequence, Union

from teastreams.core.graph import STREAMS, Binding, Choice, Command, Condition, Delivery, NodeStreamsConfig
from teastreams.core.language.actions import Uses
from teastreams.core.language.expressions import ExpressionError, parsed
from teastreams.core.language.trees import Output, tree_of
from teastreams.errors import Problem, WorkflowError

Streams = Union[NodeStreamsConfig, Mapping[str, Any]]
When = Union[str, Callable[..., Any]]
OUTER = "-"
LONG_FORM = {"stdin": "from", "stdout": "to", "stderr": "to"}


def streams_config(node: str, streams: Optional[Streams]) -> Optional[NodeStreamsConfig]:
    """The `streams=` of a node. WorkflowError for a key that is not known."""
    if streams is None or isinstance(streams, NodeStreamsConfig):
        return streams
    unknown = [key for key in streams if key not in STREAMS]
    if unknown:
        fix = "the streams of a node are stdin, stdout and stderr"
        raise _refused(f"node {node!r} has an unknown stream {unknown[0]!r}", fix)
    channels: dict[str, Any] = {}
    bindings: dict[str, Binding] = {}
    delivery = Delivery()
    for stream, value in streams.items():
        fields = dict(value) if isinstance(value, Mapping) else {LONG_FORM[stream]: value}
        end = fields.pop(LONG_FORM[stream], None)
        if stream == "stdin":
            delivery = _delivery(node, fields)
        elif fields:
            raise _refused(f"the {stream} of node {node!r} has the unknown key {next(iter(fields))!r}", "write `to`")
        if end == OUTER or isinstance(end, Mapping):
            bindings[stream] = Binding() if end == OUTER else _file(node, stream, end)
        else:
            channels[stream] = end
    return NodeStreamsConfig(channels.get("stdin"), channels.get("stdout"), channels.get("stderr"), delivery, bindings)


def condition_of(when: Optional[When]) -> Optional[Condition]:
    """The `when=` of an edge. WorkflowError for text that is no expression."""
    if when is None:
        return None
    if callable(when):
        return Choice(when)
    try:
        return parsed(when)
    except ExpressionError as error:
        raise _refused(str(error), error.fix) from None


def uses_value(name: str, arguments: Optional[Mapping[str, Any]]) -> Uses:
    """The `uses=` of a node. WorkflowError for text that is no expression."""
    try:
        return Uses(name, tree_of(dict(arguments or {})))
    except ExpressionError as error:
        raise _refused(str(error), error.fix) from None


def output_value(output: Any) -> Optional[Output]:
    """The `output=` of a node. WorkflowError for text that is no expression."""
    if output is None or isinstance(output, str):
        return output
    try:
        return {key: parsed(each) for key, each in output.items()}
    except ExpressionError as error:
        raise _refused(str(error), error.fix) from None


def mapped(output: Any) -> Optional[Mapping[str, Any]]:
    """The `output=` of a sub-workflow: a mapping, or nothing. WorkflowError for a single key."""
    if isinstance(output, str):
        fix = f'write output={{{output!r}: "state.{output}"}}'
        raise _refused(f"the output of a sub-workflow is a mapping of keys to expressions, not {output!r}", fix)
    return output  # type: ignore[no-any-return]


def command_value(
    command: Optional[Union[Command, Sequence[Any]]],
    env: Optional[Mapping[str, Optional[str]]],
    cwd: Optional[Union[str, os.PathLike[str]]],
    ok_exit_codes: Sequence[int],
) -> Optional[Command]:
    """The `command=` of a node with what belongs to it; None if there is none."""
    if command is None or isinstance(command, Command):
        return command
    argv = [command] if isinstance(command, (str, os.PathLike)) else command
    return Command(
        tuple(str(os.fspath(each)) if hasattr(each, "__fspath__") else str(each) for each in argv),
        dict(env or {}),
        None if cwd is None else str(os.fspath(cwd)),
        frozenset(ok_exit_codes),
    )


def _file(node: str, stream: str, fields: Mapping[str, Any]) -> Binding:
    known = ("file", "append", "partial")
    unknown = [key for key in fields if key not in known]
    if unknown or "file" not in fields:
        wrong = f"has the unknown key {unknown[0]!r}" if unknown else "has no path"
        raise _refused(f"the file of {stream} of node {node!r} {wrong}", 'write {"file": path}')
    partial = fields.get("partial", "discard")
    if partial not in ("discard", "keep"):
        raise _refused(f"`partial` of {stream} of node {node!r} is {partial!r}", "write discard or keep")
    return Binding(str(os.fspath(fields["file"])), bool(fields.get("append", False)), partial == "keep")


def _delivery(node: str, fields: Mapping[str, Any]) -> Delivery:
    try:
        return Delivery(**fields)
    except TypeError:
        known = "from, overflow, buffer_limit and spill_limit"
        raise _refused(f"the stdin of node {node!r} has an unknown key", f"the keys are {known}") from None


def _refused(message: str, fix: str) -> WorkflowError:
    return WorkflowError([Problem(message, fix)])
