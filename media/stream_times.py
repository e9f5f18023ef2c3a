"""When the picture and the sound of a file begin and end, on its own clock."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import av.error

from raydub.media.info import ProbeLimits
from raydub.media.opening import open_input

_LOOKED_AT = 64


@dataclass(frozen=True)
class StreamTimes:
    """Seconds on the file's clock. start: of the first frame and of the first sample that are shown and heard (edit
    lists and encoder delays are taken off); end: as the container states it. None where the file does not say."""

    video_start: float | None
    video_end: float | None
    audio_start: float | None
    audio_end: float | None


def stream_times(path: str, limits: ProbeLimits = ProbeLimits()) -> StreamTimes:  # noqa: B008 (frozen)
    """Of the first video and the first audio stream. Decodes a few frames. Raises InputError INPUT_*."""
    found: list[float | None] = []
    for kind in ("video", "audio"):
        with contextlib.closing(open_input(path, limits, kind)) as container:
            stream = next((one for one in container.streams if one.type == kind), None)
            start = None if stream is None else _first(container, stream)
            found += [start, None if stream is None else _end(stream, start)]
    return StreamTimes(*found)


def _first(container: Any, stream: Any) -> float | None:
    times: list[float] = []
    try:
        for number, packet in enumerate(container.demux(stream)):
            for frame in packet.decode():
                if frame.pts is not None:
                    times.append(float(frame.pts * frame.time_base))
            if times or number >= _LOOKED_AT:
                break
    except (av.error.FFmpegError, ValueError):
        return None
    return min(times, default=None)


def _end(stream: Any, start: float | None) -> float | None:
    if start is None or not stream.duration:
        return None
    base = stream.start_time if stream.start_time is not None else 0
    return float((base + stream.duration) * stream.time_base)
