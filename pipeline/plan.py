"""Estimates of a job's work: frames, chunks, seconds per stage.

The constants are processor time. They were chosen by hand and agree with the total of one run of bench/end_to_end.py on
a 2-core AMD EPYC (AVX-512) for each engine. The split over the stages and the scaling by picture size are estimates,
and other machines differ by a factor of two either way: the result tells minutes from days. For GPUs, one number
stands for all networks and cards.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from raydub.errors import Code, InputError
from raydub.manifests.job import Job
from raydub.manifests.options import settled_length
from raydub.media.frames import Transform
from raydub.media.probe import probe_speech, probe_video
from raydub.pipeline.engines import resolved_engine
from raydub.pipeline.registry import STAGES
from raydub.pipeline.stage import Workload
from raydub.stages.job_plan import chunk_length
from raydub.stages.post_processors import expected_size, post_process_costs

_SECONDS_PER_CHARACTER = 0.07  # of speech, for a script without times
CORES_PER_GPU = 400.0
"""Cores that one H100 or H200 stands for in a network, in half precision. Predicted, not measured: 340 to 700 for
Wav2Lip, 700 for general-x4v3, 1,300 for GFPGAN (bench/NOTES.md, "The GPU bench")."""


@dataclass(frozen=True)
class Estimate:
    """Estimate of one job. width, height: of the source; out_width, out_height: of the output, by its options; seconds:
    core seconds per stage on CPUs, including "upscale" and "restore" if used; networks: those of them that a GPU can
    do; video_seconds: the output's length."""

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


def estimate(job: Job) -> Estimate:
    """Probe a job's inputs (no decoding) and estimate its work. Raises InputError for inputs that cannot be used."""
    options = job.options
    video = probe_video(job.video, images_rate=options.fps)
    spoken, timed = _speech(job)
    wanted = math.ceil(spoken * video.rate)
    source = video.n_frames if video.kind != "image" else wanted
    frames = {"audio": wanted, "video": source, "shortest": min(wanted, source)}[settled_length(options.length, timed)]
    if frames < 1:
        raise InputError(Code.VIDEO_NO_FRAMES, "the output would have no frame").at(job=job.id, line=job.line)
    per_chunk = chunk_length(options.chunk_seconds, video.rate, frames)
    engine = resolved_engine(options)
    rotate: Any = options.rotate
    transform = Transform(crop=options.crop, rotate=rotate, resize_height=options.resize_height)
    size = transform.size(video.width, video.height)
    out = expected_size(options, size)
    work, made = (width * height / 1e6 for width, height in (size, out))
    length = float(frames / video.rate)
    workload = Workload(frames, spoken, length, work, made, engine)
    seconds = {stage.name: stage.cost(workload) for stage in STAGES if stage.asked([job])}
    post = {name: frames * cost for name, cost in post_process_costs(options, size).items()}
    seconds |= post
    return Estimate(
        job.id,
        video.width,
        video.height,
        *out,
        str(video.rate),
        frames,
        math.ceil(frames / per_chunk),
        length,
        engine,
        {stage: round(value, 2) for stage, value in seconds.items()},
        (*(["lipsync"] if engine != "warp" else []), *post),
    )


@dataclass(frozen=True)
class Bottleneck:
    """What bounds a run. seconds: estimated, with all cores and GPUs busy; bound: "cores" or "gpus", whichever has work
    for longer; stage: the one that most of that work belongs to; share: how much of it, 0 to 1; idle: share of the time
    that the other kind is idle, None without GPUs."""

    seconds: float
    bound: str
    stage: str
    share: float
    idle: float | None


def bottleneck(estimates: Iterable[Estimate], cores: int, gpus: int) -> Bottleneck | None:
    """The bottleneck of these jobs together on a cluster; None where there is no work. Networks are on the GPUs if
    there are any, all else is on the cores."""
    work: dict[str, dict[str, float]] = {"cores": defaultdict(float), "gpus": defaultdict(float)}
    for one in estimates:
        for stage, seconds in one.seconds.items():
            if gpus and stage in one.networks:
                work["gpus"][stage] += seconds / CORES_PER_GPU / gpus
            else:
                work["cores"][stage] += seconds / cores
    busy = {kind: sum(stages.values()) for kind, stages in work.items()}
    bound, other = sorted(busy, key=lambda kind: -busy[kind])
    if not busy[bound]:
        return None
    stage, most = max(work[bound].items(), key=lambda item: item[1])
    idle = round(1 - busy[other] / busy[bound], 3) if gpus else None
    return Bottleneck(round(busy[bound], 1), bound, stage, round(most / busy[bound], 3), idle)
