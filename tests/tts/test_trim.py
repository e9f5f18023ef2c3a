"""Where words begin and end: silence goes, soft consonants stay, and something always stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.tts.mix.level import trimmed
from tests.examples import examples
from tests.tts.measuring import F32, babble, read, tone

RATE = 22050
BEFORE, AFTER = 0.010, 0.030
FRAME = 0.010


def padded(sound: F32, before: float, after: float, rate: int = RATE) -> F32:
    silence = [np.zeros(round(seconds * rate), np.float32) for seconds in (before, after)]
    return np.concatenate([silence[0], sound, silence[1]])


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 24000, 48000])
@pytest.mark.parametrize(("before", "after"), [(0.0, 0.0), (0.3, 0.0), (0.0, 0.8), (0.123, 0.457), (5.0, 5.0)])
def test_digital_silence_goes(rate: int, before: float, after: float) -> None:
    sound = padded(tone(0.5, rate), before, after, rate)
    start, stop = (at / rate for at in trimmed(sound, rate))
    assert max(0.0, before - BEFORE - FRAME - 1e-3) <= start <= max(0.0, before - BEFORE + 1e-3)
    end = len(sound) / rate
    assert min(end, before + 0.5 + AFTER - 2e-3) <= stop <= min(end, before + 0.5 + AFTER + FRAME + 2e-3)


def test_a_noise_floor_counts_as_silence() -> None:
    """A vocoder's hiss 55 dB below the speech."""
    speech = babble(1.0, RATE, level=0.1)
    floor = np.random.default_rng(1).normal(0, 0.1 * 10 ** (-55 / 20), 3 * RATE).astype(np.float32)
    floor[RATE : 2 * RATE] += speech
    start, stop = (at / RATE for at in trimmed(floor, RATE))
    assert start == pytest.approx(1.0, abs=0.04)
    assert stop == pytest.approx(2.0, abs=0.06)


@pytest.mark.parametrize("below", [20, 30, 38])
def test_soft_consonants_stay(below: float) -> None:
    """An s before and a breath after the vowels, far below them."""
    hiss = np.random.default_rng(2).normal(0, 0.2 * 10 ** (-below / 20), round(0.12 * RATE)).astype(np.float32)
    sound = padded(np.concatenate([hiss, tone(0.6, RATE, 200, 0.28), hiss]), 0.4, 0.4)
    start, stop = (at / RATE for at in trimmed(sound, RATE))
    assert 0.37 <= start <= 0.4
    assert 0.4 + 0.84 <= stop <= 0.4 + 0.84 + 0.045


def test_one_click_does_not_decide_what_is_loud() -> None:
    """Full scale for a millisecond within soft speech: the rest of it is not silence for that."""
    sound = padded(babble(1.0, RATE, level=0.02), 0.5, 0.5)
    at = round(0.9 * RATE)
    sound[at : at + 22] = 1.0
    start, stop = (at / RATE for at in trimmed(sound, RATE))
    assert start == pytest.approx(0.5, abs=0.05)
    assert stop == pytest.approx(1.5, abs=0.06)


def test_padding_does_not_decide_what_is_loud() -> None:
    sound = tone(0.05, RATE, 300)
    start, stop = trimmed(padded(sound, 20.0, 20.0), RATE)
    assert (stop - start) / RATE < 0.05 + BEFORE + AFTER + 2 * FRAME
    assert start <= 20 * RATE < stop


@pytest.mark.parametrize("count", [0, 1, 100, RATE])
def test_silence_is_left_whole(count: int) -> None:
    assert trimmed(np.zeros(count, np.float32), RATE) == (0, count)


@given(st.integers(1, 3000), st.data(), st.floats(-0.99, 0.99), st.sampled_from([4000, 22050, 96000, 192_000]))
@settings(max_examples=examples(100), deadline=None)
def test_a_single_sample_is_found(count: int, data: st.DataObject, value: float, rate: int) -> None:
    at = data.draw(st.integers(0, count - 1))
    sound = np.zeros(count, np.float32)
    sound[at] = value
    start, stop = trimmed(sound, rate)
    assert 0 <= start < stop <= count
    assert start <= at < stop or abs(value) < 1e-6


@given(st.integers(0, 2**32 - 1), st.integers(1, 20_000), st.floats(1e-4, 1.0))
@settings(max_examples=examples(60), deadline=None)
def test_the_range_is_one_and_a_louder_sound_has_the_same(seed: int, count: int, gain: float) -> None:
    rng = np.random.default_rng(seed)
    steps = np.repeat(10 ** rng.uniform(-4, 0, count // 500 + 1), 500)[:count]
    sound = np.clip(rng.normal(0, 0.3, count) * steps, -1, 1).astype(np.float32)
    start, stop = trimmed(sound, RATE)
    assert 0 <= start < stop <= count
    peak = int(np.argmax(np.abs(sound)))
    assert start <= peak < stop, "what is loudest always stays"
    if gain > 0.1:
        assert trimmed(sound * np.float32(gain), RATE) == (start, stop)


@pytest.mark.media
@pytest.mark.parametrize("name", ["en_lj_01.wav", "en_lj_03.wav", "spanish1.wav", "german1.wav", "japan1.wav"])
def test_real_speech_in_silence(name: str, media_dir: Path) -> None:
    """Twice is once, and padding changes nothing but the place."""
    sound = read(media_dir / "audio" / name, RATE, 1)[:, 0]
    start, stop = trimmed(sound, RATE)
    kept = sound[start:stop]
    gone = np.concatenate([sound[:start], sound[stop:], np.zeros(1, np.float32)])
    loud = np.sqrt(np.percentile(kept.astype(np.float64) ** 2, 90))
    assert np.sqrt(np.mean(gone.astype(np.float64) ** 2)) < loud / 50, "nothing that one hears was cut off"
    again = trimmed(kept, RATE)
    assert again[0] <= 0.012 * RATE
    assert again[1] >= len(kept) - 0.045 * RATE
    far = trimmed(padded(kept, 0.5, 0.9), RATE)
    assert abs(far[0] - again[0] - 0.5 * RATE) <= 0.025 * RATE
    assert abs(far[1] - again[1] - 0.5 * RATE) <= 0.045 * RATE


@pytest.mark.parametrize("text", ["Sixths.", "Fish and chips.", "Hush", "Ah", "pot"])
def test_what_espeak_says_keeps_its_consonants(text: str) -> None:
    pytest.importorskip("espeakng_loader", reason="the extra espeak is not installed")
    from raydub.tts.engines.host import HostedEngine
    from raydub.tts.engines.voices import find_voice

    with HostedEngine("espeak") as engine:
        voice, language = find_voice(engine, "", "en")
        made = engine.synthesise(text, voice, language, 1.0)
    first, last = np.flatnonzero(made.samples)[[0, -1]] / made.rate + 0.5
    start, stop = (at / made.rate for at in trimmed(padded(made.samples, 0.5, 0.7, made.rate), made.rate))
    assert first - BEFORE - FRAME - 1e-3 <= start <= first + 1e-3
    assert last - 1e-3 <= stop <= last + AFTER + FRAME + 1e-3
