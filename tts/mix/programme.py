"""Mix voices and a bed: levels, ducking, loudness to the target, and true peaks below the ceiling.

No track is held in memory: every step is a pass over blocks. Voices are read twice, to measure them and to write them
as files of their own, from which the mix is rendered as often as its loudness needs; rendering is deterministic.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import numpy as np

from raydub.arrays import F32
from raydub.errors import Code, StageError
from raydub.media.flac import SoundWriter
from raydub.media.info import ProbeLimits
from raydub.media.loudness import SHORTEST_SECONDS, Meter
from raydub.media.sound import BLOCK_FRAMES, sound_blocks
from raydub.tts.mix.duck import Duck, Ducking
from raydub.tts.mix.limiter import Limiter
from raydub.tts.mix.sources import SpeechSource

TARGET_LUFS = -16.0
"""Integrated loudness of a mix by default."""

CEILING_DBTP = -2.0
"""Largest true peak of a mix. Lossy codecs exceed the peaks of their input: measured with speech,
noise and music limited to -1 dBTP at -16 and -13 LUFS, AAC at 160 and 192 kbit/s by up to 0.5 dB, Opus by up to 0.9.
From here both end below -1 dBTP."""

CURVE_RATE = 50
"""Points a second of MixReport.bed_curve."""

_MOST_PASSES = 5
_CLOSE_ENOUGH = 0.1
# Speech at the target loses some tenths of a dB to the limiter. If it takes several dB, the sound is all peaks, and
# more gain would make it worse and hardly louder.
_MOST_LIMITING = 6.0
# The smallest assumed change of loudness per change of gain.
_LEAST_SLOPE = 0.2
_SAME_GAIN = 0.01
# Room for rounding only: these files are intermediate.
_HEARD_PEAK_DB = -0.5


@dataclass(frozen=True)
class Bed:
    """The sound under the speech. path: a sound or video file; origin: seconds on its own clock of the first sample
    used, None for its first one (see media.sound.sound_blocks); mode: "duck" lowers it under speech, "mix" does not."""

    path: str
    origin: Fraction | None = None
    mode: Literal["duck", "mix"] = "duck"


@dataclass(frozen=True, eq=False)
class MixReport:
    """The result. integrated: LUFS, None for silence and for less than 400 ms; true_peak: dBTP; gains in dB, each on
    top of those before it in the chain: of every voice and of the bed (None without one), then gain_db of their sum;
    limited_db: the limiter's deepest cut; passes: renderings until the loudness was right; bed_curve: (n,) float32 dB,
    the ducking alone, 50 times a second; warnings: "W_LOUDNESS: sentence"."""

    integrated: float | None
    true_peak: float
    voice_gains_db: Mapping[str, float]
    bed_gain_db: float | None
    gain_db: float
    limited_db: float
    passes: int
    bed_curve: F32
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Programme:
    """Everything that decides the rendering; voices: files of `total` frames and the gain of each."""

    voices: Mapping[str, tuple[str, float]]
    bed: Bed | None
    bed_gain_db: float
    duck: Duck
    total: int
    rate: int
    channels: int
    limits: ProbeLimits

    def blocks(self) -> Generator[F32]:
        """(n, channels) float32, `total` frames altogether."""
        with contextlib.ExitStack() as stack:
            voices = [
                (stack.enter_context(contextlib.closing(sound_blocks(path, self.rate, 1, limits=self.limits))), gain)
                for path, gain in self.voices.values()
            ]
            bed = stack.enter_context(contextlib.closing(self.bed_blocks()))
            for start in range(0, self.total, BLOCK_FRAMES):
                count = min(BLOCK_FRAMES, self.total - start)
                speech = np.zeros((count, 1), np.float32)
                for blocks, gain in voices:
                    speech += self._whole(next(blocks, None), count) * _factor(gain)
                if self.bed is None:
                    yield np.repeat(speech, self.channels, axis=1)
                    continue
                under = next(bed) * _factor(self.bed_gain_db)
                if self.bed.mode == "duck":
                    under *= self.duck.gain(start, count)[:, None]
                yield speech + under

    def _whole(self, block: F32 | None, count: int) -> F32:
        if block is None or len(block) < count:
            # These files are ours, and they were complete when they were published.
            raise StageError(
                Code.STORAGE,
                f"a voice's file among {[path for path, _ in self.voices.values()]} was changed during the mix",
                hint="run again, and do not let other programs write into the work folder",
                retryable=True,
            )
        return block

    def bed_blocks(self) -> Generator[F32]:
        """The bed as it is, (n, channels), silent after its end, `total` frames altogether; nothing without a bed."""
        if self.bed is None:
            return
        source = sound_blocks(self.bed.path, self.rate, self.channels, self.bed.origin, self.limits)
        with contextlib.closing(source) as blocks:
            for start in range(0, self.total, BLOCK_FRAMES):
                count = min(BLOCK_FRAMES, self.total - start)
                block = next(blocks, np.zeros((0, self.channels), np.float32))[:count]
                yield np.pad(block, ((0, count - len(block)), (0, 0)))

    def curve(self) -> F32:
        """The ducking in dB at CURVE_RATE."""
        points = np.arange(-(-self.total * CURVE_RATE // self.rate)) * self.rate // CURVE_RATE
        curve = np.zeros(len(points), np.float32)
        if self.bed is not None and self.bed.mode == "duck":
            for start in range(0, self.total, BLOCK_FRAMES):
                first, last = np.searchsorted(points, (start, start + BLOCK_FRAMES))
                curve[first:last] = self.duck.decibels(start, BLOCK_FRAMES)[points[first:last] - start]
        return curve


def mix(
    voices: Mapping[str, SpeechSource],
    heard: Mapping[str, str],
    out: str,
    *,
    total: int,
    rate: int,
    channels: int,
    bed: Bed | None = None,
    target: float = TARGET_LUFS,
    ducking: Ducking = Ducking(),  # noqa: B008 (frozen)
    limits: ProbeLimits = ProbeLimits(),  # noqa: B008 (frozen)
) -> MixReport:
    """Mix `voices` (by name) over `bed` into the FLAC file `out` of exactly `total` frames at `rate` Hz in 1 or 2
    `channels`; and write each voice alone, mono, unchanged, to the FLAC file heard[name],
    of exactly `total` samples at `rate`, for the lips. Existing files are replaced atomically.

    Each voice is brought to the target by itself, a bed louder than the target is lowered to it, and the sum is brought
    to the target (LUFS by EBU R 128, within 0.1 LU) with true peaks at -2 dBTP or below, so that lossy encoders stay
    below -1 dBTP. If that is not possible, because it is silent or shorter than 400 ms, or because the limiter would
    have to take more than 6 dB from all of it, the result is as near as possible and the report has a warning.

    Raises InputError INPUT_* for bed and files of speech, StageError TTS_FAILED for utterances, STORAGE, DISK_FULL and
    ENCODE_FAILED.
    """
    if not voices or set(voices) != set(heard) or total <= 0:
        raise ValueError(f"{len(voices)} voices, {len(heard)} files for them, {total} frames")
    gains: dict[str, float] = {}
    files: dict[str, tuple[str, float]] = {}
    warnings: list[str] = []
    for name, source in voices.items():
        gains[name], written, words = _write_voice(name, source, heard[name], total, rate, channels, target)
        files[name] = (heard[name], gains[name] - written)
        warnings += words
    spoken = [interval for source in voices.values() for interval in source.intervals]
    programme = _Programme(files, bed, 0.0, Duck(spoken, rate, ducking), total, rate, channels, limits)
    if bed is not None:
        loudness = _loudness(programme.bed_blocks(), rate, channels)
        lowered = 0.0 if loudness is None else min(target - loudness, 0.0)
        programme = replace(programme, bed_gain_db=lowered)
    made = _to_target(programme, out, target)
    return MixReport(
        integrated=made.integrated,
        true_peak=made.true_peak,
        voice_gains_db=gains,
        bed_gain_db=None if bed is None else programme.bed_gain_db,
        gain_db=made.gain_db,
        limited_db=made.limited_db,
        passes=made.passes,
        bed_curve=programme.curve(),
        warnings=(*warnings, *made.warnings),
    )


def _write_voice(
    name: str, source: SpeechSource, path: str, total: int, rate: int, channels: int, target: float
) -> tuple[float, float, list[str]]:
    """Write a voice alone. Returns the gain in dB that brings it to the target in the mix, the gain with which it was
    written, which is none unless its peaks need one, and warnings. A level by the whole voice would change what the
    lips read of one line whenever another one changes."""
    meter, peak = Meter(rate, 1, peak=False), 0.0
    for block in source.blocks(total):
        peak = max(peak, float(np.abs(block).max()))
        meter.push(block[:, None])
    # In both channels of stereo it has twice the power.
    alone = meter.integrated
    gain = 0.0 if alone is None else target - (alone + 10 * math.log10(channels))
    room = _HEARD_PEAK_DB - 20 * math.log10(peak) if peak > 0 else 0.0
    written = min(0.0, room)
    with SoundWriter(path, rate, 1) as writer:
        for block in source.blocks(total):
            writer.write(block[:, None] * _factor(written))
        writer.publish()
    if alone is None and total >= SHORTEST_SECONDS * rate:
        return gain, written, [f"W_LOUDNESS: voice {name!r} is nowhere louder than -70 LUFS and is left unchanged"]
    return gain, written, []


@dataclass(frozen=True)
class _Made:
    integrated: float | None
    true_peak: float
    limited_db: float
    bare: float | None
    gain_db: float = 0.0
    passes: int = 1
    warnings: tuple[str, ...] = ()


def _to_target(programme: _Programme, out: str, target: float) -> _Made:
    """Render until the loudness is right or no gain can improve it; only the last rendering is published."""
    gain, slope, passes = 0.0, 1.0, 0
    exact = 0.0
    last: tuple[float, float] | None = None
    while True:
        passes += 1
        with SoundWriter(out, programme.rate, programme.channels) as writer:
            # The levels of each voice and the bed are often near enough, so the first rendering uses them, and also
            # measures the loudness without the limiter.
            made = _render(programme, writer, gain, bare=passes == 1)
            if passes == 1 and made.bare is not None:
                exact = target - made.bare
            reached, following = made.integrated, gain
            if reached is not None:
                if last is not None:
                    slope = min(max((reached - last[1]) / (gain - last[0]), _LEAST_SLOPE), 1.0)
                following = min(gain + (target - reached) / slope, exact + _MOST_LIMITING)
                last = (gain, reached)
            right = reached is not None and abs(reached - target) <= _CLOSE_ENOUGH
            if right or passes == _MOST_PASSES or abs(following - gain) < _SAME_GAIN:
                writer.publish()
                break
        gain = following
    words = () if right else (f"W_LOUDNESS: {_why_not(programme, target, reached)}",)
    return replace(made, gain_db=gain, passes=passes, warnings=words)


def _why_not(programme: _Programme, target: float, reached: float | None) -> str:
    if programme.total < SHORTEST_SECONDS * programme.rate:
        return "a sound shorter than 400 ms has no loudness; it is left unchanged"
    if reached is None:
        return "the sound is nowhere louder than -70 LUFS; it is left unchanged"
    return (
        f"{target:g} LUFS is not possible with true peaks below {CEILING_DBTP:g} dBTP, because the sound is all peaks; "
        f"it has {reached:.1f} LUFS. Choose a lower target"
    )


def _render(programme: _Programme, writer: SoundWriter, gain_db: float, *, bare: bool) -> _Made:
    limiter = Limiter(programme.rate, programme.channels, CEILING_DBTP)
    meter = Meter(programme.rate, programme.channels)
    before = Meter(programme.rate, programme.channels, peak=False)
    with contextlib.closing(programme.blocks()) as blocks:
        for block in blocks:
            if bare:
                before.push(block)
            _put(limiter.push(block * _factor(gain_db)), writer, meter)
    _put(limiter.finish(), writer, meter)
    return _Made(meter.integrated, meter.true_peak, limiter.reduction_db, before.integrated if bare else None)


def _put(block: F32, writer: SoundWriter, meter: Meter) -> None:
    if len(block):
        writer.write(block)
        meter.push(block)


def _loudness(blocks: Iterator[F32], rate: int, channels: int) -> float | None:
    meter = Meter(rate, channels, peak=False)
    for block in blocks:
        meter.push(block)
    return meter.integrated


def _factor(decibels: float) -> np.float32:
    return np.float32(10 ** (decibels / 20))
