"""The landmarks of a film, by the product's tracker; what is measured of them is in raydub.stages.evaluate.seen."""

from __future__ import annotations

import inspect
from pathlib import Path

from raydub.media.frames import open_frames
from raydub.media.probe import probe_video
from raydub.stages.evaluate.seen import Seen, joined_of, smoothed
from raydub.stages.track.config import FaceChoice, TrackConfig
from raydub.stages.track.decide import decide
from raydub.stages.track.tracker import Tracker
from raydub.stages.types import Span

LANDMARKS = ("dlib", "mesh")


def see(path: Path, frames: int, landmarks: str = "dlib") -> Seen:
    """The largest face of the first `frames` frames, by the product's tracker without its smoothing."""
    info = probe_video(str(path))
    n = min(frames, info.n_frames)
    choice = FaceChoice()
    with open_frames(info) as reader:
        raw = Tracker(config_of(choice, landmarks)).raw_tracks(reader, None, Span(0, n), n)
    track = decide(raw, Span(0, n), choice, smooth=False)[0]
    joined = joined_of(track.present, raw.cut)
    points = smoothed(track.landmarks, track.present, joined)
    return Seen(path, info.rate, (info.width, info.height), track.present, points, joined)


def config_of(choice: FaceChoice, landmarks: str) -> TrackConfig:
    """The tracker's settings. SystemExit where this raydub has no such landmarks."""
    if "landmarks" in inspect.signature(TrackConfig.plan).parameters:
        return TrackConfig.plan(choice, landmarks=landmarks)
    if landmarks != "dlib":
        raise SystemExit(f"--landmarks {landmarks}: this raydub has dlib's landmarks only")
    return TrackConfig.plan(choice)
