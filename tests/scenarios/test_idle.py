"""Who waits costs nothing: no processor time and no wake-up, as the kernel counts them."""

from __future__ import annotations

import os
import sys

import harness
import pytest

LOOK = """
def look(pid):
    with open(f"/proc/{pid}/stat") as file:
        user, system = file.read().rsplit(")", 1)[1].split()[11:13]
    with open(f"/proc/{pid}/status") as file:
        switches = sum(int(line.split()[1]) for line in file if "ctxt_switches" in line)
    return int(user) + int(system), switches

def sleeper(state):
    supervisor = os.getppid()
    time.sleep(0.3)  # the others come to rest
    with open(f"/proc/{supervisor}/task/{supervisor}/children") as file:
        pids = [supervisor, *(int(pid) for pid in file.read().split() if int(pid) != os.getpid())]
    before = [look(pid) for pid in pids]
    time.sleep(state["seconds"])
    return {"spent": [[b - a for a, b in zip(*both)] for both in zip(before, [look(pid) for pid in pids])]}

def reader(state):
    sys.stdin.read()

def spent(seconds, **streams):
    settings = ts.ParallelConfig(strategy="process", streams=ts.StreamSettings(**streams))
    g = ts.StateGraph(parallel_config=settings)
    g.add_node("sleeper", run=sleeper, streams={"stdout": "x"})
    for name in "ab":
        g.add_node(name, run=reader, streams={"stdin": "x"})
    g.add_parallel_edge("sleeper", ["a", "b"], stream_mode="broadcast")
    return g.set_entry_point("sleeper").compile().run({"seconds": seconds}).state["spent"]
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc counts, and only Linux tells of exits without a look")
@pytest.mark.skipif(os.environ.get("TEASTREAMS_PORTABLE") == "1", reason="the portable path looks for exits by itself")
@pytest.mark.parametrize("settings", ["", ", stall_timeout=1000"])
def test_supervisor_fanout_and_readers_of_a_sleeping_node_do_nothing(settings: str) -> None:
    """[ticks of processor time, context switches] of supervisor, fan-out worker and two readers, over a second."""
    told = harness.run(f"{LOOK}\ntell(spent=spent(1{settings}))").told

    assert told["spent"] == [[0, 0]] * 4
