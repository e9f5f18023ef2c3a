"""Speech in another time: exact lengths, the same pitch, and neither end lost."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.tts.mix.level import trimmed
from raydub.tts.timing.stretch import FASTEST, SLOWEST, stretch
from tests.examples import examples
from tests.tts.measuring import F32, read, tone

RATE = 24000
FACTORS = (0.8, 0.95, 1.05, 1.15, 1.3, 1.6, 2.0, 2.5, 3.0)


def harmonic(seconds: float, hertz: float = 180.0) -> F32:
    """A voiced sound: eight harmonics, falling off."""
    parts = [tone(seconds, RATE, hertz * k, 0.2 / k) for k in range(1, 9)]
    return np.sum(parts, axis=0, dtype=np.float32)


def strongest(samples: F32, near: float) -> float:
    """Hertz of the strongest line within 30 Hz of `near`."""
    size = 1 << 19
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), size))
    hertz = np.fft.rfftfreq(size, 1 / RATE)
    inside = np.abs(hertz - near) < 30
    return float(hertz[inside][np.argmax(spectrum[inside])])


def rms(samples: F32) -> float:
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))


def envelope(samples: F32, rate: int, points: int) -> F32:
    """How loud it is at `points` places from beginning to end, in dB above a floor."""
    edges = np.linspace(0, len(samples), points + 1).astype(int)
    power = np.array([np.mean(samples[a:b] ** 2) for a, b in itertools.pairwise(edges)])
    return np.maximum(10 * np.log10(power + 1e-12), 10 * np.log10(power.max()) - 40)


@pytest.mark.parametrize("factor", FACTORS)
def test_the_pitch_stays(factor: float) -> None:
    sound = harmonic(1.5)
    made = stretch(sound, RATE, round(len(sound) / factor))
    assert len(made) == round(len(sound) / factor)
    assert made.dtype == np.float32
    for k in (1, 2, 3):
        assert abs(1200 * np.log2(strongest(made, 180.0 * k) / (180.0 * k))) < 3, "cents"
    assert 0.9 < rms(made) / rms(sound) < 1.1


@pytest.mark.parametrize("factor", FACTORS)
def test_neither_end_is_lost(factor: float) -> None:
    """As utterances are after trimming: the first sound comes within 10 ms or so, and the last one lasts to the end."""
    sound = np.concatenate([np.zeros(round(0.004 * RATE), np.float32), harmonic(0.8)])
    made = stretch(sound, RATE, round(len(sound) / factor))
    before, after = (float(np.flatnonzero(np.abs(one) > 0.05)[0]) / RATE for one in (sound, made))
    assert abs(after - before) < 0.002
    tail = round(0.02 * RATE)
    assert rms(made[-tail:]) > 0.6 * rms(sound[-tail:])


def test_a_word_at_the_very_end_is_there() -> None:
    sound = np.zeros(RATE, np.float32)
    sound[-round(0.08 * RATE) :] = harmonic(0.08)
    for factor in FACTORS:
        made = stretch(sound, RATE, round(len(sound) / factor))
        wanted = 0.08 / factor
        loud = np.flatnonzero(np.abs(made) > 0.05) / RATE
        assert len(made) / RATE - loud[-1] < 0.012
        assert loud[-1] - loud[0] > 0.6 * wanted


@given(st.integers(400, 30_000), st.floats(SLOWEST, FASTEST), st.sampled_from([8000, 16000, 22050, 44100, 48000]))
@settings(max_examples=examples(25), deadline=None)
def test_any_length_is_exact(count: int, factor: float, rate: int) -> None:
    length = round(count / factor)
    if not SLOWEST <= count / length <= FASTEST:
        length += 1 if count / length > FASTEST else -1
    sound = (0.3 * np.sin(np.arange(count) * 0.05)).astype(np.float32)
    made = stretch(sound, rate, length)
    assert (len(made), made.dtype) == (length, np.float32)
    assert np.isfinite(made).all()
    assert np.abs(made).max() < 0.45
    assert rms(made) > 0.05
    assert np.array_equal(made, stretch(sound, rate, length)), "the same every time"


def test_its_own_length_is_no_change() -> None:
    sound = harmonic(0.2)
    assert stretch(sound, RATE, len(sound)) is sound


@pytest.mark.parametrize(("count", "length"), [(1000, 0), (1000, -5), (1000, 249), (1000, 2001), (0, 10), (1, 1000)])
def test_what_cannot_be_done_is_refused(count: int, length: int) -> None:
    with pytest.raises(ValueError, match=f"{count} samples cannot be spoken in the time of {length}"):
        stretch(np.full(count, 0.1, np.float32), RATE, length)


def lag(wanted: F32, made: F32, most: int) -> int:
    """By how many samples the beginning of `made` lies behind `wanted` (cross-correlation, up to `most` both ways)."""
    after = np.concatenate([np.zeros(most, np.float32), made[: len(wanted) + most]])
    found = np.correlate(after, wanted, "valid")
    power = np.convolve(after**2, np.ones(len(wanted)), "valid")
    return int(np.argmax(found / np.sqrt(power + 1e-9))) - most


@pytest.mark.parametrize("factor", FACTORS)
def test_a_click_comes_when_it_came(factor: float) -> None:
    """At the lead that trimming leaves."""
    sound = np.zeros(RATE, np.float32)
    sound[240:252] = 0.8
    made = stretch(sound, RATE, round(len(sound) / factor))
    assert abs(lag(sound[:480], made, 480)) <= 0.002 * RATE
    assert np.abs(made).max() > 0.4


@pytest.mark.media
@pytest.mark.parametrize("name", ["en_lj_01.wav", "en_lj_03.wav", "spanish1.wav"])
def test_real_speech_begins_when_it_began(name: str, media_dir: Path) -> None:
    sound = read(media_dir / "audio" / name, RATE, 1)[: 3 * RATE, 0]
    sound = sound[trimmed(sound, RATE)[0] :]
    for factor in (1.05, 1.15, 1.3, 1.6):
        made = stretch(sound, RATE, round(len(sound) / factor))
        assert abs(lag(sound[: round(0.012 * RATE)], made, round(0.02 * RATE))) <= 0.002 * RATE, factor


@pytest.mark.media
@pytest.mark.parametrize("name", ["en_lj_01.wav", "spanish1.wav"])
def test_real_speech_keeps_its_shape(name: str, media_dir: Path) -> None:
    sound = read(media_dir / "audio" / name, RATE, 1)[: 4 * RATE, 0]
    start, stop = trimmed(sound, RATE)
    sound = sound[start:stop]
    for factor in (0.8, 1.15, 1.5, 2.5):
        made = stretch(sound, RATE, round(len(sound) / factor))
        # Points of about 25 ms of what is made: a window of atempo may lie 20 ms beside its place.
        points = int(len(made) / (0.04 * RATE))
        likeness = np.corrcoef(envelope(sound, RATE, points), envelope(made, RATE, points))[0, 1]
        assert likeness > 0.85, (factor, likeness)
        assert 0.8 < rms(made) / rms(sound) < 1.2
