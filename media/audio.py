"""Decoding speech to samples."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import av
import numpy as np

from raydub.arrays import F32
from raydub.errors import Code, InputError
from raydub.media.info import ProbeLimits
from raydub.media.opening import open_input, packets_of
from raydub.media.probe import probe_speech
from raydub.media.samples import Samples, channel_names, mono, packed_frame
from raydub.media.sound import next_block, regrouped

BLOCK_SAMPLES = 1 << 18
"""Samples that speech_blocks() gives at once: 16 s at 16 kHz, 1 MiB."""

SILENCE_PEAK = 10 ** (-70 / 20)
"""Speech whose loudest sample lies below this (-70 dBFS) is silent."""

_MAY_LACK_SECONDS = 0.25


def decode_speech(path: str, sample_rate: int = 16000, limits: ProbeLimits = ProbeLimits()) -> F32:  # noqa: B008
    """The first audio stream of a sound or video file as (n,) float32 mono samples in [-1, 1] at `sample_rate` Hz.

    Time 0 is the stream's first sample. Any format, rate and channel count that libav decodes; channels are averaged
    (without the subwoofer's). Takes 230 MB per hour at 16 kHz; speech_blocks() takes any length.
    """
    return np.concatenate(list(speech_blocks(path, sample_rate, limits)))


def speech_blocks(
    path: str,
    sample_rate: int = 16000,
    limits: ProbeLimits = ProbeLimits(),  # noqa: B008 (frozen)
) -> Iterator[F32]:
    """The samples of decode_speech() in order, in blocks of BLOCK_SAMPLES (the last one shorter), in constant memory.

    Raises what decode_speech() raises; SPEECH_SILENT, SPEECH_EMPTY and INPUT_TRUNCATED come after the last block, so
    publish nothing made of the blocks before the end.
    """
    info = probe_speech(path, limits)
    count, peak = 0, 0.0
    with contextlib.closing(open_input(path, limits, "speech")) as container:
        extent = _Extent()
        blocks = regrouped(_resampled(container, sample_rate, limits, path, extent), BLOCK_SAMPLES)
        while (block := next_block(blocks, path, "speech")) is not None:
            count, peak = count + len(block), max(peak, float(np.abs(block).max()))
            yield np.clip(block, -1.0, 1.0)
    if not count:
        raise InputError(Code.SPEECH_EMPTY, f"speech {path} has no samples")
    # A gap between packets has no samples, but counts as duration.
    held = max(count / sample_rate, extent.seconds)
    if info.counted and held < info.seconds * 0.98 - _MAY_LACK_SECONDS:
        message = f"speech {path} should last {info.seconds:.2f} s but contains only {held:.2f} s"
        raise InputError(Code.INPUT_TRUNCATED, message)
    if peak < SILENCE_PEAK:
        raise InputError(Code.SPEECH_SILENT, f"speech {path} is silent", hint="its loudest sample is below -70 dBFS")


@dataclass
class _Extent:
    """seconds: from the first sample to the end of the last one, on the file's clock."""

    seconds: float = 0.0
    _first: float | None = None

    def see(self, frame: Any) -> None:
        if frame.pts is not None:
            at = float(frame.pts * frame.time_base)
            self._first = at if self._first is None else self._first
            self.seconds = max(self.seconds, at - self._first + frame.samples / frame.sample_rate)


def _resampled(container: Any, sample_rate: int, limits: ProbeLimits, path: str, extent: _Extent) -> Iterator[F32]:
    stream = container.streams.audio[0]
    samples = Samples(channel_names(stream.codec_context))
    stream.thread_type = "AUTO"
    resampler: Any = None
    rate = count = 0
    for frame in (frame for packet in packets_of(container, stream) for frame in packet.decode()):
        if not frame.samples:
            continue
        if rate != frame.sample_rate:
            if rate:
                raise InputError(
                    Code.INPUT_UNREADABLE,
                    f"speech {path} changes its sample rate",
                    hint="convert it to one rate first: ffmpeg -i in -ar 48000 out.wav",
                )
            rate = frame.sample_rate
            resampler = av.AudioResampler(format="flt", layout="mono", rate=sample_rate)
        extent.see(frame)
        block = mono(samples.of(frame), samples.names)
        for ready in resampler.resample(packed_frame(block, rate, "mono")):
            heard = ready.to_ndarray().reshape(-1).astype(np.float32)
            count += len(heard)
            if count > limits.max_seconds * sample_rate:
                raise InputError(Code.INPUT_LIMIT, f"speech {path} lasts more than {limits.max_seconds:.0f} s")
            yield heard
    if resampler is not None:
        for ready in resampler.resample(None):
            yield ready.to_ndarray().reshape(-1).astype(np.float32)
