"""Damage anywhere in a file: an error with a name, or all of the film. Never fewer frames without a word."""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from raydub.errors import Code, InputError
from raydub.media.frames import open_frames
from raydub.media.info import ProbeLimits, VideoInfo
from raydub.media.matroska import check_matroska
from raydub.media.mpeg import check_transport_stream
from raydub.media.pictures import pauses
from raydub.media.probe import probe_video
from raydub.media.riff import check_riff
from raydub.stages.prepare import _warnings
from raydub.stages.source_timeline import Timeline
from tests.media.films import film

FILMS = {
    "mp4": ("libx264", {}),
    "mov": ("mpeg4", {}),
    "mkv": ("libx264", {}),
    "webm": ("libvpx-vp9", {"cpu-used": "8", "deadline": "realtime"}),
    "avi": ("mpeg4", {}),
    "mpg": ("mpeg2video", {}),
    "ts": ("libx264", {}),
}
RECORDINGS = ("mpg", "ts")
"""Containers in which losses may be told by a warning."""


def make(folder: Path, suffix: str, frames: int = 60) -> Path:
    codec, options = FILMS[suffix]
    return film(folder / f"whole.{suffix}", range(frames), codec=codec, options=options)


def read_all(path: Path) -> VideoInfo:
    info = probe_video(str(path), ProbeLimits(max_frames=5000, max_pixels=1 << 20))
    with open_frames(info) as reader:
        assert sum(1 for _ in reader.frames(0, info.n_frames)) == info.n_frames
    return info


def edited(path: Path, edit: Callable[[bytearray], object]) -> Path:
    data = bytearray(path.read_bytes())
    edit(data)
    out = path.with_name(f"damaged{path.suffix}")
    out.write_bytes(data)
    return out


def refusal(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        probe_video(str(path))
    return caught.value


def damage(data: bytearray, rng: random.Random) -> None:
    """Flipped bits, other bytes, or a run of zeros or of noise, at random places."""
    kind = rng.randrange(4)
    if kind < 2:
        for _ in range(rng.randint(1, 6)):
            place = rng.randrange(len(data))
            data[place] = data[place] ^ 1 << rng.randrange(8) if kind else rng.randrange(256)
        return
    at = rng.randrange(len(data))
    count = min(rng.choice([1, 4, 16, 64, 256, 512, 2048]), len(data) - at)
    data[at : at + count] = bytes(count) if kind == 2 else rng.randbytes(count)


@pytest.mark.timeout(120, method="thread")
@pytest.mark.parametrize("suffix", FILMS)
def test_damaged_anywhere(tmp_path: Path, suffix: str) -> None:
    path = make(tmp_path, suffix)
    for number in range(20):
        rng = random.Random(f"{suffix} {number}")
        bad = edited(path, lambda data, rng=rng: damage(data, rng))  # type: ignore[misc]
        try:
            info = read_all(bad)
        except InputError:
            continue
        assert info.n_frames == 60 or (info.losses and suffix in RECORDINGS), (suffix, number)


@pytest.mark.parametrize("suffix", FILMS)
def test_whole_files_have_no_losses(tmp_path: Path, suffix: str) -> None:
    info = read_all(make(tmp_path, suffix))
    assert (info.n_frames, info.losses) == (60, "")


@pytest.mark.parametrize("suffix", ["webm", "avi"])
def test_the_first_key_frame_is_damaged(tmp_path: Path, suffix: str) -> None:
    """Decoding then begins with the second key frame: the film was shorter by twelve frames."""
    path = make(tmp_path, suffix)
    data = path.read_bytes()
    block = re.search(rb"\xa3..\x81\0\0\x80", data, re.DOTALL)
    first = avi_chunks(data)[0] + 8 if suffix == "avi" else block.end() if block else 0
    bad = edited(path, lambda data: data.__setitem__(slice(first, first + 200), bytes(200)))
    with pytest.raises(InputError) as caught:
        read_all(bad)
    assert caught.value.code is Code.INPUT_UNREADABLE


# AVI


def avi_chunks(data: bytes) -> list[int]:
    """Places of the frames' headers."""
    at = data.index(b"movi") + 4
    found = []
    while data[at : at + 4] == b"00dc":
        found.append(at)
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + length + (length & 1)
    return found


@pytest.mark.parametrize("header", [b"00dc\x05\0\0\0", b"0\xffdc", b"07dc", b"????"])
def test_avi_chunks_lie_end_to_end(tmp_path: Path, header: bytes) -> None:
    path = make(tmp_path, "avi")
    at = avi_chunks(path.read_bytes())[30]
    bad = edited(path, lambda data: data.__setitem__(slice(at, at + len(header)), header))
    error = refusal(bad)
    assert error.code is Code.INPUT_UNREADABLE
    assert "near byte" in str(error)


def test_avi_index_and_frames_agree(tmp_path: Path) -> None:
    path = make(tmp_path, "avi")
    data = path.read_bytes()
    assert len(avi_chunks(data)) == 60
    assert check_riff(str(path), "video") == 60
    at = avi_chunks(data)[30]
    lost = edited(path, lambda data: data.__setitem__(slice(at, at + 4), b"00pc"))
    assert "lists 60 frames, 59 were found" in str(refusal(lost))
    entry = data.rindex(b"idx1") + 8 + 16 * 40
    # An entry that stands twice, for a frame that is shown twice, is no damage.
    twice = edited(path, lambda data: data.__setitem__(slice(entry, entry + 16), data[entry - 16 : entry]))
    assert check_riff(str(twice), "video") == 60


def test_avi_of_other_writers(tmp_path: Path) -> None:
    """Headers that state no frames or too many, empty frames, and lists within the list."""
    path = make(tmp_path, "avi")
    data = path.read_bytes()
    for stated in (0, 75):
        wrong = edited(path, lambda data, stated=stated: struct.pack_into("<I", data, data.index(b"avih") + 24, stated))  # type: ignore[misc]
        assert probe_video(str(wrong)).n_frames == 60
    start, stop = data.index(b"movi"), data.index(b"idx1")
    inside = b"movi" + b"LIST" + struct.pack("<I", stop - start) + b"rec " + data[start + 4 : stop] + b"00dc\0\0\0\0"
    body = data[12 : start - 8] + b"LIST" + struct.pack("<I", len(inside)) + inside
    listed = tmp_path / "listed.avi"
    listed.write_bytes(b"RIFF" + struct.pack("<I", len(body) + 4) + b"AVI " + body)
    assert check_riff(str(listed), "video") == 60


# Matroska


def test_matroska_says_where(tmp_path: Path) -> None:
    path = make(tmp_path, "mkv")
    cluster = path.read_bytes().index(b"\x1f\x43\xb6\x75")
    bad = edited(path, lambda data: data.__setitem__(cluster + 300, data[cluster + 300] ^ 1))
    assert "checksum" in str(refusal(bad))
    assert check_matroska(str(path), "video") == 60


@pytest.mark.parametrize(
    ("offset", "byte", "wrong"),
    [(0, 0xA2, "is unknown"), (2, 0x85, "an unknown track"), (5, 0x84, "several frames")],
)
def test_matroska_blocks(tmp_path: Path, offset: int, byte: int, wrong: str) -> None:
    """WebM files of ffmpeg have no checksums: an element that is not a block, a track that is not there, lacing."""
    path = make(tmp_path, "webm")
    data = path.read_bytes()
    found = re.compile(rb"\xa3[\x80-\xff]\x81").search(data, data.index(b"\x1f\x43\xb6\x75"))  # a block of track 1
    assert found is not None
    at = found.start()
    assert wrong in str(refusal(edited(path, lambda data: data.__setitem__(at + offset, byte))))


# ISO


@pytest.mark.parametrize("table", [b"stts", b"ctts"])
def test_iso_tables_agree(tmp_path: Path, table: bytes) -> None:
    path = make(tmp_path, "mp4")
    at = path.read_bytes().index(table) + 12
    error = refusal(edited(path, lambda data: data.__setitem__(at, 1)))  # the first entry is for 2^24 samples more
    assert error.code is Code.INPUT_UNREADABLE
    assert f"its table {table.decode()}" in str(error)


# MPEG


def test_program_streams_are_chains(tmp_path: Path) -> None:
    path = film(tmp_path / "whole.mpg", range(300), codec="mpeg2video", options={"b": "2000000"}, size=(192, 128))
    assert probe_video(str(path)).losses == ""
    size = path.stat().st_size
    middle = size // 2 // 2048 * 2048
    assert path.read_bytes()[middle : middle + 4] == b"\0\0\1\xba"
    assert "near byte" in str(refusal(edited(path, lambda data: data.__setitem__(slice(middle, middle + 4), b"abcd"))))
    cut = edited(path, lambda data: data.__delitem__(slice(middle + 1000, middle + 1500)))
    assert "near byte" in str(refusal(cut))
    padded = edited(path, lambda data: data.__setitem__(slice(middle, middle), bytes(2048)))
    assert read_all(padded).n_frames == 300


def ts_packets(data: bytes) -> list[int]:
    """Places of the packets of the video, without the first."""
    return [at for at in range(0, len(data), 188) if data[at + 1] & 31 == 1 and data[at + 2] == 0][1:]


def test_transport_streams_count(tmp_path: Path) -> None:
    path = make(tmp_path, "ts")
    places = ts_packets(path.read_bytes())
    at = places[len(places) // 2]

    def losses(edit: Callable[[bytearray], object], pid: int | None = 0x100) -> str:
        return check_transport_stream(str(edited(path, edit)), "video", pid)

    assert losses(lambda data: None) == ""
    assert losses(lambda data: data.__delitem__(slice(at, at + 188))).startswith("it has 1 gaps")
    assert losses(lambda data: data.__delitem__(slice(at, at + 188)), 0x101) == ""
    assert losses(lambda data: data.__setitem__(slice(at, at), data[at : at + 188])) == ""  # sent twice
    assert f"near byte {at}" in losses(lambda data: data.__setitem__(at, 0))
    assert f"near byte {at}" in losses(lambda data: data.__setitem__(at + 1, data[at + 1] | 0x80))
    assert losses(lambda data: data.__delitem__(slice(at + 50, at + 60))) != ""
    marked = b"\x47\x01\x00\x20\xb7\x80" + b"\xff" * 182  # a discontinuity that is announced
    assert losses(lambda data: data.__setitem__(slice(at, at + 188), marked)) == ""
    with pytest.raises(InputError) as caught:
        losses(lambda data: data.__delitem__(slice(-10, None)))
    assert caught.value.code is Code.INPUT_TRUNCATED


def test_losses_are_a_warning(tmp_path: Path) -> None:
    path = film(tmp_path / "whole.ts", range(60), codec="mpeg2video")
    begun = edited(path, lambda data: data.__delitem__(slice(0, 188 * 10)))
    info = read_all(begun)
    assert info.n_frames < 60
    assert "its first" in info.losses or "gaps" in info.losses
    assert _warnings(info, Timeline(n_out=5, n_src=5))[0].startswith("W_DAMAGED: ")
    assert _warnings(probe_video(str(path)), Timeline(n_out=5, n_src=5)) == ()


def test_pauses() -> None:
    even = np.arange(100) * 3600
    assert pauses(even, 100 * 3600, 3600) == 0
    assert pauses(np.delete(even, range(40, 52)), 88 * 3600, 3600) == 12
    assert pauses(np.delete(even, range(40, 52)), 100 * 3600, 3600) == 12  # when lengths were made of the times
    telecine = np.cumsum([0] + [3003, 4504] * 40)
    assert pauses(telecine, 3003 * 40 + 4504 * 40 + 3003, 3003) == 0
    joined = np.concatenate([even, even + (1 << 31)])
    assert pauses(joined, 200 * 3600 - 3600, 3600) == 0
