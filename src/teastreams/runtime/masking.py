"""Signals held back while a few calls must not be torn apart.

Python runs handlers between any two instructions, and a handler may raise: whatever takes two steps (a fork and the
note of its pid, a set of handlers put back) is done with signals blocked. They arrive when the mask is lifted. It
installs and interprets nothing.
"""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import Any, Iterator

from teastreams.runtime import calls

EVERY_SIGNAL = tuple(int(number) for number in signal.valid_signals() if number != signal.SIGPIPE)
"""Asked for once, and as plain numbers: `valid_signals` makes an enum member of each of the 64 in every call.

All but SIGPIPE: Linux keeps a blocked signal even while it is ignored, so a write to a worker that has just died would
end the host as soon as its own disposition is back.
"""


@contextmanager
def signals_blocked() -> Iterator[Any]:
    """Block every signal of this thread, and put back the mask that was there, which is handed in.

    The old mask is asked for first: a handler that was already due runs, and may raise, as soon as the new one is set,
    and the answer of that call is lost then.
    """
    old = calls.table.sigmask(signal.SIG_BLOCK, [])
    try:
        calls.table.sigmask(signal.SIG_BLOCK, EVERY_SIGNAL)
        yield old
    finally:
        calls.table.sigmask(signal.SIG_SETMASK, old)
