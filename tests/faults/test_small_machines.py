"""On a machine that has run out of something a run is refused in one clear word, or it is slow; it loses nothing.

The machines are made by forks of a warm interpreter (`small_machines`).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import harness
import pytest
import small_machines

GROUPS = 8
SCRIPT = f"sys.path.insert(0, {os.path.dirname(__file__)!r})\nimport small_machines\nsmall_machines.main(sys.argv[1:])"
NAMES = [name for name, kind in small_machines.MACHINES.items() if kind.possible()]


@pytest.mark.slow
@pytest.mark.parametrize("group", range(GROUPS))
def test_a_machine_may_have_too_few(group: int) -> None:
    """Each refusal is a `LimitError` that leaves nothing; enough is enough; and every byte arrives."""
    names = NAMES[group::GROUPS]
    told = harness.run(SCRIPT, arguments=tuple(names), deadline_seconds=120).told

    assert sorted(told) == sorted(names)
    assert {name: found for name, found in told.items() if found} == {}


WORKFLOW = """
settings: {parallel: {strategy: process, streams: {enabled: true}}}
nodes:
  - {name: p, streams: {stdout: x}, run: "print('a')"}
  - {name: c, streams: {stdin: x}, run: "import sys; return {'n': len(sys.stdin.read())}"}
edges:
  - {from: __start__, to: p}
  - {from: p, to: c}
  - {from: c, to: __end__}
"""


@pytest.mark.slow
def test_the_command_line_says_75_until_it_has_enough_descriptors(tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_text(WORKFLOW, encoding="utf-8")
    script = """
        import resource, runpy
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        import teastreams.cli.main
        for limit in (20, 33, 45, 60, 80, 200):
            pid = os.fork()
            if pid == 0:
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
                os._exit(teastreams.cli.main.main(["run", "w.yaml"]))
            tell(**{str(limit): os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])})
    """

    told = harness.run_command(
        [sys.executable, "-c", "from inside import *\n" + harness.textwrap.dedent(script)], cwd=tmp_path
    ).told

    assert list(told.values()) == [75, 75, 75, 75, 0, 0]
