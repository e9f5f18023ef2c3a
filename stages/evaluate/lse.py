"""LSE-C and LSE-D: SyncNet's confidence and distance, as Wav2Lip's evaluation takes them.

25 frames a second, faces of 224 pixels cropped as in SyncNet's own pipeline, sound of 16 kHz. For each of 31 shifts of
up to 15 frames, the mean over all frames of the distance of the picture's features to the sound's; LSE-D is the least
of these means, LSE-C their median less the least. The crop begins with a box of landmarks instead of S3FD's, so that
figures differ from other programs' in the second digit: compare with the source's.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

import cv2
import numpy as np

from raydub.arrays import F32, F64, U8, Bools
from raydub.media.frames import Frame
from raydub.media.yuv import to_bgr
from raydub.models.mfcc import COLUMNS_PER_SECOND, mfcc
from raydub.stages.evaluate.lse_weights import lse_file

if TYPE_CHECKING:
    from raydub.models.syncnet import SyncNet

RATE = 25
"""Frames a second."""
SHIFTS = 15
"""Frames by which picture and sound are moved against each other, either way."""
WINDOWS = 3
"""Windows of a film that are measured, because a frame takes 0.1 s on a core."""
FEWEST = 25
"""Frames below which nothing is said."""
_SCALE, _EPSILON = 0.4, 1e-6
_SAMPLES, _STEP = 16000, 4
_FRAMES, _SIDE, _COLUMNS = 5, 224, 20
_BATCH = 4


@dataclass(frozen=True)
class Lse:
    """offset: frames by which the picture is late."""

    confidence: float
    distance: float
    offset: int


@functools.lru_cache(maxsize=1)
def network() -> SyncNet | None:
    """The network, None without weights that may be used."""
    found = lse_file()
    if found is None:
        return None
    from raydub.models.syncnet import load_syncnet

    return load_syncnet(*found)


def distances(faces: U8, samples: F32, net: SyncNet) -> F64:
    """(frames, 2 * SHIFTS + 1): of each window of 5 frames to the sound moved by -SHIFTS .. SHIFTS frames, zeros beyond
    its ends. faces: (n, 224, 224, 3) BGR uint8, RATE a second; samples: (k,) at 16 kHz, from the first frame's time."""
    columns = mfcc(samples)
    length = min(len(faces), len(samples) * RATE // _SAMPLES)
    count = min(length - _FRAMES, (columns.shape[1] - _COLUMNS) // _STEP + 1)
    if count < 1:
        return np.zeros((0, 2 * SHIFTS + 1))
    starts = range(0, count, _BATCH)
    batches = [_picture(faces[at : at + _BATCH + _FRAMES - 1], net, min(_BATCH, count - at)) for at in starts]
    shown = np.concatenate(batches)
    heard = np.pad(_sound(columns, net, count), ((SHIFTS, SHIFTS), (0, 0)))
    shifts = range(2 * SHIFTS + 1)
    away = [np.linalg.norm(shown - heard[shift : shift + count] + _EPSILON, axis=1) for shift in shifts]
    return np.stack(away, axis=1)


def lse_of(away: F64) -> Lse | None:
    """From the distances of all windows; None for fewer than FEWEST."""
    if len(away) < FEWEST:
        return None
    mean = away.mean(axis=0)
    best = int(mean.argmin())
    return Lse(float(np.median(mean) - mean[best]), float(mean[best]), SHIFTS - best)


def crops(frames: Iterator[Frame], points: F32, present: Bools, rate: float) -> Iterator[tuple[float, U8]]:
    """(seconds of its first frame, faces (n, 224, 224, 3)) of each run of frames with a face, RATE a second. frames:
    one per row of points (n, 68, 2); one that is due twice comes twice, as where 25 frames are made of 24."""
    run: list[U8] = []
    due = 0
    for row, frame in enumerate(frames):
        after = ceil((row + 1) * RATE / rate - 1e-6)
        if present[row]:
            run += [_crop(frame, points[row])] * (after - due)
        elif len(run) >= FEWEST:
            yield (due - len(run)) / RATE, np.stack(run)
        run, due = run if present[row] else [], after
    if len(run) >= FEWEST:
        yield (due - len(run)) / RATE, np.stack(run)


def _crop(frame: Frame, points: F32) -> U8:
    """(224, 224, 3) BGR: twice the face's size and a little lower, as SyncNet's pipeline crops it; grey beyond."""
    low, high = points.min(axis=0), points.max(axis=0)
    low = low - np.array([0.0, 0.2 * (high[1] - low[1])], np.float32)  # landmarks end at the brows
    size = float((high - low).max()) / 2
    x, y = (low + high) / 2
    side = size * (2 + 2 * _SCALE)
    matrix = np.array([[1, 0, -(x - size * (1 + _SCALE))], [0, 1, -(y - size)]], np.float32) * np.float32(_SIDE / side)
    bgr = to_bgr(frame)
    if side > 1.3 * _SIDE:
        bgr = np.asarray(cv2.GaussianBlur(bgr, (0, 0), 0.4 * side / _SIDE), np.uint8)
    made = cv2.warpAffine(bgr, matrix, (_SIDE, _SIDE), borderMode=cv2.BORDER_CONSTANT, borderValue=(110, 110, 110))
    return np.asarray(made, np.uint8)


def _picture(faces: U8, net: SyncNet, count: int) -> F32:
    import torch

    stacked = np.stack([faces[at : at + _FRAMES] for at in range(count)]).transpose(0, 4, 1, 2, 3)
    with torch.inference_mode():
        return np.asarray(net.picture(torch.from_numpy(stacked.astype(np.float32))).numpy(), np.float32)


def _sound(columns: F32, net: SyncNet, count: int) -> F32:
    import torch

    stacked = np.stack([columns[:, at * _STEP : at * _STEP + _COLUMNS] for at in range(count)])[:, None]
    with torch.inference_mode():
        return np.asarray(net.sound(torch.from_numpy(stacked)).numpy(), np.float32)


assert COLUMNS_PER_SECOND == RATE * _STEP
