"""Prepare clips for training: sound and measured mouth shapes on one clock, cached in a folder.

A cached clip is one .npz per source file, named after the file's digest. Frames have their own presentation times, so
clips of any frame rate, and of varying rate, can be used.

Files are read with PyAV directly, not through media/: models may not import media, and training needs the true times of
frames rather than a constant rate. Nothing here runs when a video is dubbed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import av
import cv2
import numpy as np

from raydub.arrays import F32, F64, U8, Bools
from raydub.errors import Code, InputError
from raydub.models.mouth.train.mesh import MeshReader
from raydub.models.mouth.train.shapes import ShapeReader

# Media containers only, no playlists.
_LOCAL = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,mxf,wav,flac,mp3,ogg",
}

RATE = 16000
Landmarks = Literal["mesh", "dlib"]
"""mesh: MediaPipe's face mesh, what the included weights learned from; dlib: its 68 points, not for commercial use."""

_VERSION = 2
_SIDE = 800
"""Frames are reduced to this longer side; more pixels do not improve the landmarks."""


@dataclass(frozen=True)
class Clip:
    """One talking head with its own sound. name: file name; samples: (s,) float32 mono at 16 kHz from time 0;
    times: (n,) float64 seconds of each frame; shape: (n, 2) float32 openness and width in units of |36-45|;
    usable: (n,) bool: a face was found there and is not turned away."""

    name: str
    samples: F32
    times: F64
    shape: F32
    usable: Bools


def prepare_clip(
    path: str | Path, cache: str | Path, landmarks: Landmarks = "mesh", *, max_seconds: float = 60.0
) -> Clip:
    """Measure one clip, or read it from the cache. Raises InputError where it has no picture or no sound,
    DependencyError where the landmarks' files are absent."""
    path, cache = Path(path), Path(cache)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:24]
    kept = cache / f"{digest}.{landmarks}.v{_VERSION}.npz"
    if kept.is_file():
        with np.load(kept, allow_pickle=False) as stored:
            return Clip(name=path.name, **{f.name: stored[f.name] for f in fields(Clip) if f.name != "name"})
    clip = _measure(path, landmarks, max_seconds)
    cache.mkdir(parents=True, exist_ok=True)
    draft = kept.with_suffix(f".{os.getpid()}.npz")
    np.savez(draft, samples=clip.samples, times=clip.times, shape=clip.shape, usable=clip.usable)
    os.replace(draft, kept)
    return clip


def prepare_clips(
    paths: list[Path],
    cache: str | Path,
    on_clip: Callable[[str, str], None] | None = None,
    landmarks: Landmarks = "mesh",
) -> tuple[list[Clip], dict[str, str]]:
    """The usable clips, and name → reason for the others. `on_clip(name, outcome)` is called after each."""
    clips, refused = [], {}
    for path in paths:
        try:
            clip = prepare_clip(path, cache, landmarks)
        except (InputError, av.FFmpegError) as error:
            refused[path.name] = error.message if isinstance(error, InputError) else str(error)
        else:
            clips.append(clip)
        if on_clip is not None:
            on_clip(path.name, refused.get(path.name, "ready"))
    return clips, refused


def _measure(path: Path, landmarks: Landmarks, max_seconds: float) -> Clip:
    samples = read_sound(path, max_seconds)
    reader = MeshReader() if landmarks == "mesh" else ShapeReader()
    times: list[float] = []
    with av.open(f"file:{path}", options=_LOCAL) as container:
        if not container.streams.video:
            raise InputError(Code.VIDEO_NO_STREAM, f"{path.name} has no video stream")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for frame in container.decode(stream):
            if frame.time is None:
                continue
            if frame.time > max_seconds:
                break
            times.append(float(frame.time))
            reader.add(_shrunk(frame.to_ndarray(format="bgr24")))
    if not times:
        raise InputError(Code.VIDEO_NO_FRAMES, f"{path.name} has no frames")
    shape, usable = reader.measured()
    return Clip(path.name, samples, np.array(times, np.float64), shape, usable)


def _shrunk(bgr: U8) -> U8:
    scale = _SIDE / max(bgr.shape[:2])
    if scale >= 1:
        return bgr
    return cv2.resize(bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def read_sound(path: str | Path, max_seconds: float = 600.0) -> F32:
    """The sound as (s,) float32 mono at 16 kHz, sample 0 at time 0 of the file's clock (a late start is padded, an
    early one cut). Raises InputError (SPEECH_NO_STREAM, SPEECH_SILENT)."""
    pieces: list[F32] = []
    start: float | None = None
    with av.open(f"file:{path}", options=_LOCAL) as container:
        if not container.streams.audio:
            raise InputError(Code.SPEECH_NO_STREAM, f"{Path(path).name} has no audio stream")
        resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
        for frame in container.decode(container.streams.audio[0]):
            if start is None:
                start = float(frame.time or 0.0)
            frame.pts = None
            pieces += [part.to_ndarray().reshape(-1) for part in resampler.resample(frame)]
            if sum(map(len, pieces)) > max_seconds * RATE:
                break
        pieces += [part.to_ndarray().reshape(-1) for part in resampler.resample(None)]
    sound = np.concatenate(pieces).astype(np.float32) if pieces else np.zeros(0, np.float32)
    shift = round((start or 0.0) * RATE)
    sound = np.concatenate([np.zeros(shift, np.float32), sound]) if shift > 0 else sound[-shift:]
    if not len(sound) or float(np.abs(sound).max()) < 1e-3:
        raise InputError(Code.SPEECH_SILENT, f"{Path(path).name} is silent")
    return sound
