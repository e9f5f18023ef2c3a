"""What the render stage does to a frame of the embedded engine, as JSON.

    taskset -c 0 python bench/render.py --clip CLIP --speech SPEECH [--frames 150] [--rounds 5] [--set FIELD=VALUE]

Milliseconds are CPU time a frame, all threads of one process, on the first frames of the first chunk, each the least of
several rounds: decode (reading the frames), draw (a frame with a new mouth), encode (the part's file), verify (counting
its frames).
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from raydub.cluster.commands.fields import chosen
from raydub.manifests.read import check_rows
from raydub.media.frames import Frame
from raydub.media.writer import count_frames
from raydub.pipeline.engines import make_job_engine
from raydub.stages.chunk import TrackStage
from raydub.stages.engine import Arrays, ChoosesMouths
from raydub.stages.job_plan import JobPlan, chunks_of, load_source
from raydub.stages.mouths.library import Learnt
from raydub.stages.mouths.stored import load_library
from raydub.stages.prepare import prepare_job
from raydub.stages.render import draw_face, part_writer
from raydub.stages.source_timeline import read_shown
from raydub.stages.synthesise import LipsyncStage


def measure(clip: str, speech: str, fields: list[str], frames: int, rounds: int, folder: Path) -> dict[str, object]:
    """Prepare, track and synthesise the first chunk, then time its rendering step by step."""
    row = {"video": clip, "audio": speech, "output": "o.mp4"}
    [job] = check_rows([(1, row | {"engine": "warp"} | chosen({}, fields))], folder, folder).jobs
    engine = make_job_engine(job.options)
    plan = prepare_job(job, str(folder / "work"), engine)
    chunk = LipsyncStage(engine, "cpu").run(TrackStage().run(chunks_of(plan)[0]))
    start, stop = chunk.chunk.span.start, min(chunk.chunk.span.stop, chunk.chunk.span.start + frames)
    sources: list[Arrays] = [load_source(plan, voice) for voice in range(len(plan.voices))]
    if isinstance(engine, ChoosesMouths):
        sources = [Learnt(arrays, load_library(plan, voice)) for voice, arrays in enumerate(sources)]
    items = chunk.items
    rows = [row for row in range(len(items)) if items.frame[row] < stop and items.gate[row] > 0]
    part = str(folder / "part.mp4")
    best: dict[str, float] = {}

    def timed(name: str, count: int, work: Callable[[], object]) -> None:
        began = time.process_time()
        work()
        spent = 1000 * (time.process_time() - began) / max(count, 1)
        best[name] = round(min(spent, best.get(name, spent)), 2)

    def decode(shown: list[Frame]) -> None:
        with plan.open() as reader:
            shown.extend(frame for _, frame in read_shown(reader, plan.timeline, start, stop))

    def draw(shown: list[Frame]) -> None:
        for row in rows:
            mouth = {name: values[row] for name, values in chunk.mouths.items()}
            source = sources[plan.voice_of(int(items.face[row]))]
            draw_face(engine, shown[int(items.frame[row]) - start], items, row, mouth, source)

    for _ in range(rounds):
        shown: list[Frame] = []
        timed("decode", stop - start, partial(decode, shown))
        timed("draw", len(rows), partial(draw, shown))
        timed("encode", stop - start, partial(encode, part, plan, shown))
        timed("verify", stop - start, partial(count_frames, part))
    return {
        "size": list(plan.out_size),
        "frames": stop - start,
        "drawn": len(rows),
        "cpu_ms_per_frame": best,
        "draw_and_encode": round(best["draw"] + best["encode"], 2),
        "load": round(os.getloadavg()[0], 1),
    }


def encode(path: str, plan: JobPlan, frames: list[Frame]) -> None:
    """As the render stage does."""
    with part_writer(plan, path) as writer:
        for frame in frames:
            writer.write(frame)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", required=True)
    parser.add_argument("--speech", required=True)
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="raydub-bench-") as name:
        clip, speech = (str(Path(path).absolute()) for path in (args.clip, args.speech))
        print(json.dumps(measure(clip, speech, args.set, args.frames, args.rounds, Path(name)), indent=2))


if __name__ == "__main__":
    main()
