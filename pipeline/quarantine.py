"""Quarantine: work that has repeatedly killed its workers is not tried again in this run, and its job fails with the
reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raydub.errors import Code, RaydubError, StageError
from raydub.pipeline.attempts import MAX_DEATHS
from raydub.pipeline.watchdog import overran
from raydub.stages.types import Chunk


@dataclass(frozen=True)
class Piece:
    """One piece of a job's work. work: its name in attempts; what: its description in messages;
    chunk: its index, if it belongs to one."""

    job_id: str
    stage: str
    work: str
    what: str
    chunk: int | None = None

    @classmethod
    def of_job(cls, job_id: str, stage: str) -> Piece:
        """ "prepare" or "stitch" of a job."""
        return cls(job_id, stage, stage, f"the step {stage}")

    @classmethod
    def of_chunk(cls, chunk: Chunk, stage: str) -> Piece:
        """One stage of a chunk."""
        what = f"the step {stage} of chunk {chunk.index} of {chunk.n_chunks} ({place_of(chunk)})"
        return cls(chunk.job_id, stage, f"{stage}.{chunk.index:06d}", what, chunk.index)


def verdict(
    piece: Piece, deaths: Sequence[Mapping[str, Any]], work_dir: str, run_id: str, chunk: Chunk | None = None
) -> StageError | None:
    """The error of a piece that may not be tried again, else None. deaths: records of the attempts in which workers
    died. TIMEOUT if the last MAX_DEATHS of them exceeded their time limit, else QUARANTINED."""
    if len(deaths) < MAX_DEATHS:
        return None
    where = f"{piece.what}{_seconds(chunk)}" if chunk is not None else piece.what
    hosts = ", ".join(sorted({str(death.get("host") or "an unknown host") for death in deaths}))
    if all(overran(work_dir, run_id, death) for death in deaths[-MAX_DEATHS:]):
        limit = max(float(death.get("limit_s", 0.0)) for death in deaths)
        return StageError(
            Code.TIMEOUT,
            f"{where} took longer than {limit:.0f} s and was killed, {len(deaths)} times (on {hosts})",
            hint="check the inputs at that time; on slow machines use shorter chunk_seconds or a longer --step-timeout",
        )
    return StageError(
        Code.QUARANTINED,
        f"{where} killed its worker process {len(deaths)} times (on {hosts}) and is not tried again in this run",
        hint="check the inputs at that time and the machine's memory; run the job again by itself",
    )


def place_of(chunk: Chunk) -> str:
    """The chunk's frames, for messages."""
    return f"frames {chunk.span.start} to {chunk.span.stop - 1} of the output"


def _seconds(chunk: Chunk) -> str:
    """The chunk's place in the output in seconds; "" without a plan."""
    from raydub.stages.job_plan import load_plan

    try:
        rate = load_plan(chunk.job_dir).rate
    except RaydubError:
        return ""
    return f", seconds {float(chunk.span.start / rate):.1f} to {float(chunk.span.stop / rate):.1f},"
