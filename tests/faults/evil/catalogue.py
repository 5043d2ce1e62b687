"""The catalogue of evil nodes: each has a name, a deed, and the end that a run with it must come to.

A deed is an ordinary node's code. As a *producer* it is done after the whole of `STREAM` was written, before the node
returns; as a *consumer* after the first line was read. `ends` says how the run must end: `WELL`, or
`failed(phase, text, ...)`: then the node is named as the cause, in that phase, and its message holds those texts. A
role that makes no sense for a deed, or that ends another way, is given by its own keyword.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Optional, Union

import inside

Deed = Callable[[dict[str, Any]], Any]

STREAM = b"".join(block[:-1] + b"\n" for block in inside.stream("evil", 200_000, 1000))
"""Keyed by position, so that loss, doubling and exchange all show."""


@dataclass(frozen=True)
class Failed:
    """The run must fail with the evil node (or `culprit`) as its cause; `texts` stand in its message."""

    phases: tuple[str, ...]
    texts: tuple[str, ...] = ()
    culprit: str = ""


class Well:
    """The run must succeed, and every reader must have every byte."""


class Skip:
    """The deed makes no sense in this role."""


class Bounded:
    """How it ends depends on the machine or the Python; that it ends, and what it leaves, is checked all the same."""


WELL, SKIP, BOUNDED = Well(), Skip(), Bounded()
End = Union[Failed, Well, Skip, Bounded]


def failed(phase: str = "run", *texts: str, culprit: str = "") -> Failed:
    """An end of a run: see `Failed`. Of several phases, with `|` between them, any will do."""
    return Failed(tuple(phase.split("|")), texts, culprit)


@dataclass(frozen=True)
class Case:
    """One evil node.

    `settings` go to the StreamSettings of the run, `config` to its ParallelConfig. `others` is False where it hurts its
    siblings. `limit_seconds` is how long a run with it may take. `heavy` cases belong to the nightly run; `possible`
    says whether this machine can do it at all. One that `escapes` leaves a process outside of its group on purpose;
    one that `ends_stream` closes sys.stdout by itself, so that its readers have a clean end whatever becomes of it.
    Where one `needs_company`, the ordinary producer beside it stays until it is stopped.
    """

    name: str
    deed: Deed
    ends: dict[str, End]
    settings: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    others: bool = True
    limit_seconds: float = 10.0
    heavy: bool = False
    possible: Callable[[], bool] = lambda: True
    escapes: bool = False
    ends_stream: bool = False
    needs_company: bool = False

    @property
    def roles(self) -> list[str]:
        """The roles in which it is tried."""
        return [role for role, end in self.ends.items() if end is not SKIP]


CASES: dict[str, Case] = {}


def evil(
    ends: End = WELL, *, producer: Optional[End] = None, consumer: Optional[End] = None, **options: Any
) -> Callable[[Deed], Deed]:
    """Enter a deed into the catalogue under its function's name."""

    def enter(deed: Deed) -> Deed:
        name = deed.__name__
        assert name not in CASES, f"two deeds are called {name}"
        CASES[name] = Case(name, deed, {"producer": producer or ends, "consumer": consumer or ends}, **options)
        return deed

    return enter


class Attempt:
    """What a deed may know of the attempt it is part of; set before the fork of the host."""

    name = ""
    role = ""
    folder = Path()
    sent = hashlib.sha256()
    sent_bytes = 0


def is_consumer() -> bool:
    """Is this deed done by the reader?"""
    return Attempt.role == "consumer"


def write(data: bytes) -> None:
    """Write to the stream, as Python code does; the readers must get it in this order."""
    sys.stdout.buffer.write(data)
    Attempt.sent.update(data)
    Attempt.sent_bytes += len(data)


def rest_of_stdin() -> dict[str, int]:
    """Read what the consumer has not read yet, as a well-behaved one does."""
    return {"rest": len(sys.stdin.buffer.read())}


def note(**values: Any) -> None:
    """Tell the driver something, from whatever process."""
    with open(Attempt.folder / "notes", "a") as file:
        file.write(json.dumps(values) + "\n")
