"""Ownership of outputs: raydub replaces files that it made for the same job, and others only with `overwrite`.

The digests of a job's outputs are recorded before they are published, so that an interrupted run recognises its own
file.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from raydub.errors import Code, StageError
from raydub.identity import backdate, identify, look_of
from raydub.manifests.job import Job
from raydub.media.confine import exists, publish_inside
from raydub.objects.names import is_object, parse
from raydub.places import absolute
from raydub.sealed import key_of
from raydub.store import Store

_KEPT = 4


def publish_output(temp: str, job: Job, root: str, store: Store, allowed: Callable[[], None] = lambda: None) -> str:
    """Publish a finished output below `root`; returns its sha256. allowed: what it raises prevents it. Raises what
    media.confine.publish_inside raises, and for an output in a bucket what raydub.objects.bucket raises, OUTPUT_EXISTS,
    OUTPUT_BUSY."""
    allowed()
    backdate(temp)
    digest = identify(temp).sha256
    made = note_made(job, store, digest)
    if is_object(job.output):
        look = _publish_object(temp, job, store, made, allowed)
    else:
        publish_inside(temp, job.output, root, lambda path: may_replace(job, store, made))
        look = look_of(job.output)
    store.identities.put(absolute(job.output), look, digest)
    return digest


def _publish_object(temp: str, job: Job, store: Store, made: tuple[str, ...], allowed: Callable[[], None]) -> str:
    """Upload an output; an object that the job did not make, or that somebody writes at the same time, stays. Returns
    the new object's look."""
    from raydub.objects.bucket import bucket_of
    from raydub.objects.errors import Conflict
    from raydub.objects.near import Origin, head

    name = parse(job.output)
    there = head(name.text)
    if there is not None and not may_replace(job, store, made):
        raise exists(job.output)
    # After the look and before the write, which depends on what was seen: a run that was frozen before has lost its
    # claim, and one that is frozen from here on writes only what nobody has replaced meanwhile.
    allowed()
    condition: dict[str, Any] = {"create": True} if there is None else {"etag": there.etag}
    try:
        meta = bucket_of(name).put_file(name.key, temp, last=allowed, **condition)
    except Conflict as error:
        message = f"{job.output} was written by somebody else while it was being published"
        raise StageError(Code.OUTPUT_BUSY, message, hint="run again when nothing else writes it") from error
    return Origin.of(name, meta).look


def note_made(job: Job, store: Store, sha256: str) -> tuple[str, ...]:
    """Record that the job is about to publish this content; returns all digests that it has made. Raises StageError
    STORAGE or DISK_FULL."""
    said = store.record(_name(job.output))
    before = said["made"] if said is not None and said["job"] == _which(job) else []
    made = (sha256, *before)[:_KEPT]
    store.put_record(_name(job.output), {"job": _which(job), "made": list(made)}, durable=True)
    return made


def made_by(job: Job, store: Store) -> tuple[str, ...]:
    """Digests of what the job has made at its output, the last one first."""
    said = store.record(_name(job.output))
    return tuple(map(str, said["made"])) if said is not None and said["job"] == _which(job) else ()


def may_replace(job: Job, store: Store, made: tuple[str, ...] | None = None) -> bool:
    """May the job's output be written: is the path free, was the file made by the same job, or is overwrite set? made:
    digests of what it made, if they are known. Raises OSError."""
    if job.options.overwrite or not _is_there(job.output):
        return True
    if made is None:
        made = made_by(job, store)
    is_file = is_object(job.output) or os.path.isfile(job.output)
    return bool(made) and is_file and identify(job.output, store.identities).sha256 in made


def was_made(job: Job, store: Store) -> bool:
    """Is the file at the job's output one that the job made? Raises OSError."""
    made = made_by(job, store)
    return bool(made) and _is_there(job.output) and identify(job.output, store.identities).sha256 in made


def _is_there(output: str) -> bool:
    if not is_object(output):
        return os.path.lexists(output)
    from raydub.objects.near import head

    return head(output) is not None


def _which(job: Job) -> list[str]:
    """Two jobs count as the same with the same video and id; speech and options may differ."""
    return [job.id, job.video]


def _name(output: str) -> str:
    return f"owners/{key_of(absolute(output))}"
