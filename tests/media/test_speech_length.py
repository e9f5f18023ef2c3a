"""Sound that ends before the picture, or begins after it, is whole; sound that was cut off is not."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from raydub.errors import Code, InputError
from raydub.media.audio import decode_speech
from raydub.media.probe import probe_speech
from raydub.media.sound import sound_blocks
from tests.ffmpeg import ffmpeg_program

CODECS = {
    "mkv": ["-c:v", "libx264", "-c:a", "aac"],
    "webm": ["-c:v", "libvpx", "-deadline", "realtime", "-c:a", "libopus"],
    "mp4": ["-c:v", "libx264", "-c:a", "aac"],
    "mov": ["-c:v", "libx264", "-c:a", "pcm_s16le"],
    "avi": ["-c:v", "mpeg4", "-c:a", "pcm_s16le"],
    "ts": ["-c:v", "libx264", "-c:a", "mp2"],
    "mpg": ["-c:v", "mpeg2video", "-c:a", "mp2"],
    "flv": ["-c:v", "flv", "-c:a", "aac"],
}


def made(path: Path, begin: float, seconds: float, *more: str, picture: float = 6.0) -> Path:
    """A film of `picture` seconds whose sound begins at `begin` and lasts `seconds`."""
    call = [ffmpeg_program(), "-nostdin", "-y", "-loglevel", "error"]
    call += ["-f", "lavfi", "-i", f"color=c=gray:s=64x48:r=25:d={picture}", "-itsoffset", str(begin)]
    call += ["-f", "lavfi", "-i", f"aevalsrc=exprs=0.3*sin(2*PI*300*t):s=48000:d={seconds}"]
    subprocess.run([*call, "-map", "0:v", "-map", "1:a", *CODECS[path.suffix[1:]], *more, str(path)], check=True)
    return path


@pytest.mark.parametrize("suffix", CODECS)
@pytest.mark.parametrize(("begin", "seconds"), [(0.0, 2.0), (3.0, 2.0), (4.0, 5.0)])
def test_sound_shorter_than_the_picture_or_late(tmp_path: Path, suffix: str, begin: float, seconds: float) -> None:
    path = made(tmp_path / f"x.{suffix}", begin, seconds)
    assert len(decode_speech(str(path))) / 16000 == pytest.approx(seconds, abs=0.12)
    if suffix in ("mkv", "webm", "mp4", "mov"):
        assert probe_speech(str(path)).seconds == pytest.approx(seconds, abs=0.12)


def test_matroska_without_tags(tmp_path: Path) -> None:
    """Nothing then says how long the sound is: the file's length is the picture's."""
    path = made(tmp_path / "x.mkv", 1.0, 2.0, "-write_crc32", "0")
    data = path.read_bytes()
    assert data.count(b"DURATION") == 2
    path.write_bytes(data.replace(b"DURATION", b"DURATIO_"))
    info = probe_speech(str(path))
    assert not info.counted
    assert len(decode_speech(str(path))) / 16000 == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("suffix", ["mkv", "webm"])
def test_cut_off_matroska_films_are_refused(tmp_path: Path, suffix: str) -> None:
    data = made(tmp_path / f"x.{suffix}", 1.0, 3.0).read_bytes()
    for share in (0.3, 0.6, 0.9, 0.99):
        cut = tmp_path / f"cut.{suffix}"
        cut.write_bytes(data[: int(len(data) * share)])
        for read in (decode_speech, lambda path: list(sound_blocks(path, 48000, 1))):
            with pytest.raises(InputError) as caught:
                read(str(cut))
            assert caught.value.code in (Code.INPUT_TRUNCATED, Code.INPUT_UNREADABLE)


def test_a_track_that_lacks_what_its_tag_says(tmp_path: Path) -> None:
    """The segment is whole, and its last clusters were turned into nothing."""
    path = made(tmp_path / "x.mkv", 0.0, 6.0, "-write_crc32", "0", "-cluster_time_limit", "500")
    data = bytearray(path.read_bytes())
    clusters = [at for at in range(len(data)) if data[at : at + 4] == b"\x1f\x43\xb6\x75"]
    assert len(clusters) > 8
    end = data.index(b"\x1c\x53\xbb\x6b", clusters[-1])
    at, room = clusters[4], end - clusters[4]
    data[at:end] = b"\xec\x01" + (room - 9).to_bytes(7, "big") + bytes(room - 9)
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        decode_speech(str(path))
    assert caught.value.code == Code.INPUT_TRUNCATED


def test_live_matroska_states_no_length(tmp_path: Path) -> None:
    path = made(tmp_path / "x.mkv", 0.5, 3.0, "-live", "1", "-f", "matroska")
    assert not probe_speech(str(path)).counted
    assert len(decode_speech(str(path))) / 16000 == pytest.approx(3.0, abs=0.1)


def test_pauses_in_a_recording_are_not_missing(tmp_path: Path) -> None:
    path = made(tmp_path / "x.mka.mkv", 0.0, 6.0, "-af", "aselect='lt(t,1)+gt(t,5)'", "-fflags", "+bitexact")
    assert len(decode_speech(str(path))) / 16000 == pytest.approx(2.0, abs=0.15)
