"""scenarios/recording.py: a scenario whose run breaks an invariant fails, whatever the scenario itself looks at."""

from __future__ import annotations

import harness
import pytest

RUN = """
g = ts.StateGraph()
g.add_node("a", a)
g.set_entry_point("a")
app = g.compile()
"""
TELL = "tell(histories=[json.loads(line) for line in open(os.environ['TEASTREAMS_SCENARIO_HISTORY'] + '-histories')])\n"


@pytest.mark.parametrize(
    ("deed", "begins"),
    [
        ("os.open('/', 0)", "I5: the run changed its caller's world: {'descriptors'"),
        ("os.umask(0o123)", "I9: the run changed its caller's world: {'umask'"),
        ("os.fork() or os._exit(0)", "I4: the run changed its caller's world: {'children'"),
    ],
)
def test_what_a_run_leaves_in_its_caller_fails_the_scenario(deed: str, begins: str) -> None:
    """A plain node runs in the caller's process, and can do what a run of ours must not."""
    with pytest.raises(AssertionError) as failure:
        harness.run(f"def a(state): {deed}{RUN}app.run()")

    assert str(failure.value).startswith(begins)


def test_what_a_scenario_itself_changes_is_its_own_business() -> None:
    ended = harness.run(
        f"import subprocess\ndef a(state): return {{'x': 1}}{RUN}"
        "os.umask(0o123); app.run(); os.open('/', 0)\n"
        "child = subprocess.Popen(['true']); app.run(); child.wait()\n" + TELL
    )

    assert [each["untouched"] for each in ended.told["histories"]] == ["", ""]


def test_a_run_that_does_not_succeed_after_one_that_failed_fails_the_scenario() -> None:
    """Something stayed of the first one; here it is feigned."""
    fails = "def a(state): raise ValueError('no')" + RUN + "try: app.run()\nexcept ts.WorkflowFailed: pass\n"
    harness.run(fails)

    with pytest.raises(AssertionError, match=r"^I10: an ordinary second run did not succeed"):
        harness.run(fails + "import teastreams.runtime.supervision.supervisor as s\ndel s.Supervisor.outcome")


def test_runs_inside_of_runs_and_in_other_processes_are_not_recorded() -> None:
    """One history for each call that a script itself makes."""
    ended = harness.run(
        "def inner(state): return {'x': 1}\n"
        "def a(state):\n"
        "    g = ts.StateGraph(); g.add_node('inner', inner); g.set_entry_point('inner'); g.compile().run()\n"
        f"{RUN}app.run()\n"
        "if os.fork() == 0: app.run(); os._exit(0)\n"
        "os.wait()\n" + TELL
    )

    assert [each["how"] for each in ended.told["histories"]] == ["well"]
