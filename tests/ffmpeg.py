"""The ffmpeg program for tests: it makes media, and it is the second reader that checks what raydub wrote.

raydub itself runs none. Tests use the build that the package imageio-ffmpeg pins, whatever stands on PATH;
RAYDUB_TEST_FFMPEG=/some/ffmpeg has them use another.
"""

from __future__ import annotations

import os


def ffmpeg_program() -> str:
    """Path of the program."""
    chosen = os.environ.get("RAYDUB_TEST_FFMPEG")
    if chosen:
        return chosen
    import imageio_ffmpeg

    return str(imageio_ffmpeg.get_ffmpeg_exe())


def is_pinned() -> bool:
    """Is it the pinned build? Version 5.1 knows fewer layouts, and writes AAC that begins late 32 samples too early."""
    return not os.environ.get("RAYDUB_TEST_FFMPEG")
