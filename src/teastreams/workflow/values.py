"""One value at a time: from YAML data to checked Python values, with every mistake noted in a `Report`.

A `Block` is one mapping of the document opened for reading: opening it refuses what it must not contain, its
methods fetch one key each, checked. A reader that finds a mistake notes it and gives the default, so that the
next key is read all the same. No reader knows what a value is for.
"""

from __future__ import annotations

from typing import Callable, Mapping, Optional, Sequence

from teastreams.core.graph import Graph
from teastreams.errors import Position, Problem
from teastreams.values import dataclass
from teastreams.workflow.document import YamlEntry, YamlMapping, YamlScalar, YamlSequence, YamlValue
from teastreams.workflow.keys import PLACES, Place
from teastreams.workflow.scalars import SIZE_PATTERN, size_of
from teastreams.workflow.wording import escaped, kind_of, listed, nearest, quoted

MAX_PROBLEMS = 100
MAX_NAME = 100
# Waiting longer than this overflows the clocks of some platforms, and nobody means it.
MAX_SECONDS = 366 * 24 * 3600
MAX_COUNT = 1_000_000
MAX_SIZE = 2**62

# Keys of so many meanings that where else they stand says nothing.
EVERYWHERE = frozenset(("path",))


class Report:
    """The problems found so far, at most 100.

    `incomplete` says that a part of the graph is missing, so that its relations cannot be judged. `takes` and `opens`
    say what the readers look for, in the words of JSON Schema: by the place of a key what its value may be, by the
    place of a mapping which kind of mapping it was opened as. `subgraph` reads and checks the file of a sub-workflow,
    whose path and place it is given; None where files are out of reach.
    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.incomplete = False
        self.takes: dict[Position, Mapping[str, object]] = {}
        self.opens: dict[Position, Place] = {}
        self.subgraph: Optional[Callable[[str, Position], Optional[Graph]]] = None

    @property
    def full(self) -> bool:
        """Is there no room for another problem?"""
        return len(self.problems) > MAX_PROBLEMS

    def add(self, where: Position, message: str, fix: str) -> None:
        """Note one problem; beyond the hundredth only that there are more."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(message, fix, where))
        elif not self.full:
            message = f"more than {MAX_PROBLEMS} problems; the others are not listed"
            self.problems.append(Problem(message, "correct those above first", where))

    def lacks(self, where: Position, message: str, fix: str) -> None:
        """Note a problem that leaves a part of the graph unknown."""
        self.add(where, message, fix)
        self.incomplete = True


def kind(value: YamlValue) -> str:
    """A value as a message speaks of it."""
    if isinstance(value, YamlMapping):
        return "a mapping"
    return "a list" if isinstance(value, YamlSequence) else kind_of(value.value)


def plain(value: YamlValue) -> object:
    """The value as plain dicts, lists and scalars."""
    if isinstance(value, YamlMapping):
        return {entry.key: plain(entry.value) for entry in value.entries}
    if isinstance(value, YamlSequence):
        return [plain(item) for item in value.items]
    return value.value


def place_of(entry: YamlEntry) -> Position:
    """Where a problem with this pair is shown: at a scalar itself, or at the key of anything longer."""
    return entry.value.where if isinstance(entry.value, YamlScalar) else entry.where


def name_of(value: YamlValue, key: str, label: str, report: Report) -> Optional[str]:
    """A name: printable text of 1 to 100 characters.

    A wrong name is noted and, where something can be read, still returned: later checks then know what was meant.
    """
    if not isinstance(value, YamlScalar) or value.value in (None, ""):
        report.lacks(value.where, f"`{key}` of {label} must be a name, not {kind(value)}", f"write `{key}: some_name`")
        return None
    text = value.text
    if not isinstance(value.value, str):
        fix = f'put it in quotes: `{key}: "{escaped(text)}"`'
        report.add(value.where, f"`{key}` of {label} must be a name, not {kind(value)}", fix)
    elif not text.isprintable() or text != text.strip() or len(text) > MAX_NAME:
        message = f"`{key}` of {label} is {quoted(text)}, which cannot be a name"
        report.lacks(value.where, message, f"use 1 to {MAX_NAME} printable characters, without spaces around them")
    return text


@dataclass(frozen=True)
class Block:
    """One mapping of the document: the keys that are read here.

    `misspelt` holds the keys that unknown keys were probably meant to be, `later` the keys of later versions.
    """

    where: Position
    label: str
    report: Report
    entries: Mapping[str, YamlEntry]
    misspelt: frozenset[str] = frozenset()
    later: frozenset[str] = frozenset()

    def get(self, key: str) -> Optional[YamlValue]:
        """The value of a key, or None if the key is absent."""
        return self.entries[key].value if key in self.entries else None

    def positions(self, prefix: str = "") -> dict[str, Position]:
        """The places of all keys, under dotted names."""
        return {prefix + key: place_of(entry) for key, entry in self.entries.items()}

    def wrong(self, key: str, expected: str, example: str) -> None:
        """Note that a key must be something else than it is."""
        entry = self.entries[key]
        message = f"`{key}` of {self.label} must be {expected}, not {kind(entry.value)}"
        self.report.add(place_of(entry), message, f"write `{key}: {example}`")

    def require(self, key: str, message: str, fix: str) -> Optional[YamlValue]:
        """The value of a key that must be there."""
        value = self.get(key)
        if value is None:
            self.report.incomplete = True
            if key not in self.misspelt:
                self.report.add(self.where, message, fix)
        return value

    def _takes(self, key: str, **keywords: object) -> None:
        if key in self.entries:
            self.report.takes[self.entries[key].where] = keywords

    def _scalar(self, key: str) -> object:
        value = self.get(key)
        return value.value if isinstance(value, YamlScalar) else value

    def text(self, key: str) -> str:
        """Any text, "" if absent."""
        self._takes(key, type="string")
        value = self._scalar(key)
        if key in self.entries and not isinstance(value, str):
            self.wrong(key, "text", '"..."')
        return value if isinstance(value, str) else ""

    def flag(self, key: str, default: bool = False) -> bool:
        """true or false."""
        self._takes(key, type="boolean")
        value = self._scalar(key)
        if key in self.entries and not isinstance(value, bool):
            self.wrong(key, "true or false", "true")
        return value if isinstance(value, bool) else default

    def choice(self, key: str, allowed: Sequence[str]) -> Optional[str]:
        """One of a few words; None if absent. In place of a wrong word the one probably meant, or None."""
        self._takes(key, enum=list(allowed))
        value = self._scalar(key)
        if key not in self.entries or (isinstance(value, str) and value in allowed):
            return value if isinstance(value, str) else None
        likely = nearest(value, allowed) if isinstance(value, str) else None
        self.wrong(key, f"one of {listed(allowed)}", likely or allowed[0])
        return likely

    def seconds(self, key: str, default: Optional[float] = None, zero: bool = False) -> Optional[float]:
        """A time in seconds, above 0 (or from 0 on). Empty is no limit where that is the default."""
        least_allowed = {"minimum" if zero else "exclusiveMinimum": 0}
        self._takes(key, type=["number", "null"] if default is None else "number", maximum=MAX_SECONDS, **least_allowed)
        value = self._scalar(key)
        if key not in self.entries or (value is None and default is None):
            return default
        number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else -1
        # NaN fails both comparisons.
        if 0 < number <= MAX_SECONDS or (zero and number == 0):
            return float(number)
        least = "from 0" if zero else "above 0 and"
        example = "300" if default is None else f"{default:g}"
        self.wrong(key, f"a number of seconds {least} up to {MAX_SECONDS}", example)
        return default

    def count(self, key: str, least: int = 1) -> Optional[int]:
        """A whole number from `least` on; None if absent or empty."""
        self._takes(key, type=["integer", "null"], minimum=least, maximum=MAX_COUNT)
        value = self._scalar(key)
        if value is None:
            return None
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= MAX_COUNT:
            return value
        self.wrong(key, f"a whole number from {least} to {MAX_COUNT}", "4")
        return None

    def number(self, key: str, default: float, least: float, above: bool = False) -> float:
        """A number from `least` on (`above`: beyond it); the default if absent or wrong."""
        bound = {"exclusiveMinimum" if above else "minimum": least}
        self._takes(key, type="number", maximum=MAX_COUNT, **bound)
        value = self._scalar(key)
        if key not in self.entries:
            return default
        number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else -1
        # NaN fails both comparisons.
        if least < number <= MAX_COUNT or (number == least and not above):
            return float(number)
        wanted = f"a number {'above' if above else 'from'} {least:g}{' and' if above else ''} up to {MAX_COUNT}"
        self.wrong(key, wanted, f"{default:g}")
        return default

    def texts(self, key: str, example: str) -> tuple[str, ...]:
        """A list of texts, each of them not empty; a single text is a list of one. Empty if absent."""
        value = self.get(key)
        if value is None:
            return ()
        items = value.items if isinstance(value, YamlSequence) else (value,)
        found = [item.value for item in items if isinstance(item, YamlScalar) and isinstance(item.value, str)]
        if len(found) < len(items) or "" in found or not found:
            self.wrong(key, "a list of names", example)
            return ()
        return tuple(found)

    def size(self, key: str, example: str, most: int = MAX_SIZE) -> Optional[int]:
        """A size in bytes, as a number or with a unit; None if absent or wrong."""
        self._takes(key, type=["integer", "string"], minimum=1, maximum=most, pattern=SIZE_PATTERN)
        if key not in self.entries:
            return None
        value = self._scalar(key)
        size = size_of(value) if isinstance(value, str) else value
        if isinstance(size, int) and not isinstance(size, bool) and 1 <= size <= most:
            return size
        bound = "" if most == MAX_SIZE else f" up to {most}"
        self.wrong(key, f"a size in bytes above 0{bound}, as a whole number or with a unit", example)
        return None

    def open(self, key: str, place: Place, label: str) -> Optional[Block]:
        """The mapping under a key, opened; None if absent or no mapping. An empty value is an empty mapping."""
        value = self.get(key)
        if value is None:
            return None
        if isinstance(value, YamlScalar) and value.value is None:
            value = YamlMapping(self.entries[key].where)
        return opened(value, place, label, self.report)


def opened(value: YamlValue, place: Place, label: str, report: Report) -> Optional[Block]:
    """A mapping opened for reading; its unknown keys are noted. None, with a note, if it is no mapping."""
    if not isinstance(value, YamlMapping):
        example = f"write its keys one per line, such as `{place.keys[0]}: ...`"
        report.lacks(value.where, f"{label} must be a mapping, not {kind(value)}", example)
        return None
    return opened_mapping(value, place, label, report)


def opened_mapping(value: YamlMapping, place: Place, label: str, report: Report) -> Block:
    """A mapping opened for reading; its unknown keys are noted."""
    report.opens[value.where] = place
    strange = [entry for entry in value.entries if entry.key not in place.keys]
    misspelt = frozenset(filter(None, [_note_key(entry, place, label, report) for entry in strange]))
    later = frozenset(entry.key for entry in strange if entry.key in place.later)
    entries = {entry.key: entry for entry in value.entries if entry.key in place.keys}
    return Block(value.where, label, report, entries, misspelt, later)


def _note_key(entry: YamlEntry, place: Place, label: str, report: Report) -> Optional[str]:
    """Note a key that is not read here; the known key it was probably meant to be."""
    if report.full:
        return None
    if entry.key in place.later:
        message = f"`{entry.key}` in {label} is not supported in this version"
        report.add(entry.where, message, place.later[entry.key])
        return None
    likely = nearest(entry.key, place.keys)
    homes = [other.name for other in PLACES if entry.key in other.keys and entry.key not in EVERYWHERE]
    if homes and not (likely and (likely in entry.key or entry.key in likely)):
        likely, fix = None, f"it belongs in {' or '.join(homes)}"
    else:
        fix = f"did you mean `{likely}`?" if likely else f"the keys here are {listed(place.keys)}"
    report.add(entry.where, f"unknown key {quoted(entry.key)} in {label}", fix)
    return likely
