"""Interlaced film: progressive frames at the same rate, the first field kept as decoded, the same from any start."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.filter import Graph

from raydub.media.frames import Frame, Transform, open_frames
from raydub.media.probe import probe_video

WIDTH, HEIGHT = 160, 96
INTERLACED = {
    "a.mp4": ("libx264", {"flags": "+ildct+ilme", "x264-params": "keyint=10:bframes=2"}),
    "b.mkv": ("libx264", {"flags": "+ildct+ilme", "x264-params": "keyint=10:bframes=2:open-gop=1"}),
    "c.ts": ("libx264", {"flags": "+ildct+ilme", "x264-params": "keyint=12:bframes=3:b-adapt=0:open-gop=1"}),
    "d.mpg": ("mpeg2video", {"flags": "+ildct+ilme", "bf": "2"}),
    "e.mkv": ("mpeg2video", {"flags": "+ildct+ilme"}),
    "f.mov": ("prores_ks", {"flags": "+ildct"}),
}


def field_picture(instant: float) -> np.ndarray:
    """(HEIGHT, WIDTH) uint8: a bar that moves 4 pixels in each field, over a still pattern of thin lines."""
    y = np.full((HEIGHT, WIDTH), 90, np.uint8)
    y[: HEIGHT // 4] += np.uint8(60) * (np.arange(HEIGHT // 4) % 4 < 2)[:, None].astype(np.uint8)
    left = 10 + round(4 * instant) % 100
    y[HEIGHT // 2 :, left : left + 30] = 220
    return y


def woven(number: int, top_first: bool = True) -> np.ndarray:
    """Frame `number`: two fields, half a frame apart."""
    early, late = field_picture(2 * number), field_picture(2 * number + 1)
    y = early.copy()
    later = slice(1, None, 2) if top_first else slice(0, None, 2)
    y[later] = late[later]
    return y


def marker(top_first: bool) -> Any:
    """A filter that marks frames as interlaced: PyAV itself has no way to say it."""
    graph = Graph()
    source = graph.add_buffer(width=WIDTH, height=HEIGHT, format=av.VideoFormat("yuv420p"), time_base=Fraction(1, 25))
    field = graph.add("setfield", mode="tff" if top_first else "bff")
    sink = graph.add("buffersink")
    source.link_to(field)
    field.link_to(sink)
    graph.configure()
    return graph


def fields_film(
    path: Path,
    count: int = 26,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    top_first: bool = True,
    pts: Sequence[int] | None = None,
    rotation: int = 0,
) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = "yuv422p10le" if codec == "prores_ks" else "yuv420p"
        stream.codec_context.bit_rate = 8_000_000
        if codec == "mpeg2video":
            stream.codec_context.gop_size = 10
        if rotation:
            stream.set_display_rotation(rotation)
        graph = marker(top_first)
        for number in range(count):
            grey = np.full(WIDTH * HEIGHT // 2, 128, np.uint8)
            planes = np.concatenate([woven(number, top_first).ravel(), grey])
            frame = av.VideoFrame.from_ndarray(planes.reshape(-1, WIDTH), format="yuv420p")
            frame.pts = number if pts is None else pts[number]
            frame.time_base = Fraction(1, 25)
            if "flags" in (options or {}):
                graph.push(frame)
                frame = graph.pull()
            if stream.pix_fmt != "yuv420p":
                frame = frame.reformat(format=stream.pix_fmt)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def combing(y: np.ndarray) -> float:
    """How far each line is from the mean of its neighbours, where the bar moves."""
    lines = y[HEIGHT // 2 + 4 : -4].astype(float)
    return float(np.abs(lines[1:-1] - (lines[:-2] + lines[2:]) / 2).mean())


def decoded(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def luma(picture: av.VideoFrame) -> np.ndarray:
    return (
        picture.reformat(format="gray").to_ndarray()
        if picture.format.name != "yuv420p"
        else picture.to_ndarray()[:HEIGHT]
    )


def same(one: Frame, two: Frame) -> bool:
    return all(np.array_equal(a, b) for a, b in zip((one.y, one.u, one.v), (two.y, two.u, two.v), strict=True))


@pytest.mark.parametrize("name", INTERLACED)
def test_interlaced_frames_become_progressive(tmp_path: Path, name: str) -> None:
    codec, options = INTERLACED[name]
    top = name not in ("b.mkv", "e.mkv")
    path = fields_film(tmp_path / name, codec=codec, options=options, top_first=top)
    own = decoded(path)
    assert all(picture.interlaced_frame for picture in own)
    info = probe_video(str(path))
    assert (info.interlaced, info.rate, info.n_frames, info.variable_rate) == (True, 25, 26, False)
    with open_frames(info) as reader:
        whole = list(reader.frames(0, 26))
    assert [frame.index for frame in whole] == list(range(26))
    for number in (0, 1, 12, 25):
        assert combing(luma(own[number])) > 4
        assert combing(whole[number].y) < 1.5
    if codec != "prores_ks":  # 8-bit 4:2:0: the field that is shown first stays as decoded
        kept = slice(0, None, 2) if top else slice(1, None, 2)
        for number in range(26):
            assert np.array_equal(whole[number].y[kept], luma(own[number])[kept])
        # what stands still keeps both its fields, line for line
        assert np.abs(whole[12].y[4 : HEIGHT // 4 - 4].astype(int) - luma(own[12])[4 : HEIGHT // 4 - 4]).max() <= 3
    for start, stop in [(25, 26), (0, 1), (9, 12), (10, 11), (11, 24), (1, 3)]:
        with open_frames(info) as fresh:
            again = list(fresh.frames(start, stop))
        assert len(again) == stop - start
        assert all(same(a, b) for a, b in zip(again, whole[start:stop], strict=True)), (start, stop)
    with open_frames(info) as reader:  # one reader, jumping about
        for start in (20, 5, 21, 22, 0, 25):
            assert same(next(iter(reader.frames(start, start + 1))), whole[start])


def mixed_film(path: Path, first: bool) -> Path:
    """Ten progressive frames and ten interlaced ones in one stream, in MPEG-2: two films of the same settings."""
    parts = [
        fields_film(path.with_name(f"p{k}.m2v"), 10, "mpeg2video", {"flags": "+ildct+ilme"} if k == first else {})
        for k in range(2)
    ]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


@pytest.mark.parametrize("first", [False, True])
def test_only_frames_that_are_marked_are_changed(tmp_path: Path, first: bool) -> None:
    """Marks may change on the way (telecine, edits): what is not marked stays as decoded, from any start."""
    path = mixed_film(tmp_path / "mixed.m2v", first)
    own = decoded(path)
    marked = [bool(picture.interlaced_frame) for picture in own]
    assert sorted(marked) == [False] * 10 + [True] * 10
    info = probe_video(str(path))
    assert info.interlaced == marked[0]
    with open_frames(info) as reader:
        whole = list(reader.frames(0, 20))
    for frame, picture, combed in zip(whole, own, marked, strict=True):
        assert np.array_equal(frame.y, luma(picture)) == (not combed)
    for start, stop in [(9, 11), (8, 10), (10, 12), (19, 20), (3, 15)]:
        with open_frames(info) as fresh:
            again = list(fresh.frames(start, stop))
        assert all(same(a, b) for a, b in zip(again, whole[start:stop], strict=True)), (start, stop)


def test_uneven_times_and_rotation_hold(tmp_path: Path) -> None:
    places = [0, 1, 2, 5, 6, 7, 10, 11, 12, 13, 14, 17]
    options = {"flags": "+ildct+ilme", "x264-params": "keyint=6"}
    path = fields_film(tmp_path / "v.mkv", 12, options=options, pts=places)
    plain = fields_film(tmp_path / "p.mkv", 12, options=options)
    info = probe_video(str(path))
    assert (info.interlaced, info.variable_rate) == (True, True)
    with open_frames(info) as reader:
        shown = list(reader.frames(0, info.n_frames))
    with open_frames(probe_video(str(plain))) as reader:
        wanted = list(reader.frames(0, 12))
    step = info.rate / 25
    for slot, frame in enumerate(shown):
        number = max(k for k, place in enumerate(places) if round(place * step) <= slot)
        assert same(frame, wanted[number])
    turned = probe_video(str(fields_film(tmp_path / "t.mp4", 12, options=options, rotation=90)))
    upright = fields_film(tmp_path / "u.mp4", 12, options=options)
    with open_frames(turned) as one, open_frames(probe_video(str(upright))) as two:
        for a, b in zip(one.frames(3, 6), two.frames(3, 6), strict=True):
            assert np.array_equal(a.y, np.rot90(b.y, -turned.rotation // 90))
    with open_frames(turned, Transform(crop=(8, 40, 4, 60))) as reader:
        frame = next(reader.frames(4, 5))
    assert frame.size == (56, 32)
