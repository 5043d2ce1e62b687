"""A search that stops when it has found enough: examples/yaml/early_exit.yaml in Python.

`first` takes a few lines and leaves. That ends `search`, and with it `sources`, which has read only a part of the
modules by then. Leaving early is no error. The data are the sources of Python's standard library.

Instead of:   one loop over all files with the pattern, the counter and the `return` in its middle;
              or a `subprocess.Popen` per stage, each of them told, and waited for, when the last one has enough.

Run it:   python examples/python/early_exit.py
Or:       python examples/python/early_exit.py 'import (re|json)$' 3
"""

from __future__ import annotations

import itertools
import json
import re
import sys
import sysconfig
from pathlib import Path

import teastreams as ts


def sources() -> dict:
    modules, read = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")), 0
    try:
        for module in modules:
            read += 1
            with open(module, encoding="utf-8") as file:
                for number, line in enumerate(file, 1):
                    print(module.name, number, line, sep=":", end="")
    except BrokenPipeError:
        pass  # nobody wants more: say how far it came, and end well
    return {"modules": len(modules), "modules_read": read}


def search(state: dict) -> None:
    pattern = re.compile(state["pattern"])
    for line in sys.stdin:
        if pattern.search(line):
            print(line, end="", flush=True)  # at once, so that `first` need not wait for a full buffer


def first(state: dict) -> dict:
    return {"hits": [line.rstrip() for line in itertools.islice(sys.stdin, state["count"])]}


def main() -> None:
    pattern, count = sys.argv[1:] or ("raise ", "5")
    graph = ts.StateGraph({"pattern": str, "count": int})
    graph.add_node("sources", run=sources, streams={"stdout": "text"})
    graph.add_node("search", run=search, streams={"stdin": "text", "stdout": "hits"})
    graph.add_node("first", run=first, streams={"stdin": "hits"})
    graph.set_entry_point("sources")
    graph.add_edge("sources", "search")
    graph.add_edge("search", "first")
    graph.set_finish_point("first")
    result = graph.compile().run({"pattern": pattern, "count": int(count)})
    print(json.dumps(dict(result.state), indent=2))


if __name__ == "__main__":
    main()
