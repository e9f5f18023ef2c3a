"""Wav2Lip's published inference from files to frames, stated a second time: sound file, video file, box and raw weights
in, pasted BGR pictures out.

Written from the paper (Prajwal et al., A Lip Sync Expert Is All You Need, 2020) and the published settings. It shares
no code with models/, media/ or stages/: the mel is that of tests/reference/mel.py, PyAV decodes, cv2 resizes, and the
network is the chain of torch functions in tests/models/reference.py, over the state dict as it was saved.
"""

from __future__ import annotations

import wave
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import torch

from raydub.arrays import Box
from tests.models.reference import State, generator, published_paste
from tests.reference.mel import published as published_mel

Image = np.ndarray
BT601 = (0.299, 0.114)
_BATCH = 8


@dataclass(frozen=True)
class Dubbed:
    """What the published code makes, one row per frame for which there is a whole window of sound.

    mel (80, T); windows (N, 80, 16); floats (N, 96, 96, 3) BGR in [0, 1], the network's own; sources: the N pictures
    before and images: after the paste, BGR uint8."""

    mel: np.ndarray
    windows: np.ndarray
    floats: np.ndarray
    sources: list[Image]
    images: list[Image]


def dub(video: str | Path, sound: str | Path, box: Box, state: State, rate: Fraction) -> Dubbed:
    """box: x0 y0 x1 y1. A video shorter than its speech starts again from its first frame, as published."""
    mel = published_mel(samples_of(sound))
    windows = np.stack(windows_of(mel, float(rate)))
    frames = pictures(video)
    sources = [frames[i % len(frames)] for i in range(len(windows))]
    floats = np.concatenate(
        [
            faces(state, sources[at : at + _BATCH], box, windows[at : at + _BATCH])
            for at in range(0, len(windows), _BATCH)
        ]
    )
    images = [published_paste(image, box, face) for image, face in zip(sources, floats, strict=True)]
    return Dubbed(mel, windows, floats, sources, images)


def samples_of(path: str | Path) -> np.ndarray:
    """A 16 kHz mono WAV of 16 bits as float in [-1, 1)."""
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768


def windows_of(mel: np.ndarray, rate: float) -> list[np.ndarray]:
    """One window of 16 columns a frame, as long as whole ones are left. (The published loop adds one more, the last 16
    columns once again, which is why its videos end early and off their sound.)"""
    found = []
    while (start := int(len(found) * (80.0 / rate))) + 16 <= mel.shape[1]:
        found.append(mel[:, start : start + 16])
    return found


def faces(state: State, images: list[Image], box: Box, windows: np.ndarray) -> np.ndarray:
    """(N, 96, 96, 3) in [0, 1]: the network's answer to each picture and its window."""
    x0, y0, x1, y1 = box
    crops = np.stack([cv2.resize(image[y0:y1, x0:x1], (96, 96)) for image in images])
    masked = crops.copy()
    masked[:, 96 // 2 :] = 0
    both = np.concatenate((masked, crops), axis=3) / 255.0
    pictures = torch.from_numpy(both.transpose(0, 3, 1, 2).astype(np.float32))
    sound = torch.from_numpy(windows[:, None].astype(np.float32))
    return generator(state, sound, pictures).numpy().transpose(0, 2, 3, 1)


def pictures(path: str | Path) -> list[Image]:
    """Every frame of a narrow-range BT.601 4:2:0 video as BGR uint8."""
    with av.open(str(path)) as file:
        return [bgr_of(*planes_in(frame.to_ndarray(format="yuv420p"))) for frame in file.decode(video=0)]


def planes_in(stacked: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Y (h, w), U and V (h/2, w/2) of FFmpeg's layout, one plane below the other."""
    height, width = stacked.shape[0] * 2 // 3, stacked.shape[1]
    u, v = stacked[height:].reshape(2, height // 2, width // 2)
    return stacked[:height], u, v


def bgr_of(y: np.ndarray, u: np.ndarray, v: np.ndarray) -> Image:
    """ITU-T H.273, narrow range; each chroma sample stands for its 2x2 pixels."""
    kr, kb = BT601
    luma = (y.astype(np.float64) - 16) / 219
    cb, cr = ((plane.repeat(2, 0).repeat(2, 1).astype(np.float64) - 128) / 224 for plane in (u, v))
    blue, red = luma + 2 * (1 - kb) * cb, luma + 2 * (1 - kr) * cr
    green = (luma - kb * blue - kr * red) / (1 - kb - kr)
    return np.clip(np.rint(np.stack([blue, green, red], axis=2) * 255), 0, 255).astype(np.uint8)


def ycc_of(image: Image) -> np.ndarray:
    """The way back, unrounded: (3, h, w) float64, Y, Cb and Cr of every pixel."""
    kr, kb = BT601
    blue, green, red = (image[..., k].astype(np.float64) / 255 for k in range(3))
    luma = kr * red + kb * blue + (1 - kr - kb) * green
    cb, cr = (blue - luma) / (2 * (1 - kb)), (red - luma) / (2 * (1 - kr))
    return np.stack([219 * luma + 16, 224 * cb + 128, 224 * cr + 128])
