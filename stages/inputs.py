"""The inputs of a job as files on this node's disks: what is named by a web address is fetched first."""

from __future__ import annotations

from pathlib import Path

from manifests.job import Job
from manifests.paths import is_remote
from media.fetch import fetch
from media.fetch_policy import FetchPolicy
from media.fetch_uri import redact
from raydub.errors import Code, RaydubError, StageError

_REFERENCE = "reference:"
_OWN_FOLDERS = frozenset({"fetched", "index", "jobs", "locks", "receipts", "runs", "sources", "tracks"})


def local_inputs(job: Job, work_dir: str, policy: FetchPolicy | None = None) -> tuple[Job, tuple[str, ...]]:
    """The job with local paths for video, speech and reference picture, and warnings (W_REMOTE_UNCHECKED). Costs
    nothing for a job without web addresses. policy: by default the environment's.

    Raises what media.fetch.fetch raises, and StageError OUTPUT_ESCAPES for an output among raydub's own files."""
    _refuse_own(job.output, work_dir)
    said = [job.video, job.audio, job.options.face.removeprefix(_REFERENCE)]
    remote = [text for text in dict.fromkeys(said) if is_remote(text)]
    if not remote:
        return job, ()
    allowed = policy or FetchPolicy.from_environment()
    found = {text: fetch(text, work_dir, allowed) for text in remote}
    places = {text: one.path for text, one in found.items()}
    face = said[2]
    options = job.options
    if face in places:
        options = options.model_copy(update={"face": f"{_REFERENCE}{places[face]}"})
    update = {
        "video": places.get(job.video, job.video),
        "audio": places.get(job.audio, job.audio),
        "options": options,
    }
    doubts = tuple(f"W_REMOTE_UNCHECKED: {one.unchecked}" for one in found.values() if one.unchecked)
    return job.model_copy(update=update), doubts


def in_words_of(job: Job, local: Job, error: RaydubError) -> RaydubError:
    """The error of a job that ran on local copies, with the addresses that the user wrote in their place."""
    for asked, used in ((job.video, local.video), (job.audio, local.audio), (job.options.face, local.options.face)):
        if asked != used:
            error.message = error.message.replace(used.removeprefix(_REFERENCE), redact(asked.removeprefix(_REFERENCE)))
    return error


def _refuse_own(output: str, work_dir: str) -> None:
    try:
        inside = Path(output).relative_to(work_dir).parts
    except ValueError:
        return
    if len(inside) > 1 and inside[0] in _OWN_FOLDERS:
        raise StageError(
            Code.OUTPUT_ESCAPES, f"{output} lies among the files of the work folder", hint="choose another folder"
        )
