"""How long a step may take before it is ended: a base that no honest step comes near, and a share for what there is to
do."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from raydub.manifests.job import Job
from raydub.manifests.options import Options, job_weights
from raydub.manifests.paths import is_remote

_MIB = 1 << 20


@dataclass(frozen=True)
class StepLimits:
    """Wall-clock seconds. The defaults are 15 times what 1080p with a network takes on two busy laptop cores: they are
    there for hangs, not to hurry anybody.

    flat: every step may take this long and no longer, whatever its size; None: as the others say.
    speak, per_script_kib: base for making the speech, which may have to fetch a voice, and for each KiB of script,
    about a minute of speech. prepare, per_mib: base, and for each MiB of the job's inputs; searched: so many times
    per_mib where no_face=drop has the whole source searched for faces; weights: more for each weights file that is
    named by the catalogue, which may have to be fetched; remote: instead, for inputs that are fetched from a URI (their
    size is not known, and fetching has limits of its own). chunk, per_frame: one stage of one chunk. finishing: seconds
    allowed for each core second that restoring and upscaling are expected to take on a CPU; minutes a frame for the
    largest networks, so a machine may be that much slower than the one that was measured. stitch, per_joined_frame:
    joining a job, by output frame. grace: seconds from the first attempt to end a step to the next, harder
    one (see pipeline.watchdog).
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
    grace: float = 5.0

    def for_speak(self, job: Job) -> float:
        """Seconds for making a job's speech. Looks at the size of its inputs."""
        if self.flat is not None:
            return self.flat
        inputs = job.inputs()
        if any(map(is_remote, inputs.values())):
            return self.remote
        script = _size(job.script) / 1024 if job.script is not None else 0.0
        return self.speak + self.per_script_kib * script + self.per_mib * sum(map(_size, inputs.values())) / _MIB

    def for_prepare(self, job: Job) -> float:
        """Seconds for preparing a job. Looks at the size of its inputs."""
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
        """Seconds for one stage of a chunk of so many frames. post_seconds: see stages.job_plan.JobPlan, for the stage
        that finishes."""
        if self.flat is not None:
            return self.flat
        return self.chunk + (self.per_frame + self.finishing * post_seconds) * frames

    def for_stitch(self, frames: Sequence[int]) -> float:
        """Seconds for joining parts of so many frames each."""
        return self.flat if self.flat is not None else self.stitch + self.per_joined_frame * sum(frames)


def _named_weights(options: Options) -> int:
    """How many weights files the job names by the catalogue; manifests give all others as absolute paths."""
    return sum(os.sep not in model for model in job_weights(options))


def _size(path: str) -> int:
    """Bytes of a file, or of the files of a folder of images; 0 where there is nothing to see."""
    try:
        return sum(_file_sizes(path)) if os.path.isdir(path) else os.stat(path).st_size
    except (OSError, ValueError):
        return 0


def _file_sizes(folder: str) -> Iterator[int]:
    with os.scandir(folder) as entries:
        for entry in entries:
            yield entry.stat().st_size
