"""Time limits of steps: a generous base plus a share for the amount of work."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from raydub.manifests.job import Job
from raydub.manifests.options import Options
from raydub.manifests.paths import is_remote
from raydub.manifests.sharper import job_weights

_MIB = 1 << 20


@dataclass(frozen=True)
class StepLimits:
    """Wall-clock seconds. The defaults are 15 times what 1080p with a network takes on two busy laptop cores, so that
    they end hangs only.

    flat: one limit for every step, replacing all others; None for the others. speak, per_script_kib: base for making
    the speech, which may include a voice download, and per KiB of script (about a minute of speech). prepare, per_mib:
    base, and per MiB of the job's inputs; searched: factor on per_mib for no_face=drop, which searches the whole source
    for faces; weights: added per weights file from the catalogue, which may include its download; remote: replaces
    these for inputs from a URI, whose size is unknown (downloads have their own limits). chunk, per_frame: one stage of
    one chunk. finishing: per core second that restoring and upscaling are estimated to take on a CPU. stitch,
    per_joined_frame: joining a job, per output frame. evaluate: measuring an output, of which a bounded part is read.
    grace: seconds between the first and the second way to end a step
    (see pipeline.watchdog).
    """

    flat: float | None = None
    speak: float = 1800.0
    per_script_kib: float = 300.0
    prepare: float = 600.0
    per_mib: float = 5.0
    searched: float = 30.0
    weights: float = 1800.0
    remote: float = 6 * 3600.0
    chunk: float = 300.0
    per_frame: float = 2.0
    finishing: float = 8.0
    stitch: float = 600.0
    per_joined_frame: float = 0.2
    evaluate: float = 7200.0
    grace: float = 5.0

    def for_speak(self, job: Job) -> float:
        """Seconds for making a job's speech, by the size of its inputs."""
        if self.flat is not None:
            return self.flat
        inputs = job.inputs()
        if any(map(is_remote, inputs.values())):
            return self.remote
        script = _size(job.script) / 1024 if job.script is not None else 0.0
        return self.speak + self.per_script_kib * script + self.per_mib * sum(map(_size, inputs.values())) / _MIB

    def for_prepare(self, job: Job) -> float:
        """Seconds for preparing a job, by the size of its inputs."""
        if self.flat is not None:
            return self.flat
        said = job.speech.sound if job.speech is not None else job.audio
        inputs = [path for path in (job.video, said) if path]
        if any(map(is_remote, inputs)):
            return self.remote
        per_mib = self.per_mib * (self.searched if job.options.no_face == "drop" else 1.0)
        named = self.weights * _named_weights(job.options)
        return self.prepare + named + per_mib * sum(map(_size, inputs)) / _MIB

    def for_chunk(self, frames: int, post_seconds: float = 0.0) -> float:
        """Seconds for one stage of a chunk. post_seconds: see stages.job_plan.JobPlan, for the render stage."""
        if self.flat is not None:
            return self.flat
        return self.chunk + (self.per_frame + self.finishing * post_seconds) * frames

    def for_stitch(self, frames: Sequence[int]) -> float:
        """Seconds for joining parts with these numbers of frames."""
        return self.flat if self.flat is not None else self.stitch + self.per_joined_frame * sum(frames)

    def for_evaluate(self) -> float:
        """Seconds for evaluating an output."""
        return self.flat if self.flat is not None else self.evaluate


def _named_weights(options: Options) -> int:
    """The number of the job's weights files from the catalogue; all others are absolute paths."""
    return sum(os.sep not in model for model in job_weights(options))


def _size(path: str) -> int:
    """Bytes of a file, or of all files of a folder; 0 if it cannot be read."""
    try:
        return sum(_file_sizes(path)) if os.path.isdir(path) else os.stat(path).st_size
    except (OSError, ValueError):
        return 0


def _file_sizes(folder: str) -> Iterator[int]:
    with os.scandir(folder) as entries:
        for entry in entries:
            yield entry.stat().st_size
