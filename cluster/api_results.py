"""What raydub.dub() and raydub.run() return: frozen results, one per job."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Self

from raydub.cluster.request import RunReport
from raydub.errors import Code, RaydubError
from raydub.manifests.results import JobResult, Status
from raydub.places import path_at


@dataclass(frozen=True)
class Result:
    """The outcome of one job.

    status: "ok", "failed", "quarantined" or "skipped"; output: the dubbed video, which exists if the status is "ok",
    None for a row without one; frames: of the output, of which `synthesised` have a new mouth; seconds: wall time, 0.0
    if an earlier run finished the job (`earlier`); warnings: "W_WORD: sentence"; record: the full row of a results
    manifest.
    """

    id: str
    status: Status
    output: PurePath | None
    frames: int
    synthesised: int
    seconds: float
    warnings: tuple[str, ...]
    earlier: bool
    record: JobResult = field(repr=False)

    @classmethod
    def of(cls, record: JobResult) -> Result:
        """The result of a row of a results manifest."""
        return cls(
            id=record.id,
            status=record.status,
            output=None if record.output is None else path_at(record.output),
            frames=record.frames,
            synthesised=record.synthesised,
            seconds=record.wall_seconds,
            warnings=record.warnings,
            earlier=record.status == "ok" and not record.attempts,
            record=record,
        )

    @property
    def ok(self) -> bool:
        """Whether the job succeeded."""
        return self.status == "ok"

    @property
    def error(self) -> RaydubError | None:
        """Why there is no output, with code, message and hint; None when the status is "ok"."""
        record = self.record
        if record.error_code is None:
            return None
        said = record.error_message or record.error_code
        return RaydubError(Code(record.error_code), said, hint=record.hint or "", job=record.id, line=record.line)

    def raise_for_status(self) -> Self:
        """Raise `error`, if there is one; else return this result."""
        error = self.error
        if error is not None:
            raise error
        return self


@dataclass(frozen=True)
class RunResult:
    """The outcome of a run: one result per row, in the rows' order. files: results manifests that were written;
    seconds: wall time of the run; frames_per_second: since the first finished part; stage_seconds: work by stage,
    summed over workers."""

    results: tuple[Result, ...]
    files: tuple[PurePath, ...]
    seconds: float
    frames_per_second: float
    stage_seconds: dict[str, float]

    @classmethod
    def of(cls, report: RunReport) -> RunResult:
        """The result of a driver's report."""
        return cls(
            tuple(map(Result.of, report.results)),
            report.written,
            report.seconds,
            report.speed,
            dict(report.stage_seconds),
        )

    @property
    def ok(self) -> bool:
        """Whether all jobs succeeded."""
        return all(result.ok for result in self.results)

    @property
    def failed(self) -> tuple[Result, ...]:
        """The jobs without an output."""
        return tuple(result for result in self.results if not result.ok)

    def counts(self) -> dict[str, int]:
        """Number of jobs by status; the values sum to the number of rows."""
        found = [result.status for result in self.results]
        return {status: found.count(status) for status in ("ok", "failed", "quarantined", "skipped")}

    def rows(self) -> list[dict[str, Any]]:
        """The results as rows of JSON-ready values, as in results manifests: pandas.DataFrame(run.rows())."""
        return [result.record.model_dump(mode="json") for result in self.results]

    def raise_for_status(self) -> Self:
        """Raise the error of the first failed job, with the number of failed jobs; return this result if there is
        none."""
        error = self.failed[0].error if self.failed else None
        if error is not None:
            if len(self.failed) > 1:
                error.message = f"{len(self.failed)} of {len(self.results)} jobs have no output, first: {error.message}"
            raise error
        return self

    def __iter__(self) -> Iterator[Result]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def __getitem__(self, which: int | str) -> Result:
        """By position, or by the job's id. Raises IndexError, KeyError."""
        if isinstance(which, int):
            return self.results[which]
        for result in self.results:
            if result.id == which:
                return result
        raise KeyError(which)
