"""What the ends of workers mean for those below and above, and who is to blame.

Laws: end of file is a verdict (L2): a consumer's input counts as whole only when everything upstream of it ended well.
Leaving early is not an error (L7): a producer stopped by EPIPE ended well if every reader of that channel did and
nobody still read another one. The cause goes before its consequences (L6).

`Judge` is fed facts in the order in which the supervisor saw them and settles whatever follows. What a worker says
(streams it closed, sinks) comes before its end; otherwise the order matters to blame only, never to statuses. Verdicts
flow down, word of readers that left flows up, never both through one pipe: settling ends. Each fact is looked at once,
and then only whom it concerns: in a section of 500, a look at everybody for each fact was a second.
"""

from __future__ import annotations

from dataclasses import field
from heapq import heapify, heappop, heappush
from typing import Optional

from teastreams.core.endings import SIGPIPE, SINK_REASONS, Ending, How, SinkEnd, describe
from teastreams.core.hearing import Heard, audience_of, faults_among, since
from teastreams.core.plan import OUTSIDE, Channel, SectionPlan, feed_name
from teastreams.core.verdicts import ALL_WELL, NO_VOUCHER, SEVERITY, WELL, Blame, Status, Verdict
from teastreams.values import dataclass

__all__ = ["ALL_WELL", "WELL", "Blame", "Judge", "Status", "Verdict"]


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
    _noticed: dict[tuple[str, str], int] = field(default_factory=dict)
    _heard: Heard = field(default_factory=Heard)
    _failed: bool = False
    _endangered: dict[str, None] = field(default_factory=dict)
    _told_of: int = 0

    def __post_init__(self) -> None:
        self._places = {name: place for place, name in enumerate(self.plan.nodes)}
        self._audiences = {name: audience_of(channel) for name, channel in self.plan.channels.items()}
        self._unseen = self.plan.nodes

    def settle(self) -> tuple[str, ...]:
        """Draw every conclusion from the facts since the last time; returns the nodes whose verdict is new.

        In turns, each from the top of the section down: what concerns somebody further up is left for the next turn.
        """
        known = len(self.verdicts)
        due = [(0, self._places[name]) for name in self._hear() if name != OUTSIDE]
        heapify(due)
        while due:
            turn, place = heappop(due)
            for name in self._settle_one(self.plan.nodes[place]):
                heappush(due, (turn + (self._places[name] <= place), self._places[name]))
        return tuple(since(self.verdicts, known))

    def settled(self) -> tuple[str, ...]:
        """The nodes whose status became known since this was last asked."""
        known, self._told_of = self._told_of, len(self.statuses)
        return tuple(since(self.statuses, known))

    def conclude(self) -> None:
        """Everybody has ended. What still cannot be settled is not trusted: nobody vouches for its input."""
        self.settle()
        for name in self.plan.nodes:
            if name not in self.statuses:
                self._enter(name, Status.TAINTED if name in self.endings else Status.CANCELLED)
            self.verdicts.setdefault(name, Verdict(False, name, NO_VOUCHER))

    def verdict_outside(self, channel: str) -> Optional[Verdict]:
        """What the caller, as a reader of the channel, is told at its end; None while nobody knows."""
        return self._verdict_on(self.plan.channels[channel], OUTSIDE)

    def doomed(self) -> tuple[str, ...]:
        """Nodes still running that should end: told of a failure, or writing to nobody because a reader failed.

        Of those alone about whom something is new since this was last asked.
        """
        asked, self._endangered = self._endangered, {}
        return tuple(name for name in asked if name not in self.endings and self._is_doomed(name))

    @property
    def failed(self) -> bool:
        """Did anything end badly, as far as it is settled?"""
        return self._failed

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
        fault = self._faults().get(name) if status in WELL else None
        if fault:
            return fault
        if ending is not None and ending.how is How.EPIPE and status is Status.FAILED:
            return self._story_of_a_cut(name, ending)
        return describe(ending) if ending is not None else "did not end"

    # -- settling -------------------------------------------------------------------------------------------

    def _hear(self) -> list[str]:
        """Whom the facts since the last time concern; at first, everybody."""
        concerned, self._unseen = list(self._unseen), ()
        endings, sinks = since(self.endings, self._heard.endings), since(self.sinks, self._heard.sinks)
        feeds = since(self.feed_failures, self._heard.feed_failures)
        self._noticed.update(dict.fromkeys([*sinks, *((OUTSIDE, channel) for channel in feeds)], len(self.endings)))
        new = {name: self.endings[name] for name in endings}, {sink: self.sinks[sink] for sink in sinks}
        self._failed = self._failed or bool(feeds) or bool(faults_among(self.plan, *new, {}))
        for name in endings:
            concerned += self._concerned_by_end(name)
        for channel, node in sinks:
            concerned += (node, *self._note(channel, node))
        for channel in feeds:
            concerned += self._readers(channel)
        if self.feeding != self._heard.feeding:
            concerned += [name for channel in self.feeding ^ self._heard.feeding for name in self._readers(channel)]
            self._heard.feeding = frozenset(self.feeding)
        if len(self.closed) > len(self._heard.closed):
            concerned += self._hear_closed()
        self._heard.endings, self._heard.sinks = len(self.endings), len(self.sinks)
        self._heard.feed_failures = len(self.feed_failures)
        return concerned

    def _hear_closed(self) -> list[str]:
        nodes = [node for node, _fd in self.closed - self._heard.closed]
        self._heard.closed = frozenset(self.closed)
        self._endangered.update(dict.fromkeys(nodes))
        return [name for node in nodes for name in (node, *self._below(node))]

    def _concerned_by_end(self, worker: str) -> list[str]:
        channel = self.plan.fanouts.get(worker)
        if channel is None:
            return [worker, *self._below(worker)]
        return [name for reader in self._readers(channel) for name in (reader, *self._note(channel, reader))]

    def _settle_one(self, name: str) -> list[str]:
        """Say of one node what can be said now; returns whom that concerns."""
        concerned: list[str] = []
        verdict = self._verdict(name) if name not in self.verdicts else None
        if verdict is not None:
            self.verdicts[name] = verdict
            self._endangered[name] = None
            concerned += self._below(name)
        ending = self.endings.get(name) if name not in self.statuses else None
        status = self._status(name, ending) if ending is not None else None
        if status is not None:
            self._enter(name, status)
            concerned += self._below(name)
            if name in self.plan.inputs:
                concerned += self._note(self.plan.inputs[name], name)
        return concerned

    def _enter(self, name: str, status: Status) -> None:
        self.statuses[name] = status
        self._failed = self._failed or status not in WELL

    def _note(self, name: str, reader: str) -> list[str]:
        """It may be known now how this reader ended; returns the producer when that concerns it."""
        channel, audience = self.plan.channels[name], self._audiences[name]
        well = self._reader_ended_well(channel, reader) if reader in audience.open else None
        if well is None:
            return []
        audience.open.discard(reader)
        audience.failed = audience.failed or not well
        if channel.producer == OUTSIDE or (well and audience.open):
            return []
        self._endangered[channel.producer] = None
        return [channel.producer]

    def _below(self, name: str) -> list[str]:
        """The nodes that read what it writes."""
        readers = [reader for channel in self.plan.outputs.get(name, ()) for reader in self._readers(channel)]
        return [reader for reader in readers if reader != OUTSIDE]

    def _readers(self, channel: str) -> list[str]:
        return [each.node for each in self.plan.channels[channel].consumers]

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
        audiences = [self._audiences[channel.name] for channel in self._broken(name, ending)]
        if any(audience.failed for audience in audiences):
            return Status.CONSEQUENCE
        return None if any(audience.open for audience in audiences) else Status.STOPPED

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
        audiences = [self._audiences[channel.name] for channel in self._outputs(name)]
        still_read = any(audience.open or audience.outside for audience in audiences)
        return any(audience.failed for audience in audiences) and not still_read

    def _input(self, name: str) -> Optional[Channel]:
        return self.plan.channels.get(self.plan.inputs.get(name, ""))

    def _outputs(self, name: str) -> list[Channel]:
        """The channels it writes, without those that it has closed itself."""
        mine = [self.plan.channels[channel] for channel in self.plan.outputs.get(name, ())]
        return [channel for channel in mine if (name, channel.fd) not in self.closed]

    # -- blame ----------------------------------------------------------------------------------------------

    def _faults(self) -> dict[str, str]:
        """What no status shows: fan-out workers that died or broke a promise, producers whose stream was held open."""
        return faults_among(self.plan, self.endings, self.sinks, self.feed_failures)

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
            return (SEVERITY.get(status, 0), *self._fault_noticed(name))
        # What failed by itself after its input was cut may have failed because of that.
        left = ending.left_early or self._is_seen_to_leave(name)
        healthy = left or self.verdicts.get(name, ALL_WELL).well
        return (SEVERITY[status] if healthy or status is not Status.FAILED else 1, ending.order, True)

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
