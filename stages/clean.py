"""Tools beside dubbing: extract images from a video, and remove frames without a face from a video or a folder of
images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from raydub.arrays import Bools
from raydub.errors import Code, InputError, StageError, UsageError
from raydub.files import discard, publish, temp_beside, write_atomic
from raydub.media.frames import Frame, open_frames
from raydub.media.info import VideoInfo
from raydub.media.marked import marked
from raydub.media.mux import assemble
from raydub.media.probe import probe_video
from raydub.media.writer import PartWriter, count_frames
from raydub.media.yuv import to_bgr
from raydub.stages.faces import FaceFinder, FacePlan, WantedFace
from raydub.stages.track.config import FaceChoice, TrackConfig
from raydub.stages.types import Span

PICTURES = ("png", "jpg")
VIDEOS = (".mp4", ".mov", ".mkv")
_WINDOW = 300
_JPEG_QUALITY = 95


def extract_frames(
    video: str, output: str, *, start: int = 0, stop: int | None = None, every: int = 1, form: str = "png"
) -> int:
    """Write the frames start, start + every, .. (before stop, or to the end) of a video, image or folder of images
    into the folder `output`, as 000123.png or .jpg named by frame number; returns how many.

    Raises UsageError FIELD_VALUE for an unknown format or an invalid range, InputError for the video, StageError
    STORAGE or DISK_FULL.
    """
    info = probe_video(video)
    last = info.n_frames if stop is None else stop
    if form not in PICTURES:
        raise UsageError(Code.FIELD_VALUE, f"unknown image format {form!r}", hint=f"one of {', '.join(PICTURES)}")
    if not 0 <= start < last <= info.n_frames or every < 1:
        message = f"frames {start} to {last}, every {every}, of a video of {info.n_frames} frames"
        raise UsageError(Code.FIELD_VALUE, message, hint="0 <= start < stop <= number of frames, every >= 1")
    found = 0
    with open_frames(info) as reader:
        # Adjacent frames are read in one run: a seek for every frame would decode most of them several times.
        for frame in reader.frames(start, last) if every < 50 else reader.frames_at(range(start, last, every)):
            if (frame.index - start) % every == 0:
                _write_picture(Path(output), frame, form)
                found += 1
    return found


def clean_frames(video: str, output: str, *, detector: str = "auto") -> dict[str, int]:
    """Write `video` (file or folder of images) without the frames in which no face is seen: as a video where `output`
    ends in .mp4, .mov or .mkv, else as PNG pictures into that folder. The sound is left out.

    Returns {"frames": of the source, "kept", "removed"}. Raises InputError for the video and FACE_NONE when nothing
    would be left, DependencyError for an absent detector, StageError for the output.
    """
    info = probe_video(video)
    everybody = WantedFace(choice=FaceChoice(kind="all"))
    faces = FacePlan(wanted=(everybody,), track=TrackConfig.plan(FaceChoice(), detector))
    kept = 0
    if Path(output).suffix.lower() not in VIDEOS:
        for frame in _with_faces(info, faces):
            _write_picture(Path(output), frame, "png")
            kept += 1
    else:
        kept = _write_video(info, faces, output)
    if not kept:
        raise InputError(Code.FACE_NONE, f"no frame of {video} shows a face", hint="try another detector")
    return {"frames": info.n_frames, "kept": kept, "removed": info.n_frames - kept}


def _with_faces(info: VideoInfo, faces: FacePlan) -> Iterator[Frame]:
    """The frames with a face, in order; each window of frames is searched first, then read again."""
    finder = FaceFinder(faces)
    with open_frames(info) as looking, open_frames(info) as reading:
        for start in range(0, info.n_frames, _WINDOW):
            span = Span(start, min(start + _WINDOW, info.n_frames))
            tracks = finder.see(looking, span, info.n_frames).tracks
            present: Bools = np.logical_or.reduce([track.present for track in tracks])
            if present.any():
                for frame in reading.frames(*span):
                    if present[frame.index - start]:
                        yield frame


def _write_video(info: VideoInfo, faces: FacePlan, output: str) -> int:
    """Encode the kept frames at the source's rate; returns their number. Nothing is published when there are none."""
    part, temp = temp_beside(f"{output}.mp4"), temp_beside(output)
    try:
        with PartWriter(part, (info.width, info.height), info.rate, info.colour, info.sample_aspect) as writer:
            for frame in _with_faces(info, faces):
                writer.write(frame)
            kept = writer.close()
        if kept:
            assemble([part], [kept], info.rate, temp, None, {})
            found = count_frames(temp)
            if found != kept:
                raise StageError(Code.VERIFY_FAILED, f"{output} should have {kept} frames but has {found}")
            publish(temp, output)
    finally:
        discard(part)
        discard(temp)
    return kept


def _write_picture(folder: Path, frame: Frame, form: str) -> None:
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if form == "jpg" else []
    written, data = cv2.imencode(f".{form}", to_bgr(frame), options)
    if not written:
        raise StageError(Code.ENCODE_FAILED, f"frame {frame.index} cannot be written as {form}")
    write_atomic(folder / f"{frame.index:06d}.{form}", marked(data.tobytes()))
