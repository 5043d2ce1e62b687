"""Loops, items and sub-workflows with real processes and pipes inside, each in a fresh interpreter."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import harness

RUN = """
app = ts.YAMLEngine().load_from_file(sys.argv[1]).compile()
with untouched():
    try:
        result = app.run(json.loads(sys.argv[2]))
        tell(state=dict(result.state), nodes=sorted(result.nodes))
    except ts.WorkflowFailed as failed:
        tell(node=failed.primary.node, text=str(failed.primary), code=failed.primary.exit_code)
"""
HEAD = "settings: {parallel: {strategy: process, streams: {enabled: true}}}\n"


def run(folder: Path, document: str, **state: Any) -> Any:
    path = folder / "main.yaml"
    path.write_text(HEAD + textwrap.dedent(document))
    return harness.run(RUN, arguments=(str(path), json.dumps(state))).told


def test_a_hundred_items_by_four_workers_come_back_in_their_order(tmp_path: Path) -> None:
    document = """
    nodes:
      - name: squares
        type: dynamic_parallel
        items: range(100)
        max_concurrency: 4
        output: squares
        run: 'import os; return [state["item"] ** 2, state["index"], os.getpid()]'
    """
    found = run(tmp_path, document)["state"]["squares"]

    assert [pair[:2] for pair in found] == [[number**2, number] for number in range(100)]
    assert len({pair[2] for pair in found}) == 100


def test_a_worker_that_dies_names_its_item(tmp_path: Path) -> None:
    document = """
    nodes:
      - name: each
        type: dynamic_parallel
        items: [0, 1, 2, 3, 4]
        run: |
          import os, signal
          if state["item"] == 3:
              os.kill(os.getpid(), signal.SIGKILL)
    """
    told = run(tmp_path, document.replace("items: [0, 1, 2, 3, 4]", "items: range(5)"))

    assert (told["node"], told["code"]) == ("each[3]", -9)


def test_items_need_not_be_picklable(tmp_path: Path) -> None:
    """They are there by fork; only what is returned travels."""
    document = """
    nodes:
      - name: make
        run: |
          import threading
          state["locks"] = [threading.Lock(), threading.Lock()]
      - name: each
        type: dynamic_parallel
        items: state.locks
        output: taken
        run: 'return {"taken": state["item"].acquire()}'
      - {name: clean, run: 'del state["locks"]'}
    """
    assert run(tmp_path, document)["state"]["taken"] == [{"taken": True}, {"taken": True}]


def test_a_section_stands_in_a_loop_body_and_in_a_sub_workflow(tmp_path: Path) -> None:
    section = """
    nodes:
      - name: writer
        streams: {stdout: lines}
        run: |
          print("x\\n" * state["n"], end="")
          return {"n": state["n"] + 1}
      - name: reader
        streams: {stdin: lines}
        run: |
          import sys
          return {"counts": state.get("counts", []) + [len(sys.stdin.readlines())]}
    """
    (tmp_path / "part.yaml").write_text(HEAD + textwrap.dedent(section))
    document = """
    nodes:
      - name: turns
        type: while_loop
        condition: state.n < 4
        max_iterations: 10
        body: [{name: part, subgraph: part.yaml}]
    """
    told = run(tmp_path, document, n=1)

    assert told["state"] == {"n": 4, "counts": [1, 2, 3]}
    assert "turns/part/reader" in told["nodes"]


def test_an_error_inside_keeps_the_name_of_its_node_turn_and_item(tmp_path: Path) -> None:
    document = """
    nodes:
      - name: each
        type: dynamic_parallel
        items: range(3)
        steps:
          - {name: fine, run: pass}
          - {name: bad, run: '1 / (state["item"] - 1)'}
    """
    told = run(tmp_path, document)

    assert told["node"] == "each[1]/bad"
    assert "ZeroDivisionError" in told["text"]


def test_an_interrupt_during_items_leaves_nothing(tmp_path: Path) -> None:
    """SIGINT while three of them sleep: the run ends by KeyboardInterrupt, and no process is left."""
    path = tmp_path / "main.yaml"
    path.write_text(
        HEAD
        + textwrap.dedent(
            """
            nodes:
              - name: each
                type: dynamic_parallel
                items: range(3)
                run: |
                  import os, signal, time
                  if state["item"] == 2:
                      os.kill(os.getppid(), signal.SIGINT)
                  time.sleep(600)
            """
        )
    )
    script = """
app = ts.YAMLEngine().load_from_file(sys.argv[1]).compile()
with untouched():
    try:
        app.run()
    except KeyboardInterrupt:
        tell(interrupted=True)
"""
    assert harness.run(script, arguments=(str(path),)).told == {"interrupted": True}
