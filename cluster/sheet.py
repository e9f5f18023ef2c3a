"""A before/after contact sheet: frames of the source above those of the output, and their changed part enlarged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from raydub.files import write_atomic
from raydub.media.frames import Frame, open_frames
from raydub.media.marked import marked
from raydub.media.probe import probe_video
from raydub.media.yuv import to_bgr

Image = npt.NDArray[np.uint8]
_TILE = 240
_MARGIN = 4
_CAPTION = 22
_CLEARLY = 24  # of 255


def contact_sheet(before: str, after: str, sources: Sequence[int], frames: Sequence[int], path: Path) -> Path:
    """Write a PNG with one column per pair (frame sources[i] of `before`, frame frames[i] of `after`) and four rows:
    the frame before and after, and the part in which the two differ, before and after. If `after` has another size
    (upscaled), `before` is resized to it. Returns path. Raises InputError for unreadable videos."""
    old, new = _read(before, sources), _read(after, frames)
    height, width = new[0].shape[:2]
    old = [_resized(image, (width, height)) for image in old]
    part = changed_box(old, new)
    columns = []
    for source, frame, one, other in zip(sources, frames, old, new, strict=True):
        tiles = [one, other, _cut(one, part), _cut(other, part)]
        caption = np.full((_CAPTION, _TILE, 3), 255, np.uint8)
        text = f"frame {frame}" if frame == source else f"frame {frame} (of {source})"
        cv2.putText(caption, text, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
        column = np.concatenate([caption, *(_framed(_fit(tile)) for tile in tiles)])
        columns.append(np.pad(column, ((0, 0), (_MARGIN, 0), (0, 0)), constant_values=255))
    sheet = np.concatenate([_labels(columns[0].shape[0]), *columns], axis=1)
    write_atomic(path, marked(cv2.imencode(".png", sheet)[1].tobytes()))
    return path


def changed_box(before: Sequence[Image], after: Sequence[Image]) -> tuple[int, int, int, int]:
    """x0 y0 x1 y1 of the part in which the two sequences differ clearly, with a margin; the whole frame if they do not.
    Compression noise is blurred first."""
    height, width = before[0].shape[:2]
    mask = np.zeros((height, width), bool)
    for one, other in zip(before, after, strict=True):
        difference = cv2.blur(cv2.absdiff(one, other).max(axis=2), (7, 7))
        mask |= difference > _CLEARLY
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return 0, 0, width, height
    x0, x1, y0, y1 = int(columns[0]), int(columns[-1]) + 1, int(rows[0]), int(rows[-1]) + 1
    room = max(x1 - x0, y1 - y0) // 6
    return max(0, x0 - room), max(0, y0 - room), min(width, x1 + room), min(height, y1 + room)


def spread(frames: int, count: int) -> list[int]:
    """`count` frame numbers spread over 0..frames-1, without the ends."""
    return [round((i + 0.5) * frames / count) for i in range(count)] if frames >= count else list(range(frames))


def _read(path: str, frames: Sequence[int]) -> list[Image]:
    info = probe_video(path)
    with open_frames(info) as reader:
        found: dict[int, Frame] = {frame.index: frame for frame in reader.frames_at(sorted(set(frames)))}
    return [to_bgr(found[index]) for index in frames]


def _resized(image: Image, size: tuple[int, int]) -> Image:
    if (image.shape[1], image.shape[0]) == size:
        return image
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def _cut(image: Image, box: tuple[int, int, int, int]) -> Image:
    x0, y0, x1, y1 = box
    return image[max(0, y0) : y1, max(0, x0) : x1]


def _fit(image: Image) -> Image:
    """The image inside a square tile, centred on grey."""
    scale = _TILE / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    tile = np.full((_TILE, _TILE, 3), 128, np.uint8)
    top, left = (_TILE - size[1]) // 2, (_TILE - size[0]) // 2
    tile[top : top + size[1], left : left + size[0]] = small
    return tile


def _framed(tile: Image) -> Image:
    return np.pad(tile, ((0, _MARGIN), (0, 0), (0, 0)), constant_values=255)


def _labels(height: int) -> Image:
    strip = np.full((height, 74, 3), 255, np.uint8)
    for row, text in enumerate(("before", "after", "before", "after")):
        y = _CAPTION + row * (_TILE + _MARGIN) + _TILE // 2
        cv2.putText(strip, text, (6, y), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return strip
