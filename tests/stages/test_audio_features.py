"""The speech is heard in blocks: same results as from the whole of it, at the same memory for any length."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.errors import Code, InputError, StageError
from raydub.manifests.job import Job
from raydub.media import audio
from raydub.media.activity import RATE, Loudness, activity, voiced
from raydub.media.info import Colour, VideoInfo
from raydub.media.sound import regrouped
from raydub.models.mel import MelStream, mel_spectrogram
from raydub.stages.audio_features import MelFile, extract_features
from raydub.stages.job_plan import MEL_FILE, VOICED_FILE
from raydub.store import Store
from tests.examples import examples
from tests.kept import files_in

BLOCK = 4096 * 200
"""Samples of one block of mel columns: where blocks meet is where streaming could go wrong."""


def hum(samples: int, start: int = 0) -> np.ndarray:
    """Syllables of a hum with some hiss, (samples,) from sample number `start` on."""
    t = np.arange(start, start + samples)
    tone: np.ndarray = np.sin(2 * np.pi * 150 / RATE * t) * (0.3 + 0.3 * np.sin(2 * np.pi * 2 / RATE * t))
    hiss = np.random.default_rng(start).normal(0, 1e-3, samples)
    return (tone * (t // (2 * RATE) % 3 != 2) + hiss).astype(np.float32)


def clip(seconds: float) -> VideoInfo:
    rate = Fraction(30000, 1001)
    return VideoInfo(
        path="none.mp4",
        kind="video",
        width=64,
        height=64,
        rate=rate,
        n_frames=max(1, int(seconds * rate)),
        duration=seconds,
        colour=Colour(matrix="bt601"),
        identity="0",
        codec="h264",
    )


def job(tmp_path: Path, length: str = "audio") -> Job:
    options = {"length": length}
    return Job(id="a", video="none.mp4", audio="none.wav", output=str(tmp_path / "out.mp4"), options=options)


def test_streamed_mel_and_activity_are_those_of_the_whole() -> None:
    """At and around the lengths at which blocks of columns end, and for pieces of any size."""
    sound = hum(2 * BLOCK + 1000)
    for n in (0, 1, 400, 401, BLOCK - 401, BLOCK - 400, BLOCK - 1, BLOCK, BLOCK + 1, BLOCK + 200, 2 * BLOCK + 777):
        whole, loud = mel_spectrogram(sound[:n]), activity(sound[:n])
        for size in (BLOCK, 99_991):
            stream, loudness = MelStream(), Loudness()
            found = []
            for start in range(0, n, size):
                piece = sound[start : min(n, start + size)]
                found += stream.push(piece)
                loudness.push(piece)
            np.testing.assert_array_equal(np.concatenate([*found, *stream.finish()], axis=1), whole)
            np.testing.assert_array_equal(loudness.activity(), loud)


@settings(max_examples=examples(40), deadline=None)
@given(st.lists(st.integers(0, 3 * audio.BLOCK_SAMPLES), max_size=8))
def test_regrouping_keeps_every_sample_in_its_place(lengths: list[int]) -> None:
    samples = np.arange(sum(lengths), dtype=np.float32)
    pieces = iter(np.split(samples, np.cumsum(lengths)[:-1]) if lengths else [])
    blocks = list(regrouped(pieces, audio.BLOCK_SAMPLES))
    np.testing.assert_array_equal(np.concatenate([np.zeros(0, np.float32), *blocks]), samples)
    assert all(len(block) == audio.BLOCK_SAMPLES for block in blocks[:-1])


def speak(monkeypatch: pytest.MonkeyPatch, samples: int) -> None:
    def blocks(path: str, rate: int) -> Iterator[np.ndarray]:
        for start in range(0, samples, audio.BLOCK_SAMPLES):
            yield hum(min(audio.BLOCK_SAMPLES, samples - start), start)

    monkeypatch.setattr("raydub.stages.audio_features.speech_blocks", blocks)


@pytest.mark.parametrize(("length", "video_seconds"), [("audio", 90.0), ("video", 130.0)])
def test_files_hold_what_the_whole_speech_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: str, video_seconds: float
) -> None:
    n = BLOCK + 200 * 123 + 7
    speak(monkeypatch, n)
    sound = np.concatenate([hum(min(audio.BLOCK_SAMPLES, n - at), at) for at in range(0, n, audio.BLOCK_SAMPLES)])
    video = clip(video_seconds)
    timeline, made = extract_features(job(tmp_path, length), video, Store(tmp_path), "key", lambda: None)
    mel = np.load(made[MEL_FILE], mmap_mode="r")
    whole = mel_spectrogram(sound)
    assert mel.dtype == np.float32
    np.testing.assert_array_equal(mel[:, : whole.shape[1]], whole)
    assert (mel[:, whole.shape[1] :] == -4).all()
    assert mel.shape[1] >= 80 * timeline.n_out / video.rate + 16
    np.testing.assert_array_equal(np.load(made[VOICED_FILE]), voiced(sound, video.rate, timeline.n_out))
    assert sorted(made) == sorted([MEL_FILE, VOICED_FILE])
    assert Store(tmp_path).names("jobs/key") == ["jobs/key/mel.npy", "jobs/key/voiced.npy"]
    assert not list((tmp_path / "tmp").iterdir())


def test_memory_does_not_grow_with_the_speech(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = []
    for minutes in (1, 2, 6):  # the first one pays for imports
        speak(monkeypatch, minutes * 60 * RATE)
        tracemalloc.start()
        extract_features(job(tmp_path), clip(1.0), Store(tmp_path), "key", lambda: None)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.1 * peaks[1], f"{peaks[1] >> 20} MiB for 2 minutes, {peaks[2] >> 20} MiB for 6"


def test_nothing_is_published_of_a_speech_that_ends_badly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: str, rate: int) -> Iterator[np.ndarray]:
        yield hum(audio.BLOCK_SAMPLES)
        raise InputError(Code.INPUT_TRUNCATED, "the rest is missing")

    monkeypatch.setattr("raydub.stages.audio_features.speech_blocks", broken)
    with pytest.raises(InputError, match="rest is missing"):
        extract_features(job(tmp_path), clip(1.0), Store(tmp_path), "key", lambda: None)
    assert files_in(tmp_path) == []


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with MelFile(Store(tmp_path)) as file:
        monkeypatch.setattr(file, "_file", FullDisk(file._file))
        with pytest.raises(StageError) as error:
            file.write(np.zeros((80, 5), np.float32))
    assert error.value.code == Code.DISK_FULL
    assert files_in(tmp_path) == []


class FullDisk:
    """A file on a disk without room."""

    def __init__(self, file: object) -> None:
        self._file = file

    def write(self, data: object) -> int:
        raise OSError(28, "No space left on device")

    def close(self) -> None:
        self._file.close()  # type: ignore[attr-defined]
