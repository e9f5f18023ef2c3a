"""The stage track: the faces of a chunk, and the opacity of the new mouth in each frame."""

from __future__ import annotations

import contextlib

from raydub.errors import RaydubError
from raydub.pipeline.context import WorkerContext
from raydub.pipeline.stage import Stage
from raydub.stages.types import Chunk, TrackedChunk


def track(context: WorkerContext, chunk: Chunk) -> TrackedChunk:
    """Find the faces of a chunk."""
    from raydub.stages.chunk import TrackStage

    return context.keep("track", "", TrackStage).run(chunk)  # type: ignore[no-any-return]


def _warm_up(_: WorkerContext) -> None:
    import raydub.stages.chunk  # noqa: F401
    from raydub.models.face_landmarks import resolve_landmarks
    from raydub.stages.track.landmarker import load

    with contextlib.suppress(RaydubError):  # an error is that of the job that needs the file
        load(resolve_landmarks())


TRACK = Stage(
    "track",
    per="chunk",
    takes=Chunk,
    run=track,
    limit=lambda limits, chunk: limits.for_chunk(len(chunk.span)),
    share=0.25,
    finishing_share=0.18,
    warm_up=_warm_up,
)
