"""Learning of an exit: by every way this machine has, without taking the status away."""

from __future__ import annotations

import sys

import harness
import pytest

from teastreams.runtime import calls

HEAD = """
import errno, select
from teastreams.runtime import calls
from teastreams.runtime.exits import watch_exit

def child(body=lambda: None):
    \"\"\"A child that runs `body` and waits for `let` before it leaves by 7.\"\"\"
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        body()
        os.read(read, 1)
        os._exit(7)
    return pid, lambda: os.write(write, b"g")

def until_exited(watch):
    if watch.fd is not None:
        assert select.select([watch.fd], [], [], 20)[0], "the notice did not come"
    while not watch.exited():
        pass
"""

CASES = ["pidfd", "portable", "forbidden", "old kernel"]


def watched(script: str, case: str) -> dict[str, object]:
    """Run with one of the ways; those that are not "pidfd" come out at asking."""
    refused = {"forbidden": "EPERM", "old kernel": "ENOSYS"}.get(case, "")
    fault = f"def refuse(pid): raise OSError(errno.{refused}, 'refused')\ncalls.table.pidfd_open = refuse\n"
    portable = "1" if case == "portable" else "0"
    return harness.run(HEAD + (fault if refused else "") + script, environment={calls.PORTABLE: portable}).told


@pytest.mark.parametrize("case", CASES)
def test_an_exit_is_seen_and_its_status_is_left_to_be_collected(case: str) -> None:
    """Not before it happens; and asking again gives the same answer."""
    script = """
pid, let = child()
with untouched():
    watch = watch_exit(pid)
    notice, before = watch.fd is not None, watch.exited()
    let()
    until_exited(watch)
    again = watch.exited()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    watch.close()
tell(before=before, again=again, status=status, notice=notice)
"""
    notice = case == "pidfd" and sys.platform == "linux"
    assert watched(script, case) == {"before": False, "again": True, "status": 7, "notice": notice}


@pytest.mark.parametrize("case", CASES)
def test_a_child_that_is_gone_already_is_seen_as_gone(case: str) -> None:
    """Ended before anybody watched; or collected by somebody else, so that nobody can be asked about it."""
    script = """
pid, let = child()
let()
os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
late = watch_exit(pid)
until_exited(late)
os.waitpid(pid, 0)
tell(late=True, collected=late.exited())
late.close()
"""
    assert watched(script, case) == {"late": True, "collected": True}


@pytest.mark.parametrize("case", CASES)
def test_a_grandchild_does_not_delay_the_notice(case: str) -> None:
    """It inherits what its parent held, and lives on; the exit of its parent is seen all the same."""
    script = """
read, write = os.pipe()
def body():
    if os.fork() == 0:
        os.close(write)
        os.read(read, 1)
        os._exit(0)
pid, let = child(body)
watch = watch_exit(pid)
let()
until_exited(watch)
os.waitpid(pid, 0)
watch.close()
os.close(write)
tell(seen=True)
"""
    assert watched(script, case) == {"seen": True}


def test_several_children_have_a_notice_each() -> None:
    """Only the one that ended is told of."""
    script = """
children = [child() for _ in range(3)]
watches = [watch_exit(pid) for pid, _let in children]
children[1][1]()
until_exited(watches[1])
tell(exited=[watch.exited() for watch in watches])
for (pid, let), watch in zip(children, watches):
    if watch is not watches[1]:
        let()
    os.waitpid(pid, 0)
    watch.close()
"""
    assert watched(script, "pidfd") == {"exited": [False, True, False]}
