"""From decoded sound to arrays: (n, channels) float32, whatever the format, the layout and the number of channels.

All samples of foreign files leave libav here, because PyAV's own accessors end the process for two kinds of sound.
Frames of eight and more planes: `AudioFrame.planes` counts planes up to a null pointer, and there is none behind the
eighth. Layouts with a channel order of their own (7.1 in AIFF and CAF, right before left in QuickTime): each
`AudioLayout` frees a list of channels that the decoder owns too. So the first are packed by libav's filters before
planes are accessed, and the second are replaced by a plain order before the decoder opens; the channels' names are kept
here.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import av
import av.error
import numpy as np
import numpy.typing as npt

from raydub.arrays import F32

# libav's own order of channels (libavutil/channel_layout.h): a layout that keeps to it owns no memory.
_ORDER = [
    "FL", "FR", "FC", "LFE", "BL", "BR", "FLC", "FRC", "BC", "SL", "SR", "TC",
    "TFL", "TFC", "TFR", "TBL", "TBC", "TBR", "DL", "DR", "WL", "WR", "SDL", "SDR",
    "LFE2", "TSL", "TSR", "BFC", "BFL", "BFR", "SSL", "SSR", "TTL", "TTR",
]  # fmt: skip
_PLACES = {name: place for place, name in enumerate(_ORDER)}
_LOW = frozenset({"LFE", "LFE2"})
_OMNIDIRECTIONAL = "AMBI0"
_MOST_PLANES = 7
_MATRIX_CHANNELS = 8
# (numpy's type, value of silence, full scale) of libav's sample formats.
_FORMATS: dict[str, tuple[str, float, float]] = {
    "u8": ("u1", 128.0, 2.0**7),
    "s16": ("i2", 0.0, 2.0**15),
    "s32": ("i4", 0.0, 2.0**31),
    "s64": ("i8", 0.0, 2.0**63),
    "flt": ("f4", 0.0, 1.0),
    "dbl": ("f8", 0.0, 1.0),
}


def channel_names(context: Any) -> tuple[str, ...]:
    """Names of the channels of a stream ("FL", "LFE", .., "" where the container has none), in the file's order.

    Call this once for every stream before it is decoded: it also sets the decoder's layout to an order that does not
    end the process (see the module). context: av.AudioCodecContext that is not open yet.
    """
    layout = context.layout
    names = _names(layout)
    if names:
        # `layout` now is the only owner of what it frees.
        context.layout = plain_layout(names)
    del layout
    return names


def plain_layout(names: Sequence[str]) -> str:
    """libav's word for a layout of these channels: by name where they stand in libav's order, else by number."""
    places = [_PLACES.get(name, -1) for name in names]
    plain = min(places, default=-1) >= 0 and places == sorted(set(places))
    return "+".join(names) if plain else f"{len(names)} channels"


class Samples:
    """Reads one stream's frames. names: of its channels, as channel_names() tells them, for decoders that know none."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        self._stated = tuple(names)
        self._packer: Any = None
        self._kind: tuple[str, str, int] | None = None
        self._order: list[int] | None = None
        self.names: tuple[str, ...] = ()

    def of(self, frame: Any) -> F32:
        """(n, channels) float32, nominally in [-1, 1]; `names` then are those of its channels. Channels whose names are
        known come in libav's order, whatever the file's.

        Raises av.error.FFmpegError or ValueError for a frame that cannot be read.
        """
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if kind != self._kind:
            self._kind, self._packer = kind, None
            own = _names(frame.layout)
            self.names = self._stated if len(self._stated) == len(own) and not any(own) else own
            self._order = _reordered(self.names)
            if self._order is not None:
                self.names = tuple(self.names[at] for at in self._order)
        if frame.format.is_planar and frame.layout.nb_channels > _MOST_PLANES:
            form = frame.format.name.removesuffix("p")
            self._packer = self._packer or av.AudioResampler(form, frame.layout, frame.sample_rate)
            parts = [_values(part) for part in self._packer.resample(frame)]
            block = np.concatenate(parts) if parts else np.zeros((0, len(self.names)), np.float32)
        else:
            block = _values(frame)
        return block if self._order is None else block[:, self._order]


def _names(layout: Any) -> tuple[str, ...]:
    return tuple("" if channel.name == "NONE" else channel.name for channel in layout.channels)


def _reordered(names: Sequence[str]) -> list[int] | None:
    """Places in the file of the channels in libav's order; None where they stand so, or cannot."""
    places = [_PLACES.get(name, -1) for name in names]
    if min(places, default=-1) < 0 or len(set(places)) < len(places) or places == sorted(places):
        return None
    return sorted(range(len(places)), key=places.__getitem__)


def _values(frame: Any) -> F32:
    channels, planar = frame.layout.nb_channels, frame.format.is_planar
    kind, silence, scale = _FORMATS[frame.format.name.removesuffix("p")]
    count = frame.samples if planar else frame.samples * channels
    planes = [np.frombuffer(plane, kind, count) for plane in frame.planes]
    block: npt.NDArray[Any] = np.stack(planes, axis=1) if planar else planes[0].reshape(-1, channels)
    if kind == "f4":
        return np.ascontiguousarray(block, np.float32)
    # Float32 holds 24 bits: numbers of 32 and more are rounded once, at the end.
    wide: npt.NDArray[Any] = block.astype(np.float64 if block.dtype.itemsize > 2 else np.float32)
    wide -= silence
    wide /= scale
    return wide.astype(np.float32, copy=False)


def packed_frame(block: F32, rate: int, layout: str, pts: int | None = None) -> Any:
    """An av.AudioFrame of packed floats with the samples of `block`, (n, channels). pts: number of its first sample."""
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block, np.float32).reshape(1, -1), "flt", layout)
    frame.sample_rate = rate
    if pts is not None:
        frame.pts, frame.time_base = pts, Fraction(1, rate)
    return frame


def mono(block: F32, names: Sequence[str]) -> F32:
    """(n, 1): the mean of the channels without the subwoofer; of an ambisonic sound field, its omnidirectional
    channel."""
    if len(names) == block.shape[1] > 2:
        heard = [at for at, name in enumerate(names) if name not in _LOW]
        if _OMNIDIRECTIONAL in names:
            heard = [names.index(_OMNIDIRECTIONAL)]
        block = block[:, heard] if heard and len(heard) < len(names) else block
    mean: F32 = block.mean(axis=1, dtype=np.float32, keepdims=True)
    return mean


class Stereo:
    """Stereo from three to eight channels by libav's matrix, if it has one for the layout.

    known: does it? If not, use mono() instead of of().
    """

    def __init__(self, names: Sequence[str], rate: int) -> None:
        """names: of the channels in the blocks; unnamed ones are taken for libav's default layout."""
        self._rate = rate
        self._layout = plain_layout(names)
        self._matrix: Any = None
        count = len(names)
        named = any(names)
        self.known = 2 < count <= _MATRIX_CHANNELS and named != self._layout.endswith("channels") and self._works(count)

    def of(self, block: F32) -> F32:
        """(n, 2) of (n, channels)."""
        frame = packed_frame(block, self._rate, self._layout)
        return np.concatenate([_values(part) for part in self._matrix.resample(frame)])

    def _works(self, count: int) -> bool:
        self._matrix = av.AudioResampler(format="flt", layout="stereo", rate=self._rate)
        try:
            return bool(len(self.of(np.zeros((64, count), np.float32))))
        except (av.error.FFmpegError, ValueError):
            return False
