"""Bad inputs: each has its code, and none becomes a silently shorter video or speech."""

from __future__ import annotations

import os
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raydub.errors import Code, InputError
from raydub.media.audio import decode_speech
from raydub.media.frames import open_frames
from raydub.media.info import ProbeLimits
from raydub.media.probe import probe_speech, probe_video
from tests.examples import examples
from tests.media.films import film, sound, tone


def code_of(path: Path | str) -> Code:
    """The code with which probing the video, or then reading all of it, fails."""
    with pytest.raises(InputError) as caught:
        read_all(path)
    return caught.value.code


def read_all(path: Path | str) -> None:
    info = probe_video(str(path))
    with open_frames(info) as reader:
        assert sum(1 for _ in reader.frames(0, info.n_frames)) == info.n_frames


def cut(path: Path, share: float, name: str = "cut") -> Path:
    data = path.read_bytes()
    out = path.with_name(f"{name}{path.suffix}")
    out.write_bytes(data[: int(len(data) * share)])
    return out


def test_absent_empty_and_not_media(tmp_path: Path) -> None:
    assert code_of(tmp_path / "absent.mp4") == Code.INPUT_MISSING
    assert code_of("no\0name.mp4") == Code.INPUT_UNREADABLE
    (tmp_path / "empty.mp4").touch()
    assert code_of(tmp_path / "empty.mp4") == Code.INPUT_EMPTY
    (tmp_path / "page.mp4").write_text("<!DOCTYPE html><html>not found</html>" * 50)
    assert code_of(tmp_path / "page.mp4") == Code.INPUT_UNREADABLE
    (tmp_path / "folder").mkdir()
    assert code_of(tmp_path / "folder") == Code.VIDEO_NO_FRAMES
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    assert code_of(tmp_path / "bad.png") == Code.INPUT_UNREADABLE


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile secret.mp4\n",
        "[playlist]\nFile1=/etc/passwd\n",
        '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>',
    ],
)
def test_playlists_dressed_as_video(tmp_path: Path, text: str) -> None:
    (tmp_path / "nice.mp4").write_text(text)
    assert code_of(tmp_path / "nice.mp4") == Code.INPUT_PLAYLIST
    with pytest.raises(InputError) as caught:
        decode_speech(str(tmp_path / "nice.mp4"))
    assert caught.value.code == Code.INPUT_PLAYLIST


def test_protocols_are_no_paths(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", range(5))
    for name in ("http://127.0.0.1:9/a.mp4", f"concat:{path}|{path}", f"subfile,,start,0,end,0,,:{path}"):
        assert code_of(name) == Code.INPUT_MISSING


def test_unlisted_container(tmp_path: Path) -> None:
    path = film(tmp_path / "a.nut", range(5))
    assert code_of(path) == Code.INPUT_FORMAT


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {}),
        ("a.mov", "libx264", {}),
        ("a.mkv", "libx264", {}),
        ("a.avi", "mpeg4", {}),
        ("a.ts", "libx264", {}),
        ("a.mpg", "mpeg1video", {}),
        ("a.webm", "libvpx-vp9", {"cpu-used": "8"}),
    ],
)
@pytest.mark.parametrize("share", [0.15, 0.5, 0.93])
def test_cut_off_files_are_refused(
    tmp_path: Path, name: str, codec: str, options: dict[str, str], share: float
) -> None:
    path = film(tmp_path / name, range(60), codec=codec, options=options)
    assert code_of(cut(path, share)) in (Code.INPUT_TRUNCATED, Code.INPUT_UNREADABLE)


def faststart(path: Path) -> Path:
    """The same film with its index in front."""
    out = path.with_name("fast.mp4")
    with av.open(str(path)) as source, av.open(str(out), "w", options={"movflags": "+faststart"}) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    return out


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_cut_faststart_is_seen_at_probe(tmp_path: Path, share: float) -> None:
    path = cut(faststart(film(tmp_path / "a.mp4", range(200))), share)
    with pytest.raises(InputError) as caught:
        probe_video(str(path))
    assert caught.value.code == Code.INPUT_TRUNCATED


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.avi", "mpeg4")])
def test_damage_in_the_middle_is_never_a_shorter_video(tmp_path: Path, name: str, codec: str) -> None:
    path = film(tmp_path / name, range(120), codec=codec)
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    middle = len(data) // 2
    data[middle : middle + 3000] = rng.integers(0, 256, 3000, np.uint8).tobytes()
    path.write_bytes(data)
    assert code_of(path) in (Code.INPUT_UNREADABLE, Code.INPUT_TRUNCATED)


def test_a_removed_frame_image_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "stills"
    folder.mkdir()
    for number in range(3):
        film(folder / f"{number}.png", [number], codec="png", pix_fmt="rgb24")
    info = probe_video(str(folder))
    (folder / "2.png").unlink()
    with open_frames(info) as reader, pytest.raises(InputError) as caught:
        list(reader.frames(0, 3))
    assert caught.value.code == Code.INPUT_CHANGED


def test_limits(tmp_path: Path) -> None:
    path = str(film(tmp_path / "a.mp4", range(50)))
    for limits in (
        ProbeLimits(max_pixels=96 * 64 - 1),
        ProbeLimits(max_seconds=1.9),
        ProbeLimits(max_frames=49),
        ProbeLimits(max_streams=0),
        ProbeLimits(max_bytes=100),
    ):
        with pytest.raises(InputError) as caught:
            probe_video(path, limits)
        assert caught.value.code == Code.INPUT_LIMIT
    assert probe_video(path, ProbeLimits(max_pixels=96 * 64, max_seconds=2.0, max_frames=50)).n_frames == 50


def test_a_gap_of_a_day_is_a_limit(tmp_path: Path) -> None:
    path = film(tmp_path / "gap.mkv", range(2), pts=[0, 100_001_000], time_base=Fraction(1, 1000))
    assert code_of(path) == Code.INPUT_LIMIT


def test_audio_only_and_cover_art(tmp_path: Path) -> None:
    speech = sound(tmp_path / "a.m4a", tone(1.0, 44100), 44100, "aac")
    assert code_of(speech) == Code.VIDEO_NO_STREAM
    with av.open(str(tmp_path / "cover.m4a"), "w", format="mp4") as container:
        art = container.add_stream("mjpeg", rate=1)
        art.width, art.height, art.pix_fmt = 64, 64, "yuvj420p"
        art.disposition = av.stream.Disposition.attached_pic
        for packet in art.encode(av.VideoFrame(64, 64, "yuvj420p")):
            container.mux(packet)
    assert code_of(tmp_path / "cover.m4a") == Code.VIDEO_NO_STREAM


def test_identity_moves_with_the_file(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", range(5))
    first = probe_video(str(path)).identity
    moved = shutil.move(str(path), str(tmp_path / "b.mp4"))
    os.utime(moved, (1, 1))
    assert probe_video(str(moved)).identity == first
    assert probe_video(str(film(tmp_path / "c.mp4", range(1, 6)))).identity != first


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=1, max_size=4000))
def test_noise_always_ends_in_a_code(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "noise.mp4"
    path.write_bytes(data)
    with pytest.raises(InputError):
        read_all(path)
    with pytest.raises(InputError):
        decode_speech(str(path))


def test_a_codec_that_nobody_knows(tmp_path: Path) -> None:
    film(tmp_path / "a.avi", range(5), codec="mpeg4")
    data = (tmp_path / "a.avi").read_bytes()
    (tmp_path / "b.avi").write_bytes(data.replace(b"FMP4", b"\0?!x"))
    assert data.count(b"FMP4")
    assert code_of(tmp_path / "b.avi") == Code.INPUT_UNREADABLE


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_films_end_whole_or_with_a_code(tmp_path: Path, data: st.DataObject) -> None:
    suffix = data.draw(st.sampled_from(["mp4", "mkv", "avi", "ts"]))
    whole = tmp_path / f"whole.{suffix}"
    if not whole.exists():
        film(whole, range(40), codec="mpeg4" if suffix == "avi" else "libx264")
    content = bytearray(whole.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / f"damaged.{suffix}"
    path.write_bytes(content)
    try:
        info = probe_video(str(path), ProbeLimits(max_frames=5000, max_pixels=1 << 20))
        with open_frames(info) as reader:
            assert sum(1 for _ in reader.frames(0, info.n_frames)) == info.n_frames
    except InputError as error:
        assert error.code.value.startswith(("E_INPUT", "E_VIDEO"))


# speech


@pytest.mark.parametrize(
    ("name", "codec", "rate", "channels"),
    [
        ("a.wav", None, 8000, 1),
        ("a.wav", None, 22050, 2),
        ("a.wav", "pcm_s24le", 48000, 2),
        ("a.wav", "pcm_f32le", 96000, 1),
        ("a.flac", "flac", 44100, 6),
        ("a.m4a", "aac", 24000, 3),
        ("a.mp3", "libmp3lame", 44100, 2),
        ("a.ogg", "libopus", 48000, 1),
    ],
)
def test_speech_of_any_kind(tmp_path: Path, name: str, codec: str | None, rate: int, channels: int) -> None:
    path = sound(tmp_path / name, np.tile(tone(1.5, rate), (channels, 1)), rate, codec)
    samples = decode_speech(str(path))
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert abs(len(samples) / 16000 - 1.5) < 0.08
    spectrum = np.abs(np.fft.rfft(samples[4000:20000]))
    assert abs(int(spectrum.argmax()) - 220) <= 2
    assert 0.4 < np.abs(samples[4000:20000]).max() < 0.6
    info = probe_speech(str(path))
    assert (info.sample_rate, info.channels) == (rate, channels)
    assert len(decode_speech(str(path), 48000)) > 2.9 * len(samples)


def test_speech_that_is_nothing(tmp_path: Path) -> None:
    cases = {
        "empty.wav": (sound(tmp_path / "empty.wav", np.zeros(0)), Code.SPEECH_EMPTY),
        "zero.wav": (sound(tmp_path / "zero.wav", np.zeros(16000)), Code.SPEECH_SILENT),
        "hush.wav": (sound(tmp_path / "hush.wav", tone(1.0, level=2e-4)), Code.SPEECH_SILENT),
        "mute.mp4": (film(tmp_path / "mute.mp4", range(5)), Code.SPEECH_NO_STREAM),
        "absent.wav": (tmp_path / "absent.wav", Code.INPUT_MISSING),
    }
    (tmp_path / "nothing.wav").touch()
    cases["nothing.wav"] = (tmp_path / "nothing.wav", Code.INPUT_EMPTY)
    for path, code in cases.values():
        with pytest.raises(InputError) as caught:
            decode_speech(str(path))
        assert caught.value.code == code, path
    assert len(decode_speech(str(sound(tmp_path / "soft.wav", tone(1.0, level=2e-3))))) == 16000


@pytest.mark.parametrize(
    ("name", "codec"), [("a.wav", None), ("a.flac", "flac"), ("a.m4a", "aac"), ("a.mka", "pcm_s16le")]
)
def test_cut_speech_is_refused(tmp_path: Path, name: str, codec: str | None) -> None:
    rng = np.random.default_rng(1)
    path = sound(tmp_path / name, tone(3.0, 44100) + 0.1 * rng.standard_normal(3 * 44100), 44100, codec)
    with pytest.raises(InputError) as caught:
        decode_speech(str(cut(path, 0.6)))
    assert caught.value.code in (Code.INPUT_TRUNCATED, Code.INPUT_UNREADABLE)


@pytest.mark.media
def test_real_sounds(media_dir: Path) -> None:
    folder = media_dir / "audio"
    for name in ("en_acknowledgement.m4a", "en_jfk.flac", "other.ogg", "en_lj_08.wav"):
        seconds = probe_speech(str(folder / name)).seconds
        assert abs(len(decode_speech(str(folder / name))) / 16000 - seconds) < 0.06
    three = media_dir / "video" / "screen_capture_no_face_3ch.mp4"
    assert probe_speech(str(three)).channels == 3
    assert len(decode_speech(str(three))) > 9 * 16000
    assert code_of(media_dir / "video" / "audio_only.mp4") == Code.VIDEO_NO_STREAM
