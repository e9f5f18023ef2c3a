"""How long steps may take."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydub.manifests.job import Job
from raydub.manifests.options import Options
from raydub.manifests.speech import SpeechTracks, VoiceTrack
from raydub.pipeline.limits import StepLimits


def job(video: str, audio: str = "a.wav") -> Job:
    return Job(id="j", video=video, audio=audio, output="o.mp4")


@given(st.integers(0, 100_000), st.integers(0, 100_000))
def test_more_frames_more_time(one: int, more: int) -> None:
    limits = StepLimits()
    assert 300 <= limits.for_chunk(one) <= limits.for_chunk(one + more)
    assert limits.for_stitch([one, more]) == pytest.approx(600 + 0.2 * (one + more))


def test_finishing_takes_its_time() -> None:
    limits = StepLimits()
    assert limits.for_chunk(10, 200.0) == 300 + 10 * (2 + 8 * 200)
    assert limits.for_chunk(10, 0.0) == limits.for_chunk(10)
    assert StepLimits(flat=5.0).for_chunk(10, 200.0) == 5.0


def test_a_flat_limit_is_all_there_is(tmp_path: Path) -> None:
    limits = StepLimits(flat=5.0)
    assert [limits.for_chunk(10**6), limits.for_stitch([10**6]), limits.for_prepare(job("x"))] == [5.0] * 3


def test_larger_inputs_more_time(tmp_path: Path) -> None:
    limits = StepLimits()
    big = tmp_path / "v.mp4"
    with open(big, "wb") as file:
        file.truncate(100 << 20)
    folder = tmp_path / "frames"
    folder.mkdir()
    for name in "abcd":
        with open(folder / f"{name}.png", "wb") as file:
            file.truncate(1 << 20)
    assert limits.for_prepare(job(str(big))) == 600 + 100 * 5
    assert limits.for_prepare(job(str(big), str(big))) == 600 + 200 * 5
    assert limits.for_prepare(job(str(folder))) == 600 + 4 * 5
    assert limits.for_prepare(job(str(tmp_path / "absent"))) == 600
    assert limits.for_prepare(job("a\0b")) == 600
    searched = job(str(big)).model_copy(update={"options": Options(no_face="drop")})
    assert limits.for_prepare(searched) == 600 + 100 * 5 * 30
    named = Options(restore="gfpgan", upscale="general", upscale_denoise=0.5, model="/own/wav2lip.pth")
    assert limits.for_prepare(job("a").model_copy(update={"options": named})) == 600 + 3 * 1800
    assert limits.for_prepare(job("https://example.org/v.mp4")) == 6 * 3600


def script_job(script: str, **options: object) -> Job:
    return Job(id="j", video="v", script=script, output="o.mp4", options=Options.model_validate(options))


def sized(path: Path, size: int) -> str:
    with open(path, "wb") as file:
        file.truncate(size)
    return str(path)


def test_longer_scripts_have_more_time_to_be_spoken(tmp_path: Path) -> None:
    limits = StepLimits()
    kib = script_job(sized(tmp_path / "s.srt", 4096))
    assert limits.for_speak(kib) == pytest.approx(1800 + 4 * 300, abs=1)
    assert limits.for_speak(script_job(str(tmp_path / "absent"))) == 1800
    music = sized(tmp_path / "m.wav", 100 << 20)
    bed = kib.model_copy(update={"options": Options(bed="duck", bed_audio=music)})
    assert limits.for_speak(bed) - limits.for_speak(kib) == pytest.approx(100 * 5)
    # A sound file that is only mixed
    assert limits.for_speak(job("v", music)) == 1800 + 100 * 5
    for remote in ({"video": "https://example.org/v.mp4"}, {"script": "https://example.org/s.srt"}):
        assert limits.for_speak(kib.model_copy(update=remote)) == 6 * 3600
    assert StepLimits(flat=5.0).for_speak(bed) == 5.0


def test_what_was_spoken_is_prepared_in_the_time_of_its_size(tmp_path: Path) -> None:
    limits = StepLimits()
    unspoken = script_job(sized(tmp_path / "s.srt", 100 << 20))
    assert limits.for_prepare(unspoken) == 600
    sound = sized(tmp_path / "sound.flac", 10 << 20)
    voice = VoiceTrack(speaker="", path=sound, identity="i")
    speech = SpeechTracks(voices=(voice,), sound=sound, sound_identity="i", rate=48000, samples=1)
    assert limits.for_prepare(unspoken.model_copy(update={"speech": speech})) == 600 + 10 * 5
