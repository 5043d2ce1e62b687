"""Secrets: read when a run begins, wrapped, and told to nobody by accident.

Laws: everything is read once, in the process that runs the workflow and before anything is forked, so that what must be
masked is known; workers inherit it, and nothing is sent anywhere. A `Secret` shows itself to nobody who does not call
`reveal()`: not to print, format, repr, pickle, JSON or a checkpoint. A name has one source. What an error says of a
source names places, never values.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Callable, Iterator, Mapping, Optional

from teastreams.core.security.redaction import MASK, Redaction
from teastreams.core.services import SecretSources
from teastreams.errors import TeaStreamsError
from teastreams.runtime.secrecy import guarding

if TYPE_CHECKING:
    from pathlib import Path

GROUP = "teastreams.secrets"
# What Kubernetes allows for all values of one of its secrets together; more than that is a mistaken path.
MAX_FILE_BYTES = 1 << 20


class SecretError(TeaStreamsError, LookupError):
    """A secret is not there, or its source cannot be read; the text says which and where it was looked for."""


class Secret:
    """A text that does not show itself. `reveal()` gives it, and nothing else does.

    It cannot be pickled, so it is in no result of a worker and in no checkpoint; the error names the key of the state.
    Two are equal when their texts are.
    """

    __slots__ = ("__text",)

    def __init__(self, text: str) -> None:
        self.__text = text

    def reveal(self) -> str:
        """The text itself, for the call that needs it."""
        return self.__text

    def __repr__(self) -> str:
        return f"Secret('{MASK}')"

    def __str__(self) -> str:
        return MASK

    def __format__(self, specification: str) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self.__text == other.__text

    def __hash__(self) -> int:
        return hash((Secret, self.__text))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce_ex__(self, protocol: object) -> Any:
        raise TypeError("a Secret is never pickled: leave it out, and ask `context.secrets` where it is needed")


class Secrets:
    """The secrets of a run by name, each a `Secret`."""

    def __init__(self, known: Mapping[str, Secret], looked_in: str) -> None:
        self._known, self._looked_in = dict(known), looked_in

    def __repr__(self) -> str:
        return f"Secrets({', '.join(sorted(self._known))})"

    def __getitem__(self, name: str) -> Secret:
        """The secret of this name. SecretError when there is none."""
        if name not in self._known:
            raise SecretError(f"there is no secret {name!r}; looked in {self._looked_in}")
        return self._known[name]

    def get(self, name: str, default: Optional[Secret] = None) -> Optional[Secret]:
        """The secret of this name, or `default`."""
        return self._known.get(name, default)

    def has(self, name: str) -> bool:
        """Is there a secret of this name?"""
        return name in self._known

    __contains__ = has

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


@contextmanager
def opened(sources: SecretSources, folder: str = "") -> Iterator[Secrets]:
    """Read all sources and guard what they hold for the time of a run. SecretError for one that cannot be read.

    `folder` is where relative paths of the document begin.
    """
    known: dict[str, Secret] = {}
    origins: dict[str, str] = {}
    variables: set[str] = set()
    for name, text, origin in _all(sources, folder):
        if name in known:
            raise SecretError(f"the secret {name!r} is in two places, {origins[name]} and {origin}; keep one of them")
        known[name], origins[name] = Secret(text), origin
        variables.update({origin[1:]} if origin.startswith("$") else ())
    with guarding(Redaction.of(_forms(secret.reveal() for secret in known.values())), frozenset(variables)):
        yield Secrets(known, _places(sources))


def _all(sources: SecretSources, folder: str) -> Iterator[tuple[str, str, str]]:
    """(name, text, where it comes from) of every secret."""
    yield from _environment(sources)
    if sources.files:
        from pathlib import Path  # 5 ms, and most workflows have no such files
    for path in sources.files:
        yield from _files(Path(folder) / path)
    if sources.provider:
        origin = f"the provider {sources.provider!r}"
        yield from _provided(_entry_point(sources.provider), origin, sources.provider_settings)
    if sources.given is not None:
        given = sources.given
        yield from _provided(given if callable(given) else lambda: given, "what was given in Python")


def _environment(sources: SecretSources) -> Iterator[tuple[str, str, str]]:
    for name in sources.env:
        if name in os.environ:
            yield name, os.environ[name], f"${name}"
    if sources.env_prefix:
        for name, text in os.environ.items():
            short = name[len(sources.env_prefix) :]
            if short and name.startswith(sources.env_prefix) and name not in sources.env:
                yield short, text, f"${name}"


def _files(path: Path) -> Iterator[tuple[str, str, str]]:
    """A folder: one secret per file, hidden ones left out (orchestrators keep their versions in them)."""
    try:
        if not path.is_dir():
            yield from _lines(path)
            return
        for file in sorted(path.iterdir()):
            if file.is_file() and not file.name.startswith("."):
                text = _read(file)
                yield file.name, text.removesuffix("\n"), str(file)
    except OSError as error:
        raise SecretError(f"the secrets in {path} cannot be read: {error.strerror}; check `files`") from error


def _lines(path: Path) -> Iterator[tuple[str, str, str]]:
    for number, line in enumerate(_read(path).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, sign, text = line.partition("=")
        if not sign or not name.strip():
            raise SecretError(f"line {number} of {path} is no `NAME=VALUE`; correct it, or comment it out with `#`")
        yield name.strip(), text.strip(), str(path)


def _read(path: Path) -> str:
    with open(path, "rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise SecretError(f"{path} has more than {MAX_FILE_BYTES} bytes; name a file of secrets")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        # Not chained: the message of that error quotes the bytes.
        raise SecretError(f"{path} is not UTF-8 text; keep bytes in Base64") from None


def _entry_point(name: str) -> Callable[..., Any]:
    from importlib import metadata  # only here: it looks through every installed distribution

    points = metadata.entry_points()
    # A mapping of groups up to Python 3.9, a selection since.
    found = points.select(group=GROUP) if hasattr(points, "select") else points.get(GROUP, ())
    fitting = [point for point in found if point.name == name]
    if not fitting:
        known = ", ".join(sorted(point.name for point in found)) or "none"
        raise SecretError(f"there is no provider {name!r} of secrets (installed: {known}); install its distribution")
    try:
        provider: Callable[..., Any] = fitting[0].load()
    except Exception as error:
        raise SecretError(f"the provider {name!r} cannot be imported: {type(error).__name__}: {error}") from error
    return provider


def _provided(
    provider: Callable[..., Any], origin: str, *settings: Mapping[str, Any]
) -> Iterator[tuple[str, str, str]]:
    try:
        found = dict(provider(*settings))
    except Exception as error:
        # Neither its message nor the object: whoever fetches secrets may have some in it.
        raise SecretError(f"{origin} raised {type(error).__name__}; call it alone to see why") from None
    for name, text in found.items():
        plain = text.reveal() if isinstance(text, Secret) else text
        if not isinstance(name, str) or not isinstance(plain, str):
            raise SecretError(f"{origin} gave a {type(plain).__name__} for {name!r}; names and secrets are text")
        yield name, plain, origin


def _places(sources: SecretSources) -> str:
    places = [f"${name}" for name in sources.env]
    places += [f"${sources.env_prefix}*"] if sources.env_prefix else []
    places += [*sources.files]
    places += [f"the provider {sources.provider!r}"] if sources.provider else []
    places += ["what was given in Python"] if sources.given is not None else []
    return ", ".join(places) or "no source at all; name one under `settings.secrets`"


def _forms(texts: Iterator[str]) -> list[str]:
    """Each text, and as it stands in a repr, in JSON and in a URL."""
    from urllib.parse import quote, quote_plus

    made: tuple[Callable[[str], str], ...] = (
        str,
        lambda text: repr(text)[1:-1],
        lambda text: json.dumps(text)[1:-1],
        lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
        lambda text: quote(text, safe=""),
        quote_plus,
    )
    return [form(text) for text in texts for form in made]


# -- actions ----------------------------------------------------------------------------------------------------------


def _get(context: Any, key: str, default: Any = None) -> dict[str, Any]:
    found = context.secrets.get(key)
    return {"success": True, "found": found is not None, "value": default if found is None else found}


def _has(context: Any, key: str) -> dict[str, Any]:
    return {"success": True, "exists": context.secrets.has(key)}


ACTIONS: Mapping[str, Callable[..., Any]] = {"secrets.get": _get, "secrets.has": _has}
"""Called as f(context, **arguments)."""
