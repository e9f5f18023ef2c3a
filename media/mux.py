"""Assemble part files into the output in one pass: join the video without re-encoding, add the sound, verify.

Time stamps of parts are not used: packet k of the output gets its time from its frame number, which is exact at every
rational rate and never goes backwards between parts. Everything is done by PyAV's libraries; no program is run.
"""

from __future__ import annotations

import contextlib
import heapq
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

import av
import av.error
import numpy as np

from raydub.errors import Code, InputError, StageError
from raydub.files import storage_error
from raydub.media.encoder import AAC_BLOCK, SoundEncoder, ending, exactly, fit, sound_form
from raydub.media.opening import open_made
from raydub.media.sound import SoundShape, sound_blocks, sound_shape
from raydub.media.writer import fine_time_base

_FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}

_SOUND_OFF = Fraction(1, 100)
"""Seconds by which the sound may begin or end beside the picture, where a frame is not shorter. It is written exactly;
Matroska's resolution of 1 ms and its readers need the tolerance."""


def assemble(
    parts: Sequence[str],
    counts: Sequence[int],
    rate: Fraction,
    out: str,
    speech: str | None,
    metadata: Mapping[str, str],
) -> None:
    """Write the film `out`, in the container of its extension: the video packets of `parts`, holding `counts` frames
    each, at exactly `rate`, and the speech of the file `speech` (None: no sound), encoded once.

    The speech's first sample is heard with the first frame; it is cut, or padded with silence, to exactly sum(counts) /
    rate seconds. It keeps its sample rate where that is 44.1 or 48 kHz, and is mono or stereo AAC of 160 or
    192 kbit/s. metadata: container tags, such as comment. The same input gives the same bytes.

    Raises InputError for the speech, StageError OUTPUT_FORMAT; STITCH_FAILED when a part has another number of frames
    or other codec settings, or cannot be read; DISK_FULL or STORAGE.
    """
    suffix = os.path.splitext(out)[1].lower()
    if suffix not in _FORMATS:
        raise StageError(Code.OUTPUT_FORMAT, f"cannot write {suffix or 'a file without extension'}: {out}")
    if not parts or len(parts) != len(counts):
        raise StageError(Code.STITCH_FAILED, f"{len(parts)} parts with {len(counts)} counts")
    shape = _shape_of(speech) if speech is not None else None
    orders = [_ranks(path, count) for path, count in zip(parts, counts, strict=True)]
    form = sound_form("aac", shape.rate, shape.channels) if shape else None
    options = {"fflags": "+bitexact"}
    edit_list = suffix != ".mkv"
    if edit_list:
        options |= {
            "movflags": "+faststart+use_metadata_tags",
            "video_track_timescale": str(fine_time_base(rate).denominator),
            # With the usual milliseconds the end of the sound would not be exact.
            "movie_timescale": str(form.rate if form else fine_time_base(rate).denominator),
        }
    with _writing(out, _FORMATS[suffix], options) as film:
        film.metadata.update(sorted(metadata.items()))
        picture = _picture_stream(film, parts[0], rate, edit_list)
        tracks = [_pictures(parts, orders, rate, picture)]
        if speech is not None and form is not None:
            encoder = SoundEncoder(film, form)
            tracks.append(_sounds(speech, encoder, round(sum(counts) / rate * form.rate), edit_list))
        with contextlib.ExitStack() as stack:
            for track in tracks:
                stack.callback(track.close)
            for packet in heapq.merge(*tracks, key=_seconds):
                film.mux(packet)


@contextlib.contextmanager
def _writing(out: str, form: str, options: dict[str, str]) -> Iterator[Any]:
    """A container that is finished at the end of the block, or closed without that if the block fails."""
    film: Any = None
    try:
        film = av.open(f"file:{out}", "w", format=form, options=options)
        yield film
        film.close()
    except (InputError, StageError):
        _close_quietly(film)
        raise
    except (av.error.FFmpegError, OSError, ValueError) as error:
        _close_quietly(film)
        raise _failure(error, out) from error
    except BaseException:
        _close_quietly(film)
        raise


def _close_quietly(film: Any) -> None:
    # The caller removes the file; the first error is the one to report.
    with contextlib.suppress(av.error.FFmpegError, OSError, ValueError):
        if film is not None:
            film.close()


def _failure(error: BaseException, out: str) -> StageError:
    if isinstance(error, OSError) and error.errno is not None and 0 < error.errno < 200:
        return storage_error(error, out)
    return StageError(Code.STITCH_FAILED, f"writing {out} failed: {error}", retryable=True)


def _shape_of(speech: str) -> SoundShape:
    shape = sound_shape(speech)
    if shape is None:
        raise InputError(Code.SPEECH_NO_STREAM, f"speech {speech} has no audio stream")
    return shape


def _picture_stream(film: Any, path: str, rate: Fraction, tagged: bool) -> Any:
    try:
        with open_made(path) as source:
            track = source.streams.video[0]
            stream = film.add_stream_from_template(track, opaque=True)
            if tagged:
                stream.codec_context.codec_tag = track.codec_context.codec_tag
    except (av.error.FFmpegError, OSError, IndexError) as error:
        raise _lost(path, error) from error
    stream.codec_context.framerate = rate
    stream.time_base = fine_time_base(rate)
    stream.disposition = av.stream.Disposition.default
    return stream


def _pictures(parts: Sequence[str], orders: Sequence[Any], rate: Fraction, stream: Any) -> Generator[Any]:
    """The packets of all parts in decoding order, with their times in the film."""
    # With B-frames, decoding order is ahead of presentation order by this many frames.
    delay = max(int((np.arange(len(ranks)) - ranks).max()) for ranks in orders)
    base = fine_time_base(rate)
    step = int(1 / (rate * base))
    settings: bytes | None = None
    done = 0
    for path, ranks in zip(parts, orders, strict=True):
        try:
            with open_made(path) as source:
                track = source.streams.video[0]
                found = bytes(track.codec_context.extradata or b"")
                if found != (found if settings is None else settings):
                    raise StageError(Code.STITCH_FAILED, f"{path} was encoded with other settings than {parts[0]}")
                settings = found
                for order, packet in enumerate(one for one in source.demux(track) if one.size):
                    packet.pts = (done + int(ranks[order])) * step
                    packet.dts = (done + order - delay) * step
                    packet.duration = step
                    packet.time_base = base
                    packet.stream = stream
                    yield packet
        except (av.error.FFmpegError, OSError, IndexError) as error:
            raise _lost(path, error) from error
        done += len(ranks)


def _sounds(speech: str, encoder: SoundEncoder, samples: int, edit_list: bool) -> Generator[Any]:
    """The packets of the sound, exactly so many samples long."""
    form, plan = encoder.form, fit(samples, edit_list)
    with contextlib.closing(sound_blocks(speech, form.rate, form.channels, gapless=True)) as blocks:
        packets = encoder.packets(exactly(blocks, samples, form.channels), plan.lead)
        yield from packets if edit_list else ending(packets, plan.excess)


def _seconds(packet: Any) -> float:
    return float(packet.dts * packet.time_base)


def _ranks(path: str, count: int) -> Any:
    """(count,) int64: for each packet in file order, the number of its frame in showing order."""
    try:
        with open_made(path) as source:
            pts = [packet.pts for packet in source.demux(source.streams.video[0]) if packet.size]
    except (av.error.FFmpegError, OSError, IndexError) as error:
        raise _lost(path, error) from error
    if len(pts) != count or any(time is None for time in pts) or len(set(pts)) != count or not count:
        raise StageError(Code.STITCH_FAILED, f"part {path} has {len(pts)} frames, not {count}", retryable=True)
    ranks = np.empty(count, np.int64)
    ranks[np.argsort(np.array(pts, np.int64))] = np.arange(count)
    return ranks


def _lost(path: str, error: BaseException) -> StageError:
    return StageError(Code.STITCH_FAILED, f"part {path} cannot be read: {error}", retryable=True)


def _furthest(times: list[int], base: Fraction, rate: Fraction) -> Fraction:
    """Seconds by which the worst frame is off its time number / rate. times: in units of `base`, in any order."""
    # Whole numbers over one denominator: a fraction for every frame of an hour costs seconds and 40 MB.
    ours, theirs = base.numerator * rate.numerator, rate.denominator * base.denominator
    off = max((abs(time * ours - number * theirs) for number, time in enumerate(sorted(times))), default=0)
    return Fraction(off, base.denominator * rate.numerator)


def check_output(path: str, n_frames: int, rate: Fraction) -> None:
    """Read the finished film and compare: n_frames frames, each at its exact time at `rate` (to the container's own
    clock), sound that begins at 0 and ends with the picture: both to 10 ms, or to a frame where that is shorter.

    The sound is decoded. The picture's packets are counted and their times compared: they are copies out of parts that
    were decoded and counted when they were made.
    Raises StageError VERIFY_FAILED.
    """
    try:
        film: Any
        with open_made(path) as film:
            if not film.streams.video or not film.streams.audio:
                raise StageError(Code.VERIFY_FAILED, f"{path} has no video or no sound")
            picture, sound = film.streams.video[0], film.streams.audio[0]
            tick = max(picture.time_base, Fraction(1, 1_000_000_000))
            shown: list[int] = []
            first_sound: Fraction | None = None
            sound_end = Fraction(0)
            block = Fraction(0)
            for packet in film.demux(picture, sound):
                if packet.stream.type == "video":
                    if packet.size:
                        shown.append(packet.pts)
                    continue
                for frame in packet.decode():
                    time = frame.pts * frame.time_base
                    first_sound = time if first_sound is None else first_sound
                    sound_end = max(sound_end, time + Fraction(frame.samples, frame.sample_rate))
                    block = Fraction(AAC_BLOCK, frame.sample_rate)
            base = picture.time_base
            stated = sound.duration * sound.time_base if sound.duration else sound_end
    except (av.error.FFmpegError, OSError, TypeError) as error:
        raise StageError(Code.VERIFY_FAILED, f"{path} cannot be read back: {error}", retryable=True) from error
    count = len(shown)
    off = _furthest(shown, base, rate)
    if 0 < sound_end - stated < block:
        # An edit list ends the sound within its last block, which libav decodes whole.
        sound_end = stated
    problems = []
    if count != n_frames:
        problems.append(f"{count} frames, not {n_frames}")
    if off > tick:
        problems.append(f"a frame {float(off) * 1000:.2f} ms off its time at {rate} frames a second")
    if first_sound is None or abs(first_sound) > sound_off(rate):
        problems.append("sound that does not begin with the picture")
    if abs(sound_end - n_frames / rate) > sound_off(rate):
        problems.append(f"sound that ends {float(sound_end - n_frames / rate) * 1000:.1f} ms from the picture's end")
    if problems:
        raise StageError(Code.VERIFY_FAILED, f"{path} has {'; '.join(problems)}", retryable=True)


def sound_off(rate: Fraction) -> Fraction:
    """Seconds by which check_output() lets the sound begin or end beside the picture."""
    return min(1 / rate, _SOUND_OFF)
