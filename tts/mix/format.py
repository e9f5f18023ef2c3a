"""The sound format of a job's output: rate, channels, length, and the bed."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import floor

from raydub.errors import Code, InputError
from raydub.manifests.job import Job
from raydub.manifests.options import settled_length
from raydub.media.info import VideoInfo
from raydub.media.sound import SoundShape, sound_shape
from raydub.tts.mix.programme import Bed

_RATES = (44100, 48000)
"""Rates that every output container supports; other rates are converted to the last."""


@dataclass(frozen=True)
class MixFormat:
    """rate, channels: of the mix, those of the original sound if it has any; end: samples of the video's length, None
    for a still image; bed: the sound under the speech; own: the bed is the video's own sound, so that its voices are
    heard between the new lines; warnings: "W_BED: sentence"."""

    rate: int
    channels: int
    end: int | None
    bed: Bed | None
    own: bool
    warnings: tuple[str, ...]

    def total(self, length: str, timed: bool, spoken: int | None) -> int | None:
        """Samples of the output, by the job's field `length`. spoken: samples until the end of the last word, None if
        not known: then the result is the hard end of the speech, None without one.

        Never rounded up: one sample more than the frames need would add a frame.
        """
        how = settled_length(length, timed)
        if self.end is None or how == "audio":
            return spoken
        if how == "video":
            return self.end
        return self.end if spoken is None else min(self.end, spoken)


def format_of(job: Job, video: VideoInfo) -> MixFormat:
    """The format of a job's sound. Raises InputError INPUT_* for the bed, FIELD_CONFLICT for one without sound."""
    options, warnings = job.options, []
    original = sound_shape(video.path) if video.kind == "video" and video.has_audio else None
    shape, bed, own = original, None, False
    if options.bed != "none":
        if options.bed_audio is not None:
            supplied = sound_shape(options.bed_audio)
            if supplied is None:
                message = f"bed_audio {options.bed_audio} has no sound"
                raise InputError(Code.FIELD_CONFLICT, message, hint="use a file with sound", field="bed_audio")
            shape = original or supplied
            bed = Bed(options.bed_audio, None, options.bed)
        elif original is not None:
            bed, own = Bed(video.path, Fraction(video.start_time).limit_denominator(1_000_000), options.bed), True
        else:
            warnings.append(f"W_BED: the video has no sound, so bed={options.bed} has no effect")
    kept = shape or SoundShape(_RATES[-1], 1)
    rate = kept.rate if kept.rate in _RATES else _RATES[-1]
    end = None if video.kind == "image" else floor(video.n_frames / video.rate * rate)
    return MixFormat(rate, min(2, max(1, kept.channels)), end, bed, own, tuple(warnings))
