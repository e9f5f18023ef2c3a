"""The length of a file's sound as its container states it, and whether fewer samples than that mean damage.

Most containers state it exactly: WAV, W64, AIFF, CAF, FLAC by samples, ISO files by a table for each track. Fewer
samples are damage. Matroska states one length for the whole file, that of its longest track, and the sound may end
before the video or begin after it. There the length of a track is its tag DURATION, which ffmpeg and mkvmerge write, or
the file's if there is no other track. Without either nothing is compared: truncation shows in the bytes of the file
(media.complete). All other containers estimate.
"""

from __future__ import annotations

import re
from typing import Any

import av

from raydub.errors import Code, InputError
from raydub.media.complete import open_complete
from raydub.media.info import ProbeLimits, SpeechInfo
from raydub.media.opening import decodable
from raydub.media.samples import channel_names

_COUNTING = {"flac", "wav", "w64", "aiff", "caf", "mov"}
_DURATION = re.compile(r"(\d{1,4}):(\d\d):(\d\d(?:\.\d+)?)")


def probe_speech(path: str, limits: ProbeLimits = ProbeLimits()) -> SpeechInfo:  # noqa: B008 (frozen)
    """Probe a sound file, or the sound of a video file. Raises InputError INPUT_* or SPEECH_NO_STREAM."""
    with open_complete(path, limits, "speech") as container:
        if not container.streams.audio:
            raise InputError(Code.SPEECH_NO_STREAM, f"speech {path} has no audio stream")
        stream = decodable(container.streams.audio[0], path, "speech")
        seconds, counted = _length(container, stream)
        if seconds > limits.max_seconds:
            raise InputError(
                Code.INPUT_LIMIT, f"speech {path} lasts {seconds:.0f} s, more than {limits.max_seconds:.0f}"
            )
        context = stream.codec_context
        channels = len(channel_names(context))
        _check_sound(path, context.sample_rate or 0, channels, limits)
        return SpeechInfo(
            path=path,
            seconds=seconds,
            counted=counted,
            sample_rate=context.sample_rate or 0,
            channels=channels,
            codec=context.name,
        )


def _length(container: Any, stream: Any) -> tuple[float, bool]:
    """(seconds, is this exact for this stream?); (0.0, False) if nothing is stated."""
    kind = container.format.name.split(",")[0]
    whole = (container.duration or 0) / av.time_base
    if stream.duration:
        return max(0.0, float(stream.duration * stream.time_base)), kind in _COUNTING
    if kind != "matroska":
        return max(0.0, whole), False
    # ffmpeg's tag is the time at which the track ends, mkvmerge's the time that it lasts: the smaller holds for both.
    start = max(0.0, float((stream.start_time or 0) * stream.time_base))
    said = (_DURATION.match(value) for key, value in stream.metadata.items() if key.upper().startswith("DURATION"))
    found = next((match for match in said if match), None)
    if found is not None:
        ends = int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3])
        # A tag copied from another file may be wrong.
        if ends <= whole + 1.0 or not whole:
            return max(0.0, ends - start), True
    return max(0.0, whole - start), whole > 0 and len(container.streams) == 1


def _check_sound(path: str, rate: int, channels: int, limits: ProbeLimits) -> None:
    if rate and not limits.min_sample_rate <= rate <= limits.max_sample_rate:
        bounds = f"{limits.min_sample_rate} to {limits.max_sample_rate}"
        raise InputError(Code.INPUT_LIMIT, f"speech {path} has {rate} samples a second, outside {bounds}")
    if channels > limits.max_channels:
        raise InputError(Code.INPUT_LIMIT, f"speech {path} has {channels} channels, more than {limits.max_channels}")
