"""A secret goes through a whole run, and is looked for in everything that the run leaves or shows (I12)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import harness
import pytest

# With what a repr and JSON escape, and as one phrase that no form changes.
CANARY = "canary-7f3a'9\\c1 x"
PHRASE = "canary-7f3a"
DOCUMENT = """
settings:
  parallel: {strategy: process, streams: {enabled: true}}
  secrets: {env: [TOKEN], files: folder}
nodes:
  - name: plain
    run: 'return {"length": len(context.secrets["TOKEN"].reveal())}'
  - name: writer
    streams: {stdout: text}
    run: |
      import os, resource, subprocess, sys
      text = context.secrets["TOKEN"].reveal()
      for piece in (text[:5], text[5:], "\\n", "at the end: " + repr(text)):
          os.write(2, piece.encode())
      code = "import os; open('child', 'w').write(repr(dict(os.environ)))"
      subprocess.run([sys.executable, "-c", code], check=True)
      print("a stream has the bytes that were written:", text)
      if state["fail"] == "writer":
          raise KeyError(text)
      return {"core": resource.getrlimit(resource.RLIMIT_CORE)[0], "same": context.secrets["file"].reveal() == text}
  - name: program
    streams: {stdin: text}
    command:
      - PYTHON
      - -c
      - >-
        import os, sys; open('program', 'w').write(repr((dict(os.environ), sys.argv))); text = sys.stdin.read();
        open('stream', 'w').write(text); print(text); sys.exit("{{ state.fail }}" == "program")
  - name: last
    run: |
      if state["fail"] == "last":
          raise ValueError(context.secrets["TOKEN"].reveal())
      return {"token": context.secrets["TOKEN"]} if state["fail"] == "value" else {"done": True}
edges:
  - {from: __start__, to: plain}
  - {from: plain, to: writer}
  - {from: writer, to: program}
  - {from: program, to: last}
  - {from: last, to: __end__}
"""


@pytest.mark.parametrize(
    ("fail", "exit_code", "told"),
    [
        ("", 0, ""),
        ("last", 1, "ValueError: ***"),
        ("writer", 1, "KeyError: "),
        ("program", 1, "node 'program' failed"),
        ("value", 2, "token"),
    ],
)
def test_a_secret_is_nowhere_but_where_a_node_put_it(fail: str, exit_code: int, told: str, tmp_path: Path) -> None:
    """Not in what is printed, in errors, events and checkpoints, nor in the arguments and environment of a child."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text(CANARY + "\n")
    (tmp_path / "main.yaml").write_text(DOCUMENT.replace("PYTHON", sys.executable))
    files = ["--checkpoint", "run.db", "--events", "events", "-v"]
    state = ["--set", f"fail={json.dumps(fail)}"]
    command = [sys.executable, "-m", "teastreams", "run", "main.yaml", *files, *state]
    ended = harness.run_command(command, expect=exit_code, environment={"TOKEN": CANARY}, cwd=tmp_path)

    left = [path for path in tmp_path.iterdir() if path.is_file() and path.name != "stream"]
    assert {path.name for path in left} >= {"main.yaml", "run.db", "events", "child"}
    for path in left:
        assert PHRASE.encode() not in path.read_bytes(), path
    assert PHRASE not in ended.stdout + ended.stderr
    assert told in ended.stdout + ended.stderr
    assert PHRASE in (tmp_path / "stream").read_text()  # the user's own bytes are never changed
    if not fail:
        outcome = json.loads(ended.stdout)
        assert (outcome["core"], outcome["same"], outcome["length"]) == (0, True, len(CANARY))
        assert "[writer] ***\n" in ended.stderr
        assert '[writer] at the end: "***"' in ended.stderr


def test_a_source_that_cannot_be_read_ends_the_run_before_it_begins(tmp_path: Path) -> None:
    (tmp_path / "main.yaml").write_text(
        "settings: {secrets: {files: absent}}\nnodes:\n  - name: a\n    run: open('ran', 'w').close()\n"
    )
    command = [sys.executable, "-m", "teastreams", "run", "main.yaml"]
    ended = harness.run_command(command, expect=75, cwd=tmp_path)

    assert "teastreams: the secrets in absent cannot be read: No such file or directory; check `files`" in ended.stderr
    assert not (tmp_path / "ran").exists()
