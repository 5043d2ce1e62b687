"""Too few descriptors: every limit gives one clear error and leaves nothing, until one lets a run succeed."""

from __future__ import annotations

import harness
import pytest

SCRIPT = """
import resource
import teastreams.executors.process as process

def p(state):
    print("line"); return {"made": 1}

def cat(state):
    return {"n": len(sys.stdin.read())}

g = ts.StateGraph()
g.add_node("p", p, streams={"stdout": "x"})
g.add_node("c", cat, streams={"stdin": "x"})
g.add_node("d", cat, streams={"stdin": "x"})
g.add_parallel_edge("p", ["c", "d"], stream_mode="broadcast")
g.set_entry_point("p")
app = g.compile()
app.run()
if sys.argv[1] == "blind":
    process.preflight = lambda *_: 16
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
outcomes = []
for limit in range(int(sys.argv[2]), 300):
    with untouched():
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        try:
            app.run(); outcome = "ok"
        except Exception as error:
            outcome = type(error).__name__
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    outcomes.append(outcome)
    if outcome == "ok":
        break
with untouched():
    tell(second=dict(app.run().state))
tell(outcomes=sorted(set(outcomes)), last=outcomes[-1])
"""


@pytest.mark.parametrize(("preflight", "lowest"), [("seeing", "3"), ("blind", "40")])
def test_every_limit_of_open_files_ends_in_one_clear_error_until_it_suffices(preflight: str, lowest: str) -> None:
    """With preflight the refusal is predicted; without it every descriptor of every start fails in turn, cleanly."""
    told = harness.run(SCRIPT, arguments=(preflight, lowest)).told

    assert (told["outcomes"], told["last"]) == (["LimitError", "ok"], "ok")
    assert told["second"] == {"made": 1, "n": 5}
