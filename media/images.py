"""Still images as a source of frames: a folder in natural order, or one file.

Images are turned and mirrored as their own orientation tags say before their size is used; the images of a folder must
agree in size after that.

Images are decoded from memory, never from a path or a named file: to libav a name like `%d.png` is a pattern, and a
name that ends in .jpg selects its pattern reader whatever the file contains.
"""

from __future__ import annotations

import io
import os
import re
from typing import Any

import av
import av.error
import numpy as np

from raydub.arrays import U8
from raydub.errors import Code, InputError
from raydub.media.info import ProbeLimits, Rotation
from raydub.media.opening import check_file, decodable, decoder_pixels, unreadable
from raydub.media.orientation import exif_orientation
from raydub.regular import open_regular

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})
# swscale's numbers: coefficients of BT.601, full range
_BT601, _FULL = 5, 2
_PNG = b"\x89PNG\r\n\x1a\n"
_TEXTS = frozenset({b"zTXt", b"iTXt", b"tEXt", b"iCCP"})
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


def read_image(path: str, limits: ProbeLimits, what: str = "image") -> Any:
    """The first frame of a picture file as av.VideoFrame in rgb24, turned as its orientation tag says (quarter turns
    and mirrors). Raises InputError INPUT_*."""
    frame, (turn, flip) = _decoded(path, limits, what)
    frame = _to_rgb(frame)
    if not turn and not flip:
        return frame
    rgb: U8 = frame.to_ndarray(format="rgb24")
    rgb = np.rot90(rgb[:, ::-1] if flip else rgb, -turn // 90)
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")


def read_upright(path: str, limits: ProbeLimits = ProbeLimits(), what: str = "image") -> U8:  # noqa: B008 (frozen)
    """As read_image, as (H, W, 3) uint8 BGR."""
    bgr: U8 = read_image(path, limits, what).to_ndarray(format="bgr24")
    return bgr


def _decoded(path: str, limits: ProbeLimits, what: str) -> tuple[Any, tuple[Rotation, bool]]:
    """The first frame as stored, and how to turn it."""
    if check_file(path, limits, what) > limits.max_image_bytes:
        raise InputError(Code.INPUT_LIMIT, f"{what} {path} has more than {limits.max_image_bytes} bytes")
    options = {"format_whitelist": _FORMATS, "protocol_whitelist": "file", "max_pixels": decoder_pixels(limits)}
    try:
        with open_regular(path) as stream:
            data = stream.read()
        turned, data = exif_orientation(data), _without_texts(data)
        _check_pixels(path, what, *_stated_size(data), limits)
        try:
            container = av.open(io.BytesIO(data), "r", options=options, metadata_errors="replace")
        except av.error.ArgumentError as error:
            # libavformat answers EINVAL for a format that it knows and that is not on the list.
            raise InputError(Code.INPUT_FORMAT, f"{what} {path} has an unsupported format") from error
        with container:
            context = decodable(container.streams.video[0], path, what).codec_context
            _check_pixels(path, what, context.width, context.height, limits)
            context.options = {"max_pixels": decoder_pixels(limits)}
            for frame in container.decode(video=0):
                _check_pixels(path, what, frame.width, frame.height, limits)
                return frame, turned
    except (av.error.FFmpegError, OSError, IndexError, ValueError) as error:
        raise unreadable(path, what, error) from error
    raise InputError(Code.INPUT_UNREADABLE, f"{what} {path} contains no image")


def _check_pixels(path: str, what: str, width: int, height: int, limits: ProbeLimits) -> None:
    if width * height > limits.max_pixels:
        raise InputError(
            Code.INPUT_LIMIT,
            f"{what} {path} has {width}x{height} pixels, more than {limits.max_pixels}",
            hint="scale it down first",
        )


def _stated_size(data: bytes) -> tuple[int, int]:
    """(width, height) in the header of a PNG, JPEG or BMP, (0, 0) for others. For the error message only: the decoder
    has the same limit, but does not name the reason."""
    if data.startswith(_PNG) and len(data) >= 24:
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if data.startswith(b"BM") and len(data) >= 26:
        return int.from_bytes(data[18:22], "little"), abs(int.from_bytes(data[22:26], "little", signed=True))
    position = 2
    while data.startswith(b"\xff\xd8") and position + 9 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a frame header (ITU-T T.81 B.2.2)
            height, width = data[position + 5 : position + 7], data[position + 7 : position + 9]
            return int.from_bytes(width, "big"), int.from_bytes(height, "big")
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return 0, 0


def _without_texts(data: bytes) -> bytes:
    """A PNG without its text chunks and colour profile, which are not used and which libav would inflate without limit
    (a megabyte can become gigabytes); any other file unchanged."""
    if not data.startswith(_PNG):
        return data
    kept, position = [_PNG], len(_PNG)
    while position + 8 <= len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        if data[position + 4 : position + 8] not in _TEXTS:
            kept.append(data[position:end])
        position = end
    return b"".join(kept)


def _to_rgb(frame: Any) -> Any:
    """Convert with the image's own matrix and range (JFIF: BT.601, full); the output is full-range RGB."""
    if frame.format.is_rgb:
        return frame
    full = frame.format.name.startswith(("yuvj", "gray")) or frame.color_range == _FULL
    matrix = frame.colorspace if frame.colorspace in (1, 5, 9) else _BT601
    return frame.reformat(
        format="rgb24", src_colorspace=matrix, src_color_range=2 if full else 1, dst_color_range=_FULL
    )
