"""Text with holes for values of the state: `{{ state.path }}`, `{{ variables["limit"] }}`.

Laws: a value fills the hole as it is and is never looked at again, so that no blank, quote or brace in it can become
anything else; a missing key is an error, never an empty text. A hole names a place (a root, then names, `["keys"]` or
`[numbers]`) or is a quoted text, by which a literal `{{` is written. It computes nothing.
"""

from __future__ import annotations

from typing import Any, Mapping, Union

from teastreams.values import dataclass

ROOTS = ("state", "variables")
OPENING, CLOSING = "{{", "}}"


class TemplateError(ValueError):
    """A template that cannot be read, or that cannot be filled; `fix` is the text to write instead."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.fix = fix


@dataclass(frozen=True)
class Reference:
    """A place in the state or the variables: `keys` are followed one after another."""

    root: str
    keys: tuple[Union[str, int], ...]

    def __str__(self) -> str:
        names = [isinstance(key, str) and key.isidentifier() for key in self.keys]
        return self.root + "".join(f".{key}" if named else f"[{key!r}]" for key, named in zip(self.keys, names))


Part = Union[str, Reference]


def parsed(text: str) -> tuple[Part, ...]:
    """The parts of a template: texts and references. TemplateError when a hole is not closed or names no place."""
    parts: list[Part] = []
    rest = text
    while OPENING in rest:
        before, _, rest = rest.partition(OPENING)
        inside, rest = _hole(rest)
        parts += [before, inside] if before else [inside]
    return (*parts, rest) if rest or not parts else tuple(parts)


def filled(text: str, values: Mapping[str, Mapping[str, Any]]) -> str:
    """The text with every hole filled from `values`, which maps each root to its mapping.

    Texts, numbers and paths fill a hole. TemplateError for anything else, and for a key that is not there.
    """
    return "".join(part if isinstance(part, str) else _shown(part, _value(part, values)) for part in parsed(text))


def _hole(rest: str) -> tuple[Part, str]:
    """What stands between the braces, and the text after them. Braces inside quotes close nothing."""
    quote = ""
    for index, char in enumerate(rest):
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif rest.startswith(CLOSING, index):
            return _inside(rest[:index].strip()), rest[index + len(CLOSING) :]
    fix = 'write `}}` after the name, or `{{ "{{" }}` for the two braces themselves'
    raise TemplateError("`{{` is never closed", fix)


def _inside(hole: str) -> Part:
    if len(hole) > 1 and hole[0] in "\"'" and hole.find(hole[0], 1) == len(hole) - 1:
        return hole[1:-1]
    root = next((root for root in ROOTS if hole.startswith(root) and not hole[len(root) :][:1].isidentifier()), None)
    keys = () if root is None else _keys(hole[len(root) :])
    if root is None or not keys:
        fix = "write `{{ state.some_key }}` or `{{ variables.some_key }}`"
        if hole.partition(".")[0] == "secrets":
            fix = "arguments and paths are no place for secrets; let a Python node write it to the program's stdin"
        raise TemplateError(f"`{{{{ {hole} }}}}` names no value", fix)
    return Reference(root, keys)


def _keys(path: str) -> tuple[Union[str, int], ...]:
    """The keys of `.a["b c"][0]`; nothing when it is no path."""
    keys: list[Union[str, int]] = []
    while path:
        if path[0] == ".":
            end = next((i for i, char in enumerate(path) if i and char in ".["), len(path))
            key: Union[str, int, None] = path[1:end] if path[1:end].isidentifier() else None
        else:
            end = path.find("]") + 1
            key = _bracketed(path[1 : end - 1]) if path[0] == "[" and end else None
        if key is None:
            return ()
        keys.append(key)
        path = path[end:]
    return tuple(keys)


def _bracketed(text: str) -> Union[str, int, None]:
    text = text.strip()
    if len(text) > 1 and text[0] in "\"'" and text[-1] == text[0]:
        return text[1:-1]
    return int(text) if text.isascii() and text.isdigit() else None


def _value(place: Reference, values: Mapping[str, Mapping[str, Any]]) -> Any:
    value: Any = values[place.root]
    for key in place.keys:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            known = ", ".join(sorted(map(str, values[place.root]))) or "nothing"
            message = f"`{{{{ {place} }}}}` has no value: {place.root} holds {known}"
            raise TemplateError(message, f"put {key!r} there before this node runs, or correct the name") from None
    return value


def _shown(place: Reference, value: Any) -> str:
    shown = value.__fspath__() if hasattr(value, "__fspath__") else value
    if isinstance(shown, str):
        return shown
    if isinstance(shown, (int, float)) and not isinstance(shown, bool):
        return str(shown)
    message = f"`{{{{ {place} }}}}` is {type(value).__name__}, and only a text, a number or a path can stand here"
    raise TemplateError(message, "turn it into a text in a node before this one")
