"""Rate, channels, length and bed of a job's sound."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.errors import Code, InputError
from raydub.manifests.job import Job
from raydub.media.probe import probe_video
from raydub.stages.source_timeline import plan_timeline
from raydub.tts.mix.format import MixFormat, format_of
from raydub.tts.mix.programme import Bed
from tests.examples import examples
from tests.ffmpeg import ffmpeg_program
from tests.stages.fakes import write_video, write_wav
from tests.tts.measuring import babble, tone, write
from tests.tts.track_support import job_of, sounding_video

RATES = [Fraction(24000, 1001), Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(60), Fraction(7)]


def shape(job: Job) -> MixFormat:
    return format_of(job, probe_video(job.video, images_rate=job.options.fps))


def with_sound(folder: Path, rate: int, channels: int, name: str = "v.mov") -> str:
    return sounding_video(folder / name, 25, np.stack([tone(1.0, rate)] * channels, 1), rate)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("frames", [1, 31])
def test_as_long_as_the_frames_and_no_sample_longer(tmp_path: Path, rate: Fraction, frames: int) -> None:
    made = shape(job_of(tmp_path, write_video(tmp_path / "v.mp4", frames, rate), script="s.srt"))
    assert made.end == int(frames / rate * 48000)
    assert (made.rate, made.channels, made.bed, made.own, made.warnings) == (48000, 1, None, False, ())


@given(st.integers(1, 200_000), st.sampled_from([*RATES, Fraction(60000, 1001)]), st.sampled_from([44100, 48000]))
@settings(max_examples=examples(200), deadline=None)
def test_the_frames_of_such_a_sound_are_those_of_the_video(frames: int, rate: Fraction, sound_rate: int) -> None:
    """Asked for `audio`, the sound asks for all frames and no other one."""
    end = Fraction(int(frames / rate * sound_rate), sound_rate)
    assert 0 <= frames / rate - end < Fraction(1, sound_rate)
    assert plan_timeline(end, rate, frames, length="audio", extend="fail", still=False, kept=None).n_out == frames


@pytest.mark.parametrize(
    ("rate", "channels", "made"),
    [
        (44100, 2, (44100, 2)),
        (48000, 1, (48000, 1)),
        (48000, 2, (48000, 2)),
        (24000, 3, (48000, 2)),
        (8000, 1, (48000, 1)),
        (96000, 6, (48000, 2)),
        (22050, 2, (48000, 2)),
    ],
)
@pytest.mark.parametrize("bed", ["none", "duck"])
def test_rate_and_channels_of_the_original(
    tmp_path: Path, rate: int, channels: int, made: tuple[int, int], bed: str
) -> None:
    video = with_sound(tmp_path, rate, channels)
    found = shape(job_of(tmp_path, video, script="s.srt", bed=bed))
    assert (found.rate, found.channels) == made
    assert found.end == made[0]
    if bed == "none":
        assert (found.bed, found.own) == (None, False)
    else:
        assert found.bed is not None
        assert (found.bed.path, found.bed.mode, found.own) == (video, "duck", True)
        assert found.bed.origin == 0


@pytest.mark.parametrize("bed", ["duck", "mix"])
def test_supplied_music_takes_the_original_s_place(tmp_path: Path, bed: str) -> None:
    music = str(write(tmp_path / "m.flac", np.stack([babble(0.5, 44100)] * 2, 1), 44100))
    found = shape(job_of(tmp_path, with_sound(tmp_path, 48000, 1), script="s.srt", bed=bed, bed_audio=music))
    assert found.bed == Bed(music, None, bed)  # type: ignore[arg-type]
    assert (found.own, found.warnings) == (False, ())
    assert (found.rate, found.channels) == (48000, 1), "those of the original, where there is one"
    silent = write_video(tmp_path / "silent.mp4", 25)
    found = shape(job_of(tmp_path, silent, script="s.srt", bed=bed, bed_audio=music))
    assert (found.rate, found.channels, found.warnings) == (44100, 2, ()), "else those of the music"
    found = shape(job_of(tmp_path, silent, script="s.srt", bed_audio=music))
    assert (found.rate, found.channels, found.bed) == (48000, 1, None), "which bed=none does not look at"


@pytest.mark.parametrize("bed", ["duck", "mix"])
def test_a_video_without_sound_has_no_bed(tmp_path: Path, bed: str) -> None:
    found = shape(job_of(tmp_path, write_video(tmp_path / "v.mp4", 10), script="s.srt", bed=bed))
    assert found.bed is None
    assert found.own is False
    (warning,) = found.warnings
    assert warning.startswith("W_BED: ")
    assert f"bed={bed}" in warning


def test_a_picture_has_no_end(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "face.png"), np.full((64, 96, 3), 90, np.uint8))
    found = shape(job_of(tmp_path, str(tmp_path / "face.png"), script="s.srt"))
    assert (found.end, found.rate, found.channels) == (None, 48000, 1)
    assert found.total("video", True, None) is None
    assert found.total("video", True, 777) == 777


def test_a_folder_of_pictures_lasts_by_fps(tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    for n in range(10):
        cv2.imwrite(str(tmp_path / "frames" / f"{n:03}.png"), np.full((64, 96, 3), 90 + n, np.uint8))
    for fps, end in (("25", 19200), ("30000/1001", 16016)):
        assert shape(job_of(tmp_path, str(tmp_path / "frames"), script="s.srt", fps=fps)).end == end


SPOKEN = [None, 1, 999, 1000, 1001, 5000]


@pytest.mark.parametrize("spoken", SPOKEN)
@pytest.mark.parametrize("timed", [True, False])
def test_total(spoken: int | None, timed: bool) -> None:
    def total(length: str) -> int | None:
        return MixFormat(48000, 1, 1000, None, False, ()).total(length, timed, spoken)

    assert total("video") == 1000
    assert total("audio") == spoken
    assert total("shortest") == (1000 if spoken is None else min(1000, spoken))
    assert total("auto") == total("video" if timed else "audio")


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda folder: write_video(folder / "b.mp4", 5), Code.FIELD_CONFLICT),
        (lambda folder: str(folder / "nothing.wav"), Code.INPUT_MISSING),
        (lambda folder: str(folder), None),
        (lambda folder: _bytes(folder / "b.wav", b""), Code.INPUT_EMPTY),
        (lambda folder: _bytes(folder / "b.wav", b"RIFF is what it is not" * 50), None),
        (lambda folder: _bytes(folder / "b.m3u8", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"), None),
    ],
)
def test_a_bed_that_cannot_be_used(tmp_path: Path, make: Any, code: Code | None) -> None:
    video = write_video(tmp_path / "v.mp4", 5)
    with pytest.raises(InputError) as caught:
        shape(job_of(tmp_path, video, script="s.srt", bed="duck", bed_audio=make(tmp_path)))
    assert caught.value.code in ([code] if code else [c for c in Code if c.name.startswith("INPUT_")])
    assert "b." in caught.value.message or str(tmp_path) in caught.value.message


def test_a_bed_cut_short(tmp_path: Path) -> None:
    whole = Path(write_wav(tmp_path / "m.wav", babble(2.0, 16000)))
    whole.write_bytes(whole.read_bytes()[:20_000])
    with pytest.raises(InputError) as caught:
        shape(job_of(tmp_path, write_video(tmp_path / "v.mp4", 5), script="s.srt", bed="mix", bed_audio=str(whole)))
    assert caught.value.code == Code.INPUT_TRUNCATED


def test_a_video_that_begins_late_gives_its_bed_an_origin(tmp_path: Path) -> None:
    """Its clock starts at the first frame, wherever that stands in the file."""
    early, late = with_sound(tmp_path, 48000, 1), str(tmp_path / "late.mkv")
    command = [ffmpeg_program(), "-nostdin", "-loglevel", "error", "-i", early, "-c", "copy"]
    command += ["-output_ts_offset", "1.5", "-avoid_negative_ts", "disabled", late]
    subprocess.run(command, check=True)
    found = shape(job_of(tmp_path, late, script="s.srt", bed="duck"))
    assert found.bed is not None
    assert found.bed.origin is not None
    assert float(found.bed.origin) == pytest.approx(probe_video(late).start_time, abs=1e-6)
    assert float(found.bed.origin) == pytest.approx(1.5, abs=0.002)


def _bytes(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)
