"""Small finished runs for tests of the report: films whose frames are numbered, plans, evaluations."""

from __future__ import annotations

import functools
import hashlib
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

from raydub.manifests.results import JobResult, write_results
from raydub.media.probe import probe_video
from raydub.stages.job_plan import load_plan, save_plan
from raydub.stages.source_timeline import Timeline
from raydub.stages.types import Gate
from tests.evaluations import evaluation
from tests.media.films import film
from tests.pipeline.test_timeline import cue, finished

RATE = Fraction(25)


@functools.cache
def _film(frames: int, size: tuple[int, int], suffix: str) -> bytes:
    """A film of these frames: always the same bytes, which libx264 does not promise."""
    with tempfile.TemporaryDirectory() as folder:
        return film(Path(folder) / f"film{suffix}", range(frames), RATE, size=size).read_bytes()


def dubbed(
    folder: Path,
    name: str = "job",
    frames: int = 50,
    source: int | None = None,
    timeline: Timeline | None = None,
    size: tuple[int, int] = (96, 64),
    evaluated: bool = True,
    suffix: str = ".mp4",
    **row: Any,
) -> JobResult:
    """The row of a finished job with its plan, source and output; frame k of both shows the number k."""
    folder.mkdir(exist_ok=True)
    if not (folder / "source.mp4").exists():
        (folder / "source.mp4").write_bytes(_film(source or frames, size, ".mp4"))
    seconds = float(frames / RATE)
    cues = [cue(1, 0.2, seconds / 2), cue(2, seconds / 2, seconds - 0.1)]
    job_dir = finished(folder, cues, [Gate(0, 5, frames // 2, 1.0)], seconds=seconds, rate=RATE, name=name)
    plan = load_plan(job_dir)
    made = folder / f"{name}{suffix}"
    made.write_bytes(_film(frames, size, suffix))
    video = probe_video(str(folder / "source.mp4"))
    job = plan.job.model_copy(update={"output": str(made)})
    shown = timeline or Timeline(n_out=frames, n_src=video.n_frames)
    save_plan(plan.model_copy(update={"job": job, "video": video, "timeline": shown, "size": size, "out_size": size}))
    said: dict[str, Any] = {
        "id": name,
        "status": "ok",
        "video": str(folder / "source.mp4"),
        "output": str(made),
        "frames": frames,
        "synthesised": frames // 2,
        "untouched": frames - frames // 2,
        "seconds": {"prepare": 2.0, "render": 6.0, "render.verify": 1.0},
        "wall_seconds": 9.0,
        "attempts": 1,
        "engine": "own",
        "job_dir": job_dir,
        "line": 1,
    }
    if evaluated:
        digest = hashlib.sha256(made.read_bytes()).hexdigest()
        told = evaluation(name, str(made), digest, frames, float(RATE), "look", 3)
        path = folder / f"{name}.evaluation.json"
        path.write_bytes(told.to_json())
        said |= {"verdict": told.verdict, "evaluation": str(path), "reasons": tuple(r.message for r in told.reasons)}
    return JobResult(**{**said, **row})


def failed(name: str, code: str = "E_INPUT_MISSING", **row: Any) -> JobResult:
    """The row of a job that failed."""
    said = {"error_code": code, "error_message": f"video {name}.mp4 does not exist", "hint": "check the path"}
    return JobResult(**{"id": name, "status": "failed", "line": 2, **said, **row})


def results_of(folder: Path, *rows: JobResult, name: str = "jobs.results.jsonl") -> Path:
    """A results manifest."""
    write_results(rows, folder / name, None)
    return folder / name
