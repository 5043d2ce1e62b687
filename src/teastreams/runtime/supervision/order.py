"""What a supervisor is asked to run, as one value.

A plan in, an outcome out, both plain but for the ends of pipes that the caller lends: one forked supervisor per run
stays possible.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, Callable, Mapping, Optional, Union

from teastreams.core.graph import DEFAULT_RESULT_BYTES, StreamSettings
from teastreams.core.plan import SectionPlan
from teastreams.core.state.reducers import Reducers
from teastreams.runtime.fds import Fd
from teastreams.runtime.node.program import Program
from teastreams.runtime.supervision.outside import Outside
from teastreams.values import dataclass


@dataclass(frozen=True)
class Job:
    """What one node's worker runs: a callable on a state, or a program, for at most `timeout_seconds`.

    `reducers` say, by key, how what its upstream returned joins that state.
    """

    body: Union[Callable[[dict[str, Any]], Any], Program]
    state: Mapping[str, Any]
    timeout_seconds: Optional[float] = None
    reducers: Reducers = field(default_factory=dict)


@dataclass(frozen=True)
class Order:
    """Everything a supervisor needs to know. `given` holds ends of pipes that the caller made, as (pipe, "r" or "w").

    `gated`: nobody runs before everybody is ready (a stream section); otherwise at most `max_at_once` workers live
    at a time (a batch). `forks_at_once` workers are forked in a row. `pipe_bytes` is the wished size of channel pipes,
    None for the kernel's default. `progress_seconds` asks for a `Progress` event that often and for records to be
    counted; None for neither. `outside` holds what the caller feeds and reads. `result_limit_bytes` is the most that
    one worker may send back.
    """

    plan: SectionPlan
    jobs: Mapping[str, Job]
    settings: StreamSettings = field(default_factory=StreamSettings)
    given: Mapping[tuple[str, str], Fd] = field(default_factory=dict)
    gated: bool = True
    forks_at_once: int = 1
    fail_fast: bool = False
    max_at_once: Optional[int] = None
    timeout_seconds: Optional[float] = None
    pipe_bytes: Optional[int] = None
    spill_directory: Optional[str] = None
    progress_seconds: Optional[float] = None
    outside: Outside = field(default_factory=Outside)
    result_limit_bytes: int = DEFAULT_RESULT_BYTES

    def program_of(self, worker: str) -> Optional[Program]:
        """The program that this worker becomes; None for Python code and for fan-out workers."""
        body = self.jobs[worker].body if worker in self.jobs else None
        return body if isinstance(body, Program) else None

    def channel_of(self, fanout: str) -> Optional[str]:
        """The channel that this fan-out worker serves; None for a node's worker."""
        return self.plan.fanouts.get(fanout)
