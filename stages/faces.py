"""The faces of a job's source: which tracker, which face, and the decided tracks of any span. Shared by the stages.

Two sources of faces: the tracker (detect, carry, choose), or the constant box that the user gave, in which landmarks
are fitted on every frame without any detection.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from raydub.arrays import F32, U8, Bools
from raydub.beat import beat
from raydub.identity import Cache
from raydub.manifests.options import Options
from raydub.media.frames import Frame, FrameReader
from raydub.media.watch import identify_source
from raydub.models.face_landmarks import LandmarksName, LandmarksSpec
from raydub.stages.lipstate import lips_open
from raydub.stages.track.active import ActiveFaces, Voices
from raydub.stages.track.cache import TrackCache, cut_out
from raydub.stages.track.choose import choose_one, neighbours
from raydub.stages.track.config import FaceChoice, TrackConfig
from raydub.stages.track.decide import decide, halo
from raydub.stages.track.embed import embedding, reference_embedding
from raydub.stages.track.landmarker import make_landmarker
from raydub.stages.track.look import look_of
from raydub.stages.track.raw import RawTracks, Shots
from raydub.stages.track.see import PEOPLE_EVERY
from raydub.stages.track.speakers import REACH, frames_of
from raydub.stages.track.tracker import Tracker
from raydub.stages.types import FaceTrack, Span
from raydub.store import Store

_SMOOTH = 2
"""Landmarks in a constant box are averaged over ±2 frames of the shot."""
_ALL = FaceChoice(kind="all")
_BOX_HALO = 14
"""Frames that the lip state and the averaging look back and ahead, in a constant box."""


class WantedFace(BaseModel):
    """The face whose mouth moves. reference: the (128,) embedding for face=reference, as plain numbers."""

    model_config = ConfigDict(frozen=True)

    choice: FaceChoice
    reference: tuple[float, ...] | None = None

    @classmethod
    def of(cls, choice: FaceChoice, landmarks: LandmarksSpec, cache: Cache) -> WantedFace:
        """The face of a choice, with the embedding of its picture, by these landmarks. Raises what
        track.embed.reference_embedding raises."""
        if choice.kind != "reference":
            return cls(choice=choice)
        reference = tuple(float(value) for value in reference_embedding(choice.image, landmarks))
        # The picture is identified by its content, not by its path.
        image = identify_source(choice.image, cache, "face").sha256
        return cls(choice=choice.model_copy(update={"image": image}), reference=reference)


class FacePlan(BaseModel):
    """How the faces of a job are found. wanted: one face, or one for each voice of the job; track: None if `box` (x0,
    y0, x1, y1, pixels of the working frame) is given; landmarks: those of `track`, too; people: tell people in the box
    apart, see TrackConfig. work_dir: where tracks are cached, under track_key; both "" without a cache. voices: what
    tells who speaks, where one of `wanted` is the face that does."""

    model_config = ConfigDict(frozen=True)

    wanted: tuple[WantedFace, ...]
    track: TrackConfig | None
    box: tuple[int, int, int, int] | None = None
    landmarks: LandmarksSpec = LandmarksSpec(name="dlib", sha256="")
    people: bool = False
    no_face: str = "keep"
    smooth: bool = True
    work_dir: str = ""
    track_key: str = ""
    voices: Voices | None = None

    def deciding(self) -> dict[str, Any]:
        """What decides the faces, as JSON values: without places on a disk."""
        said = self.model_dump(mode="json", exclude={"work_dir", "track_key", "voices"})
        return said if self.voices is None else {**said, "voices": self.voices.sha256}

    @property
    def halo(self) -> int:
        """Frames around a span that its decisions read."""
        if self.box is not None:
            return _BOX_HALO
        return halo(self.no_face) + (0 if self.voices is None else frames_of(REACH, self.voices.rate))


@dataclass(frozen=True)
class Seen:
    """The decided faces over `span`. cut: (n,) bool, the frame starts a new shot."""

    span: Span
    tracks: list[FaceTrack]
    cut: Bools


def constant_box(options: Options, size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """options.box (top, bottom, left, right; as in Wav2Lip) as x0 y0 x1 y1 inside the working frame of `size`, None
    without one. A box outside the frame is clipped to at least 2 pixels."""
    if options.box is None:
        return None
    top, bottom, left, right = options.box
    return clamp((left, top, right, bottom), size)


def clamp(box: Sequence[float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The box in whole pixels, inside a frame of `size` (width, height), at least 2 pixels wide and high."""
    x0, y0, x1, y1 = (round(side) for side in box)
    x0, y0 = min(max(x0, 0), size[0] - 2), min(max(y0, 0), size[1] - 2)
    return x0, y0, min(max(x1, x0 + 2), size[0]), min(max(y1, y0 + 2), size[1])


class FaceFinder:
    """Decided faces for any span of one source. Keeps the networks of one config loaded; cheap to build."""

    def __init__(self, plan: FacePlan) -> None:
        self.plan = plan
        self.tracker = None if plan.track is None else Tracker(plan.track)
        self.active = None if plan.voices is None or plan.track is None else ActiveFaces(plan.voices)
        self._landmarker = make_landmarker(plan.landmarks)
        self._choices = [one.choice for one in plan.wanted]
        self._references = [
            None if one.reference is None else np.array(one.reference, np.float32) for one in plan.wanted
        ]

    def see(self, reader: FrameReader, span: Span, n_frames: int) -> Seen:
        """Faces over the source frames `span`, which must lie in 0..n_frames: one track per wanted face, or all faces
        for the choice `all`. Decisions depend on the source alone, not on the span. Raises InputError from reading,
        DependencyError for absent models."""
        around = Span(max(0, span.start - self.plan.halo), min(n_frames, span.stop + self.plan.halo))
        if self.tracker is None:
            return self._boxed(reader, span, around)
        if self.active is None:
            raw = self.tracker.raw_tracks(reader, self._cache(), around, n_frames)
            return self._decided(raw, span, self._choices, self._references)
        wide = self.active.reach(around, n_frames)
        raw = self.tracker.raw_tracks(reader, self._cache(), wide, n_frames)
        raw = cut_out(self.active.scored(reader, raw, around, n_frames), around)
        return self._decided(raw, span, self._choices, self._references)

    def _cache(self) -> TrackCache | None:
        return TrackCache(Store(self.plan.work_dir), self.plan.track_key) if self.plan.work_dir else None

    def _decided(
        self, raw: RawTracks, span: Span, choices: Sequence[FaceChoice], references: Sequence[F32 | None]
    ) -> Seen:
        tracks = decide(
            raw,
            span,
            choices,
            no_face=self.plan.no_face,
            smooth=self.plan.smooth,
            references=references,
            rate=None if self.plan.voices is None else self.plan.voices.rate,
        )
        return Seen(span, tracks, raw.cut[span.start - raw.span.start : span.stop - raw.span.start])

    def see_apart(self, reader: FrameReader, span: Span, n_frames: int, voice: int = 0) -> Seen:
        """As see(), all faces that a voice may move, from the frames of the span alone: decisions near its ends may be
        others than among all frames, and nothing around it is read. Whoever may speak is among them. For samples."""
        if self.tracker is None:
            return self._boxed(reader, span, span)
        raw = self.tracker.raw_tracks(reader, self._cache(), span, n_frames)
        choice = self.plan.wanted[voice].choice
        everybody = choice.kind in ("all", "active")
        return self._decided(raw, span, [_ALL if everybody else choice], [self._references[voice]])

    def one(self, frame: Frame, voice: int = 0) -> tuple[F32, F32] | None:
        """(box (4,), landmarks (68, 2)) of the wanted face of a voice, in one frame, without tracking; None without
        one. For sampling; with face=all or active it is the largest."""
        if self.tracker is None:
            assert self.plan.box is not None
            box = np.array(self.plan.box, np.float32)
            return box, self._landmarker.inside(frame, np.ascontiguousarray(frame.y), box)
        raw = self.tracker.faces_of(frame)
        if not len(raw.frame):
            return None
        row = choose_one(raw, self.plan.wanted[voice].choice, self._references[voice])
        return None if row is None else (raw.box[row], raw.landmarks[row])

    def _boxed(self, reader: FrameReader, span: Span, around: Span) -> Seen:
        """One face, always there, in the constant box; landmarks fitted on every frame."""
        assert self.plan.box is not None
        box = np.array(self.plan.box, np.float32)
        marks, cuts, looks, identities, shots = [], [], [], [], Shots()
        # The last frame that is asked who it shows may lie before all that decide the rest.
        asked = span.start // PEOPLE_EVERY * PEOPLE_EVERY if self.plan.people else around.start
        who = np.zeros(128 if self.plan.people else 0, np.float32)
        for frame in reader.frames(max(0, min(asked, around.start) - Shots.LOOK_BACK), around.stop):
            beat("track")
            luma = np.ascontiguousarray(frame.y)
            _, begins = shots.next(luma)
            if self.plan.people and asked <= frame.index < span.stop:
                who = self._who(frame, luma, box) if begins or frame.index % PEOPLE_EVERY == 0 else who
            if span.start <= frame.index < span.stop:
                identities.append(who)
            if frame.index >= around.start:
                marks.append(self._landmarker.inside(frame, luma, box))
                cuts.append(begins)
                looks.append(look_of(frame, marks[-1]))
        raw, cut = np.stack(marks), np.array(cuts, np.bool_)
        points = _averaged(raw, cut) if self.plan.smooth else raw
        inside = slice(span.start - around.start, span.stop - around.start)
        n = len(span)
        track = FaceTrack(
            span=span,
            present=np.ones(n, np.bool_),
            box=np.repeat(box[None], n, axis=0),
            landmarks=points[inside],
            lips_open=_states(points, cut, self.plan.landmarks.name)[inside],
            held=np.zeros(n, np.bool_),
            look=np.stack(looks)[inside],
            identity=np.stack(identities),
        )
        return Seen(span, [track], cut[inside])

    def _who(self, frame: Frame, luma: U8, box: F32) -> F32:
        """(128,) embedding of the face in the box; zeros where its landmarks have left the frame."""
        marks = self._landmarker.inside(frame, luma, box)
        middle = marks.mean(axis=0)
        there = bool(((middle >= 0) & (middle < frame.size)).all())
        return embedding(frame, marks) if there else np.zeros(128, np.float32)


def _averaged(points: F32, cut: Bools) -> F32:
    """Mean over ±_SMOOTH frames of the same shot, added in a fixed order."""
    shots = np.cumsum(cut, dtype=np.int64)
    total, count = np.zeros(points.shape, np.float64), np.zeros(len(points))
    for to, of, same in neighbours(shots, _SMOOTH):
        total[to] += np.where(same[:, None, None], points[of], 0.0)
        count[to] += same
    return np.asarray(total / count[:, None, None], np.float32)


def _states(points: F32, cut: Bools, by: LandmarksName) -> Bools:
    """Lip state per frame, shot by shot."""
    edges = [0, *(int(at) for at in np.flatnonzero(cut) if at > 0), len(points)]
    return np.concatenate([lips_open(points[a:b], by) for a, b in itertools.pairwise(edges)])
