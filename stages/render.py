"""The render stage: draw the new mouths into the source's frames and encode the chunk's part. Flat in memory: one frame
at a time (one bounded block where the source is shown backward)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from media.frames import Frame
from media.publish import discard, publish, temp_beside
from media.writer import PartWriter, count_frames
from media.yuv import blend_bgr
from raydub.errors import Code, StageError
from stages.engine import Arrays, DrawItem, LipEngine
from stages.plan import JobPlan, load_plan, load_source
from stages.timeline import read_shown
from stages.types import FaceItems, Part, SynthesisedChunk


class RenderStage:
    """Draws with one engine, which need not be loaded: drawing uses no network."""

    def __init__(self, engine: LipEngine) -> None:
        self._engine = engine
        self._source: tuple[str, Arrays] = ("", {})

    def frames(self, chunk: SynthesisedChunk) -> Iterator[Frame]:
        """The chunk's frames as they are before encoding, in order, numbered by output frame. Frames without an item
        equal the source's bit for bit. Raises InputError from reading."""
        for frame, _ in self._drawn(chunk, load_plan(chunk.chunk.job_dir)):
            yield frame

    def run(self, chunk: SynthesisedChunk, out_path: str) -> Part:
        """Encode the chunk into `out_path`: written beside it, counted by decoding, synced, renamed.

        Raises InputError from reading, StageError ENCODE_FAILED, VERIFY_FAILED, STORAGE, DISK_FULL.
        """
        plan, expected = load_plan(chunk.chunk.job_dir), len(chunk.chunk.span)
        options, start = plan.job.options, time.perf_counter()
        temp = temp_beside(out_path)
        try:
            synthesised = 0
            with PartWriter(
                temp,
                plan.size,
                plan.rate,
                plan.video.colour,
                plan.sample_aspect,
                codec=options.codec,
                crf=options.crf,
                preset=options.preset,
            ) as writer:
                for frame, changed in self._drawn(chunk, plan):
                    writer.write(frame)
                    synthesised += changed
                written = writer.close()
            drawn = time.perf_counter()
            found = count_frames(temp)
            if not expected == written == found:
                message = f"part {out_path} was to have {expected} frames, {written} were written, {found} are in it"
                raise StageError(Code.VERIFY_FAILED, message, retryable=True)
            publish(temp, out_path)
        except BaseException:
            discard(temp)
            raise
        seconds = {**chunk.seconds, "render.draw_encode": drawn - start, "render.verify": time.perf_counter() - drawn}
        return Part(chunk.chunk, out_path, expected, synthesised, chunk.faceless, seconds)

    def _drawn(self, chunk: SynthesisedChunk, plan: JobPlan) -> Iterator[tuple[Frame, bool]]:
        """(frame, was anything drawn) for every output frame of the chunk."""
        items, source = chunk.items, self._prepared(plan)
        if len(items) and (items.frame.min() < chunk.chunk.span.start or items.frame.max() >= chunk.chunk.span.stop):
            raise ValueError(f"items of frames {items.frame.min()}..{items.frame.max()} in chunk {chunk.chunk.span}")
        row = 0
        with plan.open() as reader:
            for number, frame in read_shown(reader, plan.timeline, *chunk.chunk.span):
                frame, changed = replace(frame, index=number), False
                while row < len(items) and items.frame[row] == number:
                    mouth = {name: rows[row] for name, rows in chunk.mouths.items()}
                    changed |= self._draw(frame, items, row, mouth, source)
                    row += 1
                yield frame, changed

    def _draw(self, frame: Frame, items: FaceItems, row: int, mouth: Arrays, source: Arrays) -> bool:
        item = DrawItem(
            frame=int(items.frame[row]),
            source=int(items.source[row]),
            face=int(items.face[row]),
            box=items.box[row],
            landmarks=items.landmarks[row],
        )
        patch = self._engine.draw(frame, item, mouth, source)
        if patch is None:
            return False
        gate = items.gate[row]
        alpha = patch.alpha if gate >= 1 else np.multiply(patch.alpha, gate, dtype=np.float32)
        blend_bgr(frame, patch.box, patch.bgr, alpha)
        return True

    def _prepared(self, plan: JobPlan) -> Arrays:
        if self._source[0] != plan.job_dir:
            self._source = (plan.job_dir, load_source(plan))
        return self._source[1]
