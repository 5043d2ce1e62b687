"""A web server's log, and a channel of its own for what is no request: examples/yaml/access_log.yaml in Python.

Good lines leave `parse` by stdout, malformed ones, behind their line number, by stderr. Both are streams; neither is
held in memory.

Instead of:   a loop that does the parsing, the statistics and the writing of rejects in one process, one after another;
              or a `subprocess.Popen` with two pipes, which must be read in turn by `selectors` lest one of them fills.

Data:     python examples/data.py access-log 200000 > /tmp/access.log
Run it:   python examples/python/access_log.py /tmp/access.log
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter

import teastreams as ts

REQUEST = re.compile(r'\S+ \S+ \S+ \[[^]]+\] "[A-Z]+ (\S+) [^"]*" (\d{3}) (\d+|-)$')


def parse(state: dict) -> dict:
    lines = 0
    with open(state["path"], encoding="utf-8", errors="backslashreplace") as file:
        for lines, line in enumerate(file, 1):
            if found := REQUEST.match(line):
                print(*found.groups(), sep="\t")
            else:
                print(lines, line, sep="\t", end="", file=sys.stderr)
    return {"lines": lines}


def summarise() -> dict:
    pages, statuses, bytes_sent = Counter(), Counter(), 0
    for line in sys.stdin:
        page, status, size = line.split()
        pages[page] += 1
        statuses[status] += 1
        bytes_sent += int(size.replace("-", "0"))
    return {
        "requests": sum(statuses.values()),
        "bytes_sent": bytes_sent,
        "statuses": dict(sorted(statuses.items())),
        "busiest": pages.most_common(3),
    }


def keep(state: dict) -> dict:
    path, rejected = state["path"] + ".rejects", 0
    with open(path, "w", encoding="utf-8") as file:
        for line in sys.stdin:
            file.write(line)
            rejected += 1
    return {"rejected": rejected, "rejects": path}


def report(state: dict, parallel_results: ts.ParallelResults) -> dict:
    found = {**parallel_results["summarise"], **parallel_results["keep"]}
    assert found["requests"] + found["rejected"] == state["lines"], "every line went one way or the other"
    return found


def main() -> None:
    graph = ts.StateGraph({"path": str})
    graph.add_node("parse", run=parse, streams={"stdout": "requests", "stderr": "rejects"})
    graph.add_node("summarise", run=summarise, streams={"stdin": "requests"})
    graph.add_node("keep", run=keep, streams={"stdin": "rejects"})
    graph.add_node("report", run=report)
    graph.set_entry_point("parse")
    graph.add_parallel_edge("parse", ["summarise", "keep"], fan_in="report")
    graph.set_finish_point("report")
    result = graph.compile().run({"path": sys.argv[1]})
    print(json.dumps(dict(result.state), indent=2))


if __name__ == "__main__":
    main()
