"""Landmarks of a film, as the judge measures them: mouth openness, mouth width, and the still points of the face."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d

from raydub.arrays import F32, F64, Bools
from raydub.media.frames import open_frames
from raydub.media.probe import probe_video
from raydub.stages.track.config import FaceChoice, TrackConfig
from raydub.stages.track.decide import decide
from raydub.stages.track.tracker import Tracker
from raydub.stages.types import Span

LANDMARKS = ("dlib", "mesh")
STILL = np.r_[17:48]
"""Brows, nose and eyes: the points that speech does not move."""
MOUTH = np.r_[48:68]
SMOOTH = 0.8
"""Frames: standard deviation of the smoothing over time. More would hide closures of two frames."""


@dataclass(frozen=True)
class Seen:
    """The main face of the first n frames of a film. present (n,): is it there; points (n, 68, 2) float32, iBUG order,
    pixels of the frame, smoothed by SMOOTH within runs; joined (n,): the frame continues the one before it; size:
    (width, height)."""

    path: Path
    rate: Fraction
    size: tuple[int, int]
    present: Bools
    points: F32
    joined: Bools

    def __len__(self) -> int:
        return len(self.present)

    def first(self, n: int) -> Seen:
        """The first n frames."""
        return replace(self, present=self.present[:n], points=self.points[:n], joined=self.joined[:n])

    @property
    def openness(self) -> F64:
        """(n,) mean distance of the inner lips (61-67, 62-66, 63-65) over that of the outer eye corners (36-45); NaN
        without a face."""
        p = self.points
        gaps = np.linalg.norm(p[:, [61, 62, 63]] - p[:, [67, 66, 65]], axis=2).mean(axis=1)
        return self._by_eyes(gaps)

    @property
    def width(self) -> F64:
        """(n,) distance of the mouth corners (48-54) over that of the outer eye corners; NaN without a face."""
        return self._by_eyes(np.linalg.norm(self.points[:, 48] - self.points[:, 54], axis=1))

    def _by_eyes(self, lengths: F32) -> F64:
        eyes = np.linalg.norm(self.points[:, 36] - self.points[:, 45], axis=1)
        known = self.present & (eyes > 4)
        return np.where(known, lengths / np.where(known, eyes, 1), np.nan).astype(np.float64)


def see(path: Path, frames: int, landmarks: str = "dlib") -> Seen:
    """The largest face of the first `frames` frames, by the product's tracker without its smoothing."""
    info = probe_video(str(path))
    n = min(frames, info.n_frames)
    choice = FaceChoice()
    with open_frames(info) as reader:
        raw = Tracker(config_of(choice, landmarks)).raw_tracks(reader, None, Span(0, n), n)
    track = decide(raw, Span(0, n), choice, smooth=False)[0]
    joined = track.present & ~raw.cut
    joined[1:] &= track.present[:-1]
    joined[0] = False
    points = smoothed(track.landmarks, track.present, joined)
    return Seen(path, info.rate, (info.width, info.height), track.present, points, joined)


def config_of(choice: FaceChoice, landmarks: str) -> TrackConfig:
    """The tracker's settings. SystemExit where this raydub has no such landmarks."""
    if "landmarks" in inspect.signature(TrackConfig.plan).parameters:
        return TrackConfig.plan(choice, landmarks=landmarks)  # type: ignore[call-arg]
    if landmarks != "dlib":
        raise SystemExit(f"--landmarks {landmarks}: this raydub has dlib's landmarks only")
    return TrackConfig.plan(choice)


def smoothed(points: F32, present: Bools, joined: Bools) -> F32:
    """points (n, 68, 2), smoothed over time within each run of joined frames."""
    out = points.copy()
    starts = np.flatnonzero(present & ~joined)
    for start in starts:
        stop = start + 1
        while stop < len(present) and joined[stop]:
            stop += 1
        if stop - start > 1:
            out[start:stop] = gaussian_filter1d(points[start:stop], SMOOTH, axis=0, mode="nearest")
    return out
