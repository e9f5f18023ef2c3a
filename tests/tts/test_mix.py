"""The mix as others measure it: loudness and peaks by ffmpeg, places by cross-correlation, the bed by a pure tone."""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from raydub.errors import Code, InputError, StageError
from raydub.media.sound import resample, sound_shape
from raydub.tts.mix.duck import Ducking
from raydub.tts.mix.programme import Bed, MixReport, mix
from raydub.tts.mix.sources import FileSpeech, PlacedSpeech, PlacedUtterance
from tests.examples import slow
from tests.tts.measuring import babble, by_ffmpeg, encoded, read, tone, write

RATE = 48000
CUES = [(0.8, 1.1), (2.5, 0.7), (3.6, 1.6), (7.01, 2.2)]
"""(start, length) in seconds."""


def speech(cues: list[tuple[float, float]] = CUES, rate: int = RATE, level: float = 0.05) -> PlacedSpeech:
    placements = []
    for number, (start, length) in enumerate(cues):
        samples = babble(length, rate, number, level)
        placements.append(
            PlacedUtterance(round(start * rate), len(samples), lambda samples=samples: samples, f"cue {number}")
        )
    return PlacedSpeech(placements, rate)


def mixed(
    folder: Path, voices: object, seconds: float = 10.0, rate: int = RATE, channels: int = 2, **more: object
) -> tuple[MixReport, Path]:
    voices = voices if isinstance(voices, dict) else {"a": voices}
    heard = {name: str(folder / f"{name}.flac") for name in voices}
    out = folder / "out.flac"
    total = round(seconds * rate)
    report = mix(voices, heard, str(out), total=total, rate=rate, channels=channels, **more)  # type: ignore[arg-type]
    assert len(read(out, rate, channels)) == total
    assert {len(read(Path(path), rate, 1)) for path in heard.values()} == {total}
    return report, out


def check_levels(report: MixReport, out: Path, channels: int, target: float = -16.0) -> None:
    loudness, peak = by_ffmpeg(out)
    assert abs(loudness - target) <= 0.2
    assert peak < -1.0
    assert report.integrated == pytest.approx(loudness, abs=0.06)
    assert report.true_peak == pytest.approx(peak, abs=0.1)
    loudness, peak = by_ffmpeg(encoded(out, channels))
    assert abs(loudness - target) <= 0.2
    assert peak < -1.0
    assert report.warnings == ()


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("level", [0.002, 0.3])
def test_speech_alone(tmp_path: Path, channels: int, level: float) -> None:
    report, out = mixed(tmp_path, speech(level=level), channels=channels)
    check_levels(report, out, channels)
    assert report.bed_gain_db is None
    assert (report.bed_curve == 0).all()
    assert len(report.bed_curve) == 500
    heard = read(tmp_path / "a.flac", RATE, 1)[:, 0]
    said = np.concatenate(list(speech(level=level).blocks(len(heard))))
    # Unless it would be too loud for a file, what the lips read has the level that it came with.
    factor = min(1.0, 10 ** (-0.5 / 20) / float(np.abs(said).max()))
    assert np.abs(heard - said * factor).max() < 1e-6


@pytest.mark.media
@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("video/webcam_en_720p30.mp4", "duck"),
        slow("audio/noisy_office_0db.wav", "mix"),
        slow("video/screen_capture_no_face_3ch.mp4", "duck"),
        slow("video/av_offset_3_frames_224_25.avi", "duck"),
        ("video/grid_1.mpg", "mix"),
    ],
)
def test_over_real_sound(media_dir: Path, tmp_path: Path, name: str, mode: str) -> None:
    shape = sound_shape(str(media_dir / name))
    assert shape is not None
    channels = min(shape.channels, 2)
    rate = 44100 if shape.rate == 44100 else 48000
    words = [read(media_dir / "audio" / f"spanish{n}.wav", 16000, 1)[:, 0] for n in (1, 3)]
    samples = [resample(each, 16000, rate) for each in words]
    starts = [round(0.5 * rate) + 7, round(6 * rate) + 11]
    placements = [PlacedUtterance(at, len(s), lambda s=s: s) for at, s in zip(starts, samples, strict=True)]
    bed = Bed(str(media_dir / name), Fraction(0), mode)  # type: ignore[arg-type]
    report, out = mixed(tmp_path, PlacedSpeech(placements, rate), 13.0, rate, channels, bed=bed)
    check_levels(report, out, channels)
    assert report.bed_gain_db is not None
    assert report.bed_gain_db <= 0
    programme = read(out, rate, channels).mean(axis=1)
    for at, utterance in zip(starts, samples, strict=True):
        assert abs(place_of(utterance, programme, at, rate) - at) <= 1


def place_of(utterance: np.ndarray, programme: np.ndarray, near: int, rate: int) -> int:
    """The sample at which the utterance begins in the programme, looked for within half a second."""
    from scipy.signal import correlate

    begin = max(near - rate // 2, 0)
    window = programme[begin : near + len(utterance) + rate // 2]
    return begin + int(correlate(window, utterance, mode="valid", method="fft").argmax())


def test_utterances_are_where_they_were_placed(tmp_path: Path) -> None:
    """Two voices that overlap, over a bed, through gains and limiter."""
    other = speech([(1.3, 1.0), (5.777, 0.9)], level=0.4)
    noise = write(tmp_path / "bed.flac", babble(10, 44100, 77, 0.03), 44100)
    report, out = mixed(tmp_path, {"a": speech(), "b": other}, bed=Bed(str(noise)))
    check_levels(report, out, 2)
    programme = read(out, RATE, 2)[:, 0]
    for number, (start, length) in enumerate(CUES):
        at = round(start * RATE)
        assert abs(place_of(babble(length, RATE, number), programme, at, RATE) - at) <= 1
    for number, (start, length) in enumerate([(1.3, 1.0), (5.777, 0.9)]):
        at = round(start * RATE)
        assert abs(place_of(babble(length, RATE, number), programme, at, RATE) - at) <= 1
    gains = report.voice_gains_db
    assert gains["a"] - gains["b"] == pytest.approx(20 * np.log10(0.4 / 0.05), abs=1)


def test_the_bed_goes_down_and_comes_back(tmp_path: Path) -> None:
    """Speech of near silence over a pure tone: what is heard is the bed."""
    bed = write(tmp_path / "bed.flac", tone(10, RATE, 1000, 0.1), RATE)
    quiet = PlacedSpeech([PlacedUtterance(RATE * 2, RATE * 3, lambda: np.zeros(RATE * 3, np.float32))], RATE)
    report, out = mixed(tmp_path, quiet, bed=Bed(str(bed)))
    heard = read(out, RATE, 2)[:, 0]
    # Loudest of each millisecond of a 1 kHz tone, on the scale of the undisturbed bed.
    level = 20 * np.log10(np.abs(heard).reshape(-1, 48).max(axis=1) + 1e-9)
    level -= np.median(level[6000:])
    assert level[2000:5000].max() <= -10
    assert level[2001:4999].min() >= -15.1
    assert np.abs(level[5500:]).max() < 1
    assert np.abs(level[:1840]).max() < 1
    assert np.abs(np.diff(level)).max() < 0.5
    assert np.abs(report.bed_curve - level[::20]).max() < 0.6
    assert report.bed_curve[100:250].max() == -15
    assert np.abs(report.bed_curve[275:]).max() < 0.01
    assert any("W_LOUDNESS" in words and "'a'" in words for words in report.warnings)


def test_the_bed_is_not_ducked_when_mixed_nor_louder_than_speech(tmp_path: Path) -> None:
    loud = write(tmp_path / "loud.flac", babble(4, RATE, 5, 0.3), RATE)
    report, out = mixed(tmp_path, speech(), bed=Bed(str(loud), None, "mix"))
    check_levels(report, out, 2)
    assert report.bed_gain_db is not None
    assert report.bed_gain_db < -3
    assert (report.bed_curve == 0).all()
    soft = write(tmp_path / "soft.flac", babble(4, RATE, 5, 0.01), RATE)
    report, _ = mixed(tmp_path, speech(), bed=Bed(str(soft), None, "mix"))
    assert report.bed_gain_db == 0


def test_targets_and_ducking_of_ones_own(tmp_path: Path) -> None:
    bed = write(tmp_path / "bed.flac", babble(10, RATE, 5, 0.02), RATE)
    report, out = mixed(tmp_path, speech(), bed=Bed(str(bed)), target=-23.0, ducking=Ducking(depth_db=-20))
    check_levels(report, out, 2, -23.0)
    assert report.bed_curve.min() == -20


def test_speech_from_a_file(tmp_path: Path) -> None:
    sound = np.concatenate([np.zeros(RATE, np.float32), babble(3, RATE)])
    path = write(tmp_path / "speech.flac", sound, RATE)
    bed = write(tmp_path / "bed.flac", tone(6, RATE, 1000, 0.05), RATE)
    source = FileSpeech(str(path), RATE, [(RATE, 4 * RATE)])
    report, out = mixed(tmp_path, source, 6, bed=Bed(str(bed)))
    check_levels(report, out, 2)
    assert report.bed_curve[50:200].max() == -15
    assert place_of(sound[RATE:], read(out, RATE, 1)[:, 0], RATE, RATE) == RATE


def test_the_same_twice(tmp_path: Path) -> None:
    bed = write(tmp_path / "bed.flac", babble(10, 44100, 5, 0.05), 44100)
    _, out = mixed(tmp_path, speech(), bed=Bed(str(bed)))
    first = out.read_bytes()
    mixed(tmp_path, speech(), bed=Bed(str(bed)))
    assert out.read_bytes() == first


def test_what_has_no_loudness_is_left_as_it_is(tmp_path: Path) -> None:
    nothing = PlacedSpeech([PlacedUtterance(0, RATE, lambda: np.zeros(RATE, np.float32))], RATE)
    report, out = mixed(tmp_path, nothing, 2)
    assert report.integrated is None
    assert report.passes == 1
    assert len(report.warnings) == 2
    assert all(words.startswith("W_LOUDNESS: ") for words in report.warnings)
    assert (read(out, RATE, 2) == 0).all()
    report, out = mixed(tmp_path, speech([(0.05, 0.2)]), 0.3)
    assert report.integrated is None
    assert "400 ms" in report.warnings[0]
    assert np.abs(read(out, RATE, 2)).max() > 0.1
    report, _ = mixed(tmp_path, speech([(0.0, 0.2)]), 1 / RATE)
    assert "400 ms" in report.warnings[0]


def test_sound_that_is_all_peaks_ends_with_a_warning(tmp_path: Path) -> None:
    """A click a second: limiting all of it away would be needed for -16 LUFS."""
    clicks = np.zeros(8 * RATE, np.float32)
    clicks[::RATE] = 0.9
    source = PlacedSpeech([PlacedUtterance(0, len(clicks), lambda: clicks)], RATE)
    report, out = mixed(tmp_path, source, 8)
    assert report.passes <= 5
    assert report.integrated is not None
    assert report.integrated < -17
    assert f"{report.integrated:.1f} LUFS" in report.warnings[-1]
    assert by_ffmpeg(out)[1] < -1


def test_long_silence_is_no_trouble(tmp_path: Path) -> None:
    """Forty seconds in which somebody speaks for one: the gates leave the silence out."""
    report, out = mixed(tmp_path, speech([(20.0, 1.0)]), 40)
    check_levels(report, out, 2)


def test_errors_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        mixed(tmp_path, speech(), bed=Bed(str(tmp_path / "none.mp4")))
    assert caught.value.code == Code.INPUT_MISSING
    calls = []

    def worse() -> np.ndarray:
        """Fails the second time it is asked, in the middle of writing."""
        calls.append(1)
        if len(calls) > 1:
            raise StageError(Code.STORAGE, "the cache is gone")
        return babble(1, RATE)

    (tmp_path / "a.flac").unlink()
    with pytest.raises(StageError) as lost:
        mixed(tmp_path, PlacedSpeech([PlacedUtterance(5 * RATE, RATE, worse)], RATE))
    assert lost.value.code == Code.STORAGE
    assert os.listdir(tmp_path) == []
    with pytest.raises(ValueError, match="0 voices"):
        mix({}, {}, str(tmp_path / "out.flac"), total=1, rate=RATE, channels=1)


def test_a_voice_file_that_changes_under_the_mix_is_told(tmp_path: Path) -> None:
    def meddling() -> np.ndarray:
        """Speaking the second voice shortens the first one's file."""
        write(tmp_path / "a.flac", babble(1, RATE), RATE)
        return babble(1, RATE)

    voices = {"a": speech([(0.1, 1.0)]), "b": PlacedSpeech([PlacedUtterance(0, RATE, meddling)], RATE)}
    heard = {name: str(tmp_path / f"{name}.flac") for name in voices}
    with pytest.raises(StageError) as caught:
        mix(voices, heard, str(tmp_path / "out.flac"), total=4 * RATE, rate=RATE, channels=1)
    assert caught.value.code == Code.STORAGE
    assert not (tmp_path / "out.flac").exists()


_CHILD = """
import re, sys
from tests.tts.measuring import babble
from raydub.tts.mix.programme import Bed, mix
from raydub.tts.mix.sources import PlacedSpeech, PlacedUtterance
folder, minutes, rate = sys.argv[1], int(sys.argv[2]), 16000
one = babble(2, rate)
cues = [PlacedUtterance(n * 5 * rate, len(one), lambda: one.copy()) for n in range(minutes * 12)]
mix({"a": PlacedSpeech(cues, rate)}, {"a": folder + "/a.flac"}, folder + "/out.flac", total=minutes * 60 * rate,
    rate=rate, channels=2, bed=Bed(folder + f"/bed{minutes}.flac"), target=-20)
print(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the kernel tells no peak of memory here")
def test_memory_is_flat(tmp_path: Path) -> None:
    """Four minutes against one, in processes of their own. Held whole, the three more would be 22 MiB a copy."""
    peaks = {}
    for minutes in (1, 4):
        write(tmp_path / f"bed{minutes}.flac", np.tile(babble(10, 16000, 3, 0.03), minutes * 6), 16000)
        command = [sys.executable, "-c", _CHILD, str(tmp_path), str(minutes)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
        peaks[minutes] = int(done.stdout) / 1024
    assert peaks[4] - peaks[1] < 10, peaks
