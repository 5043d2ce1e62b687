"""Every shipped example is run by the command at its head, in a fresh process, and its result is checked by value.

The commands are read from the examples and given to a shell above a copy of `examples/`; only `/tmp`, there and in the
copies, becomes a folder of the test. What an example must find is computed here once more, from the same data, in
plain Python. A file in `examples/` without an entry here fails a test of its own, so that no example can be shipped
unrun.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import hashlib
import json
import re
import sqlite3
import sys
import sysconfig
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any, Callable, Optional

import harness
import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
DATA = "data.py"

PIPELINE = {"produced": 1000, "kept": 500, "sum": 250500}

LOG = "".join(f"{'info' if number % 10 else 'ERROR'} request {number}\n" for number in range(1000)).encode()
BROADCAST = {
    "lines": 1000,
    "errors": 100,
    "longest": 17,
    "bytes": len(LOG),
    "sha256": hashlib.sha256(LOG).hexdigest(),
}

HYBRID = {"count": 5000, "limit": 40, "measured": 5000, "mean": 49.5, "above_limit": 2950, "verdict": "too high"}


UNREACHABLE = {"prices": {"tea": 3.5}, "prices_are": "a copy: ConnectionRefusedError", "missing": ["rates"]}
NEW_ARTICLES = {
    "Assam": 15,
    "Ceylon": 18,
    "Darjeeling": 30,
    "Gyokuro": 21,
    "Keemun": 18,
    "Lapsang": 21,
    "Matcha": 18,
    "Oolong": 18,
}


def one_pass(state: dict[str, Any], folder: Path) -> None:
    """Its three answers are those about the file, and the archive is the file."""
    data = (folder / "access.log").read_bytes()
    archive = folder / "access.log.gz"
    assert gzip.decompress(archive.read_bytes()) == data
    assert len(data) > 10_000_000
    assert state == {
        "path": str(folder / "access.log"),
        "lines": len(data.splitlines()),
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "archive": str(archive),
        "archive_bytes": archive.stat().st_size,
    }


def access_log(state: dict[str, Any], folder: Path) -> None:
    """The numbers are those of the whole log, and every malformed line is kept, with its number, in order."""
    lines = (folder / "access.log").read_text("utf-8").split("\n")[:-1]
    requests = [line.split() for line in lines if len(line.split()) == 10]
    rejects = [f"{number}\t{line}\n" for number, line in enumerate(lines, 1) if len(line.split()) != 10]
    assert (folder / "access.log.rejects").read_text("utf-8") == "".join(rejects)
    assert len(rejects) > 1000
    assert state == {
        "path": str(folder / "access.log"),
        "lines": len(lines),
        "requests": len(requests),
        "bytes_sent": sum(int(words[9]) for words in requests if words[9] != "-"),
        "statuses": dict(Counter(words[8] for words in requests)),
        "busiest": [list(page) for page in Counter(words[6] for words in requests).most_common(3)],
        "rejected": len(rejects),
        "rejects": str(folder / "access.log.rejects"),
    }


def csv_to_sqlite(state: dict[str, Any], folder: Path) -> None:
    """Every row of the file is in the table, and the profile is what SQL says about that table."""
    with open(folder / "orders.csv", encoding="utf-8", newline="") as file:
        names, *rows = csv.reader(file)
    kinds = (int, str, str, int, float, float)
    expected = [tuple(kind(text) if text else None for kind, text in zip(kinds, row)) for row in rows]
    with closing(sqlite3.connect(state["database"])) as database:
        assert database.execute("SELECT * FROM orders ORDER BY rowid").fetchall() == expected
        for name, kind in zip(names, kinds):
            query = f"SELECT count(*) - count({name}), min({name}), max({name}), avg({name}) FROM orders"
            nulls, low, high, mean = database.execute(query).fetchone()
            wanted = None if kind is str else pytest.approx(mean)
            assert state["profile"][name] == {"nulls": nulls, "min": low, "max": high, "mean": wanted}
    assert set(state["profile"]) == set(names)
    assert state["rows"] == len(rows) > 10_000


def slow_consumer(state: dict[str, Any], folder: Path) -> None:
    """The archive is the sources, though it was late; the quick consumer spilled nothing."""
    modules = [path.read_bytes() for path in library()]
    packed = (folder / "library.bz2").read_bytes()
    assert bz2.decompress(packed) == b"".join(modules)
    spilled = state.pop("spilled_bytes", None)
    assert spilled is None or (spilled["count"] == 0 and spilled["archive"] > 0)
    assert state == {
        "archive": str(folder / "library.bz2"),
        "modules": len(modules),
        "lines": b"".join(modules).count(b"\n"),
        "packed_bytes": len(packed),
    }


def early_exit(state: dict[str, Any], _folder: Path) -> None:
    """The first five hits, and modules that nobody had to read."""
    assert state["hits"] == hits("raise ")[:5]
    assert state["modules"] == len(library())
    assert 1 <= state["modules_read"] < len(library())


def command_pipeline(state: dict[str, Any], folder: Path) -> None:
    """The new file is the old one with every address blanked, and nothing else changed."""
    before = gzip.decompress((folder / "access.log.gz").read_bytes()).decode()
    after = gzip.decompress((folder / "access.log.gz.blanked.gz").read_bytes()).decode()
    addressed = [line for line in before.split("\n") if line.split(" ")[0].count(".") == 3]
    assert after.count("\n") == before.count("\n") == 200_000
    for old, new in zip(before.split("\n"), after.split("\n")):
        address, blank, rest = old.partition(" ")
        assert new == (address.rpartition(".")[0] + ".0" + blank + rest if address.count(".") == 3 else old)
    assert state == {"path": str(folder / "access.log.gz"), "exit_code": 0, "blanked": len(addressed)}


def library() -> list[Path]:
    """The top-level modules of the standard library."""
    return sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))


def hits(pattern: str) -> list[str]:
    """Every line of them that matches, behind its place."""
    return [
        f"{path.name}:{number}:{line.rstrip()}"
        for path in library()
        for number, line in enumerate(path.read_text("utf-8").split("\n"), 1)
        if re.search(pattern, line)
    ]


def exactly(expected: dict[str, Any]) -> Callable[[dict[str, Any], Path], None]:
    """A check of examples without data: the whole final state."""

    def check(state: dict[str, Any], _folder: Path) -> None:
        assert state == expected

    return check


CHECKS = {
    "stream_pipeline": exactly(PIPELINE),
    "stream_broadcast": exactly(BROADCAST),
    "stream_hybrid": exactly(HYBRID),
    "one_pass": one_pass,
    "access_log": access_log,
    "csv_to_sqlite": csv_to_sqlite,
    "slow_consumer": slow_consumer,
    "early_exit": early_exit,
    "command_pipeline": command_pipeline,
    "unreachable_service": exactly(UNREACHABLE),
    "new_articles": exactly({"pages": 3, "new": NEW_ARTICLES}),
}
YAML = [f"yaml/{name}.yaml" for name in CHECKS]
PYTHON = [f"python/{name}.py" for name in CHECKS]


def head(name: str) -> str:
    """The comment or docstring before the first statement."""
    text = (EXAMPLES / name).read_text("utf-8")
    return text.partition("\n\n")[0] if name.endswith(".yaml") else text.split('"""')[1]


def shown(name: str, label: str) -> Optional[str]:
    """The command behind `Run it:` or `Data:` at the head of an example."""
    found = re.search(rf"^(?:# )?{label}: +(.*)$", head(name), re.MULTILINE)
    return found and found[1]


@pytest.fixture
def in_shell(tmp_path: Path) -> Callable[..., harness.Ended]:
    """Give commands of the documents to a shell above a copy of them, with `/tmp` being the test's folder."""
    tools, folder = tmp_path / "tools", tmp_path / "data"
    tools.mkdir()
    folder.mkdir()
    for name in (DATA, *YAML, *PYTHON):
        copy = tmp_path / "examples" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text((EXAMPLES / name).read_text("utf-8").replace("/tmp/", f"{folder}/"), "utf-8")
    (tools / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" -W error "$@"\n')
    (tools / "python").chmod(0o755)

    def run(*commands: Optional[str], expect: int = 0) -> harness.Ended:
        text = "\n".join(filter(None, commands)).replace("/tmp/", f"{folder}/")
        path = f'PATH="{tools}:$PATH"\n'
        return harness.run_command(["sh", "-e", "-c", path + text], cwd=tmp_path, expect=expect)

    return run


@pytest.mark.slow
@pytest.mark.scenario("001.5-DOC-001", "QA-001.5-INT-004")
@pytest.mark.parametrize("name", [*YAML, *PYTHON])
def test_the_example_runs_and_its_result_is_right(name: str, in_shell: Any, tmp_path: Path) -> None:
    """By the commands at its head; stdout is the final state as JSON and nothing else."""
    ended = in_shell(shown(name, "Data"), shown(name, "Run it"))
    CHECKS[Path(name).stem](json.loads(ended.stdout), tmp_path / "data")


@pytest.mark.parametrize("name", YAML)
def test_the_example_is_valid(name: str, in_shell: Any) -> None:
    """`validate` says so, and needs no data for it."""
    in_shell(f"python -m teastreams validate examples/{name}")


def test_no_example_is_left_out() -> None:
    """What lies in the folder is what is run here."""
    files = {path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.rglob("*") if path.suffix in (".py", ".yaml")}
    assert files == {DATA, *YAML, *PYTHON}


@pytest.mark.parametrize("name", [*YAML, *PYTHON])
def test_an_example_says_how_to_run_it(name: str) -> None:
    """At its head stands the command that runs it, with its own path."""
    runner = "python -m teastreams run" if name.endswith(".yaml") else "python"
    command = shown(name, "Run it")
    assert command is not None
    assert f"{command} ".startswith(f"{runner} examples/{name} ")


@pytest.mark.parametrize("name", [each for each in (*YAML, *PYTHON) if "stream_" not in each])
def test_an_example_on_real_input_says_what_one_would_have_written_instead(name: str) -> None:
    """In the shell or in Python."""
    assert len((shown(name, "Instead of") or "").split()) > 5


@pytest.mark.parametrize("name", [*YAML, *PYTHON])
def test_the_list_of_examples_has_it(name: str) -> None:
    """With a link, a word about it, and the very command that stands at its head."""
    listed = (EXAMPLES / "README.md").read_text("utf-8")
    row = re.search(rf"^\| \[{Path(name).stem}\]\({re.escape(name)}\) \| (.+) \| `(.+)` \|$", listed, re.MULTILINE)
    assert row is not None
    assert row[2] == shown(name, "Run it")


def test_the_list_of_examples_makes_the_data_they_need() -> None:
    """Every `Data:` of an example is a command of the list."""
    listed = (EXAMPLES / "README.md").read_text("utf-8").split("\n")
    needed = {shown(name, "Data") for name in (*YAML, *PYTHON)} - {None}
    assert len(needed) == 4
    assert needed <= set(listed)


# -- what the examples promise besides --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "digest"),
    [
        ("access-log", "ef4a197c650e2261a50804d269269e01bc0d680d9dfc81a73dcc620b5d47e45c"),
        ("orders", "65cfd97fd3ba2c46ca952f4173b1cfb0e5160312ca6fa6e63b149490f4637942"),
    ],
)
def test_the_data_are_the_same_everywhere(kind: str, digest: str) -> None:
    """The same kind, length and seed give the same bytes; another seed gives others."""
    command = [sys.executable, "-W", "error", str(EXAMPLES / DATA), kind, "1000"]
    written = harness.run_command(command).stdout
    assert hashlib.sha256(written.encode()).hexdigest() == digest
    assert harness.run_command([*command, "--seed", "8"]).stdout != written


def test_the_hybrid_example_takes_a_state_from_the_command_line(in_shell: Any) -> None:
    """`--set`, as its comment says, goes before the variables of the document."""
    ended = in_shell(f"{shown('yaml/stream_hybrid.yaml', 'Run it')} --set count=1000 --set limit=90")
    state = json.loads(ended.stdout)
    assert (state["measured"], state["above_limit"], state["verdict"]) == (1000, 90, "fine")


@pytest.mark.parametrize(
    "command",
    [
        "python -m teastreams run examples/yaml/early_exit.yaml --set pattern='import (re|json)$' --set count=3",
        "python examples/python/early_exit.py 'import (re|json)$' 3",
    ],
    ids=["yaml", "python"],
)
def test_the_search_takes_another_pattern(command: str, in_shell: Any) -> None:
    """As its comment says; the first so many hits, whatever lies between them."""
    assert json.loads(in_shell(command).stdout)["hits"] == hits("import (re|json)$")[:3]


@pytest.mark.parametrize("name", ["yaml/one_pass.yaml", "python/one_pass.py"])
def test_a_file_that_cannot_be_read_leaves_no_archive(name: str, in_shell: Any, tmp_path: Path) -> None:
    """The consumers are told that their input is not whole, and what `compress` wrote gets no name."""
    ended = in_shell(shown(name, "Run it"), expect=1)
    assert "FileNotFoundError" in ended.stderr
    assert not (tmp_path / "data" / "access.log.gz").exists()


@pytest.mark.parametrize("name", ["yaml/csv_to_sqlite.yaml", "python/csv_to_sqlite.py"])
def test_a_row_that_is_too_short_leaves_the_table_as_it_was(name: str, in_shell: Any, tmp_path: Path) -> None:
    """The load before it is all there, and nothing of the failed one."""
    command = shown(name, "Run it")
    in_shell("python examples/data.py orders 50 > /tmp/orders.csv", command)
    database = tmp_path / "data" / "orders.csv.db"
    before = database.read_bytes()
    in_shell("python examples/data.py orders 20000 > /tmp/orders.csv", "echo 7,Fu Li >> /tmp/orders.csv")
    ended = in_shell(command, expect=1)
    assert "'load' failed" in ended.stderr
    assert database.read_bytes() == before


@pytest.mark.parametrize("name", ["yaml/command_pipeline.yaml", "python/command_pipeline.py"])
def test_a_damaged_input_leaves_no_output_file(name: str, in_shell: Any, tmp_path: Path) -> None:
    """The program that found out is named, and what the others have written by then gets no name."""
    in_shell("python examples/data.py access-log 20000 | gzip | head -c 50000 > /tmp/access.log.gz")
    ended = in_shell(shown(name, "Run it"), expect=1)
    assert "'unpack' failed" in ended.stderr
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["access.log.gz"]


@pytest.mark.parametrize("name", ["yaml/new_articles.yaml", "python/new_articles.py"])
def test_what_a_run_has_seen_is_nothing_new_to_the_next(name: str, in_shell: Any) -> None:
    """The memory is in a file, and outlives the run."""
    command = shown(name, "Run it")
    in_shell(shown(name, "Data"), command)
    assert json.loads(in_shell(command).stdout) == {"pages": 3, "new": {}}


@pytest.mark.parametrize("name", ["yaml/new_articles.yaml", "python/new_articles.py"])
def test_a_token_that_is_refused_is_not_shown(name: str, in_shell: Any) -> None:
    """Not even by a service that says which token it does not know."""
    ended = in_shell("echo ARTICLES_TOKEN=oolong-before-tea > /tmp/articles.env", shown(name, "Run it"), expect=1)
    assert "PermissionError: the service does not know the token ***" in ended.stderr
    assert "oolong-before-tea" not in ended.stdout + ended.stderr
