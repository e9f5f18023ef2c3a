"""Ray Jobs: submit a `raydub run` to a cluster, and optionally wait for its end and get its outcome."""

from __future__ import annotations

import contextlib
import re
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from raydub.errors import Code, DependencyError

_PAUSE = 2.0
_FINAL = ("SUCCEEDED", "FAILED", "STOPPED")
_SUMMARY = re.compile(r"^(\d+ rows?: |nothing to do: )")
_ERROR = re.compile(r"^\[E_[A-Z_]+\] ")
_SHOWN_ERRORS, _SHOWN_LINES = 20, 20


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


def connect(address: str) -> Any:
    """A Ray Jobs client for the dashboard at `address`. Raises DependencyError DEPENDENCY_MISSING,
    CLUSTER_UNREACHABLE."""
    try:
        from ray.job_submission import JobSubmissionClient

        return JobSubmissionClient(address)
    except RuntimeError as error:
        # The client raises this when it is created.
        raise DependencyError(
            Code.DEPENDENCY_MISSING,
            str(error).splitlines()[0],
            hint="pip install 'raydub[cluster]', here and on the cluster",
        ) from error
    except Exception as error:
        raise DependencyError(
            Code.CLUSTER_UNREACHABLE,
            f"no Ray dashboard at {address!r}: {type(error).__name__}",
            hint="give the address of the head node's dashboard, e.g. http://head:8265",
        ) from error


def entrypoint(arguments: Sequence[str]) -> str:
    """The command line that the cluster's head runs."""
    return shlex.join(["raydub", "run", *arguments, "--address", "auto"])


def submit(client: Any, arguments: Sequence[str]) -> str:
    """Submit a run and return its Ray job id. The manifest and all media must be reachable from the cluster's nodes."""
    job_id: str = client.submit_job(entrypoint=entrypoint(arguments))
    return job_id


def wait(client: Any, job_id: str, sleep: Callable[[float], None] = time.sleep) -> str:
    """Wait for the end of a job; returns Ray's final status."""
    while True:
        status = client.get_job_status(job_id)
        text = str(getattr(status, "value", status))
        if text in _FINAL:
            return text
        sleep(_PAUSE)


def outcome(client: Any, job_id: str, status: str) -> Outcome:
    """The outcome of an ended job, from Ray and the run's log. Never raises: without a log its fields are empty."""
    log, code, reason = "", None, ""
    with contextlib.suppress(Exception):
        info = client.get_job_info(job_id)
        found = getattr(info, "driver_exit_code", None)
        code = found if isinstance(found, int) else None
        reason = "" if status == "SUCCEEDED" else str(getattr(info, "message", "") or "").strip()
    with contextlib.suppress(Exception):
        log = str(client.get_job_logs(job_id) or "")
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
