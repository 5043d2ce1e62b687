"""What a workflow declares about the services that its nodes use, frozen.

One value for all of them, carried by the graph; the services themselves are made from it when a run begins. Nothing
is opened or connected here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Mapping, Optional

from teastreams.core.limits import RateLimit


@dataclass(frozen=True)
class ServiceSettings:
    """`limits`: the rate limiters by name; `memory_path`: the file of the long-term memory."""

    limits: Mapping[str, RateLimit] = field(default_factory=dict)
    memory_path: Optional[str] = None
