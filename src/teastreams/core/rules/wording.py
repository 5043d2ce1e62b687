"""What rules return, and the words they share: quoted names, lists, YAML lines to copy, "did you mean".

Names come from outside: they are quoted with escapes and cut at 100 characters, so that a document cannot drive the
terminal that shows the message. Decides nothing about graphs.
"""

from __future__ import annotations

from typing import Iterable, Optional, Sequence, Union

from teastreams.core.graph import Edge, Graph, Node
from teastreams.errors import Position, Problem

MAX_QUOTED = 100
MAX_LISTED = 8

Subject = Union[Graph, Node, Edge]
Found = tuple[Subject, Problem]


def found(subject: Subject, message: str, fix: str, *keys: str) -> Found:
    """A problem of `subject`, placed at the first of `keys` that has a position, else at the subject itself."""
    return subject, Problem(message, fix, place(subject, *keys))


def place(subject: Subject, *keys: str) -> Optional[Position]:
    """Where the document has the first known one of the dotted `keys`, else what encloses it, else the subject."""
    parts = [key.split(".") for key in keys]
    for length in range(max(map(len, parts), default=0), 0, -1):
        for key in (".".join(names[:length]) for names in parts if len(names) >= length):
            if key in subject.positions:
                return subject.positions[key]
    return None if isinstance(subject, Graph) else subject.where


def quoted(name: str) -> str:
    """The name between quotes, escaped and cut."""
    return repr(name if len(name) <= MAX_QUOTED else name[:MAX_QUOTED] + "...")


def listed(names: Iterable[str]) -> str:
    """`'a', 'b' and 'c'`, cut after eight."""
    words = [quoted(name) for name in names]
    if len(words) > MAX_LISTED:
        words = [*words[: MAX_LISTED - 1], f"{len(words) - MAX_LISTED + 1} more"]
    return " and ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def path(names: Iterable[str]) -> str:
    """`a -> b -> a`"""
    return " -> ".join(quoted(name)[1:-1] for name in names)


def yaml_name(name: str) -> str:
    """The name as YAML text."""
    if name.replace("-", "_").isidentifier():
        return name
    return '"' + quoted(name)[1:-1].replace('"', '\\"') + '"'


def yaml_list(names: Sequence[str]) -> str:
    """One name, or a list in brackets, as YAML text."""
    words = [yaml_name(name) for name in names]
    return words[0] if len(words) == 1 else f"[{', '.join(words)}]"


def yaml_edge(source: str, targets: Sequence[str], more: str = "") -> str:
    """An edge as one line of YAML between backquotes."""
    return f"`- {{from: {yaml_name(source)}, to: {yaml_list(targets)}{', ' + more if more else ''}}}`"


def yaml_fork(source: str, targets: Sequence[str], fan_in: str = "NAME") -> str:
    """A parallel edge as one line of YAML between backquotes."""
    return yaml_edge(source, targets, f"parallel: true, fan_in: {yaml_name(fan_in)}")


def meant(word: str, names: Sequence[str], key: str) -> str:
    """The question "did you mean" with the text to write, or the names there are."""
    name = nearest(word, names)
    if name is not None:
        return f"did you mean {quoted(name)}? write `{key}: {yaml_name(name)}`"
    return f"the names here are {listed(names)}" if names else "there is none to choose from"


def nearest(word: str, names: Sequence[str]) -> Optional[str]:
    """The name that is at most a third of its letters away from `word`, the nearest first."""
    if len(word) > MAX_QUOTED:
        return None
    limit = max(1, len(word) // 3)
    close = [name for name in names if abs(len(name) - len(word)) <= limit]
    ranked = sorted((_distance(word.lower(), name.lower()), number) for number, name in enumerate(close))
    return close[ranked[0][1]] if ranked and ranked[0][0] <= limit else None


def _distance(word: str, other: str) -> int:
    """Letters to insert, delete, replace, or swap with their neighbour, to turn one word into the other."""
    rows = [list(range(len(other) + 1))]
    for i, letter in enumerate(word, 1):
        row = [i]
        for j, wanted in enumerate(other, 1):
            row.append(min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (letter != wanted)))
            if i > 1 and j > 1 and letter == other[j - 2] and word[i - 2] == wanted:
                row[-1] = min(row[-1], rows[-2][j - 2] + 1)
        rows.append(row)
    return rows[-1][-1]
