"""Facts about the books of a section: which updates a consumer is given."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from teastreams.core.graph import NodeStreamsConfig, StreamSettings
from teastreams.core.outcome import Judge, Status
from teastreams.core.plan import plan_section
from teastreams.runtime.supervision.accounts import Accounts

CHAIN = {"a": NodeStreamsConfig(None, "x"), "b": NodeStreamsConfig("x", "y"), "c": NodeStreamsConfig("y", "z")}


class Books:
    """A chain of nodes, what each has returned, and what is known of its end."""

    def __init__(self, **statuses: Status) -> None:
        plan = plan_section([*CHAIN.items(), ("d", NodeStreamsConfig("z"))], StreamSettings())
        self.judge = Judge(plan, statuses=dict(statuses))
        order: Any = SimpleNamespace(plan=plan)
        self.accounts = Accounts(order, self.judge, SimpleNamespace())  # type: ignore[arg-type]
        self.children: Any = {name: SimpleNamespace(update=f"of {name}") for name in plan.nodes}

    def above(self, name: str) -> tuple[Any, ...]:
        return self.accounts.updates_above(name, self.children)


def test_a_consumer_is_given_what_everybody_above_it_returned() -> None:
    books = Books(a=Status.DONE, b=Status.STOPPED, c=Status.DONE)

    assert books.above("d") == ("of a", "of b", "of c")
    assert books.above("b") == ("of a",)
    assert books.above("a") == ()


def test_who_did_not_end_well_or_has_nothing_to_tell_is_left_out() -> None:
    books = Books(a=Status.TAINTED, b=Status.DONE, c=Status.DONE)
    books.children["b"].update = None

    assert books.above("d") == ("of c",)


def test_who_ends_later_than_the_stream_that_it_closed_is_seen_by_those_who_are_told_later() -> None:
    books = Books()
    assert books.above("b") == ()

    books.judge.statuses.update(b=Status.DONE)
    assert books.above("c") == ("of b",)

    books.judge.statuses.update(a=Status.DONE, c=Status.DONE)
    assert books.above("d") == ("of a", "of b", "of c")


def test_what_is_settled_is_not_looked_for_again() -> None:
    """The walk up ends at the first node whose share is known."""
    books = Books(a=Status.DONE, b=Status.DONE, c=Status.DONE)
    assert books.above("c") == ("of a", "of b")

    del books.children["a"], books.children["b"]
    assert books.above("d") == ("of a", "of b", "of c")
