"""Decide before a run which jobs need work: not those that an earlier run finished, those with unusable files, those
with missing weights, and those whose output another run is writing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from pydantic import ValidationError

from raydub.cluster.downloads import fetch_absent
from raydub.cluster.glance import Glance
from raydub.errors import Code, DependencyError, RaydubError, StageError
from raydub.files import storage_error
from raydub.manifests.job import Job
from raydub.manifests.options import asks_who_speaks
from raydub.manifests.results import JobResult
from raydub.manifests.sharper import job_weights
from raydub.media.confine import exists
from raydub.models.active_speaker import require_active_speaker
from raydub.models.face_landmarks import resolve_landmarks
from raydub.pipeline.components import parts_of, refuse_non_commercial
from raydub.pipeline.engines import engine_key, finish_key, make_job_engine, make_post_processors, weights_digests
from raydub.pipeline.finished import Finished
from raydub.pipeline.locks import RunLock
from raydub.pipeline.strict import strictly
from raydub.stages.marks.label import check_label
from raydub.stages.output import may_replace
from raydub.store import Store
from raydub.tts.engines.find import check_engine


@dataclass
class Admission:
    """open: jobs to run, with locked outputs; closed: outcomes of the others, in any order; earlier: how many of these
    were finished before; unable: an engine or weights were missing; digests: of the weights, by engine and
    post-processors."""

    open: list[Job] = field(default_factory=list)
    closed: list[JobResult] = field(default_factory=list)
    earlier: int = 0
    unable: bool = False
    digests: dict[str, tuple[str, ...] | None] = field(default_factory=dict)

    def digests_of(self, job: Job) -> tuple[str, ...] | None:
        """Digests of the weights that the job would use; None if they are unavailable."""
        key = _key(job)
        if key not in self.digests:
            try:
                self.digests[key] = weights_digests(job.options)
            except (RaydubError, OSError):
                self.digests[key] = None  # reported when the engine is created
        return self.digests[key]


def admit(
    jobs: Sequence[Job],
    finished: Finished | None,
    lock: RunLock,
    work_dir: PurePath,
    glance: Glance | None = None,
    strict: bool = False,
    found: Admission | None = None,
    *,
    quiet: bool = False,
) -> Admission:
    """Sort the jobs of a run. Finished jobs are recognised without importing heavy packages; files of the others are
    checked by `glance`. finished: None to do all jobs again; strict: see pipeline.strict; found: filled with the
    result, so that an interrupted caller has the jobs decided so far. quiet: show no downloads."""
    found = found or Admission()
    able = [job for job in jobs if not (job.options.commercial and _excluded(job, found))]
    able = [job for job in able if finished is None or not _finished(job, finished, found, strict)]
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


def _excluded(job: Job, found: Admission) -> bool:
    """Whether a commercial job has components that it may not use: before anything is downloaded or found finished."""
    try:
        refuse_non_commercial(job, parts_of(job))
        return False
    except RaydubError as error:
        found.unable = found.unable or isinstance(error, DependencyError)
        found.closed.append(JobResult.failure(job, error.at(job=job.id, line=job.line)))
        return True


def _busy(job: Job) -> RaydubError:
    return StageError(
        Code.OUTPUT_BUSY,
        f"another run is writing {job.output}",
        hint="wait for it to end, then run again: finished work is kept",
    )


def _in_the_way(job: Job, store: Store) -> RaydubError | None:
    """OUTPUT_EXISTS if the output exists and this job did not make it."""
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
        return False  # of another version; the full check decides
    found.closed.append(strictly(job, result) if strict else result)
    found.earlier += found.closed[-1].status == "ok"
    return True


def _with_engines(jobs: Sequence[Job], found: Admission, quiet: bool) -> list[Job]:
    """Jobs whose lip and speech engines and weights are available; the others fail before any work. Missing weights of
    the catalogue are downloaded now, once, with a progress bar."""
    checked: dict[str, RaydubError | None] = {}
    able: list[Job] = []
    for job in jobs:
        speech = f"{job.options.tts} {job.options.voice}" if job.script is not None else ""
        label = f"{job.options.label!r} {job.options.label_font}"
        key = f"{_key(job)} {speech} {job.options.landmarks} {label} {asks_who_speaks(job.options)}"
        if key not in checked:
            try:
                if job.script is not None:
                    check_engine(job.options.tts)
                    fetch_absent(_voice_weights(job), quiet=quiet)
                check_label(job.options)
                resolve_landmarks(job.options.landmarks)
                if asks_who_speaks(job.options):
                    require_active_speaker()
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
    """Catalogue names of the files that a job's voices need."""
    from raydub.tts.engines.files import weights_of

    entries = (weights_of(job.options.tts, voice) for voice in job.options.voices_of().values())
    return [entry.name for entry in entries if entry is not None]


def _key(job: Job) -> str:
    return engine_key(job.options) + finish_key(job.options)
