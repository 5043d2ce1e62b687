"""What a workflow declares about the services that its nodes use, frozen.

One value for all of them, carried by the graph; the services themselves are made from it when a run begins. Nothing
is opened or connected here.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, Callable, Mapping, Optional, Union

from teastreams.core.limits import RateLimit
from teastreams.values import dataclass

Given = Union[Mapping[str, str], Callable[[], Mapping[str, str]]]


@dataclass(frozen=True)
class SecretSources:
    """Where the secrets of a workflow come from; all of them are read when a run begins.

    `env` lists environment variables; with `env_prefix` every variable that begins so is one, under the rest of its
    name. `files` are folders with one secret per file, or files of `NAME=VALUE` lines. `provider` names an entry point
    of the group `teastreams.secrets`, called with `provider_settings`. `given` is a mapping of names to texts, or a
    function that returns one. No two of them may have the same name.
    """

    env: tuple[str, ...] = ()
    env_prefix: str = ""
    files: tuple[str, ...] = ()
    provider: str = ""
    provider_settings: Mapping[str, Any] = field(default_factory=dict, repr=False)
    given: Optional[Given] = field(default=None, repr=False)


@dataclass(frozen=True)
class ServiceSettings:
    """The rate limiters by name, the file of the long-term memory, and where secrets come from."""

    limits: Mapping[str, RateLimit] = field(default_factory=dict)
    memory_path: Optional[str] = None
    secrets: Optional[SecretSources] = None
