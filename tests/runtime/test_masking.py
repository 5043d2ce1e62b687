"""runtime/masking.py: what is held back, what is not, and what arrives afterwards."""

from __future__ import annotations

import harness


def test_signals_arrive_when_the_mask_is_lifted_and_not_before() -> None:
    """And the mask that was there is back."""
    told = harness.run(
        """
from teastreams.runtime.masking import signals_blocked
heard = []
signal.signal(signal.SIGTERM, lambda *_: heard.append("term"))
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
with signals_blocked():
    os.kill(os.getpid(), signal.SIGTERM)
    inside = list(heard)
tell(inside=inside, after=heard, mask=[int(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
     usr1=int(signal.SIGUSR1))
"""
    ).told

    assert (told["inside"], told["after"], told["mask"]) == ([], ["term"], [told["usr1"]])


def test_a_broken_pipe_in_the_block_ends_no_host_whose_sigpipe_is_the_default() -> None:
    """Ignored while we write, the default again before the mask is lifted: nothing was kept for then."""
    told = harness.run(
        """
from teastreams.runtime.masking import signals_blocked
read, write = os.pipe()
os.close(read)
with signals_blocked():
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        os.write(write, b"x")
    except BrokenPipeError:
        pass
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
tell(lives=True)
"""
    ).told

    assert told == {"lives": True}
