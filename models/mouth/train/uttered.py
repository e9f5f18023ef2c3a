"""Training examples without pictures: a speech engine says words and tells when it speaks which phoneme, so closures,
rounding and lip-teeth contact are exact, and there are as many as wanted.

A synthetic voice in a quiet room is not what will be heard, so every utterance gets another voice, pace, pitch and
language, and is then spoilt: room, noise, hum, music, other voices, narrow bands. What the microphone adds is left to
material.distort.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.signal import butter, fftconvolve, resample_poly, sosfilt

from raydub.arrays import F32, Bools
from raydub.models.mel import mel_spectrogram
from raydub.models.mouth.layout import OUTPUTS, SHAPES
from raydub.models.mouth.sounds import COLUMNS, curves_of, sounds_of
from raydub.models.mouth.train.clips import RATE
from raydub.models.mouth.train.material import Lesson
from raydub.models.mouth.train.words import sentence


@dataclass(frozen=True)
class Uttered:
    """One utterance. samples: (n,) float32 mono at 16 kHz; phonemes: (second at which it begins, IPA), "" for a
    pause."""

    samples: F32
    phonemes: tuple[tuple[float, str], ...]


Speak = Callable[[str, str, float], Uttered]
"""(text, voice, speed) → speech. Voices: language tags, with a variant after a plus sign."""

_VARIANTS = (
    "",
    *(f"+{kind}{n}" for kind, most in (("m", 8), ("f", 5)) for n in range(1, most + 1)),
    *(f"+{name}" for name in ("klatt", "klatt2", "klatt4", "croak", "whisper", "Andrea", "belinda", "max", "steph")),
    *(f"+{name}" for name in ("grandpa", "aunty", "Gene", "david", "Annie", "Marco", "linda", "john", "travis")),
)
_PITCHES = ((1, 1), (9, 10), (10, 9), (19, 20), (20, 19), (5, 6), (6, 5), (4, 5))
_VERSION = 1
_LULL = 0.12
"""Seconds after which a pause says nothing: whether a resting mouth is open is learned from pictures."""


def uttered(
    count: int, seed: int, speak: Speak, cache: Path, on_done: Callable[[int], None] | None = None
) -> list[Lesson]:
    """As `utter`, kept in the cache: empty it after a change of the speech engine."""
    kept = cache / f"uttered-{count}-{seed}.v{_VERSION}.npz"
    if kept.is_file():
        with np.load(kept, allow_pickle=False) as stored:
            cuts = np.cumsum(stored["lengths"])[:-1]
            rows = [np.split(stored[name], cuts, axis=1) for name in ("mel", "target", "known")]
        return [Lesson(f"uttered {number}", *parts) for number, parts in enumerate(zip(*rows, strict=True))]
    lessons = utter(count, seed, speak, on_done)
    cache.mkdir(parents=True, exist_ok=True)
    draft = kept.with_suffix(f".{os.getpid()}.npz")
    whole = {
        name: np.concatenate([getattr(one, name) for one in lessons], axis=1) for name in ("mel", "target", "known")
    }
    np.savez(draft, lengths=[one.mel.shape[1] for one in lessons], **whole)
    os.replace(draft, kept)
    return lessons


def utter(count: int, seed: int, speak: Speak, on_done: Callable[[int], None] | None = None) -> list[Lesson]:
    """`count` lessons, the same for the same seed and engine; on_done(number of lessons so far)."""
    rng = np.random.default_rng(seed)
    lessons: list[Lesson] = []
    clean: list[F32] = []
    for number in range(count):
        text, language = sentence(rng)
        said = speak(text, language + str(rng.choice(_VARIANTS)), float(rng.uniform(0.7, 1.35)))
        up, down = _PITCHES[int(rng.integers(len(_PITCHES)))]
        samples = said.samples if up == down else resample_poly(said.samples, up, down).astype(np.float32)
        phonemes = [(at * up / down, phoneme) for at, phoneme in said.phonemes]
        others = [clean[int(rng.integers(len(clean)))] for _ in range(3)] if clean else []
        clean = [*clean[-30:], samples]
        lessons.append(_lesson(f"uttered {number}", spoilt(samples, others, rng), phonemes))
        if on_done is not None:
            on_done(number + 1)
    return lessons


def _lesson(name: str, samples: F32, phonemes: Sequence[tuple[float, str]]) -> Lesson:
    mel = mel_spectrogram(samples)
    columns = mel.shape[1]
    target, known = np.zeros((OUTPUTS, columns), np.float32), np.zeros((OUTPUTS, columns), bool)
    target[SHAPES:] = curves_of(sounds_of(phonemes, len(samples) / RATE), columns)
    known[SHAPES:] = ~_lulls(phonemes, columns) | (target[SHAPES:] > 0)
    return Lesson(name, mel, target, known)


def _lulls(phonemes: Sequence[tuple[float, str]], columns: int) -> Bools:
    """(columns,) bool: in a pause, away from the sounds beside it; and everything before the first and after the
    last."""
    lull = np.ones(columns, bool)
    at = np.arange(columns) / COLUMNS
    stops = [start for start, _ in phonemes[1:]] + [columns / COLUMNS]
    for (start, phoneme), stop in zip(phonemes, stops, strict=True):
        if phoneme:
            lull &= (at < start - _LULL) | (at > stop + _LULL)
    return lull


def spoilt(samples: F32, others: Sequence[F32], rng: np.random.Generator) -> F32:
    """As recorded in a room with something else going on. others: further voices, as long or not. The same length and
    timing as `samples`."""
    out = samples.astype(np.float64)
    n = len(out)
    if rng.random() < 0.6:
        out = _in_a_room(out, rng)
    loud = max(float(np.sqrt(np.mean(out**2))), 1e-4)
    if rng.random() < 0.5:
        breath = rng.normal(size=n) * np.sqrt(np.maximum(_envelope(out), 0))
        out = out + breath * loud * 10 ** (rng.uniform(-30, -12) / 20) / max(float(breath.std()), 1e-6)
    for share, made, low, high in (
        (0.7, _noise, 8, 45),
        (0.2, _music, 3, 30),
        (0.15, lambda n, rng: _babble(n, others, rng), 8, 30),
    ):
        if rng.random() < share:
            added = made(n, rng)
            scale = loud * 10 ** (-rng.uniform(low, high) / 20) / max(float(np.sqrt(np.mean(added**2))), 1e-6)
            out = out + added * scale
    if rng.random() < 0.4:
        out = _narrowed(out, rng)
    if rng.random() < 0.3:
        steps = 2.0 ** rng.integers(7, 11)
        peak = max(float(np.abs(out).max()), 1e-6)
        out = np.round(out / peak * steps) / steps * peak
    return np.asarray(out, np.float32)


def _in_a_room(out: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Early reflections and an exponential tail; what arrives first stays where it was."""
    seconds = rng.uniform(0.08, 0.6)
    length = int(seconds * RATE)
    tail = rng.normal(size=length) * 10 ** (-3 * np.arange(length) / length)
    tail[: int(rng.uniform(0.001, 0.02) * RATE)] = 0
    tail *= 10 ** (rng.uniform(-18, 0) / 20) / max(float(np.sqrt((tail**2).sum())), 1e-6)
    tail[0] = 1.0
    return np.asarray(fftconvolve(out, tail)[: len(out)])


def _envelope(out: np.ndarray) -> np.ndarray:
    frame = RATE // 100
    smooth = np.convolve(out**2, np.ones(frame) / frame, mode="same")
    return np.asarray(smooth)


def _noise(n: int, rng: np.random.Generator) -> np.ndarray:
    """From brown to violet, with slow swells; sometimes hum."""
    spectrum = np.fft.rfft(rng.normal(size=n))
    hertz = np.maximum(np.fft.rfftfreq(n, 1 / RATE), 40)
    noise = np.fft.irfft(spectrum * (hertz / 500) ** rng.uniform(-1.2, 0.4), n)
    noise /= max(float(noise.std()), 1e-9)
    t = np.arange(n) / RATE
    noise *= 1 + rng.uniform(0, 0.8) * np.sin(2 * np.pi * (rng.uniform(0.1, 3) * t + rng.random()))
    if rng.random() < 0.2:
        noise += rng.uniform(0.3, 2) * np.sin(2 * np.pi * float(rng.choice([50, 60, 100, 120])) * t)
    return np.asarray(noise)


def _music(n: int, rng: np.random.Generator) -> np.ndarray:
    """Chords of plucked or held tones."""
    out = np.zeros(n)
    at = 0
    while at < n:
        length = min(int(rng.uniform(0.15, 0.9) * RATE), n - at)
        t = np.arange(length) / RATE
        base = 110 * 2 ** (rng.integers(0, 25) / 12)
        decay = np.exp(-t * rng.uniform(0.5, 8)) * np.minimum(t * 200, 1)
        for step in rng.choice([0, 3, 4, 7, 10, 12], size=3, replace=False):
            for harmonic in range(1, 6):
                hertz = base * 2 ** (step / 12) * harmonic
                if hertz < 7000:
                    out[at : at + length] += decay * np.sin(2 * np.pi * hertz * t) / harmonic ** rng.uniform(0.7, 2)
        at += length
    return out


def _babble(n: int, others: Sequence[F32], rng: np.random.Generator) -> np.ndarray:
    out = 1e-4 * rng.normal(size=n)
    for other in others:
        out += np.resize(np.roll(other, int(rng.integers(len(other)))), n)
    return np.asarray(out)


def _narrowed(out: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A telephone, an old microphone, a codec at a low rate."""
    kind = rng.integers(3)
    if kind == 0:
        sos = butter(4, rng.uniform(3000, 6500), "low", fs=RATE, output="sos")
    elif kind == 1:
        sos = butter(2, rng.uniform(80, 350), "high", fs=RATE, output="sos")
    else:
        sos = butter(3, [rng.uniform(100, 350), rng.uniform(3000, 4000)], "band", fs=RATE, output="sos")
    return np.asarray(sosfilt(sos, out))
