"""A secret is looked for where it could come out by accident: cut in two, in a repr, in what describes a workflow."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import harness
import pytest

CANARY = "canary-7f3a9c1x"
PHRASE = "anary-7f3a"  # most of it is as bad as all of it
LINE_LIMIT = 65536


def teastreams(folder: Path, *words: str, exit_code: int = 0) -> harness.Ended:
    environment = {"TOKEN": CANARY}
    command = [sys.executable, "-m", "teastreams", *words]
    return harness.run_command(command, expect=exit_code, environment=environment, cwd=folder)


def nowhere(folder: Path, ended: harness.Ended, *but: str) -> None:
    assert PHRASE not in ended.stdout + ended.stderr
    for path in folder.iterdir():
        assert path.name in but or PHRASE.encode() not in path.read_bytes(), path


SPLIT = f"""
settings:
  parallel: {{strategy: process, streams: {{enabled: true}}}}
  secrets: {{env: [TOKEN]}}
nodes:
  - name: a
    streams: {{stdout: {{to: {{file: bytes}}}}}}
    run: |
      import os
      text = context.secrets["TOKEN"].reveal().encode()
      for before in range({LINE_LIMIT} - len(text) - 2, {LINE_LIMIT} + 3):
          os.write(2, b"." * before)
          os.write(2, text + b" end\\n")
      for cut in range(1, len(text)):
          os.write(2, b"." * {LINE_LIMIT} + text[:cut])
          os.write(2, text[cut:] + b" end\\n")
      for letter in range(len(text)):
          os.write(2, text[letter:letter + 1])
  - name: b
    command: [{json.dumps(sys.executable)}, -c, "import os, sys; [os.write(1, bytes([each])) for each in CODES]"]
    streams: {{stderr: {{to: {{file: none}}}}}}
edges: [{{from: __start__, to: a}}, {{from: a, to: b}}, {{from: b, to: __end__}}]
""".replace("CODES", str(list(CANARY.encode())))


@pytest.mark.slow
def test_a_secret_that_is_cut_in_two_is_masked_as_a_whole(tmp_path: Path) -> None:
    """Between two writes, between letters, and at every place where a line of 64 KiB may be cut; in the log, too."""
    (tmp_path / "main.yaml").write_text(SPLIT)
    ended = teastreams(tmp_path, "run", "main.yaml", "--events", "events", "-v")

    # The document itself has the letters of the second node as numbers; the output file is the user's own.
    nowhere(tmp_path, ended, "bytes")
    whole = ended.stderr.replace("\n[a] ", "")
    assert whole.count("*** end") == (len(CANARY) + 5) + (len(CANARY) - 1)
    assert "[a] ***\n" in ended.stderr
    assert "[b] ***\n" in ended.stderr


FAILING = """
settings:
  parallel: {strategy: STRATEGY, streams: {enabled: true}}
  secrets: {env: [TOKEN]}
nodes:
  - {name: first, run: 'return {"items": 1}'}
  - name: a
    retry: {max_retries: 1, base_delay: 0.01}
    run: |
      text = context.secrets["TOKEN"].reveal()
      ERROR
  - {name: b, run: 'return {"b": 1}'}
  - {name: last, run: 'return {"told": repr(parallel_results)}'}
edges:
  - {from: __start__, to: first}
  - {from: first, to: [a, b], parallel: true, parallel_strategy: STRATEGY, fan_in: last}
  - {from: last, to: __end__}
"""
ERRORS = {
    "a message": "raise ValueError(text)",
    "bytes": "raise ValueError(text.encode())",
    "a chain": "raise KeyError('outer') from ValueError(text)",
    "a name of a file": "open('/' + text)",
    "the name of a class": "raise type('E' + text, (Exception,), {})('x')",
    "an exit": "raise SystemExit(text)",
}


@pytest.mark.parametrize("strategy", ["thread", "process"])
@pytest.mark.parametrize("error", ERRORS)
def test_an_error_tells_no_secret_whoever_repeats_it(error: str, strategy: str, tmp_path: Path) -> None:
    """The message of each attempt, of the branch, of the run; events, the checkpoint of a failed run, its history."""
    (tmp_path / "main.yaml").write_text(FAILING.replace("STRATEGY", strategy).replace("ERROR", ERRORS[error]))
    ended = teastreams(tmp_path, "run", "main.yaml", "--events", "events", "--checkpoint", "run.db", "-v", exit_code=1)

    nowhere(tmp_path, ended)
    assert "***" in ended.stderr
    if (error, strategy) == ("a message", "process"):
        nowhere(tmp_path, teastreams(tmp_path, "history", "run.db", "--json"))


def test_what_describes_a_workflow_or_the_machine_tells_no_secret(tmp_path: Path) -> None:
    """Drawings, the check, the examination of the machine: also where a secret has the prefix of our own variables."""
    (tmp_path / "main.yaml").write_text(
        "settings: {secrets: {env: {prefix: TEASTREAMS_SECRET_}}}\n"
        'nodes: [{name: a, run: \'return {"known": context.secrets.has("TOKEN")}\'}]\n'
    )
    forms = [["graph", "main.yaml", "--format", form] for form in ("text", "mermaid", "dot")]
    commands = [["validate", "main.yaml"], *forms, ["schema"], ["doctor"], ["doctor", "--json"], ["run", "main.yaml"]]
    ended = harness.run(
        f"""
        from teastreams.cli.main import main
        os.chdir(sys.argv[1])
        tell(codes=[main(words) for words in {commands!r}])
        """,
        arguments=(str(tmp_path),),
        environment={"TEASTREAMS_SECRET_TOKEN": CANARY},
    )
    nowhere(tmp_path, ended)
    assert ended.told["codes"] == [0] * len(commands)
    said = ended.stdout + ended.stderr  # the command line keeps the real stdout aside, once in the life of a process
    assert "TEASTREAMS_SECRET_TOKEN=***" in said
    assert '"known": true' in said


def test_no_object_that_holds_a_secret_shows_it() -> None:
    """`repr`, `str` and format of everything that a caller can get hold of, and the variables of our exceptions."""
    ended = harness.run(
        f"""
        CANARY, shown = {CANARY!r}, {{}}

        def see(name, value):
            shown[name] = repr(value) + str(value) + format(value)

        def first(state, context):
            see("context", context)
            see("secrets", context.secrets)
            see("secret", context.secrets["TOKEN"])
            see("vars", vars(context))
            return {{}}

        def second(state, context):
            raise ValueError(context.secrets["TOKEN"].reveal())

        graph = ts.StateGraph(secrets={{"TOKEN": CANARY}})
        graph.add_node("first", run=first)
        graph.add_node("second", run=second)
        graph.add_edge("first", "second")
        graph.set_entry_point("first")
        graph.set_finish_point("second")
        app, keeper = graph.compile(), ts.MemoryCheckpointer()
        sources = ts.SecretSources(given={{"TOKEN": CANARY}}, provider_settings={{"password": CANARY}})
        for name, value in (("graph", graph), ("declared", graph.graph), ("app", app), ("flow", app.flow),
                            ("sources", sources), ("services", app.graph.services)):
            see(name, value)
        try:
            for event in app.stream({{}}, checkpointer=keeper):
                see(type(event).__name__, event)
        except ts.WorkflowFailed as failed:
            at = failed
            while at is not None:
                see(f"error {{len(shown)}}", at)
                see(f"variables {{len(shown)}}", vars(at))
                at = at.__cause__ or at.__context__
            see("result", failed.result)
            see("primary", failed.primary.traceback)
        see("kept", keeper.list())
        tell(leaks=[name for name, text in shown.items() if {PHRASE!r} in text], seen=list(shown))
        """
    )
    assert ended.told["leaks"] == []
    assert {"context", "secret", "app", "NodeStarted", "primary", "kept"} <= set(ended.told["seen"])
    assert PHRASE not in ended.stdout + ended.stderr


def test_no_process_of_a_run_has_it_in_its_arguments_or_its_environment(tmp_path: Path) -> None:
    """Of what a worker starts; the environment of the command itself is what its caller gave it."""
    if not os.path.exists("/proc/self/cmdline"):
        pytest.skip("needs /proc, to look at processes from outside")
    (tmp_path / "main.yaml").write_text(
        f"""
settings:
  parallel: {{strategy: process, streams: {{enabled: true}}}}
  secrets: {{env: [TOKEN]}}
nodes:
  - name: a
    streams: {{stdout: lines}}
    run: print(context.secrets["TOKEN"].reveal())
  - name: b
    streams: {{stdin: lines}}
    command:
      - {json.dumps(sys.executable)}
      - -c
      - >-
        import os, sys; sys.stdin.read();
        files = ["/proc/self/cmdline", "/proc/self/environ", f"/proc/{{os.getppid()}}/cmdline"];
        open("seen", "wb").write(b"".join(open(file, "rb").read() for file in files))
edges: [{{from: __start__, to: a}}, {{from: a, to: b}}, {{from: b, to: __end__}}]
"""
    )
    ended = teastreams(tmp_path, "run", "main.yaml")
    nowhere(tmp_path, ended)
    assert b"TEASTREAMS_SCENARIO_TAG" in (tmp_path / "seen").read_bytes()
