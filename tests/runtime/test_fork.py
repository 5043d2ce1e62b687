"""One fork: what it may cost when it fails, what it must not disturb, and how its end is learned."""

from __future__ import annotations

import harness
import pytest

HEAD = """
import errno
import multiprocessing
from teastreams.runtime import calls, fork

def leaver(code=0):
    return lambda: os._exit(code)
"""


def told(script: str, **options: object) -> dict[str, object]:
    return harness.run(HEAD + script, **options).told  # type: ignore[arg-type]


PATIENCE = """
def refuse(times, number):
    left = [times]
    def attempt():
        if left[0]:
            left[0] -= 1
            raise OSError(number, os.strerror(number))
        return os.fork()
    calls.table.fork = attempt

def outcome(times, number):
    refuse(times, number)
    waits = []
    calls.table.sleep = waits.append
    with untouched():
        try:
            process = fork.start("busy", leaver(7), -1)
            end = process._popen.poll(0)
            process.join(0); process.close()
        except Exception as error:
            end = f"{type(error).__name__}: {error}"
    return [end, waits]

number = getattr(errno, sys.argv[1])
tell(ends=[outcome(times, number) for times in range(5)])
"""


@pytest.mark.parametrize("error", ["EAGAIN", "ENOMEM"])
def test_a_system_without_room_is_tried_three_more_times_with_growing_patience(error: str) -> None:
    """Then LimitError, which names the node and the limits; nothing is left, however many tries it took."""
    ends = told(PATIENCE, arguments=(error,))["ends"]
    assert isinstance(ends, list)
    assert [waits for _end, waits in ends] == [[], [0.05], [0.05, 0.1], [0.05, 0.1, 0.2], [0.05, 0.1, 0.2]]
    assert [end for end, _waits in ends[:4]] == [7, 7, 7, 7]
    assert ends[4][0].startswith("LimitError: the system refused to start a process for 'busy'")
    assert "ulimit -u" in ends[4][0]


def test_another_error_is_not_waited_for() -> None:
    """EPERM does not pass by itself."""
    ends = told(PATIENCE, arguments=("EPERM",))["ends"]
    assert isinstance(ends, list)
    assert [waits for _end, waits in ends] == [[]] * 5
    assert ends[1][0].startswith("PermissionError")


def test_a_workflow_that_may_not_fork_leaves_nothing_and_runs_when_it_may() -> None:
    """The second of two nodes gets no process: the first one is ended, and LimitError is raised."""
    script = """
    import resource
    def p(state): print("line")
    def c(state): return {"n": len(sys.stdin.readlines())}
    g = ts.StateGraph()
    g.add_node("p", p, streams={"stdout": "x"})
    g.add_node("c", c, streams={"stdin": "x"})
    g.add_edge("p", "c"); g.set_entry_point("p"); g.set_finish_point("c")
    app = g.compile()
    forks = []
    from teastreams.runtime import calls
    def attempt():
        forks.append(1)
        if len(forks) > 1:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return os.fork()
    calls.table.fork, calls.table.sleep = attempt, lambda seconds: None
    with untouched():
        try:
            app.run()
        except ts.LimitError as error:
            tell(error=str(error))
    calls.table = calls.Calls()
    with untouched():
        tell(state=dict(app.run().state), forks=len(forks))
    """
    ended = harness.run(script).told
    assert "'c'" in ended["error"]
    assert (ended["state"], ended["forks"]) == ({"n": 1}, 5)


def test_signals_wait_until_the_pid_is_known() -> None:
    """One that comes in the middle of the fork is delivered after it, and the child is not lost."""
    script = """
known = []
def interrupted():
    os.kill(os.getpid(), signal.SIGUSR1)
    return os.fork()
calls.table.fork = interrupted
import multiprocessing.process as registry
signal.signal(signal.SIGUSR1, lambda *_: known.append([child.pid for child in registry._children]))
process = fork.start("n", leaver(), -1)
tell(known=known == [[process.pid]], mask=len(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
process._popen.poll(0)
"""
    assert told(script) == {"known": True, "mask": 0}


def test_the_child_starts_with_all_signals_blocked_in_a_group_that_can_be_killed_at_once() -> None:
    """Whoever is first makes the group: the parent need not wait for the child to be able to sweep it."""
    script = """
read, write = os.pipe()
def body():
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    os.write(write, b"1" if {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD} <= blocked else b"0")
    time.sleep(1000)
process = fork.start("n", body, -1)
os.killpg(process.pid, 0)
blocked = os.read(read, 1).decode()
os.killpg(process.pid, signal.SIGKILL)
tell(blocked=blocked, code=process._popen.poll(0))
"""
    assert told(script) == {"blocked": "1", "code": -9}


def test_what_was_printed_before_is_not_printed_again_by_the_child() -> None:
    """Its copy of the buffer is empty; a stream that is closed or None is no obstacle."""
    script = """
sys.stdout = os.fdopen(os.dup(1), "w")  # buffered, whatever PYTHONUNBUFFERED says
print("before", end="")
def body():
    sys.stdout.flush()
    os._exit(0)
fork.start("n", body, -1)._popen.poll(0)
print(flush=True)
sys.stdout.close()
sys.stdout, old = None, sys.__stdout__
fork.start("n", leaver(), -1)._popen.poll(0)
sys.stdout = open(os.devnull, "w")
sys.stdout.close()
fork.start("n", leaver(), -1)._popen.poll(0)
sys.stdout = old
"""
    assert harness.run(HEAD + script).stdout == "before\n"


def test_a_status_that_the_host_collected_is_lost_and_not_waited_for() -> None:
    """`os.wait()` in the host takes it away; that is not "still alive"."""
    script = """
process = fork.start("n", leaver(3), -1)
os.waitpid(process.pid, 0)
tell(lost=process._popen.poll(0) == fork.STATUS_LOST)
"""
    assert told(script) == {"lost": True}


def test_a_look_does_not_collect() -> None:
    """multiprocessing looks at all its children at every start: an ended worker keeps its number until it is swept."""
    script = """
ended = fork.start("n", leaver(3), -1)
os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
looked = [multiprocessing.active_children() != [], ended._popen.poll(), ended.is_alive()]
other = multiprocessing.get_context("fork").Process(target=leaver())
other.start(); other.join()
tell(looked=looked[1:], code=ended._popen.poll(0))
"""
    assert told(script) == {"looked": [None, True], "code": 3}


def test_the_start_method_of_the_host_is_left_alone() -> None:
    """Nobody has chosen one after a start of ours."""
    script = """
fork.start("n", leaver(), -1)._popen.poll(0)
tell(method=multiprocessing.get_start_method(allow_none=True))
"""
    assert told(script) == {"method": None}


def test_a_body_that_returns_or_raises_does_not_come_back_into_the_callers_code() -> None:
    """The line below the start is reached once, by the parent."""
    script = """
def bad(): raise ValueError("no")
codes = [fork.start("n", body, -1)._popen.poll(0) for body in (lambda: None, bad)]
print("here", flush=True)
tell(codes=codes)
"""
    ended = harness.run(HEAD + script)
    assert (ended.told["codes"], ended.stdout) == ([0, 1], "here\n")
    assert "ValueError: no" in ended.stderr


def test_a_daemon_of_multiprocessing_may_have_our_children() -> None:
    """They end with it, and are no daemons themselves: their nodes may have children, too."""
    script = """
process = multiprocessing.current_process()
process._config["daemon"] = True
def body():
    os._exit(multiprocessing.current_process().daemon)
tell(code=fork.start("n", body, -1)._popen.poll(0), daemon=process.daemon)
process._config["daemon"] = False
"""
    assert told(script) == {"code": 0, "daemon": True}
