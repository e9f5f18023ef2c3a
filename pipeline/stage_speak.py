"""The stage speak: make speech from a job's script and mix it with the bed. Workers keep speech engines running between
jobs, and share long scripts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from raydub.errors import RaydubError
from raydub.manifests.job import Job, needs_sound
from raydub.pipeline.context import WorkerContext
from raydub.pipeline.stage import Prefetch, Stage

if TYPE_CHECKING:
    from raydub.tts.track import SpeechMaker

CUES_AT_ONCE = 24
"""Cues per prefetch batch: a minute or two of speech."""


def speak(context: WorkerContext, job: Job) -> Job:
    """The job with Job.speech set. Files are written in the work folder."""
    from raydub.stages.inputs import in_words_of, local_inputs

    start = time.perf_counter()
    local, doubts = local_inputs(job, context.settings.work_dir, context.fetch_policy)
    try:
        speech = _maker(context).make(local, context.settings.work_dir)
    except RaydubError as error:
        raise in_words_of(job, local, error).at(job=job.id, line=job.line) from error.__cause__
    more = {"warnings": (*speech.warnings, *doubts), "seconds": time.perf_counter() - start}
    return job.model_copy(update={"speech": speech.model_copy(update=more)})


def speak_ahead(context: WorkerContext, job: Job, first: int, stop: int) -> None:
    """Synthesise the cues first .. stop - 1 of a script into the store, for speak()."""
    from raydub.stages.inputs import local_inputs

    local, _ = local_inputs(job, context.settings.work_dir, context.fetch_policy)
    _maker(context).prefetch(local, context.settings.work_dir, first, stop)


def cues(job: Job) -> int:
    """Number of cues of the job's script, as far as known before synthesis."""
    from raydub.tts.scripts.read import script_length

    return script_length(job)


def _maker(context: WorkerContext) -> SpeechMaker:
    from raydub.tts.track import SpeechMaker

    return context.keep("speak", "", lambda: SpeechMaker(context.settings.run_id))  # type: ignore[no-any-return]


SPEAK = Stage(
    "speak",
    per="job",
    takes=Job,
    run=speak,
    limit=lambda limits, job: limits.for_speak(job),
    # Its workers are busy at the start of a run and then idle.
    share=0.18,
    wanted=needs_sound,
    asked=lambda jobs: any(map(needs_sound, jobs)),
    prefetch=Prefetch(cues, speak_ahead, CUES_AT_ONCE, share=0.012),
)
