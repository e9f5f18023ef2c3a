"""Test that the FFmpeg inside PyAV writes videos as raydub needs them, by writing some instead of comparing
versions."""

from __future__ import annotations

import os
import tempfile
from fractions import Fraction

import numpy as np

from raydub.errors import RaydubError
from raydub.media.flac import SoundWriter
from raydub.media.frames import Frame
from raydub.media.info import Colour
from raydub.media.mux import assemble, check_output
from raydub.media.writer import PartWriter

_RATE = Fraction(30000, 1001)
_PARTS = (7, 5)
_SIDE = 64


def trial() -> str:
    """Write a video of two parts with sound in every container, and check it as outputs are checked. Returns what is
    wrong, "" if nothing is. Takes a tenth of a second and a few kilobytes of the temporary folder."""
    grey = np.full((_SIDE // 2, _SIDE // 2), 128, np.uint8)
    with tempfile.TemporaryDirectory(prefix="raydub-trial-") as folder:
        parts = [os.path.join(folder, f"{number}.mp4") for number in range(len(_PARTS))]
        sound = os.path.join(folder, "sound.flac")
        try:
            for path, count in zip(parts, _PARTS, strict=True):
                with PartWriter(path, (_SIDE, _SIDE), _RATE, Colour()) as writer:
                    for number in range(count):
                        shade = np.full((_SIDE, _SIDE), 20 * number, np.uint8)
                        writer.write(Frame(number, shade, grey, grey.copy(), Colour()))
            with SoundWriter(sound, 44100, 1) as spoken:
                spoken.write(np.sin(np.arange(20_000) / 20).astype(np.float32).reshape(-1, 1))
                spoken.publish(durable=False)
            for suffix in (".mp4", ".mov", ".mkv"):
                film = os.path.join(folder, f"film{suffix}")
                assemble(parts, _PARTS, _RATE, film, sound, {"comment": "trial"})
                check_output(film, sum(_PARTS), _RATE)
        except RaydubError as error:
            return error.message
    return ""
