"""`raydub train`: with and without a speech engine."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from raydub.cluster.commands.train import train
from raydub.cluster.speaking import speaker
from raydub.errors import InputError, UsageError


def without_espeak(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec

    def find(name: str, *more: Any) -> Any:
        return None if name == "espeakng_loader" else found(name, *more)

    monkeypatch.setattr(importlib.util, "find_spec", find)


def test_espeak_speaks_for_training() -> None:
    pytest.importorskip("espeakng_loader", reason="the extra espeak is not installed")
    speak = speaker()
    assert speak is not None
    plain, variant = speak("Mama.", "en-us", 1.0), speak("Mama.", "en-us+f3", 1.3)
    assert 0.3 < len(variant.samples) / 16000 < len(plain.samples) / 16000 < 2
    assert [phoneme[-1:] for _, phoneme in plain.phonemes if phoneme][:1] == ["m"]
    assert sum(phoneme == "m" for _, phoneme in variant.phonemes) == 2


def test_without_espeak_it_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without_espeak(monkeypatch)
    assert speaker() is None
    (tmp_path / "clips").mkdir()
    with pytest.raises(InputError, match="can be used for training"):
        train.__wrapped__(tmp_path / "clips", tmp_path / "new.safetensors", None)
    assert "espeak-ng is not installed" in capsys.readouterr().err


def test_unknown_landmarks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="landmarks"):
        train.__wrapped__(tmp_path, tmp_path / "new.safetensors", None, landmarks="eyes")
