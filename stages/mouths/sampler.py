"""A sample of a person's frames from the galleries: no frame of the video is read or searched again."""

from __future__ import annotations

import re

import numpy as np

from raydub.arrays import F32
from raydub.media.chroma import to_bytes
from raydub.media.frames import Frame
from raydub.models.face_landmarks import LandmarksName
from raydub.stages.engine import even_positions
from raydub.stages.job_plan import JobPlan, mouth_file, read_arrays
from raydub.stages.mouths.gallery import Gallery

MOUTHS = re.compile(r"mouths-(\d+)-(\d+)\.npz")
"""Names of mouth_file()."""


class MouthSampler:
    """SourceSampler (see stages.engine) of the plan's galleries for a voice. Its frames are the lower faces alone, and
    landmarks count from their corners."""

    def __init__(self, plan: JobPlan, voice: int) -> None:
        self._plan = plan
        self.landmarks: LandmarksName = plan.faces.landmarks.name
        names = {name: path for name, path in plan.arrays.items() if MOUTHS.match(name)}
        parts = sorted(int(found[2]) for found in map(MOUTHS.match, names) if found and int(found[1]) == voice)
        self._paths = [names[mouth_file(voice, part)] for part in parts]

    def sample(self, count: int) -> list[tuple[Frame, F32, F32]]:
        """See SourceSampler: of the person seen most, half of the frames evenly spread, the others with the mouth open
        furthest. One gallery in memory at a time."""
        chosen: list[tuple[Frame, F32, F32]] = []
        parts = even_positions(count, len(self._paths))
        for part in parts:
            gallery = Gallery.of(read_arrays(self._paths[part]))
            rows = np.flatnonzero(gallery.person == 0)
            share = -(-count // len(parts))
            spread = rows[even_positions(max(1, share // 2), len(rows))]
            wide = rows[np.argsort(-gallery.shape.opening[rows], kind="stable")][: share // 2]
            chosen += [self._one(gallery, int(row)) for row in np.unique(np.concatenate((spread, wide)))]
        return chosen[:count]

    def _one(self, gallery: Gallery, row: int) -> tuple[Frame, F32, F32]:
        picture = gallery.picture(row)
        marks = (gallery.marks[row] - np.array(picture.corner) + 0.5) * np.array(picture.scale) - 0.5
        y, u, v = (to_bytes(plane) for plane in (picture.y, picture.u, picture.v))
        frame = Frame(int(gallery.frame[row]), y, u, v, self._plan.video.colour)
        w, h = frame.size
        box = np.array((0, 0, w, h), np.float32)
        return frame, box, np.asarray(marks, np.float32)
