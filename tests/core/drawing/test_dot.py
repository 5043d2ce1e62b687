"""The DOT digraph, read back by a small grammar: whatever names are, they stay inside their labels."""

from __future__ import annotations

import re

import pytest
from sample import EVERYTHING, HOSTILE, named

from teastreams.core.drawing.compose import picture_of, printable
from teastreams.core.drawing.dot import dot

LABEL = r'"((?:[^"\\\n]|\\["\\n])*)"'
STATEMENTS = {
    "head": re.compile(r"digraph workflow \{"),
    "title": re.compile(rf"graph \[label={LABEL}(?:, labelloc=t)?\]"),
    "shape": re.compile(rf"(n\w+) \[label={LABEL}, shape=(\w+)\]"),
    "frame": re.compile(r"subgraph cluster_(\w+) \{"),
    "end": re.compile(r"\}"),
    "channel": re.compile(rf"(n\w+) -> (n\w+) \[penwidth=3, label={LABEL}\]"),
    "control": re.compile(rf"(n\w+) -> (n\w+) \[style=dashed(?:, label={LABEL})?\]"),
}


def decoded(label: str) -> str:
    text = re.sub(r"\\(.)", lambda found: "\n" if found.group(1) == "n" else found.group(1), label)
    assert re.findall(r"&(?!amp;)", text) == []
    return text.replace("&amp;", "&")


def statements(drawing: str) -> list[tuple[str, ...]]:
    """Every line as (its kind, its ids and labels); fails on a line that is none."""
    found = []
    for line in drawing.split("\n"):
        matches = {kind: rule.fullmatch(line.strip()) for kind, rule in STATEMENTS.items()}
        ((kind, match),) = [(kind, match) for kind, match in matches.items() if match]
        found.append((kind, *(decoded(part) for part in match.groups() if part is not None)))
    return found


def test_sections_are_clusters_and_channels_are_thick() -> None:
    """Their names and policies are labels; control is dashed."""
    told = statements(dot(picture_of(EVERYTHING)))
    kinds = [kind for kind, *_ in told]
    assert kinds.count("frame") == 1
    assert kinds.count("end") == 2
    assert told[kinds.index("frame") + 1][1].startswith("stream section\ntimeout 60 s\n")
    assert [each[3] for each in told if each[0] == "channel"] == [
        "lines",
        "block, 8MiB in memory",
        "spill, 1MiB in memory, 3GiB in all",
        "remarks (stderr)",
    ]
    assert {each[3] for each in told if each[0] == "control" and len(each) == 4} == {"fan-in", "parallel, thread"}
    assert ("shape", "n1", "first\ninterrupt before", "box") in told


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_a_label_and_nothing_else(name: str) -> None:
    """The same statements as with a harmless name; decoded, the label is the name."""
    told, harmless = (statements(dot(picture_of(named(each)))) for each in (name, "harmless"))
    assert [kind for kind, *_ in told] == [kind for kind, *_ in harmless]
    assert told[1][1] == printable(name)
    assert next(each[2] for each in told if each[:2] == ("shape", "n1")) == printable(name)
    assert next(each[3] for each in told if each[0] == "channel") == printable(name)
