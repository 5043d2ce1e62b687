"""What a judge has heard: which facts are new, which readers of a channel are still open, what no status shows.

Laws: a fact is looked at once, and at the cost of that fact alone; what is counted here can be told from the facts at
any time. Nothing is concluded here: `core.outcome` does that.
"""

from __future__ import annotations

from itertools import islice
from typing import Mapping, TypeVar

from teastreams.core.endings import HELD_OPEN, SINK_REASONS, Ending, How, SinkEnd, describe
from teastreams.core.plan import OUTSIDE, Channel, SectionPlan, feed_name
from teastreams.values import dataclass

Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass
class Heard:
    """How many of the facts of each kind have been looked at, or which."""

    endings: int = 0
    sinks: int = 0
    feed_failures: int = 0
    closed: frozenset[tuple[str, int]] = frozenset()
    feeding: frozenset[str] = frozenset()


@dataclass
class Audience:
    """The readers of one channel: the `open` ones, whose ends nobody knows yet, and whether one of them `failed`.

    `outside`: the caller reads it, too.
    """

    open: set[str]
    outside: bool
    failed: bool = False


def audience_of(channel: Channel) -> Audience:
    """Before anybody has ended. What the caller does with a pipe of its own nobody is told: nobody waits for it."""
    readers = [each.node for each in channel.consumers]
    return Audience({name for name in readers if name != OUTSIDE or channel.fanout}, OUTSIDE in readers)


def since(book: dict[Key, Value], count: int) -> list[Key]:
    """The keys that were entered after the first `count`, in their order; those before cost nothing."""
    return list(islice(reversed(book), len(book) - count))[::-1]


def faults_among(
    plan: SectionPlan,
    endings: Mapping[str, Ending],
    sinks: Mapping[tuple[str, str], SinkEnd],
    feed_failures: Mapping[str, str],
) -> dict[str, str]:
    """What no status shows: fan-out workers that died or broke a promise, producers whose stream was held open."""
    faults = {feed_name(channel): reason for channel, reason in feed_failures.items()}
    for (name, node), end in sinks.items():
        channel = plan.channels[name]
        if end is SinkEnd.HELD:
            faults.setdefault(channel.producer, HELD_OPEN)
        elif end in SINK_REASONS:
            reader = repr(node) if node else "the caller"
            faults.setdefault(channel.fanout or name, f"towards {reader}: {SINK_REASONS[end]}")
    for name, ending in endings.items():
        if ending.held and name in plan.inputs:
            faults.setdefault(plan.producer_of(name), HELD_OPEN)
    dead = [n for n, e in endings.items() if n in plan.fanouts and e.how not in (How.RETURNED, How.STOPPED)]
    for channel in plan.channels.values() if dead else ():
        if channel.fanout in dead:
            faults.setdefault(channel.fanout, describe(endings[channel.fanout]))
    return faults
