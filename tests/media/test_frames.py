"""Exact frames: the right ones, in order, identical wherever reading starts, upright and even."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from raydub.errors import Code, InputError
from raydub.media.frames import Frame, Transform, open_frames
from raydub.media.images import natural_key
from raydub.media.index import FrameIndex, index_of
from raydub.media.probe import probe_video
from raydub.media.yuv import to_bgr
from raydub.store import Store
from tests.media.films import film, number_of, picture

OPEN_GOP = {"x264-params": "open-gop=1:bframes=3:b-adapt=0:keyint=12:min-keyint=12:scenecut=0"}


def same(one: Frame, two: Frame) -> bool:
    return all(np.array_equal(a, b) for a, b in zip((one.y, one.u, one.v), (two.y, two.u, two.v), strict=True))


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("b.mp4", "libx264", {"bf": "3"}),
        ("open.mp4", "libx264", OPEN_GOP),
        ("open.mkv", "libx264", OPEN_GOP),
        ("open.ts", "libx264", OPEN_GOP),
        ("h265.mp4", "libx265", {"x265-params": "log-level=none:open-gop=1:keyint=12:bframes=3"}),
        ("m2.mpg", "mpeg2video", {"bf": "2"}),
        ("m2.ts", "mpeg2video", {"bf": "2"}),
        ("m1.mpg", "mpeg1video", {"bf": "2"}),
        ("m4.avi", "mpeg4", {"bf": "2"}),
        ("m4plain.avi", "mpeg4", {}),
        ("v8.webm", "libvpx", {"auto-alt-ref": "1", "lag-in-frames": "16"}),
        ("v9.webm", "libvpx-vp9", {"auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "8"}),
        ("j.avi", "mjpeg", {}),
    ],
)
def test_frames_do_not_depend_on_where_reading_starts(
    tmp_path: Path, name: str, codec: str, options: dict[str, str]
) -> None:
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = film(tmp_path / name, range(70), codec=codec, options=options, pix_fmt=pix_fmt)
    info = probe_video(str(path))
    assert (info.n_frames, info.rate, info.variable_rate) == (70, 25, False)
    with open_frames(info) as reader:
        whole = list(reader.frames(0, 70))
    assert [number_of(frame) for frame in whole] == list(range(70))
    assert [frame.index for frame in whole] == list(range(70))
    for start, stop in [(69, 70), (30, 50), (12, 13), (11, 14), (47, 61), (1, 4)]:
        with open_frames(info) as fresh:
            again = list(fresh.frames(start, stop))
        assert len(again) == stop - start
        assert all(same(a, b) for a, b in zip(again, whole[start:stop], strict=True)), (start, stop)
    with open_frames(info) as reader:  # one reader, jumping about
        for start in (40, 5, 41, 42, 0, 69):
            assert same(next(iter(reader.frames(start, start + 1))), whole[start])
        assert [frame.index for frame in reader.frames_at([60, 3, 4, 60, 2])] == [2, 3, 4, 60]
        assert list(reader.frames(7, 7)) == []
        with pytest.raises(ValueError, match="frames"):
            next(reader.frames(60, 71))


@pytest.mark.media
@pytest.mark.parametrize(
    "name",
    ["grid_1.mpg", "studio_portrait_1080x1920_25.mp4", "stage_talk_cuts_480p30.mp4", "cut_to_graphic_720p30.mov"],
)
def test_real_clips_read_the_same_from_the_middle(media_dir: Path, name: str) -> None:
    info = probe_video(str(media_dir / "video" / name))
    last = min(info.n_frames, 120)
    with open_frames(info) as reader:
        whole = list(reader.frames(0, last))
    for start in (last - 3, last // 2, 1):
        with open_frames(info) as fresh:
            again = list(fresh.frames(start, start + 2))
        assert all(same(a, b) for a, b in zip(again, whole[start : start + 2], strict=True))


@pytest.mark.media
def test_vfr_clip_keeps_every_frame(media_dir: Path) -> None:
    path = str(media_dir / "video" / "vfr_700x700.mp4")
    with av.open(path) as container:
        own = [frame.to_ndarray()[:700].tobytes() for frame in container.decode(video=0)]
    info = probe_video(path)
    assert info.variable_rate
    with open_frames(info) as reader:
        shown = [frame.y.tobytes() for frame in reader.frames(0, info.n_frames)]
    assert [now for n, now in enumerate(shown) if n == 0 or now != shown[n - 1]] == [
        now for n, now in enumerate(own) if n == 0 or now != own[n - 1]
    ]


def test_gaps_repeat_frames_and_lose_none(tmp_path: Path) -> None:
    grid = [0, 1, 2, 5, 6, 9, 10, 11, 20, 21, 22, 23, 24, 30]
    path = film(
        tmp_path / "gaps.mp4", range(14), Fraction(30), pts=[512 * g for g in grid], time_base=Fraction(1, 15360)
    )
    info = probe_video(str(path))
    assert info.rate == 30
    assert info.variable_rate
    expected = [max(k for k, g in enumerate(grid) if g <= slot) for slot in range(31)]
    with open_frames(info) as reader:
        frames = list(reader.frames(0, info.n_frames))
        assert [number_of(frame) for frame in frames][:31] == expected
        assert [frame.index for frame in frames] == list(range(info.n_frames))
        frames[3].y[:] = 0  # a repeated frame has memory of its own
        assert frames[2].y.any()
        assert frames[4].y.any()
        assert [number_of(frame) for frame in reader.frames(12, 22)] == expected[12:22]


def test_rounded_time_stamps_are_constant(tmp_path: Path) -> None:
    for rate in (Fraction(30000, 1001), Fraction(24000, 1001), Fraction(60)):
        info = probe_video(str(film(tmp_path / f"{rate.numerator}.mkv", range(50), rate)))
        assert (info.rate, info.n_frames, info.variable_rate) == (rate, 50, False)


@pytest.mark.parametrize("angle", [90, 180, 270])
def test_rotation_metadata_is_honoured(tmp_path: Path, angle: int) -> None:
    path = film(tmp_path / "turned.mp4", [5] * 3, rotation=angle, aspect=Fraction(4, 3))
    upright = film(tmp_path / "plain.mp4", [5] * 3)
    with av.open(str(path)) as container:
        counter_clockwise = next(container.decode(video=0)).rotation
    info = probe_video(str(path))
    assert info.rotation == -counter_clockwise % 360
    assert (info.width, info.height) == ((64, 96) if angle != 180 else (96, 64))
    assert info.sample_aspect == (Fraction(4, 3) if angle == 180 else Fraction(3, 4))
    with open_frames(info) as turned, open_frames(probe_video(str(upright))) as plain:
        one, two = next(turned.frames(0, 1)), next(plain.frames(0, 1))
    quarter = info.rotation // 90
    assert np.array_equal(one.y, np.rot90(two.y, -quarter))
    assert np.array_equal(one.v, np.rot90(two.v, -quarter))
    assert one.y.flags["C_CONTIGUOUS"]
    assert one.y.flags["WRITEABLE"]


@pytest.mark.parametrize(
    ("pix_fmt", "codec", "name"),
    [
        ("yuv422p", "libx264", "a.mp4"),
        ("yuv444p", "libx264", "a.mp4"),
        ("yuv420p10le", "libx264", "a.mp4"),
        ("yuvj420p", "mjpeg", "a.avi"),
        ("rgb24", "png", "a.mov"),
        ("gray", "ffv1", "a.mkv"),
        ("bgr0", "ffv1", "a.mkv"),
    ],
)
def test_other_pixel_formats_become_yuv420p(tmp_path: Path, pix_fmt: str, codec: str, name: str) -> None:
    path = film(tmp_path / name, range(5), codec=codec, pix_fmt=pix_fmt, options={"crf": "5"} if "264" in codec else {})
    info = probe_video(str(path))
    assert info.colour.full_range == pix_fmt.startswith("yuvj")
    with open_frames(info) as reader:
        frames = list(reader.frames(0, 5))
    assert [number_of(frame) for frame in frames] == list(range(5))
    wanted = picture(3)
    if not pix_fmt.startswith(("yuvj", "gray")):
        assert np.abs(frames[3].y.astype(int) - wanted.y).mean() < 4
        # below the code: its black and white have chroma that RGB cannot hold
        assert abs(frames[3].u[-12:].mean() - wanted.u.mean()) < 4
        assert abs(frames[3].v[-12:].mean() - wanted.v.mean()) < 4


def test_odd_sizes_lose_one_line(tmp_path: Path) -> None:
    path = film(tmp_path / "odd.mkv", range(4), codec="ffv1", size=(97, 65))
    info = probe_video(str(path))
    assert (info.width, info.height) == (96, 64)
    with open_frames(info) as reader:
        frame = next(reader.frames(0, 1))
    assert (frame.y.shape, frame.u.shape) == ((64, 96), (32, 48))


def test_transform_is_resize_rotate_crop(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mkv", range(3), codec="ffv1")
    info = probe_video(str(path))
    transform = Transform(resize_height=32, rotate=90, crop=(3, -1, 0, 21))
    assert transform.resized(96, 64) == (48, 32)
    assert transform.window(96, 64) == (0, 2, 20, 48)
    assert transform.size(96, 64) == (20, 46)
    with open_frames(info, transform) as reader:
        assert reader.size == (20, 46)
        frame = next(reader.frames(1, 2))
    assert frame.size == (20, 46)
    whole = picture(1)
    small = whole.y.reshape(32, 2, 48, 2).mean(axis=(1, 3))
    turned = np.rot90(small, -1)[2:48, 0:20]
    assert np.abs(turned - frame.y).max() <= 1
    with pytest.raises(InputError) as caught:
        Transform(crop=(60, 61, 0, -1)).size(96, 64)
    assert (caught.value.code, caught.value.field) == (Code.FIELD_VALUE, "crop")


def test_index_travels_between_processes(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", range(20), pts=[3 * n + n % 2 * 6 for n in range(0, 40, 2)][:20])
    info = probe_video(str(path), store=Store(tmp_path / "work"))
    assert info.index_path is not None
    stored = FrameIndex.from_bytes(Path(info.index_path).read_bytes())
    built = index_of(info.model_copy(update={"index_path": None}))
    assert np.array_equal(stored.pts, built.pts)
    assert np.array_equal(stored.keys, built.keys)
    assert np.array_equal(stored.spacing.slots, built.spacing.slots)
    assert (stored.time_base, stored.spacing.rate) == (built.time_base, built.spacing.rate)
    assert stored.spacing.n_frames == built.spacing.n_frames == info.n_frames
    Path(info.index_path).write_bytes(b"damaged")
    with open_frames(info) as reader:
        assert len(list(reader.frames(0, info.n_frames))) == info.n_frames
    assert type(info).model_validate_json(info.model_dump_json()) == info


def test_images(tmp_path: Path) -> None:
    folder = tmp_path / "stills"
    folder.mkdir()
    for number in (1, 2, 10):
        film(folder / f"f{number}.png", [number], codec="png", pix_fmt="rgb24")
    (folder / "notes.txt").write_text("not a picture")
    info = probe_video(str(folder), images_rate=Fraction(24000, 1001))
    assert (info.kind, info.n_frames, info.rate) == ("images", 3, Fraction(24000, 1001))
    with open_frames(info) as reader:
        assert [number_of(frame) for frame in reader.frames(0, 3)] == [1, 2, 10]
    one = probe_video(str(folder / "f10.png"))
    assert (one.kind, one.n_frames, one.rate) == ("image", 1, 25)
    with open_frames(one, Transform(rotate=90)) as reader:
        assert next(reader.frames(0, 1)).size == (64, 96)
    film(folder / "f11.png", [3], codec="png", pix_fmt="rgb24", size=(64, 64))
    info = probe_video(str(folder))
    with open_frames(info) as reader, pytest.raises(InputError, match=r"f11\.png") as caught:
        list(reader.frames(0, 4))
    assert caught.value.code == Code.VIDEO_DIMENSIONS
    assert sorted(["a10", "a9", "A1", "b"], key=natural_key) == ["A1", "a9", "a10", "b"]


def test_a_jpeg_keeps_its_colours(tmp_path: Path) -> None:
    bgr = np.zeros((64, 96, 3), np.uint8)
    bgr[:, :32], bgr[:, 32:64], bgr[:, 64:] = (40, 60, 220), (200, 90, 30), (250, 250, 250)
    path = tmp_path / "colours.jpg"
    cv2.imwrite(str(path), bgr, [cv2.IMWRITE_JPEG_QUALITY, 100])
    with open_frames(probe_video(str(path))) as reader:
        seen = to_bgr(next(reader.frames(0, 1)))
    for column in (16, 48, 80):  # away from edges, where chroma subsampling blurs
        assert np.abs(seen[32, column].astype(int) - bgr[32, column]).max() <= 4
