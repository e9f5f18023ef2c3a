"""The meter against the ffmpeg program and against what the standard says of plain signals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from raydub.media.loudness import Meter
from tests.tts.measuring import babble, by_ffmpeg, read, tone, write


def measured(samples: np.ndarray, rate: int, step: int = 65536) -> tuple[float | None, float]:
    meter = Meter(rate, samples.shape[1])
    for start in range(0, len(samples), step):
        meter.push(samples[start : start + step])
    return meter.integrated, meter.true_peak


@pytest.mark.parametrize(("rate", "channels", "seconds"), [(48000, 2, 7.03), (44100, 1, 3.0), (16000, 1, 5.55)])
def test_agrees_with_the_ffmpeg_program(tmp_path: Path, rate: int, channels: int, seconds: float) -> None:
    loud = np.stack([babble(seconds, rate, seed) for seed in range(channels)], axis=1)
    loud[: len(loud) // 3] *= 0.02  # below the relative gate
    path = write(tmp_path / "x.flac", loud, rate)
    loudness, peak = measured(loud, rate)
    theirs = by_ffmpeg(path)
    assert loudness == pytest.approx(theirs[0], abs=0.1)
    assert peak == pytest.approx(theirs[1], abs=0.1)


@pytest.mark.media
@pytest.mark.parametrize("name", ["audio/noisy_office_0db.wav", "video/webcam_en_720p30.mp4", "video/grid_1.mpg"])
def test_agrees_on_real_sound(media_dir: Path, name: str) -> None:
    rate, channels = {"audio": (16000, 1), "video": (44100, 1 if "webcam" in name else 2)}[name.split("/")[0]]
    loudness, _ = measured(read(media_dir / name, rate, channels), rate)
    assert loudness == pytest.approx(by_ffmpeg(media_dir / name)[0], abs=0.1)


def test_a_tone_has_the_loudness_of_the_standard() -> None:
    """BS.1770: 0 dBFS at 997 Hz in one channel is -3.01 LUFS."""
    loudness, peak = measured(tone(5, 48000, 997, 0.1)[:, None], 48000)
    assert loudness == pytest.approx(-23.01, abs=0.05)
    assert peak == pytest.approx(-20.0, abs=0.1)


def test_blocks_do_not_matter() -> None:
    sound = babble(3.21, 48000)[:, None]
    assert measured(sound, 48000, 777) == measured(sound, 48000, 48001) == measured(sound, 48000, len(sound))


def test_peaks_between_samples_are_seen() -> None:
    fade = np.minimum(np.minimum(np.arange(48000), np.arange(48000)[::-1]) / 4800, 1)
    sound = fade * np.sin(np.pi / 2 * np.arange(48000) + np.pi / 4)
    _, peak = measured(sound[:, None].astype(np.float32), 48000)
    assert np.abs(sound).max() < 0.708
    assert peak == pytest.approx(0.0, abs=0.05)


def test_the_very_last_samples_count_for_the_peak() -> None:
    sound = np.zeros((48000 + 1234, 1), np.float32)
    sound[-3] = 0.5
    assert measured(sound, 48000)[1] >= -6.1


def test_silence_and_shortness_have_no_loudness() -> None:
    assert measured(np.zeros((48000, 2), np.float32), 48000) == (None, float("-inf"))
    loudness, peak = measured(tone(0.39, 48000)[:, None], 48000)
    assert loudness is None
    assert peak > -11
    assert Meter(48000, 1).integrated is None


def test_wrong_use_is_refused() -> None:
    with pytest.raises(ValueError, match="3 channels"):
        Meter(48000, 3)
    meter = Meter(48000, 2, peak=False)
    with pytest.raises(ValueError, match="shape"):
        meter.push(np.zeros(100, np.float32))
    with pytest.raises(ValueError, match="without peak"):
        _ = meter.true_peak
    assert meter.integrated is None
    with pytest.raises(ValueError, match="after reading"):
        meter.push(np.zeros((100, 2), np.float32))
