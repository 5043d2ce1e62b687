"""A branch of several nodes as the one function that a thread or a worker calls.

While it runs it notes how each of its nodes ended and what went through their channels. Whoever called it takes the
notes from here; a worker sends them to its supervisor beside the update, whether the branch ended well or not. A worker
that was killed has told nothing: then the figures of the branch as a whole are all there is.
"""

from __future__ import annotations

import pickle
from typing import Any, Callable

from teastreams.core.frames import Payload
from teastreams.runtime.supervision.figures import BranchFigures

LIMIT_BYTES = 16 * 1024 * 1024
"""Figures are small but for the texts of errors; beyond this they are left out rather than refused."""


class BranchBody:
    """`body(state, figures)` as a function of the state; `figures` are those of its last call."""

    def __init__(self, body: Callable[[dict[str, Any], BranchFigures], Any]) -> None:
        self._body = body
        self.figures = BranchFigures()

    def __call__(self, state: dict[str, Any]) -> Any:
        self.figures = BranchFigures()
        return self._body(state, self.figures)


def dump_figures(body: object) -> bytes:
    """What a worker tells of the branch that it ran; nothing when it ran something else."""
    if not isinstance(body, BranchBody):
        return b""
    data = pickle.dumps(body.figures, protocol=5)
    return data if len(data) <= LIMIT_BYTES else b""


def load_figures(data: Payload) -> BranchFigures:
    """The inverse; no figures for bytes that are none."""
    try:
        figures = pickle.loads(data)
    except Exception:
        return BranchFigures()
    return figures if isinstance(figures, BranchFigures) else BranchFigures()
