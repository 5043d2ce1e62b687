"""Whole workflows, from a YAML document to the final state: the scenarios of the epic's last story, and the big graph.

Each runs in a fresh interpreter, in front of `untouched()`: a run that leaves a descriptor, a child or a handler behind
fails whatever it is about. Where a user would sit at a terminal, the command line is run.
"""

from __future__ import annotations

import json
import shlex
import sys
import textwrap
from pathlib import Path
from typing import Any, Optional

import harness
import pytest

import teastreams as ts

HEAD = """
settings:
  parallel:
    strategy: process
    streams: {enabled: true}
"""

RUN = """
app = ts.YAMLEngine().load_from_string(sys.argv[1], "workflow.yaml").compile()
with untouched():
    result = app.run(json.loads(sys.argv[2]))
tell(
    state=dict(result.state),
    status=result.status,
    seconds=result.duration,
    node_seconds={name: node.seconds for name, node in result.nodes.items()},
    bytes={name: channel.bytes for name, channel in result.channels.items()},
    shares={name: {n: c.bytes for n, c in channel.consumers.items()} for name, channel in result.channels.items()},
)
"""


def workflow(text: str, head: str = HEAD) -> str:
    """A document: the settings that switch streams on, and these nodes and edges."""
    return head + textwrap.dedent(text)


def run_yaml(document: str, state: Optional[dict[str, Any]] = None, **options: Any) -> dict[str, Any]:
    """Run a document in a fresh interpreter; what the script told about the result."""
    return harness.run(RUN, arguments=(document, json.dumps(state or {})), **options).told


def command_line(*words: str, expect: int = 0) -> harness.Ended:
    """`python -m teastreams ...`"""
    return harness.run_command([sys.executable, "-W", "error", "-m", "teastreams", *words], expect=expect)


# -- from producer to consumer ----------------------------------------------------------------------------------------


@pytest.mark.scenario("001.5-E2E-001")
def test_a_thousand_records_arrive_and_are_counted() -> None:
    """Every record once, in order; both sides' counts are in the final state, and so is what the run began with."""
    told = run_yaml(
        workflow("""
        nodes:
          - name: producer
            streams: {stdout: records}
            run: |
              for number in range(state["wanted"]):
                print(f"record {number}")
              return {"produced": state["wanted"]}
          - name: consumer
            streams: {stdin: records}
            run: |
              import sys
              lines = sys.stdin.read().splitlines()
              whole = lines == [f"record {number}" for number in range(state["wanted"])]
              return {"consumed": len(lines), "whole": whole}
        edges:
          - {from: __start__, to: producer}
          - {from: producer, to: consumer}
          - {from: consumer, to: __end__}
        """),
        {"wanted": 1000},
    )
    assert told["state"] == {"wanted": 1000, "produced": 1000, "consumed": 1000, "whole": True}
    size = sum(len(f"record {number}\n") for number in range(1000))
    assert told["bytes"] == {"records": size}
    assert told["shares"] == {"records": {"consumer": size}}


THREE_STAGES = workflow("""
nodes:
  - name: generate
    streams: {stdout: raw}
    run: |
      import json
      for number in range(500):
        print(json.dumps({"id": number, "text": f"word {number}"}))
      return {"generated": 500}
  - name: transform
    streams: {stdin: raw, stdout: cooked}
    run: |
      import json, sys
      count = 0
      for line in sys.stdin:
        record = json.loads(line)
        print(json.dumps({"id": record["id"], "text": record["text"].upper(), "square": record["id"] ** 2}))
        count += 1
      return {"transformed": count, "generated_above": state["generated"]}
  - name: collect
    streams: {stdin: cooked}
    run: |
      import json, sys
      records = [json.loads(line) for line in sys.stdin]
      right = all(r == {"id": n, "text": f"WORD {n}", "square": n * n} for n, r in enumerate(records))
      return {"collected": len(records), "right": right, "transformed_above": state["transformed"]}
edges:
  - {from: __start__, to: generate}
  - {from: generate, to: transform}
  - {from: transform, to: collect}
  - {from: collect, to: __end__}
""")


@pytest.mark.scenario("001.5-E2E-002")
def test_a_chain_of_three_stages_transforms_every_record() -> None:
    """500 records pass through two pipes, changed in the middle; each stage has seen what those above it returned."""
    told = run_yaml(THREE_STAGES)
    assert told["state"] == {
        "generated": 500,
        "transformed": 500,
        "generated_above": 500,
        "collected": 500,
        "right": True,
        "transformed_above": 500,
    }


SUM_OF_EVENS = """
def produce(state):
    for number in range(1, 101):
        print(number)
    return {"last": 100, "unit": state["unit"] + "!"}

def keep_evens(state):
    for line in sys.stdin:
        if int(line) % 2 == 0:
            sys.stdout.write(line)
    return {"last_above": state["last"]}

def add_up(state):
    numbers = [int(line) for line in sys.stdin]
    return {"sum": sum(numbers), "count": len(numbers), "unit_above": state["unit"]}

graph = ts.StateGraph({"unit": str})
graph.add_node("a", run=produce, streams={"stdout": "numbers"})
graph.add_node("b", run=keep_evens, streams={"stdin": "numbers", "stdout": "evens"})
graph.add_node("c", run=add_up, streams={"stdin": "evens"})
graph.set_entry_point("a"); graph.add_edge("a", "b"); graph.add_edge("b", "c"); graph.set_finish_point("c")
with untouched():
    result = graph.compile().run({"unit": "tea"})
tell(state=dict(result.state))
"""


@pytest.mark.scenario("001.2-E2E-001", "QA-001.2-E2E-002")
def test_evens_of_one_to_a_hundred_add_up_to_2550() -> None:
    """A -> B -> C in Python, with state at the start, state at each end of stream, and 50 numbers in the last pipe."""
    state = harness.run(SUM_OF_EVENS).told["state"]
    assert (state["sum"], state["count"]) == (2550, 50)
    assert (state["last_above"], state["unit_above"], state["unit"]) == (100, "tea!", "tea!")


# -- broadcast --------------------------------------------------------------------------------------------------------


def broadcast(readers: list[str], producer: str, more: str = "", head: str = HEAD) -> str:
    """A producer whose channel all `readers` (texts of run blocks) read, and a fan-in that hands on their states."""
    names = [f"reader_{number}" for number in range(len(readers))]
    nodes = [("producer", "{stdout: lines}", producer)]
    nodes += [(name, "{stdin: lines}", text) for name, text in zip(names, readers)]
    text = "nodes:\n"
    for name, streams, code in nodes:
        text += f"  - name: {name}\n    streams: {streams}\n    run: |\n"
        text += textwrap.indent(textwrap.dedent(code).strip(), "      ") + "\n"
    return (
        head
        + text
        + textwrap.dedent(f"""\
          - name: join
            run: |
              {more}
              return {{"of_readers": [dict(result) for result in parallel_results]}}
        edges:
          - {{from: __start__, to: producer}}
          - from: producer
            to: [{", ".join(names)}]
            parallel: true
            stream_mode: broadcast
            fan_in: join
          - {{from: join, to: __end__}}
        """).replace("\n  ", "\n  ")
    )


HASHING = """
import hashlib, sys
data = sys.stdin.buffer.read()
return {"count": data.count(b"\\n"), "digest": hashlib.sha256(data).hexdigest(), "produced_above": state["produced"]}
"""


@pytest.mark.scenario("001.5-E2E-003")
def test_a_broadcast_reaches_three_consumers_whole() -> None:
    """Three readers have the producer's digest, its count of lines, and its state at the end of the stream."""
    document = broadcast(
        [HASHING] * 3,
        """
        import hashlib, sys
        data = "".join(f"line {number}\\n" for number in range(20_000))
        sys.stdout.write(data)
        return {"produced": 20_000, "digest_above": hashlib.sha256(data.encode()).hexdigest()}
        """,
    )
    told = run_yaml(document)
    state, size = told["state"], told["bytes"]["lines"]
    assert len(state["of_readers"]) == 3
    for reader in state["of_readers"]:
        assert (reader["count"], reader["produced_above"]) == (20_000, 20_000)
        assert reader["digest"] == state["digest_above"]
    assert told["shares"] == {"lines": dict.fromkeys(("reader_0", "reader_1", "reader_2"), size)}


@pytest.mark.slow
@pytest.mark.scenario("QA-001.5-E2E-004")
def test_a_slow_reader_does_not_multiply_the_time() -> None:
    """One of three takes 10 ms a line for 100 lines: all get all, the quick ones end long before, the run with it."""
    slow = """
    import sys, time
    count, began = 0, time.monotonic()
    for line in sys.stdin:
      time.sleep(0.01)
      count += 1
    return {"count": count, "own_seconds": time.monotonic() - began}
    """
    quick = """
    import sys
    return {"count": sum(1 for line in sys.stdin)}
    """
    told = run_yaml(broadcast([slow, quick, quick], 'print("\\n".join(f"line {number}" for number in range(100)))'))
    assert [reader["count"] for reader in told["state"]["of_readers"]] == [100, 100, 100]
    own_seconds = told["state"]["of_readers"][0]["own_seconds"]
    assert own_seconds >= 1.0
    assert told["seconds"] < 2 * own_seconds
    assert max(told["node_seconds"][name] for name in ("reader_1", "reader_2")) < own_seconds / 2


@pytest.mark.scenario("QA-001.5-INT-002")
def test_the_fan_in_gets_one_result_of_the_right_shape_per_branch() -> None:
    """Four readers, four results: mappings over a branch's state, the outcome as attributes, by place and by name."""
    readers = [f"import sys\nreturn {{'index': {number}, 'read': len(sys.stdin.read())}}" for number in range(4)]
    shape = (
        'state["shape"] = [[r.branch, r.success, r.error, r.exit_code, r.timing_ms > 0, r.retry_count, sorted(r)] '
        "for r in parallel_results]; "
        'state["by_name"] = [parallel_results[f"reader_{n}"]["index"] for n in range(4)]; '
        'state["kinds"] = sorted({type(r).__name__ for r in parallel_results})'
    )
    document = broadcast(readers, "print('x' * 99)\nreturn {'said': 99}", more=shape)
    state = run_yaml(document, {"begun": True})["state"]
    assert [reader["index"] for reader in state["of_readers"]] == [0, 1, 2, 3]
    assert {reader["read"] for reader in state["of_readers"]} == {100}
    assert state["by_name"] == [0, 1, 2, 3]
    assert state["kinds"] == ["ParallelFlowResult"]
    keys = ["begun", "index", "read", "said"]
    assert state["shape"] == [[f"reader_{number}", True, None, 0, True, 0, keys] for number in range(4)]


# -- state and streams ------------------------------------------------------------------------------------------------

MIXED = workflow("""
nodes:
  - name: prepare
    run: |
      import os
      return {"prefix": state["prefix"] * 2, "prepared_by": os.getpid()}
  - name: producer
    streams: {stdout: lines}
    run: |
      import os
      for number in range(300):
        print(state["prefix"], number)
      return {"produced_by": os.getpid(), "produced": 300}
  - name: consumer
    streams: {stdin: lines}
    run: |
      import os, sys
      lines = sys.stdin.read().splitlines()
      right = lines == [f"{state['prefix']} {number}" for number in range(state["produced"])]
      return {"consumed_by": os.getpid(), "consumed": len(lines), "right": right}
  - name: report
    run: |
      import os
      workers = {state["produced_by"], state["consumed_by"]}
      here = {state["prepared_by"], os.getpid()}
      same = state["produced"] == state["consumed"]
      return {"processes": [len(workers), len(here), len(workers & here)], "same": same}
edges:
  - {from: __start__, to: prepare}
  - {from: prepare, to: producer}
  - {from: producer, to: consumer}
  - {from: consumer, to: report}
  - {from: report, to: __end__}
""")


@pytest.mark.scenario("001.5-E2E-004")
def test_plain_nodes_and_stream_nodes_share_one_state() -> None:
    """State goes in, through the section and out; two workers run beside each other, plain nodes in the caller."""
    state = run_yaml(MIXED, {"prefix": "ab"})["state"]
    assert (state["prefix"], state["produced"], state["consumed"]) == ("abab", 300, 300)
    assert (state["right"], state["same"]) == (True, True)
    assert state["processes"] == [2, 1, 0]


PAUSING = workflow("""
nodes:
  - name: prepare
    interrupt_after: true
    run: |
      with open(state["log"], "a") as log:
        log.write("prepared\\n")
      return {"count": 10}
  - name: producer
    streams: {stdout: lines}
    run: |
      with open(state["log"], "a") as log:
        log.write("produced\\n")
      for number in range(state["count"]):
        print(number)
      return {"produced": state["count"]}
  - name: consumer
    streams: {stdin: lines}
    run: |
      import sys
      return {"sum": sum(int(line) for line in sys.stdin), "produced_above": state["produced"]}
edges:
  - {from: __start__, to: prepare}
  - {from: prepare, to: producer}
  - {from: producer, to: consumer}
  - {from: consumer, to: __end__}
""")


@pytest.mark.scenario("001.5-E2E-005")
def test_a_checkpoint_before_the_streams_is_resumed_by_another_process(tmp_path: Path) -> None:
    """The first process ends as paused (exit 3) and has streamed nothing; the second streams with the kept state."""
    document, log, database = tmp_path / "w.yaml", tmp_path / "log", tmp_path / "checkpoints.db"
    document.write_text(PAUSING)
    keep = ("--checkpoint", str(database))
    paused = command_line("run", str(document), "--set", f"log={log}", *keep, expect=3)
    assert log.read_text() == "prepared\n"
    assert paused.stdout == ""
    resumed = command_line("resume", str(document), "--set", "count=20", *keep)
    assert log.read_text() == "prepared\nproduced\n"
    assert json.loads(resumed.stdout) == {
        "log": str(log),
        "count": 20,
        "produced": 20,
        "sum": sum(range(20)),
        "produced_above": 20,
    }


def test_the_printed_resume_command_works(tmp_path: Path) -> None:
    """What a paused run prints can be copied to the shell."""
    document = tmp_path / "a workflow.yaml"
    document.write_text(PAUSING)
    words = ("--set", f"log={tmp_path / 'log'}", "--checkpoint", str(tmp_path / "kept here.db"))
    paused = command_line("run", str(document), *words, expect=3)
    line = next(line for line in paused.stderr.splitlines() if " resume " in line)
    assert shlex.split(line)[:3] == ["python", "-m", "teastreams"]
    assert json.loads(command_line(*shlex.split(line)[3:]).stdout)["sum"] == 45


@pytest.mark.scenario("QA-001.5-INT-003")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    streams: {stdin: lines}", "    streams: {stdin: lines}\n    interrupt_before: true"),
        ("    streams: {stdin: lines}", "    streams: {stdin: lines}\n    interrupt_after: true"),
        ("edges:", "config: {interrupt_before: [consumer]}\nedges:"),
        ("edges:", "config: {interrupt_after: [consumer]}\nedges:"),
    ],
)
def test_an_interrupt_on_a_stream_node_is_found_before_anything_runs(tmp_path: Path, old: str, new: str) -> None:
    """Written at the node or in `config`: the problem has the node, the reason and its place, and nothing was run."""
    document, log = tmp_path / "w.yaml", tmp_path / "log"
    document.write_text(PAUSING.replace(old, new, 1) if old == "edges:" else new.join(PAUSING.rsplit(old, 1)))
    words = ("--set", f"log={log}", "--checkpoint", str(tmp_path / "db"))
    ended = command_line("run", str(document), *words, expect=2)
    assert "cannot checkpoint a stream node: 'consumer' has interrupt_" in ended.stderr
    assert ended.stderr.startswith(f"{document}:")
    assert not log.exists()


@pytest.mark.scenario("QA-001.5-INT-003")
@pytest.mark.parametrize("key", ["interrupt_before", "interrupt_after"])
def test_an_interrupt_on_a_stream_node_given_to_compile_is_refused(key: str) -> None:
    """`compile(interrupt_before=[...])` is checked like the document."""
    graph = ts.YAMLEngine().load_from_string(PAUSING)
    with pytest.raises(ts.WorkflowError, match=f"cannot checkpoint a stream node: 'producer' has {key}"):
        graph.compile(**{key: ["producer"]})


# -- failures, times and sizes ----------------------------------------------------------------------------------------

FAILING_CONSUMER = workflow("""
nodes:
  - name: producer
    streams: {stdout: numbers}
    run: |
      number = 0
      while True:
        print(number)
        number += 1
  - name: consumer
    streams: {stdin: numbers}
    run: |
      import sys
      print("consumer: about to fail", file=sys.stderr)
      for line in sys.stdin:
        if int(line) == 1000:
          raise ValueError("cannot use 1000")
edges:
  - {from: __start__, to: producer}
  - {from: producer, to: consumer}
  - {from: consumer, to: __end__}
""")

FAILED = """
app = ts.YAMLEngine().load_from_string(sys.argv[1], "workflow.yaml").compile()
with untouched():
    try:
        app.run({"begun": True})
    except ts.WorkflowFailed as failed:
        cause = failed.primary
        tell(node=cause.node, phase=cause.phase, type=cause.error_type, message=cause.message, code=cause.exit_code)
        tell(traceback=cause.traceback, stderr=cause.stderr_tail, text=str(failed))
        tell(collateral=[[error.node, error.message] for error in failed.collateral])
        tell(state=dict(failed.result.state), status=failed.result.status)
"""


@pytest.mark.scenario("001.5-E2E-006")
def test_the_error_of_a_consumer_is_the_cause_that_is_reported() -> None:
    """Node, type, text, the document's own line, its stderr; the endless producer is ended and listed below."""
    told = harness.run(FAILED, arguments=(FAILING_CONSUMER,)).told
    cause = (told["node"], told["phase"], told["type"], told["message"], told["code"])
    assert cause == ("consumer", "run", "ValueError", "cannot use 1000", 1)
    line = next(n for n, text in enumerate(FAILING_CONSUMER.split("\n"), 1) if "raise ValueError" in text)
    assert f'File "workflow.yaml", line {line}, in run' in told["traceback"]
    assert told["stderr"] == "consumer: about to fail"
    assert [name for name, _message in told["collateral"]] == ["producer"]
    assert told["text"].startswith("node 'consumer' failed (run): ValueError: cannot use 1000\n")
    assert (told["state"], told["status"]) == ({"begun": True}, "failed")


@pytest.mark.scenario("001.5-E2E-006")
def test_the_error_of_a_consumer_reaches_the_command_line(tmp_path: Path) -> None:
    """Exit code 1, no result on stdout, the cause as the first word about the failure on stderr."""
    document = tmp_path / "w.yaml"
    document.write_text(FAILING_CONSUMER)
    ended = command_line("run", str(document), expect=1)
    assert ended.stdout == ""
    assert "teastreams: node 'consumer' failed (run): ValueError: cannot use 1000" in ended.stderr


STUCK_PRODUCER = workflow(
    """
nodes:
  - name: stuck
    streams: {stdout: lines}
    run: |
      import sys, time
      print("the only line", flush=True)
      time.sleep(1000)
  - name: consumer
    streams: {stdin: lines}
    run: |
      import sys
      return {"lines": sys.stdin.readlines()}
edges:
  - {from: __start__, to: stuck}
  - {from: stuck, to: consumer}
  - {from: consumer, to: __end__}
""",
    head=HEAD.replace("enabled: true", "enabled: true, timeout: 0.4"),
)


@pytest.mark.slow
@pytest.mark.scenario("001.5-E2E-007")
def test_a_stuck_producer_is_ended_by_the_stream_timeout(tmp_path: Path) -> None:
    """The run ends soon after `timeout` with exit code 5 and says so; nothing of the section is left (the harness)."""
    document = tmp_path / "w.yaml"
    document.write_text(STUCK_PRODUCER)
    ended = command_line("run", str(document), expect=5)
    assert 0.4 <= ended.seconds < 20
    assert ended.stdout == ""
    assert "(timeout): TimeoutError: timed out after 0.4 s" in ended.stderr
    assert "stuck" in ended.stderr


@pytest.mark.slow
@pytest.mark.scenario("001.5-E2E-007")
def test_after_a_stream_timeout_the_library_raises() -> None:
    """`WorkflowFailed` with the phase timeout; the consumer's half input has become nobody's result."""
    told = harness.run(FAILED, arguments=(STUCK_PRODUCER,)).told
    assert (told["phase"], told["code"], told["state"]) == ("timeout", -1, {"begun": True})
    assert {name for name, _message in told["collateral"]} == {"stuck", "consumer"}


LARGE = """
import hashlib, sys
digest, size = hashlib.sha256(), 0
for chunk in iter(lambda: sys.stdin.buffer.read(65536), b""):
  digest.update(chunk)
  size += len(chunk)
import resource
return {"size": size, "digest": digest.hexdigest(), "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}
"""

PRODUCE_LARGE = """
import hashlib, resource, sys
digest, block = hashlib.sha256(), bytes(range(256)) * 4000
for number in range(100):
  chunk = number.to_bytes(4, "big") * 6 + block[24:1_000_000]
  digest.update(chunk)
  sys.stdout.buffer.write(chunk)
return {"digest_above": digest.hexdigest(), "peak_above": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}
"""

# What getrusage says of the interpreter itself would on Linux be the peak of the test process that started it.
MEASURED = (
    """
import re, resource
"""
    + RUN
    + """
status = Path("/proc/self/status")
high_water = re.search(r"VmHWM:\\s+(\\d+) kB", status.read_text()) if status.exists() else None
own = int(high_water.group(1)) if high_water else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
tell(own_peak=own, largest_peak=resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
)
PEAK_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024


@pytest.mark.slow
@pytest.mark.scenario("001.5-E2E-008")
@pytest.mark.parametrize("readers", [1, 2])
def test_a_hundred_megabytes_pass_in_little_memory(readers: int) -> None:
    """To one reader (a bare pipe) and to two: whole, and all processes together stay below 200 MB at their peaks."""
    if readers == 1:
        document = broadcast([LARGE], PRODUCE_LARGE).replace("    stream_mode: broadcast\n", "")
    else:
        document = broadcast([LARGE] * readers, PRODUCE_LARGE)
    told = harness.run(MEASURED, arguments=(document, "{}")).told
    results = told["state"]["of_readers"]
    assert [result["size"] for result in results] == [100_000_000] * readers
    assert {result["digest"] for result in results} == {told["state"]["digest_above"]}
    # The nodes tell their own peaks; the fan-out worker's is at most that of the largest child.
    peaks = [told["own_peak"], told["state"]["peak_above"], *(result["peak"] for result in results)]
    peaks += [told["largest_peak"]] if readers > 1 else []
    assert sum(peaks) * PEAK_UNIT_BYTES < 200_000_000
    assert told["largest_peak"] * PEAK_UNIT_BYTES < 100_000_000


# -- the larger graph -------------------------------------------------------------------------------------------------

LARGER = workflow("""
name: larger
nodes:
  - name: prepare
    run: |
      return {"count": 50}
  - name: source
    streams: {stdout: raw, stderr: remarks}
    run: |
      import sys
      for number in range(state["count"]):
        print(number)
        print("remark", number, file=sys.stderr)
  - name: remarked
    streams: {stdin: remarks}
    run: |
      import sys
      return {"remarks": len(sys.stdin.readlines())}
  - name: double
    streams: {stdin: raw, stdout: doubled}
    run: |
      import sys
      for line in sys.stdin:
        print(int(line) * 2)
  - name: negate
    streams: {stdin: raw, stdout: negated}
    run: |
      import sys
      for line in sys.stdin:
        print(-int(line))
  - name: sum_doubled
    streams: {stdin: doubled}
    run: |
      import sys
      return {"doubled": sum(map(int, sys.stdin))}
  - name: sum_negated
    streams: {stdin: negated}
    run: |
      import sys
      return {"negated": sum(map(int, sys.stdin))}
  - name: between
    run: |
      sums = {"remarks": parallel_results["remarked"]["remarks"]}
      sums["doubled"] = parallel_results["double"]["doubled"]
      sums["negated"] = parallel_results["negate"]["negated"]
      return {**sums, "difference": sums["doubled"] + sums["negated"]}
  - name: again
    streams: {stdout: numbers}
    run: |
      print(state["difference"])
  - name: last
    streams: {stdin: numbers}
    run: |
      import sys
      return {"read": int(sys.stdin.read())}
edges:
  - {from: __start__, to: prepare}
  - {from: prepare, to: source}
  - from: source
    to: [double, negate, remarked]
    parallel: true
    parallel_strategy: process
    stream_mode: broadcast
    fan_in: between
  - {from: double, to: sum_doubled}
  - {from: negate, to: sum_negated}
  - {from: between, to: again}
  - {from: again, to: last}
  - {from: last, to: __end__}
""")


@pytest.mark.scenario("QA-001.4-INT-007")
def test_a_larger_graph_with_several_channels_validates_and_runs(tmp_path: Path) -> None:
    """Ten nodes, five channels, two sections, both outputs of one node: `validate` accepts it and `run` can run it."""
    document = tmp_path / "larger.yaml"
    document.write_text(LARGER)
    assert "valid, 10 nodes" in command_line("validate", str(document)).stdout
    told = run_yaml(LARGER)
    sums = {"remarks": 50, "doubled": 2450, "negated": -1225, "difference": 1225, "read": 1225}
    assert told["state"] == {"count": 50, **sums}
    assert set(told["bytes"]) == {"raw", "remarks", "doubled", "negated", "numbers"}
