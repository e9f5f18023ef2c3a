"""Synthetic films and sounds for tests: every frame can be told from every other by its content."""

from __future__ import annotations

import wave
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from raydub.media.frames import Frame
from raydub.media.info import Colour


def picture(number: int, width: int = 96, height: int = 64, colour: Colour | None = None) -> Frame:
    """Frame `number`: an 8-block binary code of the number over a moving ramp, so that codecs keep it readable."""
    across = np.arange(width)[None, :] + np.arange(height)[:, None]
    y = (60 + (across + 3 * number) % 60).astype(np.uint8)
    block = width // 12
    for bit in range(12):
        y[: height // 2, bit * block : (bit + 1) * block] = 230 if number >> bit & 1 else 20
    u = np.full((height // 2, width // 2), 100 + number % 50, np.uint8)
    v = np.full((height // 2, width // 2), 150 - number % 50, np.uint8)
    return Frame(number, y, u, v, colour or Colour())


def number_of(frame: Frame) -> int:
    """Read the code of `picture` back."""
    height, width = frame.y.shape
    block = width // 12
    bits = [frame.y[2 : height // 2 - 2, b * block + 2 : (b + 1) * block - 2].mean() > 125 for b in range(12)]
    return sum(1 << bit for bit, one in enumerate(bits) if one)


def film(
    path: Path,
    numbers: Iterable[int],
    rate: Fraction = Fraction(25),
    *,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    size: tuple[int, int] = (96, 64),
    pix_fmt: str = "yuv420p",
    gop: int = 12,
    rotation: int = 0,
    aspect: Fraction | None = None,
) -> Path:
    """Write a film whose frame k shows `picture(numbers[k])`; pts in ticks of time_base when given."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        stream.codec_context.gop_size = gop
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if time_base:
            stream.codec_context.time_base = time_base
        if rotation:
            stream.set_display_rotation(rotation)
        for place, number in enumerate(numbers):
            shown = picture(number, size[0] // 2 * 2, size[1] // 2 * 2)
            planes = np.concatenate([shown.y.ravel(), shown.u.ravel(), shown.v.ravel()])
            raw = av.VideoFrame.from_ndarray(planes.reshape(-1, shown.size[0]), format="yuv420p")
            if pix_fmt != "yuv420p" or shown.size != size:
                raw = raw.reformat(width=size[0], height=size[1], format=pix_fmt)
            raw.pts = pts[place] if pts is not None else place
            raw.time_base = time_base or 1 / rate
            container.mux(stream.encode(raw))
        container.mux(stream.encode(None))
    return path


def sound(path: Path, samples: np.ndarray, rate: int = 16000, codec: str | None = None) -> Path:
    """Write (channels, n) or (n,) float samples as 16-bit WAV, or through `codec` by the path's extension."""
    samples = np.atleast_2d(samples)
    if codec is None:
        with wave.open(str(path), "wb") as stream:
            stream.setnchannels(len(samples))
            stream.setsampwidth(2)
            stream.setframerate(rate)
            stream.writeframes((samples.T * 32767).astype("<i2").tobytes())
        return path
    layout = {1: "mono", 2: "stereo", 3: "3.0", 6: "5.1"}[len(samples)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples, np.float32), format="fltp", layout=layout)
        frame.sample_rate = rate
        resampler = av.AudioResampler(
            format=stream.codec_context.format,
            layout=layout,
            rate=rate,
            frame_size=stream.codec_context.frame_size or 0,
        )
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path


def tone(seconds: float, rate: int = 16000, level: float = 0.5) -> np.ndarray:
    """(n,) a 220 Hz tone."""
    return level * np.sin(2 * np.pi * 220 * np.arange(round(seconds * rate)) / rate)
