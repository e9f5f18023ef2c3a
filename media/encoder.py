"""Encode sound into one stream of an open container so that it begins and ends exactly on the sample.

Lossy codecs encode blocks, and the first block contains the encoder's delay. Containers state how much of the first
block to skip, which every reader obeys; some readers play all of the last block. In mp4 and mov, silence is therefore
put before the sound, as much as is missing to fill the last block: it is skipped with the delay, and the last block
ends with the sound. In Matroska only the encoder's delay is skipped; there the last block states how much of it to
discard (DiscardPadding).
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import av
import numpy as np
from av.codec.context import Flags
from av.packet import PacketSideData, packet_sidedata_type_from_literal

from raydub.arrays import F32
from raydub.media.samples import packed_frame

AAC_BLOCK = 1024
"""Samples of an AAC block, which are also the delay of libav's encoder."""

_SAMPLE_FORMATS = {"aac": "fltp", "libmp3lame": "fltp", "libopus": "flt", "pcm_s16le": "s16"}
_RATES = {
    "aac": (44100, 48000),
    "libmp3lame": (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
    "libopus": (48000,),
}
_BITS = {1: 160_000, 2: 192_000}
_SILENCE = 1 << 16


@dataclass(frozen=True)
class SoundForm:
    """How sound is stored. codec: libav's name of the encoder; rate: Hz; channels: 1 or 2."""

    codec: str
    rate: int
    channels: int

    @property
    def layout(self) -> str:
        """libav's name of the channels."""
        return "mono" if self.channels == 1 else "stereo"


def sound_form(codec: str, rate: int, channels: int) -> SoundForm:
    """The form nearest to a sound of `rate` Hz and any number of channels that `codec` can store. If the codec lacks
    the rate: 44.1 kHz for its fractions and 48 kHz for all others; mono stays mono, everything else becomes stereo."""
    if codec in _RATES and rate not in _RATES[codec]:
        rate = 44100 if rate % 11025 == 0 and rate < 44100 in _RATES[codec] else 48000
    return SoundForm(codec, rate, 1 if channels <= 1 else 2)


@dataclass(frozen=True)
class Fit:
    """How `samples` audible samples lie in whole AAC blocks. lead: silent samples encoded before them; excess: samples
    of the last block after them."""

    samples: int
    lead: int
    excess: int


def fit(samples: int, edit_list: bool) -> Fit:
    """Where to put the silence that fills the last block: before the sound if an edit list skips it, else after it.

    libav's reader of edit lists plays nothing if more of a block is skipped than played and no block follows. So sounds
    of half a block or less (11 ms) keep the rest of their silence at the end, and the edit list ends before it.
    """
    short = -samples % AAC_BLOCK
    lead = min(short, samples - 1) if edit_list else 0
    return Fit(samples, lead, short - lead)


class SoundEncoder:
    """A new stream of `container`, which is open for writing and has no header yet, with its encoder."""

    def __init__(self, container: Any, form: SoundForm) -> None:
        """Raises av.error.FFmpegError or ValueError where the container cannot hold the form."""
        self.form = form
        options = {"bit_rate": _BITS[form.channels]} if form.codec in _RATES else {}
        self.stream = container.add_stream(form.codec, rate=form.rate, layout=form.layout, **options)
        self.stream.codec_context.format = _SAMPLE_FORMATS[form.codec]
        self.stream.codec_context.flags |= Flags.bitexact
        self.stream.disposition = av.stream.Disposition.default

    def packets(self, blocks: Iterable[F32], lead: int = 0) -> Iterator[Any]:
        """`lead` silent samples and the (n, channels) float32 blocks, encoded; time 0 is the first sample of blocks."""
        at = -lead
        silence = np.zeros((lead, self.form.channels), np.float32)
        for block in itertools.chain([silence] if lead else [], blocks):
            yield from self.stream.encode(packed_frame(block, self.form.rate, self.form.layout, at))
            at += len(block)
        yield from self.stream.encode(None)


def exactly(blocks: Iterable[F32], samples: int, channels: int) -> Iterator[F32]:
    """The first `samples` sample frames of (n, channels) blocks, followed by silence if there are fewer."""
    left = samples
    for block in blocks:
        yield block[:left]
        left -= len(block)
        if left <= 0:
            return
    while left > 0:
        yield np.zeros((min(left, _SILENCE), channels), np.float32)
        left -= _SILENCE


def ending(packets: Iterable[Any], excess: int) -> Iterator[Any]:
    """The same packets; the last one is marked so that readers discard its last `excess` samples."""
    held = None
    for packet in packets:
        if held is not None:
            yield held
        held = packet
    if held is None:
        return
    if excess:
        # AV_PKT_DATA_SKIP_SAMPLES: samples to skip at the start, to discard at the end, and two reasons.
        said = cast(Any, PacketSideData)(packet_sidedata_type_from_literal("skip_samples"), 10)
        said.update(struct.pack("<IIBB", 0, excess, 0, 0))
        held.set_sidedata(said)
    yield held
