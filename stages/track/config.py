"""Settings of raw tracks (TrackConfig, part of the cache's key) and of the choice of a face (FaceChoice)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from raydub.errors import Code, UsageError
from raydub.models.face_detectors import DetectorSpec, resolve_detector
from raydub.models.face_landmarks import LandmarksSpec, resolve_landmarks
from raydub.sealed import key_of

FaceKind = Literal["largest", "left", "right", "index", "reference", "all", "active"]


class FaceChoice(BaseModel):
    """The face whose mouth follows the speech. `index`: from the left, from 0; `image`: path of the reference
    picture."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: FaceKind = "largest"
    index: int = Field(default=0, ge=0)
    image: str = ""

    @classmethod
    def parse(cls, text: str) -> FaceChoice:
        """largest, left, right, all, active, index:N or reference:IMAGE; UsageError (FIELD_VALUE) for anything
        else."""
        name, _, rest = text.partition(":")
        if name in ("largest", "left", "right", "all", "active") and not rest:
            return cls(kind=name)
        if name == "index" and rest.isascii() and rest.isdigit():
            return cls(kind="index", index=int(rest))
        if name == "reference" and rest:
            return cls(kind="reference", image=rest)
        raise UsageError(
            Code.FIELD_VALUE,
            f"face={text!r} is not valid",
            hint="one of largest, left, right, all, active, index:N (from the left, from 0), reference:IMAGE",
            field="face",
        )


class TrackConfig(BaseModel):
    """Everything that a raw track depends on besides the frames themselves.

    every: the detector runs on source frames 0, every, 2·every, ..; landmarks carry the faces in between. While all
      faces are steady, it runs on frames 0, step, 2·step, .. only (see track.see).
    carry: a face that the detector misses is carried on by its landmarks for so many further times `every` frames.
    thorough: search small faces on every detection frame, not only where no large one is found: for choices that
      compare several faces. Costs about 9 ms a frame instead of 3 with HOG, 3 instead of 2 with YuNet.
    min_face: faces narrower than this many pixels of the working frame are ignored: no lips can be drawn on them.
    embed: keep a 128-d embedding of every detected face (needed by the choice `reference`; 20 ms a face).
    people: keep one at the start of each shot and every 30 frames, to tell people apart (0.7 ms a frame).
    landmarks: the mesh or dlib's; with the mesh, tilted faces are searched too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    detector: DetectorSpec
    landmarks: LandmarksSpec
    every: int = Field(default=5, ge=1, le=10)
    carry: int = Field(default=2, ge=0, le=4)
    thorough: bool = False
    min_face: int = Field(default=32, ge=8)
    embed: bool = False
    people: bool = False

    @property
    def embeds(self) -> bool:
        """Do raw tracks hold embeddings?"""
        return self.embed or self.people

    @property
    def tilted(self) -> bool:
        """Are tilted faces searched? dlib's landmarks break beyond 30 degrees."""
        return self.landmarks.name == "mesh"

    @property
    def step(self) -> int:
        """The distance of detections while all faces are steady: as far as a face may be carried."""
        return self.every * (self.carry + 1)

    @classmethod
    def plan(
        cls,
        wanted: FaceChoice | Sequence[FaceChoice],
        detector: str = "auto",
        every: int = 5,
        landmarks: str = "auto",
        people: bool = False,
    ) -> TrackConfig:
        """The config for one job and all faces that it wants; resolves the detector and the landmarks (for the errors
        see models.face_detectors.resolve_detector, models.face_landmarks.resolve_landmarks)."""
        faces = [wanted] if isinstance(wanted, FaceChoice) else wanted
        return cls(
            detector=resolve_detector(detector),
            landmarks=resolve_landmarks(landmarks),
            every=every,
            thorough=any(face.kind != "largest" for face in faces),
            embed=any(face.kind == "reference" for face in faces),
            people=people,
        )

    def key(self, identity: str) -> str:
        """The key of cached tracks. identity: which frames, and how they are read and tracked (the source's identity,
        its transform, the code)."""
        return key_of([identity, self.model_dump(mode="json")])
