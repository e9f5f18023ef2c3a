"""Pictures as a video are shown upright, by the orientation tag that each of them carries."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.errors import Code, InputError
from raydub.media.frames import Transform, open_frames
from raydub.media.images import read_upright
from raydub.media.orientation import exif_orientation
from raydub.media.probe import probe_video
from raydub.media.yuv import to_bgr
from tests.examples import examples

# How a picture lies in a file whose tag turns it upright (Exif 2.3, 4.6.4 A: which sides row 0 and column 0 are).
STORED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: p.transpose(1, 0, 2)[::-1],
    7: lambda p: p.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda p: p.transpose(1, 0, 2)[:, ::-1],
}


def upright() -> np.ndarray:
    """(48, 64, 3): every corner of another colour."""
    picture = np.full((48, 64, 3), 128, np.uint8)
    picture[:24, :32], picture[:24, 32:], picture[24:, :32] = (40, 60, 220), (200, 90, 30), (60, 200, 60)
    return picture


def tags(orientation: int, order: str = "big", kind: int = 3) -> bytes:
    """A TIFF structure with one tag."""
    width = {3: 2, 4: 4}[kind]
    value = orientation.to_bytes(width, order).ljust(4, b"\0")  # type: ignore[arg-type]
    fields = [(42, 2), (8, 4), (1, 2), (0x0112, 2), (kind, 2), (1, 4)]
    numbers = b"".join(number.to_bytes(size, order) for number, size in fields)  # type: ignore[arg-type]
    return (b"MM" if order == "big" else b"II") + numbers + value + bytes(4)


def with_tag(path: Path, orientation: int, order: str = "big", kind: int = 3) -> None:
    """Put the tag into a JPEG, PNG, WebP or TIFF file."""
    data, block = path.read_bytes(), tags(orientation, order, kind)
    if data.startswith(b"\xff\xd8"):
        body = b"Exif\0\0" + block
        data = data[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + data[2:]
    elif data.startswith(b"\x89PNG"):
        chunk = b"eXIf" + block
        data = data[:33] + len(block).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big") + data[33:]
    elif data.startswith(b"RIFF"):
        data += b"EXIF" + len(block).to_bytes(4, "little") + block + bytes(len(block) % 2)
        data = data[:4] + (len(data) - 8).to_bytes(4, "little") + data[8:]
    else:  # one more entry in the first table, which is moved to the end
        endian = "little" if data[:2] == b"II" else "big"
        at = int.from_bytes(data[4:8], endian)  # type: ignore[arg-type]
        count = int.from_bytes(data[at : at + 2], endian)  # type: ignore[arg-type]
        entries = [data[at + 2 + 12 * n : at + 14 + 12 * n] for n in range(count)]
        mine = b"".join(
            number.to_bytes(size, endian)  # type: ignore[arg-type]
            for number, size in [(0x0112, 2), (3, 2), (1, 4), (orientation, 2), (0, 2)]
        )
        entries = sorted(
            [entry for entry in entries if int.from_bytes(entry[:2], endian) != 0x0112] + [mine],  # type: ignore[arg-type]
            key=lambda entry: int.from_bytes(entry[:2], endian),  # type: ignore[arg-type]
        )
        table = len(entries).to_bytes(2, endian) + b"".join(entries) + bytes(4)  # type: ignore[arg-type]
        data = data[:4] + len(data).to_bytes(4, endian) + data[8:] + table  # type: ignore[arg-type]
    path.write_bytes(data)


def stored(path: Path, orientation: int, **how: object) -> Path:
    quality = [cv2.IMWRITE_JPEG_QUALITY, 95] if path.suffix == ".jpg" else []
    assert cv2.imwrite(str(path), np.ascontiguousarray(STORED[orientation](upright())), quality)
    with_tag(path, orientation, **how)  # type: ignore[arg-type]
    return path


def error_of(path: Path, number: int = 0) -> float:
    info = probe_video(str(path))
    assert (info.width, info.height) == (64, 48)
    with open_frames(info) as reader:
        frames = list(reader.frames(0, info.n_frames))
    seen = to_bgr(frames[number]).astype(int)
    inner = [(slice(4, 20), slice(4, 28)), (slice(4, 20), slice(36, 60)), (slice(28, 44), slice(4, 28))]
    return max(float(np.abs(seen[part] - upright()[part]).max()) for part in inner)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_upright(tmp_path: Path, orientation: int, suffix: str) -> None:
    path = stored(tmp_path / f"a{suffix}", orientation)
    assert error_of(path) < 24
    assert np.abs(read_upright(str(path)).astype(int) - upright())[4:20, 4:28].max() < 24


@pytest.mark.parametrize(("order", "kind"), [("big", 3), ("little", 3), ("big", 4), ("little", 4)])
def test_either_byte_order_and_both_kinds_of_number(tmp_path: Path, order: str, kind: int) -> None:
    assert error_of(stored(tmp_path / "a.jpg", 6, order=order, kind=kind)) < 24


def test_a_folder_may_mix_orientations(tmp_path: Path) -> None:
    for orientation in range(1, 9):
        stored(tmp_path / f"{orientation}.jpg", orientation)
    for number in range(8):
        assert error_of(tmp_path, number) < 24
    info = probe_video(str(tmp_path))
    with open_frames(info) as whole, open_frames(info) as part:
        one = list(whole.frames(0, 8))[5]
        assert np.array_equal(one.y, next(part.frames(5, 6)).y)
    with open_frames(info, Transform(rotate=90, crop=(0, 32, 0, 24))) as reader:
        assert next(reader.frames(5, 6)).size == (24, 32)


def test_pictures_that_differ_once_upright_are_named(tmp_path: Path) -> None:
    """The same pixels lying and standing: the old rule compared them as stored and let them pass."""
    stored(tmp_path / "1.jpg", 1)
    cv2.imwrite(str(tmp_path / "2.jpg"), upright())
    with_tag(tmp_path / "2.jpg", 6)
    with open_frames(probe_video(str(tmp_path))) as reader, pytest.raises(InputError, match=r"2\.jpg") as caught:
        list(reader.frames(0, 2))
    assert caught.value.code == Code.VIDEO_DIMENSIONS
    assert "orientation" in (caught.value.hint or "")


def test_only_the_tag_counts(tmp_path: Path) -> None:
    """Not bytes of the picture, or of a comment, that look like one."""
    path = tmp_path / "a.jpg"
    cv2.imwrite(str(path), upright())
    plain, decoy = path.read_bytes(), b"Exif\0\0" + tags(6)
    comment = b"\xff\xfe" + (len(decoy) + 2).to_bytes(2, "big") + decoy
    assert exif_orientation(plain[:2] + comment + plain[2:]) == (0, False)
    assert exif_orientation(plain + decoy) == (0, False)
    assert exif_orientation(plain[:2] + b"\xff\xe1\0\x08http:/" + plain[2:]) == (0, False)


@settings(max_examples=examples(200), deadline=None)
@given(
    head=st.sampled_from(
        [b"", b"\xff\xd8\xff\xe1\0\x20Exif\0\0", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"II*\0", b"MM\0*"]
    ),
    rest=st.binary(max_size=200),
)  # fmt: skip
def test_any_bytes_have_an_orientation(head: bytes, rest: bytes) -> None:
    turn, flip = exif_orientation(head + rest)
    assert turn in (0, 90, 180, 270)
    assert flip in (True, False)
