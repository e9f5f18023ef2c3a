"""The track stage: from one chunk's output frames to the faces that get a new mouth, with gates and, if the engine
needs them, crops.

Faces, lip states and gates of a frame depend on a fixed number of frames around it (FacePlan.halo, gate.RAMP), all of
which are read here, so a chunk's result does not depend on its borders. If post-processors look beyond the chunk
(JobPlan.around), the faces there are found too, as the neighbouring chunk finds them.
"""

from __future__ import annotations

import itertools
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from raydub.arrays import F32, I64, U8, Bools
from raydub.errors import Code, InputError
from raydub.media.frames import FrameReader
from raydub.stages.crop import CROP, face_crop
from raydub.stages.faces import FaceFinder, Seen, clamp
from raydub.stages.gate import RAMP, gates
from raydub.stages.job_plan import JobPlan, load_plan, load_scope, load_voiced
from raydub.stages.pose import drawable
from raydub.stages.track.landmarks import overlap
from raydub.stages.track.look import LOOK
from raydub.stages.types import Chunk, FaceItems, Span, TrackedChunk

_KEPT_FINDERS = 4
_SAME_FACE = 0.5
"""Boxes with a larger intersection over union are one face."""


@dataclass(frozen=True)
class _Rows:
    """One face over n consecutive output frames."""

    present: Bools
    lips_open: Bools
    box: F32
    landmarks: F32
    look: U8
    identity: F32
    limit: F32


class TrackStage:
    """Runs chunks of any job; keeps the face models of the last few configs loaded. Not for several threads."""

    def __init__(self) -> None:
        self._finders: OrderedDict[str, FaceFinder] = OrderedDict()

    def run(self, chunk: Chunk) -> TrackedChunk:
        """Find, choose and gate the faces of a chunk.

        Raises InputError: INPUT_TRUNCATED, INPUT_UNREADABLE, FACE_MISSING (no_face=fail); StageError STORAGE.
        """
        plan = load_plan(chunk.job_dir)
        start = time.perf_counter()
        shown = plan.chosen(chunk.span)
        wide = Span(max(0, shown.start - RAMP), min(plan.n_frames, shown.stop + RAMP))
        sources = plan.timeline.sources(wide.start, wide.stop)
        inner = slice(chunk.span.start - wide.start, chunk.span.stop - wide.start)
        with plan.open() as reader:
            seen = self._see(plan, reader, sources)
            faces, breaks = _shown(seen, sources)
            self._check(plan, chunk, sources, inner, faces)
            items = _items(plan, wide, shown, sources, faces, breaks)
            seconds = {"track.faces": time.perf_counter() - start}
            if plan.needs_crops:
                start = time.perf_counter()
                items = _with_crops(reader, items)
                seconds["track.crops"] = time.perf_counter() - start
            reader.check()
        nobody = ~np.logical_or.reduce([face.present[inner] for face in faces])
        return TrackedChunk(chunk, items, int(nobody.sum()), seconds)

    def _see(self, plan: JobPlan, reader: FrameReader, sources: I64) -> list[Seen]:
        """Decided faces over all of `sources`, in as few ranges as possible: a chunk may show both ends of the source,
        and what lies between is not read."""
        finder = self._finder(plan)
        wanted = np.unique(sources)
        apart = np.flatnonzero(np.diff(wanted) > 2 * plan.faces.halo + 1)
        starts = [int(wanted[0]), *(int(wanted[at + 1]) for at in apart)]
        stops = [*(int(wanted[at]) + 1 for at in apart), int(wanted[-1]) + 1]
        spans = [Span(a, b) for a, b in zip(starts, stops, strict=True)]
        return [finder.see(reader, span, plan.timeline.n_src) for span in spans]

    def _finder(self, plan: JobPlan) -> FaceFinder:
        key = plan.faces.model_dump_json()
        finder = self._finders.pop(key, None) or FaceFinder(plan.faces)
        self._finders[key] = finder
        while len(self._finders) > _KEPT_FINDERS:
            self._finders.popitem(last=False)
        return finder

    def _check(self, plan: JobPlan, chunk: Chunk, sources: I64, inner: slice, faces: list[_Rows]) -> None:
        if plan.job.options.no_face != "fail":
            return
        there = np.logical_or.reduce([face.present for face in faces])
        missing = np.flatnonzero(~there[inner])
        if len(missing):
            at = chunk.span.start + int(missing[0])
            source = int(sources[inner][missing[0]])
            raise InputError(
                Code.FACE_MISSING,
                f"no face at {float(source / plan.rate):.3f} s of the video (frame {source}, output frame {at})",
                hint="no_face=keep passes such frames through, drop removes them",
                job=chunk.job_id,
                field="no_face",
            )


def _shown(seen: list[Seen], sources: I64) -> tuple[list[_Rows], Bools]:
    """The faces in the order in which the source frames are shown, and (n,) bool: the picture does not continue from
    the frame before (a shot cut, or a jump in the source)."""
    n, count = len(sources), max(len(one.tracks) for one in seen)
    depth = max(track.identity.shape[1] if len(track.identity) else 0 for one in seen for track in one.tracks)
    faces = [
        _Rows(
            np.zeros(n, np.bool_),
            np.zeros(n, np.bool_),
            np.zeros((n, 4), np.float32),
            np.zeros((n, 68, 2), np.float32),
            np.zeros((n, LOOK), np.uint8),
            np.zeros((n, depth), np.float32),
            np.ones(n, np.float32),
        )
        for _ in range(count)
    ]
    before = np.concatenate([sources[:1], sources[:-1]])
    step = np.abs(sources - before)
    breaks = step > 1
    later = np.maximum(sources, before)
    for one in seen:
        rows = np.flatnonzero((sources >= one.span.start) & (sources < one.span.stop))
        at = sources[rows] - one.span.start
        for face, track in zip(faces, one.tracks, strict=False):
            face.present[rows] = track.present[at]
            face.lips_open[rows] = track.lips_open[at]
            face.box[rows] = track.box[at]
            face.landmarks[rows] = track.landmarks[at]
            if len(track.look):
                face.look[rows] = track.look[at]
            if len(track.identity) and depth:
                face.identity[rows] = track.identity[at]
            if len(track.limit):
                face.limit[rows] = track.limit[at]
        next_to = rows[(step[rows] == 1) & (later[rows] < one.span.stop)]
        breaks[next_to] |= one.cut[later[next_to] - one.span.start]
    return faces, np.asarray(breaks, np.bool_)


def _items(plan: JobPlan, wide: Span, shown: Span, sources: I64, faces: list[_Rows], breaks: Bools) -> FaceItems:
    """The faces of the output frames `shown` by (frame, face), without crops: those with an open gate, or all of them
    if a post-processor needs them."""
    options = plan.job.options
    gate = np.stack([_gates(plan, wide, number, face, breaks) for number, face in enumerate(faces)], axis=1)
    boxes = np.stack([one.box for one in faces], axis=1)
    present = np.stack([face.present for face in faces], axis=1)
    if len(plan.voices) > 1:
        gate, present = _one_mouth_each(gate, present, boxes)
    wanted = gate > 0
    if plan.post_every_face:
        wanted |= present
    rows, face = np.nonzero(wanted[shown.start - wide.start : shown.stop - wide.start])
    at = rows + (shown.start - wide.start)
    box = padded(boxes[at, face], plan.size, options.pads if plan.faces.box is None else (0, 0, 0, 0))
    return FaceItems(
        frame=(at + wide.start).astype(np.int32),
        source=sources[at].astype(np.int32),
        face=face.astype(np.int32),
        box=box,
        landmarks=np.stack([one.landmarks for one in faces], axis=1)[at, face],
        gate=gate[at, face].astype(np.float32),
        crops=np.zeros((0, CROP, CROP, 3), np.uint8),
        **(_known(at, face, faces, breaks) if plan.lip_halo else {}),
    )


def _known(at: I64, face: I64, faces: list[_Rows], breaks: Bools) -> dict[str, Any]:
    """What engines that choose mouths want to know of the faces."""
    return {
        "look": np.stack([one.look for one in faces], axis=1)[at, face],
        "identity": np.stack([one.identity for one in faces], axis=1)[at, face],
        "fresh": breaks[at],
    }


def padded(boxes: F32, size: tuple[int, int], pads: tuple[int, int, int, int]) -> F32:
    """Boxes (m, 4) with so many pixels more (top, bottom, left, right), in whole pixels inside a frame of `size`."""
    top, bottom, left, right = pads
    wide = boxes + np.array([-left, -top, right, bottom], np.float32)
    return np.array([clamp(one.tolist(), size) for one in wide], np.float32).reshape(-1, 4)


def _gates(plan: JobPlan, wide: Span, face: int, rows: _Rows, breaks: Bools) -> F32:
    voice = plan.voice_of(face)
    sounds = np.asarray(load_voiced(plan, voice)[wide.start : wide.stop])
    scope = load_scope(plan, voice)
    inside = None if scope is None else np.asarray(scope[wide.start : wide.stop])
    # In a constant box the user says that there is a face, and landmarks may be wrong.
    limit = rows.limit
    if plan.faces.box is None:
        limit = np.minimum(limit, drawable(rows.landmarks, upright=plan.needs_crops))
    return gates(rows.present, rows.lips_open, sounds, plan.job.options.masking, breaks, scope=inside, limit=limit)


def _one_mouth_each(gate: F32, present: Bools, boxes: F32) -> tuple[F32, Bools]:
    """Gates and presence (n, faces) in which two voices never have the same face in the same frame: `left` and `right`
    are one face if only one is visible; the voice that speaks gets it, or else the first."""
    gate, present = gate.copy(), present.copy()
    for first, second in itertools.combinations(range(gate.shape[1]), 2):
        both = np.flatnonzero(present[:, first] & present[:, second])
        same = np.array([overlap(boxes[at, first], boxes[at, second]) > _SAME_FACE for at in both], np.bool_)
        for at in both[same]:
            loser = first if gate[at, second] > gate[at, first] else second
            gate[at, loser], present[at, loser] = 0.0, False
    return gate, present


def _with_crops(reader: FrameReader, items: FaceItems) -> FaceItems:
    """The items with their crops, where their gate is open: one pass over the source frames that have any."""
    crops = np.zeros((len(items), CROP, CROP, 3), np.uint8)
    rows: dict[int, list[int]] = {}
    for row in np.flatnonzero(items.open).tolist():
        rows.setdefault(int(items.source[row]), []).append(row)
    for frame in reader.frames_at(rows):
        for row in rows[frame.index]:
            crops[row] = face_crop(frame, items.box[row])
    return replace(items, crops=crops)
