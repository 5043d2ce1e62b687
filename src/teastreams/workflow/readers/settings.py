"""`settings:` -> `ParallelConfig` and `ServiceSettings`: how branches and streams behave, and what nodes may use.

Defaults are those of `core.graph`, never repeated here. What is there but cannot be read counts as what stream nodes
need, so that one mistake does not become a second one for each of them.
"""

from __future__ import annotations

from typing import Mapping, Optional

from teastreams.core.graph import OVERFLOWS, STRATEGIES, ParallelConfig, StreamSettings
from teastreams.core.limits import RateLimit
from teastreams.core.policies import RetryPolicy
from teastreams.core.services import SecretSources, ServiceSettings
from teastreams.errors import Position
from teastreams.workflow.document import YamlMapping, YamlScalar
from teastreams.workflow.keys import LTM, PARALLEL, RATE_LIMITER, SECRETS, SECRETS_ENV, SETTINGS, STREAMS_SETTINGS
from teastreams.workflow.readers.reliability import circuit_of, retry_of
from teastreams.workflow.values import Block, opened, place_of, plain
from teastreams.workflow.wording import quoted

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
        retry_policy=_retry(parallel, positions),
        circuit_breaker=circuit_of(parallel, positions, "settings.parallel."),
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
    return parallel.seconds(_one_of(parallel, "timeout", "timeout_seconds"))


def _retry(parallel: Block, positions: dict[str, Position]) -> Optional[RetryPolicy]:
    """`retry_policy`, or its shorter name `retry`."""
    return retry_of(parallel, _one_of(parallel, "retry", "retry_policy"), positions, "settings.parallel.")


def _one_of(block: Block, short: str, long: str) -> str:
    """Which of two names of one setting is there."""
    if short in block.entries and long in block.entries:
        where = place_of(block.entries[short])
        message = f"`{short}` and `{long}` of {block.label} are the same setting"
        block.report.add(where, message, "keep one of the two")
    return long if long in block.entries else short


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


# --- services that nodes use by their context ----------------------------------------------------------------------


def service_settings(document: Block) -> ServiceSettings:
    """The services of a document."""
    value = document.get("settings")
    if not isinstance(value, YamlMapping):
        return ServiceSettings()
    # Its keys have been checked with the other settings; what is noted here is of the services alone.
    entries = {entry.key: entry for entry in value.entries if entry.key in SETTINGS.keys}
    settings = Block(value.where, "settings", document.report, entries)
    return ServiceSettings(_limits(settings), _memory_path(settings), _secrets(settings))


def _memory_path(settings: Block) -> Optional[str]:
    block = settings.open("ltm", LTM, "settings.ltm")
    if block is None:
        return None
    block.choice("backend", ("sqlite",))
    paths = [path for path in (block.text("path"), block.text("db_path")) if path]
    if len(paths) != 1 and not block.misspelt:
        has = "has both `path` and `db_path`" if paths else "has no path"
        block.report.add(block.where, f"{block.label} {has}", "write `path: memory.db`")
    return paths[0] if paths else None


def _secrets(settings: Block) -> Optional[SecretSources]:
    block = settings.open("secrets", SECRETS, "settings.secrets")
    if block is None:
        return None
    block.choice("backend", ("env",))
    names, prefix = _variables(block)
    files = block.texts("files", "/run/secrets")
    provider, provider_settings = _provider(block)
    if not (names or prefix or files or provider or block.misspelt or block.later) and not block.entries:
        block.report.add(block.where, f"{block.label} names no source", "write the variables: `env: [API_KEY]`")
    return SecretSources(names, prefix, files, provider, provider_settings)


def _variables(block: Block) -> tuple[tuple[str, ...], str]:
    """The names of environment variables, as a list or with a prefix."""
    if not isinstance(block.get("env"), YamlMapping):
        return block.texts("env", "[API_KEY]"), ""
    env = block.open("env", SECRETS_ENV, "settings.secrets.env")
    if env is None:
        return (), ""
    prefix = env.text("prefix")
    if "prefix" in env.entries and not prefix and isinstance(env.get("prefix"), YamlScalar):
        env.wrong("prefix", "text that is not empty", "APP_")
    return env.texts("names", "[API_KEY]"), prefix


def _provider(block: Block) -> tuple[str, Mapping[str, object]]:
    """The name of an entry point, alone or with settings of its own."""
    value = block.get("provider")
    if not isinstance(value, YamlMapping):
        return block.text("provider"), {}
    settings = {entry.key: plain(entry.value) for entry in value.entries}
    name = settings.pop("name", "")
    if not isinstance(name, str) or not name:
        block.wrong("provider", "a name, or a mapping with a `name`", "{name: vault}")
    return str(name), settings


def _limits(settings: Block) -> Mapping[str, RateLimit]:
    value = settings.get("rate_limiters")
    if value is None or (isinstance(value, YamlScalar) and value.value is None):
        return {}
    if not isinstance(value, YamlMapping):
        settings.wrong("rate_limiters", "a mapping of names to rates", "{openai: {rpm: 60}}")
        return {}
    limits: dict[str, RateLimit] = {}
    for entry in value.entries:
        limiter = opened(entry.value, RATE_LIMITER, f"the rate limiter {quoted(entry.key)}", settings.report)
        limit = None if limiter is None else _limit(limiter)
        if limit is not None:
            limits[entry.key] = limit
    return limits


def _limit(limiter: Block) -> Optional[RateLimit]:
    given = [key for key in ("rpm", "rps") if key in limiter.entries]
    if len(given) != 1:
        has = "has both `rpm` and `rps`" if given else "has no rate"
        if not limiter.misspelt:
            limiter.report.add(limiter.where, f"{limiter.label} {has}", "write one of them, such as `rpm: 60`")
        return None
    rates = {key: limiter.number(key, 1.0, least=0, above=True) for key in given}
    return RateLimit(rpm=rates.get("rpm"), rps=rates.get("rps"), burst=limiter.count("burst") or 1)
