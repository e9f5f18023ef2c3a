"""Results of LipEngine.prepare() for a source, cached by what they depend on, so that many speeches for one video
analyse it once.

Stored as `sources/<key>`. The key is a hash of the source, the options, the engine and its weights, and of the frames
that the job shows; not of the speech.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raydub.arrays import F32
from raydub.media.frames import Frame
from raydub.models.face_landmarks import LandmarksName
from raydub.sealed import key_of
from raydub.stages.ahead import ahead
from raydub.stages.engine import LipEngine, SourceSampler, even_positions
from raydub.stages.faces import FaceFinder
from raydub.stages.job_plan import JobPlan, put_arrays
from raydub.store import Store

_AHEAD = 4  # frames


def source_profile(
    plan: JobPlan,
    engine: LipEngine,
    deciding: Mapping[str, Any],
    voice: int = 0,
    sampler: SourceSampler | None = None,
) -> str:
    """The blob of engine.prepare() for the face of a voice in the job's source; from the cache if it is there. sampler:
    by default a PlanSampler.

    deciding: everything that the result depends on, apart from which frames are shown, as JSON values. Raises what
    engine.prepare() raises, StageError STORAGE or DISK_FULL.
    """
    store = Store(plan.work_dir)
    kept = None if plan.timeline.kept is None else [list(span) for span in plan.timeline.kept]
    name = f"sources/{key_of({**deciding, 'shown': _shown(plan), 'kept': kept})}"
    known = store.get(name)
    if known is not None:
        return known.path
    return put_arrays(store, name, engine.prepare(sampler or PlanSampler(plan, voice))).path


def _shown(plan: JobPlan) -> int:
    return min(plan.n_frames, plan.timeline.n_shown)


class PlanSampler:
    """SourceSampler (see stages.engine) of a planned job: single frames at even positions of what is shown of the
    source, whatever the chunks; frames in which the face of the voice is not found are left out."""

    def __init__(self, plan: JobPlan, voice: int = 0) -> None:
        self._plan = plan
        self._voice = voice
        self.landmarks: LandmarksName = plan.faces.landmarks.name

    def sample(self, count: int) -> list[tuple[Frame, F32, F32]]:
        """See SourceSampler. Costs `count` seeks and detections."""
        positions = even_positions(count, _shown(self._plan))
        finder = FaceFinder(self._plan.faces)
        found = []
        with self._plan.open() as reader:
            frames = reader.frames_at(self._plan.timeline.source(at) for at in positions)
            # Seeks decode many frames for one, without the interpreter's lock, which dlib holds.
            with ahead(frames, _AHEAD, "raydub-read") as sampled:
                for frame in sampled:
                    face = finder.one(frame, self._voice)
                    if face is not None:
                        found.append((frame, *face))
            reader.check()
        return found
