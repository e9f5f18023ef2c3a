"""A JobSubmissionClient that starts nothing: it keeps jobs, and the test decides what becomes of them."""

from __future__ import annotations

import re
import shlex
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

URL = "http://head:8265"


class FakeJobs:
    """next: statuses of jobs by id, each a list that get_job_status() works off up to its last one; logs: by id;
    answer: what the head prints for a command of its own."""

    def __init__(self) -> None:
        self.told: dict[str, SimpleNamespace] = {}
        self.logs: dict[str, str] = {}
        self.next: dict[str, list[str]] = {}
        self.sent: dict[str, dict[str, str]] = {}
        self.answer: Callable[[list[str]], str] = lambda command: ""

    @property
    def entrypoint(self) -> str:
        """Of the last job, "" without one."""
        return "" if not self.told else str(list(self.told.values())[-1].entrypoint)

    def submit_job(self, *, entrypoint: str, submission_id: str, metadata: Any, runtime_env: Any) -> str:
        if submission_id in self.told:
            raise RuntimeError(f"Request failed with status code 500: Job with id {submission_id} already exists.")
        assert re.fullmatch(r"[A-Za-z0-9_.-]+", submission_id)
        assert all(isinstance(text, str) for pair in metadata.items() for text in pair)
        folder = runtime_env.get("working_dir", "")
        if folder and "://" not in folder:
            from pathlib import Path

            found = [path for path in Path(folder).rglob("*") if path.is_file()]
            self.sent[submission_id] = {str(path.relative_to(folder)): path.read_text() for path in found}
            runtime_env = {**runtime_env, "working_dir": "gcs://_ray_pkg_1.zip"}
        self.put(submission_id, "PENDING", metadata, entrypoint, runtime_env)
        if submission_id.startswith("raydub-ask-"):
            self.next[submission_id] = ["RUNNING", "SUCCEEDED"]
            self.logs[submission_id] = self.answer(shlex.split(entrypoint))
        return submission_id

    def delete_job(self, job_id: str) -> bool:
        assert self.told.pop(job_id).status in ("SUCCEEDED", "FAILED", "STOPPED")
        return True

    def put(self, job_id: str, status: str, metadata: Any = None, entrypoint: str = "", env: Any = None) -> None:
        """Have a job."""
        self.told[job_id] = SimpleNamespace(
            submission_id=job_id,
            status=status,
            metadata=metadata,
            entrypoint=entrypoint,
            runtime_env=env or {},
            message="",
            driver_exit_code=None,
            start_time=1000 * (1 + len(self.told)),
            end_time=None,
        )

    def list_jobs(self) -> list[SimpleNamespace]:
        driver = SimpleNamespace(submission_id=None, metadata={}, status="RUNNING")
        return [driver, *self.told.values()]

    def get_job_info(self, job_id: str) -> SimpleNamespace:
        if job_id not in self.told:
            raise RuntimeError(f"Request failed with status code 404: Job {job_id} does not exist.")
        return self.told[job_id]

    def get_job_status(self, job_id: str) -> SimpleNamespace:
        left = self.next.get(job_id, [])
        if left:
            self.told[job_id].status = left.pop(0)
        return SimpleNamespace(value=self.get_job_info(job_id).status)

    def get_job_logs(self, job_id: str) -> str:
        self.get_job_info(job_id)
        return self.logs.get(job_id, "")

    async def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
        for begin in range(0, len(self.logs[job_id]), 7):
            yield self.logs[job_id][begin : begin + 7]

    def stop_job(self, job_id: str) -> bool:
        if self.told[job_id].status in ("SUCCEEDED", "FAILED", "STOPPED"):
            return False
        self.next[job_id] = ["RUNNING", "STOPPED"]
        return True
