"""How long is a job's script? Asked before anything is spoken, to share a long one among workers."""

from __future__ import annotations

from raydub.errors import RaydubError
from raydub.manifests.job import Job
from raydub.manifests.paths import is_remote


def script_length(job: Job) -> int:
    """Cues of the job's script; 0 without one, and where that cannot be told yet (a web address, a script that is not
    readable: whoever speaks it says what is wrong)."""
    if job.script is None or is_remote(job.script):
        return 0
    from raydub.tts.scripts.read import read_script

    try:
        return len(read_script(job.script).segments)
    except RaydubError:
        return 0
