"""Evaluate the output of a job: what its plan and parts say of it, and the file itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from raydub.arrays import Bools
from raydub.blobs import verified
from raydub.errors import RaydubError
from raydub.manifests.evaluation import Evaluation
from raydub.manifests.job import Job
from raydub.manifests.results import JobResult
from raydub.media.fetch_uri import redact
from raydub.models.mouth.sounds import COLUMNS
from raydub.pipeline.finished import recorded_digest
from raydub.pipeline.ledger import Ledger
from raydub.pipeline.timeline import gates_of
from raydub.stages.evaluate.cues import Cue
from raydub.stages.evaluate.evaluate import Facts
from raydub.stages.evaluate.figures import Spoken
from raydub.stages.evaluate.files import evaluate_file
from raydub.stages.evaluate.film import Source
from raydub.stages.evaluate.thresholds import Thresholds
from raydub.stages.job_plan import SOUNDS_FILE, JobPlan, chunks_of, load_label, load_plan, load_speech, load_voiced
from raydub.stages.types import Part


def evaluate_job(
    job: Job, path: str, job_dir: str, parts: Sequence[Part], thresholds: Thresholds, expected: str | None = None
) -> Evaluation:
    """The evaluation of a job's output at `path`, a file of this machine. parts: of the job, [] for those that the work
    folder still has; expected: SHA-256 that the file should have. Raises StageError STORAGE without the plan,
    DependencyError for absent face models."""
    plan = load_plan(job_dir)
    facts = facts_of(plan, job, parts or list(Ledger(plan.work_dir).finished_parts(chunks_of(plan)).values()))
    source = Source(plan.video, plan.transform, plan.timeline, _label_of(plan))
    return evaluate_file(path, facts, thresholds, source, plan.faces, expected)


def evaluate_result(result: JobResult, thresholds: Thresholds) -> Evaluation:
    """The evaluation of a row of results: with its plan where the work folder still has it, else by its paths. A file
    that is not the one that the run published gives a reason."""
    assert result.output is not None
    if result.job_dir:
        try:
            plan = load_plan(result.job_dir)
            job = plan.job.model_copy(update={"id": result.id, "output": result.output})
            expected = recorded_digest(result.output, plan.work_dir)
            return evaluate_job(job, result.output, result.job_dir, [], thresholds, expected)
        except (RaydubError, OSError, ValueError) as error:
            if not isinstance(error, RaydubError) or error.code != "E_STORAGE":
                raise
    facts = Facts(result.id, source=result.video, speech=result.audio, shares=shares_of(result))
    return evaluate_file(result.output, facts, thresholds, result.video)


def facts_of(plan: JobPlan, job: Job, parts: Sequence[Part]) -> Facts:
    """What a plan and its parts say of the output. Whatever is absent is left out."""
    whole = len(parts) == plan.n_chunks
    counts = {name: sum(getattr(part, name) for part in parts) for name in ("frames", "synthesised", "faceless")}
    facts = Facts(
        job.id,
        source=redact(job.video),
        speech=redact(job.audio or job.script or ""),
        gates=gates_of([gate for part in parts for gate in part.gates], plan) if whole else (),
        shares=_shares(counts) if whole else {},
        wanted_frames=plan.n_frames,
    )
    with suppress(RaydubError, OSError):  # the arrays may have been cleaned away
        facts = replace(facts, voiced=_voiced(plan), closures=tuple(_closures(plan)))
    return replace(facts, cues=cues_of(plan))


def shares_of(result: JobResult) -> Mapping[str, float | None]:
    """Figures that the run counted, from a row of results."""
    names = ("frames", "synthesised", "faceless")
    return _shares({name: getattr(result, name) for name in names})


def cues_of(plan: JobPlan) -> tuple[Cue, ...]:
    """The cues of a job's script, () without one or without its report."""
    speech = plan.job.speech
    if speech is None or speech.report is None:
        return ()
    try:
        said = json.loads(verified(speech.report).read_text(encoding="utf-8"))
        return tuple(Cue.of(row) for row in said["segments"])
    except (RaydubError, OSError, ValueError, KeyError, TypeError):
        return ()


def _shares(counts: Mapping[str, int]) -> dict[str, float | None]:
    frames, new, nobody = counts["frames"], counts["synthesised"], counts["faceless"]
    if not frames:
        return {}
    shares = {"synthesised_share": new, "untouched_share": frames - new, "faceless_share": nobody}
    return {name: count / frames for name, count in shares.items()}


def _label_of(plan: JobPlan) -> tuple[int, ...]:
    """The box of the job's label: left, top, right, bottom; () without one or where its arrays are gone."""
    try:
        label = load_label(plan)
    except (RaydubError, OSError):
        return ()
    if label is None:
        return ()
    (left, top), (rows, columns) = map(int, label["place"]), label["opacity"].shape
    return left, top, left + columns, top + rows


def _voiced(plan: JobPlan) -> Bools:
    heard: Bools = np.logical_or.reduce([np.asarray(load_voiced(plan, voice)) for voice in range(len(plan.voices))])
    return heard


def _closures(plan: JobPlan) -> list[Spoken]:
    """Where the phonemes of all voices close the lips."""
    found: list[Spoken] = []
    for voice in range(len(plan.voices)):
        sounds = load_speech(plan, voice).sounds if SOUNDS_FILE in plan.arrays else None
        if sounds is None:
            continue
        shut = np.concatenate([[False], np.asarray(sounds[1]) > 127, [False]])
        edges = np.flatnonzero(shut[1:] != shut[:-1])
        found += [Spoken(start / COLUMNS, stop / COLUMNS) for start, stop in zip(edges[::2], edges[1::2], strict=True)]
    return sorted(found, key=lambda one: one.start)
