"""A CSV file is loaded into SQLite and profiled by column in one reading: examples/yaml/csv_to_sqlite.yaml in Python.

The table is one transaction. If anything goes wrong, in `load` or upstream of it, the read raises, the transaction is
rolled back, and the database is as it was before.

Instead of:   a loop that inserts each row and measures it, on one core;
              or a second pass over the finished table with SELECT min(price), max(price), avg(price), ... per column.

Data:     python examples/data.py orders 50000 > /tmp/orders.csv
Run it:   python examples/python/csv_to_sqlite.py /tmp/orders.csv
"""

from __future__ import annotations

import csv
import json
import shutil
import sqlite3
import sys
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Callable, Iterator

import teastreams as ts

COLUMNS = {
    "order_id": "INTEGER",
    "customer": "TEXT",
    "country": "TEXT",
    "quantity": "INTEGER",
    "price": "REAL",
    "discount": "REAL",
}
PARSE: dict[str, Callable[[str], Any]] = {"INTEGER": int, "REAL": float, "TEXT": str}


@dataclass
class Column:
    """What has been seen of one column; empty fields are nulls, and text has no mean."""

    kind: str
    nulls: int = 0
    count: int = 0
    total: float = 0
    low: Any = None
    high: Any = None

    def add(self, text: str) -> None:
        if not text:
            self.nulls += 1
            return
        value = PARSE[self.kind](text)
        self.low = value if self.low is None else min(self.low, value)
        self.high = value if self.high is None else max(self.high, value)
        self.count += 1
        self.total += value if self.kind != "TEXT" else 0

    def found(self) -> dict:
        mean = self.total / self.count if self.kind != "TEXT" and self.count else None
        return {"nulls": self.nulls, "min": self.low, "max": self.high, "mean": mean}


def reader(state: dict) -> None:
    with open(state["path"], "rb") as file:
        shutil.copyfileobj(file, sys.stdout.buffer)


def table_rows() -> Iterator[list[str]]:
    """The rows on stdin below the head, which must be the expected one."""
    sys.stdin.reconfigure(encoding="utf-8", newline="")
    rows = csv.reader(sys.stdin)
    if next(rows) != list(COLUMNS):
        raise ValueError(f"the columns are not {', '.join(COLUMNS)}")
    return rows


def load(state: dict) -> dict:
    path = state["path"] + ".db"
    with closing(sqlite3.connect(path, isolation_level=None)) as database, database:
        database.execute("BEGIN")
        database.execute("DROP TABLE IF EXISTS orders")
        database.execute(f"CREATE TABLE orders ({', '.join(map(' '.join, COLUMNS.items()))})")
        fields = ([text or None for text in row] for row in table_rows())
        database.executemany("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?)", fields)
        (loaded,) = database.execute("SELECT count(*) FROM orders").fetchone()
    return {"database": path, "rows": loaded}


def profile() -> dict:
    columns = {name: Column(kind) for name, kind in COLUMNS.items()}
    profiled = 0
    for row in table_rows():
        profiled += 1
        for column, text in zip(columns.values(), row):
            column.add(text)
    return {"profiled": profiled, "profile": {name: column.found() for name, column in columns.items()}}


def check(parallel_results: ts.ParallelResults) -> dict:
    loaded, profiled = parallel_results["load"], parallel_results["profile"]
    if loaded["rows"] != profiled["profiled"]:
        raise ValueError(f"{loaded['rows']} rows are in the table, {profiled['profiled']} were in the file")
    return {"database": loaded["database"], "rows": loaded["rows"], "profile": profiled["profile"]}


def main() -> None:
    graph = ts.StateGraph({"path": str}, parallel_config=ts.ParallelConfig(strategy="process", fail_fast=True))
    graph.add_node("reader", run=reader, streams={"stdout": "rows"})
    graph.add_node("load", run=load, streams={"stdin": "rows"})
    graph.add_node("profile", run=profile, streams={"stdin": "rows"})
    graph.add_node("check", run=check)
    graph.set_entry_point("reader")
    graph.add_parallel_edge("reader", ["load", "profile"], fan_in="check", stream_mode="broadcast")
    graph.set_finish_point("check")
    result = graph.compile().run({"path": sys.argv[1]})
    print(json.dumps(dict(result.state), indent=2))


if __name__ == "__main__":
    main()
