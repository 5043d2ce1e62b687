"""`python tests/fuzz/values.py N [SEED]`: hostile expressions, templates, frames, checkpoints, and input as JSON.

What holds: an expression or a template is read, or refused by its own error with a text and what to write; frames are
the ones that were sent, or a `FrameError`; a checkpoint is what was saved, or a `CheckpointError`; JSON of the command
line is a state, or a `UsageError`. No other exception, within a second, and nothing acts.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sqlite3
import sys
import tempfile
import time
import warnings
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any, Callable

from documents import limited
from mutations import EXPRESSIONS, HUGE, NAMES, TEXTS, VALUES, flipped
from watching import Watch

from teastreams.checkpoint import Checkpoint, CheckpointError, MemoryCheckpointer, SqliteCheckpointer
from teastreams.checkpoint.records import checkpoint_of, rows_of
from teastreams.checkpoint.values import state_of, text_of
from teastreams.cli.arguments import UsageError, given_state
from teastreams.core.frames import HEADER_BYTES, FrameError, FrameReader, Kind, frame
from teastreams.core.language import expressions, templates, trees
from teastreams.core.state.types import UnknownType, type_named

KINDS = (
    "dict",
    "tuple",
    "set",
    "bytes",
    "date",
    "datetime",
    "timedelta",
    "float",
    "path",
    "part",
    "codec",
    "os.system",
)
STATE = {"a": (1, b"x", {2}, 1.5), "b": {"deep": [None, True, "é" * 3000]}, "c": float("inf"), "d": Path("x")}
PIECES = (
    *("state", ".a", "[0]", "['k']", " + ", " | ", "upper", "join(',')", "(", ")", "[", "]", "{", "}", "{{", "}}", "'"),
    *(
        '"',
        "1",
        "9" * 400,
        " ** ",
        " if ",
        " else ",
        "lambda: ",
        "not ",
        ":",
        ",",
        "\\",
        "\n",
        "variables",
        "result",
        "f'",
    ),
    *(
        "int|",
        "list[",
        "dict[str,",
        "null",
        "str|",
        "*",
        "@",
        "#",
        "%}",
        "{%",
        "é",
        "\ud800",
        "\x00",
        "\u2028",
        "=",
        "int",
    ),
)
Trial = Callable[[random.Random], str]


def refused(error: Exception, fix: str = "none is needed") -> str:
    """An error has a text."""
    assert str(error), "no text"
    assert fix, "nothing to do"
    return "refused"


def text_of_pieces(rng: random.Random) -> str:
    """A text of what expressions, templates and types are made of."""
    if rng.random() < 0.3:
        return rng.choice(EXPRESSIONS)
    text = "".join(rng.choice(PIECES) for _ in range(rng.choice((1, 3, 6, 12, 40))))
    text = text * rng.choice((1, 1, 1, 1, 1, 400))
    return "{{ " + text + " }}" if rng.random() < 0.5 else text


def an_expression(rng: random.Random) -> str:
    """Read by all that reads texts of a document."""
    text = text_of_pieces(rng)
    refusals = (expressions.ExpressionError, templates.TemplateError, UnknownType)
    outcome = "read"
    for read in (expressions.parsed, templates.parsed, trees.tree_of, type_named):
        try:
            read(text)
        except refusals as error:
            outcome = refused(error, error.fix)
    return outcome


def frames(rng: random.Random) -> str:
    """Messages cut and damaged anywhere, fed in pieces of any size."""
    sent = [(rng.choice(list(Kind)), rng.randbytes(rng.choice((0, 1, 9, 300)))) for _ in range(rng.randrange(5))]
    whole = b"".join(frame(kind, payload) for kind, payload in sent)
    data = flipped(whole, rng) if rng.random() < 0.5 else whole
    data = data[: rng.randrange(len(data) + 1)] if rng.random() < 0.3 else data
    reader, got = FrameReader({Kind.READY: 0, Kind.EVENT: 100}, 1000), []
    try:
        while data:
            size = rng.choice((1, 2, HEADER_BYTES, 64, len(data)))
            got += [(kind, bytes(payload)) for kind, payload in reader.feed(data[:size])]
            data = data[size:]
            assert reader.pending <= 1000 + HEADER_BYTES, "it collects more than it may"
    except FrameError as error:
        return refused(error)
    assert all(len(payload) <= 1000 for _, payload in got), "a payload over its limit"
    return "read"


def record() -> Checkpoint:
    """One to be damaged."""
    return Checkpoint("run", 3, "node", "after", "hash", STATE)


def foreign_state(rng: random.Random) -> str:
    """A state that fits its checksum, since whoever may write the file can make one, of any making at all."""
    flips = rng.random() < 0.4
    data = flipped(text_of(STATE).encode(), rng).decode("utf-8", "replace") if flips else json.dumps(tree(rng))
    try:
        state = state_of(data)
    except CheckpointError as error:
        return refused(error)
    assert isinstance(state, dict), "a state that is none"
    return "read"


def tree(rng: random.Random, depth: int = 0) -> Any:
    """JSON with the marks of our own encoding in the wrong places."""
    choice = rng.randrange(6) if depth < 5 else 5
    if choice < 3:
        return {"$kind": rng.choice((*KINDS, 1, None, [], {})), "value": tree(rng, depth + 1)}
    if choice == 3:
        return {rng.choice((*NAMES, "$kind", "value")): tree(rng, depth + 1) for _ in range(rng.randrange(4))}
    if choice == 4:
        return [tree(rng, depth + 1) for _ in range(rng.randrange(4))]
    return rng.choice(
        (None, True, -1, 1.5, 10**300, "", "inf", "x", "2026-01-01", "AAAA", [1, 2], [[1, 2]], [1e300] * 3)
    )


def damaged_row(rng: random.Random) -> str:
    """A row with one value changed."""
    row, parts = rows_of(record())
    columns = list(row)
    columns[rng.randrange(len(columns))] = rng.choice((*VALUES[:20], b"\xff", "\ud800", rng.random()))
    try:
        read = checkpoint_of(tuple(columns), "here", parts.__getitem__)
    except CheckpointError as error:
        return refused(error)
    assert dict(read.state) == STATE, "damage was accepted"
    assert tuple(columns) == row, "damage was accepted"
    return "read"


class DamagedFile:
    """A checkpoint file with bytes changed, cut off or put in: what it gives is what was saved, or an error."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "run.db"
        keeper = SqliteCheckpointer(self.path)
        for _ in range(2):
            keeper.save(record())
        with closing(sqlite3.connect(self.path)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.whole = self.path.read_bytes()

    def __call__(self, rng: random.Random) -> str:
        data = flipped(self.whole, rng)
        data = data[: rng.randrange(len(data))] if rng.random() < 0.2 else data
        self.path.write_bytes(data)
        for companion in ("-wal", "-shm", "-journal"):
            planted = Path(f"{self.path}{companion}")
            if planted.exists():
                planted.unlink()
            if rng.random() < 0.1:
                planted.write_bytes(bytes(rng.getrandbits(8) for _ in range(rng.choice((0, 32, 4096)))))
        keeper = SqliteCheckpointer(self.path)
        try:
            found = [keeper.load(), *keeper.list()]
            keeper.history()
        except CheckpointError as error:
            return refused(error)
        assert all(dict(each.state) == STATE and each.step == 3 for each in found), "damage was accepted"
        return "read"


def given_input(rng: random.Random) -> str:
    """`--input` and `--set`."""
    good = json.dumps({"a": [1, {"b": "x"}], "c": None})
    text = rng.choice(
        (flipped(good.encode(), rng).decode("utf-8", "replace"), rng.choice(TEXTS) + good, good[:5], HUGE)
    )
    text = rng.choice(
        (text, "[" * 50_000, '{"a": ' + "[" * 900 + "]" * 900 + "}", '{"a":' + HUGE + "}", "@/nowhere", "@\x00")
    )
    pairs = [
        rng.choice(NAMES) + rng.choice(("=", "", "==")) + rng.choice((text, *TEXTS)) for _ in range(rng.randrange(3))
    ]
    try:
        state = given_state(argparse.Namespace(input=rng.choice((text, None)), set=pairs))
    except UsageError as error:
        return refused(error)
    assert isinstance(state, dict), "a state that is none"
    return "read"


def main(count: int, seed: int) -> int:
    """`count` attempts of each kind; the exit code is 1 if one of them failed."""
    warnings.simplefilter("error")
    sys.dont_write_bytecode = True
    failures = 0
    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o700)
        damaged = DamagedFile(Path(folder))
        MemoryCheckpointer().save(record())
        trials: dict[str, Trial] = {
            "expressions": an_expression,
            "frames": frames,
            "rows": damaged_row,
            "states": foreign_state,
            "input": given_input,
            "files": damaged,
        }
        for name, trial in trials.items():
            trial(random.Random(0))
            failures += _tried(name, trial, count, seed, watch)
    return 1 if failures else 0


def _tried(name: str, trial: Trial, count: int, seed: int, watch: Watch) -> int:
    failures, counts, slowest = 0, Counter[str](), 0.0
    for index in range(count):
        begun = time.monotonic()
        watch.acts.clear()
        try:
            with limited(), watch.armed():
                outcome = trial(random.Random(f"{name}:{seed}:{index}"))
            # The file is damaged here, and opened by SQLite.
            acts = [
                act for act in watch.acts if name != "files" or not act.startswith(("sqlite3.", "open", "os.remove"))
            ]
            assert not acts, acts[0]
        except BaseException as error:
            failures += 1
            outcome = "failed"
            sys.stdout.write(f"--- {name}:{seed}:{index}: {type(error).__name__}: {error}\n"[:600])
        counts[outcome] += 1
        slowest = max(slowest, time.monotonic() - begun)
        if failures > 5:
            break
    sys.stdout.write(f"{name}, seed {seed}: {dict(sorted(counts.items()))}, slowest {slowest:.2f} s\n")
    return failures


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100, int(sys.argv[2]) if len(sys.argv) > 2 else 1))
