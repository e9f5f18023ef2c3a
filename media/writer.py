"""Write one part file: video only, exact time stamps, closed groups of pictures, tagged colour and pixel aspect.

The same frames and settings give the same bytes: in any process, on any number of cores, on any x86-64 processor, as
long as the encoder's library and the system's C library are the same.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Self

import av
import av.error
import numpy as np

from raydub.errors import Code, StageError
from raydub.files import storage_error
from raydub.media.frames import Frame
from raydub.media.info import Colour
from raydub.media.opening import open_made

# Closed groups of pictures, and the same bytes on every machine: x264 and x265 decide by the number of threads (slices,
# motion range, rows of the look-ahead), so it is fixed instead of following the number of cores. x264's
# cpu-independent=1 uses the C code for the look-ahead's reference tree: the AVX-512 version (core 165) reads beyond the
# row if the width in macroblocks is not a multiple of 8, and all versions round differently. info=0 leaves out x265's
# note, which names the processor.
_SETTINGS = {
    "libx264": {"x264-params": "open-gop=0:threads=4:sliced-threads=0:lookahead-threads=1:cpu-independent=1"},
    "libx265": {"x265-params": "open-gop=0:log-level=none:pools=4:frame-threads=2:info=0"},
}
_DEFAULT = ":partitions=none"
"""Added to x264's preset veryfast, our default: a fifth less processor time, 0.2 dB, the same size (bench/NOTES.md)."""
_MATRIX_NUMBER = {"bt709": 1, "bt601": 6, "bt2020": 9}
_GOP_SECONDS = 5
_REORDERED = 2
"""Frames by which decoding order may be ahead of presentation order."""


def fine_time_base(rate: Fraction) -> Fraction:
    """A time base in which every frame time at `rate` is a whole number, 1/10000 s or finer."""
    scale = rate.numerator
    while scale < 10_000:
        scale *= 2
    return Fraction(1, scale)


class PartWriter:
    """Encodes frames 0, 1, 2, .. of a part into an mp4 file at `path`. Use as a context manager or call close().

    size: (width, height), even; rate: frames a second, exact; colour and sample_aspect: tags, values are not converted;
    codec: libx264 or libx265; crf: constant quality (lower is better); preset: the encoder's speed.
    Raises StageError ENCODE_FAILED, DISK_FULL or STORAGE.
    """

    def __init__(
        self,
        path: str,
        size: tuple[int, int],
        rate: Fraction,
        colour: Colour,
        sample_aspect: Fraction = Fraction(1),
        codec: str = "libx264",
        crf: int = 18,
        preset: str = "veryfast",
    ) -> None:
        if codec not in _SETTINGS:
            raise StageError(Code.ENCODE_FAILED, f"unknown codec {codec!r}", hint=f"one of {', '.join(_SETTINGS)}")
        self._path = path
        self._size = size
        self._colour = colour
        self._rate = rate
        self._count = 0
        self._container: Any = None
        tags = {"crf": str(crf), **_SETTINGS[codec], "preset": preset}
        if codec == "libx264" and preset == "veryfast":
            tags["x264-params"] += _DEFAULT
        try:
            scale = str(fine_time_base(rate).denominator)
            self._container = av.open(path, "w", format="mp4", options={"video_track_timescale": scale})
            stream = self._container.add_stream(codec, rate=rate, options=tags)
            stream.width, stream.height = size
            stream.pix_fmt = "yuv420p"
            context = stream.codec_context
            context.time_base = 1 / rate
            context.gop_size = max(1, round(rate * _GOP_SECONDS))
            context.sample_aspect_ratio = sample_aspect
            context.colorspace = _MATRIX_NUMBER[colour.matrix]
            context.color_range = 2 if colour.full_range else 1
            context.color_primaries = colour.primaries
            context.color_trc = colour.transfer
            if codec == "libx265":
                context.codec_tag = "hvc1"
            self._stream = stream
            self._container.start_encoding()
        except (av.error.FFmpegError, OSError, ValueError, TypeError) as error:
            self._abandon()
            raise self._failure(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self._abandon()

    def write(self, frame: Frame) -> None:
        """Append one frame of the part's size."""
        if frame.size != self._size:
            raise StageError(Code.ENCODE_FAILED, f"frame {frame.index} has size {frame.size}, not {self._size}")
        width, height = self._size
        picture: Any = av.VideoFrame(width, height, "yuv420p")
        for plane, samples in zip(picture.planes, (frame.y, frame.u, frame.v), strict=True):
            rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
            rows[: len(samples), : samples.shape[1]] = samples
        picture.pts = self._count
        picture.time_base = 1 / self._rate
        picture.colorspace = _MATRIX_NUMBER[self._colour.matrix]
        picture.color_range = 2 if self._colour.full_range else 1
        try:
            self._mux(self._stream.encode(picture))
        except (av.error.FFmpegError, OSError) as error:
            self._abandon()
            raise self._failure(error) from error
        self._count += 1

    def close(self) -> int:
        """Finish the file; returns how many frames were written. May be called again."""
        if self._container is not None:
            try:
                last = self._stream.encode(None)
                if self._count <= _REORDERED:
                    # x265 leaves these uninitialised. So few frames are not reordered.
                    for packet in last:
                        packet.dts = packet.pts
                self._mux(last)
                container, self._container = self._container, None
                container.close()
            except (av.error.FFmpegError, OSError) as error:
                self._abandon()
                raise self._failure(error) from error
        return self._count

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            packet.duration = round(1 / self._rate / packet.time_base)
            self._container.mux(packet)

    def _abandon(self) -> None:
        container, self._container = self._container, None
        if container is not None:
            try:
                container.close()
            except (av.error.FFmpegError, OSError):
                return  # the caller removes the file; the first error is the one to report

    def _failure(self, error: BaseException) -> StageError:
        if isinstance(error, OSError) and error.errno is not None and 0 < error.errno < 200:
            return storage_error(error, self._path)
        return StageError(Code.ENCODE_FAILED, f"encoding {self._path} failed: {error}")


def count_frames(path: str) -> int:
    """Number of frames that decoding a video written by raydub yields. Raises StageError VERIFY_FAILED if it cannot be
    read."""
    try:
        with open_made(path) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            # every bit is still parsed and every sample predicted; only the filter over whole pictures is left out
            stream.codec_context.options = {"skip_loop_filter": "all"}
            return sum(1 for _ in container.decode(stream))
    except (av.error.FFmpegError, OSError, IndexError, ValueError) as error:
        raise StageError(Code.VERIFY_FAILED, f"{path} cannot be read back: {error}", retryable=True) from error
