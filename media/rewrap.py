"""A picture without sound in another container."""

from __future__ import annotations

from fractions import Fraction

import ffmpeg

from media.ffmpeg import run_ffmpeg
from media.writer import fine_time_base


def rewrap(video: str, out: str, rate: Fraction) -> None:
    """Copy the picture of `video` into `out`, in the container of its extension (.mp4, .mov, .mkv); nothing is encoded.
    rate: frames a second, for an exact clock. Raises StageError STITCH_FAILED, DISK_FULL or TIMEOUT."""
    options = {"c:v": "copy", "fflags": "+bitexact"}
    if not out.lower().endswith(".mkv"):
        options |= {"movflags": "+faststart", "video_track_timescale": str(fine_time_base(rate).denominator)}
    picture = ffmpeg.input(f"file:{video}", protocol_whitelist="file").video
    run_ffmpeg(ffmpeg.output(picture, f"file:{out}", **options), 3600.0)
