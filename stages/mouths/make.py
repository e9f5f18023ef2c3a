"""Making a job's galleries, from the cache if they are there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from raydub.arrays import Bools
from raydub.beat import beat
from raydub.media.frames import Frame, FrameReader
from raydub.sealed import key_of
from raydub.stages.code import GALLERIES, running
from raydub.stages.faces import FaceFinder
from raydub.stages.job_plan import JobPlan, mouth_file, put_arrays
from raydub.stages.mouths.collect import collect
from raydub.stages.mouths.library import blocks_of_part, part_of
from raydub.stages.types import FaceTrack, Span
from raydub.store import Store


def make_galleries(plan: JobPlan, voice: int) -> tuple[dict[str, str], int]:
    """(blob of each gallery by mouth_file(), number of mouths in all) of the parts of the source that the job shows,
    for the face of a voice. Raises what reading and tracking raise, StageError STORAGE or DISK_FULL."""
    store, n_frames = Store(plan.work_dir), plan.video.n_frames
    parts = np.unique(part_of(plan.timeline.sources(0, plan.n_frames), n_frames)).tolist()
    folder = f"mouths/{_key(plan, voice)}"
    made, mouths = {}, 0
    reader: FrameReader | None = None
    try:
        for part in parts:
            name = f"{folder}/{part:03d}"
            known = store.get(name)
            if known is None:
                reader = reader or plan.open()
                gallery = collect(
                    _Source(plan, voice, reader), blocks_of_part(part, n_frames), plan.faces.landmarks.name
                )
                reader.check()
                known = put_arrays(store, name, gallery.arrays(), {"mouths": len(gallery)})
            made[mouth_file(voice, part)] = known.path
            mouths += int(known.about.get("mouths", 0))
    finally:
        if reader is not None:
            reader.close()
    return made, mouths


def _key(plan: JobPlan, voice: int) -> str:
    """Of everything that decides the galleries, apart from the part."""
    faces = plan.faces
    return key_of(
        [
            running(GALLERIES),
            plan.video.identity,
            plan.transform.model_dump(mode="json"),
            faces.model_dump(mode="json", include={"track", "box", "landmarks", "people", "smooth"}),
            faces.wanted[voice].model_dump(mode="json"),
        ]
    )


class _Source:
    """See mouths.collect.MouthSource."""

    def __init__(self, plan: JobPlan, voice: int, reader: FrameReader) -> None:
        self._plan, self._voice, self._reader = plan, voice, reader
        self._finder = FaceFinder(plan.faces)

    def faces(self, block: Span) -> tuple[list[FaceTrack], Bools]:
        seen = self._finder.see_apart(self._reader, block, self._plan.video.n_frames, self._voice)
        return seen.tracks, seen.cut

    def frames(self, start: int, stop: int) -> Iterator[Frame]:
        for frame in self._reader.frames(start, stop):
            beat("prepare")
            yield frame
