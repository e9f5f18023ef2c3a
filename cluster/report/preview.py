"""Small films and pictures for a report, from the project's own readers: previews of a source and an output that show
the same moment at the same frame number, a strip of single moments, and the level of a sound."""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt

from raydub.arrays import F32, U8
from raydub.cluster.sheet import changed_box
from raydub.errors import RaydubError
from raydub.media.encoder import SoundEncoder, exactly, fit, sound_form
from raydub.media.frames import Frame, FrameReader, Transform, open_frames
from raydub.media.info import VideoInfo
from raydub.media.probe import probe_video
from raydub.media.sound import sound_blocks, sound_shape
from raydub.media.writer import fine_time_base
from raydub.media.yuv import to_bgr
from raydub.stages.source_timeline import Timeline, read_shown

FORM = 2
"""Raised when the same file would give another preview: earlier ones are then made anew."""
SHORT, LONG = 360, 960
"""Largest sides of a preview in pixels: it is seen at about this size, and 360 lines still show lips."""
_CRF, _BITS = 26, {1: 64_000, 2: 96_000}
_RATE = 16_000
_QUIET_DB = -80.0
_TILE = (264, 198)
_GAP = 4
_MATRIX = {"bt709": 1, "bt601": 6, "bt2020": 9}


def preview_size(width: int, height: int) -> tuple[int, int]:
    """(width, height) of the preview of such frames: even, never larger than they are."""
    scale = min(1.0, SHORT / min(width, height), LONG / max(width, height))
    return max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)


class Shown:
    """The frames of a film as an output shows them. said: "path", or "video" (a VideoInfo) with "transform" and
    "timeline", each as JSON."""

    def __init__(self, said: Mapping[str, Any]) -> None:
        info = said.get("video")
        self.info = probe_video(said["path"]) if info is None else VideoInfo.model_validate(info)
        self._transform = Transform.model_validate(said.get("transform") or {})
        timeline = said.get("timeline")
        self.timeline = None if timeline is None else Timeline.model_validate(timeline)
        self.count = self.info.n_frames if self.timeline is None else self.timeline.n_out

    @property
    def plays_through(self) -> bool:
        """Whether its own sound fits: nothing is left out, and nothing is shown twice."""
        return self.timeline is None or (self.timeline.kept is None and self.timeline.extend in ("none", "hold"))

    def open(self) -> FrameReader:
        """A reader of the frames."""
        return open_frames(self.info, self._transform)

    def frames(self) -> Iterator[Frame]:
        """All frames in order. Raises InputError, also INPUT_CHANGED if the film is not the one that was probed."""
        with self.open() as reader:
            if self.timeline is None:
                yield from reader.frames(0, self.count)
            else:
                yield from (frame for _, frame in read_shown(reader, self.timeline, 0, self.count))
            reader.check()

    def pictures(self, numbers: list[int]) -> list[U8]:
        """(H, W, 3) BGR pictures of some frames. Raises InputError."""
        sources = [number if self.timeline is None else self.timeline.source(number) for number in numbers]
        with self.open() as reader:
            found = {frame.index: to_bgr(frame) for frame in reader.frames_at(set(sources))}
            reader.check()
        return [found[source] for source in sources]


def make_preview(said: Mapping[str, Any], out: str) -> dict[str, Any]:
    """Write an mp4 (H.264, AAC) of a film; said: see Shown, and "size" (width, height), "rate" and "aspect" as
    fractions, all None for the film's own. Returns frames, rate, size and whether it has sound. Raises InputError,
    av.error.FFmpegError, OSError."""
    shown = Shown(said)
    info = shown.info
    size = tuple(said.get("size") or preview_size(info.width, info.height))
    rate = Fraction(said.get("rate") or info.rate)
    shape = sound_shape(info.path) if info.has_audio and shown.plays_through else None
    options = {"movflags": "+faststart", "video_track_timescale": str(fine_time_base(rate).denominator)}
    form = sound_form("aac", shape.rate, shape.channels) if shape else None
    if form is not None:
        options["movie_timescale"] = str(form.rate)
    with av.open(f"file:{out}", "w", format="mp4", options=options) as film:
        picture = _picture_stream(film, size, rate, Fraction(said.get("aspect") or info.sample_aspect))
        tracks: list[Iterator[Any]] = [_pictures(shown, picture, size, rate)]
        if form is not None:
            encoder = SoundEncoder(film, form)
            encoder.stream.codec_context.bit_rate = _BITS[form.channels]
            samples = round(shown.count / rate * form.rate)
            origin = Fraction(info.start_time).limit_denominator(1_000_000)
            blocks = sound_blocks(info.path, form.rate, form.channels, origin)
            tracks.append(encoder.packets(exactly(blocks, samples, form.channels), fit(samples, True).lead))
        for packet in heapq.merge(*tracks, key=lambda one: float(one.dts * one.time_base)):
            film.mux(packet)
    return {"frames": shown.count, "rate": str(rate), "size": list(size), "sound": form is not None}


def _picture_stream(film: Any, size: tuple[int, int], rate: Fraction, aspect: Fraction) -> Any:
    # One thread: several previews are made at the same time.
    stream = film.add_stream("libx264", rate=rate, options={"crf": str(_CRF), "preset": "veryfast", "threads": "1"})
    stream.width, stream.height = size
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.time_base = 1 / rate
    context.gop_size = max(1, round(rate))  # a player that seeks decodes a second at most
    context.sample_aspect_ratio = aspect
    return stream


def _pictures(shown: Shown, stream: Any, size: tuple[int, int], rate: Fraction) -> Iterator[Any]:
    halved = (size[0] // 2, size[1] // 2)
    for number, frame in enumerate(shown.frames()):
        if not number:
            context, colour = stream.codec_context, frame.colour
            context.colorspace, context.color_range = _MATRIX[colour.matrix], 2 if colour.full_range else 1
        picture: Any = av.VideoFrame(*size, "yuv420p")
        for plane, samples, to in zip(picture.planes, (frame.y, frame.u, frame.v), (size, halved, halved), strict=True):
            small = samples if samples.shape[::-1] == to else cv2.resize(samples, to, interpolation=cv2.INTER_AREA)
            rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
            rows[: to[1], : to[0]] = small
        picture.pts, picture.time_base = number, 1 / rate
        yield from stream.encode(picture)
    yield from stream.encode(None)


def make_strip(said: Mapping[str, Any], out: str) -> dict[str, Any]:
    """Write a JPEG of moments side by side, each the changed part of the source over that of the output. said: "before"
    and "after" (see Shown), "frames": numbers in the output. Returns the size of one moment. Raises InputError,
    OSError."""
    frames = list(said["frames"])
    new = Shown(said["after"]).pictures(frames)
    pair = said["before"] is not None
    try:
        old = Shown(said["before"]).pictures(frames) if pair else new
    except RaydubError:
        old, pair = new, False  # the source is gone or has changed, which its own preview says
    height, width = new[0].shape[:2]
    old = [
        image
        if image.shape[:2] == (height, width)
        else np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
        for image in old
    ]
    box = _framed(changed_box(old, new), width, height)
    columns = []
    for one, other in zip(old, new, strict=True):
        tiles = [_tile(one, box), np.full((_GAP, _TILE[0], 3), 255, np.uint8), _tile(other, box)]
        columns.append(np.concatenate(tiles if pair else tiles[2:]))
    picture = np.concatenate(columns, axis=1)
    with open(out, "wb") as file:
        file.write(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 82])[1].tobytes())
    return {"width": _TILE[0], "height": picture.shape[0], "frames": frames, "pair": pair}


def _framed(box: tuple[int, int, int, int], width: int, height: int) -> tuple[int, int, int, int]:
    """A box in the shape of a tile around the changed part, wide enough to show the face around a mouth."""
    x0, y0, x1, y1 = box
    shape = _TILE[0] / _TILE[1]
    high = max((x1 - x0) / shape, y1 - y0) * 1.4
    high = min(max(high, 96.0), float(height), width / shape)
    wide = high * shape
    left = min(max(0.0, (x0 + x1 - wide) / 2), width - wide)
    # A little above: more of the face is above a mouth than below it.
    top = min(max(0.0, (y0 + y1 - high) / 2 - 0.12 * high), height - high)
    return round(left), round(top), round(left + wide), round(top + high)


def _tile(image: npt.NDArray[np.uint8], box: tuple[int, int, int, int]) -> npt.NDArray[np.uint8]:
    part = image[box[1] : box[3], box[0] : box[2]]
    how = cv2.INTER_AREA if part.shape[0] > _TILE[1] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(part, _TILE, interpolation=how), np.uint8)


def levels(said: Mapping[str, Any]) -> dict[str, Any]:
    """The level of a film's sound in dBFS (root of mean squares), one value per frame, None for silence. said: "path",
    "rate" (a fraction), "frames". Raises InputError."""
    rate, count = Fraction(said["rate"]), int(said["frames"])
    if sound_shape(said["path"]) is None:
        return {"speech_db": []}
    edges = [round(number * _RATE / rate) for number in range(count + 1)]
    squares, done = np.zeros(count + 1), 0
    with contextlib.closing(sound_blocks(said["path"], _RATE, 1)) as blocks:
        for block in blocks:
            _add(squares, block[:, 0], done, edges)
            done += len(block)
    sizes = np.diff(np.array(edges, float))
    found = 10 * np.log10(np.maximum(squares[:count] / np.maximum(sizes, 1), 1e-12))
    return {"speech_db": [round(float(value), 1) if value > _QUIET_DB else None for value in found]}


def _add(squares: npt.NDArray[np.float64], samples: F32, done: int, edges: list[int]) -> None:
    places = np.searchsorted(edges, np.arange(done, done + len(samples)), side="right") - 1
    np.add.at(squares, np.minimum(places, len(squares) - 1), samples.astype(np.float64) ** 2)


def evenly(frames: int, count: int) -> list[int]:
    """Frame numbers spread over an output, for one without an evaluation."""
    count = max(0, min(count, frames))
    return [round((place + 0.5) * frames / count - 0.5) for place in range(count)]
