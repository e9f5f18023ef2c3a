"""Landmarks behind one interface: dlib's predictor (track.landmarks), and MediaPipe's mesh (track.mesh).

Both find the 68 points of a new detection, follow them from frame to frame, and say where there is no face. Pure
functions of one frame and of the face before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from raydub.arrays import F32, U8
from raydub.media.frames import Frame
from raydub.models.face_landmarks import LandmarksSpec
from raydub.stages.track import landmarks as lm
from raydub.stages.track import mesh as fm
from raydub.stages.track.detect import Found
from raydub.stages.track.raw import Face


@dataclass(frozen=True)
class Fitted:
    """points: (68, 2) float32, iBUG order, in pixels of the frame; box: (4,), the square in which they were fitted;
    sure: clear enough to start a face, else they only continue one; mesh: (468, 3) where there are more points, from
    which the next frame's fit begins."""

    points: F32
    box: F32
    sure: bool = True
    mesh: F32 | None = None


class Landmarker(Protocol):
    """luma: the frame's Y plane, (H, W) uint8, C-contiguous."""

    def fresh(self, frame: Frame, luma: U8, found: Found, patient: bool = True) -> Fitted | None:
        """Landmarks of a detection; None where they are not those of a face (profiles, wrong detections). patient:
        take more time for faces at other tilts than the detection's."""
        ...

    def follow(self, frame: Frame, luma: U8, face: Face) -> Fitted | None:
        """Landmarks of a face of the frame before; None where it is lost."""
        ...

    def inside(self, frame: Frame, luma: U8, box: F32) -> F32:
        """Landmarks (68, 2) of the face that fills a box (x0 y0 x1 y1), whether or not there is one."""
        ...


class DlibLandmarks:
    """dlib's 68 points, for upright faces (up to about 30 degrees of tilt)."""

    def fresh(self, frame: Frame, luma: U8, found: Found, patient: bool = True) -> Fitted | None:
        """Fitted twice, the second time in the square of the first fit: refits start from such squares too, so
        detection frames do not twitch."""
        points = lm.fit(luma, lm.square_of(lm.fit(luma, found.box)))
        box = lm.square_of(points)
        doubt = lm.unsettled(luma, points)
        apart = 0.0 if found.points is None else lm.disagreement(points, found.points)
        if doubt > lm.NO_FACE or apart > lm.APART or lm.overlap(box, found.box) < lm.SAME_PLACE:
            return None
        return Fitted(points, box, doubt <= lm.UNSURE)

    def follow(self, frame: Frame, luma: U8, face: Face) -> Fitted | None:
        """See Landmarker."""
        box = lm.square_of(face.points)
        return Fitted(lm.fit(luma, box), box)

    def inside(self, frame: Frame, luma: U8, box: F32) -> F32:
        """See Landmarker."""
        return lm.fit(luma, box)


class MeshLandmarks:
    """The mesh, for faces tilted by any angle and turned to three-quarter views."""

    def fresh(self, frame: Frame, luma: U8, found: Found, patient: bool = True) -> Fitted | None:
        """See Landmarker."""
        made = fm.found_in(frame, found.box, found.tilt, patient)
        if made is None:
            return None
        points = fm.ibug(made[0])
        box = lm.square_of(points)
        if lm.overlap(box, found.box) < lm.SAME_PLACE:
            return None
        return Fitted(points, box, made[1] <= fm.UNSURE, made[0])

    def follow(self, frame: Frame, luma: U8, face: Face) -> Fitted | None:
        """See Landmarker."""
        made = None if face.mesh is None else fm.fit(frame, fm.square_of_mesh(face.mesh))
        if made is None or made[1] < fm.LOST:
            return None
        points = fm.ibug(made[0])
        return Fitted(points, lm.square_of(points), mesh=made[0])

    def inside(self, frame: Frame, luma: U8, box: F32) -> F32:
        """See Landmarker. Where no face is found, the first fit counts."""
        first = fm.fit(frame, fm.square_of_box(box, 0.0))
        found = fm.found_in(frame, box, 0.0)
        made = found or first
        if made is None:
            raise ValueError(f"the box {box.tolist()} lies outside the frame")
        return fm.ibug(made[0])


def make_landmarker(spec: LandmarksSpec) -> Landmarker:
    """The landmarks of the plan, not loaded yet: networks are loaded at the first fit, once per process."""
    return MeshLandmarks() if spec.name == "mesh" else DlibLandmarks()


def load(spec: LandmarksSpec) -> None:
    """Load the network now. Raises DependencyError WEIGHTS_*, DEPENDENCY_MISSING."""
    if spec.name == "mesh":
        fm.network()
    else:
        lm.load()
