"""What an interpreter that only reads documents must not do, as its audit hook sees it.

Opening a file to write, starting a process, a socket, changing the file system, importing what was not there before,
executing code that is no module's and no dataclass's: each is kept as a line. The hook cannot be taken off again; it
listens only while it is armed.
"""

from __future__ import annotations

import difflib  # noqa: F401  loaded late, by who says what was perhaps meant
import os
import sys
import unicodedata  # noqa: F401  the compiler loads it for a name of a character
from contextlib import contextmanager
from types import CodeType
from typing import Any, Iterator

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_ACTING = (
    *("subprocess.", "socket.", "shutil.", "ctypes.", "ftplib.", "smtplib.", "urllib.", "http.", "webbrowser.", "pty."),
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.kill", "os.remove", "os.rename", "os.mkdir"),
    *(
        "os.rmdir",
        "os.link",
        "os.symlink",
        "os.truncate",
        "os.chmod",
        "os.chown",
        "os.chdir",
        "os.putenv",
        "os.unsetenv",
    ),
    *("os.utime", "os.setxattr", "signal.pthread_kill", "sqlite3.", "marshal.load", "pickle.find_class", "tempfile."),
)


class Watch:
    """Installed once in an interpreter; `acts` holds what happened while it was armed."""

    def __init__(self) -> None:
        self.acts: list[str] = []
        self._armed = False
        self._known: set[str] = set()
        sys.addaudithook(self._heard)

    @contextmanager
    def armed(self) -> Iterator[None]:
        """Listen for as long as this lasts."""
        self._known = {name.partition(".")[0] for name in sys.modules}
        self._armed = True
        try:
            yield
        finally:
            self._armed = False

    def _heard(self, event: str, args: tuple[Any, ...]) -> None:
        if self._armed and self._forbidden(event, args):
            self.acts.append(f"{event}{args!r}"[:300])

    def _forbidden(self, event: str, args: tuple[Any, ...]) -> bool:
        if event == "open":
            return bool(isinstance(args[2], int) and args[2] & _WRITING)
        if event == "import":
            # Jinja is looked for where it is not there; a name with `_` in front is the inside of a module of Python's.
            name = str(args[0]).partition(".")[0]
            return name not in self._known and name != "jinja2" and not name.startswith("_")
        if event == "exec":
            return not _of_a_module(args[0])
        return event.startswith(_ACTING)


def _of_a_module(code: Any) -> bool:
    """Code of a file of a library, or of Jinja: the functions it makes of an expression, and how it raises an error."""
    file = code.co_filename if isinstance(code, CodeType) else ""
    if file == "<unknown>":
        return "__jinja_exception__" in code.co_names
    return file == "<template>" or (file.endswith(".py") and os.path.isabs(file)) or file.startswith("<frozen")
