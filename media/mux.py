"""From part files to the finished film: join without re-encoding, add the speech, check the result.

A part's own time stamps are not used: packet k of the film gets its time from its frame number, which is exact at every
rational rate and never goes backwards where parts meet.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import av
import av.error
import ffmpeg
import numpy as np

from media.ffmpeg import run_ffmpeg
from media.info import SpeechInfo
from media.probe import probe_speech
from media.writer import fine_time_base
from raydub.errors import Code, StageError
from raydub.files import storage_error

OUTPUT_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".m4v")
"""Containers on offer; .webm takes AV1 video only."""

_LOCAL = {"protocol_whitelist": "file"}
_AAC_RATES = (44100, 48000)
_AAC_BLOCK = 1024


def join_parts(parts: Sequence[str], counts: Sequence[int], rate: Fraction, out: str) -> None:
    """Copy the video packets of `parts`, holding `counts` frames each, into one mp4 file `out` at exactly `rate`.

    Raises StageError: STITCH_FAILED when a part has another number of frames or other codec settings, or cannot be
    read; DISK_FULL or STORAGE.
    """
    if not parts or len(parts) != len(counts):
        raise StageError(Code.STITCH_FAILED, f"{len(parts)} parts with {len(counts)} counts")
    times = [_ranks(path, count) for path, count in zip(parts, counts, strict=True)]
    # Decoding order runs ahead of showing order by this many frames where there are B-frames.
    delay = max(int((np.arange(len(ranks)) - ranks).max()) for ranks in times)
    base = fine_time_base(rate)
    step = int(1 / (rate * base))
    options = {"video_track_timescale": str(base.denominator)}
    try:
        with av.open(out, "w", format="mp4", options=options) as target:
            stream: Any = None
            settings = b""
            done = 0
            for path, ranks in zip(parts, times, strict=True):
                with av.open(f"file:{path}", options=_LOCAL) as source:
                    track = source.streams.video[0]
                    if stream is None:
                        stream = target.add_stream_from_template(track, opaque=True)
                        stream.time_base = base
                        settings = bytes(track.codec_context.extradata or b"")
                    elif bytes(track.codec_context.extradata or b"") != settings:
                        raise StageError(Code.STITCH_FAILED, f"{path} was encoded with other settings than {parts[0]}")
                    order = 0
                    for packet in source.demux(track):
                        if not packet.size:
                            continue
                        packet.pts = (done + int(ranks[order])) * step
                        packet.dts = (done + order - delay) * step
                        packet.duration = step
                        packet.time_base = base
                        packet.stream = stream
                        target.mux(packet)
                        order += 1
                done += len(ranks)
    except (av.error.FFmpegError, OSError) as error:
        if isinstance(error, OSError) and not isinstance(error, av.error.InvalidDataError) and error.errno in (28, 122):
            raise storage_error(error, out) from error
        raise StageError(Code.STITCH_FAILED, f"joining {len(parts)} parts failed: {error}", retryable=True) from error


def _ranks(path: str, count: int) -> Any:
    """(count,) int64: for each packet in file order, the number of its frame in showing order."""
    try:
        with av.open(f"file:{path}", options=_LOCAL) as source:
            pts = [packet.pts for packet in source.demux(source.streams.video[0]) if packet.size]
    except (av.error.FFmpegError, OSError, IndexError) as error:
        raise StageError(Code.STITCH_FAILED, f"part {path} cannot be read: {error}", retryable=True) from error
    if len(pts) != count or any(time is None for time in pts) or len(set(pts)) != count or not count:
        raise StageError(Code.STITCH_FAILED, f"part {path} has {len(pts)} frames, not {count}", retryable=True)
    ranks = np.empty(count, np.int64)
    ranks[np.argsort(np.array(pts, np.int64))] = np.arange(count)
    return ranks


def mux(
    video: str,
    speech_path: str,
    out: str,
    n_frames: int,
    rate: Fraction,
    metadata: dict[str, str],
    timeout: float | None = None,
) -> None:
    """Put the picture of `video` (copied) and the speech (encoded once, padded with silence or cut to exactly
    n_frames / rate seconds) into `out`; the container follows its extension.

    Speech keeps its sample rate where it is 44.1 or 48 kHz and is mono or stereo AAC at 160 kbit/s or more (Opus in
    .webm). The speech's first sample is heard with the first frame. metadata: container tags, such as comment.
    timeout: seconds for ffmpeg; by default it grows with the length.
    Raises InputError for the speech, StageError OUTPUT_FORMAT, STITCH_FAILED, DISK_FULL, TIMEOUT.
    """
    suffix = os.path.splitext(out)[1].lower()
    if suffix not in OUTPUT_SUFFIXES:
        raise StageError(Code.OUTPUT_FORMAT, f"cannot write {suffix or 'a file without extension'}: {out}")
    speech = probe_speech(speech_path)
    seconds = n_frames / rate
    audio_rate, channels, codec = _audio_shape(speech, suffix)
    samples = _whole_blocks(round(seconds * audio_rate), audio_rate, rate)
    picture = ffmpeg.input(f"file:{video}", **_LOCAL)
    sound = ffmpeg.input(f"file:{speech_path}", **_LOCAL).audio
    layout = "stereo" if channels == 2 else "mono"
    sound = (
        sound.filter("asetpts", "N/SR/TB")
        .filter("aresample", audio_rate)
        .filter("aformat", sample_rates=audio_rate, channel_layouts=layout)
        .filter("apad", whole_len=samples)
        .filter("atrim", end_sample=samples)
    )
    arguments: dict[str, Any] = {
        "c:v": "copy",
        "c:a": codec,
        "b:a": "160k" if channels == 1 else "192k",
        "map_metadata": -1,
        "map_chapters": -1,
        "fflags": "+bitexact",
    }
    for number, (key, value) in enumerate(sorted(metadata.items())):
        arguments[f"metadata:g:{number}"] = f"{key}={value}"
    if suffix in (".mp4", ".mov", ".m4v"):
        arguments["movflags"] = "+faststart+use_metadata_tags"
        arguments["video_track_timescale"] = fine_time_base(rate).denominator
    limit = timeout if timeout is not None else 120.0 + float(seconds)
    run_ffmpeg(ffmpeg.output(picture.video, sound, f"file:{out}", **arguments), limit)


def _audio_shape(speech: SpeechInfo, suffix: str) -> tuple[int, int, str]:
    """(sample rate, channels, encoder) of the output's sound."""
    channels = 1 if speech.channels <= 1 else 2
    if suffix == ".webm":
        return 48000, channels, "libopus"
    if speech.sample_rate in _AAC_RATES:
        return speech.sample_rate, channels, "aac"
    return (44100 if speech.sample_rate % 11025 == 0 and speech.sample_rate < 44100 else 48000), channels, "aac"


def _whole_blocks(samples: int, audio_rate: int, rate: Fraction) -> int:
    """The number of samples to encode for `samples` heard ones.

    AAC comes in blocks of 1024 and decoders play the last one whole. Above 40 frames a second that may be more than a
    frame too long: then the sound ends with the block before, some milliseconds early.
    """
    extra = -samples % _AAC_BLOCK
    if Fraction(extra, audio_rate) > Fraction(9, 10) / rate and samples > _AAC_BLOCK:
        return samples - (_AAC_BLOCK - extra)
    return samples


def _furthest(times: list[int], base: Fraction, rate: Fraction) -> Fraction:
    """Seconds by which the worst frame is off its time number / rate. times: in units of `base`, in any order."""
    # Whole numbers over one denominator: a fraction for every frame of an hour costs seconds and 40 MB.
    ours, theirs = base.numerator * rate.numerator, rate.denominator * base.denominator
    off = max((abs(time * ours - number * theirs) for number, time in enumerate(sorted(times))), default=0)
    return Fraction(off, base.denominator * rate.numerator)


def check_output(path: str, n_frames: int, rate: Fraction) -> None:
    """Read the finished film and compare: n_frames frames, each at its exact time at `rate` (to the container's own
    clock), sound that begins at 0 and ends within one frame of the picture.

    The sound is decoded. The picture's packets are counted and their times compared: they are copies out of parts that
    were decoded and counted when they were made.
    Raises StageError VERIFY_FAILED.
    """
    try:
        film: Any
        with av.open(f"file:{path}", options=_LOCAL) as film:
            if not film.streams.video or not film.streams.audio:
                raise StageError(Code.VERIFY_FAILED, f"{path} lacks its picture or its sound")
            picture, sound = film.streams.video[0], film.streams.audio[0]
            tick = max(picture.time_base, Fraction(1, 1_000_000_000))
            shown: list[int] = []
            first_sound: Fraction | None = None
            sound_end = Fraction(0)
            for packet in film.demux(picture, sound):
                if packet.stream.type == "video":
                    if packet.size:
                        shown.append(packet.pts)
                    continue
                for frame in packet.decode():
                    time = frame.pts * frame.time_base
                    first_sound = time if first_sound is None else first_sound
                    sound_end = max(sound_end, time + Fraction(frame.samples, frame.sample_rate))
            base = picture.time_base
    except (av.error.FFmpegError, OSError, TypeError) as error:
        raise StageError(Code.VERIFY_FAILED, f"{path} cannot be read back: {error}", retryable=True) from error
    count = len(shown)
    off = _furthest(shown, base, rate)
    problems = []
    if count != n_frames:
        problems.append(f"{count} frames, not {n_frames}")
    if off > tick:
        problems.append(f"a frame {float(off) * 1000:.2f} ms off its time at {rate} frames a second")
    if first_sound is None or abs(first_sound) > 1 / rate:
        problems.append("sound that does not begin with the picture")
    if abs(sound_end - n_frames / rate) > 1 / rate:
        problems.append(f"sound that ends {float(sound_end - n_frames / rate) * 1000:.1f} ms from the picture's end")
    if problems:
        raise StageError(Code.VERIFY_FAILED, f"{path} has {'; '.join(problems)}", retryable=True)
