"""What must not be shown, taken out of text and bytes before somebody sees them.

Pure: needles in, text in, text out. Laws: what two needles cover together is masked together, so that nothing of either
is left; a needle shorter than `LEAST_CHARACTERS` is not looked for, because it would tear ordinary words apart. What a
value becomes by encoding is not known here: whoever makes the needles adds the forms it knows.
"""

from __future__ import annotations

from dataclasses import field
from typing import AnyStr, Iterable, Sequence

from teastreams.values import dataclass

MASK = "***"
LEAST_CHARACTERS = 6


@dataclass(frozen=True)
class Redaction:
    """Masks `needles` wherever they stand. They are not part of its `repr`."""

    needles: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, texts: Iterable[str]) -> Redaction:
        """For these texts, and for each line of those that have several."""
        whole = tuple(texts)
        found = {*whole, *(line for text in whole for line in text.splitlines())}
        wanted = {part for each in found for part in (each, each.strip()) if len(part) >= LEAST_CHARACTERS}
        return cls(tuple(sorted(wanted)))

    @property
    def longest_bytes(self) -> int:
        """The length of the longest needle in UTF-8; 0 when there is none."""
        return max((len(needle) for needle in self._encoded()), default=0)

    def text(self, text: str) -> str:
        """The text without them. Linear in its length for each needle."""
        return _masked(text, self.needles, MASK)

    def data(self, data: bytes) -> bytes:
        """The same for bytes: the needles in UTF-8."""
        return _masked(data, self._encoded(), MASK.encode())

    def _encoded(self) -> list[bytes]:
        return [needle.encode("utf-8", "surrogateescape") for needle in self.needles]


def _masked(text: AnyStr, needles: Sequence[AnyStr], mask: AnyStr) -> AnyStr:
    pieces: list[AnyStr] = []
    at = 0
    for start, end in _joined(sorted(span for needle in needles for span in _spans(text, needle))):
        pieces += [text[at:start], mask]
        at = end
    pieces.append(text[at:])
    return text[:0].join(pieces)


def _spans(text: AnyStr, needle: AnyStr) -> Iterable[tuple[int, int]]:
    """Where it stands, itself overlapping included."""
    at = text.find(needle)
    while at >= 0:
        yield at, at + len(needle)
        at = text.find(needle, at + 1)


def _joined(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sorted spans, those that touch or overlap made one."""
    joined: list[tuple[int, int]] = []
    for start, end in spans:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined
