"""Decode from any frame of a file, checked frame by frame against the frame index.

Decoding starts at the last key frame shown at or before the wanted frame, so that all its references are decoded;
frames before it are dropped. Some containers seek past the target (MPEG-TS, MPEG-PS): then the seek aims earlier, and
finally decoding starts from the beginning. Every frame must have the time stamp of the index; a missing or damaged
frame is an error, never a shorter video.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av
import av.error
import numpy as np

from raydub.errors import Code, InputError
from raydub.media.index import FrameIndex
from raydub.media.info import ProbeLimits
from raydub.media.joined import joined
from raydub.media.opening import open_input, packets_of, strictly, unreadable, video_stream

_PREROLL_SECONDS = (0.0, 1.0, 4.0, 16.0)


class _Astray(Exception):
    """Frames after a seek do not match the index."""


class Decoder:
    """Frames of one file by number (the file's own frames, before constant-rate mapping). Continuing where the last
    call stopped needs no seek."""

    def __init__(self, path: str, index: FrameIndex) -> None:
        self._path = path
        self._index = index
        self._container: Any = None
        self._stream: Any = None
        self._running: Iterator[tuple[int, Any]] | None = None
        self._next = 0

    def close(self) -> None:
        """Close the file."""
        self._running = None
        if self._container is not None:
            self._container.close()
            self._container = None

    def read(self, start: int, stop: int) -> Iterator[tuple[int, Any]]:
        """Yield (number, av.VideoFrame) for start..stop-1. Raises InputError INPUT_TRUNCATED or INPUT_UNREADABLE."""
        sought = True
        while start < stop:
            if self._running is None or not self._can_continue(start):
                self._restart(start, seek=sought)
            assert self._running is not None
            try:
                for number, picture in self._running:
                    self._next = number + 1
                    if number < start:
                        continue
                    start = number + 1
                    yield number, picture
                    if start >= stop:
                        return
            except _Astray:
                if not sought:
                    message = f"video {self._path} has no frame {start}: the file is damaged"
                    raise InputError(Code.INPUT_UNREADABLE, message, hint=_seams(self._path)) from None
            except (av.error.FFmpegError, OSError) as error:
                if not sought:
                    raise unreadable(self._path, "video", error) from error
            else:
                if not sought:
                    message = f"video {self._path} ends after frame {self._next} of {len(self._index.pts)}"
                    raise InputError(Code.INPUT_TRUNCATED, message)
            # Try once more without a seek: decoding from the first packet decides what the file contains.
            sought = False
            self._running = None

    def _can_continue(self, start: int) -> bool:
        if start < self._next:
            return False
        return self._index.counted or start == self._next or self._key_before(start) <= self._next

    def _key_before(self, number: int) -> int:
        """Number of the frame from which decoding for frame `number` would start."""
        keys, pts = self._index.keys, self._index.pts
        at = int(np.searchsorted(keys, pts[number], side="right")) - 1
        return int(np.searchsorted(pts, keys[at])) if at > 0 else 0

    def _restart(self, start: int, seek: bool) -> None:
        key = 0 if self._index.counted or not seek else self._key_before(start)
        packets: Iterator[Any] | None = None
        if key > 0:
            packets = self._packets_from(int(self._index.pts[key]))
        if packets is None:
            self._open()
            packets = packets_of(self._container, self._stream)
            key = 0
        self._next = key
        self._running = self._numbered(packets, key)

    def _open(self) -> None:
        self.close()
        limits = ProbeLimits()
        self._container = open_input(self._path, limits)
        self._stream = strictly(video_stream(self._container, self._path), limits)
        self._stream.thread_type = "AUTO"

    def _packets_from(self, key: int) -> Iterator[Any] | None:
        """Packets from a key frame at or before time `key` on, or None when seeking cannot get there."""
        for seconds in _PREROLL_SECONDS:
            goal = key - round(seconds / self._index.time_base)
            if goal <= self._index.pts[0] and seconds:
                return None
            self._open()
            try:
                self._container.seek(goal, stream=self._stream, backward=True)
                packets = packets_of(self._container, self._stream)
                for packet in packets:
                    if packet.size and packet.is_keyframe and packet.pts is not None:
                        if packet.pts <= key:
                            return _chain(packet, packets)
                        break
            except (av.error.FFmpegError, OSError):
                continue
        return None

    def _numbered(self, packets: Iterator[Any], key: int) -> Iterator[tuple[int, Any]]:
        pts = self._index.pts
        expected = key
        for packet in packets:
            if packet.size and packet.is_corrupt:
                raise _Astray
            for picture in packet.decode():
                if self._index.counted:
                    number = expected
                else:
                    if picture.pts is None:
                        raise _Astray
                    if picture.pts < pts[expected]:
                        if expected > key:
                            raise _Astray
                        continue  # shown before the key frame
                    number = expected
                    if picture.pts != pts[expected]:
                        raise _Astray
                if picture.is_corrupt:
                    raise _Astray
                expected += 1
                yield number, picture
                if expected == len(pts):
                    return


def _seams(path: str) -> str:
    """A hint for joined files: their decoders lose frames where size or codec change."""
    film = joined(path)
    if film is None:
        return ""
    return f"it is {film.note()}; if they differ in size or codec, convert each first and join the results"


def _chain(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest
