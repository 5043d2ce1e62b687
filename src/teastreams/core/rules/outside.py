"""Rules about what lies outside the workflow: external programs, and streams bound to files or to the caller's own.

Templates are read here, so that a hole that is never closed is found before anything runs; whether the state will have
the value is known only then. No file is looked at: a check touches nothing of the machine.
"""

from __future__ import annotations

from typing import Iterator, Optional

from teastreams.core.control.flow import forks_in, nodes_in, unfolded
from teastreams.core.control.units import Control
from teastreams.core.graph import STREAMS, Binding, Command, Delivery, Graph, Node
from teastreams.core.language.templates import TemplateError, parsed
from teastreams.core.rules.wording import Found, found, listed, quoted

LAST_EXIT_CODE = 255


def two_kinds_of_work(graph: Graph) -> Iterator[Found]:
    for node in graph.nodes:
        if node.run is not None and node.command is not None:
            message = f"node {quoted(node.name)} has both `run` and `command`"
            yield found(node, message, "keep one of them, or make two nodes of it", "command", "run")


def bad_commands(graph: Graph) -> Iterator[Found]:
    for node in graph.nodes:
        if node.command is not None:
            for message, fix, key in _mistakes(node.command):
                yield found(node, f"`{key}` of node {quoted(node.name)} {message}", fix, key)


def bad_templates(graph: Graph) -> Iterator[Found]:
    for node in graph.nodes:
        for key, text in _templates(node):
            problem = _misread(text)
            if problem is not None:
                message = f"`{key}` of node {quoted(node.name)}: {problem}"
                yield found(node, message, problem.fix, key)


def bad_bindings(graph: Graph) -> Iterator[Found]:
    for node in graph.nodes:
        for stream, binding in (node.streams.bindings if node.streams else {}).items():
            problem = _misbound(node, stream, binding)
            if problem is not None:
                yield found(node, f"node {quoted(node.name)}: {problem[0]}", problem[1], f"streams.{stream}")


def shared_streams(graph: Graph) -> Iterator[Found]:
    """Two nodes on one stream of the caller would take each other's bytes, or mix them."""
    for stream in STREAMS:
        bound = [node for node in graph.nodes if _is_outer(node, stream)]
        for node in bound[1:]:
            names = listed((bound[0].name, node.name))
            message = f"{names} are both bound to the workflow's own {stream}"
            word = "read" if stream == "stdin" else "write"
            fix = f"let one node {word} it, and join the other to that one by a channel"
            yield found(node, message, fix, f"streams.{stream}")


def bound_in_branches(control: Control) -> Iterator[Found]:
    """In the worker of a branch, the standard streams are that worker's."""
    told: set[str] = set()
    for fork in forks_in(unfolded(control)):
        for name in (name for branch in fork.branches for name in nodes_in(branch.steps) if name not in told):
            told.add(name)
            node = control.graph.node(name)
            for stream in (stream for stream in STREAMS if _is_outer(node, stream)):
                message = f"node {quoted(name)} stands inside a branch and is bound to the workflow's own {stream}"
                fix = "bind it to a file, or move the node out of the branch"
                yield found(node, message, fix, f"streams.{stream}")


def _is_outer(node: Node, stream: str) -> bool:
    binding = node.streams.bindings.get(stream) if node.streams else None
    return binding is not None and binding.file is None


def _mistakes(command: Command) -> Iterator[tuple[str, str, str]]:
    """What is wrong with a command, as (message, what to write, key)."""
    if not command.argv or not command.argv[0]:
        yield "names no program", "write the program and its arguments: `command: [gzip, -c]`", "command"
    if any("\0" in text for text in command.argv):
        yield "has a zero byte in an argument, which no program can be given", "delete it", "command"
    for name, value in command.env.items():
        if not name or "=" in name or "\0" in name + (value or ""):
            yield f"has the name {quoted(name)}, which no environment can hold", "use letters, digits and _", "env"
    wrong = sorted(code for code in command.ok_exit_codes if not 0 <= code <= LAST_EXIT_CODE)
    if wrong or not command.ok_exit_codes:
        yield "must list exit codes from 0 to 255", "write `ok_exit_codes: [0, 1]`", "ok_exit_codes"


def _misbound(node: Node, stream: str, binding: Binding) -> Optional[tuple[str, str]]:
    streams = node.streams
    if streams is None or stream not in STREAMS:
        return f"there is no stream {quoted(stream)}", "bind stdin, stdout or stderr"
    if getattr(streams, stream) is not None:
        return f"its {stream} is both a channel and bound outside", "keep one of them"
    if binding.file == "":
        return f"its {stream} is bound to a file without a name", "write its path"
    if stream == "stdin" and streams.delivery != Delivery():
        return "its stdin is bound outside, where nobody can buffer", "leave overflow, buffer_limit and spill_limit out"
    if (binding.append or binding.keep_partial) and (stream == "stdin" or binding.file is None):
        return f"`append` and `partial` of its {stream} are for files that are written", "leave them out"
    return None


def _templates(node: Node) -> Iterator[tuple[str, str]]:
    """Every template of a node, with the key it stands under."""
    if node.command is not None:
        yield from (("command", text) for text in node.command.argv)
        yield from (("env", text) for text in node.command.env.values() if text is not None)
        yield from (("cwd", text) for text in (node.command.cwd,) if text is not None)
    for stream, binding in (node.streams.bindings if node.streams else {}).items():
        yield from ((f"streams.{stream}", text) for text in (binding.file,) if text is not None)


def _misread(text: str) -> Optional[TemplateError]:
    try:
        parsed(text)
    except TemplateError as error:
        return error
    return None
