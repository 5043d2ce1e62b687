"""Text that may go to a terminal: what it contains stays text, and its width is known.

Pure. A node's name or output can hold escape sequences, line ends or marks that turn the direction of writing round;
all of them are written out (`\\x1b`), so that nothing in a stream can move the cursor, colour or rename what is shown.
"""

from __future__ import annotations

import unicodedata

# Controls, formats (bidirectional marks among them), surrogates, line and paragraph separators, what is not assigned.
DANGEROUS = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp", "Cn", "Co"))
WIDE = frozenset("WF")
CUT = "~"


def visible(text: str) -> str:
    """`text` with everything that could act on a terminal written out as an escape; tabs become a blank."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(each) for each in text)


def _shown(character: str) -> str:
    if character == "\t":
        return " "
    if unicodedata.category(character) in DANGEROUS:
        return character.encode("unicode_escape").decode("ascii")
    return character


def columns(text: str) -> int:
    """How many columns of a terminal the text takes; `visible` has been asked before."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in WIDE else 1


def clipped(text: str, most: int) -> str:
    """The beginning of `text` that fits into `most` columns, with a mark where it was cut."""
    if columns(text) <= most:
        return text
    kept, used = [], 0
    for character in text:
        used += _columns(character)
        if used > most - len(CUT):
            break
        kept.append(character)
    return ("".join(kept) + CUT)[: max(0, most)]


def padded(text: str, width: int) -> str:
    """`text`, cut or filled with blanks to exactly `width` columns."""
    text = clipped(text, width)
    return text + " " * (width - columns(text))
