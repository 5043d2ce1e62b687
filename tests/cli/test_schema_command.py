"""`teastreams schema`: the JSON Schema on stdout, ready to be written to a file."""

from __future__ import annotations

import json
import sys

import harness

from teastreams.workflow.json_schema import json_schema


def test_the_schema_is_all_there_is_on_stdout() -> None:
    """As JSON, the same as it is made."""
    ended = harness.run_command([sys.executable, "-W", "error", "-m", "teastreams", "schema"])
    assert json.loads(ended.stdout) == json_schema()
    assert ended.stderr == ""
