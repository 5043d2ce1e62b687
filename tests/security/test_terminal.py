"""On a real terminal nothing that a stranger wrote drives it: names of files, nodes and channels, errors, output."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import pytest

ESC, CSI, BACK = "\x1b[31mred\x1b]0;title\x07", "\x9b2J", "\u202ename"
BAD = ESC + CSI + BACK
RUN = """
nodes:
  - name: a
    run: |
      import sys
      {code}
"""
NODE = "nodes: [{{name: \"{name}\", run: 'return {{}}'}}]\n"
ESCAPED = BAD.encode("unicode_escape").decode()  # in the double quotes of YAML


def shown(words: list[str], folder: Path) -> str:
    """What a command writes when all three of its standard streams are a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "teastreams", *words], stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder
    )
    os.close(theirs)
    data = b""
    try:
        while select.select([ours], [], [], 60)[0]:
            piece = os.read(ours, 65536)
            if not piece:
                break
            data += piece
    except OSError:
        pass  # the other side has gone
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return data.decode()


DOCUMENTS = {
    "a misspelt key": ("validate", f'"{ESCAPED}": 1\nnodes: [{{name: a, run: pass}}]\n', "x.yaml"),
    "a name of a node": ("validate", NODE.format(name=ESCAPED), "x.yaml"),
    "a target": (
        "validate",
        f'nodes: [{{name: a, run: pass}}]\nedges: [{{from: __start__, to: "{ESCAPED}"}}]\n',
        "x.yaml",
    ),
    "a name of a file": ("validate", "nodes: 3\n", f"{BAD}.yaml"),
    "a good file of that name": ("validate", "nodes: [{name: a, run: pass}]\n", f"{BAD}.yaml"),
    "a drawing of that file": ("graph", f'name: "{ESCAPED}"\nnodes: [{{name: a, run: pass}}]\n', f"{BAD}.yaml"),
    "an error": ("run", RUN.format(code=f"raise ValueError({BAD!a})"), "x.yaml"),
    "a result": ("run", RUN.format(code=f"return {{'k': {BAD!a}}}"), "x.yaml"),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", DOCUMENTS)
def test_what_a_stranger_wrote_does_not_drive_the_terminal(what: str, tmp_path: Path) -> None:
    command, text, file = DOCUMENTS[what]
    (tmp_path / file).write_text(text)
    options = ["--progress", "off"] if command == "run" else []
    seen = shown([command, file, *options], tmp_path)

    assert seen
    assert not any(mark in seen for mark in ("\x1b", "\x07", "\x9b", "\u202e")), repr(seen)
