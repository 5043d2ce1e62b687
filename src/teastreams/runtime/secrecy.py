"""What this process must keep to itself while runs with secrets are under way.

Laws: what is guarded is masked in every text that is made of an error and in every line that a node wrote, before
either leaves the process in which it arose; a worker takes the environment variables of secrets out of its own
environment, so that nothing it starts inherits them, and leaves no core file. Process-wide on purpose, like the ledger
of descriptors: no way that an error can take may go round it, and a fork inherits it. Streams are never touched: their
bytes are the user's.
"""

from __future__ import annotations

import os
import traceback
from contextlib import contextmanager
from typing import Iterator, Optional

from teastreams.core.security.redaction import Redaction
from teastreams.runtime import calls
from teastreams.values import dataclass


@dataclass(frozen=True, eq=False)
class Guarded:
    """What one run guards: texts, and the names of the environment variables that hold them."""

    redaction: Redaction
    variables: frozenset[str] = frozenset()


_guarded: set[Guarded] = set()


@contextmanager
def guarding(redaction: Redaction, variables: frozenset[str] = frozenset()) -> Iterator[None]:
    """Guard these for the time of the block; runs in other threads of the host may guard others."""
    guarded = Guarded(redaction, variables)
    _guarded.add(guarded)
    try:
        yield
    finally:
        _guarded.discard(guarded)


def masked(text: str) -> str:
    """The text without what is guarded."""
    for each in tuple(_guarded):
        text = each.redaction.text(text)
    return text


def masked_bytes(data: bytes) -> bytes:
    """The bytes without what is guarded."""
    for each in tuple(_guarded):
        data = each.redaction.data(data)
    return data


def longest_bytes() -> int:
    """Of the last bytes of a text this many may be the beginning of something guarded; 0 when nothing is."""
    return max((each.redaction.longest_bytes for each in tuple(_guarded)), default=0)


def safe_cause(error: Optional[BaseException]) -> Optional[BaseException]:
    """The exception itself, for a debugger in this process; None when it would tell what its text does not."""
    if not _guarded or error is None:
        return error
    try:
        told = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    except Exception:  # its own __str__ raised
        return None
    return error if masked(told) == told else None


def forget_environment() -> None:
    """In a worker: what it starts from now on inherits no secret, and a crash writes none to the disk."""
    for each in _guarded:
        for name in each.variables:
            os.environ.pop(name, None)
    if _guarded:
        calls.table.set_core_limit()
