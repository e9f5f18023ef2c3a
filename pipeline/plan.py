"""Estimates of a job's work: frames, chunks, core seconds per stage, by the table of pipeline.costs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from raydub.errors import Code, InputError
from raydub.manifests.job import Job
from raydub.manifests.options import asks_who_speaks, settled_length
from raydub.media.frames import Transform
from raydub.media.probe import probe_speech, probe_video
from raydub.models.active_speaker import require_sound
from raydub.pipeline.costs import COSTS, Costs, Workload
from raydub.pipeline.engines import resolved_engine
from raydub.pipeline.registry import STAGES
from raydub.pipeline.simulated import JobWork, Load
from raydub.stages.evaluate.windows import LENGTH, WINDOWS
from raydub.stages.job_plan import chunk_length
from raydub.stages.post_processors import expected_size, post_process_costs

_SECONDS_PER_CHARACTER = 0.07  # of speech, for a script without times


@dataclass(frozen=True)
class Estimate:
    """Estimate of one job. width, height: of the source; out_width, out_height: of the output, by its options; seconds:
    core seconds per stage on CPUs, including "upscale" and "restore" if used; networks: those of them that a GPU can
    do; video_seconds: the output's length; chunk_frames: frames of a full chunk; priority: of its row."""

    job_id: str
    width: int
    height: int
    out_width: int
    out_height: int
    rate: str
    frames: int
    chunks: int
    video_seconds: float
    engine: str
    seconds: Mapping[str, float]
    networks: tuple[str, ...]
    chunk_frames: int
    priority: int = 0

    @property
    def core_seconds(self) -> float:
        """Sum over the stages."""
        return sum(self.seconds.values())


def _speech(job: Job) -> tuple[float, bool]:
    """(approximate seconds of the new speech, whether it is a script with times)"""
    if job.script is None:
        assert job.audio is not None  # a job has one of the two
        return probe_speech(job.audio).seconds, False
    from raydub.tts.scripts.read import read_script

    script = read_script(job.script)
    last = max((float(segment.end) for segment in script.segments if segment.end is not None), default=0.0)
    return last or sum(len(segment.text) for segment in script.segments) * _SECONDS_PER_CHARACTER, script.timed


def estimate(job: Job, costs: Costs = COSTS) -> Estimate:
    """Probe a job's inputs (no decoding) and estimate its work. Raises InputError for inputs that cannot be used."""
    options = job.options
    video = probe_video(job.video, images_rate=options.fps)
    if asks_who_speaks(options) and options.box is None:
        require_sound(job.video, video.has_audio)
    spoken, timed = _speech(job)
    wanted = math.ceil(spoken * video.rate)
    source = video.n_frames if video.kind != "image" else wanted
    frames = {"audio": wanted, "video": source, "shortest": min(wanted, source)}[settled_length(options.length, timed)]
    if frames < 1:
        raise InputError(Code.VIDEO_NO_FRAMES, "the output would have no frame").at(job=job.id, line=job.line)
    return estimated(job, (video.width, video.height), video.rate, frames, spoken, costs)


def estimated(
    job: Job, size: tuple[int, int], rate: Fraction, frames: int, spoken: float, costs: Costs = COSTS
) -> Estimate:
    """The estimate for a video of this size (width, height), rate and output frames, and `spoken` seconds of speech."""
    options = job.options
    per_chunk = chunk_length(options.chunk_seconds, rate, frames)
    chunks = math.ceil(frames / per_chunk)
    engine = resolved_engine(options)
    rotate: Any = options.rotate
    transform = Transform(crop=options.crop, rotate=rotate, resize_height=options.resize_height)
    working = transform.size(*size)
    out = expected_size(options, working)
    source, made = (width * height / 1e6 for width, height in (working, out))
    workload = Workload(frames, chunks, max(spoken, float(frames / rate)), source, made)
    names = [stage.name for stage in STAGES if stage.asked([job])]
    bounded = {"evaluate": replace(workload, frames=min(frames, LENGTH * WINDOWS))}
    seconds = {name: costs.of(name, engine).seconds(bounded.get(name, workload)) for name in names}
    if asks_who_speaks(options) and options.box is None:
        seconds["track"] += costs.of("active", "").seconds(workload)
    post = {name: frames * cost for name, cost in post_process_costs(options, working).items()}
    return Estimate(
        job.id,
        *size,
        *out,
        str(rate),
        frames,
        chunks,
        float(frames / rate),
        engine,
        {stage: round(value, 3) for stage, value in (seconds | post).items()},
        (*(["lipsync"] if costs.of("lipsync", engine).network else []), *post),
        per_chunk,
        options.priority,
    )


def work_of(one: Estimate, costs: Costs, gpus: Iterable[str] = ()) -> JobWork:
    """The estimate as loads for pipeline.simulate. gpus: types of GPUs. Raises UsageError for an unknown type."""
    per_chunk = min(1.0, one.chunk_frames / one.frames)
    loads = {}
    for stage in STAGES:
        if stage.name not in one.seconds:
            continue
        cost = costs.of(stage.name, one.engine)
        networks = {stage.name: one.frames * cost.network / 1000}
        cpu = max(0.0, one.seconds[stage.name] - networks[stage.name])
        if stage.name == "render":
            networks |= {name: one.seconds[name] for name in one.networks if name != "lipsync"}
        on = {kind: sum(costs.gpu(kind).seconds(*item, one.frames) for item in networks.items()) for kind in gpus}
        known = on if sum(networks.values()) else {}
        whole = Load(cpu, cost.threads, sum(networks.values()), known, cost.load)
        loads[stage.name] = whole.scaled(per_chunk) if stage.per == "chunk" else whole
    last = (one.frames - (one.chunks - 1) * one.chunk_frames) / one.chunk_frames
    return JobWork(one.job_id, loads, one.chunks, min(1.0, last), one.priority)
