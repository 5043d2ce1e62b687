"""The Mermaid flowchart, read back by a small grammar: whatever names are, they stay inside their labels."""

from __future__ import annotations

import re

import pytest
from sample import EVERYTHING, HOSTILE, named

from teastreams.core.drawing.compose import picture_of, printable
from teastreams.core.drawing.mermaid import mermaid

LABEL = r'"((?:[^"#<>&`|;\[\]{}\\\n]|#\d+;|<br>)*)"'
STATEMENTS = {
    "head": re.compile(r"flowchart TD"),
    "shape": re.compile(rf"(n\w+)(?:\(\[{LABEL}\]\)|\[{LABEL}\]|\{{\{{{LABEL}\}}\}})"),
    "frame": re.compile(rf"subgraph (s\w+)\[{LABEL}\]"),
    "end": re.compile(r"end"),
    "channel": re.compile(rf"(n\w+) ==>\|{LABEL}\| (n\w+)"),
    "control": re.compile(rf"(n\w+) -\.->(?:\|{LABEL}\|)? (n\w+)"),
}


def decoded(label: str) -> str:
    return re.sub(r"#(\d+);", lambda found: chr(int(found.group(1))), label.replace("<br>", "\n"))


def statements(drawing: str) -> list[tuple[str, ...]]:
    """Every line as (its kind, its ids and labels); fails on a line that is none."""
    lines = drawing.split("\n")
    if lines[0] == "---":
        assert re.fullmatch(r'title: "(?:[^"\\]|\\["\\])*"', lines[1])
        assert lines[2] == "---"
        lines = lines[3:]
    found = []
    for line in lines:
        matches = {kind: rule.fullmatch(line.strip()) for kind, rule in STATEMENTS.items()}
        ((kind, match),) = [(kind, match) for kind, match in matches.items() if match]
        found.append((kind, *(decoded(part) for part in match.groups() if part is not None)))
    return found


def test_channels_are_thick_and_named_control_is_dotted() -> None:
    """Channels stand inside the subgraph of their section, control outside of all."""
    told = statements(mermaid(picture_of(EVERYTHING)))
    kinds = [kind for kind, *_ in told]
    start, end = kinds.index("frame"), kinds.index("end")
    assert told[start][2] == "stream section\ntimeout 60 s\nstall timeout 2.5 s\npipes of 4KiB"
    assert [each[2] for each in told[start:end] if each[0] == "channel"] == [
        "lines",
        "block, 8MiB in memory",
        "spill, 1MiB in memory, 3GiB in all",
        "remarks (stderr)",
    ]
    assert kinds[end + 1 :].count("channel") == 0
    assert {each[2] for each in told if each[0] == "control" and len(each) == 4} == {"fan-in", "parallel, thread"}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_a_label_and_nothing_else(name: str) -> None:
    """The same statements as with a harmless name; decoded, the label is the name."""
    told, harmless = (statements(mermaid(picture_of(named(each)))) for each in (name, "harmless"))
    assert [kind for kind, *_ in told] == [kind for kind, *_ in harmless]
    assert next(each[2] for each in told if each[:2] == ("shape", "n1")) == printable(name)
    assert next(each[2] for each in told if each[0] == "channel") == printable(name)
