"""Measure the costs of the stages on this machine: some seconds of a job's own material go through the real stages."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from raydub.errors import Code, UsageError
from raydub.manifests.job import Job
from raydub.media.probe import probe_video
from raydub.media.sound_file import convert_sound
from raydub.pipeline.context import WorkerContext, WorkSettings
from raydub.pipeline.costs import Costs
from raydub.pipeline.engines import resolved_engine
from raydub.pipeline.events import Prepared
from raydub.pipeline.plan import estimated
from raydub.pipeline.registry import STAGES
from raydub.pipeline.threads import limit_threads, thread_environment, usable_cores

T = TypeVar("T")
SECONDS = 40.0
"""Seconds of speech that are prepared; two chunks of it are made, the second of which is measured. From 40 s on, chunks
have the length that they have in a run of a long video: shorter ones cost more, as decoding begins at a key frame."""
_LONGEST_CHUNK = 20.0
_OTHERS = 0.1
"""Cores that other processes may keep busy while threads are measured."""
_TELLING = 0.5
"""Seconds of a step from which on its threads are measured."""


@dataclass(frozen=True)
class Measured:
    """One stage. cpu: core seconds of the measured step; load: how many more the first step in this process took;
    frames: of the step, or of the job for a step of the whole job; threads: cores that the step kept busy, None if
    others were at work meanwhile."""

    cpu: float
    load: float
    frames: int
    threads: float | None = None


def measure_stages(job: Job, folder: str, seconds: float = SECONDS) -> Mapping[str, Measured]:
    """Run the first two chunks of a job's first `seconds` through the stages in this process, one after another, with
    one thread for networks and without restoring and upscaling. folder: an empty one, for work and output. Raises
    UsageError for a job without a sound file; the stages' errors."""
    if job.audio is None:
        raise UsageError(Code.FIELD_MISSING, "measuring takes a job with a sound file", hint="give --costs", job=job.id)
    sound = os.path.join(folder, "speech.wav")
    convert_sound(job.audio, sound, Fraction(seconds))
    # Restoring and upscaling take seconds a frame on a CPU: their estimate comes from their networks' size.
    plain = {"restore": "none", "upscale": "none"}
    longest = min(job.options.chunk_seconds, _LONGEST_CHUNK)
    options = job.options.model_copy(update={"chunk_seconds": longest, "length": "audio", **plain})
    output = os.path.join(folder, "output.mp4")
    short = job.model_copy(update={"audio": sound, "options": options, "output": output, "output_root": ""})
    limit_threads(1)
    found: dict[str, Measured] = {}
    _prepare(short, os.path.join(folder, "first"), found)
    again = _prepare(short, os.path.join(folder, "again"), found)
    context, made = again
    steady = _steady(found["prepare:first"], found["prepare:again"])
    found["prepare"] = replace(steady, frames=made.plan.n_frames)
    steps: list[dict[str, Measured]] = []
    for chunk in made.chunks[:2]:
        item: Any = chunk
        steps.append({})
        for stage in STAGES:
            if stage.per == "chunk":
                item, steps[-1][stage.name] = _timed(partial(stage.run, context, item), len(chunk.span))
    for name in steps[0]:
        found[name] = _steady(steps[0][name], steps[-1][name])
    return {name: one for name, one in found.items() if ":" not in name}


def _prepare(job: Job, work_dir: str, found: dict[str, Measured]) -> tuple[WorkerContext, Prepared]:
    context = WorkerContext(WorkSettings(work_dir, "measure", device="cpu"))
    prepare = next(stage for stage in STAGES if stage.name == "prepare")
    made, found[f"prepare:{os.path.basename(work_dir)}"] = _timed(lambda: prepare.run(context, job), 0)
    return context, made


def busy_seconds() -> float | None:
    """Core seconds of all processes of this machine so far; None where no /proc/stat tells them."""
    try:
        fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
        return (sum(map(int, fields[:3])) + sum(map(int, fields[5:7]))) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None


def _timed(call: Callable[[], T], frames: int) -> tuple[T, Measured]:
    all_before, before, start = busy_seconds(), time.process_time(), time.perf_counter()
    made = call()
    cpu, wall, all_after = time.process_time() - before, time.perf_counter() - start, busy_seconds()
    if all_before is None or all_after is None or wall < _TELLING or all_after - all_before - cpu > _OTHERS * wall:
        return made, Measured(cpu, 0.0, frames)
    return made, Measured(cpu, 0.0, frames, cpu / wall)


def _steady(first: Measured, last: Measured) -> Measured:
    each = first.cpu * max(last.frames, 1) / max(first.frames, 1)
    return replace(last, load=max(0.0, each - last.cpu))


def measured(job: Job, folder: str, table: Costs, seconds: float = SECONDS) -> Costs:
    """The table, with what was measured here on a job: its stages (all core times of a stage are scaled by the same
    factor; those of the stitch by that of all others together), the cores that a worker keeps busy in each stage if
    no other process was at work, the start of a worker process, and the efficiency of busy cores. Raises as
    measure_stages()."""
    stages = dict(table.stages)
    engine = resolved_engine(job.options)
    made = measure_stages(job, folder, seconds)
    video = probe_video(job.video, images_rate=job.options.fps)
    all_spent = all_expected = 0.0
    for name, one in made.items():
        length = float(one.frames / video.rate)
        guess = estimated(job, (video.width, video.height), video.rate, one.frames, length, table)
        expected = guess.seconds[name] - table.of(name, engine).chunk * (guess.chunks - 1)
        known = f"{name}:{engine}" if f"{name}:{engine}" in stages else name
        scaled = table.of(name, engine).scaled(one.cpu / expected)
        threads = scaled.threads if one.threads is None else round(max(one.threads, 0.5), 2)
        stages[known] = scaled.model_copy(update={"load": round(one.load, 2), "threads": threads})
        all_spent, all_expected = all_spent + one.cpu, all_expected + expected
    # A stitch needs all chunks, and takes a fiftieth of the work.
    stages["stitch"] = table.of("stitch", engine).scaled(all_spent / all_expected)
    cores = usable_cores()
    return table.model_copy(
        update={
            "stages": stages,
            "efficiency": efficiency(cores),
            "start": table.start.model_copy(update={"worker": _worker_start()}),
            "source": f"{cores} cores of this machine, {seconds:.0f} s of {job.id}",
        }
    )


_BUSY = """
import statistics, time, zlib, numpy
data = numpy.random.default_rng(0).integers(0, 64, 1 << 18, numpy.uint8).tobytes()
picture = numpy.zeros((512, 512), numpy.float32)
spent, until = [], time.monotonic() + 1.5
while time.monotonic() < until:
    start = time.process_time()
    zlib.compress(data, 6)
    for _ in range(20):
        picture += picture * 0.5
    spent.append(time.process_time() - start)
print(statistics.median(spent))
"""


def efficiency(cores: int) -> float:
    """Throughput of each of `cores` busy processes over that of one alone, at most 1, by the processor time that the
    same work takes: compressing and array arithmetic. Takes 4 s."""
    return round(min(1.0, _alone_or_beside(1) / _alone_or_beside(cores)), 2) if cores > 1 else 1.0


def _alone_or_beside(count: int) -> float:
    """Core seconds that each of `count` processes takes for the same work, on average."""
    environment = {**os.environ, **thread_environment(1)}
    command = [sys.executable, "-c", _BUSY]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) for _ in range(count)]
    return sum(float(one.communicate()[0]) for one in running) / count


def _worker_start() -> float:
    """Core seconds until a process has imported what a worker imports first."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    code = f"import sys; sys.path[:] = {sys.path!r}; import raydub.pipeline.child"
    subprocess.run([sys.executable, "-c", code], check=True, stdin=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2)
