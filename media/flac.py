"""Write intermediate sound as 24-bit FLAC, block by block; the file appears complete or not at all.

Unlike WAV, FLAC has no limit of 4 GB (three hours of stereo at 48 kHz), and silence takes almost no space.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

import av
import av.error
import numpy as np

from raydub.arrays import F32
from raydub.errors import Code, StageError
from raydub.files import discard, publish, storage_error, temp_beside

_FULL_SCALE = np.float32(1 << 23)  # single floats hold whole numbers to twice this
# Level 5 is the default; 2 is twice as fast and a few per cent larger. Default blocks last 27 ms, and reading costs
# time per block: these are the largest that every decoder accepts.
_OPTIONS = {"compression_level": "2", "frame_size": "4608"}
_MOST_RATE = 655_350
_PIECE = 1 << 16


class SoundWriter:
    """Write (n, channels) blocks to `path` as FLAC; a context manager. The file appears at publish(); without it,
    nothing is left.

    Samples outside [-1, 1) are clipped and counted in `clipped`; the file stores 24 bits (-144 dB).
    """

    def __init__(self, path: str, rate: int, channels: int) -> None:
        """rate: Hz, up to 655350; channels: 1 or 2. Raises StageError STORAGE, DISK_FULL or ENCODE_FAILED."""
        if channels not in (1, 2) or not 1 <= rate <= _MOST_RATE:
            raise ValueError(f"{channels} channels at {rate} Hz cannot be written as FLAC here")
        self.frames = 0
        self.clipped = 0
        self._path = path
        self._rate = rate
        self._channels = channels
        self._layout = "mono" if channels == 1 else "stereo"
        self._temp = temp_beside(path)
        self._container: Any = None
        try:
            self._container = av.open(self._temp, "w", format="flac")
            self._stream = self._container.add_stream("flac", rate=rate, options=_OPTIONS)
            self._stream.codec_context.layout = self._layout
            self._stream.codec_context.format = "s32"
        except (av.error.FFmpegError, OSError, ValueError) as error:
            self._drop()
            raise self._failure(error) from error

    def write(self, block: F32) -> None:
        """Append (n, channels) float32. Raises StageError DISK_FULL, STORAGE or ENCODE_FAILED."""
        if block.ndim != 2 or block.shape[1] != self._channels:
            raise ValueError(f"a block of shape {block.shape} for {self._channels} channels")
        for start in range(0, len(block), _PIECE):
            self._write(block[start : start + _PIECE])

    def publish(self, *, durable: bool = True) -> None:
        """Finish the file and rename it to `path`, replacing an existing one. Raises StageError as write() does."""
        self._finish()
        publish(self._temp, self._path, durable=durable)

    def __enter__(self) -> SoundWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._drop()

    def _write(self, block: F32) -> None:
        scaled = np.rint(block.astype(np.float32, copy=False) * _FULL_SCALE)
        loudest = float(np.abs(scaled).max(initial=0.0))
        if not np.isfinite(loudest):
            raise StageError(Code.ENCODE_FAILED, f"samples for {self._path} are NaN or infinite")
        if loudest > _FULL_SCALE:
            # Full scale is one step above the largest value: not counted as clipping.
            self.clipped += int(np.count_nonzero(np.abs(scaled) > _FULL_SCALE))
        if loudest >= _FULL_SCALE:
            scaled = np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1)
        numbers = scaled.astype(np.int32) << 8
        frame = av.AudioFrame.from_ndarray(numbers.reshape(1, -1), format="s32", layout=self._layout)
        frame.sample_rate = self._rate
        frame.pts = self.frames
        self.frames += len(block)
        try:
            self._container.mux(self._stream.encode(frame))
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise self._failure(error) from error

    def _finish(self) -> None:
        if self._container is None:
            raise ValueError(f"{self._path} is already finished")
        try:
            self._container.mux(self._stream.encode(None))
            # Closing writes the length into the header.
            self._container.close()
            self._container = None
        except (av.error.FFmpegError, OSError, ValueError) as error:
            self._drop()
            raise self._failure(error) from error

    def _drop(self) -> None:
        container, self._container = self._container, None
        try:
            if container is not None:
                container.close()
        except (av.error.FFmpegError, OSError, ValueError):
            return  # the file is removed; the first error is reported
        finally:
            discard(self._temp)

    def _failure(self, error: BaseException) -> StageError:
        if isinstance(error, OSError) and error.errno is not None and 0 < error.errno < 200:
            return storage_error(error, self._path)
        return StageError(Code.ENCODE_FAILED, f"writing {self._path} failed: {error}")
