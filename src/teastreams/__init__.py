"""teastreams: workflows whose nodes are real processes joined by real pipes.

The public names, and nothing else: importing this starts no thread and no process and installs no handler. A name is
loaded when it is first used (PEP 562), so that a program pays for the parts that it uses.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

try:
    import fcntl as _fcntl  # noqa: F401  Windows has none; who imports us there is told now, not at the first use
except ImportError as missing:
    from teastreams.errors import UNIX_ONLY, PlatformError

    raise PlatformError(f"teastreams needs a Unix-like system, this is {sys.platform}: {UNIX_ONLY}") from missing

if TYPE_CHECKING:
    from teastreams.checkpoint import (
        Checkpoint,
        Checkpointer,
        CheckpointError,
        Codec,
        MemoryCheckpointer,
        SqliteCheckpointer,
    )
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
        RecordError,
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
    "RecordError",
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

# Where each name stands; type checkers read the block above, a test compares the two.
_HOMES = {
    "checkpoint": "Checkpoint CheckpointError Checkpointer Codec MemoryCheckpointer SqliteCheckpointer",
    "core.events": (
        "BranchesFinished ChannelProgress ConsumerProgress NodeFinished NodeOutput NodeProgress NodeRetried "
        "NodeStarted Progress SectionFinished SectionStarted StateChanged Warned"
    ),
    "core.graph": "Delivery END NodeStreamsConfig ParallelConfig START StreamSettings",
    "core.limits": "RateLimit",
    "core.merge": "ParallelFlowResult ParallelResults Update",
    "core.policies": "CircuitBreaker CircuitBreakerConfig OnError RetryPolicy",
    "core.services": "SecretSources",
    "engine.app": "CompiledGraph",
    "engine.calling": "Context",
    "engine.declaring.pipeline": "pipeline",
    "engine.declaring.state_graph": "StateGraph",
    "engine.declaring.yaml_engine": "YAMLEngine",
    "engine.live.handle": "RunHandle",
    "engine.results": "Pause RunFinished RunResult",
    "errors": (
        "Interrupted LimitError NodeError PlatformError Position Problem RecordError TeaStreamsError UpstreamFailed "
        "WorkflowError WorkflowFailed"
    ),
    "executors.flows": "BranchFlow",
    "executors.process": "ProcessExecutor",
    "executors.thread": "ThreadExecutor",
    "runtime.channels": "StreamChannel StreamDirection StreamRegistry validate_platform",
    "runtime.fanout.broadcast": "BroadcastReport",
    "runtime.fanout.orchestrator": "TeeOrchestrator",
    "runtime.supervision.figures": "ChannelFigures ConsumerFigures NodeFigures",
    "services.memory": "Memory MemoryFileError",
    "services.secrets": "Secret SecretError Secrets",
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    module = _HOME_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'teastreams' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"teastreams.{module}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
