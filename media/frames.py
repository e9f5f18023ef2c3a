"""Exact frame reading: frame i of the constant-rate source, from any i, bit-identical wherever reading starts."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Self

import av
import av.error
from pydantic import BaseModel, ConfigDict

from raydub.arrays import U8
from raydub.errors import Code, InputError
from raydub.identity import Cache
from raydub.media.decode import Decoder
from raydub.media.fields import is_interlaced, progressive
from raydub.media.hdr import ToneMapper
from raydub.media.images import list_images, read_image
from raydub.media.index import index_of
from raydub.media.info import Colour, ProbeLimits, VideoInfo
from raydub.media.opening import unreadable
from raydub.media.planes import Planes, arrange, to_planes
from raydub.media.watch import Input, Watch


@dataclass
class Frame:
    """One picture in planar YUV 4:2:0, 8 bit. y: (H, W) uint8, u and v: (H/2, W/2) uint8, all owned and writable;
    index: its constant-rate number in the source; colour: what the values mean. H and W are even."""

    index: int
    y: U8
    u: U8
    v: U8
    colour: Colour

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.y.shape[1], self.y.shape[0]

    def copy(self) -> Frame:
        """A frame with planes of its own."""
        return Frame(self.index, self.y.copy(), self.u.copy(), self.v.copy(), self.colour)


class Transform(BaseModel):
    """From the upright source picture to the working frame: resize, then rotate, then crop (the order of Wav2Lip).

    resize_height: new height in pixels, width in proportion; rotate: degrees clockwise; crop: (top, bottom, left,
    right) in pixels of the rotated picture, bottom and right exclusive, -1 = to the end. All snaps to even pixels.
    """

    model_config = ConfigDict(frozen=True)

    crop: tuple[int, int, int, int] | None = None
    rotate: Literal[0, 90, 180, 270] = 0
    resize_height: int | None = None

    def resized(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) after the resize step alone."""
        if self.resize_height is None:
            return width // 2 * 2, height // 2 * 2
        lines = max(2, self.resize_height // 2 * 2)
        return max(2, round(width * lines / height / 2) * 2), lines

    def window(self, width: int, height: int) -> tuple[int, int, int, int]:
        """(x0, y0, x1, y1), all even: the part of the resized and rotated picture that stays.

        Raises InputError FIELD_VALUE (field "crop") when nothing of the picture is left.
        """
        width, height = self.resized(width, height)
        if self.rotate in (90, 270):
            width, height = height, width
        if self.crop is None:
            return 0, 0, width, height
        top, bottom, left, right = self.crop
        x0, y0 = max(0, left) // 2 * 2, max(0, top) // 2 * 2
        x1 = min(right if right >= 0 else width, width) // 2 * 2
        y1 = min(bottom if bottom >= 0 else height, height) // 2 * 2
        if x1 - x0 < 2 or y1 - y0 < 2:
            message = f"crop {self.crop} leaves nothing of a frame of {width}x{height} pixels"
            raise InputError(Code.FIELD_VALUE, message, field="crop")
        return x0, y0, x1, y1

    def size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of the working frame, both even."""
        x0, y0, x1, y1 = self.window(width, height)
        return x1 - x0, y1 - y0


class FrameReader:
    """Reads frames of one probed video. Use as a context manager; not for use from several threads.

    size: (width, height) of the frames that it yields.
    """

    def __init__(
        self,
        info: VideoInfo,
        transform: Transform = Transform(),  # noqa: B008 (frozen)
        cache: Cache | None = None,
    ) -> None:
        self._cache = cache
        self.info = info
        self.transform = transform
        self.size = transform.size(info.width, info.height)
        self._decoder: Decoder | None = None
        self._watch: Watch | None = None
        self._fields = info.interlaced
        self._mapped = ToneMapper(info.hdr) if info.hdr else None
        self._images = list_images(info.path, ProbeLimits()) if info.kind != "video" else []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; reading opens it again."""
        if self._decoder is not None:
            self._decoder.close()
            self._decoder = None

    def check(self) -> None:
        """Call this before publishing anything made of the frames. Raises InputError INPUT_CHANGED unless the video has
        been the probed one the whole time."""
        if self._watch is not None:
            self._watch.check()

    def frames(self, start: int, stop: int) -> Iterator[Frame]:
        """Yield exactly the frames start, .., stop - 1.

        Raises InputError: INPUT_CHANGED if it is no longer the probed video, INPUT_TRUNCATED when the file
        ends early, INPUT_UNREADABLE when a frame is damaged;
        ValueError when the range is not within 0..n_frames.
        """
        if not 0 <= start <= stop <= self.info.n_frames:
            raise ValueError(f"frames {start}..{stop} of a video of {self.info.n_frames}")
        if self._watch is None:
            held = Input("video", self.info.path, self.info.identity, self.info.look)
            self._watch = Watch([held], self._cache)
        if self.info.kind != "video":
            yield from self._stills(start, stop)
            return
        if start == stop:
            return
        index = index_of(self.info)
        if self._decoder is None:
            self._decoder = Decoder(self.info.path, index)
        numbers = index.file_frames(start, stop)
        decoded = self._pictures(self._decoder, int(numbers[0]), int(numbers[-1]) + 1, len(index.pts))
        shown, planes = -1, None
        for offset, number in enumerate(numbers):
            while planes is None or shown < number:
                shown, picture = next(decoded)
                planes = self._arrange(picture) if shown == number else None
            frame = Frame(start + offset, *planes, self.info.colour)
            # A repeated frame (variable rate) must not share memory with the one already yielded.
            yield frame.copy() if offset + 1 < len(numbers) and numbers[offset + 1] == number else frame

    def frames_at(self, indices: Iterable[int]) -> Generator[Frame]:
        """Yield each distinct frame number of `indices` once, ascending, reading neighbours in one run."""
        wanted = sorted({int(index) for index in indices})
        run = 0
        for position in range(1, len(wanted) + 1):
            if position == len(wanted) or wanted[position] != wanted[position - 1] + 1:
                yield from self.frames(wanted[run], wanted[position - 1] + 1)
                run = position

    def _pictures(self, decoder: Decoder, start: int, stop: int, total: int) -> Iterator[tuple[int, Any]]:
        """(number, av.VideoFrame) of the file's frames start..stop-1, progressive."""
        if not self._fields:
            for number, picture in decoder.read(start, stop):
                if is_interlaced(picture):
                    # From here on frames need their neighbours; earlier ones are the same either way.
                    start, self._fields = number, True
                    break
                yield number, picture
            else:
                return
        try:
            yield from progressive(decoder, self.info.path, start, stop, total)
        except av.error.FFmpegError as error:
            raise unreadable(self.info.path, "video", error) from error

    def _arrange(self, picture: Any) -> Planes:
        info = self.info
        planes = to_planes(picture, info.colour) if self._mapped is None else self._mapped(picture)
        sides = (info.height, info.width) if info.rotation in (90, 270) else (info.width, info.height)
        if planes[0].shape != (sides[1], sides[0]):
            message = f"video {info.path} changes its frame size to {picture.width}x{picture.height}"
            raise InputError(Code.VIDEO_DIMENSIONS, message, hint="convert it to one size first")
        resize = self.transform.resized(info.width, info.height)
        return arrange(
            planes,
            info.rotation,
            info.flip,
            None if resize == (info.width, info.height) else resize,
            self.transform.rotate,
            self.transform.window(info.width, info.height),
        )

    def _stills(self, start: int, stop: int) -> Iterator[Frame]:
        for number in range(start, stop):
            path = self._images[number] if number < len(self._images) else None
            if path is None:
                raise InputError(
                    Code.INPUT_TRUNCATED, f"folder {self.info.path} has fewer images than when it was probed"
                )
            picture = read_image(path, ProbeLimits())
            if (picture.width // 2 * 2, picture.height // 2 * 2) != (self.info.width, self.info.height):
                size = f"{self.info.width}x{self.info.height}"
                raise InputError(
                    Code.VIDEO_DIMENSIONS,
                    f"image {path} has {picture.width}x{picture.height} pixels upright, the first one {size}",
                    hint="all images of a folder must have one size once each is turned as its orientation tag says",
                )
            yield Frame(number, *self._arrange(picture), self.info.colour)


def open_frames(
    info: VideoInfo,
    transform: Transform = Transform(),  # noqa: B008 (frozen)
    cache: Cache | None = None,
) -> FrameReader:
    """A FrameReader for a probed video; nothing is opened before the first frame is asked for. cache: of identities,
    for a file that looks otherwise here than where it was probed."""
    return FrameReader(info, transform, cache)
