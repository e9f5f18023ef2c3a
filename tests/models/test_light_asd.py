"""The active speaker network equals a second implementation in torch; cepstra equal the recipe written out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.fft
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.errors import Code, DependencyError
from raydub.models import active_speaker
from raydub.models import cepstra as cepstra_module
from raydub.models.active_speaker import ASD_FILE, ASD_SHA256, require_active_speaker
from raydub.models.cepstra import CepstraStream, cepstra
from raydub.models.light_asd import CLIP, LightAsd, read_state, shapes
from raydub.models.load import sha256_of
from tests.examples import examples
from tests.models.light_asd_reference import random_state, reference

pytest.importorskip("openvino")


def clip(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    pictures = rng.integers(0, 256, (n, 112, 112), dtype=np.uint8)
    return pictures, (rng.normal(size=(4 * n, 13)) * 10).astype(np.float32)


def test_scores_are_those_of_the_clip_alone_whatever_its_length() -> None:
    state = random_state()
    network = LightAsd(state)
    for n in (5, 63):
        pictures, sound = clip(n, n)
        expected = reference(state, pictures, sound)
        assert np.abs(network.scores(pictures, sound) - expected).max() < 1e-4 * max(1, np.abs(expected).max())
        assert expected.std() > 1e-3, "the test can fail"
    assert np.array_equal(network.scores(pictures, sound), LightAsd(state).scores(pictures, sound))
    with pytest.raises(ValueError, match="a clip of"):
        network.scores(*clip(CLIP + 1))
    with pytest.raises(ValueError, match="a clip of"):
        network.scores(pictures, sound[:-1])


@pytest.mark.media
def test_the_published_weights(media_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYDUB_WEIGHTS", str(media_dir / "weights"))
    path = require_active_speaker()
    assert sha256_of(path) == ASD_SHA256
    state = read_state(path)
    pictures, sound = clip(40)
    assert np.abs(LightAsd(state).scores(pictures, sound) - reference(state, pictures, sound)).max() < 1e-4


def test_other_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYDUB_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("RAYDUB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(DependencyError) as absent:
        require_active_speaker()
    assert (absent.value.code, absent.value.field) == (Code.WEIGHTS_MISSING, "face")
    assert "raydub models pull light_asd" in absent.value.hint
    state = {name: torch.from_numpy(value) for name, value in random_state().items()}
    torch.save(state, tmp_path / ASD_FILE)
    assert read_state(tmp_path / ASD_FILE).keys() == shapes().keys()
    with pytest.raises(DependencyError) as other:
        require_active_speaker()
    assert other.value.code == Code.WEIGHTS_HASH
    state["model.GRU.gru_forward.bias_ih_l0"] = torch.zeros(9)
    torch.save(state, tmp_path / ASD_FILE)
    with pytest.raises(DependencyError, match="gru_forward") as layout:
        read_state(tmp_path / ASD_FILE)
    assert layout.value.code == Code.WEIGHTS_LAYOUT
    (tmp_path / ASD_FILE).write_bytes(b"\x80\x02cos\nsystem\nq\x00.")
    with pytest.raises(DependencyError) as unsafe:
        read_state(tmp_path / ASD_FILE)
    assert unsafe.value.code == Code.WEIGHTS_LAYOUT
    monkeypatch.setattr(active_speaker, "asd_file", lambda: tmp_path / ASD_FILE)
    monkeypatch.setattr(active_speaker, "has_openvino", lambda: False)
    with pytest.raises(DependencyError) as package:
        require_active_speaker()
    assert package.value.code == Code.DEPENDENCY_MISSING


def written_out(samples: np.ndarray, rows: int) -> np.ndarray:
    """The recipe frame by frame, with scipy's cosine transform."""
    x = np.concatenate([samples.astype(np.float64) * 32768, np.zeros(rows * 160 + 400)])
    x = np.append(x[0], x[1:] - 0.97 * x[:-1])
    mels = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 28)
    bins = [int(513 * 700 * (10 ** (mel / 2595) - 1) / 16000) for mel in mels]
    found = []
    for row in range(rows):
        power = np.abs(np.fft.rfft(x[160 * row : 160 * row + 400], 512)) ** 2 / 512
        bands = []
        for a, b, c in zip(bins, bins[1:], bins[2:], strict=False):
            up = sum(power[k] * (k - a) / (b - a) for k in range(a, b))
            bands.append(up + sum(power[k] * (c - k) / (c - b) for k in range(b, c)))
        tops = np.log(np.maximum(bands, np.finfo(float).eps))
        lifted = scipy.fft.dct(tops, norm="ortho")[:13] * (1 + 11 * np.sin(np.pi * np.arange(13) / 22))
        lifted[0] = np.log(max(power.sum(), np.finfo(float).eps))
        found.append(lifted)
    return np.array(found)


def test_cepstra_equal_the_recipe() -> None:
    rng = np.random.default_rng(1)
    t = np.arange(12000) / 16000
    samples = (0.3 * np.sin(2 * np.pi * 170 * t) * np.sin(9 * t) + 0.02 * rng.normal(size=len(t))).astype(np.float32)
    samples[4000:6000] = 0
    made = cepstra(samples, 80)
    assert (made.shape, made.dtype) == ((80, 13), np.float32)
    assert np.abs(made - written_out(samples, 80)).max() < 1e-4
    assert np.isfinite(cepstra(np.zeros(0, np.float32), 3)).all()


@settings(max_examples=examples(20), deadline=None)
@given(st.lists(st.integers(0, 12_000), max_size=5), st.integers(0, 200))
def test_blocks_do_not_show(cuts: list[int], rows: int) -> None:
    samples = np.random.default_rng(0).normal(size=30_000).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cepstra_module, "_PIECE", 50)
        stream, whole, found, at = CepstraStream(), CepstraStream(), [], 0
        for length in (*cuts, len(samples)):
            found += [*stream.push(samples[at : at + length])]
            at += length
        expected = [*whole.push(samples), *whole.finish(rows)]
        assert np.array_equal(np.concatenate([*found, *stream.finish(rows)]), np.concatenate(expected))
