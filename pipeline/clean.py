"""Clean a work folder: remove intermediate artefacts of finished jobs, and blobs that no record names.

A job is finished if its output is the file that its record in the store names. Its parts, plan, tracks and speech can
be made again and are removed, unless an unfinished job uses them too; so are traces, and the previews of reports.
Records of finished jobs, owners of outputs and file identities stay, so that the next run finds nothing to do and may
still replace its outputs.

A run and a cleaning never use a folder at the same time: each registers below runs/ first and then checks for the
other.
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from raydub.errors import Code, StageError, UsageError
from raydub.pipeline.attempts import (
    end_run,
    is_dead,
    new_run_id,
    process_lives,
    register_run,
    run_info,
    runs_in,
    sweep_runs,
)
from raydub.pipeline.finished import Finished
from raydub.pipeline.ledger import part_name
from raydub.places import PathLike
from raydub.store import TAG, Store

if TYPE_CHECKING:
    from raydub.stages.job_plan import JobPlan

KEPT = ("done", "owners", "identities")
"""Records that cleaning keeps."""
_CLEANING = "cleaning"
_LATE = 3600.0
"""Seconds after which a blob without a record is removed, and a cleaning on another machine counts as dead."""
_DIGEST = re.compile(rb"[0-9a-f]{64}")


@dataclass
class Freed:
    """What was removed, or would be. records, blobs: numbers by kind ("parts", "tracks", ..; "unnamed" for blobs that
    no record names); sizes: bytes of the blobs by kind."""

    records: Counter[str] = field(default_factory=Counter)
    blobs: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)

    @property
    def size(self) -> int:
        """Bytes in total."""
        return sum(self.sizes.values())


def is_work_folder(folder: PathLike) -> bool:
    """Whether this folder is marked as a work folder of raydub."""
    return Store(folder).is_tagged


def clean(work_dir: PathLike, *, everything: bool = False, dry_run: bool = False) -> Freed:
    """Clean a work folder. everything: remove all records except KEPT, including work of unfinished jobs and copies of
    remote inputs. Raises UsageError: FIELD_VALUE for a folder that raydub did not make or that contains links in
    place of its folders, OUTPUT_BUSY if a run uses it; StageError STORAGE or DISK_FULL."""
    store = Store(work_dir)
    _refuse_others(store)
    with _alone(work_dir):
        names = store.names("")
        dropped = (
            _all(names)
            if everything
            else _of_finished(store, names) | {*store.names("trace"), *store.names("previews")}
        )
        freed = Freed(records=Counter(map(_kind, dropped)))
        kinds = {digest: _kind(name) for name in dropped for digest in _named(store, name)}
        kept = {digest for name in set(names) - dropped if _kind(name) not in KEPT for digest in _named(store, name)}
        if not dry_run:
            for name in dropped:
                store.remove(name)
        for blob in list(store.blobs()):
            if blob.digest not in kept and (blob.digest in kinds or everything or blob.age > _LATE):
                kind = kinds.get(blob.digest, "unnamed")
                freed.blobs[kind] += 1
                freed.sizes[kind] += blob.size
                if not dry_run:
                    store.discard(blob)
        if not dry_run:
            sweep_runs(work_dir)
            store.sweep()
            _prune(store.root / "refs")
            _prune(store.root / "blobs")
        return freed


def refuse_while_cleaned(work_dir: PathLike) -> None:
    """Called by a run after start_run(). Raises StageError STORAGE, retryable, while the folder is cleaned."""
    if any(info.get(_CLEANING) for _, info in _entered(work_dir)):
        message = f"{work_dir} is being cleaned by `raydub clean`"
        raise StageError(Code.STORAGE, message, hint="run again when it has ended", retryable=True)


@contextmanager
def _alone(work_dir: PathLike) -> Iterator[None]:
    name = new_run_id("clean-")
    register_run(work_dir, name, {_CLEANING: True})
    try:
        others = [info for run, info in _entered(work_dir) if run != name]
        if others:
            host = others[0].get("host", "another machine")
            raise UsageError(
                Code.OUTPUT_BUSY,
                f"a run uses {work_dir} (on {host}, process {others[0].get('pid', 'unknown')})",
                hint="wait for its end, or stop it; a dead run of another machine is ignored after 7 days",
            )
        yield
    finally:
        end_run(work_dir, name)


def _entered(work_dir: PathLike) -> list[tuple[str, dict[str, Any]]]:
    """(name, info.json) of every run and cleaning that uses the folder."""
    found: list[tuple[str, dict[str, Any]]] = []
    for run in runs_in(work_dir):
        info = run_info(work_dir, run)
        silent = info.get(_CLEANING) and not process_lives(info) and time.time() - info.get("started", 0.0) > _LATE
        if not silent and not is_dead(work_dir, run):
            found.append((run, info))
    return found


def _refuse_others(store: Store) -> None:
    if not store.is_tagged:
        message = f"{store.place} is not a work folder: it has no {TAG} of raydub"
        raise UsageError(
            Code.FIELD_VALUE, message, field="folder", hint="give the output root of a run, or its --work-dir"
        )
    for name in ("refs", "blobs", "runs", "tmp"):
        if (store.root / name).is_symlink():
            message = f"{store.root / name} is a link, and links are not followed"
            raise UsageError(Code.FIELD_VALUE, message, field="folder", hint="replace it by the folder it points to")


def _all(names: list[str]) -> set[str]:
    return {name for name in names if _kind(name) not in KEPT}


def _of_finished(store: Store, names: list[str]) -> set[str]:
    """Names that only finished jobs use."""
    finished = Finished(store.place)
    dropped: set[str] = set()
    needed: set[str] = set()
    speeches = {_sound(store, name): name.removesuffix("/tracks") for name in names if _is_speech(name)}
    for name in names:
        if _kind(name) == "jobs" and name.endswith("/plan"):
            plan = _plan(store.record(name))
            if plan is None:
                continue  # of another version; removed with --all only
            (dropped if finished.stands(plan.job) else needed).update(_names_of(plan, speeches))
    groups = dropped - needed
    return {name for name in names if name in groups or name.rpartition("/")[0] in groups}


def _names_of(plan: JobPlan, speeches: Mapping[str, str]) -> list[str]:
    """Names and name prefixes of a job's artefacts in the store."""
    from raydub.stages.job_plan import chunks_of

    found = [f"jobs/{plan.key}", *map(part_name, chunks_of(plan))]
    found += [f"tracks/{plan.faces.track_key}"] if plan.faces.track_key else []
    found += [f"speaking/{plan.faces.voices.key}"] if plan.faces.voices is not None else []
    speech = plan.job.speech
    found += [speeches[speech.sound]] if speech is not None and speech.sound in speeches else []
    return found


def _plan(said: dict[str, Any] | None) -> JobPlan | None:
    from raydub.stages.job_plan import (
        JobPlan,  # imported here, because it loads OpenCV and dlib
    )

    try:
        return None if said is None else JobPlan.model_validate(said)
    except ValidationError:
        return None


def _is_speech(name: str) -> bool:
    return _kind(name) == "speech" and name.endswith("/tracks")


def _sound(store: Store, name: str) -> str:
    return str((store.record(name) or {}).get("sound", ""))


def _kind(name: str) -> str:
    return name.partition("/")[0]


def _named(store: Store, name: str) -> set[bytes]:
    """All hex strings in a record that may be digests of blobs."""
    return set(_DIGEST.findall(store.raw(name)))


def _prune(top: Path) -> None:
    """Remove empty folders."""
    for folder, _, _ in os.walk(top, topdown=False):
        if Path(folder) != top:
            with suppress(OSError):
                os.rmdir(folder)
