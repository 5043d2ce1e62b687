"""Seeded mutations of documents: of their bytes and lines, and of what they say.

Each takes the content of a document and a random generator and returns other content. Nothing here knows what is right:
most results are wrong, and wrong in ways that nobody would think of. Pure standard library but for the YAML of the
structural half, which reads with the safe loader.
"""

from __future__ import annotations

import json
import random
import re
from typing import Any, Callable, Union

import yaml

Mutation = Callable[[bytes, random.Random], bytes]

HUGE = "9" * 5000
MOST_BYTES = (50_000,) * 50 + (1_200_000,)  # what is too long is refused before it is read: not often
NAMES = (
    "__start__",
    "__end__",
    "a",
    "b",
    "state",
    "",
    "a b",
    "../x",
    "\u202ename",
    "x" * 300,
    "\x1b[31mred",
    "a\nb",
    "-",
)
KEYS = (
    *("name", "run", "command", "streams", "stdin", "stdout", "stderr", "from", "to", "type", "parallel", "fan_in"),
    *("parallel_strategy", "stream_mode", "condition", "when", "goto", "uses", "with", "output", "path", "package"),
    *("imports", "settings", "secrets", "variables", "initial_state", "state_schema", "retry", "on_error", "body"),
    *("nodes", "edges", "interrupt_before", "loop", "items", "over", "max_iterations", "timeout", "rate_limiter", "<<"),
)
EXPRESSIONS = (
    *("state.x > 1", "{{ state.x }}", "{{ state.x", "}} {{", "__import__('canary_module')", "open('CANARY', 'w')"),
    *("1 if", "lambda: 0", "state" + ".a" * 3000, "(" * 300, "-" * 5000 + "1", "not " * 3000 + "1", "1 is 1", "'\\d'"),
    *("9 ** 9 ** 9 ** 9", "{{ 9 ** (9 ** 9) | int }}", "{{ ('a' * 10 ** 12) | length }}", "{{ " + HUGE + " | int }}"),
    *(
        "[x for x in state]",
        "(yield)",
        "await x",
        "x := 1",
        "state['a\u2028b']",
        "\ud83d",
        "secrets.KEY",
        "true",
        "f'{1}'",
    ),
    *("{{ state.a | nofilter }}", "{{ state.a | default('x') }}", "{% for x in y %}", "{{ {} }}", "{{ {{ }} }}"),
    *("exec('import canary_module')", "state.__class__.__base__.__subclasses__()", "import canary_module"),
    *("for x in\n", "return 1", "open('CANARY', 'w')\nreturn {}", "def f():\n yield 1\nreturn f", "\x00", "\\\n"),
)
WORDS = ("true", "null", "~", "on", "0x1F", "1e999", ".inf", ".nan", "-0", "12:30", "2026-01-01", "64KiB", "1TB", HUGE)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, 10**299, 0.5, -1e308, "", " ", "x", "8MiB", "65536", "*", "[]"),
    *([], {}, [[]], [{}], {"a": {}}, ["a", "a"], [None], {"": None}, "broadcast", "process", "spill", "a" * 10_000),
    *(["a"] * 1000, {"from": "a", "overflow": "spill"}, {"file": "CANARY"}, {"file": "/etc/passwd"}, "@file", "$HOME"),
)
TEXTS = (
    *("\t", "\ufeff", "\x00", "\x1b[2J", "\u2028", "\u202e", "\x85", "\ufffe", "\U0001f375", "e\u0301", "\r", "\r\n"),
    *("&a ", "*a", "<<: *a\n", "!!python/object/apply:os.system [touch CANARY]\n", "!x ", "!!int ", "%YAML 1.1\n---\n"),
    *(
        "---\n",
        "...\n",
        "--- a\n--- b\n",
        "? ",
        ": ",
        "- ",
        "# ",
        "|",
        ">",
        "|9\n",
        "|-\n",
        '"\\U99999999"',
        '"\\ud800"',
    ),
    *("[" * 60, "{" * 60, "[" * 20_000, '"', "'", "`", "@", "%", "&x [*x]", "'" * 2000, HUGE, "1" * 400, "a: " * 60),
)


# --- text ----------------------------------------------------------------------------------------------------------


def flipped(data: bytes, rng: random.Random) -> bytes:
    """A few bytes become others."""
    content = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        if content:
            content[rng.randrange(len(content))] = rng.randrange(256)
    return bytes(content)


def cut(data: bytes, rng: random.Random) -> bytes:
    """The file ends early."""
    return data[: rng.randrange(len(data) + 1)]


def inserted(data: bytes, rng: random.Random) -> bytes:
    """A text that means something to YAML, to a terminal or to nobody stands somewhere in it."""
    text = rng.choice(rng.choice((TEXTS, WORDS, NAMES, EXPRESSIONS)))
    place = rng.choice((0, len(data), rng.randrange(len(data) + 1)))
    return data[:place] + text.encode("utf-8", "surrogatepass") + data[place:]


def by_lines(data: bytes, rng: random.Random) -> bytes:
    """Lines twice, away, swapped, or moved to the left or right."""
    lines = data.splitlines(keepends=True) or [b""]
    for _ in range(rng.choice((1, 1, 2, 4))):
        at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
        change = rng.randrange(6)
        if change == 0:
            lines.insert(other, lines[at])
        elif change == 1 and len(lines) > 1:
            del lines[at]
        elif change == 2:
            lines[at], lines[min(other, len(lines) - 1)] = lines[min(other, len(lines) - 1)], lines[at]
        elif change == 3:
            lines[at] = rng.choice((b" ", b"  ", b"\t", b"      ")) + lines[at]
        elif change == 4:
            lines[at] = lines[at][rng.randrange(1, 4) :]
        else:
            lines[at] = lines[at][:10_000] * rng.choice((2, 50, 2000))
    return b"".join(lines)


def recoded(data: bytes, rng: random.Random) -> bytes:
    """Another encoding, byte order mark or line end."""
    text = data.decode("utf-8", "replace")
    change = rng.randrange(4)
    if change == 0:
        return text.encode(rng.choice(("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "utf-7")), "surrogatepass")
    if change == 1:
        return text.encode("latin-1", "replace").replace(b"a", b"\xe4", rng.randrange(3))
    return text.replace("\n", rng.choice(("\r\n", "\r", "\n\n", "\u2028", "\x85", "\n\r"))).encode()


def renamed(data: bytes, rng: random.Random) -> bytes:
    """A word, wherever it stands, becomes another, or two words change places: names, keys, kinds and expressions."""
    words = sorted(set(re.findall(rb"[\w.]+", data))) or [b"a"]
    one, other = rng.choice(words), rng.choice((rng.choice(words), rng.choice(NAMES + WORDS + KEYS).encode()))
    how = {one: other, other: one} if rng.random() < 0.5 else {one: other}
    return re.sub(rb"[\w.]+", lambda found: how.get(found.group(), found.group()), data)


def renumbered(data: bytes, rng: random.Random) -> bytes:
    """The word after a colon becomes another."""
    places = [at for at in range(len(data)) if data[at : at + 2] == b": "]
    if not places:
        return data
    at = rng.choice(places) + 2
    end = data.find(b"\n", at)
    word = rng.choice(rng.choice((WORDS, EXPRESSIONS, NAMES)))
    return data[:at] + word.encode("utf-8", "surrogatepass") + data[end if end > 0 else len(data) :]


# --- structure -----------------------------------------------------------------------------------------------------


class Pairs(list):  # type: ignore[type-arg]
    """A mapping that may hold a key twice."""


def restructured(data: bytes, rng: random.Random) -> bytes:
    """Keys renamed, away or twice; values of every other kind; names crossed; parts nested in others."""
    try:
        tree = _pairs(yaml.safe_load(data.decode()))
    except Exception:  # it is what the constructors of YAML raise on a mutant, whatever that is
        return flipped(data, rng)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        holders = _holders(tree)
        if not holders:
            return flipped(data, rng)
        _change(rng.choice(holders), holders, rng)
    return _written(tree, rng)


def _change(holder: Union[Pairs, list], holders: list[Any], rng: random.Random) -> None:
    at = rng.randrange(len(holder))
    change = rng.randrange(9)
    if change == 0:
        del holder[at]
    elif change == 1:
        holder.insert(rng.randrange(len(holder) + 1), holder[at])
    elif change == 2 and isinstance(holder, Pairs):
        holder[at] = (rng.choice(rng.choice((KEYS, KEYS, NAMES))), holder[at][1])
    elif change == 3 and isinstance(holder, Pairs):
        holder.append((rng.choice(KEYS), rng.choice(rng.choice((VALUES, EXPRESSIONS, NAMES)))))
    elif change == 4:
        other = rng.choice(holders)
        _put(holder, at, _value(other, rng.randrange(len(other))))  # a value from somewhere else: names are crossed
    elif change == 5:
        value = _value(holder, at)
        for _ in range(rng.choice((1, 1, 3, 70))):
            value = rng.choice(([value], Pairs([(rng.choice(KEYS), value)])))
        _put(holder, at, value)
    elif change == 6:
        _put(holder, at, rng.choice(EXPRESSIONS))
    elif change == 7 and isinstance(holder, list):
        holder += [holder[at]] * rng.choice((1, 3, 300))
    else:
        _put(holder, at, rng.choice(rng.choice((VALUES, NAMES))))


def _pairs(value: Any) -> Any:
    if isinstance(value, dict):
        return Pairs((key, _pairs(each)) for key, each in value.items())
    return [_pairs(each) for each in value] if isinstance(value, list) else value


def _holders(tree: Any) -> list[Any]:
    found, waiting = [], [tree]
    while waiting and len(found) < 2000:
        value = waiting.pop()
        if isinstance(value, list) and value:
            found.append(value)
            waiting += [each[1] if isinstance(value, Pairs) else each for each in value]
    return found


def _value(holder: Union[Pairs, list], at: int) -> Any:
    return holder[at][1] if isinstance(holder, Pairs) else holder[at]


def _put(holder: Union[Pairs, list], at: int, value: Any) -> None:
    value = _pairs(value)
    holder[at] = (holder[at][0], value) if isinstance(holder, Pairs) else value


def _written(tree: Any, rng: random.Random) -> bytes:
    flow = rng.random() < 0.3
    out: list[str] = []
    room = [20_000]  # a part that was put into itself several times over would have no end
    _write(tree, 0, flow, out, room)
    return "".join(out).encode("utf-8", "surrogatepass")


def _write(value: Any, depth: int, flow: bool, out: list[str], room: list[int]) -> None:
    room[0] -= 1
    if room[0] < 0 or depth > 90 or not isinstance(value, list) or not value or flow:
        out.append(_flow(value, depth, room))
        return
    for each in value:
        out.append("\n" + "  " * depth)
        out.append(f"{_scalar(each[0])}: " if isinstance(value, Pairs) else "- ")
        inner = each[1] if isinstance(value, Pairs) else each
        if isinstance(inner, str) and "\n" in inner and inner.isprintable() is False and "\n\n" not in inner:
            out.append("|-\n" + "\n".join("  " * (depth + 2) + line for line in inner.split("\n")))
        else:
            _write(inner, depth + 1, flow, out, room)
    if depth == 0:
        out.append("\n")


def _flow(value: Any, depth: int, room: list[int]) -> str:
    if not isinstance(value, (list, dict)):
        return _scalar(value)
    room[0] -= 1
    if room[0] < 0 or depth > 200:
        return "[]"
    if isinstance(value, (Pairs, dict)):
        pairs = value.items() if isinstance(value, dict) else value
        return "{" + ", ".join(f"{_scalar(key)}: {_flow(each, depth + 1, room)}" for key, each in pairs) + "}"
    return "[" + ", ".join(_flow(each, depth + 1, room) for each in value) + "]"


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=len(value) % 2 == 0)
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


MUTATIONS: tuple[Mutation, ...] = (
    *(flipped, cut, inserted, by_lines, by_lines, recoded, renumbered, renumbered),
    *(restructured,) * 8,
)


def mutant(data: bytes, rng: random.Random) -> bytes:
    """One to three mutations of a document, one after another; of some, one that may leave it right."""
    if rng.random() < 0.3:
        return renamed(data, rng)
    for _ in range(rng.choice((1, 1, 1, 1, 2, 3))):
        data = rng.choice(MUTATIONS)(data, rng)[: rng.choice(MOST_BYTES)]
    return data


def minimal(data: bytes, fails: Callable[[bytes], bool]) -> bytes:
    """As few lines of a failing document as still fail: halves, quarters, ... single lines are taken away."""
    lines = data.splitlines(keepends=True)
    size = max(1, len(lines) // 2)
    while size:
        at, shorter = 0, False
        while at < len(lines):
            rest = lines[:at] + lines[at + size :]
            if rest and fails(b"".join(rest)):
                lines, shorter = rest, True
            else:
                at += size
        size = size if shorter and size == 1 else size // 2
    return b"".join(lines)
