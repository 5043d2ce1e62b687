"""What this machine allows, for people: the runtime's tries, completed by what is installed, as findings.

`doctor` on the command line is this with a printer. Costs a fork, a pipe and a file, all gone when it returns.
"""

from __future__ import annotations

import re
from dataclasses import replace
from importlib import metadata
from typing import Iterable, Mapping

from teastreams.core.machine.facts import Machine
from teastreams.runtime.probing import probed

NEEDED = ("PyYAML", "cloudpickle", "typing-extensions")
# Extras for those who work on teastreams itself.
NOT_FOR_USERS = {"dev", "test"}
_EXTRA = re.compile(r"""^([\w.-]+).*;.*\bextra\s*==\s*['"]([\w.-]+)['"]""")


def examined() -> Machine:
    """This machine, with the versions of the libraries that are installed and what optional extras lack."""
    return replace(probed(), libraries={name: _version(name) or "missing" for name in NEEDED}, extras=_extras())


def _extras() -> Mapping[str, tuple[str, ...]]:
    try:
        return lacking(metadata.requires("teastreams") or ())
    except metadata.PackageNotFoundError:  # run from a checkout
        return {}


def lacking(requirements: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
    """For every extra that is meant for users: those of its libraries that are not installed."""
    missing: dict[str, tuple[str, ...]] = {}
    for found in filter(None, map(_EXTRA.match, requirements)):
        library, extra = found.groups()
        if extra not in NOT_FOR_USERS:
            missing[extra] = (*missing.get(extra, ()), *([] if _version(library) else [library]))
    return missing


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
