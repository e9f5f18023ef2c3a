"""Decoding speech to samples."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import av
import av.error
import numpy as np
import numpy.typing as npt

from media.info import ProbeLimits
from media.opening import open_input, unreadable
from media.probe import probe_speech
from media.sound import regrouped
from raydub.errors import Code, InputError

F32 = npt.NDArray[np.float32]

BLOCK_SAMPLES = 1 << 18
"""Samples that speech_blocks() gives at once: 16 s at 16 kHz, 1 MiB."""

SILENCE_PEAK = 10 ** (-70 / 20)
"""Speech whose loudest sample lies below this (-70 dBFS) is silent."""

# Containers whose stated length is counted, not estimated: fewer samples than that means damage.
_EXACT_LENGTH = {"flac", "wav", "w64", "aiff", "caf", "mov", "matroska"}
_MAY_LACK_SECONDS = 0.25


def decode_speech(path: str, sample_rate: int = 16000, limits: ProbeLimits = ProbeLimits()) -> F32:  # noqa: B008
    """The first audio stream of a sound or video file as (n,) float32 mono samples in [-1, 1] at `sample_rate` Hz.

    Time 0 is the stream's first sample. Any format, rate and channel count that libav decodes; channels are averaged
    (without the subwoofer's). It is all in memory: 230 MB an hour at 16 kHz; speech_blocks() is for any length.
    Raises InputError: INPUT_MISSING, INPUT_EMPTY, INPUT_UNREADABLE, INPUT_FORMAT, INPUT_PLAYLIST, INPUT_TRUNCATED,
    INPUT_LIMIT, SPEECH_NO_STREAM, SPEECH_EMPTY (no samples), SPEECH_SILENT (nothing above -70 dBFS).
    """
    return np.concatenate(list(speech_blocks(path, sample_rate, limits)))


def speech_blocks(
    path: str,
    sample_rate: int = 16000,
    limits: ProbeLimits = ProbeLimits(),  # noqa: B008 (frozen)
) -> Iterator[F32]:
    """The samples of decode_speech() in order, in blocks of BLOCK_SAMPLES (the last one shorter), at flat memory.

    Raises what decode_speech() raises; SPEECH_SILENT, SPEECH_EMPTY and INPUT_TRUNCATED come after the last block, so
    nothing made of the blocks may be published before the end.
    """
    info = probe_speech(path, limits)
    count, peak = 0, 0.0
    with contextlib.closing(open_input(path, limits, "speech")) as container:
        exact = container.format.name.split(",")[0] in _EXACT_LENGTH
        blocks = regrouped(_resampled(container, sample_rate, limits, path), BLOCK_SAMPLES)
        while (block := _next(blocks, path)) is not None:
            if not np.isfinite(block).all():
                raise InputError(Code.INPUT_UNREADABLE, f"speech {path} has samples that are not numbers")
            count, peak = count + len(block), max(peak, float(np.abs(block).max()))
            yield np.clip(block, -1.0, 1.0)
    if not count:
        raise InputError(Code.SPEECH_EMPTY, f"speech {path} has no samples")
    if exact and count / sample_rate < info.seconds * 0.98 - _MAY_LACK_SECONDS:
        message = f"speech {path} says {info.seconds:.2f} s and holds {count / sample_rate:.2f} s"
        raise InputError(Code.INPUT_TRUNCATED, message)
    if peak < SILENCE_PEAK:
        raise InputError(Code.SPEECH_SILENT, f"speech {path} is silent", hint="its loudest sample is below -70 dBFS")


def _next(blocks: Iterator[F32], path: str) -> F32 | None:
    # Only decoding is guarded: an error of whoever uses the blocks is none of the file's.
    try:
        return next(blocks, None)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise unreadable(path, "speech", error) from error


def _resampled(container: Any, sample_rate: int, limits: ProbeLimits, path: str) -> Iterator[F32]:
    stream = container.streams.audio[0]
    stream.thread_type = "AUTO"
    resampler = av.AudioResampler(format="flt", layout="mono", rate=sample_rate)
    to_float: Any = None
    shape: tuple[int, int] | None = None
    count = 0
    for frame in container.decode(stream):
        if not frame.samples:
            continue
        if shape != (frame.layout.nb_channels, frame.sample_rate):
            if shape is not None and shape[1] != frame.sample_rate:
                raise InputError(Code.INPUT_UNREADABLE, f"speech {path} changes its sample rate on the way")
            shape = (frame.layout.nb_channels, frame.sample_rate)
            to_float = av.AudioResampler(format="fltp", layout=frame.layout, rate=frame.sample_rate)
        for part in to_float.resample(frame):
            mono = av.AudioFrame.from_ndarray(_mean(part), format="flt", layout="mono")
            mono.sample_rate = part.sample_rate
            for ready in resampler.resample(mono):
                block = ready.to_ndarray().reshape(-1).astype(np.float32)
                count += len(block)
                if count > limits.max_seconds * sample_rate:
                    raise InputError(Code.INPUT_LIMIT, f"speech {path} lasts more than {limits.max_seconds:.0f} s")
                yield block
    if shape is not None:
        for ready in resampler.resample(None):
            yield ready.to_ndarray().reshape(-1).astype(np.float32)


def _mean(part: Any) -> F32:
    """(1, n) float32 average of the channels of a planar float frame."""
    planes: F32 = part.to_ndarray()
    names = [channel.name for channel in part.layout.channels]
    if len(names) == len(planes) > 2:
        heard = [plane for plane, name in zip(planes, names, strict=True) if name != "LFE"]
        planes = np.stack(heard) if heard else planes
    return np.ascontiguousarray(planes.mean(axis=0, dtype=np.float32, keepdims=True))
