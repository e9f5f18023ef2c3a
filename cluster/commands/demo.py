"""`raydub demo`: dub the repository's sample on Ray with the embedded weights."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raydub.cluster.commands import options
from raydub.cluster.output import command, say, say_json
from raydub.errors import Code, DependencyError
from raydub.logs import set_up_logging
from raydub.places import WORK_FOLDER

if TYPE_CHECKING:
    from raydub.manifests.job import Job

_COLUMNS = 6
_SAMPLE = (
    "the sample is a still portrait: its one mouth is reshaped (engine warp); people who speak in your own videos get "
    "mouths of theirs (engine own)"
)


@command
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")] = Path("raydub-demo"),
    no_ray: options.NoRay = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Do all work again.")] = False,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
) -> int:
    """Dub a public-domain portrait into two languages and print the paths of the videos and before/after sheets."""
    set_up_logging(verbose)
    from raydub.cluster.runner import RunRequest, run_jobs
    from raydub.manifests.read import read_manifest

    started = time.monotonic()
    asked = read_manifest(_sample() / "jobs.jsonl", output)
    _check_sheets(asked.jobs)
    report = run_jobs(
        RunRequest(
            jobs=asked.jobs,
            bad=asked.bad,
            work_dir=output / WORK_FOLDER,
            results=output / "results",
            manifest=_sample() / "jobs.jsonl",
            folder=asked.folder,
            use_ray=not no_ray,
            show="quiet" if as_json else "auto",
            verbose=verbose,
            fresh=fresh,
        )
    )
    sheets = [
        str(_sheet(result.video or "", Path(result.output or ""))) for result in report.results if result.status == "ok"
    ]
    videos = [result.output for result in report.results if result.status == "ok"]
    if as_json:
        say_json({"videos": videos, "sheets": sheets, "seconds": round(time.monotonic() - started, 1)})
    else:
        for video, sheet in zip(videos, sheets, strict=True):
            say(f"video:  {video}")
            say(f"before/after: {sheet}")
        if videos:
            say(_SAMPLE)
            say(f"side by side in a browser: raydub report {shlex.quote(str(output))}")
        say(f"done in {time.monotonic() - started:.0f} s")
    return report.exit_code()


def _check_sheets(jobs: Sequence[Job]) -> None:
    from raydub.cluster.written import check_own, check_written, inputs_of
    from raydub.media.marked import is_marked

    inputs = inputs_of(jobs)
    for job in jobs:
        sheet = Path(job.output).with_suffix(".png")
        check_written({"output": sheet}, inputs)
        check_own("output", sheet, is_marked)


def _sample() -> Path:
    """The demo's folder in the repository; the installed package does not contain it."""
    folder = Path(__file__).resolve().parents[2] / "examples" / "demo"
    if not (folder / "jobs.jsonl").is_file():
        raise DependencyError(
            Code.DEPENDENCY_MISSING,
            "the demo's sample is missing: it is part of the repository, not of the installed package",
            hint="run `make demo` in a clone, or `raydub dub` with your own video",
        )
    return folder


def _sheet(video: str, dubbed: Path) -> Path:
    from raydub.cluster.sheet import contact_sheet, spread
    from raydub.media.probe import probe_video

    source, made = probe_video(video), probe_video(str(dubbed))
    frames = spread(made.n_frames, _COLUMNS)
    sources = [_pingpong(frame, source.n_frames) for frame in frames]
    return contact_sheet(video, str(dubbed), sources, frames, dubbed.with_suffix(".png"))


def _pingpong(frame: int, length: int) -> int:
    """Source frame of an output frame when the clip is extended forward and backward (the default of `extend`)."""
    place = frame % max(1, 2 * length - 2)
    return min(place, max(1, 2 * length - 2) - place) if place >= length else place
