"""A start that fails half-way: whichever descriptor is the one too many, one clear error and nothing left."""

from __future__ import annotations

import harness
import pytest

BROADCAST = '''
import errno
from teastreams.runtime import calls

def p(state):
    print("line", file=sys.stdout); return {"made": 1}

def cat(state):
    return {"n": len(sys.stdin.read())}

g = ts.StateGraph()
g.add_node("p", p, streams={"stdout": "x"})
g.add_node("c", cat, streams={"stdin": "x"})
g.add_node("d", cat, streams={"stdin": "x"})
g.add_parallel_edge("p", ["c", "d"], stream_mode="broadcast")
g.set_entry_point("p")
app = g.compile()
here, real = os.getpid(), calls.Calls()
first = app.run().state

def failing(name, which, number):
    """The call `name` fails the `which`-th time in this process; in a child it works."""
    count = [0]
    def call(*arguments, **named):
        if os.getpid() == here:
            count[0] += 1
            if count[0] == which:
                raise OSError(number, os.strerror(number))
        return getattr(real, name)(*arguments, **named)
    setattr(calls.table, name, call)
    return count

def ended(name, which, number):
    """How a run ends in which that call fails; None when the run made fewer such calls."""
    count = failing(name, which, number)
    try:
        with untouched():
            app.run()
        outcome = "ok"
    except Exception as error:
        outcome = f"{type(error).__name__}: {error}"
    finally:
        setattr(calls.table, name, getattr(real, name))
    return outcome if count[0] >= which else None
'''

SWEEP = (
    BROADCAST
    + """
name, number = sys.argv[1], getattr(errno, sys.argv[2])
outcomes, which = [], 1
while True:
    outcome = ended(name, which, number)
    if outcome is None:
        break
    outcomes.append(outcome)
    which += 1
with untouched():
    tell(same=app.run().state == first)
tell(outcomes=outcomes)
"""
)


def sweep(call: str, error: str) -> list[str]:
    """The call fails for the first, the second, the third time, ... until a run makes fewer of it."""
    told = harness.run(SWEEP, arguments=(call, error)).told
    assert told["same"], "a run after a failed one gives what the first one gave"
    outcomes: list[str] = told["outcomes"]
    return outcomes


@pytest.mark.slow
@pytest.mark.parametrize("error", ["EMFILE", "ENFILE", "ENOMEM"])
def test_every_pipe_that_cannot_be_made_is_a_limit(error: str) -> None:
    """Wherever it is in the start: no child, no descriptor, no handler is left, and the next run works.

    Four workers with three pipes each, three with logs, three pipes of the channel, and one for the signals.
    """
    outcomes = sweep("pipe", error)
    assert len(outcomes) >= 4 * 3 + 2 * 3 + 3
    assert {outcome.split(": ")[0] for outcome in outcomes} == {"LimitError"}
    assert all("ulimit -n" in outcome for outcome in outcomes)


def test_the_error_names_the_worker_that_could_not_start() -> None:
    """All four are named in the course of the sweep, the fan-out worker as well."""
    outcomes = sweep("pipe", "EMFILE")
    named = {outcome.partition(" start ")[2].partition(": ")[0] for outcome in outcomes}
    assert named == {"a section", "'p'", "\"fan-out of 'x'\"", "'c'", "'d'"}


def test_a_descriptor_that_cannot_be_moved_leaves_nothing() -> None:
    """The second half of making each pipe. A wish for its size may fail without a word."""
    assert {outcome.split(": ")[0] for outcome in sweep("fcntl", "EMFILE")} - {"ok"} == {"LimitError"}


def test_a_fork_that_fails_for_want_of_permission_is_not_a_limit() -> None:
    """An error that no other limit would cure stays what it is; nothing is left either."""
    assert {outcome.split(": ")[0] for outcome in sweep("fork", "EPERM")} == {"PermissionError"}


ROW = """
from teastreams.runtime import calls
order, real, here = [], calls.Calls(), os.getpid()

def noted(name):
    def call(*arguments):
        if os.getpid() == here:
            order.append(name)
        return getattr(real, name)(*arguments)
    setattr(calls.table, name, call)

noted("pipe"), noted("fork")
streams = [{"stdout": "x"}, {"stdin": "x", "stdout": "y"}, {"stdin": "y"}]
g = ts.StateGraph()
for number, each in enumerate(streams):
    g.add_node(f"n{number}", lambda state: None, streams=each if sys.argv[1] == "section" else None)
if sys.argv[1] == "section":
    g.add_edge("n0", "n1"); g.add_edge("n1", "n2"); g.set_entry_point("n0")
else:
    g.add_node("all", lambda state: None)
    g.set_entry_point("all"); g.add_parallel_edge("all", ["n0", "n1", "n2"], strategy="process")
with untouched():
    g.compile().run()
tell(order=order)
"""


def test_the_workers_of_a_section_are_forked_in_a_row() -> None:
    """What is done between two forks is done on pages that the first has made read-only."""
    order = harness.run(ROW, arguments=("section",)).told["order"]
    assert order[order.index("fork") :] == ["fork"] * 3


def test_the_workers_of_a_batch_are_forked_alone() -> None:
    """They run at once: an end of one, that the next holds for a moment, could keep its result open."""
    order = harness.run(ROW, arguments=("batch",)).told["order"]
    assert order[order.index("fork") :] == (["fork"] + ["pipe"] * 5) * 2 + ["fork"]


def test_an_exit_notice_that_the_kernel_refuses_is_done_without() -> None:
    """Where pidfd_open is forbidden or out of descriptors, exits are learned of by asking."""
    assert set(sweep("pidfd_open", "EMFILE")) <= {"ok"}
    assert set(sweep("pidfd_open", "ENOSYS")) <= {"ok"}


def test_shared_memory_that_cannot_be_had_is_an_error_that_leaves_nothing() -> None:
    """Before the first fork."""
    (outcome,) = sweep("shared_memory", "ENOMEM")
    assert outcome.startswith("LimitError: ")
