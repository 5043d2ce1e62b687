"""`settings:` -> `ParallelConfig`: how branches run and how streams behave unless a node says otherwise.

Defaults are those of `core.graph`, never repeated here. What is there but cannot be read counts as what stream nodes
need, so that one mistake does not become a second one for each of them.
"""

from __future__ import annotations

from typing import Optional

from teastreams.core.graph import OVERFLOWS, STRATEGIES, ParallelConfig, StreamSettings
from teastreams.errors import Position
from teastreams.workflow.keys import PARALLEL, SETTINGS, STREAMS_SETTINGS
from teastreams.workflow.values import Block, place_of

# The kernel takes the size of a pipe as a signed 32-bit number.
MAX_PIPE_BYTES = 2**30


def parallel_config(document: Block, positions: dict[str, Position]) -> ParallelConfig:
    """The settings of a document; their places are added to `positions` under dotted names."""
    settings = document.open("settings", SETTINGS, "settings")
    if settings is None:
        return _absent(document, "settings")
    positions.update(settings.positions("settings."))
    parallel = settings.open("parallel", PARALLEL, "settings.parallel")
    if parallel is None:
        return _absent(settings, "parallel")
    positions.update(parallel.positions("settings.parallel."))
    default = ParallelConfig()
    strategy = parallel.choice("strategy", STRATEGIES)
    if strategy is None:
        meant = "strategy" in parallel.entries or "strategy" in parallel.misspelt
        strategy = "process" if meant else default.strategy
    return ParallelConfig(
        strategy=strategy,
        max_workers=parallel.count("max_workers"),
        timeout_seconds=_timeout(parallel),
        fail_fast=parallel.flag("fail_fast", default.fail_fast),
        include_traceback=parallel.flag("include_traceback", default.include_traceback),
        streams=_stream_settings(parallel, positions),
        result_limit=parallel.size("result_limit", "1GiB") or default.result_limit,
    )


def _absent(block: Block, key: str) -> ParallelConfig:
    """What holds without the key: the defaults. If it is there but unreadable, what raises the fewest complaints."""
    if key in block.entries or key in block.misspelt:
        return ParallelConfig(strategy="process", streams=StreamSettings(enabled=True))
    return ParallelConfig()


def _timeout(parallel: Block) -> Optional[float]:
    """`timeout_seconds`, or its shorter name `timeout`."""
    if "timeout" in parallel.entries and "timeout_seconds" in parallel.entries:
        where = place_of(parallel.entries["timeout"])
        message = f"`timeout` and `timeout_seconds` of {parallel.label} are the same setting"
        parallel.report.add(where, message, "keep one of the two")
    key = "timeout_seconds" if "timeout_seconds" in parallel.entries else "timeout"
    return parallel.seconds(key)


def _stream_settings(parallel: Block, positions: dict[str, Position]) -> StreamSettings:
    default = StreamSettings()
    streams = parallel.open("streams", STREAMS_SETTINGS, "settings.parallel.streams")
    if streams is None:
        return _absent(parallel, "streams").streams
    positions.update(streams.positions("settings.parallel.streams."))
    size = streams.size("buffer_size", "64KiB", MAX_PIPE_BYTES)
    return StreamSettings(
        enabled=_enabled(streams),
        buffer_size=size or default.buffer_size,
        buffer_grows=size is None,
        buffer_limit=streams.size("buffer_limit", "8MiB") or default.buffer_limit,
        overflow=streams.choice("overflow", OVERFLOWS) or default.overflow,
        spill_limit=streams.size("spill_limit", "1GiB") or default.spill_limit,
        timeout=streams.seconds("timeout"),
        stall_timeout=streams.seconds("stall_timeout"),
        grace_seconds=_moment(streams, "grace", default.grace_seconds),
        drain_seconds=_moment(streams, "drain", default.drain_seconds),
    )


def _enabled(streams: Block) -> bool:
    """The switch; a misspelt or wrong one counts as on, because the mistake itself is reported already."""
    return streams.flag("enabled", "enabled" in streams.entries or "enabled" in streams.misspelt)


def _moment(streams: Block, key: str, default: float) -> float:
    found = streams.seconds(key, default, zero=True)
    return default if found is None else found
