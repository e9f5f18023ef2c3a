"""Costs of the stages: one table, with its source and date. Processor time, as measured on the machine of `source`;
other processors differ by a factor of two either way. A file of the same form (`raydub plan --costs`) replaces parts of
it. Figures for GPUs are predicted unless a file says otherwise: none has been measured."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from raydub.errors import Code, UsageError


@dataclass(frozen=True)
class Workload:
    """A job's size. frames: of the output, in `chunks` chunks; seconds: of the speech or of the output, whichever is
    longer; source, made: megapixels of a frame as it is tracked and as it is written."""

    frames: int
    chunks: int
    seconds: float
    source: float
    made: float


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class StageCost(_Table):
    """Costs of one stage. Core seconds: job (each job), second (per second of speech or output), chunk (each chunk),
    load (once in each worker: libraries and models). Core milliseconds: frame, megapixel (per frame and megapixel of
    the `picture`: as it is tracked, or as it is written), network (per frame, what a GPU can do). threads: cores that
    one worker keeps busy on average, besides networks."""

    job: float = Field(0.0, ge=0)
    second: float = Field(0.0, ge=0)
    chunk: float = Field(0.0, ge=0)
    load: float = Field(0.0, ge=0)
    frame: float = Field(0.0, ge=0)
    megapixel: float = Field(0.0, ge=0)
    network: float = Field(0.0, ge=0)
    picture: Literal["source", "made"] = "made"
    threads: float = Field(1.0, gt=0, le=64)

    def seconds(self, work: Workload) -> float:
        """Core seconds of a job, with its network, without loading."""
        picture = work.source if self.picture == "source" else work.made
        frame = self.frame + self.megapixel * picture + self.network
        return self.job + self.second * work.seconds + self.chunk * work.chunks + work.frames * frame / 1000

    def scaled(self, factor: float) -> StageCost:
        """All core times multiplied, except loading."""
        parts = ("job", "second", "chunk", "frame", "megapixel", "network")
        return self.model_copy(update={name: getattr(self, name) * factor for name in parts})


class Gpu(_Table):
    """A type of GPU. cores: cores of the table that it stands for in a network; frame: milliseconds per frame of single
    networks (lipsync, upscale, restore), where known; measured: whether these figures are."""

    cores: float = Field(700.0, gt=0)
    frame: Mapping[str, float] = {}
    measured: bool = False

    def seconds(self, network: str, core_seconds: float, frames: int) -> float:
        """GPU seconds of a network that takes so many core seconds for `frames` frames."""
        if network in self.frame:
            return frames * self.frame[network] / 1000 if core_seconds else 0.0
        return core_seconds / self.cores


class Start(_Table):
    """Start-up. Seconds: local, ray (until the first worker of a run without and with Ray starts; with Ray 12 until its
    first step, and 4 for what its own processes take from two cores), end (from the last output to the end of the
    command). Core seconds: worker (a process with its imports), item (each item that passes a stage on Ray)."""

    local: float = Field(1.0, ge=0)
    ray: float = Field(16.0, ge=0)
    end: float = Field(0.5, ge=0)
    worker: float = Field(1.5, ge=0)
    item: float = Field(0.02, ge=0)


class Costs(_Table):
    """All costs. efficiency: throughput of one core if all cores are busy, relative to one that is busy alone: near 0.6
    where cores are hyper-threads of half as many, 1 where they share nothing. stages: by stage, or "lipsync:ENGINE";
    gpus: by type."""

    source: str = ""
    efficiency: float = Field(1.0, gt=0, le=1)
    start: Start = Start()
    stages: Mapping[str, StageCost] = {}
    gpus: Mapping[str, Gpu] = {}

    def of(self, stage: str, engine: str) -> StageCost:
        """Costs of a stage for a lip engine; those of Wav2Lip for an engine of another package."""
        for name in (f"{stage}:{engine}", stage, f"{stage}:wav2lip"):
            if name in self.stages:
                return self.stages[name]
        return StageCost()

    def gpu(self, kind: str) -> Gpu:
        """A type of GPU. Raises UsageError FIELD_VALUE if it is unknown."""
        known = {name.upper(): gpu for name, gpu in self.gpus.items()}
        if kind.upper() not in known:
            hint = f"known: {', '.join(known)}; add [gpus.{kind}] to a file for --costs"
            raise UsageError(Code.FIELD_VALUE, f"no costs for the GPU {kind}", hint=hint, field="--cluster")
        return known[kind.upper()]

    def merged(self, given: Costs) -> Costs:
        """These costs with those that are set in `given` replaced."""
        update = {name: getattr(given, name) for name in given.model_fields_set if name not in ("stages", "gpus")}
        return self.model_copy(
            update={**update, "stages": {**self.stages, **given.stages}, "gpus": {**self.gpus, **given.gpus}}
        )


def read_costs(path: Path) -> Costs:
    """COSTS, with what a TOML or JSON file sets replaced. Raises UsageError MANIFEST_UNREADABLE, FIELD_VALUE."""
    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
        return COSTS.merged(Costs.model_validate(found))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(Code.MANIFEST_UNREADABLE, f"costs {path} cannot be read: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        message = f"costs {path}: {name or 'the document'}: {first['msg']}"
    except ValueError as error:
        message = f"costs {path}: {error}"
    raise UsageError(Code.FIELD_VALUE, message, hint="docs/plan.md shows a file", field="--costs")


_TFLOPS = {
    "H100": 989.0,
    "H200": 989.0,
    "B200": 2250.0,
    "A100": 312.0,
    "L40S": 362.0,
    "L4": 121.0,
    "A10G": 70.0,
    "V100": 125.0,
    "T4": 65.0,
}


def _gpu(tflops: float) -> Gpu:
    # Predicted for an H100: 10,000 faces a second in Wav2Lip; 700 cores in general-x4v3, 1,300 in GFPGAN
    # (bench/NOTES.md, "The GPU bench"). Others by their peak in dense half precision.
    speed = tflops / _TFLOPS["H100"]
    return Gpu(cores=round(700 * speed), frame={"lipsync": round(0.1 / speed, 3)})


COSTS = Costs(
    # Talking heads of 540x360, 1080x720 and 1620x1080 at 30 frames a second, 10 s each, Wav2Lip in fp32 with OpenVINO.
    source="2 cores of an AMD EPYC with AVX2, 2026-11-28 (raydub plan --measure)",
    efficiency=0.95,
    stages={
        # Not measured again: 15 times real time with espeak-ng beside other work; neural voices take longer.
        "speak": StageCost(job=1.0, second=0.1),
        # The embedded engine looks for the person's mouth in the source.
        "prepare": StageCost(job=1.8, second=0.015, load=1.5, threads=1.5),
        # own was not measured end to end: second decoding of what is read for galleries, the choice of mouths with its
        # halo, and drawing, each by itself (bench/NOTES.md, "The speaker's own mouths"). Tracks are counted in track.
        "prepare:own": StageCost(job=1.0, second=0.065, load=1.5, threads=1.5),
        "prepare:wav2lip": StageCost(job=0.2, second=0.015, load=0.5),
        "track": StageCost(frame=8.6, megapixel=9.3, load=1.0, picture="source", threads=1.15),
        # Beside track, for face=active: two faces in a frame at 25 frames a second (bench/NOTES.md, "Who speaks").
        "active": StageCost(frame=22.0),
        "lipsync:warp": StageCost(frame=0.25),
        "lipsync:own": StageCost(frame=0.8),
        "lipsync:wav2lip": StageCost(frame=1.0, network=117.0, load=2.0),
        "render:wav2lip": StageCost(frame=3.0, megapixel=36.0, load=0.2, threads=1.85),
        "render:own": StageCost(frame=8.7, megapixel=35.7, load=0.2, threads=1.85),
        "render": StageCost(frame=6.2, megapixel=35.7, load=0.2, threads=1.85),
        "stitch": StageCost(job=0.3, second=0.02, frame=0.2, megapixel=0.1),
        # At 0.26 megapixels only: 7.6 s for 200 frames, loading included. Of long films a bounded part is measured.
        "evaluate": StageCost(job=1.0, second=0.05, frame=17.0, megapixel=25.0, load=1.5),
    },
    gpus={name: _gpu(tflops) for name, tflops in _TFLOPS.items()},
)
