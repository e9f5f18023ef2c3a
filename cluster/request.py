"""The request and the report of a run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from raydub.cluster.limits import STALL_SECONDS, WAIT_GPU_SECONDS
from raydub.errors import EXIT_DEPENDENCY, EXIT_OK, EXIT_SOME_FAILED, Code
from raydub.manifests.job import Job
from raydub.manifests.results import JobResult
from raydub.manifests.rows import BadRow
from raydub.pipeline.strict import kind_of


@dataclass(frozen=True)
class RunRequest:
    """What to run and where; paths may be in buckets (raydub.places.ObjectPath).

    results: path without extension of the results manifest, None for none; folder: where the manifest's relative inputs
    start; address: see cluster.session; show: "auto", "plain", "json" (lines on stdout) or "quiet". Seconds: wait_gpu:
    wait for a GPU with device "cuda"; stall_timeout: stop the run after this time without progress; step_timeout: limit
    of any step, None for limits that grow with its size. manifest: the file of the jobs, which must not be overwritten;
    record: a JSONL file in the work folder for the results if there is no results manifest; strict: see
    pipeline.strict; fresh: reuse no work of earlier runs; signing: see pipeline.context.WorkSettings; thresholds: text
    of a file for evaluations, "" for raydub's own."""

    jobs: tuple[Job, ...]
    bad: tuple[BadRow, ...]
    work_dir: PurePath
    results: PurePath | None
    folder: str = ""
    use_ray: bool = True
    address: str | None = None
    num_cpus: int | None = None
    workers: int | None = None
    device: str = "auto"
    show: str = "auto"
    verbose: bool = False
    wait_gpu: float = WAIT_GPU_SECONDS
    stall_timeout: float = STALL_SECONDS
    step_timeout: float | None = None
    manifest: PurePath | None = None
    record: PurePath | None = None
    strict: bool = False
    fresh: bool = False
    signing: str = ""
    thresholds: str = ""


@dataclass(frozen=True)
class RunReport:
    """The outcome of a run: one result per manifest row, in the manifest's order. earlier: rows that an earlier run
    finished; stop_code: 128 + the signal that stopped it, else 0. seconds: the whole run; until_plan: until the first
    job was prepared (includes starting Ray); speed: frames per second since the first part; stage_seconds: work per
    stage; peak_mb: peak memory of each worker by "stage@host:pid" (both as far as notes arrived); object_store_mb: peak
    use of Ray's object stores, all nodes together; metrics: see pipeline.metrics.Sums."""

    results: tuple[JobResult, ...]
    written: tuple[PurePath, ...] = ()
    earlier: int = 0
    stop_code: int = 0
    seconds: float = 0.0
    until_plan: float = 0.0
    speed: float = 0.0
    stage_seconds: dict[str, float] = field(default_factory=dict)
    peak_mb: dict[str, float] = field(default_factory=dict)
    object_store_mb: float = 0.0
    metrics: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    dependency_missing: bool = False

    @property
    def interrupted(self) -> bool:
        """Whether a signal stopped the run."""
        return bool(self.stop_code)

    def counts(self) -> dict[str, int]:
        """Number of rows by status; the values sum to the number of rows."""
        return {
            status: sum(result.status == status for result in self.results)
            for status in ("ok", "failed", "quarantined", "skipped")
        }

    def warnings(self) -> dict[str, int]:
        """Number of jobs by kind of warning, the most frequent first."""
        kinds = (kind for result in self.results for kind in {kind_of(text) for text in result.warnings})
        return dict(Counter(kinds).most_common())

    def exit_code(self) -> int:
        """0 if every row is ok; 129, 130, 131 or 143 after a stop; 3 if no row is ok and a program, weights
        or a GPU is missing; else 1."""
        if self.stop_code:
            return self.stop_code
        counts = self.counts()
        if counts["ok"] == len(self.results):
            return EXIT_OK
        # A node's GPU that torch cannot use is only seen by the worker there.
        missing = self.dependency_missing or any(result.error_code == Code.NO_GPU for result in self.results)
        return EXIT_DEPENDENCY if missing and not counts["ok"] else EXIT_SOME_FAILED
