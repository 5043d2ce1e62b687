"""What of a state is kept apart: large values of its keys, once, by their content.

A run leaves a checkpoint after every step, and mostly a step changes little. So a value whose text is long becomes a
row of its own, named by the SHA-256 of the text, and the checkpoint holds the name: what did not change is not written
again. Looks two levels deep, at the keys of a checkpoint and at the keys of the state in it; decides nothing about
values and reads no file.
"""

from __future__ import annotations

import json
from typing import Any, Callable

PART_CHARACTERS = 4096
_LEVELS = 2
_KIND, _PART = "$kind", "part"


def digest_of(text: str) -> str:
    import hashlib  # 3 ms, for who keeps checkpoints

    return hashlib.sha256(text.encode()).hexdigest()


def json_of(tree: Any) -> str:
    return json.dumps(tree, allow_nan=False, separators=(",", ":"))


def divided(tree: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """The text of an encoded state, and the texts that it only names, by their names."""
    parts: dict[str, str] = {}
    return json_of(_shortened(tree, _LEVELS, parts)), parts


def whole(tree: Any, part: Callable[[str], str]) -> Any:
    """An encoded state, with its parts in their places; `part` finds the text of a name."""
    return _completed(tree, _LEVELS, part)


def _shortened(value: Any, levels: int, parts: dict[str, str]) -> Any:
    if levels and isinstance(value, dict) and _KIND not in value:
        return {key: _shortened(item, levels - 1, parts) for key, item in value.items()}
    if levels == _LEVELS or not isinstance(value, (str, list, dict)):
        return value
    text = json_of(value)
    if len(text) < PART_CHARACTERS:
        return value
    name = digest_of(text)
    parts[name] = text
    return {_KIND: _PART, "value": name}


def _completed(value: Any, levels: int, part: Callable[[str], str]) -> Any:
    if not isinstance(value, dict):
        return value
    if _KIND not in value:
        return {key: _completed(item, levels - 1, part) for key, item in value.items()} if levels else value
    if value[_KIND] != _PART:
        return value
    return json.loads(part(value["value"]))
