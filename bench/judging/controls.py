"""Spoilt films that the judge must tell apart: the source as it is, a mouth that stands still, speech moved in time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from raydub.arrays import F32
from raydub.media.frames import Frame, open_frames
from raydub.media.probe import probe_video
from raydub.media.writer import PartWriter
from raydub.media.yuv import from_bgr, to_bgr
from raydub.stages.evaluate.aligned import Place, turned
from raydub.stages.evaluate.seen import MOUTH, Seen

NAMES = ("source", "frozen", "shifted")
SHIFT_SECONDS = 1.0


def copied(seen: Seen, path: Path) -> Path:
    """The source, encoded as the product does by default: what encoding and measuring alone do."""
    return written(seen, path, lambda frame: frame)


def frozen(seen: Seen, place: Place, path: Path) -> Path:
    """The source with the lower face of one of its frames in every frame: the one whose openness is the median."""
    openness = np.where(seen.present, seen.openness, np.nan)
    middle = int(np.nanargmin(np.abs(openness - np.nanmedian(openness))))
    with open_frames(probe_video(str(seen.path))) as reader:
        [held] = [to_bgr(frame) for frame in reader.frames_at([middle])]
    face = turned(held, place.matrix[middle], place.size)
    edge = soft(place)

    def drawn(frame: Frame) -> Frame:
        if not seen.present[frame.index]:
            return frame
        bgr = to_bgr(frame)
        back = cv2.invertAffineTransform(place.matrix[frame.index])
        alpha = cv2.warpAffine(edge, back, frame.size)[..., None]
        new = cv2.warpAffine(face, back, frame.size)
        mixed = np.rint(bgr + alpha * (new.astype(np.float32) - bgr)).astype(np.uint8)
        return from_bgr(mixed, frame.colour, frame.index)

    return written(seen, path, drawn)


def shifted(samples: F32, rate: int) -> F32:
    """Speech moved round by SHIFT_SECONDS: as long, as loud, at the wrong time."""
    return np.roll(samples, round(SHIFT_SECONDS * rate))


def soft(place: Place) -> F32:
    """(h, w) float32: 1 on mouth and chin of the still face, 0 beyond, with a soft edge."""
    points = place.shape[np.r_[MOUTH, 5:12]]
    mask = np.zeros(place.size[::-1], np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(points).astype(np.int32)), 255)
    size = round(0.2 * place.unit) | 1
    wide = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
    wide[: int(place.shape[31:36, 1].max())] = 0
    return np.asarray(cv2.GaussianBlur(wide.astype(np.float32) / 255, (0, 0), 0.05 * place.unit), np.float32)


def written(seen: Seen, path: Path, drawn: Callable[[Frame], Frame]) -> Path:
    info = probe_video(str(seen.path))
    with open_frames(info) as reader, PartWriter(str(path), seen.size, info.rate, info.colour) as out:
        for frame in reader.frames(0, len(seen)):
            out.write(drawn(frame))
    return path
