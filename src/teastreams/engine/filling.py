"""Fill the templates of one node, when its section is about to start, from the state as it is then.

What is filled in is never read again: a value cannot become an argument more, another path or a template.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Mapping, Optional

from teastreams.core.graph import Command, NodeStreamsConfig
from teastreams.core.language.templates import filled
from teastreams.runtime.node.program import Program

Values = Mapping[str, Mapping[str, Any]]


def filled_program(command: Command, values: Values) -> Program:
    """The program to execute. TemplateError for a hole that has no value."""
    return Program(
        argv=tuple(filled(text, values) for text in command.argv),
        env={name: None if text is None else filled(text, values) for name, text in command.env.items()},
        cwd=None if command.cwd is None else filled(command.cwd, values),
        ok_exit_codes=command.ok_exit_codes,
    )


def filled_streams(streams: Optional[NodeStreamsConfig], values: Values) -> Optional[NodeStreamsConfig]:
    """The streams with the paths of their files. TemplateError for a hole that has no value."""
    if streams is None or not streams.bindings:
        return streams
    bindings = {
        stream: binding if binding.file is None else replace(binding, file=filled(binding.file, values))
        for stream, binding in streams.bindings.items()
    }
    return replace(streams, bindings=bindings)
