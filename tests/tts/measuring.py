"""Sound for tests, and what the ffmpeg program measures of it: a second opinion that shares no state with ours."""

from __future__ import annotations

import re
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np

from raydub.arrays import F32
from raydub.media.flac import SoundWriter
from raydub.media.sound import sound_blocks
from tests.ffmpeg import ffmpeg_program


def by_ffmpeg(path: Path) -> tuple[float, float]:
    """(integrated LUFS, true peak dBTP) as the program's ebur128 filter tells them, to 0.1."""
    command = [ffmpeg_program(), "-hide_banner", "-nostdin", "-nostats", "-i", str(path), "-vn"]
    command += ["-af", "ebur128=peak=true", "-f", "null", "-"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    summary = said[said.rindex("Summary:") :]
    loudness, peak = re.search(r"I:\s+(\S+) LUFS", summary), re.search(r"Peak:\s+(\S+) dBFS", summary)
    assert loudness
    assert peak
    return float(loudness[1]), float(peak[1])


def encoded(path: Path, channels: int) -> Path:
    """The same as AAC, with the settings of media.encoder."""
    out = path.with_suffix(".m4a")
    rate = "160k" if channels == 1 else "192k"
    command = [ffmpeg_program(), "-nostdin", "-y", "-loglevel", "error", "-i", str(path), "-c:a", "aac", "-b:a", rate]
    subprocess.run([*command, str(out)], check=True)
    return out


def write(path: Path, samples: F32, rate: int) -> Path:
    """(n, channels) or (n,) float samples as FLAC."""
    samples = samples.reshape(len(samples), -1).astype(np.float32)
    with SoundWriter(str(path), rate, samples.shape[1]) as writer:
        writer.write(samples)
        writer.publish()
    return path


def read(path: Path, rate: int, channels: int, origin: Fraction | None = None) -> F32:
    """(n, channels), all of it."""
    return np.concatenate(list(sound_blocks(str(path), rate, channels, origin)))


def tone(seconds: float, rate: int, hertz: float = 440.0, level: float = 0.3) -> F32:
    """(n,) float32 sine."""
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def babble(seconds: float, rate: int, seed: int = 0, level: float = 0.1) -> F32:
    """(n,) float32 noise that comes and goes four times a second, as speech does, below 5 kHz."""
    from scipy.signal import butter, sosfilt

    count = round(seconds * rate)
    noise = np.random.default_rng(seed).standard_normal(count)
    syllables = 0.6 + 0.4 * np.sin(2 * np.pi * 4 * np.arange(count) / rate)
    shaped: F32 = sosfilt(butter(2, [150, 5000], "bandpass", fs=rate, output="sos"), noise * syllables)
    return (shaped / shaped.std() * level).astype(np.float32)
