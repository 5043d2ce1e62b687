"""teastreams: workflows whose nodes are real processes joined by real pipes.

The public names, and nothing else: importing this starts no thread and no process and installs no handler.
"""

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
