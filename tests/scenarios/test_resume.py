"""Facts about runs that are killed and gone on with: no finished step runs twice, and the history tells what happened.

The supervisor kills itself with SIGKILL at every SQL statement of its checkpoints that writes, one after another, and
where a plain node begins, which is behind the commit of the one before. What ran is read from a file to which every
node appends its name.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import harness

import teastreams as ts

SWEEP = """
import os, sqlite3
log, database, kill_at = sys.argv[1], sys.argv[2], int(sys.argv[3])
moments = 0
connect = sqlite3.connect

def moment(statement):
    global moments
    moments += not statement.startswith(("SELECT", "PRAGMA"))
    if moments == kill_at > 0:
        os.kill(os.getpid(), signal.SIGKILL)

def watched(*arguments, **named):
    connection = connect(*arguments, **named)
    connection.set_trace_callback(moment)
    return connection

sqlite3.connect = watched

def written(state, node):
    if node in "abe":
        moment("a node begins")
    with open(log, "a") as file:
        file.write(node + " ")
    return {"trail": state.get("trail", "") + node, "large": state.get("large", "x" * 10_000)}

def produce(state, node):
    written(state, node)
    print("tea")

def consume(state, node):
    return written({**state, "heard": sys.stdin.read()}, node)

g = ts.StateGraph().add_node("a", run=written)
g.add_node("p", run=produce, streams={"stdout": "x"}).add_node("c", run=consume, streams={"stdin": "x"})
g.add_node("b", run=written).add_node("e", run=written)
app, keeper = g.compile(), ts.SqliteCheckpointer(database)
go_on = os.path.exists(database) and keeper.history()
result = app.resume(keeper) if go_on else app.run(checkpointer=keeper)
tell(trail=result.state["trail"], moments=moments)
"""


def swept(folder: Path, kill_at: int, expect: int) -> harness.Ended:
    return harness.run(SWEEP, arguments=(str(folder / "log"), str(folder / "db"), str(kill_at)), expect=expect)


def ran(folder: Path) -> list[str]:
    return (folder / "log").read_text().split() if (folder / "log").exists() else []


def finished_steps(folder: Path) -> set[str]:
    try:
        return {one.node for one in ts.SqliteCheckpointer(folder / "db").history()}
    except ts.CheckpointError:
        return set()


def test_killed_at_any_write_of_its_checkpoints_a_run_goes_on_and_no_finished_step_runs_twice(
    tmp_path: Path,
) -> None:
    """At most the one step whose checkpoint was not durable is run again."""
    whole = swept(tmp_path, 0, 0)
    assert whole.told["trail"] == "acbe"
    for kill_at in range(1, whole.told["moments"] + 1):
        folder = tmp_path / str(kill_at)
        folder.mkdir()
        swept(folder, kill_at, -signal.SIGKILL)
        before, finished = ran(folder), finished_steps(folder)
        if finished >= {"a", "c", "b", "e"}:
            assert sorted(before) == ["a", "b", "c", "e", "p"]
            continue
        assert swept(folder, 0, 0).told["trail"] == "acbe"
        times = {node: ran(folder).count(node) for node in "apcbe"}
        again = {node for node, count in times.items() if count != 1}
        assert {times[node] for node in again} <= {2}
        assert not again & finished, (kill_at, times, finished)
        assert again in (set(), {"a"}, {"p", "c"}, {"b"}, {"e"})
        assert again <= set(before)


DOCUMENT = """
name: tea
config: {interrupt_before: [pour]}
nodes:
  - name: boil
    run: |
      open("log", "a").write("boil ")
      return {"water": "hot"}
  - name: pour
    run: |
      open("log", "a").write("pour ")
      return {"cup": state["guest"]}
  - name: serve
    run: |
      import os, pathlib, signal
      open("log", "a").write("serve ")
      if not pathlib.Path("served").exists():
          pathlib.Path("served").touch()
          os.kill(os.getpid(), signal.SIGKILL)
      return {"served": True}
"""


def test_run_interrupt_kill_during_resume_resume_history_fork(tmp_path: Path) -> None:
    """A whole life on the command line: the answer that the killed resume was given is not lost."""
    (tmp_path / "tea.yaml").write_text(DOCUMENT)

    def teastreams(*words: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "teastreams", *words]
        environment = {**os.environ, "PYTHONPATH": str(harness.SOURCE)}
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=50, check=False
        )
        assert done.returncode == expect, done.stderr
        return done

    def history() -> list[dict[str, object]]:
        return [json.loads(line) for line in teastreams("history", "run.db", "--json").stdout.splitlines()]

    keep = ("tea.yaml", "--checkpoint", "run.db")
    teastreams("run", *keep, expect=3)
    teastreams("resume", *keep, "--set", "guest=Ann", expect=-signal.SIGKILL)
    assert (tmp_path / "log").read_text() == "boil pour serve "

    ended = teastreams("resume", *keep)
    assert json.loads(ended.stdout) == {"water": "hot", "guest": "Ann", "cup": "Ann", "served": True}
    assert (tmp_path / "log").read_text() == "boil pour serve serve "
    told = [(one["when"], one["node"], one["status"]) for one in history()]
    assert told == [
        ("after", "", "running"),
        ("after", "boil", "running"),
        ("before", "pour", "paused"),
        ("before", "pour", "running"),
        ("after", "pour", "running"),
        ("after", "pour", "running"),
        ("after", "serve", "finished"),
    ]
    assert "is finished, and checkpoint" in teastreams("resume", *keep, expect=2).stderr

    paused = history()[2]
    forked = teastreams("resume", *keep, "--from", str(paused["id"]), "--fork", "--set", "guest=Bob")
    assert json.loads(forked.stdout)["cup"] == "Bob"
    first = history()[7]
    assert (first["parent"], first["run"] != paused["run"]) == (paused["id"], True)
    lines = teastreams("history", "run.db", "--run", str(first["run"])).stdout.splitlines()
    assert lines[0].split() == ["id", "run", "step", "where", "status", "time", "size", "from"]
    assert lines[1].endswith(f"  {paused['id']}")
    assert [line.split()[3:6] for line in lines[1:]] == [
        ["before", "pour", "running"],
        ["after", "pour", "running"],
        ["after", "serve", "finished"],
    ]
    assert "holds no run 'nobody'" in teastreams("history", "run.db", "--run", "nobody", expect=2).stderr
