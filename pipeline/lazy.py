"""A toolbox that is made when it is first used, inside a step: a constructor that fails becomes a step's failure, tried
again and then a row, instead of the death of a worker."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from raydub.manifests.job import Job
from raydub.pipeline.events import Planned
from raydub.pipeline.failures import while_loading
from raydub.stages.types import Chunk, Part, SynthesisedChunk, TrackedChunk

if TYPE_CHECKING:
    from raydub.pipeline.steps import Toolbox, WorkSettings

MakeToolbox = Callable[["WorkSettings"], "Toolbox"]


class LazyToolbox:
    """See pipeline.steps.Toolbox. A failed construction is tried again at the next call."""

    def __init__(self, make: MakeToolbox | str, settings: WorkSettings) -> None:
        self._make = make
        self._settings = settings
        self._made: Toolbox | None = None

    def speak(self, job: Job) -> Job:
        """See Toolbox."""
        return self._tools().speak(job)

    def rehearse(self, job: Job, first: int, stop: int) -> None:
        """See Toolbox."""
        self._tools().rehearse(job, first, stop)

    def prepare(self, job: Job) -> tuple[Planned, Sequence[Chunk]]:
        """See Toolbox."""
        return self._tools().prepare(job)

    def track(self, chunk: Chunk) -> TrackedChunk:
        """See Toolbox."""
        return self._tools().track(chunk)

    def lipsync(self, chunk: TrackedChunk) -> SynthesisedChunk:
        """See Toolbox."""
        return self._tools().lipsync(chunk)

    def render(self, chunk: SynthesisedChunk, out_path: str) -> Part:
        """See Toolbox."""
        return self._tools().render(chunk, out_path)

    def stitch(self, job: Job, job_dir: str, parts: Sequence[Part]) -> tuple[str, int]:
        """See Toolbox."""
        return self._tools().stitch(job, job_dir, parts)

    def _tools(self) -> Toolbox:
        if self._made is None:
            with while_loading("the stages"):
                self._made = find(self._make)(self._settings)
        return self._made


def find(make: MakeToolbox | str) -> MakeToolbox:
    """The factory that a reference "package.module:Name" stands for."""
    if not isinstance(make, str):
        return make
    module, _, name = make.partition(":")
    found: MakeToolbox = getattr(importlib.import_module(module), name)
    return found


def reference(make: MakeToolbox | str) -> str:
    """How another process finds the factory. Raises TypeError for one that cannot be imported by its name."""
    if isinstance(make, str):
        return make
    said = f"{getattr(make, '__module__', '')}:{getattr(make, '__qualname__', '')}"
    try:
        if find(said) is make:
            return said
    except (ImportError, AttributeError, ValueError):
        pass
    raise TypeError(f"{make!r} is no class or function at the top of a module: another process cannot import it")
