"""Conditions and loops around real sections and inside real branches, each in a fresh interpreter."""

from __future__ import annotations

import json
import textwrap
from typing import Any

import harness

RUN = """
app = ts.YAMLEngine().load_from_string(sys.argv[1], "workflow.yaml").compile()
with untouched():
    result = app.run(json.loads(sys.argv[2]))
tell(state=dict(result.state), status=result.status)
"""
HEAD = "settings: {parallel: {strategy: process, streams: {enabled: true}}}\n"


def state_after(document: str, **state: Any) -> Any:
    return harness.run(RUN, arguments=(HEAD + textwrap.dedent(document), json.dumps(state))).told["state"]


def test_a_section_in_a_loop_starts_anew_at_every_turn() -> None:
    """Each turn has its own workers and pipes, and leaves nothing; the last turn's state decides."""
    document = """
    nodes:
      - {name: first, run: 'return {"turn": 0, "counts": []}'}
      - name: writer
        streams: {stdout: lines}
        run: |
          for number in range(10 ** state["turn"]):
            print(number)
          return {"turn": state["turn"] + 1}
      - name: reader
        streams: {stdin: lines}
        run: |
          import sys
          return {"counts": state["counts"] + [sum(1 for _ in sys.stdin)]}
      - name: check
        run: pass
        goto:
          - {if: state.turn < 4, to: writer}
          - {to: __end__}
    """
    assert state_after(document) == {"turn": 4, "counts": [1, 10, 100, 1000]}


def test_a_condition_stands_on_the_way_out_of_a_section() -> None:
    document = """
    nodes:
      - {name: writer, streams: {stdout: lines}, run: print("x" * 100)}
      - name: reader
        streams: {stdin: lines}
        run: 'import sys; return {"size": len(sys.stdin.read())}'
        goto: [{if: state.size > 50, to: large}, {to: small}]
      - {name: small, run: 'return {"kind": "small"}', goto: __end__}
      - {name: large, run: 'return {"kind": "large"}'}
    """
    assert state_after(document) == {"size": 101, "kind": "large"}


def test_process_branches_decide_and_loop_on_their_own_state() -> None:
    document = """
    nodes:
      - {name: split, run: pass}
      - {name: left, run: 'return {"n": state["n"] * 2}', goto: [{if: state.n < 100, to: left}, {to: gather}]}
      - {name: right, run: 'return {"n": -state["n"]}', goto: [{if: state.n < -5, to: low}, {to: gather}]}
      - {name: low, run: 'return {"low": True}', goto: gather}
      - {name: gather, run: 'return {"all": [[each["n"], each.get("low")] for each in parallel_results]}'}
    edges:
      - {from: split, to: [left, right], parallel: true, fan_in: gather}
    """
    assert state_after(document, n=7)["all"] == [[112, None], [-7, True]]


def test_a_condition_that_raises_in_a_process_branch_is_named() -> None:
    document = """
    nodes:
      - {name: split, run: pass}
      - {name: left, run: pass, goto: [{if: state.n.missing.deeper, to: left}, {to: gather}]}
      - {name: right, run: pass}
      - {name: gather, run: pass}
    edges:
      - {from: split, to: [left, right], parallel: true, fan_in: gather}
    """
    script = """
app = ts.YAMLEngine().load_from_string(sys.argv[1], "workflow.yaml").compile()
with untouched():
    try:
        app.run({"n": 1})
    except ts.WorkflowFailed as failed:
        tell(node=failed.primary.node, text=str(failed.primary))
"""
    told = harness.run(script, arguments=(HEAD + textwrap.dedent(document),)).told
    assert told["node"] == "left"
    assert "the expression `state.n.missing.deeper` raised AttributeError" in told["text"]
