"""Small clips for end-to-end tests, made from the public-domain sample in examples/demo."""

from __future__ import annotations

import wave
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

SAMPLE = Path(__file__).resolve().parents[2] / "examples" / "demo"


def make_clip(
    path: Path, seconds: float = 1.0, rate: Fraction = Fraction(25), side: int = 256, faceless: range = range(0)
) -> Path:
    """The portrait drifting a little; frames numbered in `faceless` show a plain wall instead."""
    portrait = cv2.imread(str(SAMPLE / "portrait.png"))
    assert portrait is not None
    portrait = cv2.resize(portrait, (side + 16, side + 16), interpolation=cv2.INTER_AREA)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "20", "preset": "ultrafast"}
        for index in range(round(seconds * rate)):
            shift = index % 16
            picture = np.ascontiguousarray(portrait[shift : shift + side, 8 : 8 + side])
            if index in faceless:
                picture = np.full_like(picture, 90)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode(None))
    return path


def make_speech(path: Path, seconds: float = 1.0, start: float = 1.0, language: str = "en") -> Path:
    """A piece of the sample's speech as a 16 kHz WAV."""
    from raydub.media.audio import decode_speech

    samples = decode_speech(str(SAMPLE / f"speech_{language}.flac"))
    piece = samples[round(16000 * start) : round(16000 * (start + seconds))]
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16000)
        out.writeframes((np.clip(piece, -1, 1) * 32767).astype(np.int16).tobytes())
    return path
