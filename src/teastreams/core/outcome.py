"""What the ends of workers mean for those below and above, and who is to blame.

Laws: end of file is a verdict (L2): a consumer's input counts as whole only when everything upstream of it ended well.
Leaving early is not an error (L7): a producer stopped by EPIPE ended well if every reader of that channel did and
nobody still read another one. The cause goes before its consequences (L6).

`Judge` is fed facts in the order in which the supervisor saw them and settles whatever follows. What a worker says
(streams it closed, sinks) comes before its end; otherwise the order matters to blame only, never to statuses. Verdicts
flow down, word of readers that left flows up, never both through one pipe: settling ends.
"""

from __future__ import annotations

from dataclasses import field
from enum import Enum
from typing import Optional

from teastreams.core.endings import HELD_OPEN, SIGPIPE, SINK_REASONS, Ending, How, SinkEnd, describe
from teastreams.core.plan import OUTSIDE, Channel, SectionPlan, feed_name
from teastreams.values import dataclass


class Status(Enum):
    """What a node's end means."""

    DONE = "done"
    STOPPED = "stopped early, well"
    FAILED = "failed"
    CONSEQUENCE = "ended because another failed"
    TAINTED = "ended on an input that was cut"
    CANCELLED = "stopped by the supervisor"


WELL = frozenset({Status.DONE, Status.STOPPED})


@dataclass(frozen=True)
class Verdict:
    """What a consumer is told at the end of its input; `culprit` names who failed, `reason` how."""

    well: bool
    culprit: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Blame:
    """Who failed first, and who ended because of it; names of nodes or fan-out workers."""

    primary: str
    collateral: tuple[str, ...] = ()


ALL_WELL = Verdict(True)
NO_VOUCHER = "nobody can vouch for its input"


@dataclass
class Judge:
    """Settles statuses and verdicts of one section from facts. Pure; once settled, a status never changes.

    The facts: how workers ended, how fan-out workers finished with consumers, which standard streams were `closed` by
    the node itself, and which nodes are `leaving` (have reported, with input unread, and not exited yet). Of channels
    that the caller writes: which are `feeding` still, and why a feed failed. A lent end, which we do not write, counts
    as well.
    """

    plan: SectionPlan
    endings: dict[str, Ending] = field(default_factory=dict)
    sinks: dict[tuple[str, str], SinkEnd] = field(default_factory=dict)
    closed: set[tuple[str, int]] = field(default_factory=set)
    leaving: set[str] = field(default_factory=set)
    feeding: set[str] = field(default_factory=set)
    feed_failures: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, Status] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)
    _noticed: dict[tuple[str, str], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._open = list(self.plan.nodes)

    def settle(self) -> tuple[str, ...]:
        """Draw every conclusion from the facts so far; returns the nodes whose verdict is new."""
        for sink in self.sinks:
            self._noticed.setdefault(sink, len(self.endings))
        for channel in self.feed_failures:
            self._noticed.setdefault((OUTSIDE, channel), len(self.endings))
        known = set(self.verdicts)
        changed = True
        while changed:
            changed = any([self._settle_one(name) for name in self._open])  # noqa: C419 - all of them, in each round
            self._open = [name for name in self._open if not self._settled(name)]
        return tuple(name for name in self.verdicts if name not in known)

    def conclude(self) -> None:
        """Everybody has ended. What still cannot be settled is not trusted: nobody vouches for its input."""
        self.settle()
        for name in self._open:
            self.statuses.setdefault(name, Status.TAINTED if name in self.endings else Status.CANCELLED)
            self.verdicts.setdefault(name, Verdict(False, name, NO_VOUCHER))

    def verdict_outside(self, channel: str) -> Optional[Verdict]:
        """What the caller, as a reader of the channel, is told at its end; None while nobody knows."""
        return self._verdict_on(self.plan.channels[channel], OUTSIDE)

    def doomed(self) -> frozenset[str]:
        """Nodes still running that should end: told of a failure, or writing to nobody because a reader failed."""
        return frozenset(name for name in self._open if name not in self.endings and self._is_doomed(name))

    @property
    def failed(self) -> bool:
        """Did anything end badly so far?"""
        return any(status not in WELL for status in self.statuses.values()) or bool(self._faults())

    def blame(self) -> Optional[Blame]:
        """The cause and its consequences, or None when all is well."""
        bad = [name for name in self.plan.nodes if self.statuses.get(name, Status.DONE) not in WELL]
        suspects = dict.fromkeys([*bad, *self._faults()])
        if not suspects:
            return None
        ranked = sorted(suspects, key=self._rank)
        return Blame(ranked[0], tuple(ranked[1:]))

    def reason(self, name: str) -> str:
        """In one phrase, how a node or a fan-out worker ended."""
        ending, status = self.endings.get(name), self.statuses.get(name, Status.DONE)
        if status is Status.TAINTED:
            culprit = self.verdicts[name].culprit
            noticed = f"its input was cut because {culprit!r} failed, and it did not notice"
            return NO_VOUCHER if culprit in ("", name) else noticed
        fault = self._faults().get(name)
        if fault and status in WELL:
            return fault
        if ending is not None and ending.how is How.EPIPE and status is Status.FAILED:
            return self._story_of_a_cut(name, ending)
        return describe(ending) if ending is not None else "did not end"

    # -- settling -------------------------------------------------------------------------------------------

    def _settled(self, name: str) -> bool:
        return name in self.statuses and name in self.verdicts

    def _settle_one(self, name: str) -> bool:
        changed = False
        if name not in self.verdicts:
            verdict = self._verdict(name)
            if verdict is not None:
                self.verdicts[name], changed = verdict, True
        if name not in self.statuses and name in self.endings:
            status = self._status(name, self.endings[name])
            if status is not None:
                self.statuses[name], changed = status, True
        return changed

    def _verdict(self, name: str) -> Optional[Verdict]:
        channel = self._input(name)
        return ALL_WELL if channel is None else self._verdict_on(channel, name)

    def _verdict_on(self, channel: Channel, name: str) -> Optional[Verdict]:
        """For one reader: a member, or the caller."""
        above = self._fed(channel.name) if channel.producer == OUTSIDE else self._above(channel)
        if channel.fanout and (above is None or above.well):
            return self._delivery(channel, name, above)
        return above

    def _fed(self, channel: str) -> Optional[Verdict]:
        if channel in self.feed_failures:
            return Verdict(False, feed_name(channel), self.feed_failures[channel])
        return None if channel in self.feeding else ALL_WELL

    def _above(self, channel: Channel) -> Optional[Verdict]:
        """The verdict on what the producer wrote: it and all above it must have ended, and well.

        A producer that closed the stream itself has vouched for it, as far as its own input was whole.
        """
        producer = channel.producer
        status, verdict = self.statuses.get(producer), self.verdicts.get(producer)
        if (producer, channel.fd) in self.closed or status in WELL:
            return verdict
        if status is None:
            return None
        if verdict is not None and not verdict.well and status is not Status.FAILED:
            return verdict
        return Verdict(False, *self._culprit(producer))

    def _delivery(self, channel: Channel, name: str, above: Optional[Verdict]) -> Optional[Verdict]:
        """As far as anybody knows, what is above is well; did the fan-out worker hand everything to this consumer?"""
        fanout = channel.fanout or ""
        end = self.sinks.get((channel.name, name))
        if end in (SinkEnd.DELIVERED, SinkEnd.LEFT):
            return above
        if end is not None:
            return Verdict(False, channel.producer if end is SinkEnd.HELD else fanout, SINK_REASONS[end])
        if fanout in self.endings:
            return Verdict(False, fanout, describe(self.endings[fanout]))
        return None

    def _status(self, name: str, ending: Ending) -> Optional[Status]:
        if ending.how is How.STOPPED:
            return Status.CANCELLED
        if ending.how is How.UPSTREAM and self._was_told_of_a_failure(name, ending):
            return Status.CONSEQUENCE
        own = self._own_status(name, ending)
        return self._given_its_input(name, ending, own) if own in WELL else own

    def _own_status(self, name: str, ending: Ending) -> Optional[Status]:
        """As if its input had been whole."""
        if ending.how is How.EPIPE:
            return self._status_of_epipe(name, ending)
        return Status.DONE if ending.how is How.RETURNED and not ending.left_running else Status.FAILED

    def _given_its_input(self, name: str, ending: Ending, own: Optional[Status]) -> Optional[Status]:
        if self._was_told_of_a_failure(name, ending):
            return Status.CONSEQUENCE
        left = ending.left_early or self._is_seen_to_leave(name)
        verdict = self.verdicts.get(name)
        if left or (verdict is not None and verdict.well):
            return own
        return None if verdict is None or left is None else Status.TAINTED

    def _was_told_of_a_failure(self, name: str, ending: Ending) -> bool:
        """One of its reads raised `UpstreamFailed`. Otherwise that exception is of the node's own making."""
        return ending.held or (ending.told and not self.verdicts.get(name, ALL_WELL).well)

    def _is_seen_to_leave(self, name: str) -> Optional[bool]:
        """Proof from the other side: its pipe had no reader while the writer was still there, so it saw no end of file.

        None while the other side has not said.
        """
        channel = self._input(name)
        if channel is not None and channel.fanout:
            end = self.sinks.get((channel.name, name))
            return None if end is None and channel.fanout not in self.endings else end is SinkEnd.LEFT
        if channel is None or channel.producer == OUTSIDE or (channel.producer, channel.fd) in self.closed:
            return False
        writer = self.endings.get(channel.producer)
        return None if writer is None else channel.fd in writer.broken

    def _status_of_epipe(self, name: str, ending: Ending) -> Optional[Status]:
        """A well end if every reader of the broken channels ended well, else a consequence.

        A failure when somebody still read another channel: that reader would take a cut stream for a whole one.
        """
        if self._cut(name, ending):
            return Status.FAILED
        broken = self._broken(name, ending)
        readers = [self._reader_ended_well(channel, each.node) for channel in broken for each in channel.consumers]
        if False in readers:
            return Status.CONSEQUENCE
        return None if None in readers else Status.STOPPED

    def _broken(self, name: str, ending: Ending) -> list[Channel]:
        """The channels whose readers have gone; all of them when SIGPIPE killed it and there is no proof of any."""
        mine = self._outputs(name)
        proven = [channel for channel in mine if channel.fd in ending.broken]
        return mine if ending.exit_code == -SIGPIPE and not proven else proven

    def _cut(self, name: str, ending: Ending) -> list[Channel]:
        """The channels that still had a reader when EPIPE stopped their producer.

        A node that reports EPIPE has proof of who had gone. One that SIGPIPE killed may have none: when a reader still
        reads, the signal came from elsewhere, and waiting for that reader would be waiting for ever.
        """
        unproven = [channel for channel in self._outputs(name) if channel.fd not in ending.broken]
        if ending.exit_code != -SIGPIPE:
            return unproven
        return [c for c in unproven if any(self._still_reads(c, each.node) for each in c.consumers)]

    def _still_reads(self, channel: Channel, node: str) -> bool:
        if node == OUTSIDE:  # a file, and a stream that nobody was seen to leave, would be taken for whole
            return channel.name in self.plan.bound
        gone = node in self.endings or node in self.leaving or (node, 0) in self.closed
        return not (gone or (channel.name, node) in self.sinks)

    def _reader_ended_well(self, channel: Channel, node: str) -> Optional[bool]:
        if channel.fanout:
            end = self.sinks.get((channel.name, node))
            if end is None:
                return False if channel.fanout in self.endings else None
            if end not in (SinkEnd.LEFT, SinkEnd.DELIVERED):
                return False
        if node == OUTSIDE:
            return True
        status = self.statuses.get(node)
        return None if status is None else status in WELL

    def _is_doomed(self, name: str) -> bool:
        # Who has closed its stdin reads nothing that was cut: it goes on to its end.
        if not self.verdicts.get(name, ALL_WELL).well and (name, 0) not in self.closed:
            return True
        ends = [
            None if each.node == OUTSIDE else self._reader_ended_well(channel, each.node)
            for channel in self._outputs(name)
            for each in channel.consumers
        ]
        return False in ends and None not in ends

    def _input(self, name: str) -> Optional[Channel]:
        return self.plan.channels.get(self.plan.inputs.get(name, ""))

    def _outputs(self, name: str) -> list[Channel]:
        """The channels it writes, without those that it has closed itself."""
        mine = [self.plan.channels[channel] for channel in self.plan.outputs.get(name, ())]
        return [channel for channel in mine if (name, channel.fd) not in self.closed]

    # -- blame ----------------------------------------------------------------------------------------------

    def _faults(self) -> dict[str, str]:
        """What no status shows: fan-out workers that died or broke a promise, producers whose stream was held open."""
        faults = {feed_name(channel): reason for channel, reason in self.feed_failures.items()}
        for (name, node), end in self.sinks.items():
            channel = self.plan.channels[name]
            if end is SinkEnd.HELD:
                faults.setdefault(channel.producer, HELD_OPEN)
            elif end in SINK_REASONS:
                reader = repr(node) if node else "the caller"
                faults.setdefault(channel.fanout or name, f"towards {reader}: {SINK_REASONS[end]}")
        for name, ending in self.endings.items():
            if ending.held and name in self.plan.inputs:
                faults.setdefault(self.plan.producer_of(name), HELD_OPEN)
        for channel in self.plan.channels.values():
            ended = self.endings.get(channel.fanout or "")
            if channel.fanout and ended is not None and ended.how not in (How.RETURNED, How.STOPPED):
                faults.setdefault(channel.fanout, describe(ended))
        return faults

    def _culprit(self, name: str) -> tuple[str, str]:
        if self.statuses[name] is Status.CONSEQUENCE:
            blame = self.blame()
            if blame is not None and blame.primary != name:
                return blame.primary, self.reason(blame.primary)
        return name, self.reason(name)

    def _story_of_a_cut(self, name: str, ending: Ending) -> str:
        cut = self._cut(name, ending)
        gone = ", ".join(repr(channel.name) for channel in self._broken(name, ending) if channel not in cut)
        if not gone or not cut:
            return describe(ending)
        return (
            f"it stopped because nobody read {gone} any more, and cut {', '.join(repr(each.name) for each in cut)}, "
            "which was still read; catch BrokenPipeError to go on without the reader that left"
        )

    def _rank(self, name: str) -> tuple[int, int, bool]:
        """Causes before consequences, then the earliest as the supervisor saw it."""
        status, ending = self.statuses.get(name), self.endings.get(name)
        if status is None or status in WELL or ending is None:
            return (_SEVERITY.get(status, 0), *self._fault_noticed(name))
        # What failed by itself after its input was cut may have failed because of that.
        left = ending.left_early or self._is_seen_to_leave(name)
        healthy = left or self.verdicts.get(name, ALL_WELL).well
        return (_SEVERITY[status] if healthy or status is not Status.FAILED else 1, ending.order, True)

    def _fault_noticed(self, name: str) -> tuple[int, bool]:
        """When a fault was seen, as a place among the endings: a sink's end stands before the next of them."""
        sinks = [
            self._noticed.get((channel, node), len(self.endings))
            for (channel, node), end in self.sinks.items()
            if end in SINK_REASONS and self.plan.channels[channel].fanout == name
        ]
        late = len(self.endings)
        fed = [self._noticed.get((OUTSIDE, c), late) for c in self.feed_failures if feed_name(c) == name]
        if fed:
            return fed[0], False
        ending = self.endings.get(name)
        own = (ending.order if ending is not None else len(self.endings), True)
        return min([(noticed, False) for noticed in sinks], default=own)


_SEVERITY: dict[Optional[Status], int] = {
    Status.FAILED: 0,
    Status.TAINTED: 2,
    Status.CONSEQUENCE: 3,
    Status.CANCELLED: 4,
}
