"""The workflow as a filter: streams of the command line's own, and files, joined to nodes.

Real files and real shells, exit codes of the whole pipeline included, on the fast and on the portable path.
"""

from __future__ import annotations

import gzip
import json
import os
import pty
import shlex
import signal
import sys
import tempfile
import textwrap
import uuid
from pathlib import Path
from typing import Any, Optional

import harness
import pytest

TEASTREAMS = [sys.executable, "-W", "error", "-m", "teastreams"]
LINES = 200_000

QC = """
name: qc
settings: {parallel: {strategy: process, streams: {enabled: true}}}
nodes:
  - name: count
    streams: {stdin: {from: "-"}, stdout: lines}
    run: |
      import sys
      count = 0
      for line in sys.stdin:
        if line == "broken\\n":
          raise ValueError("line %d is broken" % count)
        sys.stdout.write(line)
        count += 1
      return {"count": count}
  - name: pass
    streams: {stdin: lines, stdout: {to: "-"}}
    command: [grep, -v, "^#"]
edges:
  - {from: __start__, to: count}
  - {from: count, to: pass}
  - {from: pass, to: __end__}
"""


def document(streams: str, code: str = "", command: str = "") -> str:
    """One node `a` with these streams: a run block, or a program."""
    work = f"command: {command}" if command else "run: |\n" + textwrap.indent(textwrap.dedent(code).strip(), " " * 6)
    return (
        "settings: {parallel: {strategy: process, streams: {enabled: true}}}\n"
        f"nodes:\n  - name: a\n    streams: {{{streams}}}\n    {work}\n"
        "edges:\n  - {from: __start__, to: a}\n  - {from: a, to: __end__}\n"
    )


@pytest.fixture(params=["fast", "portable"])
def path(request: pytest.FixtureRequest) -> dict[str, str]:
    """The environment of either path."""
    return {"TEASTREAMS_PORTABLE": "1" if request.param == "portable" else ""}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a workflow and a large compressed file."""
    (tmp_path / "qc.yaml").write_text(QC)
    text = "".join(f"{number}\n" for number in range(LINES))
    (tmp_path / "big.gz").write_bytes(gzip.compress(text.encode(), 1))
    return tmp_path


def shell(line: str, folder: Path, expect: Optional[int] = 0, **options: Any) -> harness.Ended:
    """A line of bash in the folder, in which `$T` is the command line; its exit codes are told on stderr's end."""
    text = line.replace("$T", shlex.join(TEASTREAMS)) + '\necho "codes ${PIPESTATUS[*]}" >&2'
    return harness.run_command(["bash", "-c", text], expect=expect, cwd=folder, **options)


def codes(ended: harness.Ended) -> list[int]:
    """The exit codes of the pipeline's members."""
    return [int(code) for code in ended.stderr.splitlines()[-1].split()[1:]]


def node(folder: Path, text: str, *words: str, expect: int = 1, **options: Any) -> harness.Ended:
    """Run a document in the folder."""
    (folder / "w.yaml").write_text(text)
    return harness.run_command([*TEASTREAMS, "run", "w.yaml", *words], expect=expect, cwd=folder, **options)


def left_beside(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir() if "partial" in each.name]


# -- the streams of the command line ------------------------------------------------------------------------------


def test_a_workflow_is_a_member_of_a_pipeline(folder: Path, path: dict[str, str]) -> None:
    """Every byte arrives, every member ends with 0, and no final state is mixed into the bytes."""
    ended = shell("zcat big.gz | $T run qc.yaml | md5sum", folder, environment=path)
    plain = shell("zcat big.gz | md5sum", folder)
    assert (codes(ended), ended.stdout) == ([0, 0, 0], plain.stdout)


def test_head_may_leave_early(folder: Path, path: dict[str, str]) -> None:
    """The workflow ends well and says nothing; what is above it is ended by SIGPIPE, as everywhere."""
    ended = shell("yes | $T run qc.yaml | head -2", folder, environment=path)
    assert (codes(ended), ended.stdout) == ([141, 0, 0], "y\ny\n")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("streams", ['stdout: "-"', 'stderr: "-"'])
def test_a_python_node_whose_reader_has_left_ends_well(streams: str, folder: Path) -> None:
    """By EPIPE, on either stream."""
    name = streams.split(":", maxsplit=1)[0]
    (folder / "w.yaml").write_text(document(streams, f"import sys\nwhile True: print('y' * 999, file=sys.{name})"))
    redirected = "2>&1 >/dev/null" if name == "stderr" else ""
    assert codes(shell(f"$T run w.yaml {redirected} | head -1", folder)) == [0, 0]


def test_a_node_that_fails_fails_the_pipeline(folder: Path, path: dict[str, str]) -> None:
    """Exit code 1, the cause on stderr, and nothing on stdout but the bytes before it."""
    ended = shell("(seq 5; echo broken; seq 5) | $T run qc.yaml | cat", folder, environment=path)
    assert codes(ended)[1:] == [1, 0]
    assert ended.stdout == "1\n2\n3\n4\n5\n"
    assert "node 'count' failed (run): ValueError: line 5 is broken" in ended.stderr


def test_a_program_killed_by_sigpipe_from_elsewhere_has_cut_the_output(folder: Path) -> None:
    """Its stdout is a file of the shell's, which nobody can leave."""
    text = document('stdout: "-"', command='[sh, -c, "echo half; kill -PIPE $$"]')
    (folder / "w.yaml").write_text(text)
    ended = shell("$T run w.yaml > out", folder)
    assert codes(ended) == [1]
    assert "node 'a' failed (run): killed by signal 13" in ended.stderr


@pytest.mark.parametrize(("closed", "stream"), [("<&-", "stdin"), (">&-", "stdout")])
def test_a_stream_that_the_caller_closed_is_a_failure(closed: str, stream: str, folder: Path) -> None:
    """Not an empty input, not bytes that vanish."""
    end = "from" if stream == "stdin" else "to"
    (folder / "w.yaml").write_text(document(f'{stream}: {{{end}: "-"}}', command="[cat]"))
    ended = shell(f"$T run w.yaml {closed}", folder)
    assert codes(ended) == [1]
    words = f"node 'a' failed (start): OSError: its {stream} is bound to the workflow's own, which is closed"
    assert words in ended.stderr


@pytest.mark.parametrize("command", ["[seq, 100]", ""])
def test_a_full_disk_is_the_nodes_failure(command: str, folder: Path) -> None:
    """/dev/full as stdout."""
    (folder / "w.yaml").write_text(document('stdout: "-"', "print('x')", command))
    ended = shell("$T run w.yaml > /dev/full", folder)
    assert codes(ended) == [1]
    assert "No space left on device" in ended.stderr


def test_the_state_cannot_come_from_the_stream_of_a_node(folder: Path) -> None:
    """Nor the events go there."""
    for words, option in ((["--input", "-"], "--input -"), (["--events", "-"], "--events -")):
        command = [*TEASTREAMS, "run", "qc.yaml", *words]
        ended = harness.run_command(command, expect=2, cwd=folder)
        assert ended.stderr.startswith(f"{option} and a node of this workflow both"), ended.stderr


def test_the_final_state_goes_where_output_says(folder: Path) -> None:
    """stdout belongs to the node."""
    ended = shell("seq 3 | $T run qc.yaml --output state.json", folder)
    assert ended.stdout == "1\n2\n3\n"
    assert json.loads((folder / "state.json").read_text()) == {"count": 3, "exit_code": 0}


def test_streams_that_somebody_made_non_blocking_are_waited_for(folder: Path) -> None:
    """The flag belongs to the open file, and so to everybody who shares it: a terminal after a crashed program."""
    (folder / "w.yaml").write_text(
        document('stdin: {from: "-"}, stdout: "-"', "import sys\nfor line in sys.stdin: sys.stdout.write(line)")
    )
    text = "".join(f"{number}\n" for number in range(100_000))
    script = f"""
        import subprocess
        (in_read, in_write), (out_read, out_write) = os.pipe(), os.pipe()
        os.set_blocking(in_read, False); os.set_blocking(out_write, False)
        process = subprocess.Popen([*{TEASTREAMS!r}, "run", "w.yaml"], stdin=in_read, stdout=out_write)
        os.close(in_read); os.close(out_write)
        feeder = os.fork()
        if feeder == 0:
            os.close(out_read)
            time.sleep(0.3)  # an empty pipe for a while, then bytes
            with os.fdopen(in_write, "w") as file: file.write({text!r}); file.flush()
            os._exit(0)
        os.close(in_write)
        time.sleep(1)  # a full pipe for a while
        with os.fdopen(out_read) as file: tell(same=file.read() == {text!r})
        tell(code=process.wait())
        os.waitpid(feeder, 0)
    """.replace(repr(text), "''.join(f'{number}\\n' for number in range(100_000))")
    ended = harness.run(f"os.chdir({str(folder)!r})\n" + textwrap.dedent(script))
    assert ended.told == {"same": True, "code": 0}


def test_the_terminal_is_refused_as_stdin(folder: Path) -> None:
    """The kernel would stop the node, which is not in front: a hang without a word."""
    (folder / "w.yaml").write_text(document('stdin: {from: "-"}', command="[cat]"))
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.environ["PYTHONPATH"] = str(harness.SOURCE)
        os.execv(sys.executable, [*TEASTREAMS, "run", "w.yaml"])  # noqa: S606  no shell is wanted
    seen = b""
    while True:
        try:
            data = os.read(master, 4096)
        except OSError:  # Linux says EIO when the last process on the other side has gone
            break
        if not data:
            break
        seen += data
    os.close(master)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    assert b"it is the terminal, which nodes cannot read; put `cat |` before the command" in seen


# -- files ------------------------------------------------------------------------------------------------------------

GOOD, BAD = "print('new')", "print('half', flush=True)\nraise ValueError('no')"


def test_a_file_is_read_and_another_written_with_paths_from_the_state(folder: Path, path: dict[str, str]) -> None:
    """By a program, without anybody in between."""
    text = document(
        'stdin: {from: {file: "{{ state.source }}"}}, stdout: {to: {file: "{{ state.target }}.txt"}}',
        command="[gzip, -dc]",
    )
    ended = node(folder, text, "--input", '{"source": "big.gz", "target": "a b"}', expect=0, environment=path)
    assert json.loads(ended.stdout)["exit_code"] == 0
    assert (folder / "a b.txt").read_bytes() == gzip.decompress((folder / "big.gz").read_bytes())
    assert left_beside(folder) == []


def test_a_failed_run_leaves_no_file_where_there_was_none(folder: Path, path: dict[str, str]) -> None:
    """Nor anything beside it."""
    node(folder, document("stdout: {to: {file: out}}", BAD), environment=path)
    assert not (folder / "out").exists()
    assert left_beside(folder) == []


def test_a_failed_run_leaves_an_old_file_as_it_was(folder: Path, path: dict[str, str]) -> None:
    """A good one replaces it, with its mode."""
    out = folder / "out"
    out.write_text("old\n")
    out.chmod(0o640)
    node(folder, document("stdout: {to: {file: out}}", BAD), environment=path)
    assert out.read_text() == "old\n"
    node(folder, document("stdout: {to: {file: out}}", GOOD), expect=0, environment=path)
    assert (out.read_text(), out.stat().st_mode & 0o777) == ("new\n", 0o640)
    assert left_beside(folder) == []


def test_a_new_file_has_the_mode_that_the_umask_leaves(folder: Path, path: dict[str, str]) -> None:
    """As `>` in a shell."""
    (folder / "w.yaml").write_text(document("stdout: {to: {file: out}}", GOOD))
    shell("umask 027; $T run w.yaml", folder, environment=path)
    assert (folder / "out").stat().st_mode & 0o777 == 0o640


def test_a_link_stays_a_link(folder: Path, path: dict[str, str]) -> None:
    """What it leads to is replaced, there or not."""
    (folder / "deep").mkdir()
    (folder / "link").symlink_to("deep/real")
    for text in ("new\n", "again\n"):
        node(folder, document("stdout: {to: {file: link}}", f"print({text.strip()!r})"), expect=0, environment=path)
        assert ((folder / "link").is_symlink(), (folder / "deep" / "real").read_text()) == (True, text)
    assert os.listdir(folder / "deep") == ["real"]


def test_append_adds_and_is_cut_back_after_a_failure(folder: Path, path: dict[str, str]) -> None:
    """`partial: keep` leaves what was appended."""
    out = folder / "out"
    appended = "stdout: {to: {file: out, append: true%s}}"
    node(folder, document(appended % "", GOOD), expect=0, environment=path)
    node(folder, document(appended % "", GOOD), expect=0, environment=path)
    assert out.read_text() == "new\nnew\n"
    node(folder, document(appended % "", BAD), environment=path)
    assert out.read_text() == "new\nnew\n"
    node(folder, document(appended % ", partial: keep", BAD), environment=path)
    assert out.read_text() == "new\nnew\nhalf\n"


def test_partial_keep_leaves_what_there_is(folder: Path, path: dict[str, str]) -> None:
    """Written in place."""
    (folder / "out").write_text("old, and longer than the new one\n")
    node(folder, document("stdout: {to: {file: out, partial: keep}}", BAD), environment=path)
    assert (folder / "out").read_text() == "half\n"


def test_a_program_that_dies_of_sigpipe_leaves_no_file(folder: Path) -> None:
    """A file sends no SIGPIPE: what was written is cut."""
    node(folder, document("stdout: {to: {file: out}}", command='[sh, -c, "echo half; kill -PIPE $$"]'))
    assert not (folder / "out").exists()


def test_a_name_may_be_as_long_as_the_system_allows(folder: Path, path: dict[str, str]) -> None:
    """The one beside it is no longer."""
    name = "é" * 127
    node(folder, document(f"stdout: {{to: {{file: {name}}}}}", GOOD), expect=0, environment=path)
    assert (folder / name).read_text() == "new\n"


@pytest.mark.parametrize(
    ("streams", "words"),
    [
        ("stdin: {from: {file: gone}}", "its stdin cannot read from 'gone': No such file or directory"),
        ("stdin: {from: {file: .}}", "its stdin cannot read from '.': Is a directory"),
        ("stdin: {from: {file: fifo}}", "its stdin cannot read from 'fifo': it is a FIFO"),
        ("stdout: {to: {file: fifo}}", "its stdout cannot write to 'fifo': it is a FIFO"),
        ("stdout: {to: {file: gone/out}}", "its stdout cannot write to 'gone/out': No such file or directory"),
        ("stdout: {to: {file: .}}", "its stdout cannot write to '.': Is a directory"),
        ("stdout: {to: {file: /dev/stdout}}", 'it is a stream of the workflow itself; write "-" for it'),
        ("stdout: {to: {file: /dev/fd/987}}", "its stdout cannot write to '/dev/fd/987': Bad file descriptor"),
        ('stdout: {to: {file: "{{ state.zero }}"}}', "its stdout cannot write to 'a\\x00b': "),
        ('stdout: {to: {file: "{{ state.empty }}"}}', "its stdout cannot write to '': the path is empty"),
        ("stdout: {to: {file: out}}, stderr: {to: {file: ./out}}", "another node of this section writes it"),
        ("stdin: {from: {file: qc.yaml}}, stdout: {to: {file: qc.yaml, append: true}}", "this section reads it"),
    ],
)
def test_what_cannot_be_opened_is_told_before_anything_runs(streams: str, words: str, folder: Path) -> None:
    """Exit code 1, phase start, the node's name, and the folder as it was."""
    os.mkfifo(folder / "fifo")
    before = sorted(os.listdir(folder))
    (folder / "w.yaml").write_text(document(streams, "open('ran', 'w')"))
    state = json.dumps({"zero": "a\0b", "empty": ""})
    ended = harness.run_command([*TEASTREAMS, "run", "w.yaml", "--input", state], expect=1, cwd=folder)
    assert ended.stderr.startswith("teastreams: node 'a' failed (start): ")
    assert words in ended.stderr
    assert sorted(os.listdir(folder)) == sorted([*before, "w.yaml"])


def test_permission_is_asked_for_before_the_run(folder: Path) -> None:
    """A file that may not be written is not replaced either, though its folder would allow it."""
    if os.geteuid() == 0:  # root may do anything: the call is made to refuse
        script = "from teastreams.runtime import calls; calls.table.access = lambda path, mode, **place: False\n"
    else:
        script = ""
    (folder / "out").write_text("old")
    (folder / "out").chmod(0o400)
    (folder / "w.yaml").write_text(document("stdout: {to: {file: out}}", "open('ran', 'w')"))
    ended = harness.run(
        f"os.chdir({str(folder)!r})\n{script}from teastreams.cli.main import main; sys.exit(main(['run', 'w.yaml']))",
        expect=1,
    )
    assert "its stdout cannot write to 'out': Permission denied" in ended.stderr
    assert ((folder / "out").read_text(), (folder / "ran").exists()) == ("old", False)


def test_a_whole_file_that_cannot_be_given_its_name_fails_the_run(folder: Path, path: dict[str, str]) -> None:
    """Its folder was removed meanwhile: told by name, not as an error of ours."""
    (folder / "deep").mkdir()
    code = "import os, shutil\nprint('x')\nshutil.rmtree('deep')"
    ended = node(folder, document("stdout: {to: {file: deep/out}}", code), environment=path)
    assert "node 'a' failed (result): FileNotFoundError: it wrote " in ended.stderr


def test_a_process_substitution_is_a_file_like_any_other(folder: Path, path: dict[str, str]) -> None:
    """/dev/fd/N is the open descriptor itself."""
    (folder / "w.yaml").write_text(
        document('stdin: {from: {file: "{{ state.i }}"}}, stdout: {to: {file: "{{ state.o }}"}}', command="[cat]")
    )
    ended = shell("$T run w.yaml --set i=<(seq 3) --set o=>(tr '\\n' , >&2); wait $!", folder, environment=path)
    assert "1,2,3," in ended.stderr


def test_devices_are_written_in_place(folder: Path) -> None:
    """And stay devices."""
    text = document("stdout: {to: {file: /dev/null}}, stderr: {to: {file: /dev/null}}", GOOD)
    node(folder, text, expect=0)
    assert not os.path.isfile("/dev/null")


@pytest.mark.parametrize("portable", ["", "1"])
def test_a_killed_supervisor_leaves_no_output_file(portable: str, folder: Path) -> None:
    """On Linux not even one beside: a file without a name. The portable one has a name, which says what it is."""
    tag = uuid.uuid4().hex
    text = document("stdout: {to: {file: out}}", "import sys, time\nprint('half', flush=True)\n" + WAIT)
    (folder / "w.yaml").write_text(text)
    with tempfile.TemporaryDirectory() as other:
        process = harness.start(
            [*TEASTREAMS, "run", "w.yaml"], tag, Path(other, "history"), {"TEASTREAMS_PORTABLE": portable}, folder
        )
        assert process.stderr is not None
        assert process.stderr.readline() == b"[a] up\n"
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=20)
        assert harness.wait_gone(tag) == []
    assert not (folder / "out").exists()
    beside = left_beside(folder)
    assert [name.startswith(".out.") for name in beside] == ([True] if portable else [])


WAIT = "print('up', file=sys.stderr, flush=True)\ntime.sleep(100)"


# -- from Python --------------------------------------------------------------------------------------------------


def test_other_streams_may_stand_for_the_callers_own(folder: Path) -> None:
    """Descriptors or files; lent, so that they are open afterwards, and written where they were."""
    ended = harness.run(f"""
        os.chdir({str(folder)!r})
        graph = ts.StateGraph()
        graph.add_node("a", command=["tr", "a-z", "A-Z"], streams={{"stdin": {{"from": "-"}}, "stdout": {{"to": "-"}}}})
        app = graph.set_entry_point("a").set_finish_point("a").compile()
        Path("in").write_text("hello")
        with open("in") as source, open("out", "w+") as target, untouched():
            target.write("before "); target.flush()
            result = app.with_streams(stdin=source, stdout=target.fileno()).run()
            target.write(" after")
        tell(out=Path("out").read_text(), state=result.state, binds=[app.binds(s) for s in ("stdin", "stderr")])
    """)
    assert ended.told == {"out": "before HELLO after", "state": {"exit_code": 0}, "binds": [True, False]}


def test_a_file_output_stands_in_the_result_as_a_channel(folder: Path) -> None:
    """With its bytes, also when a program wrote them, whom nobody counts."""
    ended = harness.run(f"""
        def written(more, **work):
            streams = {{"stdout": {{"to": {{"file": "{folder}/o", **more}}}}}}
            graph = ts.StateGraph().add_node("a", streams=streams, **work)
            result = graph.set_entry_point("a").set_finish_point("a").compile().run()
            return {{name: [each.bytes, *each.consumers] for name, each in result.channels.items()}}
        tell(node=written({{}}, run=lambda state: print("four")),
             program=written({{"append": True}}, command=["echo", "seventy"]))
    """)
    assert ended.told == {"node": {"stdout of 'a'": [5]}, "program": {"stdout of 'a'": [8]}}
    assert (folder / "o").read_bytes() == b"four\nseventy\n"
