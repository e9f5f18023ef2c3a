"""The frame index: which frames a video file shows, and when, from one pass over its packets (no decoding).

Frames are numbered by presentation time. Packets that an edit list hides, and those before the first frame that can be
decoded, do not count. Files whose packets carry no usable times (AVI with B-frames, VP8 with hidden frames) are decoded
once instead; where even decoded frames carry none, frames are counted (`counted`) and reading starts from the first.
"""

from __future__ import annotations

import contextlib
import io
import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

import av
import av.error
import numpy as np

from raydub.arrays import I64
from raydub.blobs import verified
from raydub.errors import Code, InputError, StageError
from raydub.media.headers import AGAIN
from raydub.media.info import ProbeLimits, VideoInfo
from raydub.media.opening import decoder_pixels, open_input, packets_of, strictly, unreadable, video_stream
from raydub.media.pictures import CODECS, PictureNumbers, pauses
from raydub.media.rate import Spacing, space_frames
from raydub.present import is_copy
from raydub.store import Store

_HIDDEN_FRAMES = {"vp8"}
# Two chunks of an AVI may come as one packet: the fields of a frame.
_JOINED = {"h264", "hevc", "mpeg1video", "mpeg2video", "vc1"}
# Packets that may precede the first frame: more than any codec delay or key frame distance.
_FRUITLESS_PACKETS = 5000
# A single slide may be held for an hour at 25 frames a second.
_FREE_FRAMES = 90_000


@dataclass(frozen=True)
class FrameIndex:
    """pts: (N,) int64 presentation times of the file's frames in `time_base` seconds, strictly increasing; keys: (K,)
    int64 those from which decoding can start; spacing: how the N frames lie on the constant-rate grid; counted: the
    times are made up from frame numbers, so that seeking is impossible; left_out: frames before the first one that can
    be decoded; lost: pictures whose numbers are left out (both are known when the index was just built)."""

    pts: I64
    keys: I64
    time_base: Fraction
    spacing: Spacing
    counted: bool
    left_out: int = 0
    lost: int = 0

    def file_frames(self, start: int, stop: int) -> I64:
        """(stop - start,) numbers of the file's frames shown at the constant-rate frames start..stop-1."""
        if not self.spacing.variable:
            return np.arange(start, stop, dtype=np.int64)
        return np.searchsorted(self.spacing.slots, np.arange(start, stop), side="right") - 1

    def to_bytes(self) -> bytes:
        """A compact form for other processes (npz)."""
        buffer = io.BytesIO()
        rate = self.spacing.rate
        numbers = [self.time_base.numerator, self.time_base.denominator, rate.numerator, rate.denominator]
        numbers += [self.spacing.n_frames, int(self.spacing.variable), int(self.counted)]
        slots = self.spacing.slots if self.spacing.variable else np.zeros(0, np.int64)
        steps = np.diff(self.pts, prepend=np.int64(0))
        np.savez_compressed(buffer, steps=steps, keys=self.keys, slots=slots, numbers=np.array(numbers, np.int64))
        return buffer.getvalue()

    @staticmethod
    def from_bytes(data: bytes) -> FrameIndex:
        """The inverse of to_bytes. Raises ValueError, KeyError, OSError or EOFError on anything else."""
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            pts = np.cumsum(stored["steps"])
            base_n, base_d, rate_n, rate_d, n_frames, variable, counted = (int(n) for n in stored["numbers"])
            slots = stored["slots"] if variable else np.arange(len(pts), dtype=np.int64)
            spacing = Spacing(Fraction(rate_n, rate_d), slots, n_frames, bool(variable))
            return FrameIndex(pts, stored["keys"], Fraction(base_n, base_d), spacing, bool(counted))


def build_index(path: str, first_pts: int | None, limits: ProbeLimits, at_least: int | None = None) -> FrameIndex:
    """Index the video at `path`. first_pts: time of the first frame that decoding yields, None if frames carry none;
    at_least: how many frames the container holds, where that is known.

    Raises InputError: VIDEO_NO_FRAMES, INPUT_TRUNCATED (fewer packets than the container lists), INPUT_LIMIT,
    INPUT_UNREADABLE (among others: fewer packets than `at_least`, a first key frame that cannot be decoded).
    """
    with contextlib.closing(open_input(path, limits)) as container:
        stream = video_stream(container, path)
        # Eight bytes a frame; lists would take ten times as much, a gigabyte for a day of video.
        times, keys, untimed = array("q"), array("q"), False
        last_duration, packets, last_pts, shown = 0, 0, -(1 << 62), 0
        numbers = PictureNumbers() if stream.codec_context.name in CODECS else None
        for packet in _packets(container, stream, path):
            packets += 1
            if packets > limits.max_frames:
                raise InputError(Code.INPUT_LIMIT, f"video {path} has more than {limits.max_frames} frames")
            shown += packet.duration or 0
            if numbers is not None:
                numbers.see(packet)
            if packet.is_discard:
                continue
            if packet.pts is None:
                untimed = True
            else:
                times.append(packet.pts)
                if packet.is_keyframe:
                    keys.append(packet.pts)
                if packet.pts > last_pts:
                    last_pts, last_duration = packet.pts, packet.duration or 0
        if stream.frames > packets and "mp4" in container.format.name:
            raise InputError(Code.INPUT_TRUNCATED, f"video {path} lists {stream.frames} frames but contains {packets}")
        if numbers is not None:
            numbers.end()
        joined = "avi" in container.format.name and stream.codec_context.name in _JOINED
        if at_least is not None and packets < at_least and not joined:
            raise _damaged(path, f"it should contain {at_least} frames, {packets} were found")
        time_base, stated = stream.time_base, [stream.average_rate, stream.guessed_rate, stream.base_rate]
        hidden = stream.codec_context.name in _HIDDEN_FRAMES
    pts: I64 = np.sort(np.frombuffer(times, np.int64))
    lost = 0
    if numbers is not None and len(pts) > 1:
        lost = max(numbers.missing, pauses(pts, shown, last_duration))
    if first_pts is None or hidden or untimed or (len(pts) > 1 and np.diff(pts).min() <= 0):
        return replace(_index_by_decoding(path, time_base, stated, limits), lost=lost)
    left_out = int(np.searchsorted(pts, first_pts))
    pts = pts[left_out:]
    if not len(pts):
        raise InputError(Code.VIDEO_NO_FRAMES, f"video {path} has no frames")
    starts = np.unique(np.frombuffer(keys, np.int64))
    if len(starts) and starts[0] < first_pts:
        _check_first_key(path, limits)
    index = _finish(path, pts, starts[starts >= first_pts], time_base, stated, last_duration, False, limits)
    return replace(index, left_out=left_out, lost=lost)


def _check_first_key(path: str, limits: ProbeLimits) -> None:
    """Raise InputError INPUT_UNREADABLE if decoding fails at the first key frame: then it is damaged, not the cut-off
    beginning of a recording."""
    with contextlib.closing(open_input(path, limits)) as container:
        stream = strictly(video_stream(container, path), limits)
        try:
            for packet in packets_of(container, stream):
                if packet.size and packet.is_keyframe:
                    packet.decode()
                    return
        except (av.error.FFmpegError, OSError) as error:
            raise _damaged(path, "its first key frame cannot be decoded") from error


def _damaged(path: str, wrong: str) -> InputError:
    """INPUT_UNREADABLE for a damaged video; wrong: what is inconsistent."""
    return InputError(Code.INPUT_UNREADABLE, f"video {path} is damaged: {wrong}", hint=AGAIN)


def _packets(container: Any, stream: Any, path: str) -> Iterator[Any]:
    try:
        for packet in packets_of(container, stream):
            if packet.size:
                yield packet
    except (av.error.FFmpegError, OSError) as error:
        raise unreadable(path, "video", error) from error


def _index_by_decoding(path: str, time_base: Fraction, stated: list[Any], limits: ProbeLimits) -> FrameIndex:
    with contextlib.closing(open_input(path, limits)) as container:
        stream = strictly(video_stream(container, path), limits)
        stream.thread_type = "AUTO"
        times, keys, count = array("q"), array("q"), 0
        try:
            for frame in (frame for packet in packets_of(container, stream) for frame in packet.decode()):
                count += 1
                if frame.pts is not None:
                    times.append(frame.pts)
                    if frame.key_frame:
                        keys.append(frame.pts)
                if count > limits.max_frames:
                    raise InputError(Code.INPUT_LIMIT, f"video {path} has more than {limits.max_frames} frames")
        except (av.error.FFmpegError, OSError) as error:
            raise unreadable(path, "video", error) from error
    if not count:
        raise InputError(Code.VIDEO_NO_FRAMES, f"video {path} has no frames")
    pts: I64 = np.frombuffer(times, np.int64)
    if len(pts) == count and (count == 1 or np.diff(pts).min() > 0):
        return _finish(path, pts, np.frombuffer(keys, np.int64), time_base, stated, 0, False, limits)
    rate = next((rate for rate in stated if rate), Fraction(25))
    pts = np.arange(count, dtype=np.int64)
    return _finish(path, pts, np.zeros(1, np.int64), 1 / rate, [rate], 0, True, limits)


def _finish(
    path: str,
    pts: I64,
    keys: I64,
    time_base: Fraction,
    stated: list[Any],
    last_duration: int,
    counted: bool,
    limits: ProbeLimits,
) -> FrameIndex:
    span = float((int(pts[-1]) - int(pts[0])) * time_base)
    if span > limits.max_seconds:
        raise InputError(Code.INPUT_LIMIT, f"video {path} lasts {span:.0f} s, more than {limits.max_seconds:.0f} s")
    held = float(int(np.diff(pts).max()) * time_base) if len(pts) > 1 else 0.0
    if held > limits.max_hold_seconds:
        raise InputError(
            Code.INPUT_LIMIT,
            f"video {path} shows one frame for {held:.0f} s, more than {limits.max_hold_seconds:.0f}",
            hint="if this is intended, convert it to a constant rate first: ffmpeg -i in -fps_mode cfr -r 25 out.mp4",
        )
    spacing = space_frames(pts, time_base, stated, last_duration)
    if spacing.n_frames > _FREE_FRAMES + limits.max_repeats * len(pts):
        raise InputError(
            Code.INPUT_LIMIT,
            f"video {path} has {len(pts)} frames, which at {float(spacing.rate):g} a second become {spacing.n_frames}",
            hint="if this is intended, convert it to a constant rate first: ffmpeg -i in -fps_mode cfr -r 25 out.mp4",
        )
    if spacing.n_frames > limits.max_frames:
        raise InputError(Code.INPUT_LIMIT, f"video {path} has {spacing.n_frames} frames, more than {limits.max_frames}")
    return FrameIndex(pts, keys, time_base, spacing, counted)


def store_index(index: FrameIndex, store: Store, identity: str) -> str:
    """Store the index for other processes; returns its path. Raises StageError STORAGE or DISK_FULL."""
    return store.put(f"index/{identity}", index.to_bytes(), ".npz").path


def index_of(info: VideoInfo) -> FrameIndex:
    """The frame index of a probed video: from memory, from `info.index_path`, or by reading the file."""
    if is_copy(info.path):
        # A part of it may be all that is read here.
        return _cached(info.path, info.identity, 0, 0, info.index_path)
    state = os.stat(info.path) if os.path.exists(info.path) else None
    if state is None:
        raise InputError(Code.INPUT_MISSING, f"video {info.path} does not exist")
    return _cached(info.path, info.identity, state.st_size, state.st_mtime_ns, info.index_path)


@lru_cache(maxsize=16)
def _cached(path: str, identity: str, size: int, changed: int, index_path: str | None) -> FrameIndex:
    if index_path is not None:
        # A damaged copy is ignored: the index is built from the video again.
        with contextlib.suppress(ValueError, KeyError, OSError, EOFError, StageError):
            return FrameIndex.from_bytes(verified(index_path).read_bytes())
    return build_index(path, first_frame(path, ProbeLimits()).pts, ProbeLimits())


def first_frame(path: str, limits: ProbeLimits) -> Any:
    """The first av.VideoFrame of the file. Raises InputError VIDEO_NO_FRAMES, VIDEO_NO_STREAM, INPUT_*."""
    with contextlib.closing(open_input(path, limits)) as container:
        stream = video_stream(container, path)
        # Not `strictly`: packets before the first complete frame of a recording may be damaged.
        stream.codec_context.options = {"max_pixels": decoder_pixels(limits)}
        try:
            for number, packet in enumerate(packets_of(container, stream)):
                for frame in packet.decode():
                    return frame
                if number > _FRUITLESS_PACKETS:
                    break
        except (av.error.FFmpegError, OSError) as error:
            raise unreadable(path, "video", error) from error
    raise InputError(Code.VIDEO_NO_FRAMES, f"video {path} has no frame that can be decoded")
