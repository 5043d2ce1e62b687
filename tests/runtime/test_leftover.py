"""runtime/node/leftover.py: a worker waits for the programs that its node left behind, for a while."""

from __future__ import annotations

import os
import sys

import harness
import pytest

HEAD = """
from teastreams.runtime import calls
from teastreams.runtime.node.leftover import wait_for_children

def child():
    \"\"\"One that leaves when the end that is returned is closed.\"\"\"
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(write); os.read(read, 1); os._exit(0)
    os.close(read)
    return write
"""


class TestWaiting:
    def test_without_children_there_is_nothing_to_wait_for(self) -> None:
        told = harness.run(HEAD + "tell(gone=wait_for_children(0.0))").told

        assert told == {"gone": True}

    def test_the_last_one_ends_the_wait_and_all_are_collected(self) -> None:
        """The sleeps between two looks are where the children leave."""
        told = harness.run(
            HEAD
            + """
gates = [child(), child()]
calls.table.sleep = lambda _: gates and os.close(gates.pop())
tell(gone=wait_for_children(1000.0), left=len(gates))
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    tell(collected=True)
"""
        ).told

        assert told == {"gone": True, "left": 0, "collected": True}

    def test_one_that_stays_is_not_waited_for_for_ever(self) -> None:
        told = harness.run(
            HEAD
            + """
gate = child()
tell(gone=wait_for_children(0.01))
os.close(gate); os.wait()
"""
        ).told

        assert told == {"gone": False}

    @pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside a child that stays"])
    def test_the_tracker_of_shared_memory_is_let_go_and_hides_nobody(self, beside: bool) -> None:
        """By itself it would live as long as its process, with the node's stdout in its hands."""
        told = harness.run(
            HEAD
            + f"""
from multiprocessing import resource_tracker, shared_memory
memory = shared_memory.SharedMemory(create=True, size=10)
pid = resource_tracker._resource_tracker._pid
memory.close(); memory.unlink()
gate = child() if {beside} else None
tell(started=pid is not None, gone=wait_for_children(0.5 if gate else 1000.0))
try:
    os.kill(pid, 0)
except ProcessLookupError:
    tell(tracker="gone")
if gate:
    os.close(gate); os.wait()
""",
            warnings_as_errors=False,
        ).told

        assert (told["started"], told["gone"]) == (True, not beside)
        assert beside or told["tracker"] == "gone"

    def test_the_hosts_tracker_stays(self) -> None:
        told = harness.run(
            HEAD
            + """
from multiprocessing import resource_tracker, shared_memory
memory = shared_memory.SharedMemory(create=True, size=10)
tracker = resource_tracker._resource_tracker
pid = os.fork()
if pid == 0:
    fd = tracker._fd
    tell(gone=wait_for_children(0.0), kept=tracker._fd == fd is not None)
    os._exit(0)
os.waitpid(pid, 0)
tell(alive=os.kill(tracker._pid, 0) is None)
memory.close(); memory.unlink()
""",
            warnings_as_errors=False,
        ).told

        assert told == {"gone": True, "kept": True, "alive": True}

    def test_a_tracker_that_has_died_is_none(self) -> None:
        told = harness.run(
            HEAD
            + """
from multiprocessing import resource_tracker
resource_tracker.ensure_running()
os.kill(resource_tracker._resource_tracker._pid, signal.SIGKILL)
tell(gone=wait_for_children(1000.0))
""",
            warnings_as_errors=False,
        ).told

        assert told == {"gone": True}


STRANGER = (
    HEAD
    + """
from teastreams.runtime.node.leftover import wait_for_writers
read, write = os.pipe()
gate, hand = os.pipe()
if os.fork() == 0:  # a child that ends, and leaves one of its own, which nobody waits for
    if os.fork() == 0:
        os.close(hand); os.read(gate, 1)
    os._exit(0)
os.wait(); os.close(gate)
"""
)


LOOKS = pytest.mark.skipif(os.environ.get("TEASTREAMS_PORTABLE") == "1", reason="only Linux shows who holds a pipe")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets us look")
class TestWriters:
    @LOOKS
    def test_one_that_no_child_shows_is_waited_for(self) -> None:
        told = harness.run(
            STRANGER
            + """
calls.table.sleep = lambda _: os.write(hand, b"x") if not told else told.append(1)
told = []
tell(gone=wait_for_writers([write], 1000.0))
""",
        ).told

        assert told == {"gone": True}

    @LOOKS
    def test_but_not_for_ever(self) -> None:
        told = harness.run(STRANGER + "tell(gone=wait_for_writers([write], 0.01)); os.close(hand)").told

        assert told == {"gone": False}

    @pytest.mark.parametrize(
        "stream",
        ["write", "os.dup(write)", "os.open(os.devnull, os.O_WRONLY)", "4000"],
        ids=["its own end", "a copy of it", "no pipe", "closed"],
    )
    def test_its_own_ends_are_no_strangers(self, stream: str) -> None:
        """They lead nowhere afterwards: the node has returned."""
        told = harness.run(
            HEAD
            + f"""
from teastreams.runtime.node.leftover import wait_for_writers
read, write = os.pipe()
tell(gone=wait_for_writers([{stream}], 0.0))
"""
        ).told

        assert told == {"gone": True}

    def test_the_portable_path_does_not_look(self) -> None:
        told = harness.run(
            STRANGER + "tell(gone=wait_for_writers([write], 1000.0)); os.close(hand)",
            environment={"TEASTREAMS_PORTABLE": "1"},
        ).told

        assert told == {"gone": True}
