"""`teastreams doctor`: findings about this machine as aligned lines, or as one JSON object.

Each line says how good it is, what it is about and what was found; where something can be done, the line below
says what. Nothing is asked of the machine here.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Sequence

from teastreams.core.machine.facts import Machine
from teastreams.core.machine.findings import Finding, streams_can_run

LEVEL_COLUMNS, SUBJECT_COLUMNS = 9, 13


def as_lines(found: Sequence[Finding]) -> str:
    """The findings for people, and a last line with the verdict."""
    lines = [line for each in found for line in _lines(each)]
    verdict = "streams can run here" if streams_can_run(found) else "streams cannot run here: see the problems above"
    return "\n".join([*lines, "", verdict])


def _lines(found: Finding) -> list[str]:
    head = f"{found.level.value:<{LEVEL_COLUMNS}}{found.subject:<{SUBJECT_COLUMNS}}"
    advice = [" " * (LEVEL_COLUMNS + SUBJECT_COLUMNS) + found.advice] if found.advice else []
    return [f"{head}{_printable(found.text)}", *map(_printable, advice)]


def _printable(text: str) -> str:
    """Values of the environment are shown, and may be anything."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def as_json(found: Sequence[Finding], machine: Machine) -> str:
    """The findings and the facts they come from, for programs."""
    findings = [{**asdict(each), "level": each.level.value} for each in found]
    everything = {"streams_can_run": streams_can_run(found), "findings": findings, "machine": asdict(machine)}
    return json.dumps(everything, indent=2)
