"""Still pictures as a source of frames: a folder in natural order, or one file.

Pictures are decoded from memory, never from a path or a named file: to ffmpeg a name like `%d.png` is a pattern, and a
name that ends in .jpg chooses its pattern reader whatever the file holds.
"""

from __future__ import annotations

import io
import os
import re
from typing import Any

import av
import av.error

from media.info import ProbeLimits
from media.opening import check_file, decodable
from raydub.errors import Code, InputError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})
# swscale's numbers: coefficients of BT.601, full range
_BT601, _FULL = 5, 2
_FORMATS = "png_pipe,jpeg_pipe,bmp_pipe,webp_pipe,tiff_pipe,mjpeg,jpegls_pipe"


def natural_key(name: str) -> tuple[list[object], str]:
    """Sort key under which frame10 comes after frame9."""
    parts: list[object] = [
        (0, int(piece), "") if piece.isdecimal() else (1, 0, piece) for piece in re.split(r"(\d+)", name.casefold())
    ]
    return parts, name


def list_images(path: str, limits: ProbeLimits) -> list[str]:
    """Paths of the pictures in the folder `path` in natural order, or [path]. Hidden and other files are left out."""
    if not os.path.isdir(path):
        return [path]
    names = [
        name
        for name in os.listdir(path)
        if not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES
    ]
    if not names:
        raise InputError(Code.VIDEO_NO_FRAMES, f"folder {path} has no images (png, jpg, bmp, webp, tiff)")
    if len(names) > limits.max_frames:
        raise InputError(Code.INPUT_LIMIT, f"folder {path} has {len(names)} images, more than {limits.max_frames}")
    return [os.path.join(path, name) for name in sorted(names, key=natural_key)]


def read_image(path: str, limits: ProbeLimits) -> Any:
    """The first frame of a picture file as av.VideoFrame in rgb24. Raises InputError INPUT_*."""
    check_file(path, limits, "image")
    try:
        with (
            open(path, "rb") as stream,
            av.open(
                io.BytesIO(stream.read()), "r", options={"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
            ) as container,
        ):
            context = decodable(container.streams.video[0], path, "image").codec_context
            if context.width * context.height > limits.max_pixels:
                raise InputError(
                    Code.INPUT_LIMIT,
                    f"image {path} has {context.width}x{context.height} pixels, more than {limits.max_pixels}",
                )
            for frame in container.decode(video=0):
                return _to_rgb(frame)
    except (av.error.FFmpegError, OSError, IndexError, ValueError) as error:
        raise InputError(Code.INPUT_UNREADABLE, f"image {path} cannot be read: {error}") from error
    raise InputError(Code.INPUT_UNREADABLE, f"image {path} holds no picture")


def _to_rgb(frame: Any) -> Any:
    """A picture keeps its own matrix and range (JFIF: BT.601, full) only up to here; then the job's apply."""
    if frame.format.is_rgb:
        return frame
    full = frame.format.name.startswith(("yuvj", "gray")) or frame.color_range == _FULL
    matrix = frame.colorspace if frame.colorspace in (1, 5, 9) else _BT601
    return frame.reformat(
        format="rgb24", src_colorspace=matrix, src_color_range=2 if full else 1, dst_color_range=_FULL
    )


def image_size(path: str, limits: ProbeLimits) -> tuple[int, int]:
    """(width, height) in pixels of a picture file, by decoding it."""
    frame = read_image(path, limits)
    return frame.width, frame.height
