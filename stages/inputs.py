"""The inputs of a job as local files: inputs at web addresses are fetched first."""

from __future__ import annotations

from pathlib import Path

from raydub.errors import Code, RaydubError, StageError
from raydub.manifests.job import Job
from raydub.manifests.paths import is_remote
from raydub.media.fetch import fetch
from raydub.media.fetch_policy import FetchPolicy
from raydub.media.fetch_uri import redact

_OWN_FOLDERS = frozenset({"blobs", "fetching", "refs", "runs", "tmp"})


def local_inputs(job: Job, work_dir: str, policy: FetchPolicy | None = None) -> tuple[Job, tuple[str, ...]]:
    """The job with local paths for all its inputs, and warnings (W_REMOTE_UNCHECKED). No cost without web addresses.
    policy: by default the environment's.

    Raises what media.fetch.fetch raises, and StageError OUTPUT_ESCAPES for an output among raydub's own files.
    """
    _refuse_own(job.output, work_dir)
    asked = job.inputs()
    remote = [text for text in dict.fromkeys(asked.values()) if is_remote(text)]
    if not remote:
        return job, ()
    allowed = policy or FetchPolicy.from_environment()
    found = {text: fetch(text, work_dir, allowed) for text in remote}
    doubts = tuple(f"W_REMOTE_UNCHECKED: {one.unchecked}" for one in found.values() if one.unchecked)
    return job.with_inputs({name: found[text].path for name, text in asked.items() if text in found}), doubts


def in_words_of(job: Job, local: Job, error: RaydubError) -> RaydubError:
    """The error of a job that ran on local copies, with the addresses of the manifest in their place."""
    places = local.inputs()
    for name, text in job.inputs().items():
        if text != places[name]:
            error.message = error.message.replace(places[name], redact(text))
    return error


def _refuse_own(output: str, work_dir: str) -> None:
    try:
        inside = Path(output).relative_to(work_dir).parts
    except ValueError:
        return
    if len(inside) > 1 and inside[0] in _OWN_FOLDERS:
        raise StageError(
            Code.OUTPUT_ESCAPES,
            f"the output {output} would be among raydub's own files in the work folder",
            hint="choose another folder",
        )
