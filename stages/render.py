"""The render stage: draw the new mouths into the source's frames, post-process the frames (upscale, restore) and encode
the chunk's part. Constant memory: one frame at a time (one bounded block where the source is shown backward), and the
few that post-processors hold or that wait for them."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from raydub.beat import beat
from raydub.errors import Code, StageError
from raydub.files import discard, make_parent
from raydub.media.frames import Frame
from raydub.media.writer import PartWriter, count_frames
from raydub.stages.ahead import ahead, behind
from raydub.stages.engine import Arrays, ChoosesMouths, DrawItem, Drawn, LipEngine, WeightsRecord
from raydub.stages.job_plan import JobPlan, load_label, load_plan, load_source
from raydub.stages.marks.label import Label
from raydub.stages.mouths.library import Learnt
from raydub.stages.mouths.stored import load_library
from raydub.stages.post_processor import PostProcessor, Shown, ShownFace
from raydub.stages.source_timeline import read_shown
from raydub.stages.types import FaceItems, Gate, Part, Span, SynthesisedChunk

_WAITING = 8, 2
"""Drawn and finished frames that wait at most for the post-processors and the encoder, which work in threads of their
own. The first fills a batch of faces while the card works on the last one; finished frames may be sixteen times as
large."""


class RenderStage:
    """Draws with one engine, which need not be loaded: drawing uses no network. Then runs the post-processors in order;
    those must be loaded (load). With post-processors, drawing and encoding are in threads beside them."""

    def __init__(self, engine: LipEngine, post_processors: Sequence[PostProcessor] = ()) -> None:
        self._engine = engine
        self._post_processors = tuple(post_processors)
        self._load_seconds = 0.0  # reported with the next chunk
        self._source: tuple[str, list[Arrays]] = ("", [])

    def load(self, device: str) -> None:
        """Load the post-processors' networks on "cpu" or "cuda[:n]"; again for the same device does nothing. Raises
        DependencyError (WEIGHTS_*, LICENCE), and whatever the device's libraries raise."""
        start = time.perf_counter()
        for post_processor in self._post_processors:
            post_processor.load(device)
        self._load_seconds += time.perf_counter() - start

    def weights(self) -> tuple[WeightsRecord, ...]:
        """Of the post-processors, as their files are now. Raises DependencyError WEIGHTS_*."""
        return tuple(record for post_processor in self._post_processors for record in post_processor.weights())

    def frames(self, chunk: SynthesisedChunk) -> Iterator[Frame]:
        """The chunk's frames as they are before encoding, in order, numbered by output frame. Frames without an item
        equal the source's bit for bit, except in the box of a label, and unless a post-processor changes them. Raises
        InputError from reading, StageError OUT_OF_MEMORY from post-processors."""
        plan = load_plan(chunk.chunk.job_dir)
        finished = _PostProcessing(self._post_processors, self._drawn(chunk, plan, [], {}), chunk.chunk.span)
        yield from _labelled(plan, finished)

    def run(self, chunk: SynthesisedChunk, out_path: str) -> Part:
        """Encode the chunk into the file `out_path`, and count its frames by decoding. Nothing is left there after an
        error.

        Raises InputError from reading (among others INPUT_CHANGED), StageError ENCODE_FAILED, VERIFY_FAILED, STORAGE,
        DISK_FULL, OUT_OF_MEMORY.
        """
        plan, span = load_plan(chunk.chunk.job_dir), chunk.chunk.span
        start = time.perf_counter()
        drawn: list[Gate] = []
        by: dict[str, set[int]] = {}
        most_drawn, most_finished = _WAITING if self._post_processors else (0, 0)
        make_parent(out_path)
        try:
            with (
                ahead(self._drawn(chunk, plan, drawn, by), most_drawn, "raydub-draw") as shown,
                part_writer(plan, out_path) as writer,
            ):
                finishing = _PostProcessing(self._post_processors, shown, span)
                with behind(writer.write, most_finished, "raydub-encode") as write:
                    for frame in _labelled(plan, finishing):
                        write(frame)
                        beat("render")
                written = writer.close()
            encoded = time.perf_counter()
            found = count_frames(out_path)
            if not len(span) == written == found:
                message = (
                    f"part {out_path} should have {len(span)} frames, {written} were written, {found} were decoded"
                )
                raise StageError(Code.VERIFY_FAILED, message, retryable=True)
        except BaseException:
            discard(out_path)
            raise
        spent = finishing.seconds()
        seconds = {
            **chunk.seconds,
            "render.draw_encode": encoded - start - sum(spent.values()),
            **{f"render.{name}": value for name, value in spent.items()},
            "render.verify": time.perf_counter() - encoded,
        }
        if self._post_processors:
            seconds["render.load"], self._load_seconds = self._load_seconds, 0.0
        inside = [gate for gate in drawn if span.start <= gate.start < span.stop]
        synthesised = len({gate.start for gate in inside})
        engines = {name: len(frames & set(range(*span))) for name, frames in sorted(by.items())}
        return Part(
            chunk.chunk, out_path, len(span), synthesised, chunk.faceless, seconds, gates=runs_of(inside), drawn=engines
        )

    def _drawn(
        self, chunk: SynthesisedChunk, plan: JobPlan, drawn: list[Gate], by: dict[str, set[int]]
    ) -> Generator[Shown]:
        """Every output frame of the chunk, and those around it that post-processors want to see, with their new mouths;
        `drawn` gets one entry for each of these, `by` the frames in which each engine drew."""
        items, sources, around = chunk.items, self._prepared(plan), plan.around(chunk.chunk.span)
        if len(items) and (items.frame.min() < around.start or items.frame.max() >= around.stop):
            raise ValueError(f"items of frames {items.frame.min()}..{items.frame.max()} in chunk {chunk.chunk.span}")
        span = around if self._post_processors else chunk.chunk.span
        row = int(np.searchsorted(items.frame, span.start))
        with plan.open() as reader:
            for number, frame in read_shown(reader, plan.timeline, *span):
                frame, faces, changed = replace(frame, index=number), [], False
                while row < len(items) and items.frame[row] == number:
                    gate = float(items.gate[row])
                    if gate > 0:
                        mouth = {name: rows[row] for name, rows in chunk.mouths.items()}
                        face = int(items.face[row])
                        patch = draw_face(self._engine, frame, items, row, mouth, sources[plan.voice_of(face)])
                        if patch is not None:
                            drawn.append(Gate(face, number, number + 1, round(gate, 2)))
                            by.setdefault(getattr(patch, "by", self._engine.name), set()).add(number)
                            changed = True
                    faces.append(ShownFace(int(items.face[row]), items.landmarks[row], gate))
                    row += 1
                yield Shown(frame, tuple(faces), changed)
            reader.check()

    def _prepared(self, plan: JobPlan) -> list[Arrays]:
        """Results of the engine's prepare(), by voice."""
        if self._source[0] != plan.job_dir:
            learnt: list[Arrays] = [load_source(plan, voice) for voice in range(len(plan.voices))]
            if isinstance(self._engine, ChoosesMouths):
                learnt = [Learnt(arrays, load_library(plan, voice)) for voice, arrays in enumerate(learnt)]
            self._source = (plan.job_dir, learnt)
        return self._source[1]


def part_writer(plan: JobPlan, out_path: str) -> PartWriter:
    """The writer of a part of this job, as its options ask. Raises StageError ENCODE_FAILED, STORAGE, DISK_FULL."""
    options = plan.job.options
    return PartWriter(
        out_path,
        plan.out_size,
        plan.rate,
        plan.video.colour,
        plan.sample_aspect,
        codec=options.codec,
        crf=options.crf,
        preset=options.preset,
    )


def draw_face(
    engine: LipEngine, frame: Frame, items: FaceItems, row: int, mouth: Arrays, source: Arrays
) -> Drawn | None:
    """Draw one item's new mouth into its frame, as far as its gate is open. Returns the engine's patch, None if nothing
    was drawn. mouth: the item's row of each array of infer; source: what prepare returned."""
    item = DrawItem(
        frame=int(items.frame[row]),
        source=int(items.source[row]),
        face=int(items.face[row]),
        box=items.box[row],
        landmarks=items.landmarks[row],
    )
    patch = engine.draw(frame, item, mouth, source)
    if patch is not None:
        patch.blend(frame, float(items.gate[row]))
    return patch


def runs_of(gates: Iterable[Gate]) -> tuple[Gate, ...]:
    """The same frames with neighbours of one face and gate joined, by face and time."""
    runs: list[Gate] = []
    for gate in sorted(gates):
        last = runs[-1] if runs else None
        if last and (last.face, last.stop, last.gate) == (gate.face, gate.start, gate.gate):
            runs[-1] = last._replace(stop=gate.stop)
        else:
            runs.append(gate)
    return tuple(runs)


def _labelled(plan: JobPlan, frames: Iterable[Frame]) -> Iterator[Frame]:
    """The finished frames with the job's label, if it has one."""
    found = load_label(plan)
    if found is None:
        yield from frames
        return
    label = Label.of(found)
    for frame in frames:
        yield label.on(frame)


class _PostProcessing:
    """Drawn frames through the post-processors, one after the other; iterating gives the finished frames of `span`, and
    raises ValueError where one of them is missing."""

    def __init__(self, post_processors: Sequence[PostProcessor], drawn: Iterable[Shown], span: Span) -> None:
        self._span = span
        self._clocks: list[tuple[str, _Clock]] = []
        self._last: Iterator[Shown] = iter(drawn)
        if post_processors:
            self._last = self._clocked("draw", self._last)
        for post_processor in post_processors:
            self._last = self._clocked(post_processor.name, post_processor.map(self._last))

    def __iter__(self) -> Iterator[Frame]:
        wanted = self._span.start
        for shown in self._last:
            if shown.frame.index not in range(*self._span):
                continue
            if shown.frame.index != wanted:
                raise ValueError(
                    f"frame {shown.frame.index} was returned by the post-processors instead of frame {wanted}"
                )
            wanted += 1
            yield shown.frame
        if wanted != self._span.stop:
            raise ValueError(f"the post-processors ended before frame {wanted}")

    def seconds(self) -> dict[str, float]:
        """Wall time by post-processor, without what comes before it."""
        spent: dict[str, float] = {}
        before = self._clocks[0][1].seconds if self._clocks else 0.0
        for name, clock in self._clocks[1:]:
            spent[name] = spent.get(name, 0.0) + clock.seconds - before
            before = clock.seconds
        return spent

    def _clocked(self, name: str, stream: Iterator[Shown]) -> Iterator[Shown]:
        clock = _Clock(stream)
        self._clocks.append((name, clock))
        return clock


class _Clock:
    """An iterator that measures the time spent waiting for its items."""

    def __init__(self, stream: Iterator[Shown]) -> None:
        self._stream = stream
        self.seconds = 0.0

    def __iter__(self) -> Iterator[Shown]:
        return self

    def __next__(self) -> Shown:
        start = time.perf_counter()
        try:
            return next(self._stream)
        finally:
            self.seconds += time.perf_counter() - start
