"""Which jobs of a run need work, said before anything is started: not those that an earlier run finished, not those
whose files a look from outside shows to be unusable, not those whose weights are absent, not those that another run is
writing at this moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from raydub.cluster.downloads import fetch_absent
from raydub.cluster.glance import Glance
from raydub.errors import Code, DependencyError, RaydubError, StageError
from raydub.files import storage_error
from raydub.manifests.job import Job
from raydub.manifests.options import job_weights
from raydub.manifests.results import JobResult
from raydub.media.confine import exists
from raydub.pipeline.engines import engine_key, finish_key, make_job_engine, make_post_processors, weights_digests
from raydub.pipeline.finished import Finished
from raydub.pipeline.locks import RunLock
from raydub.pipeline.strict import strictly
from raydub.stages.output import may_replace
from raydub.store import Store
from raydub.tts.engines.find import check_engine


@dataclass
class Admission:
    """open: jobs to be run, whose outputs are locked; closed: outcomes of the others, in no order; earlier: how many of
    these were finished before; unable: was an engine or were weights missing? digests: of the weights, by engine and
    post-processors."""

    open: list[Job] = field(default_factory=list)
    closed: list[JobResult] = field(default_factory=list)
    earlier: int = 0
    unable: bool = False
    digests: dict[str, tuple[str, ...] | None] = field(default_factory=dict)

    def digests_of(self, job: Job) -> tuple[str, ...] | None:
        """Digests of the weights that the job would use; None where they are not to be had."""
        key = _key(job)
        if key not in self.digests:
            try:
                self.digests[key] = weights_digests(job.options)
            except (RaydubError, OSError):
                self.digests[key] = None  # what is wrong is said when the engine is made
        return self.digests[key]


def admit(
    jobs: Sequence[Job],
    finished: Finished | None,
    lock: RunLock,
    work_dir: Path,
    glance: Glance | None = None,
    strict: bool = False,
    found: Admission | None = None,
    *,
    quiet: bool = False,
) -> Admission:
    """Sort the jobs of a run. For finished ones it costs a look at their files each, and loads no heavy package; files
    of the others are looked at by `glance`. finished: None to do all jobs again; strict: see pipeline.strict; found:
    where to put them, for whoever wants to know how far it came when it is interrupted; a job that is in none of its
    lists was not decided yet. quiet: show no downloads."""
    found = found or Admission()
    able = [job for job in jobs if finished is None or not _finished(job, finished, found, strict)]
    able = [job for job in able if not _hopeless(job, glance, found)]
    able = _with_engines(able, found, quiet)
    refused = lock.lock([job.output for job in able])
    for job in able:
        problem = refused[job.output] or _busy(job) if job.output in refused else _in_the_way(job, Store(work_dir))
        if problem is None:
            found.open.append(job)
        else:
            found.closed.append(JobResult.failure(job, problem))
    return found


def _busy(job: Job) -> RaydubError:
    return StageError(
        Code.OUTPUT_BUSY,
        f"another run is writing {job.output}",
        hint="wait for it to end, then run again: what it has finished is kept",
    )


def _in_the_way(job: Job, store: Store) -> RaydubError | None:
    """OUTPUT_EXISTS where a file that this job did not make stands in its output's place."""
    try:
        return None if may_replace(job, store) else exists(job.output)
    except OSError as error:
        return storage_error(error, job.output)


def _hopeless(job: Job, glance: Glance | None, found: Admission) -> bool:
    problem = glance.problem(job) if glance is not None else None
    if problem is not None:
        found.closed.append(JobResult.failure(job, problem))
    return problem is not None


def _finished(job: Job, finished: Finished, found: Admission, strict: bool) -> bool:
    digests = found.digests_of(job)
    stored = finished.finished(job, digests) if digests is not None else None
    if stored is None:
        return False
    try:
        result = JobResult.model_validate(stored)
    except ValidationError:
        return False  # of another version; the full way decides
    found.closed.append(strictly(job, result) if strict else result)
    found.earlier += found.closed[-1].status == "ok"
    return True


def _with_engines(jobs: Sequence[Job], found: Admission, quiet: bool) -> list[Job]:
    """Jobs whose lip and speech engines and weights are there; the others fail before any work is done. Weights of the
    catalogue that are not there yet are fetched now, once, with the user looking on."""
    checked: dict[str, RaydubError | None] = {}
    able: list[Job] = []
    for job in jobs:
        speech = f"{job.options.tts} {job.options.voice}" if job.script is not None else ""
        key = f"{_key(job)} {speech}"
        if key not in checked:
            try:
                if job.script is not None:
                    check_engine(job.options.tts)
                    fetch_absent(_voice_weights(job), quiet=quiet)
                fetch_absent(job_weights(job.options), quiet=quiet)
                make_job_engine(job.options).weights()
                for post_processor in make_post_processors(job.options):
                    post_processor.weights()
                checked[key] = None
            except RaydubError as error:
                checked[key] = error
        problem = checked[key]
        if problem is None:
            able.append(job)
        else:
            found.unable = found.unable or isinstance(problem, DependencyError)
            found.closed.append(JobResult.failure(job, problem))
    return able


def _voice_weights(job: Job) -> list[str]:
    """Names of the catalogue's files that the voices named by a job need."""
    from raydub.tts.engines.files import weights_of

    entries = (weights_of(job.options.tts, voice) for voice in job.options.voices_of().values())
    return [entry.name for entry in entries if entry is not None]


def _key(job: Job) -> str:
    return engine_key(job.options) + finish_key(job.options)
