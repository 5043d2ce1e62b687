"""The ends of threads and the host's signals, waited for in one place."""

from __future__ import annotations

import harness
import pytest

HEAD = """
from teastreams.runtime import calls
from teastreams.runtime.completions import completions

ends = []

def thread_of(work):
    thread = threading.Thread(target=work)
    thread.start()
    return thread
"""


def told(script: str) -> dict[str, object]:
    return harness.run(HEAD + script, deadline_seconds=20).told


def test_the_wait_ends_with_the_last_thread() -> None:
    """Each tells once; the handlers, the wake-up and the descriptors are those from before."""
    script = """
with untouched():
    with completions(lambda: None) as ended:
        threads = [thread_of(ended.tell) for _ in range(20)]
        waited = ended.wait(20)
        for thread in threads:
            thread.join()
tell(waited=waited)
"""
    assert told(script) == {"waited": True}


def test_a_signal_that_another_thread_took_wakes_the_wait() -> None:
    """A lock's wait would go on: nobody interrupts the main thread. It is raised again at the end, for the host."""
    script = """
stopped = threading.Event()

def branch():
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)
    stopped.wait()
    ended.tell()

try:
    with completions(stopped.set) as ended:
        thread = thread_of(branch)
        ends.append(ended.wait(1))
        thread.join()
except KeyboardInterrupt:
    ends.append(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
tell(ends=ends)
"""
    assert told(script) == {"ends": [True, True]}


def test_after_a_second_signal_nobody_is_waited_for() -> None:
    """What still runs may tell it afterwards; nothing breaks."""
    script = """
go = threading.Event()

def branch():
    while not ended.abandoned:
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        go.wait(0.01)
    go.wait()
    ended.tell()

try:
    with completions(lambda: ends.append("told")) as ended:
        thread = thread_of(branch)
        waited = ended.wait(1)
except KeyboardInterrupt:
    go.set()
    thread.join()
tell(waited=waited, told=len(ends) > 1)
"""
    assert told(script) == {"waited": False, "told": True}


def test_what_no_handler_of_python_could_tear_stays_with_the_host() -> None:
    """Ignored stays ignored, the system's default ends the process: there are no children to end in order."""
    script = """
signal.signal(signal.SIGINT, signal.SIG_IGN)
before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGCHLD)]
with completions(lambda: None):
    after = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGCHLD)]
tell(same=before == after)
"""
    assert told(script) == {"same": True}


@pytest.mark.parametrize("nth", [1, 2])
def test_no_room_for_a_pipe_is_a_limit_that_changes_nothing(nth: int) -> None:
    """Whichever of the two pipes it is."""
    script = f"""
import errno
made = []
def refuse(real=calls.table.pipe):
    made.append(1)
    if len(made) == {nth}:
        raise OSError(errno.EMFILE, "no room")
    return real()
calls.table.pipe = refuse
with untouched():
    try:
        with completions(lambda: None):
            ends.append("inside")
    except ts.LimitError as error:
        ends.append("ulimit -n" in str(error))
tell(ends=ends)
"""
    assert told(script) == {"ends": [True]}
