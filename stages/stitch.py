"""From a job's parts to its output: join the video, add the new sound, verify, publish."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raydub.anywhere import remove
from raydub.errors import Code, RaydubError, StageError
from raydub.files import discard, storage_error, temp_beside
from raydub.media.confine import exists, make_folder
from raydub.media.mux import assemble, check_output
from raydub.media.watch import Input, Watch
from raydub.media.writable import check_writable
from raydub.objects.names import is_object
from raydub.stages.job_plan import JobPlan, chunks_of
from raydub.stages.marks.credentials import sidecar_of
from raydub.stages.marks.marking import mark, marks_of, sign, tags_for
from raydub.stages.marks.statement import statement_of
from raydub.stages.output import may_replace, publish_output, was_made
from raydub.stages.types import Part
from raydub.store import Store

if TYPE_CHECKING:
    from raydub.stages.marks.certificate import Signer


@dataclass(frozen=True)
class Stitched:
    """A published output. seconds: its length; sha256: of all its bytes; marks: see manifests.results.JobResult."""

    output: str
    frames: int
    seconds: float
    sha256: str
    marks: tuple[str, ...] = ()


def stitch_job(
    plan: JobPlan,
    parts: Sequence[Part],
    allowed: Callable[[], None] = lambda: None,
    signer: Signer | None = None,
) -> Stitched:
    """Make plan.job.output of all parts of a job, in any order; creates its folder. The output appears complete or not
    at all, and an older file of that name is kept until then; one that the job did not make is replaced with overwrite
    only. allowed: called before publishing; what it raises prevents it. signer: signs the output.

    Raises StageError: STITCH_FAILED (a part is missing, or is not of this job), VERIFY_FAILED, OUTPUT_EXISTS, STORAGE,
    DISK_FULL; InputError for the speech. All name the job.
    """
    try:
        return _stitch(plan, _ordered(plan, parts), allowed, signer)
    except RaydubError as error:
        raise error.at(job=plan.job.id, line=plan.job.line) from error.__cause__


def _ordered(plan: JobPlan, parts: Sequence[Part]) -> list[Part]:
    """The parts by chunk; every chunk of the plan must be there once, with all its frames."""
    by_index = {part.chunk.index: part for part in parts}
    chunks = chunks_of(plan)
    wrong = [
        chunk.index
        for chunk in chunks
        if chunk.index not in by_index
        or by_index[chunk.index].chunk.span != chunk.span
        or by_index[chunk.index].frames != len(chunk.span)
    ]
    if wrong or len(parts) != len(chunks):
        shown = ", ".join(str(index) for index in wrong[:10]) or "none"
        message = f"{len(parts)} parts for {len(chunks)} chunks; missing or different from the plan: {shown}"
        raise StageError(Code.STITCH_FAILED, message, hint="run again: finished parts are kept")
    return [by_index[chunk.index] for chunk in chunks]


def _stitch(plan: JobPlan, parts: list[Part], allowed: Callable[[], None], signer: Signer | None) -> Stitched:
    goal, store = plan.job.output, Store(plan.work_dir)
    root = plan.job.output_root or os.path.dirname(goal)
    if is_object(goal):
        temp = str(store.temp(os.path.splitext(goal)[1]))
    else:
        make_folder(goal, root)
        check_writable(goal)
        temp = temp_beside(goal)
    film = Input("video", plan.video.path, plan.video.identity, plan.video.look)
    watch = Watch([film, *plan.inputs], store.identities)
    said = statement_of(plan, signer.signing.sha256 if signer is not None else "")
    beside, own = None, plan.job.model_copy(update={"output": sidecar_of(goal)})
    try:
        if own.output and signer is not None and not may_replace(own, store):
            raise exists(own.output)  # before the video is published without its credentials
        paths, counts = [part.path for part in parts], [part.frames for part in parts]
        assemble(paths, counts, plan.rate, temp, plan.sound, tags_for(said, goal))
        mark(temp, said)
        if signer is not None:
            beside = sign(temp, goal, said, signer, plan.video.path)
        check_output(temp, plan.n_frames, plan.rate)
        watch.check()
        digest = publish_output(temp, plan.job, root, store, allowed)
        if own.output:
            # After the video: until both are there, the job is not recorded as finished and is joined again.
            if beside is not None:
                publish_output(beside, own, root, store, allowed)
            elif was_made(own, store):
                remove(own.output)  # of an earlier run that signed
    except OSError as error:
        raise storage_error(error, goal) from error
    finally:
        discard(temp)
        if beside is not None:
            discard(beside)
    return Stitched(goal, plan.n_frames, float(plan.n_frames / plan.rate), digest, marks_of(said))
