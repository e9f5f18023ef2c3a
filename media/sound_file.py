"""Convert a sound file to the format of a suffix."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from fractions import Fraction

import av
import av.error

from raydub.errors import Code, InputError, StageError
from raydub.files import storage_error
from raydub.media.encoder import SoundEncoder, exactly, fit, sound_form
from raydub.media.sound import sound_blocks, sound_shape

FORMS: Mapping[str, tuple[str, str]] = {
    ".wav": ("wav", "pcm_s16le"),
    ".flac": ("flac", "flac"),
    ".mp3": ("mp3", "libmp3lame"),
    ".m4a": ("ipod", "aac"),
    ".ogg": ("ogg", "libopus"),
    ".opus": ("opus", "libopus"),
}
"""Container and encoder by suffix. PyAV's wheels have no encoder of Vorbis that is fit for use: .ogg holds Opus."""


def convert_sound(source: str, out: str, seconds: Fraction) -> None:
    """Write `out`, whose suffix is one of FORMS, with the first `seconds` of the FLAC file `source`, as media.flac
    writes it. A .flac is a copy; .wav has 16 bits, the lossy ones 160 kbit/s in mono and 192 in stereo. The
    same input gives the same bytes.

    Raises InputError for the source, StageError ENCODE_FAILED, DISK_FULL or STORAGE.
    """
    form, codec = FORMS[os.path.splitext(out)[1].lower()]
    try:
        if codec == "flac":
            shutil.copyfile(source, out)
        else:
            _encode(source, out, form, codec, seconds)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None and 0 < error.errno < 200:
            raise storage_error(error, out) from error
        raise StageError(Code.ENCODE_FAILED, f"writing {out} failed: {error}") from error


def _encode(source: str, out: str, form: str, codec: str, seconds: Fraction) -> None:
    shape = sound_shape(source)
    if shape is None:
        raise InputError(Code.SPEECH_NO_STREAM, f"sound {source} has no audio stream")
    wanted = sound_form(codec, shape.rate, shape.channels)
    samples = round(seconds * wanted.rate)
    options = {"fflags": "+bitexact"}
    if form == "wav":
        options["rf64"] = "auto"  # beyond 4 GB
    if form == "ipod":
        options |= {"movflags": "+faststart", "movie_timescale": str(wanted.rate)}
    lead = fit(samples, True).lead if codec == "aac" else 0
    blocks = sound_blocks(source, wanted.rate, wanted.channels, gapless=True)
    with contextlib.closing(blocks), av.open(f"file:{out}", "w", format=form, options=options) as container:
        encoder = SoundEncoder(container, wanted)
        for packet in encoder.packets(exactly(blocks, samples, wanted.channels), lead):
            container.mux(packet)
