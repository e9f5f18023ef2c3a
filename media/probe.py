"""Probe an input: collect what the rest of raydub needs to know of it, or refuse it."""

from __future__ import annotations

import contextlib
import os
from fractions import Fraction
from typing import Any

import av
import av.error

from raydub.errors import Code, InputError
from raydub.identity import Cache
from raydub.media.complete import Condition, check_complete, check_header, looks_truncated
from raydub.media.fields import is_interlaced
from raydub.media.hdr import HLG, PQ
from raydub.media.images import IMAGE_SUFFIXES, list_images, read_image
from raydub.media.index import FrameIndex, build_index, first_frame, store_index
from raydub.media.info import Colour, Matrix, ProbeLimits, SpeechInfo, VideoInfo
from raydub.media.numbering import doubts
from raydub.media.opening import check_file, open_input, video_stream
from raydub.media.orientation import orientation
from raydub.media.probe_speech import probe_speech
from raydub.media.watch import Input, Watch, identify_source
from raydub.store import Store

__all__ = ["Colour", "ProbeLimits", "SpeechInfo", "VideoInfo", "probe_speech", "probe_video"]

# Containers with a clock, of which several may lie in one file.
_JOINABLE = ("matroska", "mpeg", "mpegts")
_MATRICES: dict[int, Matrix] = {1: "bt709", 4: "bt601", 5: "bt601", 6: "bt601", 7: "bt601", 9: "bt2020", 10: "bt2020"}


def probe_video(
    path: str,
    limits: ProbeLimits = ProbeLimits(),  # noqa: B008 (frozen)
    images_rate: Fraction = Fraction(25),
    store: Store | None = None,
) -> VideoInfo:
    """Probe a video file, a folder of images or one image.

    images_rate: frames a second for a folder of images or one image (which counts one frame). store: keeps the frame
    index and the file's identity, so that other processes need not read the whole file again.
    Raises InputError: INPUT_MISSING, INPUT_EMPTY, INPUT_UNREADABLE, INPUT_FORMAT, INPUT_PLAYLIST, INPUT_TRUNCATED,
    INPUT_LIMIT, INPUT_CHANGED, VIDEO_NO_STREAM, VIDEO_NO_FRAMES, VIDEO_DIMENSIONS.
    """
    cache = None if store is None else store.identities
    if os.path.isdir(path) or os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES:
        return _probe_images(path, limits, images_rate, cache)
    check_file(path, limits, "video")
    seen = identify_source(path, cache)
    watch = Watch([Input("video", path, seen.sha256, seen.look)])
    check_header(path, limits, "video")
    if looks_truncated(path):
        check_complete(path, "mov", "video")
    with contextlib.closing(open_input(path, limits)) as container:
        pid = container.streams.video[0].id if container.streams.video else None
        condition = check_complete(path, container.format.name, "video", pid)
        stream = video_stream(container, path)
        context = stream.codec_context
        _check_size(path, context.width, context.height, limits)
        stated = container.duration / av.time_base if container.duration else 0.0
        if stated > limits.max_seconds:
            raise InputError(Code.INPUT_LIMIT, f"video {path} lasts {stated:.0f} s, more than {limits.max_seconds:.0f}")
        aspect = stream.sample_aspect_ratio or context.sample_aspect_ratio or Fraction(1)
        has_audio, codec = bool(container.streams.audio), context.name
        kind = container.format.name.split(",")[0]
    frame = first_frame(path, limits)
    _check_size(path, frame.width, frame.height, limits)
    index = build_index(path, frame.pts, limits, condition.frames)
    turn, flip = orientation(frame)
    width, height = frame.width // 2 * 2, frame.height // 2 * 2
    if turn in (90, 270):
        width, height, aspect = height, width, 1 / aspect if aspect else Fraction(1)
    spacing, colour = index.spacing, _colour(frame)
    hdr = colour if colour.transfer in (PQ, HLG) else None
    watch.check()  # everything above was read from the identified file
    return VideoInfo(
        path=path,
        kind="video",
        width=width,
        height=height,
        rate=spacing.rate,
        n_frames=spacing.n_frames,
        duration=float(spacing.n_frames / spacing.rate),
        sample_aspect=aspect if aspect > 0 else Fraction(1),
        rotation=turn,
        flip=flip,
        colour=colour if hdr is None else Colour(primaries=1, transfer=1),
        start_time=_start(index, frame, kind),
        variable_rate=spacing.variable,
        has_audio=has_audio,
        identity=seen.sha256,
        look=seen.look,
        codec=codec,
        index_path=store_index(index, store, seen.sha256) if store is not None else None,
        losses=_losses(condition, index),
        notes=condition.notes + _notes(index, kind),
        hdr=hdr,
        interlaced=is_interlaced(frame),
    )


def _check_size(path: str, width: int, height: int, limits: ProbeLimits) -> None:
    if width < 2 or height < 2:
        raise InputError(Code.VIDEO_DIMENSIONS, f"video {path} has frames of {width}x{height} pixels")
    if width * height > limits.max_pixels:
        raise InputError(
            Code.INPUT_LIMIT, f"video {path} has frames of {width}x{height} pixels, more than {limits.max_pixels}"
        )


def _start(index: FrameIndex, frame: Any, kind: str) -> float:
    if not index.counted:
        return float(int(index.pts[0]) * index.time_base)
    # Restarting time stamps are of no use for counting; the first one still gives the start of the sound.
    return max(0.0, float(frame.pts * frame.time_base)) if kind in _JOINABLE and frame.pts is not None else 0.0


def _notes(index: FrameIndex, kind: str) -> tuple[str, ...]:
    if not index.counted or kind not in _JOINABLE:
        return ()
    rate = f"{float(index.spacing.rate):g}"
    said = "the video's time stamps restart, as in joined files"
    return (f"W_JOINED: {said}; its frames are shown in sequence at {rate} a second",)


def _losses(condition: Condition, index: FrameIndex) -> str:
    found = [condition.losses] if condition.losses else []
    if index.left_out:
        found.append(f"its first {index.left_out} frames cannot be decoded and are left out")
    if index.lost:
        found.append(f"{index.lost} frames are missing between others")
    return "; ".join(found)


def _colour(frame: Any) -> Colour:
    """Tags of the first frame. Untagged YUV, and RGB, is BT.601 below 720 lines and BT.709 from there on; BT.2020 where
    the transfer is PQ or HLG."""
    name = frame.format.name
    usual: Matrix = "bt709" if frame.height >= 720 else "bt601"
    usual = "bt2020" if int(frame.color_trc) in (PQ, HLG) else usual
    matrix = _MATRICES.get(int(frame.colorspace)) or usual
    rgb = frame.format.is_rgb
    full = not rgb and (int(frame.color_range) == 2 or name.startswith("yuvj"))
    return Colour(matrix=matrix, full_range=full, primaries=int(frame.color_primaries), transfer=int(frame.color_trc))


def _probe_images(path: str, limits: ProbeLimits, rate: Fraction, cache: Cache | None) -> VideoInfo:
    files = list_images(path, limits)
    first = read_image(files[0], limits)
    _check_size(path, first.width, first.height, limits)
    seen = identify_source(path, cache)
    lines = first.height // 2 * 2
    return VideoInfo(
        path=path,
        kind="images" if os.path.isdir(path) else "image",
        width=first.width // 2 * 2,
        height=lines,
        rate=rate,
        n_frames=len(files),
        duration=float(len(files) / rate),
        colour=Colour(matrix="bt709" if lines >= 720 else "bt601"),
        identity=seen.sha256,
        look=seen.look,
        codec="images",
        notes=doubts([os.path.basename(file) for file in files]),
    )
