"""teastreams: workflows whose nodes are real processes joined by real pipes.

The public names, and nothing else: importing this starts no thread and no process and installs no handler. Each name is
loaded when it is first used (PEP 562): a program pays for what it uses, and importing costs it next to nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from teastreams.checkpoint.memory import MemoryCheckpointer
    from teastreams.checkpoint.records import Checkpoint, Checkpointer
    from teastreams.checkpoint.sqlite import SqliteCheckpointer
    from teastreams.checkpoint.values import CheckpointError, Codec
    from teastreams.core.events import (
        BranchesFinished,
        ChannelProgress,
        ConsumerProgress,
        NodeFinished,
        NodeOutput,
        NodeProgress,
        NodeRetried,
        NodeStarted,
        Progress,
        SectionFinished,
        SectionStarted,
        StateChanged,
        Warned,
    )
    from teastreams.core.graph import (
        END,
        START,
        Delivery,
        NodeStreamsConfig,
        ParallelConfig,
        StreamSettings,
    )
    from teastreams.core.limits import RateLimit
    from teastreams.core.merge import ParallelFlowResult, ParallelResults, Update
    from teastreams.core.policies import CircuitBreaker, CircuitBreakerConfig, OnError, RetryPolicy
    from teastreams.core.services import SecretSources
    from teastreams.engine.app import CompiledGraph
    from teastreams.engine.calling import Context
    from teastreams.engine.declaring.pipeline import pipeline
    from teastreams.engine.declaring.state_graph import StateGraph
    from teastreams.engine.declaring.yaml_engine import YAMLEngine
    from teastreams.engine.live.handle import RunHandle
    from teastreams.engine.results import Pause, RunFinished, RunResult
    from teastreams.errors import (
        Interrupted,
        LimitError,
        NodeError,
        PlatformError,
        Position,
        Problem,
        TeaStreamsError,
        UpstreamFailed,
        WorkflowError,
        WorkflowFailed,
    )
    from teastreams.executors.flows import BranchFlow
    from teastreams.executors.process import ProcessExecutor
    from teastreams.executors.thread import ThreadExecutor
    from teastreams.runtime.channels import StreamChannel, StreamDirection, StreamRegistry, validate_platform
    from teastreams.runtime.fanout.broadcast import BroadcastReport
    from teastreams.runtime.fanout.orchestrator import TeeOrchestrator
    from teastreams.runtime.supervision.figures import ChannelFigures, ConsumerFigures, NodeFigures
    from teastreams.services.memory import Memory, MemoryFileError
    from teastreams.services.secrets import Secret, SecretError, Secrets

__all__ = [
    "END",
    "START",
    "BranchFlow",
    "BranchesFinished",
    "BroadcastReport",
    "ChannelFigures",
    "ChannelProgress",
    "Checkpoint",
    "CheckpointError",
    "Checkpointer",
    "CircuitBreaker",
    "CircuitBreakerConfig",
    "Codec",
    "CompiledGraph",
    "ConsumerFigures",
    "ConsumerProgress",
    "Context",
    "Delivery",
    "Interrupted",
    "LimitError",
    "Memory",
    "MemoryCheckpointer",
    "MemoryFileError",
    "NodeError",
    "NodeFigures",
    "NodeFinished",
    "NodeOutput",
    "NodeProgress",
    "NodeRetried",
    "NodeStarted",
    "NodeStreamsConfig",
    "OnError",
    "ParallelConfig",
    "ParallelFlowResult",
    "ParallelResults",
    "Pause",
    "PlatformError",
    "Position",
    "Problem",
    "ProcessExecutor",
    "Progress",
    "RateLimit",
    "RetryPolicy",
    "RunFinished",
    "RunHandle",
    "RunResult",
    "Secret",
    "SecretError",
    "SecretSources",
    "Secrets",
    "SectionFinished",
    "SectionStarted",
    "SqliteCheckpointer",
    "StateChanged",
    "StateGraph",
    "StreamChannel",
    "StreamDirection",
    "StreamRegistry",
    "StreamSettings",
    "TeaStreamsError",
    "TeeOrchestrator",
    "ThreadExecutor",
    "Update",
    "UpstreamFailed",
    "Warned",
    "WorkflowError",
    "WorkflowFailed",
    "YAMLEngine",
    "pipeline",
    "validate_platform",
]

# Where each name stands. A test holds this against the imports above, which are for type checkers and editors only.
_NAMES = {
    "teastreams.checkpoint.memory": "MemoryCheckpointer",
    "teastreams.checkpoint.records": "Checkpoint Checkpointer",
    "teastreams.checkpoint.sqlite": "SqliteCheckpointer",
    "teastreams.checkpoint.values": "CheckpointError Codec",
    "teastreams.core.events": (
        "BranchesFinished ChannelProgress ConsumerProgress NodeFinished NodeOutput NodeProgress NodeRetried "
        "NodeStarted Progress SectionFinished SectionStarted StateChanged Warned"
    ),
    "teastreams.core.graph": "END START Delivery NodeStreamsConfig ParallelConfig StreamSettings",
    "teastreams.core.limits": "RateLimit",
    "teastreams.core.merge": "ParallelFlowResult ParallelResults Update",
    "teastreams.core.policies": "CircuitBreaker CircuitBreakerConfig OnError RetryPolicy",
    "teastreams.core.services": "SecretSources",
    "teastreams.engine.app": "CompiledGraph",
    "teastreams.engine.calling": "Context",
    "teastreams.engine.declaring.pipeline": "pipeline",
    "teastreams.engine.declaring.state_graph": "StateGraph",
    "teastreams.engine.declaring.yaml_engine": "YAMLEngine",
    "teastreams.engine.live.handle": "RunHandle",
    "teastreams.engine.results": "Pause RunFinished RunResult",
    "teastreams.errors": (
        "Interrupted LimitError NodeError PlatformError Position Problem TeaStreamsError UpstreamFailed "
        "WorkflowError WorkflowFailed"
    ),
    "teastreams.executors.flows": "BranchFlow",
    "teastreams.executors.process": "ProcessExecutor",
    "teastreams.executors.thread": "ThreadExecutor",
    "teastreams.runtime.channels": "StreamChannel StreamDirection StreamRegistry validate_platform",
    "teastreams.runtime.fanout.broadcast": "BroadcastReport",
    "teastreams.runtime.fanout.orchestrator": "TeeOrchestrator",
    "teastreams.runtime.supervision.figures": "ChannelFigures ConsumerFigures NodeFigures",
    "teastreams.services.memory": "Memory MemoryFileError",
    "teastreams.services.secrets": "Secret SecretError Secrets",
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}

if sys.platform == "win32":  # said at once, and not when the first name is used
    import_module("teastreams.runtime")


def __getattr__(name: str) -> Any:
    """Load a public name, once: from then on it stands here like any other."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
