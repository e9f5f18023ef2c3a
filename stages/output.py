"""Ownership of outputs: raydub replaces files that it made for the same job, and others only with `overwrite`.

The digests of a job's outputs are recorded before they are published, so that an interrupted run recognises its own
file.
"""

from __future__ import annotations

import os

from raydub.identity import backdate, identify, look_of
from raydub.manifests.job import Job
from raydub.media.confine import publish_inside
from raydub.store import Store, key_of

_KEPT = 4


def publish_output(temp: str, job: Job, root: str, store: Store) -> str:
    """Publish a finished output below `root`; returns its sha256. Raises what media.confine.publish_inside raises."""
    backdate(temp)
    digest = identify(temp).sha256
    made = note_made(job, store, digest)
    publish_inside(temp, job.output, root, lambda path: may_replace(job, store, made))
    store.identities.put(os.path.abspath(job.output), look_of(job.output), digest)
    return digest


def note_made(job: Job, store: Store, sha256: str) -> tuple[str, ...]:
    """Record that the job is about to publish this content; returns all digests that it has made. Raises StageError
    STORAGE or DISK_FULL."""
    said = store.record(_name(job.output))
    before = said["made"] if said is not None and said["job"] == _which(job) else []
    made = (sha256, *before)[:_KEPT]
    store.put_record(_name(job.output), {"job": _which(job), "made": list(made)}, durable=True)
    return made


def may_replace(job: Job, store: Store, made: tuple[str, ...] | None = None) -> bool:
    """May the job's output be written: is the path free, was the file made by the same job, or is overwrite set? made:
    digests of what it made, if they are known. Raises OSError."""
    if job.options.overwrite or not os.path.lexists(job.output):
        return True
    if made is None:
        said = store.record(_name(job.output))
        made = tuple(said["made"]) if said is not None and said["job"] == _which(job) else ()
    return bool(made) and os.path.isfile(job.output) and identify(job.output, store.identities).sha256 in made


def _which(job: Job) -> list[str]:
    """Two jobs count as the same with the same video and id; speech and options may differ."""
    return [job.id, job.video]


def _name(output: str) -> str:
    return f"owners/{key_of(os.path.abspath(output))}"
