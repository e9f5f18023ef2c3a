"""Training from a voice without a picture: what it says, how it is spoilt, and what a network learns from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.models.mouth.layout import OUTPUTS, NetworkConfig
from raydub.models.mouth.train.clips import RATE, Clip, prepare_clip
from raydub.models.mouth.train.closures import closure_scores, events, rank_auc
from raydub.models.mouth.train.evaluate import correlation
from raydub.models.mouth.train.fit import FitConfig
from raydub.models.mouth.train.material import lesson_of, lips_of, roughen
from raydub.models.mouth.train.members import articulator_scores, curve_of, train_member
from raydub.models.mouth.train.uttered import Uttered, spoilt, utter, uttered
from raydub.models.mouth.train.words import sentence
from tests.examples import examples

PHONEMES = ("m", "a", "s", "a", "f", "a", "u", "t")
SMALL = NetworkConfig(channels=16, dilations=(1, 2), dropout=0.1, outputs=OUTPUTS)


def speak(text: str, voice: str, speed: float) -> Uttered:
    """Every phoneme is a sound of its own: 0.1 s of a few tones, the vowels louder."""
    rng = np.random.default_rng(len(text))
    length = round(0.1 / speed * RATE)
    t = np.arange(length) / RATE
    tones = {"m": (150, 250), "a": (150, 700, 1300), "s": (5200, 6100), "f": (2500, 3900), "u": (150, 330), "t": ()}
    said, parts = [], []
    for number in range(24):
        phoneme = PHONEMES[int(rng.integers(len(PHONEMES)))]
        said.append((number * length / RATE, phoneme))
        loud = 0.2 if phoneme in "au" else 0.05
        parts.append(sum((loud * np.sin(2 * np.pi * hertz * t) for hertz in tones[phoneme]), np.zeros(length)))
    return Uttered(np.concatenate(parts).astype(np.float32), tuple(said))


@given(st.integers(0, 2**32 - 1))
def test_there_is_always_something_to_say(seed: int) -> None:
    text, language = sentence(np.random.default_rng(seed))
    assert len(text.split()) >= 4
    assert text[-1] in ".?!"
    assert language
    assert sentence(np.random.default_rng(seed)) == (text, language)


def test_every_language_is_one_that_espeak_speaks() -> None:
    pytest.importorskip("espeakng_loader", reason="the extra espeak is not installed")
    from raydub.models.mouth.train import uttered as module
    from raydub.models.mouth.train import words
    from raydub.tts.engines.espeak import Espeak

    engine = Espeak()
    known = {voice.name for voice in engine.voices()}
    assert {*words._WORDS, *words._SYLLABLE_VOICES} <= known
    for variant in module._VARIANTS[1:]:
        assert engine.named("en-us" + variant) is not None


@settings(max_examples=examples(12), deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_spoilt_speech_keeps_its_timing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    clean = np.zeros(RATE, np.float32)
    clean[6000:7600] = 0.3 * np.sin(2 * np.pi * 800 * np.arange(1600) / RATE)
    made = spoilt(clean, [clean[::-1].copy()], rng)
    assert made.shape == clean.shape
    assert made.dtype == np.float32
    assert np.isfinite(made).all()
    power = np.convolve(made.astype(np.float64) ** 2, np.ones(1600), "valid")
    assert abs(int(power.argmax()) - 6000) < 500


def test_lessons_say_when_lips_touch(tmp_path: Path) -> None:
    lessons = utter(6, 3, speak)
    for lesson in lessons:
        assert lesson.target.shape == lesson.known.shape == (OUTPUTS, lesson.mel.shape[1])
        assert not lesson.known[:2].any()
        assert lesson.known[2:].mean() > 0.9
    assert sum(float((lesson.target[2] > 0.5).mean()) for lesson in lessons) > 0.2
    again, other = utter(6, 3, speak), utter(6, 4, speak)
    assert all((a.mel == b.mel).all() and (a.target == b.target).all() for a, b in zip(lessons, again, strict=True))
    assert any(a.mel.shape != b.mel.shape or (a.mel != b.mel).any() for a, b in zip(lessons, other, strict=True))

    def silent(text: str, voice: str, speed: float) -> Uttered:
        raise AssertionError("it was to be read from the cache")

    kept = [uttered(6, 3, each, tmp_path) for each in (speak, silent)]
    for a, b, c in zip(lessons, *kept, strict=True):
        for name in ("mel", "target", "known"):
            assert (getattr(a, name) == getattr(b, name)).all()
            assert (getattr(a, name) == getattr(c, name)).all()


def test_roughening_keeps_the_range() -> None:
    mel = utter(1, 0, speak)[0].mel
    rough = roughen(mel, np.random.default_rng(0))
    assert rough.min() >= -4
    assert rough.max() <= 4
    assert (rough != mel).any()


def touching_clip(seed: int) -> Clip:
    """A mouth that is open in vowels, closed in m, and something between elsewhere."""
    said = speak("x" * seed, "", 1.0)
    times = np.arange(int(len(said.samples) / RATE * 25)) / 25
    at = np.minimum(np.searchsorted([start for start, _ in said.phonemes], times, "right") - 1, 23)
    openness = np.array([{"a": 0.15, "m": 0.01}.get(said.phonemes[i][1], 0.04) for i in at], np.float32)
    shape = np.stack([openness, np.full(len(at), 0.6, np.float32)], axis=1)
    return Clip(f"{seed}.mp4", said.samples, times, shape, np.ones(len(times), bool))


@pytest.mark.slow
def test_a_network_learns_closures_and_continues_where_it_was(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    clips = [touching_clip(seed) for seed in range(3, 7)]
    lessons = {clip.name: [lesson_of(clip)] for clip in clips}
    heard = utter(12, 0, speak)
    steps: list[int] = []
    config = FitConfig(steps=60, batch=4, uttered=6, columns=64, learning_rate=6e-3)

    def trained() -> object:
        return train_member(
            clips, lessons, heard, (0, 4), SMALL, config, 1, tmp_path, lambda step, loss: steps.append(step)
        )

    member = trained()
    assert steps == list(range(60))
    assert [clip.name for clip in member.unseen] == ["3.mp4"]
    closure, *others = articulator_scores([member.network], utter(4, 99, speak))
    assert closure.articulator == "closure"
    assert closure.auc > 0.75
    assert all(one.auc > 0.6 for one in others)
    again = trained()
    assert len(steps) == 60, "it was read from the cache"
    assert again.losses == member.losses
    mel = heard[0].mel
    assert (curve_of(again.network, mel) == curve_of(member.network, mel)).all()


def test_auc_is_the_chance_to_be_told_apart() -> None:
    values = np.array([0.1, 0.4, 0.4, 0.8], np.float32)
    positive = np.array([False, False, True, True])
    assert rank_auc(values, positive, ~positive) == pytest.approx((1 + 0.5 + 1 + 1) / 4)


def test_events_are_the_middles_of_runs() -> None:
    assert events(np.array([1, 0, 1, 1, 1, 0, 0, 1, 1], bool)) == [0, 3, 7]


def test_a_perfect_listener_hits_and_a_deaf_one_does_not() -> None:
    from raydub.models.mouth.spoken import SpokenMouth

    clip = touching_clip(5)
    touching, apart = lips_of(clip)
    assert touching.any()
    assert apart.any()

    def listener(closed: np.ndarray):
        def listen(mel: np.ndarray, times: np.ndarray, period: float) -> SpokenMouth:
            at = np.clip(np.rint(times * 25).astype(int), 0, len(closed) - 1)
            zeros = np.zeros(len(times), np.float32)
            return SpokenMouth(-closed[at].astype(np.float32), zeros, closed[at].astype(np.float32), zeros, zeros)

        return listen

    perfect, mean = closure_scores([clip], listener(touching))
    assert mean.clip == "mean"
    assert (perfect.auc, perfect.hit, perfect.found, perfect.false) == (1, 1, 1, 0)
    assert perfect.by_chance[0] < 0.9
    deaf = closure_scores([clip], listener(np.zeros(len(touching), bool)))[0]
    assert (deaf.auc, deaf.predicted, deaf.found) == (0.5, 0, 0)


@pytest.mark.slow
@pytest.mark.media
def test_the_mesh_and_dlib_measure_the_same_mouth(
    media_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    monkeypatch.setenv("RAYDUB_WEIGHTS", str(media_dir / "weights"))
    path = media_dir / "video" / "grid_2.mpg"
    mesh, dlib = (prepare_clip(path, tmp_path, landmarks) for landmarks in ("mesh", "dlib"))
    both = mesh.usable & dlib.usable
    assert both.mean() > 0.95
    assert correlation(mesh.shape[both, 0], dlib.shape[both, 0]) > 0.7
    assert mesh.shape[both, 1].mean() == pytest.approx(dlib.shape[both, 1].mean(), abs=0.08)
