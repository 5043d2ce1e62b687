"""YAML text -> plain data in which every value knows its place.

Laws: nothing is built before it is counted (bytes, depth, nodes, length), so a hostile document costs a short
error and no memory; only YAML's plain core exists here: no anchors, no merge keys, no tags, no directives, one
document, text keys, each once; text stays text unless it is spelled null, true, false, a decimal integer or a float.
All that can be wrong side by side is reported together; what breaks the syntax itself ends the reading.

Only the pure-Python parser is used, and only its events: the C parser overflows the machine's stack on deeply nested
brackets, and the library's constructors know types that we refuse. What the data means is the schema's business.
"""

from __future__ import annotations

import re
from dataclasses import field
from typing import Optional, Protocol, Union

import yaml

from teastreams.errors import Position, Problem
from teastreams.values import dataclass
from teastreams.workflow.scalars import Plain, resolved
from teastreams.workflow.wording import complaint, quoted

MAX_FILE_BYTES = 1024 * 1024
MAX_SCALAR_BYTES = 256 * 1024
MAX_DEPTH = 50
MAX_NODES = 30_000
MAX_PROBLEMS = 50


@dataclass(frozen=True)
class YamlScalar:
    """One scalar. `text` is what was written, `value` what it means.

    `first_line` is the line of the file on which the text begins, `indent` the number of characters before it on that
    line and, in a `|` block, on each line. `aligned` says that each line of the text is one line of the file.
    """

    value: Plain
    where: Position
    text: str = ""
    first_line: int = 1
    indent: int = 0
    aligned: bool = False


@dataclass(frozen=True)
class YamlSequence:
    """A list of values."""

    where: Position
    items: tuple[YamlValue, ...] = ()


@dataclass(frozen=True)
class YamlEntry:
    """One `key: value` pair; `where` is the place of the key."""

    key: str
    where: Position
    value: YamlValue


@dataclass(frozen=True)
class YamlMapping:
    """A mapping, in the order of the document."""

    where: Position
    entries: tuple[YamlEntry, ...] = ()


YamlValue = Union[YamlScalar, YamlSequence, YamlMapping]


@dataclass(frozen=True)
class Document:
    """What was read. `root` is None when a part could not be kept: no further check could then be trusted."""

    root: Optional[YamlValue]
    problems: tuple[Problem, ...] = ()


def read(data: bytes, file: str) -> Document:
    """Read one YAML document; every mistake comes back as a `Problem`, none is raised.

    Args: `data` is the content of the file, `file` the name that positions carry.
    """
    reading = _Reading(file)
    try:
        text = _decoded(data, file)
        reading.read(text)
    except _Stop as stop:
        return Document(None, (*reading.problems, stop.problem))
    return Document(None if reading.holes else reading.root, tuple(reading.problems))


class _Stop(Exception):
    """Reading cannot go on; `problem` says why."""

    def __init__(self, message: str, fix: str, where: Position) -> None:
        super().__init__(message)
        self.problem = Problem(message, fix, where)


# --- bytes -> text -------------------------------------------------------------------------------------------------

_BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "UTF-8"), (b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"))
# U+0085, U+2028 and U+2029 are refused too: this YAML version breaks lines at them and editors and Python do not, so
# that every later position would be wrong.
_FORBIDDEN = "[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
# The same for text of ASCII alone: the one above takes 5 ms to compile, as much as half of `import yaml`.
_FORBIDDEN_ASCII = re.compile("[^\t\n\r\x20-\x7e]")
# Directives are refused before parsing: the parser takes seconds for a file full of them, and reads `%YAML 1.` with
# digits of any number.
_DIRECTIVE = re.compile(r"^%", re.MULTILINE)
_CORE_TAG = "tag:yaml.org,2002:"
_SURROGATE = re.compile("[\ud800-\udfff]")


def _decoded(data: bytes, file: str) -> str:
    if len(data) > MAX_FILE_BYTES:
        raise _Stop(
            f"the file is longer than {MAX_FILE_BYTES} bytes",
            "move data out of the workflow into a file that a node reads",
            Position(file, 1, 1),
        )
    for mark, name in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            raise _Stop(
                f"the file begins with a {name} byte order mark",
                "save it as UTF-8 without a byte order mark",
                Position(file, 1, 1),
            )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        place = _place(data[: error.start].decode("utf-8"), file)
        raise _Stop(f"the byte 0x{data[error.start]:02x} is not UTF-8", "save the file as UTF-8", place) from None
    _refuse_characters(text, file)
    return text


def _refuse_characters(text: str, file: str) -> None:
    forbidden = _FORBIDDEN_ASCII.search(text) if text.isascii() else re.search(_FORBIDDEN, text)
    if forbidden:
        code = f"{ord(forbidden.group()):04X}"
        place = _place(text[: forbidden.start()], file)
        fix = f'remove it, or write "\\u{code}" inside double quotes'
        raise _Stop(f"the character U+{code} cannot stand in a workflow file", fix, place)
    directive = _DIRECTIVE.search(text)
    if directive:
        raise _Stop(
            "a line that begins with `%` is a YAML directive, which is not supported",
            "remove the line, or indent it if it is text",
            _place(text[: directive.start()], file),
        )


def _place(before: str, file: str) -> Position:
    """The place that follows the text `before`, counting lines as the YAML parser does."""
    lines = before.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return Position(file, len(lines), len(lines[-1]) + 1)


# --- events -> data ------------------------------------------------------------------------------------------------


class _Mark(Protocol):
    """What the parser's marks have: a place counted from 0."""

    line: int
    column: int


@dataclass
class _Open:
    """A list or mapping whose end has not come yet. `keyed` is True between a key and its value."""

    where: Position
    mapping: bool
    items: list[YamlValue] = field(default_factory=list)
    entries: list[YamlEntry] = field(default_factory=list)
    seen: dict[str, Position] = field(default_factory=dict)
    keyed: bool = False
    key: Optional[str] = None
    key_where: Optional[Position] = None

    def closed(self) -> YamlValue:
        if self.mapping:
            return YamlMapping(self.where, tuple(self.entries))
        return YamlSequence(self.where, tuple(self.items))


class _Reading:
    """One pass over the events of one document, with a stack of what is open."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.root: Optional[YamlValue] = None
        self.holes = False
        self.lines: list[str] = []
        self._open: list[_Open] = []
        self._nodes = 0
        self._documents = 0
        self._last = Position(file, 1, 1)

    def read(self, text: str) -> None:
        self.lines = text.splitlines()
        try:
            for event in yaml.parse(text, Loader=yaml.SafeLoader):
                self._last = self._position(event.start_mark)
                self._take(event)
        except yaml.MarkedYAMLError as error:
            raise self._syntax(error) from None
        except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
            # An escape such as "\UFFFFFFFF" ends in chr() inside the parser, and that raises what it likes.
            message = "the text after this place cannot be read as YAML"
            raise _Stop(message, "correct its escapes, such as `\\U`", self._last) from error
        if self.root is None or (isinstance(self.root, YamlScalar) and self.root.text == "" and not self.holes):
            raise _Stop("the document is empty", "write at least `nodes:`", Position(self.file, 1, 1))

    def _position(self, mark: Optional[_Mark]) -> Position:
        """The place of a mark of the parser; what has none is shown at the last event."""
        return Position(self.file, mark.line + 1, mark.column + 1) if mark else self._last

    def _syntax(self, error: yaml.MarkedYAMLError) -> _Stop:
        problem, context = error.problem or "", error.context or ""
        message, fix = complaint(problem, context)
        # The end of what was never closed, or of a key that is none, is far from the mistake.
        begun = "quoted scalar" in context or "simple key" in context
        mark = error.context_mark if begun and error.context_mark else error.problem_mark
        return _Stop(message, fix, self._position(mark))

    def _report(self, message: str, fix: str, where: Position) -> None:
        if len(self.problems) == MAX_PROBLEMS:
            raise _Stop(f"more than {MAX_PROBLEMS} problems; reading ended here", "correct those above first", where)
        self.problems.append(Problem(message, fix, where))

    def _take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.NodeEvent):
            self._count(event)
            self._node(event)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self._put(self._open.pop().closed())
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise _Stop(
                    "a second document begins here; a workflow is one document",
                    "remove the line `---`, or put the second workflow into a file of its own",
                    self._last,
                )

    def _count(self, event: yaml.NodeEvent) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _Stop(
                f"the document has more than {MAX_NODES} values",
                "move data out of the workflow into a file that a node reads",
                self._last,
            )
        if isinstance(event, yaml.CollectionStartEvent) and len(self._open) == MAX_DEPTH:
            raise _Stop(f"values are nested more than {MAX_DEPTH} deep", "flatten the document", self._last)

    def _node(self, event: yaml.NodeEvent) -> None:
        self._refuse_sharing(event)
        if isinstance(event, yaml.ScalarEvent):
            self._put(self._scalar(event))
        elif isinstance(event, yaml.CollectionStartEvent):
            self._open.append(_Open(self._last, isinstance(event, yaml.MappingStartEvent)))
        else:
            self._put(YamlScalar(None, self._last))

    def _refuse_sharing(self, event: yaml.NodeEvent) -> None:
        """Report an alias, an anchor or a tag; the value of an anchor stays, the others leave a hole."""
        if isinstance(event, yaml.AliasEvent):
            self.holes = True
            name = _cut(event.anchor or "")
            self._report(f"the alias *{name} is not supported", "write the value itself", self._last)
            return
        if event.anchor is not None:
            self._report(f"the anchor &{_cut(event.anchor)} is not supported", "remove it", self._last)
        tag = getattr(event, "tag", None)
        if tag is not None:
            self.holes = True
            fix = "remove the tag; quotes make a value text, no quotes let it be a number"
            self._report(f"the tag {quoted(tag.replace(_CORE_TAG, '!!'))} is not supported", fix, self._last)

    def _scalar(self, event: yaml.ScalarEvent) -> YamlScalar:
        text, where = event.value, self._last
        if len(text.encode("utf-8", "surrogatepass")) > MAX_SCALAR_BYTES:
            raise _Stop(
                f"this text is longer than {MAX_SCALAR_BYTES} bytes",
                "move it into a file that a node reads",
                where,
            )
        if _SURROGATE.search(text):
            self.holes = True
            self._report("an escape in this text is half a character", "write the character itself", where)
        if event.style in ("|", ">"):
            return self._block(text, where, event.style == "|")
        value = text if event.style else self._resolved(text, where)
        aligned = self._position(event.end_mark).line == where.line and "\n" not in text
        indent = where.column - 1 + (1 if event.style else 0)
        return YamlScalar(value, where, text, where.line, indent, aligned)

    def _block(self, text: str, where: Position, literal: bool) -> YamlScalar:
        """A block scalar: its text begins on the line after the `|`, and every line lost the same indentation."""
        if not literal:
            return YamlScalar(text, where, text, where.line)
        pairs = zip(self.lines[where.line :], text.split("\n"))
        indent = next((len(line) - len(kept) for line, kept in pairs if kept), 0)
        return YamlScalar(text, where, text, where.line + 1, indent, True)

    def _resolved(self, text: str, where: Position) -> Plain:
        try:
            return resolved(text)
        except ValueError as error:
            self.holes = True
            self._report(str(error), "put it in quotes if it is text", where)
            return None

    def _put(self, value: YamlValue) -> None:
        """Give a finished value to what is open: the root, a list, or a mapping as its next key or value."""
        if not self._open:
            self.root = value
            return
        top = self._open[-1]
        if not top.mapping:
            top.items.append(value)
        elif not top.keyed:
            top.keyed, top.key, top.key_where = True, self._key(top, value), value.where
        else:
            if top.key is not None and top.key_where is not None:
                top.entries.append(YamlEntry(top.key, top.key_where, value))
            top.keyed = False

    def _key(self, top: _Open, value: YamlValue) -> Optional[str]:
        """The key, or None if the pair is refused."""
        key = value.value if isinstance(value, YamlScalar) else None
        if not isinstance(key, str):
            self._refuse_key(value)
            return None
        if key == "<<":
            self.holes = True
            self._report("the merge key `<<` is not supported", "write the keys themselves", value.where)
            return None
        if key in top.seen:
            first = top.seen[key]
            message = f"the key {quoted(key)} stands twice here, first in line {first.line}, column {first.column}"
            self._report(message, "keep one of the two", value.where)
            return None
        top.seen[key] = value.where
        return key

    def _refuse_key(self, value: YamlValue) -> None:
        if not isinstance(value, YamlScalar):
            self._report("a key must be text, not a list or a mapping", "write a plain word", value.where)
        elif value.text:
            fix = f'put it in quotes: "{_cut(value.text)}"'
            self._report(f"a key must be text, not {_cut(value.text)}", fix, value.where)
        else:
            self._report("a key must be text, not empty", "write a word before the colon", value.where)


def _cut(text: str) -> str:
    return quoted(text)[1:-1]
