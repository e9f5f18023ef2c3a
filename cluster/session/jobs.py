"""Ray Jobs that run `raydub run`: one job for one manifest with one set of options, in one or more tries.

A job's id is a name and a hash of what it does, so submitting the same again finds the job that is there. Its tries
have the ids ID, ID-2, ID-3: Ray runs an id once. Each continues the work of those before, from the work folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
import shlex
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from raydub import __version__
from raydub.cluster.session import dashboard
from raydub.cluster.session.dashboard import asking
from raydub.errors import Code, DependencyError, UsageError

FINAL = ("SUCCEEDED", "FAILED", "STOPPED")
STOP_SECONDS = 30
"""For a run to write its results after SIGTERM; Ray's own limit is 3 s, and then it kills."""
_PAUSE = 2.0
_TRIES = 5
_BREAKS = 30
"""Failures in a row, with pauses, for which a wait for the end of a job goes on: its dashboard may start again."""
_ENDS = 5
_ID = re.compile(r"(.+-[0-9a-f]{10})(?:-(\d{1,6}))?")
_MARK = "raydub"
_SUMMARY = re.compile(r"^(\d+ rows?: |nothing to do: )")
_ERROR = re.compile(r"^\[E_[A-Z_]+\] ")
_PROGRESS = re.compile(r"^\d+/\d+ jobs( · |$)")
_SHOWN_ERRORS, _SHOWN_LINES = 20, 20


@dataclass(frozen=True)
class Order:
    """A job to submit. base: see base_id(); arguments: of `raydub run`; facts: short texts that the job keeps, see
    JobSeen; runtime_env: Ray's."""

    base: str
    arguments: tuple[str, ...]
    facts: Mapping[str, str] = field(default_factory=dict)
    runtime_env: Mapping[str, Any] = field(default_factory=dict)

    @property
    def entrypoint(self) -> str:
        """The command line that the cluster's head runs."""
        return shlex.join(["raydub", "run", *self.arguments, "--address", "auto"])


@dataclass(frozen=True)
class JobSeen:
    """A job of raydub on a cluster. started, ended: Unix time in seconds by the head's clock, 0.0 if not yet."""

    id: str
    status: str
    facts: Mapping[str, str]
    entrypoint: str = ""
    runtime_env: Mapping[str, Any] = field(default_factory=dict)
    message: str = ""
    exit_code: int | None = None
    started: float = 0.0
    ended: float = 0.0

    @property
    def base(self) -> str:
        """The id of the first try."""
        return split_id(self.id)[0]

    @property
    def attempt(self) -> int:
        """The number of the try, from 1."""
        return split_id(self.id)[1]

    @property
    def is_over(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self.status in FINAL

    @property
    def work_dir(self) -> str:
        """The work folder of its runs."""
        return self.facts.get("work_dir", "")


@dataclass(frozen=True)
class Outcome:
    """The outcome of a submitted run. status: Ray's; exit_code: of `raydub run`, None if Ray does not know it; reason:
    Ray's message for a failed run; errors: the run's first error lines; last: its summary with the files that it wrote,
    or the end of its log without a summary."""

    status: str
    exit_code: int | None = None
    reason: str = ""
    errors: tuple[str, ...] = ()
    last: tuple[str, ...] = ()


def base_id(name: str, content: str, options: Mapping[str, Any]) -> str:
    """A job's id: the manifest's name, and a hash of that name, of the manifest's content (or its address, if it cannot
    be read here), of the run's options and of raydub's version."""
    said = json.dumps([name, content, options, __version__], sort_keys=True, default=str)
    slug = re.sub(r"[^A-Za-z0-9_.-]+", "-", name.rpartition(".")[0] or name).strip("-.")[:40] or "jobs"
    return f"{slug}-{hashlib.sha256(said.encode('utf-8', 'surrogatepass')).hexdigest()[:10]}"


def split_id(job_id: str) -> tuple[str, int]:
    """The base and the number of the try: "jobs-0123456789-2" → ("jobs-0123456789", 2)."""
    found = _ID.fullmatch(job_id)
    return (found[1], int(found[2] or 1)) if found else (job_id, 1)


class Cluster:
    """The jobs of one cluster. All methods raise the errors of dashboard.asking()."""

    def __init__(self, client: Any, address: str) -> None:
        self.client = client
        self.address = address

    def jobs(self) -> list[JobSeen]:
        """All jobs of raydub, the latest first."""
        with asking(self.address):
            told = self.client.list_jobs()
        seen = [_seen(one) for one in told if (one.metadata or {}).get(_MARK) and one.submission_id]
        return sorted(seen, key=lambda job: (-job.started, job.id))

    def find(self, job_id: str) -> JobSeen:
        """A job by its id; for the id of a first try the latest one. Raises UsageError JOB_UNKNOWN."""
        if not re.fullmatch(r"[\w.-]+", job_id, re.ASCII):
            message = f"{job_id[:80]!r} is not the id of a job"
            raise UsageError(Code.JOB_UNKNOWN, message, hint="`raydub jobs` lists them", field="job")
        with asking(self.address):
            told = self.client.get_job_info(job_id)
        if not (told.metadata or {}).get(_MARK):
            message = f"{job_id!r} is a job of another program, not of raydub"
            raise UsageError(Code.JOB_UNKNOWN, message, hint="`raydub jobs` lists those of raydub", field="job")
        seen = _seen(told)
        if seen.attempt > 1:
            return seen
        return max(self._tries(seen.base), key=lambda job: job.attempt, default=seen)

    def submit(self, order: Order, *, again: bool = False) -> tuple[JobSeen, bool]:
        """Submit a job, unless it is there: returns it, and whether it is new. again: a new try of a job that has
        ended. Raises UsageError JOB_STATE for a job that has ended, without `again`."""
        for _ in range(_TRIES):
            last = max(self._tries(order.base), key=lambda job: job.attempt, default=None)
            if last is not None and not last.is_over:
                return last, False
            if last is not None and not again:
                raise UsageError(
                    Code.JOB_STATE,
                    f"this manifest with these options is the job {last.id!r}, which has ended: {last.status}",
                    hint=f"`raydub results {last.id}` shows what it did; `raydub resume {last.id}`, or submit with "
                    "--again, runs what is not done yet",
                    field="job",
                )
            name = order.base if last is None else f"{order.base}-{last.attempt + 1}"
            facts = {_MARK: __version__, **{f"{_MARK}_{key}": value for key, value in order.facts.items()}}
            try:
                with asking(self.address):
                    self.client.submit_job(
                        entrypoint=order.entrypoint,
                        submission_id=name,
                        metadata=facts,
                        runtime_env=dict(order.runtime_env),
                    )
            except DependencyError as error:
                if error.code is not Code.JOB_REFUSED or "already exists" not in error.message:
                    raise
                continue  # somebody else has submitted the same at this moment
            return JobSeen(name, "PENDING", dict(order.facts), order.entrypoint, order.runtime_env), True
        raise DependencyError(Code.JOB_REFUSED, f"{order.base} is submitted by others all the time", hint="try again")

    def stop(self, job: JobSeen) -> None:
        """Ask a job to stop. Raises UsageError JOB_STATE for one that has ended."""
        if job.is_over:
            message = f"the job {job.id!r} has ended already: {job.status}"
            raise UsageError(Code.JOB_STATE, message, hint=f"`raydub results {job.id}` shows its results", field="job")
        with asking(self.address):
            self.client.stop_job(job.id)

    def wait(self, job_id: str, sleep: Callable[[float], None] = time.sleep) -> str:
        """Wait for the end of a job; returns Ray's final status. A dashboard that is away for a minute ends no wait."""
        failures = 0
        while True:
            try:
                status = self.status(job_id)
            except DependencyError as error:
                failures += 1
                if error.code is not Code.CLUSTER_UNREACHABLE or failures > _BREAKS:
                    raise
            else:
                failures = 0
                if status in FINAL:
                    return status
            sleep(_PAUSE)

    def status(self, job_id: str) -> str:
        """Ray's status of any job."""
        with asking(self.address):
            return _text(self.client.get_job_status(job_id))

    def log(self, job_id: str) -> str:
        """All that a job has written until now."""
        with asking(self.address):
            return str(self.client.get_job_logs(job_id) or "")

    def follow(self, job_id: str, sleep: Callable[[float], None] = time.sleep) -> Iterator[str]:
        """Pieces of a job's log as they are written, until its end; waits for one that has not begun. Raises
        DependencyError CLUSTER_UNREACHABLE if the log breaks off before."""
        with asking(self.address):
            pieces = self.client.tail_job_logs(job_id)
            with asyncio.Runner() as runner:
                while (piece := runner.run(_next(pieces))) is not None:
                    yield piece
        for _ in range(_ENDS):  # Ray notes the end of a job after that of its log
            if (status := self.status(job_id)) in FINAL:
                return
            sleep(_PAUSE)
        message, hint = f"the log breaks off, while {job_id} is {status}", "run the command again"
        raise dashboard.unreachable(self.address, message, hint)

    def outcome(self, job_id: str, status: str) -> Outcome:
        """The outcome of an ended job, from Ray and the run's log. Never raises: without a log its fields are empty."""
        log, code, reason = "", None, ""
        with contextlib.suppress(Exception):
            info = self.client.get_job_info(job_id)
            found = getattr(info, "driver_exit_code", None)
            code = found if isinstance(found, int) else None
            reason = "" if status == "SUCCEEDED" else str(getattr(info, "message", "") or "").strip()
        with contextlib.suppress(Exception):
            log = str(self.client.get_job_logs(job_id) or "")
        lines = [line.rstrip() for line in log.splitlines() if line.strip()]
        errors = [line for line in lines if _ERROR.match(line)]
        if len(errors) > _SHOWN_ERRORS:
            errors = [*errors[:_SHOWN_ERRORS], f"and {len(errors) - _SHOWN_ERRORS} more"]
        starts = [number for number, line in enumerate(lines) if _SUMMARY.match(line)]
        last = lines[starts[-1] :] if starts else lines[-_SHOWN_LINES:]
        if not starts:
            errors = [line for line in errors if line not in last]
        # Ray's message repeats the end of the log, so only its first line is used.
        return Outcome(status, code, reason.splitlines()[0] if reason else "", tuple(errors), tuple(last))

    def _tries(self, base: str) -> list[JobSeen]:
        return [job for job in self.jobs() if job.base == base]


def connect(address: str | None) -> Cluster:
    """The jobs of the cluster at the address of its dashboard; see dashboard.connect() for None and errors."""
    return Cluster(*dashboard.connect(address))


def last_progress(log: str) -> str:
    """The last line of a run's log that sums up its progress, or ""."""
    lines = [line.strip() for line in log.splitlines()]
    return next((line for line in reversed(lines) if _PROGRESS.match(line) or _SUMMARY.match(line)), "")


async def _next(pieces: AsyncIterator[str]) -> str | None:
    return await anext(pieces, None)


def _seen(told: Any) -> JobSeen:
    start, end = f"{_MARK}_", getattr(told, "end_time", None)
    return JobSeen(
        id=str(told.submission_id),
        status=_text(told.status),
        facts={key.removeprefix(start): value for key, value in (told.metadata or {}).items() if key.startswith(start)},
        entrypoint=str(told.entrypoint or ""),
        runtime_env=dict(told.runtime_env or {}),
        message=str(told.message or ""),
        exit_code=getattr(told, "driver_exit_code", None),
        started=(told.start_time or 0) / 1000,
        ended=(end or 0) / 1000,
    )


def _text(status: Any) -> str:
    return str(getattr(status, "value", status))
