"""Files that were joined as bytes: one film of all frames in order, with a warning, or an error that names the seam."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raydub.errors import Code, InputError
from raydub.media.audio import decode_speech
from raydub.media.frames import open_frames
from raydub.media.info import VideoInfo
from raydub.media.joined import joined
from raydub.media.joined_view import View
from raydub.media.probe import probe_video
from raydub.media.sound import sound_blocks
from raydub.stages.prepare import _warnings
from raydub.stages.source_timeline import Timeline
from tests.examples import examples
from tests.ffmpeg import ffmpeg_program
from tests.media.films import film, number_of

A, B = range(60), range(100, 160)


def ffmpeg(*arguments: str) -> None:
    subprocess.run([ffmpeg_program(), "-nostdin", "-y", "-loglevel", "error", *arguments], check=True)


def cat(path: Path, *parts: Path) -> Path:
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def pair(folder: Path, suffix: str, codec: str = "libx264", options: dict[str, str] | None = None) -> Path:
    made = [
        film(folder / f"{name}.{suffix}", numbers, codec=codec, options=options)
        for name, numbers in (("a", A), ("b", B))
    ]
    return cat(folder / f"joined.{suffix}", *made)


def numbers(info: VideoInfo, start: int = 0) -> list[int]:
    with open_frames(info) as reader:
        return [number_of(frame) for frame in reader.frames(start, info.n_frames)]


@pytest.mark.parametrize(
    ("suffix", "codec", "options"),
    [
        ("ts", "libx264", {}),
        ("ts", "libx264", {"bf": "0"}),
        ("ts", "mpeg2video", {}),
        ("m2ts", "libx264", {}),
        ("mpg", "mpeg2video", {}),
        ("mkv", "libx264", {}),
        ("webm", "libvpx", {"deadline": "realtime"}),
        ("avi", "mpeg4", {}),
        ("h264", "libx264", {}),
        ("m2v", "mpeg2video", {}),
    ],
)
def test_all_frames_of_both_in_order(tmp_path: Path, suffix: str, codec: str, options: dict[str, str]) -> None:
    info = probe_video(str(pair(tmp_path, suffix, codec, options)))
    assert (info.n_frames, info.rate, info.losses) == (120, 25, "")
    assert numbers(info) == [*A, *B]
    assert numbers(info, 70) == [*A, *B][70:]  # from within the second one
    kinds = [warning.split(":")[0] for warning in _warnings(info, Timeline(n_out=5, n_src=5))]
    assert kinds == (["W_JOINED"] if suffix in ("ts", "m2ts", "mpg", "mkv", "webm") else [])


@pytest.mark.parametrize("suffix", ["mp4", "flv", "ivf", "asf", "mxf"])
def test_containers_that_cannot_be_joined(tmp_path: Path, suffix: str) -> None:
    codec = {"mp4": "libx264", "flv": "flv", "ivf": "libvpx", "asf": "mpeg4", "mxf": "mpeg2video"}[suffix]
    path = pair(tmp_path, suffix, codec, {"deadline": "good", "cpu-used": "5"} if suffix == "ivf" else {})
    with pytest.raises(InputError) as caught:
        probe_video(str(path))
    assert caught.value.code == Code.INPUT_UNREADABLE
    assert f"another begins at byte {(tmp_path / f'a.{suffix}').stat().st_size}" in caught.value.message
    assert "ffmpeg" in caught.value.hint
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes((tmp_path / f"a.{suffix}").read_bytes()[:-100])
    with pytest.raises(InputError) as caught:
        probe_video(str(cut))
    assert caught.value.code in (Code.INPUT_TRUNCATED, Code.INPUT_UNREADABLE)


def with_sound(path: Path, hertz: int, *more: str, seconds: float = 2.4) -> Path:
    picture = ["-f", "lavfi", "-i", f"testsrc=s=96x64:r=25:d={seconds}"]
    sound = ["-f", "lavfi", "-i", f"aevalsrc=exprs=0.3*sin(2*PI*{hertz}*t):s=48000:d={seconds}"]
    ffmpeg(*picture, *sound, "-c:v", "mpeg2video", "-c:a", "mp2", "-b:a", "192k", *more, str(path))
    return path


def pitch(block: np.ndarray, rate: int) -> float:
    return float(np.abs(np.fft.rfft(block)).argmax() * rate / len(block))


@pytest.mark.parametrize("suffix", ["ts", "mpg"])
def test_sound_stays_with_its_picture(tmp_path: Path, suffix: str) -> None:
    parts = [with_sound(tmp_path / f"{hertz}.{suffix}", hertz) for hertz in (300, 900, 600)]
    path = cat(tmp_path / f"joined.{suffix}", *parts)
    info = probe_video(str(path))
    assert info.n_frames == 180
    origin = Fraction(info.start_time).limit_denominator(90_000)
    heard = np.concatenate(list(sound_blocks(str(path), 48000, 1, origin)))[:, 0]
    for number, hertz in enumerate((300, 900, 600)):
        middle = round((2.4 * number + 1.2) * 48000)
        assert pitch(heard[middle - 12000 : middle + 12000], 48000) == pytest.approx(hertz, abs=3)
        assert pitch(heard[round(middle - 1.0 * 48000) : middle], 48000) == pytest.approx(hertz, abs=3)
    assert len(heard) / 48000 == pytest.approx(7.2, abs=0.15)
    assert len(decode_speech(str(path))) / 16000 == pytest.approx(7.2, abs=0.15)


def test_a_later_clock_and_one_that_goes_on(tmp_path: Path) -> None:
    """The second recording was made an hour later; or both are segments of one."""
    first = with_sound(tmp_path / "a.ts", 300)
    later = with_sound(tmp_path / "b.ts", 900, "-output_ts_offset", "3600")
    info = probe_video(str(cat(tmp_path / "later.ts", first, later)))
    assert (info.n_frames, info.variable_rate, info.losses) == (120, False, "")
    ffmpeg("-i", str(first), "-c", "copy", "-f", "segment", "-segment_time", "0.96", str(tmp_path / "s%d.ts"))
    segments = sorted(tmp_path.glob("s?.ts"))
    assert len(segments) > 1
    info = probe_video(str(cat(tmp_path / "segments.ts", *segments)))
    assert (info.n_frames, info.variable_rate, info.losses) == (60, False, "")


def test_a_clock_that_wraps_is_no_seam(tmp_path: Path) -> None:
    path = with_sound(tmp_path / "a.ts", 300, "-output_ts_offset", str((1 << 33) / 90000 - 1.5))
    assert joined(str(path)) is None
    info = probe_video(str(path))
    assert (info.n_frames, info.losses, info.notes) == (60, "", ())


def test_gaps_are_not_seams(tmp_path: Path) -> None:
    """Packets from one PAT to another are gone: pictures are missing, and the clock goes on."""
    path = film(tmp_path / "a.ts", range(100), codec="mpeg2video")
    data = path.read_bytes()
    tables = [at for at in range(0, len(data), 188) if data[at + 1] & 0x5F == 0x40 and data[at + 2] == 0]
    assert len(tables) > 12
    lost = tmp_path / "lost.ts"
    lost.write_bytes(data[: tables[4]] + data[tables[8] :])
    assert joined(str(lost)) is None
    try:
        info = probe_video(str(lost))
    except InputError:
        return
    assert info.losses


def test_streams_that_make_no_film(tmp_path: Path) -> None:
    first = film(tmp_path / "a.ts", range(60))
    ffmpeg("-i", str(first), "-c", "copy", "-mpegts_start_pid", "0x300", str(tmp_path / "b.ts"))
    with pytest.raises(InputError) as caught:
        probe_video(str(cat(tmp_path / "joined.ts", first, tmp_path / "b.ts")))
    assert caught.value.code == Code.INPUT_UNREADABLE
    assert f"byte {first.stat().st_size}" in caught.value.message


def test_live_matroska_twice(tmp_path: Path) -> None:
    ffmpeg("-i", str(film(tmp_path / "a.mkv", A)), "-c", "copy", "-live", "1", str(tmp_path / "live.mkv"))
    info = probe_video(str(cat(tmp_path / "joined.mkv", tmp_path / "live.mkv", tmp_path / "live.mkv")))
    assert numbers(info) == [*A, *A]


def test_other_sizes_name_the_seam(tmp_path: Path) -> None:
    first = film(tmp_path / "a.ts", A, codec="mpeg2video")
    second = film(tmp_path / "b.ts", B, codec="mpeg2video", size=(192, 128))
    path = cat(tmp_path / "joined.ts", first, second)
    with pytest.raises(InputError) as caught:
        numbers(probe_video(str(path)))
    assert caught.value.code in (Code.INPUT_UNREADABLE, Code.VIDEO_DIMENSIONS)
    assert "convert" in caught.value.hint


def test_sounds_of_other_rates_say_the_way_out(tmp_path: Path) -> None:
    parts = []
    for rate in (44100, 48000):
        ffmpeg("-f", "lavfi", "-i", f"aevalsrc=exprs=0.3*sin(2000*t):s={rate}:d=1", str(tmp_path / f"{rate}.mp3"))
        parts.append(tmp_path / f"{rate}.mp3")
    path = cat(tmp_path / "joined.mp3", *parts)
    for read in (decode_speech, lambda path: list(sound_blocks(path, 44100, 1))):
        with pytest.raises(InputError, match="changes its sample rate") as caught:
            read(str(path))
        assert "-ar" in caught.value.hint


def test_mp3_with_tags_between(tmp_path: Path) -> None:
    parts = []
    for hertz in (300, 900):
        source = f"aevalsrc=exprs=0.3*sin(2*PI*{hertz}*t):s=44100:d=2"
        path = tmp_path / f"{hertz}.mp3"
        tags = ["-metadata", f"title={'x' * 3000}", "-id3v2_version", "3", "-write_id3v1", "1"]
        ffmpeg("-f", "lavfi", "-i", source, *tags, str(path))
        parts.append(path)
    path = cat(tmp_path / "joined.mp3", *parts)
    samples = decode_speech(str(path))
    assert len(samples) / 16000 == pytest.approx(4.0, abs=0.12)
    assert pitch(samples[8000:24000], 16000) == pytest.approx(300, abs=3)
    assert pitch(samples[-24000:-8000], 16000) == pytest.approx(900, abs=3)
    assert sum(map(len, sound_blocks(str(path), 44100, 1))) / 44100 == pytest.approx(4.0, abs=0.12)


def test_wav_after_wav_is_refused(tmp_path: Path) -> None:
    for suffix, codec in (("wav", "pcm_s16le"), ("w64", "pcm_s16le"), ("aiff", "pcm_s16be"), ("caf", "pcm_s16le")):
        path = tmp_path / f"a.{suffix}"
        ffmpeg("-f", "lavfi", "-i", "aevalsrc=exprs=0.3*sin(2000*t):s=44100:d=1", "-c:a", codec, str(path))
        decode_speech(str(path))
        both = cat(tmp_path / f"both.{suffix}", path, path)
        with pytest.raises(InputError) as caught:
            decode_speech(str(both))
        assert f"byte {path.stat().st_size}" in caught.value.message


@settings(deadline=None, max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_the_view_reads_the_same_in_any_pieces(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "joined.ts"
    if not path.exists():
        pair(tmp_path, "ts")
    found = joined(str(path))
    assert found is not None
    with View(found) as view:
        whole = view.read()
        assert len(whole) == path.stat().st_size
        start = data.draw(st.integers(0, len(whole)))
        count = data.draw(st.integers(0, 5000))
        view.seek(start)
        assert view.read(count) == whole[start : start + count]
        assert view.tell() == min(len(whole), start + count)
    untouched = found.seams[0].start
    assert whole[:untouched] == path.read_bytes()[:untouched]
