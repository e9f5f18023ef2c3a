"""Tracker: raw tracks of any span of a source, from the cache or computed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from raydub.errors import Code, StageError
from raydub.media.frames import Frame
from raydub.stages.track.cache import BLOCK, TrackCache, blocks_of, cut_out, join
from raydub.stages.track.config import TrackConfig
from raydub.stages.track.detect import Detector, make_detector
from raydub.stages.track.raw import FrameSource, RawTracks, SeenFrame, pack
from raydub.stages.track.see import see
from raydub.stages.types import Span


class Tracker:
    """Detector and landmarks of one config. Cheap to build and to pickle: networks are loaded at first use, once per
    process. `detected` counts the frames on which the detector has run so far: it stays 0 on a full cache."""

    def __init__(self, config: TrackConfig) -> None:
        if BLOCK % config.step:
            raise ValueError(f"a step of {config.step} frames must divide the cache's block of {BLOCK} frames")
        self.config = config
        self.detected = 0
        self._detector: Detector | None = None

    def __getstate__(self) -> dict[str, object]:
        return {"config": self.config, "detected": 0, "_detector": None}

    def raw_tracks(self, source: FrameSource, cache: TrackCache | None, span: Span, n_frames: int) -> RawTracks:
        """Raw tracks of `span`, clipped to the source's `n_frames` frames.

        source: an open media.frames.FrameReader, in the working frame (its transform is part of the cache's key);
        cache: named by `TrackConfig.key`, or None to keep nothing. Whole blocks of 60 frames are read,
        computed and written, so the source may be read up to a block and an interval (`config.step`) beyond the span.
        Raises ValueError for an empty span, DependencyError for absent models, InputError from reading.
        """
        wanted = Span(max(0, span.start), min(n_frames, span.stop))
        if not len(wanted):
            raise ValueError(f"no frames of {span} lie in a source of {n_frames} frames")
        parts: list[RawTracks] = []
        missing: list[Span] = []
        for block in blocks_of(wanted, n_frames):
            cached = cache.read(block, self.config.embeds) if cache is not None else None
            if cached is None:
                missing.append(block)
                continue
            parts += self._compute(source, cache, missing, n_frames)
            missing = []
            parts.append(cached)
        parts += self._compute(source, cache, missing, n_frames)
        return replace(cut_out(join(parts), wanted), by=self.config.landmarks.name)

    def faces_of(self, frame: Frame) -> RawTracks:
        """Detected faces of one frame on its own (span of one frame, nothing carried, nothing cached): for sampling."""
        alone = self.config.model_copy(update={"carry": 0, "every": 1})
        seen = list(see(_OneFrame(frame), self._load(), alone, Span(0, 1), 1))
        one = pack(seen, self.config.embeds)
        here = Span(frame.index, frame.index + 1)
        return replace(one, span=here, frame=one.frame + np.int32(frame.index), by=self.config.landmarks.name)

    def _load(self) -> Detector:
        if self._detector is None:
            self._detector = make_detector(self.config)
        return self._detector

    def _compute(
        self, source: FrameSource, cache: TrackCache | None, blocks: list[Span], n_frames: int
    ) -> list[RawTracks]:
        """Consecutive blocks in one pass over the pixels."""
        if not blocks:
            return []
        parts: list[RawTracks] = []
        seen: list[SeenFrame] = []
        whole = Span(blocks[0].start, blocks[-1].stop)
        for one in see(source, self._load(), self.config, whole, n_frames):
            seen.append(one)
            if one.index + 1 == blocks[len(parts)].stop:
                part = pack(seen, self.config.embeds)
                self.detected += part.detected
                if cache is not None:
                    source.check()
                    cache.write(part)
                parts.append(part)
                seen = []
        if len(parts) < len(blocks):
            raise StageError(Code.INTERNAL, f"the source ended before frame {blocks[-1].stop}", retryable=True)
        return parts


class _OneFrame:
    """A source of one frame, numbered 0."""

    def __init__(self, frame: Frame) -> None:
        self._frame = replace(frame, index=0)

    def frames(self, start: int, stop: int) -> Iterator[Frame]:
        yield self._frame

    def check(self) -> None:
        """A frame in memory does not change."""
