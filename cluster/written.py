"""Whether the files that a command is to write can be written there, asked before any work: they are no inputs, not in
a work folder, and the system allows it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from cluster.request import RunRequest
from manifests.job import Job
from manifests.naming import results_files, results_name
from manifests.paths import is_remote
from manifests.reads import add_inputs
from media.writable import check_folder, check_writable
from raydub.errors import Code, StageError, UsageError
from raydub.places import Inputs, overwrites, refuse_overwriting, refuse_work_folder
from raydub.store import Store, key_of


def check_results(request: RunRequest) -> None:
    """Raises UsageError: FIELD_CONFLICT where the results would overwrite the manifest or an input of a job,
    OUTPUT_ESCAPES in a work folder, STORAGE or DISK_FULL where they cannot be written, OUTPUT_EXISTS where they are
    another manifest's, which has the same name in another folder."""
    if request.results is None:
        return
    inputs = inputs_of(request.jobs)
    if request.manifest is not None:
        inputs.add("the manifest", request.manifest)
    for path in results_files(request.results):
        check_written({"results": path}, inputs)
    other = _whose(request)
    if other is not None:
        raise UsageError(
            Code.OUTPUT_EXISTS,
            f"{results_files(request.results).jsonl} holds the results of another manifest, {other}",
            hint="name this run's own with --results, or give each manifest an output root of its own",
            field="results",
        )


def note_results(request: RunRequest) -> None:
    """Note in the work folder which manifest the results that were written belong to. Never raises."""
    if request.results is not None and request.manifest is not None and request.work_dir.is_dir():
        with contextlib.suppress(StageError):
            said = {"manifest": os.path.abspath(request.manifest)}
            Store(request.work_dir).put_record(_name_of(request.results), said)


def _whose(request: RunRequest) -> str | None:
    """The other manifest of the same name whose results would be lost; None where there is none, or where the user
    has chosen the name."""
    if request.results is None or request.manifest is None:
        return None
    if request.results.name != results_name(request.manifest) or not results_files(request.results).jsonl.exists():
        return None
    said = Store(request.work_dir).record(_name_of(request.results)) or {}
    other = str(said.get("manifest", ""))
    try:
        return None if os.path.samefile(other, request.manifest) else other
    except OSError:
        return None  # it was moved or removed: nobody asks for its results by that name


def _name_of(results: Path) -> str:
    return f"results/{key_of(os.path.realpath(results))}"


def inputs_of(jobs: Iterable[Job]) -> Inputs:
    """All files that these jobs read, those included that only their scripts name."""
    inputs = Inputs()
    scripts: set[str] = set()
    for job in jobs:
        add_inputs(inputs, job)
        if job.script is not None and job.script not in scripts and not is_remote(job.script):
            from tts.scripts.read import voice_files

            scripts.add(job.script)
            place = "" if job.line is None else f" of line {job.line}"
            for path in voice_files(job.script):
                inputs.add(f"a voice in the script{place}", path)
    return inputs


def check_written(written: Mapping[str, Path | None], inputs: Inputs) -> None:
    """Check what a command writes, by the option that names it; None is left out. Raises UsageError: FIELD_CONFLICT for
    an input or a file named twice, OUTPUT_ESCAPES in a work folder, STORAGE or DISK_FULL where it cannot be written."""
    refuse_overwriting(written, inputs)
    for option, path in written.items():
        if path is not None:
            try:
                check_writable(path)
            except StageError as error:
                raise UsageError(error.code, error.message, hint=error.hint, field=option) from error


def check_folder_written(option: str, folder: Path, suffixes: Collection[str], inputs: Inputs) -> None:
    """The same for a folder of numbered files with one of these suffixes."""
    found = inputs.in_folder(folder, suffixes)
    if found is not None:
        raise overwrites(folder, option, found)
    refuse_work_folder(folder / "file", option)
    try:
        check_folder(folder)
    except StageError as error:
        raise UsageError(error.code, error.message, hint=error.hint, field=option) from error


def source(what: str, path: str | Path) -> Inputs:
    """The one input of a tool: a file, or a folder of pictures."""
    inputs = Inputs()
    if os.path.isdir(path):
        from media.images import IMAGE_SUFFIXES

        inputs.add_folder(what, path, IMAGE_SUFFIXES)
    else:
        inputs.add(what, path)
    return inputs
