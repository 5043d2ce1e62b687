"""What one word of YAML means: unquoted scalars, and sizes as people write them.

An unquoted scalar is null, true, false, a decimal integer or a float, and otherwise text: none of YAML 1.1's surprises
(`on`, `no`, `12:30:45`, dates) exists here. A size is a whole number and a unit: KiB, MiB, GiB, TiB count in 1024, KB,
MB, GB, TB in 1000. A bare letter (`64K`) is no size, because half of its readers would be wrong. Ranges are checked by
those who ask.
"""

from __future__ import annotations

import re
from typing import Optional, Union

from teastreams.workflow.wording import escaped

MAX_DIGITS = 300

Plain = Union[None, bool, int, float, str]

_WORDS = {
    "": None,
    "~": None,
    **dict.fromkeys(("null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    ".nan": float("nan"),
    ".NaN": float("nan"),
    ".NAN": float("nan"),
    **{sign + word: float(f"{sign}inf") for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")},
}
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")


def resolved(text: str) -> Plain:
    """What an unquoted scalar means.

    null, true and false as in YAML 1.2, decimal integers, floats; all else is text: `on`, `no`, `12:30:45`, `0x1F`,
    `2026-01-02`. Raises ValueError for a number too long or too large to be meant.
    """
    if text in _WORDS:
        return _WORDS[text]
    integer = _INT.fullmatch(text) is not None
    if not integer and _FLOAT.fullmatch(text) is None:
        return text
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number of {len(text)} characters is longer than {MAX_DIGITS}")
    number = int(text) if integer else float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"the number {escaped(text)} is too large")
    return number


# --- sizes ---------------------------------------------------------------------------------------------------------

_UNITS = {"b": 1}
for _power, _letter in enumerate("kmgt", start=1):
    _UNITS[f"{_letter}b"] = 1000**_power
    _UNITS[f"{_letter}ib"] = 1024**_power

_SIZE = re.compile(r"([0-9]{1,15}) ?([A-Za-z]{1,3})")

SIZE_PATTERN = "^[0-9]{1,15} ?([Bb]|[KkMmGgTt][Ii]?[Bb])$"
"""The same for those who read only regular expressions: every text that `size_of` takes, and no other."""


def size_of(text: str) -> Optional[int]:
    """The size in bytes, or None if the text is no size."""
    found = _SIZE.fullmatch(text)
    if found is None:
        return None
    factor = _UNITS.get(found.group(2).lower())
    return None if factor is None else int(found.group(1)) * factor
