"""LSE-C and LSE-D of random weights equal an independent computation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from raydub.errors import DependencyError
from raydub.media.frames import Frame
from raydub.media.info import Colour
from raydub.models.mfcc import mfcc
from raydub.models.syncnet import from_state, load_syncnet
from raydub.stages.evaluate import lse, lse_weights
from raydub.stages.evaluate.lse_film import lse_windows
from raydub.stages.types import Span
from tests.reference import syncnet as reference


def speech(seconds: float, seed: int = 3) -> np.ndarray:
    made = np.random.default_rng(seed)
    n = int(seconds * 16000)
    envelope = np.abs(np.interp(np.arange(n), np.linspace(0, n, 40), made.normal(size=40)))
    return (0.2 * envelope * made.normal(size=n)).astype(np.float32)


def faces(n: int, seed: int = 4) -> np.ndarray:
    made = np.random.default_rng(seed)
    coarse = made.integers(0, 256, (n, 14, 14, 3)).astype(np.uint8)
    return coarse.repeat(16, axis=1).repeat(16, axis=2)


@pytest.mark.parametrize("seconds", [0.01, 0.5, 1.2345])
def test_mfcc_equals_the_reference(seconds: float) -> None:
    samples = speech(seconds)
    assert mfcc(samples).shape == reference.mfcc(samples).shape
    np.testing.assert_allclose(mfcc(samples), reference.mfcc(samples), atol=2e-3, rtol=1e-5)


def test_silence_has_finite_features() -> None:
    assert np.isfinite(mfcc(np.zeros(4000, np.float32))).all()


def test_streams_equal_the_reference() -> None:
    state = reference.random_state(1)
    net = from_state(state)
    columns = mfcc(speech(0.4))[:, :20]
    sound = net.sound(torch.from_numpy(columns.copy())[None, None])[0]
    assert torch.allclose(sound, reference.sound_features(state, columns), atol=1e-3, rtol=1e-4)
    shown = faces(5)
    picture = net.picture(torch.from_numpy(shown.transpose(3, 0, 1, 2).astype(np.float32))[None])[0]
    assert torch.allclose(picture, reference.picture_features(state, shown), atol=1e-3, rtol=1e-3)


@pytest.mark.slow
def test_scores_equal_the_reference() -> None:
    state = reference.random_state(2)
    shown, samples = faces(12), speech(12 / 25)
    away, known = lse.distances(shown, samples, from_state(state)), reference.distances(state, shown, samples)
    assert away.shape == known.shape == (7, 31)
    np.testing.assert_allclose(away, known, rtol=1e-4)
    found, (confidence, distance, offset) = lse.lse_of(np.tile(away, (4, 1))), reference.scores(known)
    assert found is not None
    assert found.confidence == pytest.approx(confidence, rel=1e-3, abs=1e-3)
    assert found.distance == pytest.approx(distance, rel=1e-4)
    assert found.offset == offset


def test_the_offset_says_by_how_much_the_picture_is_late() -> None:
    # The picture at a window matches the sound 3 frames earlier: the smallest distance is at shift 15 - 3.
    away = np.full((30, 31), 9.0)
    away[:, 12] = 4.0
    found = lse.lse_of(away)
    assert found == lse.Lse(5.0, 4.0, 3)
    assert reference.scores(away) == (5.0, 4.0, 3)
    assert lse.lse_of(away[:5]) is None


def test_faces_are_cropped_25_times_a_second() -> None:
    points = np.zeros((60, 68, 2), np.float32)
    points[:, :34], points[:, 34:] = (20, 20), (40, 40)
    present = np.ones(60, np.bool_)
    grey = np.full((64, 64), 128, np.uint8)
    half = np.full((32, 32), 128, np.uint8)

    def frames() -> list[Frame]:
        return [Frame(number, grey, half, half, Colour()) for number in range(60)]

    [(start, made)] = list(lse.crops(iter(frames()), points, present, 50.0))
    assert (start, made.shape) == (0, (30, 224, 224, 3))
    [(start, made)] = list(lse.crops(iter(frames()), points, present, 30.0))
    assert len(made) == 50
    present[:10] = False
    [(start, made)] = list(lse.crops(iter(frames()), points, present, 25.0))
    assert (round(start, 6), len(made)) == (0.4, 50)
    present[30] = False
    assert [round(at, 2) for at, _ in lse.crops(iter(frames()), points, present, 25.0)] == [1.24]


def test_without_weights_nothing_is_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAYDUB_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(lse_weights, "lse_file", lambda: None)
    monkeypatch.setattr(lse, "lse_file", lambda: None)
    lse.network.cache_clear()
    assert lse.network() is None
    assert lse_windows([Span(0, 240)]) == []
    assert lse_weights.lse_digest() == ""
    lse.network.cache_clear()


def test_other_weights_are_refused(tmp_path: Path) -> None:
    torch.save({"netcnnaud.0.weight": torch.zeros(2, 1, 3, 3)}, tmp_path / "syncnet_v2.model")
    with pytest.raises(DependencyError, match="does not hold SyncNet"):
        load_syncnet(tmp_path / "syncnet_v2.model")


def test_published_names_load(tmp_path: Path) -> None:
    torch.save(reference.random_state(5), tmp_path / "syncnet_v2.model")
    assert load_syncnet(tmp_path / "syncnet_v2.model").training is False
