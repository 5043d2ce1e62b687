"""A run under asyncio: its loop waits in place of ours, and nothing else differs.

Before each wait the run hands over what it waits for, descriptors and one deadline; they stand in the event loop's own
selector until one of them is due. No thread, no polling. What runs in the caller's process (plain nodes, branches in
threads, the pauses between retries) holds the event loop, as any function does.
"""

from __future__ import annotations

import asyncio
import select
from typing import AsyncIterator, Optional, Union

from teastreams.core.events import RunEvent, Waiting
from teastreams.engine.live.handle import RunHandle
from teastreams.engine.results import RunFinished, RunResult
from teastreams.runtime.loop import Loop


async def result_of(handle: RunHandle) -> RunResult:
    """Drive the run to its end; a cancelled task ends it in order first."""
    async for _event in events_of(handle):
        pass
    return handle.result()


async def events_of(handle: RunHandle) -> AsyncIterator[Union[RunEvent, RunFinished]]:
    """Every event of the run. When the task is cancelled or the generator closed, the run is ended in order."""
    try:
        while True:
            event = handle.step(0)
            if isinstance(event, Waiting):
                await _due(handle.loop)
            elif event is not None:
                yield event
            if event is None or isinstance(event, RunFinished):
                handle.result()
                return
    finally:
        await _stopped(handle)


async def _stopped(handle: RunHandle) -> None:
    """Nothing of the run is left; harmless after its end. A second cancellation ends it at once."""
    try:
        if handle.stopping:
            handle.ask_to_stop()
        while handle.stopping:
            if isinstance(handle.step(0), Waiting):
                await _due(handle.loop)
    finally:
        handle.abandon()


async def _due(loop: Optional[Loop]) -> None:
    """Until the loop has something to do."""
    if loop is None:
        return
    host = asyncio.get_running_loop()
    woken = host.create_future()

    def wake() -> None:
        if not woken.done():
            woken.set_result(None)

    seconds = loop.timeout_seconds()
    timer = None if seconds is None else host.call_later(seconds, wake)
    watched = loop.interests()
    try:
        for number, mask in watched:
            try:
                (host.add_writer if mask & select.POLLOUT else host.add_reader)(number, wake)
            except PermissionError:  # epoll takes no /dev/null, which poll(2) says is always ready
                wake()
        await woken
    finally:
        for number, mask in watched:
            (host.remove_writer if mask & select.POLLOUT else host.remove_reader)(number)
        if timer is not None:
            timer.cancel()
