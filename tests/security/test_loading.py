"""`teastreams validate` of hostile files, as a user sees it: exit code 2, a place, and nothing else."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable

import pytest

import teastreams as ts

HOSTILE = {
    "object construction": "nodes: !!python/object/apply:os.system ['touch proof']\n",
    "a name of a module": "nodes: !!python/name:os.system\n",
    "a new object": "nodes: !!python/object/new:os.system [touch proof]\n",
    "alias bomb": "a: &a [x, x]\n" + "".join(f"{c}: &{c} [*{p}, *{p}]\n" for p, c in zip("abcdefghij", "bcdefghijk")),
    "itself": "nodes: &x {b: *x}\n",
    "merge key": "a: {x: 1}\nb: {<<: {x: 2}}\n",
    "brackets": "nodes: " + "[" * 100_000 + "]" * 100_000,
    "braces": "nodes: " + "{a: " * 100_000,
    "dashes": "- " * 100_000 + "a",
    "size": "# " + "x" * 2_000_000,
    "values": "nodes: [" + "a, " * 100_000 + "]",
    "length": "name: " + "x" * 300_000,
    "keys": "name: a\nname: b\n",
    "digits": "version: " + "9" * 200_000 + "\n",
    "documents": "name: a\n---\nname: b\n",
    "directives": "%TAG ! !x\n" * 20_000,
    "anchors": "".join(f"k{n}: &a{n} 1\n" for n in range(2000)),
    "questions": "? " * 50_000,
    "quotes": 'name: "' + "\\" * 100_000,
    "code": "nodes: [{name: a, run: '" + "(" * 20_000 + "'}]\n",
    "signs": "nodes: [{name: a, run: 'return " + "-" * 50_000 + "1'}]\n",
    "sums": "nodes: [{name: a, run: 'return " + "1+" * 50_000 + "1'}]\n",
    "condition": "nodes: [{name: a, run: pass}]\nedges: [{from: a, to: a, when: '" + "state.a + " * 20_000 + "1'}]\n",
}


def limited() -> None:
    """What a hostile document may cost: seconds of one processor, and a gigabyte at the very most."""
    resource.setrlimit(resource.RLIMIT_CPU, (30, 30))
    resource.setrlimit(resource.RLIMIT_AS, (1024**3, 1024**3))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@pytest.mark.slow
@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_is_a_short_error_with_a_place(what: str, tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_text(HOSTILE[what])
    done = subprocess.run(
        [sys.executable, "-m", "teastreams", "validate", "w.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=limited,
    )

    assert done.returncode == 2, done.stderr[:500]
    assert done.stdout == ""
    assert all(re.match(r"w\.yaml:\d+:\d+: ", line) for line in done.stderr.splitlines()[:1])
    assert "Traceback" not in done.stderr
    assert max(map(len, done.stderr.splitlines())) < 2000
    assert [path.name for path in tmp_path.iterdir()] == ["w.yaml"]


@pytest.mark.slow
def test_what_would_run_does_not_when_a_file_is_validated_drawn_or_described(tmp_path: Path) -> None:
    """Code of nodes, conditions, imports, actions, sources of secrets, and files that are named."""
    act = "open('proof', 'w')"
    (tmp_path / "actions.py").write_text(f"{act}\ndef act(): pass\n")
    (tmp_path / "w.yaml").write_text(
        f"""
imports: [{{path: actions.py, namespace: my}}]
settings:
  secrets: {{files: folder}}
  parallel: {{strategy: process, streams: {{enabled: true}}}}
nodes:
  - name: a
    run: |
      {act}
  - {{name: b, uses: my.act, with: {{x: "{{{{ {act} }}}}"}}}}
  - name: c
    command: [sh, -c, 'touch proof']
    streams: {{stdout: {{to: {{file: proof}}}}}}
  - name: d
    run: |
      {act}
edges:
  - {{from: __start__, to: a}}
  - {{from: a, to: b, when: "{act}"}}
  - {{from: a, to: c, when: "not {act}"}}
  - {{from: b, to: d}}
  - {{from: c, to: d}}
  - {{from: d, to: __end__}}
"""
    )
    for words in (
        ["validate", "w.yaml"],
        *(["graph", "w.yaml", "--format", form] for form in ("text", "mermaid", "dot")),
    ):
        done = subprocess.run(
            [sys.executable, "-B", "-m", "teastreams", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["actions.py", "w.yaml"]


# --- paths in a document ---------------------------------------------------------------------------------------------


def fifo(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def gigantic(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a hole: it takes no room


def circle(path: Path) -> None:
    path.symlink_to(path.name)


def itself_by_another_name(path: Path) -> None:
    path.symlink_to("w.yaml")


def folder(path: Path) -> None:
    path.mkdir()


def ladder(path: Path) -> None:
    """Each file names the next one, deeper than anybody means."""
    for number in range(40):
        path.with_name(f"l{number}.yaml").write_text(f"nodes: [{{name: a, subgraph: l{number + 1}.yaml}}]\n")
    path.symlink_to("l0.yaml")


NAMED = {
    "subgraph": [
        (fifo, "it is no regular file"),
        (endless, "it is no regular file"),
        (gigantic, "longer than 1048576 bytes"),
        (circle, "it is no regular file"),
        (itself_by_another_name, "holds itself"),
        (folder, "it is no regular file"),
        (ladder, "lies deeper than 16 files"),
    ],
    "imports": [
        (fifo, "there is no Python file"),
        (endless, "there is no Python file"),
        (gigantic, "at most 16777216 are read"),
        (circle, "there is no Python file"),
        (folder, "there is no Python file"),
    ],
}
DOCUMENTS = {
    "subgraph": "nodes: [{name: a, subgraph: PATH}]\n",
    "imports": 'imports: [{path: PATH, namespace: my}]\nnodes: [{name: a, run: \'open("proof", "w")\'}]\n',
}


@pytest.mark.parametrize(("key", "make", "reason"), [(key, *case) for key, cases in NAMED.items() for case in cases])
def test_a_file_that_a_document_names_is_read_only_if_it_is_one_and_as_far_as_it_may_be(
    key: str, make: Callable[[Path], None], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, and with an end; a long way round by `..` leads to the same error. No node has run."""
    name = "named.yaml" if key == "subgraph" else "named.py"
    make(tmp_path / name)
    (tmp_path / "w.yaml").write_text(DOCUMENTS[key].replace("PATH", f"../{tmp_path.name}/./{name}"))
    monkeypatch.chdir(tmp_path)
    begun = time.monotonic()
    with pytest.raises(ts.WorkflowError) as caught:
        ts.YAMLEngine().load_from_file("w.yaml").compile().run()

    assert reason in str(caught.value)
    assert re.search(r"; [a-z]", str(caught.value))  # what to do about it
    assert time.monotonic() - begun < 5
    assert not (tmp_path / "proof").exists()
