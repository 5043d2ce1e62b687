"""The supervisor is interrupted, terminated or killed: nothing outlives the run (L4).

The workers are busy, ignore TERM and INT, and one has a child of its own. After an ordered stop, and within a second
of a SIGKILL, no process that carries the scenario's tag is left.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Optional

import harness
import pytest

SCRIPT = """
from inside import *
import subprocess

def node(state):
    node.child = subprocess.Popen(["sleep", "1000"])
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tell(p=1)
    while True:
        sum(range(10000))

def cat(state, node):
    tell(**{node: 1})
    for line in sys.stdin:
        pass

streams = ts.StreamSettings(grace_seconds=float(sys.argv[1]))
g = ts.StateGraph(parallel_config=ts.ParallelConfig(strategy="process", streams=streams))
g.add_node("p", node, streams={"stdout": "x"})
g.add_node("c", cat, streams={"stdin": "x"})
g.add_node("d", cat, streams={"stdin": "x"})
g.add_parallel_edge("p", ["c", "d"], stream_mode="broadcast")
g.set_entry_point("p")
with untouched():
    g.compile().run()
"""


class Ended:
    def __init__(self, exit_code: int, seconds: float, survivors: list[int], stderr: str) -> None:
        self.exit_code, self.seconds, self.survivors, self.stderr = exit_code, seconds, survivors, stderr


def stopped_by(signals: list[int], grace_seconds: float, environment: Optional[dict[str, str]] = None) -> Ended:
    tag = uuid.uuid4().hex
    with tempfile.TemporaryDirectory() as folder:
        history = Path(folder, "history")
        command = [sys.executable, "-X", "faulthandler", "-W", "error", "-c", SCRIPT, str(grace_seconds)]
        process = harness.start(command, tag, history, environment)
        try:
            wait_for_lines(history, 3)
            started = time.monotonic()
            for number in signals:
                os.kill(process.pid, number)
                harness.wait_gone(tag, 0.1)  # a second signal while the first is being served
            _out, err = process.communicate(timeout=30)
            seconds = time.monotonic() - started
            survivors = harness.wait_gone(tag)
        finally:  # they would run for ever
            for pid in harness.tagged(tag):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    return Ended(process.returncode, seconds, survivors, err.decode())


def wait_for_lines(history: Path, count: int) -> None:
    deadline = time.monotonic() + 20
    while not history.exists() or history.read_text().count("\n") < count:
        assert time.monotonic() < deadline, "the nodes did not start"
        time.sleep(0.005)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="survivors are found through /proc")
class TestSupervisor:
    @pytest.mark.parametrize("portable", ["0", "1"])
    def test_killed_takes_every_worker_and_their_children_along(self, portable: str) -> None:
        """SIGKILL leaves no chance to clean up: the lifelines do it."""
        ended = stopped_by([signal.SIGKILL], 5, {"TEASTREAMS_PORTABLE": portable})

        assert ended.survivors == []

    @pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "KeyboardInterrupt"), (signal.SIGTERM, "")])
    def test_asked_to_stop_stops_in_order_and_passes_the_signal_on(self, number: int, name: str) -> None:
        """TERM, grace, KILL; then the host's own handling of the signal, which here is Python's."""
        ended = stopped_by([number], 0.3)

        assert (-number, []) == (ended.exit_code, ended.survivors)
        assert name in ended.stderr
        assert 0.3 <= ended.seconds < 10

    @pytest.mark.parametrize("signals", [[signal.SIGINT, signal.SIGINT], [signal.SIGTERM, signal.SIGINT]])
    def test_asked_twice_stops_at_once(self, signals: list[int]) -> None:
        """The second signal does not wait for the grace of a minute."""
        ended = stopped_by(signals, 60)

        assert (-signals[0], []) == (ended.exit_code, ended.survivors)
        assert ended.seconds < 10
