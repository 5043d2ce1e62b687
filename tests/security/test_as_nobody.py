"""Whole runs as a user without rights, and with a /proc that says nothing; what lies in the temporary directory.

The interpreter may stand where only root can read it, so that another user could not even start it. A fresh interpreter
of root therefore imports everything first and becomes the other user then.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path
from typing import Any, Iterator

import harness
import pytest

import teastreams as ts
from teastreams.runtime import calls
from teastreams.runtime.fanout.spill import MIN_SEGMENT_BYTES, SpillLog

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")

BECOME = f"""
import contextlib, ctypes, ctypes.util, importlib, pkgutil, sqlite3, tempfile
from importlib import metadata
from email import message, parser, policy
import teastreams
for found in pkgutil.walk_packages(teastreams.__path__, "teastreams."):
    if not found.name.startswith(("teastreams.testing", "teastreams.bench", "teastreams.__main__")):
        importlib.import_module(found.name)

def hide_proc():
    "In a space of mounts of our own: nobody else sees it. False where that is not allowed."
    libc = ctypes.CDLL(None, use_errno=True)
    return not (libc.unshare(0x20000) or libc.mount(None, b"/", None, 0x44000, None)
                or libc.mount(b"none", b"/proc", b"tmpfs", 0, b"mode=0700"))

def become_nobody():
    os.setgroups([])
    os.setgid({NOBODY})
    os.setuid({NOBODY})
    assert not os.access("/etc/shadow", os.R_OK)
"""

WORKFLOW = """
settings:
  ltm: {path: memory.db}
  parallel: {strategy: process, streams: {enabled: true}}
nodes:
  - {name: keep, uses: ltm.store, with: {key: k, value: 1}}
  - name: lines
    streams: {stdout: lines}
    run: |
      import sys
      for number in range(60000):
          sys.stdout.write(f"{number:09}\\n")
      return {"written": 60000}
  - name: slow
    streams: {stdin: {from: lines, overflow: spill, buffer_limit: 64KiB}, stdout: {to: {file: out}}}
    run: |
      import sys
      sys.stdout.write(sys.stdin.read())
  - name: count
    streams: {stdin: lines, stderr: {to: {file: log, append: true}}}
    command: [sh, -c, "wc -l >&2"]
  - name: last
    run: |
      import os
      return {"user": os.getuid()}
edges:
  - {from: __start__, to: keep}
  - {from: keep, to: lines}
  - {from: lines, to: [slow, count], parallel: true, parallel_strategy: process, stream_mode: broadcast, fan_in: last}
  - {from: last, to: __end__}
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder of nobody's own, where nobody may enter: pytest's are root's alone."""
    folder = Path(tempfile.mkdtemp(prefix="teastreams-nobody-"))
    try:
        (folder / "tmp").mkdir()
        (folder / "work").mkdir()
        for path in (folder, folder / "tmp", folder / "work"):
            os.chown(path, NOBODY, NOBODY)
        yield folder
    finally:
        shutil.rmtree(folder)


def as_nobody(script: str, home: Path, proc: str = "as it is") -> dict[str, Any]:
    """What the script printed last, as JSON; it stands in `home/work`."""
    hide = "if not hide_proc(): print('null'); sys.exit()\n" if proc == "hidden" else ""
    ended = harness.run(
        f"{BECOME}\nos.chdir({str(home / 'work')!r})\n{hide}become_nobody()\n{script}",
        environment={"HOME": str(home), "TMPDIR": str(home / "tmp")},
    )
    told = json.loads(ended.stdout.splitlines()[-1])
    if told is None:
        pytest.skip("needs the right to mount, to hide /proc")
    return dict(told)


RUN = f"""
from pathlib import Path
Path("w.yaml").write_text({WORKFLOW!r})
app = ts.YAMLEngine().load_from_file("w.yaml").compile()
watched = untouched if os.access("/dev/fd/", os.R_OK) else contextlib.nullcontext  # it lists what is open
with watched():
    for keeper in (None, ts.SqliteCheckpointer("run.db")):
        result = app.run({{}}, checkpointer=keeper)
failed = ts.YAMLEngine().load_from_string('''
nodes: [{{name: a, streams: {{stdout: {{to: {{file: /gone}}}}}}, run: pass}}]
settings: {{parallel: {{strategy: process, streams: {{enabled: true}}}}}}
''').compile()
try:
    failed.run()
except ts.WorkflowFailed as error:
    refused = str(error)
shown = {{path.name: path.stat() for path in Path(".").iterdir()}}
print(json.dumps({{
    "user": result.state["user"], "written": result.state["written"], "refused": refused,
    "modes": {{name: found.st_mode & 0o7777 for name, found in shown.items()}},
    "owners": sorted({{found.st_uid for found in shown.values()}}),
    "size": shown["out"].st_size, "log": Path("log").read_text().split(), "left": os.listdir(os.environ["TMPDIR"]),
}}))
"""


@pytest.mark.slow
@as_root
@pytest.mark.parametrize("portable", ["", "1"])
@pytest.mark.parametrize("proc", ["as it is", "hidden"])
def test_a_whole_run_needs_no_rights_and_no_proc(
    proc: str, portable: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers, a broadcast that spills, a program, files, checkpoints and the long-term memory; nothing is left."""
    if proc == "hidden" and sys.platform != "linux":
        pytest.skip("only Linux has a /proc")
    monkeypatch.setenv(calls.PORTABLE, portable)
    told = as_nobody("os.umask(0o022)\n" + RUN, home, proc)

    assert (told["user"], told["written"], told["size"]) == (NOBODY, 60000, 600000)
    assert told["log"] == ["60000", "60000"]
    assert told["owners"] == [NOBODY]
    assert told["left"] == []
    private = {name: mode for name, mode in told["modes"].items() if name.startswith(("run.db", "memory.db"))}
    assert private == {"run.db": 0o600, "memory.db": 0o600}
    assert (told["modes"]["out"], told["modes"]["log"]) == (0o644, 0o644)
    assert "its stdout cannot write to '/gone': Permission denied; name another file" in told["refused"]


@as_root
def test_files_of_others_are_errors_with_a_name(home: Path) -> None:
    """Root's files, in folders that may not be written or not even be entered, and one that only takes new files."""
    work = home / "work"
    (work / "theirs").write_bytes(b"x")
    (work / "theirs").chmod(0o600)
    (work / "closed").mkdir(mode=0o700)
    (work / "readable").mkdir(mode=0o755)
    (work / "box").mkdir()
    (work / "box").chmod(0o1733)  # to put something in, not to look
    told = as_nobody(
        """
        def run(stream, side, path, more=""):
            node = f"{{name: a, run: pass, streams: {{{stream}: {{{side}: {{file: {path}{more}}}}}}}}}"
            text = "settings: {parallel: {strategy: process, streams: {enabled: true}}}\\nnodes: [" + node + "]"
            try:
                ts.YAMLEngine().load_from_string(text).compile().run()
            except ts.WorkflowFailed as error:
                return str(error).splitlines()[0]
            return "done"
        print(json.dumps({
            "read": run("stdin", "from", "theirs"), "write": run("stdout", "to", "theirs"),
            "append": run("stdout", "to", "theirs", ", append: true"), "below": run("stdin", "from", "closed/x"),
            "new": run("stdout", "to", "readable/x"), "box": run("stdout", "to", "box/x"),
        }))
        """.replace("\n        ", "\n"),
        home,
    )
    for case in ("read", "write", "append", "below", "new"):
        assert "Permission denied; name another file" in told[case], case
    if os.environ.get(calls.PORTABLE) != "1" and sys.platform == "linux":  # elsewhere a folder is read to be opened
        assert told["box"] == "done"
        assert (work / "box" / "x").stat().st_uid == NOBODY


@as_root
def test_a_temporary_directory_of_somebody_else_is_passed_over(home: Path) -> None:
    """Where TMPDIR cannot be written, Python takes the next of its list; FIFOs stand in a folder of our own."""
    os.chown(home / "tmp", 0, 0)
    told = as_nobody(
        """
with ts.TeeOrchestrator() as tee:
    found = os.stat(tee.directory)
    print(json.dumps({"owner": found.st_uid, "mode": found.st_mode & 0o7777, "place": str(tee.directory.parent)}))
""",
        home,
    )
    assert (told["owner"], told["mode"]) == (NOBODY, 0o700)
    assert told["place"] != str(home / "tmp")


# --- the temporary directory ----------------------------------------------------------------------------------------


def test_fifos_do_not_stand_in_a_temporary_directory_where_anybody_may_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path handed to a reader could lead to somebody else's FIFO; with a sticky bit it cannot."""
    tmp_path.chmod(0o777)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(PermissionError, match=r"sticky bit \(chmod \+t\)"):
        ts.TeeOrchestrator()
    assert list(tmp_path.iterdir()) == []

    tmp_path.chmod(0o1777)
    with ts.TeeOrchestrator() as tee:
        assert tee.directory.parent == tmp_path
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("unnamed", [True, False])
@pytest.mark.parametrize("mode", [0o700, 0o777, 0o1777])
def test_what_is_spilled_cannot_be_reached_though_the_directory_is_exchanged(
    unnamed: bool, mode: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next segment is made where the path leads then, without a name and for its owner alone; none is mixed up."""
    if not unnamed:  # as where there is no O_TMPFILE: made under a name that goes at once
        monkeypatch.setattr(tempfile, "_O_TMPFILE_WORKS", False)
    place, trap = tmp_path / "place", tmp_path / "trap"
    place.mkdir()
    trap.mkdir()
    trap.chmod(mode)
    seen: list[os.stat_result] = []
    log = SpillLog(str(place), 1)
    old = os.umask(0)
    try:
        for number in range(3):
            assert log.append(number * MIN_SEGMENT_BYTES, bytes([number]) * MIN_SEGMENT_BYTES) == MIN_SEGMENT_BYTES
            seen.append(os.fstat(log._segments[-1].fd.number))
            if number == 0:
                place.rename(tmp_path / "moved")
                place.symlink_to(trap)
        for number in range(3):
            assert log.read(number * MIN_SEGMENT_BYTES, 1) == bytes([number])
    finally:
        os.umask(old)
        log.close()
    assert [(each.st_nlink, stat.S_IMODE(each.st_mode), each.st_uid) for each in seen] == [(0, 0o600, os.geteuid())] * 3
    assert list(trap.iterdir()) == list((tmp_path / "moved").iterdir()) == []
