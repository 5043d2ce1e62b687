"""The lifeline: when the supervisor's end closes, the kernel ends the worker's group, whatever it is doing."""

from __future__ import annotations

import harness
import pytest

from teastreams.runtime import calls

HEAD = """
import select
from teastreams.runtime import lifeline
from teastreams.runtime.fds import ledger, make_pipe

ready_read, ready_write = os.pipe()

def worker(body, cut_before=False):
    \"\"\"A child in a group of its own, tied to the end that is returned with its pid.\"\"\"
    theirs, ours = make_pipe("lifeline")
    pid = os.fork()
    if pid == 0:
        ledger.close_all_but([theirs])  # not only its own other end: those of earlier workers as well
        os.setpgid(0, 0)
        if cut_before:
            os.read(gate_read, 1)
        lifeline.arm(theirs)
        os.write(ready_write, b"r")
        body()
        os._exit(0)
    theirs.close()
    return pid, ours

def ending(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def compute():
    while True:
        sum(range(1000))
"""

MODES = ["0", "1"]


def told(script: str, portable: str) -> dict[str, object]:
    return harness.run(HEAD + script, environment={calls.PORTABLE: portable}, deadline_seconds=20).told


@pytest.mark.parametrize("portable", MODES)
@pytest.mark.parametrize("body", ["compute", "lambda: time.sleep(1000)", "lambda: os.read(os.pipe()[0], 1)"])
def test_a_cut_lifeline_kills_a_worker_whatever_it_does(body: str, portable: str) -> None:
    """While it computes, sleeps, or hangs in a system call; by SIGKILL."""
    script = f"""
pid, ours = worker({body})
os.read(ready_read, 1)
ours.close()
tell(code=ending(pid))
"""
    assert told(script, portable) == {"code": -9}


@pytest.mark.parametrize("portable", MODES)
def test_the_children_of_a_worker_die_with_it(portable: str) -> None:
    """A program that the worker started ignores every polite signal; the end of its pipe shows that it is gone."""
    script = """
import subprocess
alive_read, alive_write = os.pipe()
def body():
    subprocess.Popen(["sh", "-c", "trap '' TERM INT HUP; echo >&%d; while :; do sleep 1000; done" % alive_write],
                     pass_fds=[alive_write])
    os.close(alive_write)
    time.sleep(1000)
pid, ours = worker(body)
os.close(alive_write)
started = os.read(alive_read, 1)
ours.close()
tell(started=started.decode(), code=ending(pid), rest=os.read(alive_read, 1).decode())
"""
    assert told(script, portable) == {"started": "\n", "code": -9, "rest": ""}


@pytest.mark.parametrize("portable", MODES)
def test_a_lifeline_that_was_cut_before_it_was_armed_kills_too(portable: str) -> None:
    """The supervisor may die between the fork and the first act of the worker: no signal comes for that."""
    script = """
gate_read, gate_write = os.pipe()
pid, ours = worker(compute, cut_before=True)
ours.close()
os.write(gate_write, b"g")
tell(code=ending(pid), armed=bool(select.select([ready_read], [], [], 0)[0]))
"""
    assert told(script, portable) == {"code": -9, "armed": False}


@pytest.mark.parametrize("portable", MODES)
def test_only_the_worker_on_that_line_dies(portable: str) -> None:
    """One pipe each: another worker, and whoever made them, live on."""
    script = """
first, line = worker(compute)
second, other = worker(lambda: time.sleep(1000))
for _ in range(2):
    os.read(ready_read, 1)
line.close()
code = ending(first)
alive = os.waitpid(second, os.WNOHANG)[0] == 0
other.close()
tell(code=code, alive=alive, second=ending(second))
"""
    assert told(script, portable) == {"code": -9, "alive": True, "second": -9}
