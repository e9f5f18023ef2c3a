"""Stream the sound of any file, at its own or another rate and channel count, on the video's clock.

media.audio decodes speech for the lips: mono, from its first sample. Here sound keeps its position relative to the
video: streams that begin late or early, and gaps between packets, are placed exactly to the sample.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import av.error
import numpy as np

from raydub.arrays import F32
from raydub.errors import Code, InputError
from raydub.media.complete import open_complete
from raydub.media.info import ProbeLimits
from raydub.media.opening import decodable, packets_of, unreadable
from raydub.media.samples import Samples, Stereo, channel_names, mono, packed_frame

BLOCK_FRAMES = 1 << 16
"""Sample frames that sound_blocks() gives at once: 1.4 s at 48 kHz, 512 KiB of stereo."""

_HOLE = Fraction(20, 1000)
"""Seconds by which time stamps may differ from counting samples: containers round them to a millisecond or so."""

_RESTART = 1
"""Time stamps that go back by more seconds count as a restarted clock, not as an overlap."""

_SILENCE_FRAMES = 1 << 16


@dataclass(frozen=True)
class SoundShape:
    """rate: sample frames a second; channels: samples in each."""

    rate: int
    channels: int


def sound_shape(path: str, limits: ProbeLimits = ProbeLimits()) -> SoundShape | None:  # noqa: B008 (frozen)
    """Rate and channels of the first audio stream of a sound or video file, None where it has none.

    Raises InputError: INPUT_MISSING, INPUT_EMPTY, INPUT_UNREADABLE, INPUT_FORMAT, INPUT_PLAYLIST, INPUT_TRUNCATED,
    INPUT_LIMIT.
    """
    with contextlib.closing(open_complete(path, limits, "sound")) as container:
        if not container.streams.audio:
            return None
        context = decodable(container.streams.audio[0], path, "sound").codec_context
        shape = SoundShape(context.sample_rate or 0, len(channel_names(context)))
        _check_shape(path, shape, limits)
        return shape


def sound_blocks(
    path: str,
    rate: int,
    channels: int,
    origin: Fraction | None = None,
    limits: ProbeLimits = ProbeLimits(),  # noqa: B008 (frozen)
    gapless: bool = False,
) -> Generator[F32]:
    """The first audio stream of a file as (n, channels) float32 in blocks of BLOCK_FRAMES (the last one shorter), in
    constant memory. Nominally in [-1, 1]; lossy codecs and down-mixing go beyond, and nothing is cut off here.

    rate: Hz of the blocks; channels: 1 or 2. Mono goes to both sides as it is, stereo is averaged to mono; from more
    channels stereo is made by libav's matrix, or by averaging where libav knows no matrix for the layout.
    origin: seconds on the file's own clock at which the first sample is to stand, such as the time of the first video
    frame: a stream that begins later is preceded by silence, one that begins earlier loses its beginning, both to the
    sample of the file's own rate. None: the stream's first sample is the first.
    Time stamps that leave a hole of more than 20 ms put silence there; those that overlap by as much cut the overlap.
    gapless: ignore time stamps after the first and let the samples follow each other, as media.audio does.

    Raises InputError as sound_shape() does, and SPEECH_NO_STREAM where there is no sound, INPUT_LIMIT where there is
    more than limits.max_seconds of it.
    """
    if channels not in (1, 2):
        raise ValueError(f"{channels} channels: mono and stereo only")
    with contextlib.closing(open_complete(path, limits, "sound")) as container:
        if not container.streams.audio:
            hint = "use a file that has sound, or leave it out"
            raise InputError(Code.SPEECH_NO_STREAM, f"{path} has no audio stream", hint=hint)
        stream = decodable(container.streams.audio[0], path, "sound")
        samples = Samples(channel_names(stream.codec_context))
        pieces = _Pieces(path, channels, limits, samples, gapless)
        blocks = regrouped(_resampled(pieces.placed(container, stream, origin), pieces, rate), BLOCK_FRAMES)
        while (block := next_block(blocks, path, "sound")) is not None:
            yield block


def resample(samples: F32, from_rate: int, to_rate: int) -> F32:
    """(n,) float32 at from_rate Hz as (round(n * to_rate / from_rate),) float32 at to_rate Hz, at the same times: the
    first sample stays at time 0. Libav's windowed sinc. For pieces of seconds: all of it is in memory."""
    count = round(Fraction(len(samples) * to_rate, from_rate))
    if from_rate == to_rate or not count:
        return np.ascontiguousarray(samples[:count], np.float32)
    parts = [block[:, 0] for block in _converted(iter([samples.reshape(-1, 1)]), from_rate, to_rate, 1)]
    ready = np.concatenate(parts)[:count] if parts else np.zeros(0, np.float32)
    return np.pad(ready, (0, count - len(ready)))


def regrouped(blocks: Iterator[F32], frames: int) -> Iterator[F32]:
    """The same sample frames, (n,) or (n, channels) each, in blocks of `frames`, the last one shorter: decoders give a
    few hundred at a time."""
    held: list[F32] = []
    count = 0
    for block in blocks:
        held.append(block)
        count += len(block)
        if count >= frames:
            whole = np.concatenate(held)
            for start in range(0, count - frames + 1, frames):
                yield whole[start : start + frames]
            held = [whole[count - count % frames :].copy()]
            count %= frames
    if count:
        yield np.concatenate(held)


def next_block(blocks: Iterator[F32], path: str, what: str) -> F32 | None:
    """The next block of a file's sound, None at its end. Raises InputError INPUT_UNREADABLE for errors of decoding and
    samples that are not finite."""
    # Errors of decoding only, not of the code that consumes the blocks.
    try:
        block = next(blocks, None)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise unreadable(path, what, error) from error
    if block is not None and not np.isfinite(block).all():
        raise InputError(Code.INPUT_UNREADABLE, f"{what} {path} contains samples that are NaN or infinite")
    return block


def _check_shape(path: str, shape: SoundShape, limits: ProbeLimits) -> None:
    if not limits.min_sample_rate <= shape.rate <= limits.max_sample_rate:
        bounds = f"{limits.min_sample_rate} to {limits.max_sample_rate}"
        raise InputError(Code.INPUT_LIMIT, f"sound {path} has {shape.rate} samples a second, outside {bounds}")
    if not 1 <= shape.channels <= limits.max_channels:
        message = f"sound {path} has {shape.channels} channels, outside 1 to {limits.max_channels}"
        raise InputError(Code.INPUT_LIMIT, message)


class _Pieces:
    """Decoded pieces of one stream in the wanted channels, at the stream's own rate, placed by their time stamps."""

    def __init__(self, path: str, channels: int, limits: ProbeLimits, samples: Samples, gapless: bool) -> None:
        self.rate = 0
        self._gapless = gapless
        self._path = path
        self._channels = channels
        self._limits = limits
        self._samples = samples
        self._names: tuple[str, ...] | None = None
        self._stereo: Stereo | None = None

    def placed(self, container: Any, stream: Any, origin: Fraction | None) -> Iterator[F32]:
        """(n, channels) pieces without holes from `origin` on."""
        written = 0
        expected: int | None = None
        shift = 0
        for frame in (frame for packet in packets_of(container, stream) for frame in packet.decode()):
            if not frame.samples:
                continue
            self._check(frame)
            if origin is None:
                origin = frame.pts * frame.time_base if frame.pts is not None else Fraction(0)
            at = (expected or 0) if frame.pts is None else self._place(frame, origin) + shift
            if expected is not None and (self._gapless or abs(at - expected) <= _HOLE * self.rate):
                at = expected
            elif expected is not None and at < expected - _RESTART * self.rate:
                shift += expected - at
                at = expected
            if at + frame.samples > self._limits.max_seconds * self.rate:
                message = f"sound {self._path} lasts more than {self._limits.max_seconds:.0f} s"
                raise InputError(Code.INPUT_LIMIT, message)
            while written < at:
                silent = min(at - written, _SILENCE_FRAMES)
                written += silent
                yield np.zeros((silent, self._channels), np.float32)
            expected = at + frame.samples
            if expected > written:
                yield self._mixed(frame)[written - at :]
                written = expected

    def _place(self, frame: Any, origin: Fraction) -> int:
        """Samples from `origin` to the frame, to the nearest; in whole numbers, which cost less than fractions."""
        base: Fraction = frame.time_base
        ticks = frame.pts * base.numerator * origin.denominator - origin.numerator * base.denominator
        unit = base.denominator * origin.denominator
        return int((2 * ticks * self.rate + unit) // (2 * unit))

    def _check(self, frame: Any) -> None:
        if self.rate and frame.sample_rate != self.rate:
            raise InputError(
                Code.INPUT_UNREADABLE,
                f"sound {self._path} changes its sample rate",
                hint="convert it to one rate first: ffmpeg -i in -ar 48000 out.wav",
            )
        self.rate = frame.sample_rate
        _check_shape(self._path, SoundShape(self.rate, frame.layout.nb_channels), self._limits)

    def _mixed(self, frame: Any) -> F32:
        block = self._samples.of(frame)
        if self._names != self._samples.names:
            self._names = self._samples.names
            self._stereo = Stereo(self._names, self.rate)
        if self._stereo is not None and self._stereo.known:
            block = self._stereo.of(block)
        if block.shape[1] > 2 or self._channels == 1:
            block = mono(block, self._samples.names)
        return np.repeat(block, self._channels, axis=1) if block.shape[1] < self._channels else block


def _resampled(placed: Iterator[F32], pieces: _Pieces, rate: int) -> Iterator[F32]:
    first = next(placed, None)
    if first is None:
        return
    chained = _chain(first, placed)
    yield from chained if pieces.rate == rate else _converted(chained, pieces.rate, rate, first.shape[1])


def _chain(first: F32, rest: Iterator[F32]) -> Iterator[F32]:
    yield first
    yield from rest


def _converted(blocks: Iterator[F32], from_rate: int, to_rate: int, channels: int) -> Iterator[F32]:
    layout = "mono" if channels == 1 else "stereo"
    resampler = av.AudioResampler(format="flt", layout=layout, rate=to_rate)
    for block in blocks:
        for ready in resampler.resample(packed_frame(block, from_rate, layout)):
            yield _packed(ready, channels)
    for ready in resampler.resample(None):
        yield _packed(ready, channels)


def _packed(frame: Any, channels: int) -> F32:
    """(n, channels) samples of a frame of packed floats."""
    samples: F32 = frame.to_ndarray().reshape(-1, channels)
    return samples
