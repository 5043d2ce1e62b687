"""The host's signals while a run supervises: taken over, told in the loop, and put back."""

from __future__ import annotations

import harness
import pytest

HEAD = """
from teastreams.runtime import calls, interrupts
from teastreams.runtime.interrupts import Interrupts, raise_again
from teastreams.runtime.loop import Loop

loop, seen = Loop(), []
taken = Interrupts(loop, seen.append)
"""


def told(script: str) -> dict[str, object]:
    return harness.run(HEAD + script, deadline_seconds=20).told


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_stopping_signal_is_told_by_the_loop(name: str) -> None:
    """Not in signal context: nothing is called before the loop waits. Afterwards all is as before."""
    script = f"""
with untouched():
    taken.capture()
    signal.raise_signal(signal.{name})
    at_once = list(seen)
    loop.wait()
    taken.release()
tell(at_once=at_once, seen=seen == [signal.{name}])
"""
    assert told(script) == {"at_once": [], "seen": True}


def test_a_signal_wakes_a_loop_that_waits() -> None:
    """Sent by another process while nothing else would end the wait."""
    script = """
import subprocess
with untouched():
    taken.capture()
    sender = subprocess.Popen(["sh", "-c", f"kill -INT {os.getpid()}"])
    while not seen:
        loop.wait()
    taken.release()
    sender.wait()
tell(seen=seen == [signal.SIGINT])
"""
    assert told(script) == {"seen": True}


def test_a_signal_that_came_last_is_not_lost() -> None:
    """It is told at the release, when no loop waits any more."""
    script = """
taken.capture()
signal.raise_signal(signal.SIGTERM)
taken.release()
tell(seen=seen == [signal.SIGTERM])
"""
    assert told(script) == {"seen": True}


def test_other_signals_wake_the_loop_and_mean_nothing() -> None:
    """The host's own handler has run; nobody is asked to stop."""
    script = """
own = []
signal.signal(signal.SIGUSR1, lambda *_: own.append(1))
with untouched():
    taken.capture()
    signal.raise_signal(signal.SIGUSR1)
    loop.wait()
    taken.release()
tell(seen=seen, own=own)
"""
    assert told(script) == {"seen": [], "own": [1]}


def test_both_may_be_called_again_and_again() -> None:
    """Twice in a row is once; after a release it is captured anew."""
    script = """
with untouched():
    taken.release()
    for _ in range(3):
        taken.capture()
        taken.capture()
        signal.raise_signal(signal.SIGINT)
        loop.wait()
        taken.release()
        taken.release()
tell(count=len(seen))
"""
    assert told(script) == {"count": 3}


def test_what_the_host_ignores_stays_ignored() -> None:
    """A run under nohup, or in the background of a shell, is not stopped by Ctrl-C at the terminal."""
    script = """
signal.signal(signal.SIGINT, signal.SIG_IGN)
with untouched():
    taken.capture()
    during = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    signal.raise_signal(signal.SIGINT)
    taken.release()
tell(during=during, seen=seen)
"""
    assert told(script) == {"during": True, "seen": []}


def test_a_handler_that_is_not_pythons_is_left_alone() -> None:
    """It could not be put back: Python shows it as None."""
    script = """
touched = []
real = calls.table.set_handler
calls.table.get_handler = lambda number: None
calls.table.set_handler = lambda number, handler: touched.append(number) or real(number, handler)
with untouched():
    taken.capture()
    taken.release()
tell(touched=touched)
"""
    assert told(script) == {"touched": []}


def test_writing_to_and_waiting_for_children_works_whatever_the_host_has_set() -> None:
    """SIGPIPE would kill us at a write, and an ignored SIGCHLD takes every exit status away: both only meanwhile."""
    script = """
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
with untouched():
    taken.capture()
    during = [signal.getsignal(number).name for number in (signal.SIGPIPE, signal.SIGCHLD)]
    taken.release()
tell(during=during)
"""
    assert told(script) == {"during": ["SIG_IGN", "SIG_DFL"]}


def test_the_hosts_own_wake_up_is_put_back() -> None:
    """An event loop around us has one; a signal after the release reaches it, and none of ours did."""
    script = """
import socket
mine, theirs = socket.socketpair()
for each in (mine, theirs):
    each.setblocking(False)
signal.signal(signal.SIGINT, lambda *_: None)
signal.set_wakeup_fd(theirs.fileno())
with untouched():
    taken.capture()
    signal.raise_signal(signal.SIGTERM)
    taken.release()
signal.raise_signal(signal.SIGINT)
tell(woken=list(mine.recv(10)) == [signal.SIGINT])
signal.set_wakeup_fd(-1)
"""
    assert told(script) == {"woken": True}


def test_outside_the_main_thread_nothing_is_touched() -> None:
    """Python allows none of it there; the host's own handling stays."""
    script = """
during = []
def work():
    taken.capture()
    during.append(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
    taken.release()
with untouched():
    thread = threading.Thread(target=work)
    thread.start(); thread.join()
tell(during=during)
"""
    assert told(script) == {"during": [True]}


def test_after_an_ordered_stop_the_host_has_the_signal() -> None:
    """Ctrl-C is KeyboardInterrupt; where the host's handler returns, the run is still over; no signal, nothing."""
    script = """
ends = []
def end(number):
    try:
        raise_again(number)
        ends.append("went on")
    except BaseException as error:
        ends.append(type(error).__name__)
end(None)
end(signal.SIGINT)
signal.signal(signal.SIGTERM, lambda *_: ends.append("the host's handler"))
end(signal.SIGTERM)
tell(ends=ends)
"""
    assert told(script) == {"ends": ["went on", "KeyboardInterrupt", "the host's handler", "Interrupted"]}


@pytest.mark.parametrize("error", ["EMFILE", "ENOMEM"])
def test_no_room_for_the_pipe_is_a_limit_that_changes_nothing(error: str) -> None:
    """The handlers are those of the host; a later capture works."""
    script = f"""
import errno
def refuse():
    raise OSError(errno.{error}, "no room")
real, calls.table.pipe = calls.table.pipe, refuse
with untouched():
    try:
        taken.capture()
    except ts.LimitError:
        tell(refused=True)
    taken.release()
calls.table.pipe = real
taken.capture()
signal.raise_signal(signal.SIGINT)
loop.wait()
taken.release()
tell(count=len(seen))
"""
    assert told(script) == {"refused": True, "count": 1}


@pytest.mark.parametrize("victim", ["set_handler", "set_wakeup_fd", "read", "close"])
def test_a_signal_in_the_middle_of_the_release_is_the_hosts_and_tears_nothing_apart(victim: str) -> None:
    """The host's handler raises only when all of it is given back, and the signals can be taken again."""
    script = f"""
class Ended(Exception): pass

def ends(number, frame):
    raise Ended

def torn(*args, real=calls.table.{victim}, **options):
    signal.raise_signal(signal.SIGTERM)
    return real(*args, **options)

signal.signal(signal.SIGTERM, ends)
mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
with untouched():
    taken.capture()
    calls.table.{victim}, real = torn, calls.table.{victim}
    try:
        taken.release()
    except Ended:
        tell(ended=True)
    calls.table.{victim} = real
    taken.capture()
    taken.release()
tell(mask=signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask, mine=signal.getsignal(signal.SIGTERM) is ends)
"""
    assert told(script) == {"ended": True, "mask": True, "mine": True}
