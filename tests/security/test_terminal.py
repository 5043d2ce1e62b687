"""On a real terminal nothing that a stranger wrote drives it: names of files, nodes and channels, errors, output."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
from pathlib import Path

import pytest

from teastreams.checkpoint import Checkpoint, SqliteCheckpointer

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


def shown(words: list[str], folder: Path, **environment: str) -> str:
    """What a command writes when all three of its standard streams are a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "teastreams", *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=folder,
        env={**os.environ, **environment},
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
    harmless(shown([command, file, *options], tmp_path))


def harmless(seen: str) -> None:
    assert seen
    assert not any(mark in seen for mark in ("\x1b", "\x07", "\x9b", "\u202e")), repr(seen)


# What the live view itself sends: up, erase to the end of the line or of the screen, and letters in colour.
OWN = re.compile(r"\x1b\[(\d*A|K|J|[\d;]*m)")
STRANGE = "\x1b[2J\x1b]0;title\x07\x9b2J\u202ename\r\x08\x1bc"
LIVE = f"""
settings: {{parallel: {{strategy: process, streams: {{enabled: true}}}}}}
nodes:
  - name: writer
    streams: {{stdout: lines}}
    run: |
      import os, sys
      sys.stderr.write({STRANGE!a} + "line\\n")
      os.write(2, {STRANGE.encode("latin-1", "ignore")!a} + b"\\xff\\x1b[2J bytes\\n")
      for letter in {STRANGE!a} + "letters\\n":
          sys.stderr.write(letter)
          sys.stderr.flush()
      sys.stdout.write("x")
  - name: program
    streams: {{stdin: lines}}
    command:
      - sh
      - -c
      - 'cat >/dev/null; printf "\\033[2J\\007stdout\\n"; printf "\\033]0;title\\007stderr\\n" >&2; exit END'
edges: [{{from: __start__, to: writer}}, {{from: writer, to: program}}, {{from: program, to: __end__}}]
"""


@pytest.mark.slow
@pytest.mark.parametrize("progress", ["auto", "plain", "off"])
@pytest.mark.parametrize("exit_code", [0, 3])
def test_output_of_running_nodes_does_not_drive_the_terminal(progress: str, exit_code: int, tmp_path: Path) -> None:
    """Lines, bytes that are no text, single letters; in the view, in plain lines, and again in the error."""
    (tmp_path / "x.yaml").write_text(LIVE.replace("END", str(exit_code)))
    words = ["run", "x.yaml", "--progress", progress, "-v"]
    seen = shown(words, tmp_path, TERM="xterm-256color", CI="", NO_COLOR="")

    if progress == "auto":
        assert OWN.search(seen)  # it was the live view
    harmless(OWN.sub("", seen) if progress == "auto" else seen)
    assert "\x08" not in seen
    for text in ("line", "bytes", "letters", "stdout", "stderr"):
        assert text in seen
    assert ("failed" in seen) is (exit_code != 0)


@pytest.mark.slow
def test_names_of_files_and_what_a_database_holds_do_not_drive_it_either(tmp_path: Path) -> None:
    """Errors about files that were named by others; runs, nodes and ids in a file of checkpoints; misspelt options."""
    SqliteCheckpointer(tmp_path / "run.db").save(Checkpoint(STRANGE, 1, STRANGE, "after", STRANGE, {STRANGE: STRANGE}))
    strange = STRANGE.encode("unicode_escape").decode()
    for key in ("from", "to"):
        stream = "stdin" if key == "from" else "stdout"
        (tmp_path / f"{key}.yaml").write_text(
            "settings: {parallel: {strategy: process, streams: {enabled: true}}}\n"
            f'nodes: [{{name: a, run: pass, streams: {{{stream}: {{{key}: {{file: "gone{strange}/x"}}}}}}}}]\n'
        )
    good = tmp_path / "good.yaml"
    good.write_text("nodes: [{name: a, run: pass}]\n")
    for words in (
        ["history", "run.db"],
        ["history", "run.db", "--run", STRANGE],
        ["run", "from.yaml", "--progress", "plain"],
        ["run", "to.yaml", "--progress", "plain"],
        ["run", "good.yaml", "--input", "@" + STRANGE],
        ["run", "good.yaml", "--set", STRANGE],
        ["run", "good.yaml", "--output", f"gone{STRANGE}/x"],
        ["run", "good.yaml", "--checkpoint", f"gone{STRANGE}/x"],
        ["resume", "good.yaml", "--checkpoint", "run.db", "--from", STRANGE],
        ["run", "good.yaml", "--progress", STRANGE],
        ["run", "good.yaml", "--" + STRANGE],
    ):
        harmless(shown(words, tmp_path))
