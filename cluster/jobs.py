"""Thin layer over Ray Jobs: send a `raydub run` to a cluster and, if wanted, wait for its end."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from typing import Any

from raydub.errors import Code, DependencyError

_FINAL = ("SUCCEEDED", "FAILED", "STOPPED")


def connect(address: str) -> Any:
    """A Ray Jobs client for the dashboard at `address`. Raises DependencyError DEPENDENCY_MISSING,
    CLUSTER_UNREACHABLE."""
    try:
        from ray.job_submission import JobSubmissionClient

        return JobSubmissionClient(address)
    except RuntimeError as error:
        # The client says so itself, but only when it is made.
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
    """Submit a run and return Ray's id of it. The manifest and all media must be reachable from the cluster's nodes."""
    job_id: str = client.submit_job(entrypoint=entrypoint(arguments))
    return job_id


def wait(
    client: Any,
    job_id: str,
    seconds: float | None = None,
    pause: float = 2.0,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Ray's final status of a job, or the present one when `seconds` have passed."""
    waited = 0.0
    while True:
        status = client.get_job_status(job_id)
        text = str(getattr(status, "value", status))
        if text in _FINAL or (seconds is not None and waited >= seconds):
            return text
        sleep(pause)
        waited += pause
