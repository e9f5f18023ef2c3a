"""Ask a cluster's head what this machine cannot see, such as a work folder on the cluster's own disk: `raydub` prints
it in a small Ray job."""

from __future__ import annotations

import contextlib
import json
import secrets
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from raydub.cluster.session.dashboard import asking
from raydub.cluster.session.jobs import FINAL, Cluster, JobSeen
from raydub.errors import Code, DependencyError

_PAUSE, _SECONDS = 0.5, 60.0
_SAME = ("env_vars", "pip", "image_uri")


def ask_head(
    cluster: Cluster, job: JobSeen, command: Sequence[str], sleep: Callable[[float], None] = time.sleep
) -> Mapping[str, Any]:
    """The JSON document that `raydub` prints with these arguments where the job's driver runs, in its environment. The
    Ray job that does it is removed again. Raises DependencyError JOB_REFUSED without an answer within a minute, and
    the errors of dashboard.asking()."""
    name = f"raydub-ask-{secrets.token_hex(5)}"
    env = {key: value for key, value in job.runtime_env.items() if key in _SAME}
    with asking(cluster.address):
        cluster.client.submit_job(
            entrypoint=shlex.join(["raydub", *command]), submission_id=name, metadata={}, runtime_env=env
        )
    until = time.monotonic() + _SECONDS
    try:
        while cluster.status(name) not in FINAL:
            if time.monotonic() >= until:
                raise _refused(f"no answer of the head within {_SECONDS:.0f} s")
            sleep(_PAUSE)
        return _document(cluster.log(name))
    finally:
        with contextlib.suppress(Exception):
            cluster.client.stop_job(name)
        with contextlib.suppress(Exception):
            cluster.client.delete_job(name)


def _document(log: str) -> Mapping[str, Any]:
    """The document in a log with other lines before and after. Raises DependencyError JOB_REFUSED."""
    lines = log.splitlines()
    with contextlib.suppress(ValueError):
        begin, end = lines.index("{"), len(lines) - lines[::-1].index("}")
        found = json.loads("\n".join(lines[begin:end]))
        return found if isinstance(found, dict) else {}
    last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
    raise _refused(f"the head's answer is not understood: {last[:200]}")


def _refused(message: str) -> DependencyError:
    return DependencyError(Code.JOB_REFUSED, message, hint="the same raydub must be installed there; see `raydub logs`")
