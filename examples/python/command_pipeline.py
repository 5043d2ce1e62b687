"""External programs with Python between them: examples/yaml/command_pipeline.yaml in Python.

A packed log is unpacked, the last number of each client's address is blanked, and the result is packed again. The
output file gets its name when all three have ended well; a damaged input leaves none.

Instead of:   two `subprocess.Popen`, one with its stdout piped here, one with its stdin piped from here, a loop between
              them, two exit codes to look at, and an output file to delete when one of them is not 0.

Data:     python examples/data.py access-log 200000 | gzip > /tmp/access.log.gz
Run it:   python examples/python/command_pipeline.py /tmp/access.log.gz
"""

from __future__ import annotations

import json
import re
import sys

import teastreams as ts

ADDRESS = re.compile(r"^(\d+\.\d+\.\d+)\.\d+")


def anonymise() -> dict:
    blanked = 0
    for line in sys.stdin:
        text, found = ADDRESS.subn(r"\1.0", line)
        sys.stdout.write(text)
        blanked += found
    return {"blanked": blanked}


def main() -> None:
    packed = {"from": {"file": "{{ state.path }}"}}
    repacked = {"to": {"file": "{{ state.path }}.blanked.gz"}}
    graph = ts.StateGraph({"path": str})
    graph.add_node("unpack", command=["gzip", "-dc"], streams={"stdin": packed, "stdout": "raw"})
    graph.add_node("anonymise", run=anonymise, streams={"stdin": "raw", "stdout": "blanked"})
    graph.add_node("pack", command=["gzip", "-c"], streams={"stdin": "blanked", "stdout": repacked})
    graph.set_entry_point("unpack")
    graph.add_edge("unpack", "anonymise")
    graph.add_edge("anonymise", "pack")
    graph.set_finish_point("pack")
    result = graph.compile().run({"path": sys.argv[1]})
    print(json.dumps(dict(result.state), indent=2))


if __name__ == "__main__":
    main()
