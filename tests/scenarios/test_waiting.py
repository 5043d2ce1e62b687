"""Nodes that wait for each other outside the pipes: a stall is ended by name, spill lets it finish, slowness is none.

A reader that stops until a file appears, which its sibling writes behind the end of its own input, waits for itself by
way of the producer: no arithmetic of buffers can see that. `stall_timeout` ends it and says who waits for whom.
"""

from __future__ import annotations

import sys
from pathlib import Path

import harness
import pytest

COMMON = """
folder, SIZE = sys.argv[1], 300_000

def produce(state):
    for block in stream("w", SIZE, 1000):
        sys.stdout.buffer.write(block)

def wait_for(name):
    while not os.path.exists(os.path.join(folder, name)):
        time.sleep(0.005)

def reader(waits="", writes="", passes=False):
    def work(state):
        whole, count = hashlib.sha256(), 0
        for block in iter(lambda: sys.stdin.buffer.read1(1000), b""):
            whole.update(block)
            count += len(block)
            if waits and count >= 1000:
                wait_for(waits)
            if passes:
                sys.stdout.buffer.write(block)
        if writes:
            open(os.path.join(folder, writes), "w").close()
        assert whole.hexdigest() == digest2, (count, SIZE)
    return work

whole = hashlib.sha256()
for block in stream("w", SIZE, 1000):
    whole.update(block)
digest2 = whole.hexdigest()

def graph(overflow, stall=0.5):
    streams = ts.StreamSettings(stall_timeout=stall, grace_seconds=0.2, buffer_size=4096)
    return ts.StateGraph(parallel_config=ts.ParallelConfig(strategy="process", streams=streams))

def like(overflow):
    return {"from": "x", "overflow": overflow, "buffer_limit": 8192}

def pair(overflow):
    g = graph(overflow).add_node("p", run=produce, streams={"stdout": "x"})
    g.add_node("a", run=reader(waits="b"), streams={"stdin": like(overflow)})
    g.add_node("b", run=reader(writes="b"), streams={"stdin": like(overflow)})
    return g.add_parallel_edge("p", ["a", "b"], stream_mode="broadcast")

def chain(overflow):
    g = graph(overflow).add_node("p", run=produce, streams={"stdout": "x"})
    for name, waits, writes in (("a", "b", ""), ("b", "c", "b"), ("c", "", "c")):
        g.add_node(name, run=reader(waits, writes), streams={"stdin": like(overflow)})
    return g.add_parallel_edge("p", ["a", "b", "c"], stream_mode="broadcast")

def diamond(overflow):
    g = graph(overflow).add_node("p", run=produce, streams={"stdout": "x"})
    g.add_node("a", run=reader(waits="d", passes=True), streams={"stdin": like(overflow), "stdout": "y"})
    g.add_node("b", run=reader(passes=True), streams={"stdin": like(overflow), "stdout": "z"})
    g.add_node("c", run=reader(), streams={"stdin": "y"}).add_node("d", run=reader(writes="d"), streams={"stdin": "z"})
    g.add_parallel_edge("p", ["a", "b"], stream_mode="broadcast")
    return g.add_edge("a", "c").add_edge("b", "d")

def crossed(overflow):
    def both(state):
        for out in (sys.stderr, sys.stdout):
            for block in stream("w", SIZE, 1000):
                out.buffer.write(block)
            out.flush()
    g = graph(overflow).add_node("p", run=both, streams={"stdout": "out", "stderr": "err"})
    g.add_node("a", run=reader(waits="b"), streams={"stdin": {**like(overflow), "from": "err"}})
    g.add_node("b", run=reader(writes="b"), streams={"stdin": {**like(overflow), "from": "out"}})
    return g.add_parallel_edge("p", ["a", "b"])

app = dict(pair=pair, chain=chain, diamond=diamond, crossed=crossed)[sys.argv[2]](sys.argv[3])
app = app.set_entry_point("p").compile()
with untouched():
    try:
        app.run(echo_output=False)
    except ts.WorkflowFailed as failed:
        tell(phase=failed.primary.phase, message=str(failed))
    else:
        tell(phase="well")
"""

NAMED = {
    "pair": ("'p' waits for room in 'x', read by 'a', 'b'", "'b' waits for bytes of 'x' from 'p'", "'a' is in its own"),
    "chain": ("'p' waits for room in 'x', read by 'a', 'b', 'c'", "'c' waits for bytes of 'x' from 'p'", "'b' is in"),
    "diamond": ("'p' waits for room in 'x'", "'d' waits for bytes of 'z' from 'b'", "'a' is in its own code"),
    "crossed": ("'p' waits for room in", "'b' waits for bytes of 'out' from 'p'", "'a' is in its own code"),
}


@pytest.mark.slow
@pytest.mark.parametrize("shape", NAMED)
def test_a_wait_outside_the_pipes_ends_by_stall_timeout_and_names_who_waits_for_whom(
    shape: str, tmp_path: Path
) -> None:
    """With `block` the waiting closes a circle through the producer, which no buffer can open."""
    told = harness.run(COMMON, arguments=(str(tmp_path), shape, "block")).told

    assert told["phase"] == "stall"
    assert [part for part in NAMED[shape] if part not in told["message"]] == []


@pytest.mark.slow
@pytest.mark.parametrize("shape", NAMED)
def test_with_spill_the_same_nodes_finish_byte_exact(shape: str, tmp_path: Path) -> None:
    """What the waiting reader does not take goes to the disk, so nobody waits for it."""
    assert harness.run(COMMON, arguments=(str(tmp_path), shape, "spill")).told["phase"] == "well"


@pytest.mark.slow
def test_a_slow_section_that_moves_never_stalls_out() -> None:
    """A byte in each third of the time is movement, however little it is."""
    script = """
    def produce(state):
        for number in range(12):
            time.sleep(0.2)
            print(number, flush=True)
    g = ts.StateGraph(parallel_config=ts.ParallelConfig("process", streams=ts.StreamSettings(stall_timeout=0.6)))
    g.add_node("p", run=produce, streams={"stdout": "x"})
    g.add_node("c", run=lambda state: {"n": len(list(sys.stdin))}, streams={"stdin": "x"})
    app = g.add_edge("p", "c").set_entry_point("p").compile()
    tell(n=app.run().state["n"])
    """
    assert harness.run(script).told["n"] == 12


@pytest.mark.slow
def test_a_stall_is_exit_code_5_of_the_command_line(tmp_path: Path) -> None:
    """And what is printed names the two that wait."""
    document = tmp_path / "wait.yaml"
    document.write_text(f"""
settings:
  parallel:
    streams: {{enabled: true, stall_timeout: 0.5, grace: 0.2, buffer_size: 4096, buffer_limit: 8192}}
nodes:
  - name: p
    streams: {{stdout: x}}
    run: |
      for number in range(50000):
        print("a line of some length", number)
  - name: a
    streams: {{stdin: x}}
    run: |
      import os, sys, time
      sys.stdin.readline()
      while not os.path.exists("{tmp_path}/b"):
        time.sleep(0.01)
      sys.stdin.read()
  - name: b
    streams: {{stdin: x}}
    run: |
      import sys
      sys.stdin.read()
      open("{tmp_path}/b", "w").close()
edges:
  - {{from: __start__, to: p}}
  - {{from: p, to: [a, b], parallel: true, parallel_strategy: process, stream_mode: broadcast}}
""")
    ended = harness.run_command([sys.executable, "-m", "teastreams", "run", str(document)], expect=5)

    assert "'p' waits for room in 'x', read by 'a', 'b'" in ended.stderr
