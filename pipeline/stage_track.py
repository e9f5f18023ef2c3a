"""The stage track: the faces of a chunk, and the opacity of the new mouth in each frame."""

from __future__ import annotations

from raydub.pipeline.context import WorkerContext
from raydub.pipeline.stage import Stage, Workload
from raydub.stages.types import Chunk, TrackedChunk

# Core milliseconds per frame, and per frame and megapixel.
_FRAME, _MEGAPIXEL = 4.0, 4.0


def track(context: WorkerContext, chunk: Chunk) -> TrackedChunk:
    """Find the faces of a chunk."""
    from raydub.stages.chunk import TrackStage

    return context.keep("track", "", TrackStage).run(chunk)  # type: ignore[no-any-return]


def _warm_up(_: WorkerContext) -> None:
    import raydub.stages.chunk  # noqa: F401
    from raydub.stages.track.landmarks import load

    load()


def _cost(work: Workload) -> float:
    return work.frames * (_FRAME + _MEGAPIXEL * work.source) / 1000


TRACK = Stage(
    "track",
    per="chunk",
    takes=Chunk,
    run=track,
    limit=lambda limits, chunk: limits.for_chunk(len(chunk.span)),
    cost=_cost,
    share=0.25,
    finishing_share=0.18,
    warm_up=_warm_up,
)
