"""core/outcome.py: what ends mean, told as situations, then as laws over random sections that end in random ways.

A situation is three texts. The section: `p>x!e c<x d<e` (`>` stdout, `!` stderr, `<` stdin; two readers of a channel
need a fan-out worker, and so does one that is written `c<x+`). The facts, as the supervisor saw them one by one:

    c returned left      how it ended, then what is known about it: left told held running, 1 or 2 for a broken stream
    p closes 1           the node itself closed its stdout
    x/c overflowed       how the fan-out worker of x finished with c
    x* silent            the end of the fan-out worker itself
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Callable, Optional

import pytest

from teastreams.core.endings import Ending, ErrorText, How, SinkEnd, describe
from teastreams.core.graph import Binding, Delivery, NodeStreamsConfig, StreamSettings
from teastreams.core.outcome import ALL_WELL, WELL, Blame, Judge, Verdict
from teastreams.core.plan import Channel, SectionPlan, fanout_name, feed_name, plan_section

SIGNS = {"<": "stdin", ">": "stdout", "!": "stderr"}
BAD_SINKS = (SinkEnd.OVERFLOWED, SinkEnd.CUT)


def section(text: str, external: str = "") -> SectionPlan:
    members = []
    for word in text.split():
        own = Delivery(overflow="spill") if word.endswith("+") else Delivery()
        spaced = word.rstrip("+")
        for sign in SIGNS:
            spaced = spaced.replace(sign, f" {sign}")
        name, *ends = spaced.split(" ")
        streams: dict[str, Any] = {SIGNS[end[0]]: end[1:] for end in ends}
        members.append((name, NodeStreamsConfig(**streams, delivery=own)))
    return plan_section(members, StreamSettings(), frozenset(external.split()))


def ending(how: How, order: int, *flags: str, **more: Any) -> Ending:
    known = {"left": "left_early", "told": "told", "held": "held", "running": "left_running"}
    told: dict[str, Any] = {known[flag]: True for flag in flags if flag in known}
    broken = frozenset(int(flag) for flag in flags if flag.isdigit())
    return Ending(how, order, broken=broken, **{**told, **more})


def feed(judge: Judge, text: str) -> None:
    """One fact, and whatever follows from it."""
    subject, what, *flags = text.split()
    if "/" in subject:
        channel, consumer = subject.split("/")
        judge.sinks[channel, consumer] = SinkEnd(what)
    elif what == "closes":
        judge.closed.add((subject, int(flags[0])))
    elif what == "leaves":
        judge.leaving.add(subject)
    else:
        name = fanout_name(subject[:-1]) if subject.endswith("*") else subject
        code = -13 if "sigpipe" in flags else None
        judge.endings[name] = ending(How[what.upper()], len(judge.endings), *flags, exit_code=code, reason="as told")
    judge.settle()


def judged(text: str, facts: str, external: str = "") -> Judge:
    judge = Judge(section(text, external))
    judge.settle()
    for fact in filter(None, facts.split("; ")):
        feed(judge, fact)
    return judge


def statuses(judge: Judge) -> str:
    return ", ".join(
        f"{name} {judge.statuses[name].name.lower()}" for name in judge.plan.nodes if name in judge.statuses
    )


def blamed(judge: Judge) -> str:
    blame = judge.blame()
    return "" if blame is None else " > ".join((blame.primary, *blame.collateral)).replace("fan-out of 'x'", "x*")


SITUATIONS = [
    # -- all is well
    ("alone", "p", "p returned", "p done", ""),
    ("one after the other", "p>x c<x", "p returned; c returned told", "p done, c done", ""),
    ("the reader cannot be told and all is well", "p>x c<x", "c returned; p returned", "p done, c done", ""),
    ("a chain", "a>x b<x>y c<y", "c returned; b returned; a returned", "a done, b done, c done", ""),
    ("a broadcast", "p>x c<x d<x",
     "p returned; x/c delivered; x/d delivered; x* returned; c returned; d returned",
     "p done, c done, d done", ""),
    ("nobody has ended", "p>x c<x", "", "", ""),
    # -- leaving early is not an error (L7)
    ("head", "p>x c<x", "c returned left; p epipe 1", "p stopped, c done", ""),
    ("the producer catches EPIPE and returns", "p>x c<x", "c returned left; p returned 1", "p done, c done",
     ""),
    ("the reader closed descriptor 0 behind our back", "p>x c<x", "c returned; p epipe 1", "p stopped, c done",
     ""),
    ("the same, of a broadcast", "p>x c<x d<x",
     "c returned; x/c left; d returned left; x/d left; p epipe 1; x* returned", "p stopped, c done, d done", ""),
    ("one of a broadcast leaves", "p>x c<x d<x",
     "c returned left; x/c left; p returned; x/d delivered; d returned told; x* returned",
     "p done, c done, d done", ""),
    ("a whole chain stops", "a>x b<x>y c<y", "c returned left; b epipe left 1; a epipe 1",
     "a stopped, b stopped, c done", ""),
    ("two programs: SIGPIPE, and a witness that the reader had gone", "p>x c<x", "p epipe sigpipe 1; c returned",
     "p stopped, c done", ""),
    ("the same, noticed the other way round", "p>x c<x", "c returned; p epipe sigpipe 1", "p stopped, c done", ""),
    ("a chain of programs", "a>x b<x>y c<y", "a epipe sigpipe 1; b epipe sigpipe 1; c returned",
     "a stopped, b stopped, c done", ""),
    ("a program whose reader had gone fails by itself", "p>x c<x", "p raised 1; c returned", "p failed, c done", "p"),
    ("SIGPIPE while somebody still reads another stream", "p>x!e c<x d<e", "c returned; p epipe sigpipe 1; d returned",
     "p failed, c done, d tainted", "p > d"),
    ("the reader is told of nothing when it left in time", "p>x c<x", "c returned left; p raised 1",
     "p failed, c done", "p"),
    ("killed by SIGPIPE after its reader left", "p>x c<x", "c returned left; p epipe sigpipe",
     "p stopped, c done", ""),
    ("killed by SIGPIPE while its reader is leaving", "p>x c<x", "c leaves; p epipe sigpipe; c returned left",
     "p stopped, c done", ""),
    ("killed by SIGPIPE after its reader closed stdin", "p>x c<x",
     "c closes 0; p epipe sigpipe; c returned left",
     "p stopped, c done", ""),
    ("killed by SIGPIPE by the fan-out's leaving", "p>x c<x+",
     "x/c left; p epipe sigpipe; x* returned; c returned left",
     "p stopped, c done", ""),
    ("killed by SIGPIPE from elsewhere", "p>x c<x", "p epipe sigpipe; c upstream told", "p failed, c consequence",
     "p > c"),
    # -- the end of file is a verdict (L2)
    ("the producer fails and the reader is told", "p>x c<x", "p raised; c upstream told",
     "p failed, c consequence", "p > c"),
    ("the reader catches what it was told", "p>x c<x", "p raised; c returned told", "p failed, c consequence",
     "p > c"),
    ("told while a fan-out still wrote", "p>x c<x d<x", "p raised; c returned told left",
     "p failed, c consequence", "p > c"),
    ("the reader cannot be told", "p>x c<x", "c returned; p silent", "p failed, c tainted", "p > c"),
    ("the reader fails over a cut stream", "p>x c<x", "c raised; p silent", "p failed, c failed", "p > c"),
    ("two steps below", "a>x b<x>y c<y", "a raised; b upstream told; c upstream told",
     "a failed, b consequence, c consequence", "a > b > c"),
    ("two steps below, the one between cannot be told", "a>x b<x>y c<y",
     "b returned; a raised; c upstream told",
     "a failed, b tainted, c consequence", "a > b > c"),
    ("the one between leaves early, and what is above fails", "a>x b<x>y c<y",
     "b returned left; a raised 1; c returned",
     "a failed, b done, c tainted", "a > c"),
    ("EPIPE over a cut input that it did not notice", "a>x b<x>y c<y", "c returned left; b epipe 1; a silent",
     "a failed, b tainted, c done", "a > b"),
    ("EPIPE over a cut input that it was told of", "a>x b<x>y c<y",
     "a silent; b epipe told 1; c returned left",
     "a failed, b consequence, c done", "a > b"),
    ("timed out", "p>x c<x", "p timed_out; c upstream told", "p failed, c consequence", "p > c"),
    ("a child of the producer still runs", "p>x c<x", "p returned running; c upstream told",
     "p failed, c consequence",
     "p > c"),
    ("the exception is of the node's own making", "p>x c<x", "c upstream left; p epipe 1",
     "p consequence, c failed", "c > p"),
    ("so it is in a node without input", "p", "p upstream", "p failed", "p"),
    # -- a stream that its node closed
    ("closed, then a failure", "p>x c<x", "p closes 1; c returned told; p raised", "p failed, c done", "p"),
    ("closed under an input that is still open", "a>x b<x>y c<y",
     "b closes 1; c returned; a raised; b raised told",
     "a failed, b failed, c tainted", "a > b > c"),
    ("closed under an input that ends well", "a>x b<x>y c<y",
     "b closes 1; a returned; c returned told; b raised told",
     "a done, b failed, c done", "b"),
    ("closed, and then stopped by the other stream", "p>x!e c<x d<e",
     "p closes 2; c returned left; d returned; p epipe 1",
     "p stopped, c done, d done", ""),
    # -- two output channels
    ("both readers left", "p>x!e c<x d<e", "c returned left; d returned left; p epipe 1 2",
     "p stopped, c done, d done", ""),
    ("one left, the other still read", "p>x!e c<x d<e", "c returned left; p epipe 1; d upstream told",
     "p failed, c done, d consequence", "p > d"),
    ("one left, the other could not be told", "p>x!e c<x d<e", "c returned left; d returned; p epipe 1",
     "p failed, c done, d tainted", "p > d"),
    ("one left well, the other badly", "p>x!e c<x d<e", "c returned left; d raised left; p epipe 1 2",
     "p consequence, c done, d failed", "d > p"),
    ("killed by SIGPIPE while the other is still read", "p>x!e c<x d<e",
     "c returned left; p epipe sigpipe; d upstream told",
     "p failed, c done, d consequence", "p > d"),
    # -- consequences go up, too
    ("the reader fails", "p>x c<x", "c raised left; p epipe 1", "p consequence, c failed", "c > p"),
    ("the reader fails and the producer dresses EPIPE up", "p>x c<x", "c raised left; p raised 1",
     "p failed, c failed",
     "c > p"),
    ("the reader is killed and the producer dresses EPIPE up", "p>x c<x", "c silent; p raised 1",
     "p failed, c failed",
     "c > p"),
    ("one of a broadcast fails", "p>x c<x d<x",
     "c raised left; x/c left; p returned; x/d delivered; d returned told; x* returned",
     "p done, c failed, d done", "c"),
    ("one fails, the other leaves", "p>x c<x d<x",
     "c raised left; x/c left; d returned left; x/d left; x* returned; p epipe 1",
     "p consequence, c failed, d done", "c > p"),
    # -- the fan-out worker
    ("it dies", "p>x c<x d<x", "x* silent; p epipe 1; c upstream told; d returned",
     "p consequence, c consequence, d tainted", "x* > d > p > c"),
    ("it dies when one has everything", "p>x c<x d<x",
     "p returned; x/c delivered; x* raised; c returned told; d upstream told",
     "p done, c done, d consequence", "x* > d"),
    ("it dies when everybody has left", "p>x c<x+", "c returned left; x/c left; x* silent; p epipe 1",
     "p stopped, c done", "x*"),
    ("a consumer falls behind", "p>x c<x d<x",
     "x/c overflowed; c upstream told; p returned; x/d delivered; d returned told; x* returned",
     "p done, c consequence, d done", "x* > c"),
    ("the last consumer falls behind", "p>x c<x+", "x/c overflowed; p epipe 1; x* returned; c upstream told",
     "p consequence, c consequence", "x* > p > c"),
    ("bytes on their way are lost", "p>x c<x+", "p returned; x/c cut; x* returned; c returned",
     "p done, c tainted", "x* > c"),
    ("somebody holds the stream open", "p>x c<x+", "p returned; x/c held; x* returned; c upstream told",
     "p done, c consequence", "p > c"),
    ("an earlier failure goes before a fan-out's", "p>x c<x d<x",
     "d raised left; x/d left; x/c overflowed; x* returned; p epipe 1; c upstream told",
     "p consequence, c consequence, d failed", "d > x* > p > c"),
    ("a fan-out's failure goes before a later one", "p>x c<x d<x",
     "x/c overflowed; d raised left; x/d left; x* returned; p epipe 1; c upstream told",
     "p consequence, c consequence, d failed", "x* > d > p > c"),
    ("a bare pipe held open", "p>x c<x", "p returned; c upstream told held", "p done, c consequence",
     "p > c"),
    ("a bare pipe held open, and the reader returns", "p>x c<x", "p returned; c returned told held left",
     "p done, c consequence", "p > c"),
    # -- stopped by us
    ("all are stopped", "p>x c<x", "c stopped; p stopped", "p cancelled, c cancelled", "c > p"),
    ("a failure, then a stop", "p q", "p raised; q stopped", "p failed, q cancelled", "p > q"),
    ("the producer is stopped", "p>x c<x", "p stopped; c upstream told", "p cancelled, c consequence",
     "c > p"),
    ("the fan-out worker is stopped", "p>x c<x+", "x* stopped; p stopped; c stopped", "p cancelled, c cancelled",
     "p > c"),
    ("the fan-out worker is stopped after its producer", "p>x c<x+",
     "p returned; x* stopped; c upstream told",
     "p done, c consequence", "c"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "facts", "expected", "blame"), [pytest.param(*s[1:], id=s[0]) for s in SITUATIONS])
def test_situations(text: str, facts: str, expected: str, blame: str) -> None:
    """Statuses, and who is to blame, the cause first."""
    judge = judged(text, facts)

    assert statuses(judge) == expected
    assert blamed(judge) == blame
    assert judge.failed == bool(blame)


class TestVerdicts:
    def test_nobody_is_told_before_everything_above_has_ended(self) -> None:
        """Not when the writer of its pipe has ended: what is above that may still fail."""
        judge = judged("a>x b<x>y c<y", "b returned left")

        assert judge.verdicts == {"a": ALL_WELL}
        feed(judge, "a returned")
        assert judge.verdicts == {"a": ALL_WELL, "b": ALL_WELL, "c": ALL_WELL}

    def test_settle_names_the_new_ones(self) -> None:
        judge = Judge(section("p>x c<x"))

        assert judge.settle() == ("p",)
        judge.endings["p"] = Ending(How.RETURNED, 0)
        assert judge.settle() == ("c",)
        assert judge.settle() == ()

    def test_settled_names_each_status_once(self) -> None:
        judge = judged("p>x c<x", "p returned")
        assert judge.settled() == ("p",)
        assert judge.settled() == ()

        feed(judge, "c returned")
        assert judge.settled() == ("c",)

    def test_the_culprit_is_the_one_that_failed_not_the_neighbour(self) -> None:
        judge = judged("a>x b<x>y c<y", "a silent; b returned; c returned")

        assert judge.verdicts["c"] == Verdict(False, "a", "ended without a result, exit code None")

    def test_a_reader_of_a_producer_that_a_reader_stopped_is_told_of_that_reader(self) -> None:
        """The producer is a consequence itself; the cause is named, though it stands beside."""
        judge = judged("p>x c<x d<x", "c raised left; x/c left; d raised left; x/d left; x* returned; p epipe 1")

        assert judge.verdicts["d"].culprit == "c"

    def test_a_reader_of_a_producer_that_failed_over_a_cut_input_hears_of_both(self) -> None:
        """A failure of its own is what cut the stream, whatever came before it."""
        judge = judged("a>x b<x>y c<y", "b raised; a silent")

        assert judge.verdicts["c"].culprit == "b"
        assert blamed(judge) == "a > b"

    @pytest.mark.parametrize("end", [SinkEnd.OVERFLOWED, SinkEnd.CUT])
    def test_a_consumer_that_lost_bytes_is_told_at_once(self, end: SinkEnd) -> None:
        """Its pipe has been closed: waiting for an endless producer would be waiting for ever."""
        judge = judged("p>x c<x d<x", f"x/c {end.value}")

        assert not judge.verdicts["c"].well
        assert judge.verdicts["c"].culprit == fanout_name("x")
        assert "d" not in judge.verdicts
        assert judge.doomed() == ("c",)

    def test_a_consumer_of_a_dead_fanout_is_told_at_once(self) -> None:
        judge = judged("p>x c<x d<x", "x/d delivered; x* silent")

        assert judge.verdicts["c"] == Verdict(False, fanout_name("x"), "ended without a result, exit code None")
        assert "d" not in judge.verdicts

    def test_a_held_stream_is_the_producers_fault(self) -> None:
        judge = judged("p>x c<x+", "p returned; x/c held")

        assert judge.verdicts["c"].culprit == "p"
        assert "kept its stream open" in judge.verdicts["c"].reason

    def test_what_the_caller_writes_is_well(self) -> None:
        """Nobody upstream can fail."""
        judge = judged("c<x", "c returned", external="x")

        assert judge.verdicts == {"c": ALL_WELL}
        assert statuses(judge) == "c done"

    def test_a_broadcast_of_the_callers_bytes_counts_as_far_as_it_was_delivered(self) -> None:
        judge = judged("c<x d<x", "x/c delivered; x* silent; c returned; d returned", external="x")

        assert statuses(judge) == "c done, d tainted"

    def test_what_the_caller_reads_has_no_status(self) -> None:
        """A caller that closes its end left early."""
        judge = judged("p>x", "p epipe 1", external="x")

        assert statuses(judge) == "p stopped"


class TestDoomed:
    @pytest.mark.parametrize(
        ("text", "facts", "doomed"),
        [
            ("p>x c<x", "", ""),
            ("p>x c<x", "p raised", "c"),
            ("p>x c<x", "p raised; c raised", ""),
            ("p>x c<x", "c closes 0; p raised 1", ""),
            ("p>x c<x", "c raised left", "p"),
            ("p>x c<x", "c returned left", ""),
            ("p>x c<x d<x", "c raised left; x/c left", ""),
            ("p>x c<x d<x", "c raised left; x/c left; d returned left; x/d left", "p"),
            ("p>x!e c<x d<e", "c raised left", ""),
            ("p>x!e c<x d<e", "c raised left; d returned left", "p"),
            ("p>x!e c<x d<e", "p closes 1; c raised", ""),
            ("p>x!e c<x d<e", "p closes 1; c raised; d returned left", ""),
            ("p", "", ""),
        ],
    )
    def test_who_should_end(self, text: str, facts: str, doomed: str) -> None:
        """Who was told of a failure, and who writes to nobody any more because a reader failed."""
        assert judged(text, facts).doomed() == tuple(doomed.split())

    def test_a_caller_who_reads_is_still_there(self) -> None:
        """Its failing reader does not end a producer whose other stream the caller reads."""
        assert judged("p>x!e c<x", "c raised left", external="e").doomed() == ()

    def test_they_are_named_when_something_is_new_about_them(self) -> None:
        judge = judged("p>x!e c<x d<e", "c raised left")
        assert judge.doomed() == ()

        feed(judge, "d returned left")
        assert judge.doomed() == ("p",)
        assert judge.doomed() == ()

    def test_who_closes_what_is_still_read_writes_to_nobody(self) -> None:
        judge = judged("p>x!e c<x d<e", "c raised left")
        assert judge.doomed() == ()

        feed(judge, "p closes 2")
        assert judge.doomed() == ("p",)


class TestReasons:
    @pytest.mark.parametrize(
        ("text", "facts", "name", "reason"),
        [
            ("p>x c<x", "p silent; c returned", "c", "its input was cut because 'p' failed, and it did not notice"),
            ("p>x c<x", "", "c", "did not end"),
            ("p>x c<x", "p returned; c upstream held", "p", "kept its stream open after it had ended"),
            ("p>x c<x", "p returned running", "p", "a process that it started still ran"),
            ("p>x c<x+", "x/c overflowed", "x*", "towards 'c': the consumer fell behind"),
            ("p>x c<x+", "x* silent", "x*", "ended without a result"),
            ("p>x c<x", "p stopped", "p", "as told"),
            (
                "p>x!e c<x d<e",
                "c returned left; p epipe 1",
                "p",
                "nobody read 'x' any more, and cut 'e', which was still read",
            ),
            ("p>x c<x", "p epipe sigpipe", "p", "killed by signal 13"),
        ],
    )
    def test_in_one_phrase(self, text: str, facts: str, name: str, reason: str) -> None:
        subject = fanout_name("x") if name == "x*" else name
        assert reason in judged(text, facts).reason(subject)

    @pytest.mark.parametrize(
        ("end", "phrase"),
        [
            (Ending(How.RETURNED, 0), "returned"),
            (Ending(How.RETURNED, 0, left_running=True), "still ran"),
            (Ending(How.STOPPED, 0, -15, reason="stopped by signal 2"), "stopped by signal 2"),
            (Ending(How.STOPPED, 0, -15), "stopped by the supervisor"),
            (Ending(How.TIMED_OUT, 0, -1, reason="timed out after 3 s"), "timed out after 3 s"),
            (Ending(How.RAISED, 0, 1, ErrorText("ValueError", "boom")), "ValueError: boom"),
            (Ending(How.RAISED, 0, 42), "exit code 42"),
            (Ending(How.SILENT, 0, -9), "killed by signal 9"),
            (Ending(How.SILENT, 0, 0), "ended without a result, exit code 0"),
            (Ending(How.SILENT, 0), "ended without a result, exit code None"),
            (Ending(How.EPIPE, 0, 0), "stopped: its reader left"),
        ],
    )
    def test_of_an_ending(self, end: Ending, phrase: str) -> None:
        assert phrase in describe(end)


class TestConclude:
    def test_it_changes_nothing_that_is_settled(self) -> None:
        judge = judged("p>x c<x", "p returned; c returned")
        judge.conclude()

        assert statuses(judge) == "p done, c done"

    def test_what_nobody_vouches_for_is_not_trusted(self) -> None:
        """SIGPIPE killed the producer, which could not say who had left; the reader may have seen a cut end."""
        judge = judged("p>x c<x", "c returned; p epipe sigpipe")
        assert statuses(judge) == ""

        judge.conclude()
        assert statuses(judge) == "p tainted, c tainted"
        assert judge.reason("c") == "nobody can vouch for its input"
        assert judge.reason("p") == "nobody can vouch for its input"
        assert judge.blame() == Blame("c", ("p",))


# -- laws over random sections ----------------------------------------------------------------------------------------


@dataclass
class Life:
    """One node of a world: what it holds, and, once it has ended, how."""

    name: str
    gave_up: bool = False  # it has closed its input, or ended
    left: bool = False  # and did so while bytes could still come
    certain: bool = True  # and can prove it itself
    closed: set[int] = field(default_factory=set)
    end: Optional[Ending] = None


class World:
    """A random section whose workers end in every way in which real ones can, with a judge who is told.

    `faults` limits how many things go wrong by themselves; all else that ends badly is a consequence. `facts` are
    functions that tell a judge one thing each; `of` says whose word it is, because a worker's facts keep their order.
    """

    def __init__(self, seed: int, faults: int = 1000, stops: bool = False) -> None:
        self.seed, self.dice, self.faults, self.stops = seed, random.Random(seed), faults, stops
        self.plan = section(self._tree())
        self.judge = Judge(self.plan)
        self.judge.settle()
        self.lives = {name: Life(name) for name in self.plan.nodes}
        self.dead: set[str] = set()  # fan-out workers that have ended
        self.culprits: list[str] = []  # in the order of the world
        self.facts: list[tuple[str, str, Callable[[Judge], None]]] = []
        self.trace: list[str] = []

    def _tree(self) -> str:
        ends: dict[str, str] = {}
        for index in range(self.dice.randint(2, 9)):
            parent = self.dice.choice([*ends, ""]) if index else ""
            if not parent:
                ends[f"n{index}"] = ""
                continue
            sign = self.dice.choice(">>!")
            channel = f"{parent}{'o' if sign == '>' else 'e'}"
            if f"{sign}{channel}" not in ends[parent]:
                ends[parent] += f"{sign}{channel}"
            ends[f"n{index}"] = f"<{channel}"
        return " ".join(
            name + end + self.dice.choice(["", "", "+" if "<" in end else ""]) for name, end in ends.items()
        )

    def run(self) -> None:
        while any(life.end is None for life in self.lives.values()) or self._working():
            self.dice.choice(self._moves())()

    # -- what can happen ------------------------------------------------------------------------------------

    def _moves(self) -> list[Callable[[], None]]:
        moves: list[Callable[[], None]] = []
        for life in self.lives.values():
            if life.end is None:
                moves += [lambda life=life: self._end(life), lambda life=life: self._close(life)]
        for channel in self._working():
            moves += [lambda channel=channel: self._serve(channel)] * 3
        return moves

    def _working(self) -> list[Channel]:
        return [c for c in self.plan.channels.values() if c.fanout and c.fanout not in self.dead]

    def _close(self, life: Life) -> None:
        """A node closes one of its streams and goes on."""
        if self.dice.random() < 0.5 and life.name in self.plan.inputs:
            self._give_up(life, certain=self.dice.random() < 0.5)
        elif self.plan.outputs[life.name] and self.dice.random() < 0.3:
            fd = self.dice.choice([self.plan.channels[name].fd for name in self.plan.outputs[life.name]])
            life.closed.add(fd)
            self._tell(life.name, "", lambda judge: judge.closed.add((life.name, fd)), f"{life.name} closes {fd}")

    def _give_up(self, life: Life, certain: bool) -> None:
        if not life.gave_up:
            life.gave_up, life.certain = True, certain
            life.left = life.name in self.plan.inputs and self._writer_is_there(life.name)

    def _writer_is_there(self, name: str) -> bool:
        channel = self.plan.channels[self.plan.inputs[name]]
        if channel.fanout:
            return channel.fanout not in self.dead and (channel.name, name) not in self.judge.sinks
        producer = self.lives[channel.producer]
        return producer.end is None and channel.fd not in producer.closed

    def _nobody_reads(self, channel: Channel) -> bool:
        if channel.fanout:
            ended = all((channel.name, each.node) in self.judge.sinks for each in channel.consumers)
            return channel.fanout in self.dead or (ended and self._source_open(channel))
        return self.lives[channel.consumers[0].node].gave_up

    def _source_open(self, channel: Channel) -> bool:
        """Not at its end: a fan-out worker whose consumers have all gone then closes it itself."""
        producer = self.lives[channel.producer]
        return producer.end is None and channel.fd not in producer.closed

    def _serve(self, channel: Channel) -> None:
        """A fan-out worker finishes with one consumer, or ends."""
        fanout = channel.fanout or ""
        open_ = [each.node for each in channel.consumers if (channel.name, each.node) not in self.judge.sinks]
        if self._fails(0.1) or not open_:
            self.dead.add(fanout)
            how = How.SILENT if open_ else How.RETURNED
            if how is How.SILENT:
                self._blame(fanout)
            self._tell_end(fanout, how, f"{fanout} {how.name}")
            return
        node = self.dice.choice(open_)
        end = self._sink_end(channel, node)
        if end is not None:
            key = (channel.name, node)
            self._tell(fanout, "", lambda judge: judge.sinks.update({key: end}), f"{channel.name}/{node} {end.name}")

    def _sink_end(self, channel: Channel, node: str) -> Optional[SinkEnd]:
        if self._fails(0.1):
            self._blame(channel.fanout or "")
            return self.dice.choice(BAD_SINKS)
        if not self._source_open(channel) and self.lives[channel.producer].end is not None and self._fails(0.1):
            self._blame(channel.producer)
            return SinkEnd.HELD
        if self.lives[node].gave_up:
            return SinkEnd.LEFT
        return None if self._source_open(channel) else SinkEnd.DELIVERED

    # -- how a node ends ------------------------------------------------------------------------------------

    def _end(self, life: Life) -> None:
        verdict = self.judge.verdicts.get(life.name)
        reads = life.name in self.plan.inputs
        at_end = reads and not life.gave_up and not self._writer_is_there(life.name)
        told = at_end and verdict is not None and self.dice.random() < 0.7
        mine = [self.plan.channels[name] for name in self.plan.outputs[life.name]]
        held = [channel for channel in mine if channel.fd not in life.closed]
        broken = frozenset(channel.fd for channel in held if self._nobody_reads(channel))
        self._give_up(life, certain=self.dice.random() < 0.9)
        warned = told and verdict is not None and not verdict.well
        how = self._how(warned, bool(broken))
        cut = how is How.EPIPE and any(channel.fd not in broken for channel in held)
        running = how is How.RETURNED and self._fails(0.05)
        if how in (How.RAISED, How.SILENT, How.TIMED_OUT) or cut or running or (how is How.UPSTREAM and not warned):
            self._blame(life.name)
        spoke = how not in (How.SILENT, How.TIMED_OUT, How.STOPPED)
        left = life.left and life.certain and spoke
        flags = {"left_early": left, "told": told and spoke, "broken": broken if spoke else frozenset()}
        self._tell_end(life.name, how, f"{life.name} {how.name} {flags}", left_running=running, **flags)

    def _how(self, told_of_failure: bool, broken: bool) -> How:
        if self.stops and self.dice.random() < 0.3:
            return How.STOPPED
        if self._fails(0.25):
            return self.dice.choice([How.RAISED, How.SILENT, How.TIMED_OUT, How.UPSTREAM])
        if told_of_failure and self.dice.random() < 0.7:
            return How.UPSTREAM
        return How.EPIPE if broken and self.dice.random() < 0.6 else How.RETURNED

    def _fails(self, chance: float) -> bool:
        return len(self.culprits) < self.faults and self.dice.random() < chance

    def _blame(self, name: str) -> None:
        self.culprits.append(name)

    # -- telling --------------------------------------------------------------------------------------------

    def _tell_end(self, name: str, how: How, text: str, **known: Any) -> None:
        def tell(judge: Judge) -> None:
            judge.endings[name] = Ending(how, len(judge.endings), **known)

        if name in self.lives:
            self.lives[name].end = Ending(how, 0, **known)
        self._tell(name, name if known.get("told") else "", tell, text)

    def _tell(self, of: str, after_verdict: str, fact: Callable[[Judge], None], text: str) -> None:
        self.facts.append((of, after_verdict, fact))
        self.trace.append(text)
        fact(self.judge)
        self.judge.settle()

    def story(self) -> str:
        lines = [f"seed {self.seed}", str([(w.name, w.wires) for w in self.plan.workers]), *self.trace]
        return "\n  ".join([*lines, statuses(self.judge), f"culprits {self.culprits}", blamed(self.judge)])

    def retold(self, seed: int) -> Judge:
        """Another judge who hears the same facts in another order that could have been."""
        dice, judge, left = random.Random(seed), Judge(self.plan), list(self.facts)
        judge.settle()
        while left:
            firsts = {of: index for index, (of, _, _) in reversed(list(enumerate(left)))}
            ready = [i for i in firsts.values() if not left[i][1] or left[i][1] in judge.verdicts]
            _, _, fact = left.pop(dice.choice(sorted(ready)))
            fact(judge)
            judge.settle()
        return judge

    def truncated(self, name: str) -> bool:
        """Did this node come to the end of a stream that was cut? From what happened, not from what was judged."""
        if name not in self.plan.inputs or self.lives[name].left:
            return False
        channel = self.plan.channels[self.plan.inputs[name]]
        end, producer = self.lives[channel.producer].end, self.lives[channel.producer]
        assert end is not None
        stopped_well = end.how is How.RETURNED or (end.how is How.EPIPE and channel.fd in end.broken)
        if not (channel.fd in producer.closed or (stopped_well and not end.left_running)):
            return True
        sink = self.judge.sinks.get((channel.name, name))
        return (channel.fanout is not None and sink is not SinkEnd.DELIVERED) or self.truncated(channel.producer)


@cache
def worlds(count: int, faults: int = 1000, stops: bool = False) -> list[World]:
    found = []
    for seed in range(count):
        world = World(seed, faults, stops)
        world.run()
        found.append(world)
    return found


@pytest.mark.parametrize("options", [{}, {"faults": 1}, {"faults": 0}, {"stops": True}], ids=str)
class TestLaws:
    def test_everything_settles_when_everybody_has_ended(self, options: dict[str, Any]) -> None:
        """No status waits for a verdict that waits for that status."""
        for world in worlds(400, **options):
            assert set(world.judge.statuses) == set(world.judge.verdicts) == set(world.plan.nodes), world.story()

    def test_truncated_data_never_looks_like_success(self, options: dict[str, Any]) -> None:
        """Who ended well saw the whole input or really left before its end (L2)."""
        for world in worlds(400, **options):
            for name, status in world.judge.statuses.items():
                assert status not in WELL or not world.truncated(name), f"{name} in {world.story()}"

    def test_whoever_ended_well_has_only_such_above_or_left_early(self, options: dict[str, Any]) -> None:
        for world in worlds(400, **options):
            for name in (n for n, status in world.judge.statuses.items() if status in WELL and not world.lives[n].left):
                for above in world.plan.upstream[name]:
                    child = next(
                        each for each in (*world.plan.upstream[name], name) if world.plan.producer_of(each) == above
                    )
                    fd = world.plan.channels[world.plan.inputs[child]].fd
                    fine = world.judge.statuses[above] in WELL or fd in world.lives[above].closed
                    assert fine, f"{above} above {name} in {world.story()}"

    def test_statuses_do_not_depend_on_the_order_of_the_facts(self, options: dict[str, Any]) -> None:
        for world in worlds(400, **options)[:100]:
            wells = {name: verdict.well for name, verdict in world.judge.verdicts.items()}
            for again in range(3):
                other = world.retold(again)
                assert other.statuses == world.judge.statuses, world.story()
                assert {name: verdict.well for name, verdict in other.verdicts.items()} == wells, world.story()


class TestBlame:
    def test_nobody_is_blamed_when_nothing_failed(self) -> None:
        """Leaving, closing and EPIPE alone never make a run fail, unless EPIPE cut a stream that was still read."""
        seen = 0
        for world in worlds(400, faults=0):
            assert world.judge.failed == bool(world.culprits), world.story()
            assert bool(blamed(world.judge)) == bool(world.culprits), world.story()
            seen += not world.culprits
        assert seen > 200

    def test_the_only_failure_is_the_cause(self) -> None:
        """However it spreads."""
        seen = 0
        for world in worlds(400, faults=1):
            blame = world.judge.blame()
            assert (blame is None) == (not world.culprits), world.story()
            if blame is not None and len(world.culprits) == 1:
                assert blame.primary == world.culprits[0], world.story()
                seen += 1
        assert seen > 100

    def test_the_cause_is_somebody_who_really_failed(self) -> None:
        """On a whole input, or one that it left; and everybody else who did not end well is named after it."""
        for world in worlds(400):
            blame = world.judge.blame()
            if blame is None:
                assert not world.culprits, world.story()
                continue
            assert blame.primary in world.culprits, world.story()
            assert not (blame.primary in world.lives and world.truncated(blame.primary)), world.story()
            bad = {name for name, status in world.judge.statuses.items() if status not in WELL}
            assert bad <= {blame.primary, *blame.collateral}, world.story()
            assert len({blame.primary, *blame.collateral}) == 1 + len(blame.collateral), world.story()


class TestTheCallersOwnEnds:
    """What the caller writes itself is judged like what a node writes; what it reads ends by a verdict, too."""

    def fed(self, text: str) -> Judge:
        judge = Judge(section(text, external="x"))
        judge.feeding.add("x")
        judge.settle()
        return judge

    def test_nobody_is_told_while_the_caller_feeds(self) -> None:
        judge = self.fed("c<x>y d<y")
        assert judge.verdicts == {}

        judge.feeding.discard("x")
        assert judge.settle() == ("c",)
        assert judge.verdicts["c"] is ALL_WELL

    def test_a_feed_that_failed_is_the_cause_and_its_readers_are_consequences(self) -> None:
        judge = self.fed("c<x>y d<y")
        judge.feeding.discard("x")
        judge.feed_failures["x"] = "ValueError: no"
        judge.settle()
        assert judge.verdicts["c"] == Verdict(False, feed_name("x"), "ValueError: no")
        assert judge.failed

        feed(judge, "c upstream told")
        feed(judge, "d upstream told")
        assert statuses(judge) == "c consequence, d consequence"
        assert blamed(judge) == "feed of 'x' > c > d"
        assert judge.reason(feed_name("x")) == "ValueError: no"

    def test_a_reader_that_does_not_ask_is_tainted_by_it(self) -> None:
        judge = self.fed("c<x")
        judge.feeding.discard("x")
        judge.feed_failures["x"] = "ValueError: no"
        feed(judge, "c returned")
        assert statuses(judge) == "c tainted"
        assert blamed(judge) == "feed of 'x' > c"

    def test_what_failed_before_the_feed_goes_before_it(self) -> None:
        judge = self.fed("c<x d<x")
        feed(judge, "c raised left")
        judge.feeding.discard("x")
        judge.feed_failures["x"] = "ValueError: no"
        judge.settle()
        assert blamed(judge) == "c > feed of 'x'"

    def test_the_caller_as_a_reader_waits_for_the_producers_end(self) -> None:
        judge = Judge(section("p>x", external="x"))
        assert judge.verdict_outside("x") is None
        feed(judge, "p returned")
        assert judge.verdict_outside("x") is ALL_WELL

    def test_the_caller_as_a_reader_is_told_who_failed(self) -> None:
        judge = Judge(section("a>y p<y>x", external="x"))
        feed(judge, "a raised")
        feed(judge, "p upstream told")
        verdict = judge.verdict_outside("x")
        assert verdict is not None
        assert (verdict.well, verdict.culprit) == (False, "a")

    def test_behind_a_fan_out_the_callers_own_share_counts(self) -> None:
        members = [("p", NodeStreamsConfig(stdout="x")), ("c", NodeStreamsConfig(stdin="x"))]
        judge = Judge(plan_section(members, StreamSettings(), opened=frozenset("x")))
        feed(judge, "p returned")
        feed(judge, "x/c delivered")
        assert judge.verdict_outside("x") is None
        judge.sinks["x", ""] = SinkEnd.CUT
        judge.settle()
        verdict = judge.verdict_outside("x")
        assert verdict is not None
        assert not verdict.well
        assert "towards the caller" in judge.reason(fanout_name("x"))


@pytest.mark.parametrize(
    ("bindings", "broken", "status"),
    [
        ({"stdout": Binding()}, {1}, "STOPPED"),
        ({"stdout": Binding()}, (), "FAILED"),
        ({"stdout": Binding("out")}, (), "FAILED"),
        ({"stdout": Binding("out"), "stderr": Binding()}, {2}, "FAILED"),
    ],
)
def test_sigpipe_ends_well_only_with_a_proof_that_everybody_outside_has_gone(
    bindings: dict[str, Binding], broken: Any, status: str
) -> None:
    """A file never sends it: what stands there was cut by something else, and must not be taken for whole."""
    judge = Judge(plan_section([("p", NodeStreamsConfig(bindings=bindings))], StreamSettings()))
    judge.endings["p"] = Ending(How.EPIPE, 0, -13, broken=frozenset(broken))
    judge.conclude()

    assert judge.statuses["p"].name == status
