"""Rules about strategies inside each other: nothing may fork while threads of ours run.

A fork copies one thread and the locks of all, so the branches of a fan-out in threads neither fan out to processes nor
hold what needs a process. Branches in processes may do both: theirs are processes of one thread. Sections in threads
are refused in `branches`. Assumes what `flow` assumes.
"""

from __future__ import annotations

from typing import Iterator

from teastreams.core.control.flow import Fork, forks_in, unfolded
from teastreams.core.control.units import Control
from teastreams.core.rules.wording import Found, found, quoted


def processes_in_threads(control: Control) -> Iterator[Found]:
    told: set[int] = set()
    for fork in forks_in(unfolded(control)):  # outer before inner: the outermost edge is the one to change
        if not isinstance(fork, Fork) or fork.strategy != "thread":
            continue
        for inner in (step for branch in fork.branches for step in forks_in(branch.steps)):
            if isinstance(inner, Fork) and inner.strategy == "process" and id(inner) not in told:
                told.add(id(inner))
                yield _forked_in_a_thread(fork, inner)


def _forked_in_a_thread(outer: Fork, inner: Fork) -> Found:
    source = quoted(outer.edge.source)
    message = (
        f"the branches of the parallel edge from {quoted(inner.edge.source)} run in processes, but that edge stands in "
        f"a branch of the parallel edge from {source}, whose branches run in threads"
    )
    fix = f"write `parallel_strategy: process` on the edge from {source}, or `parallel_strategy: thread` on this one"
    return found(inner.edge, message, fix, "parallel_strategy")
