"""What is left of a run (pipeline.outlook)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Left:
    """seconds: until all is done, None while unknown; share: of the work that is done, 0 to 1; stages, jobs: the same
    of each stage, and of each job that has begun."""

    seconds: float | None = None
    share: float = 0.0
    stages: Mapping[str, float] = field(default_factory=dict)
    jobs: Mapping[str, float] = field(default_factory=dict)
