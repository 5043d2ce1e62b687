"""How messages quote the user's text, name kinds of values, and put the YAML library's complaints into our words.

Quoted text is cut at 200 characters and its control characters are escaped, so that a document can neither flood
the terminal nor drive it. "Did you mean" compares with at most 1000 names. Everything here is text to text; it
finds nothing wrong by itself.
"""

from __future__ import annotations

from itertools import islice
from typing import Iterable, Optional

MAX_QUOTED = 200
MAX_NAMES = 1000
MAX_COMPARED = 100


def escaped(text: str) -> str:
    """`text` in printable characters only, cut at 200."""
    head = text[: MAX_QUOTED + 1]
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in head)
    return shown if len(shown) <= MAX_QUOTED else shown[:MAX_QUOTED] + "..."


def quoted(text: str) -> str:
    """`text` between single quotes, escaped and cut."""
    return f"'{escaped(text)}'"


def listed(words: Iterable[str]) -> str:
    """The words between backquotes, separated by commas."""
    return ", ".join(f"`{word}`" for word in words)


def nearest(word: str, names: Iterable[str]) -> Optional[str]:
    """The name most like `word`, or None if none is."""
    if len(word) > MAX_COMPARED:
        return None
    from difflib import get_close_matches  # only a mistake needs it

    found = get_close_matches(word, list(islice(names, MAX_NAMES)), n=1)
    return found[0] if found else None


def kind_of(value: object) -> str:
    """A scalar as a message speaks of it: `the text 'x'`, `the number 5`, `true`, `empty`."""
    if value in (None, ""):
        return "empty"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text {quoted(value)}"
    return f"the number {value}"


# The library's own words, in the order of trial: (part of its problem, part of its context, our message, our fix).
_COMPLAINTS = (
    ("found character '\\t'", "", "a tab stands where YAML allows only spaces", "replace the tab by spaces"),
    (
        "mapping values are not allowed here",
        "",
        "what stands before this `:` cannot be a key",
        (
            "put text that contains `: ` in quotes, code in a block that begins with `|`, or look for a missing `:` or "
            "a wrong indentation in the line above"
        ),
    ),
    (
        "could not find expected ':'",
        "",
        "this line is no `key: value` pair",
        "add the colon and a space after the key, or indent the line as its text",
    ),
    (
        "found unexpected end of stream",
        "quoted scalar",
        "the quoted text that begins here has no end",
        "add the closing quote",
    ),
    (
        "unknown escape character",
        "",
        "unknown escape after `\\` in double quotes",
        "use single quotes, or write `\\\\`",
    ),
    ("expected ',' or ']'", "", "the list in `[ ]` has no comma or no end here", "add `,` or `]`"),
    ("expected ',' or '}'", "", "the mapping in `{ }` has no comma or no end here", "add `,` or `}`"),
    ("that cannot start any token", "", "this character cannot begin a value", "put the text in quotes"),
    (
        "expected <block end>",
        "",
        "this line does not fit the lines above it",
        "indent it like the other entries of the same list or mapping, or put the text above in quotes",
    ),
    (
        "expected '<document start>'",
        "",
        "text stands after the end of the document",
        "remove it, or put it under a key",
    ),
    ("expected the node content", "", "a value is missing here", "write the value, or remove what stands here"),
    (
        "expected chomping or indentation indicators",
        "",
        "text follows `|` or `>` on the same line",
        "begin the text on the next line",
    ),
    (
        "expected a comment or a line break",
        "",
        "text follows `|` or `>` on the same line",
        "begin the text on the next line",
    ),
)


def complaint(problem: str, context: str) -> tuple[str, str]:
    """Message and fix for what the YAML library says; its own words where we have none."""
    for part, where, message, fix in _COMPLAINTS:
        if part in problem and where in context:
            return message, fix
    said = f"{problem} ({context})" if context else problem
    return f"this is not valid YAML: {escaped(said)}", "correct the text here"
