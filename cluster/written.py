"""Check before any work that a command's files can be written: they overwrite no inputs and no other files, are not in
a work folder, and are writable."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from raydub.cluster.request import RunRequest
from raydub.errors import Code, StageError, UsageError
from raydub.manifests.job import Job
from raydub.manifests.naming import ResultsFiles, results_files, results_name
from raydub.manifests.ours import is_row, manifest_of, stranger_of
from raydub.manifests.paths import is_remote
from raydub.manifests.reads import add_inputs
from raydub.media.marked import is_marked
from raydub.media.writable import check_folder, check_replaceable, check_writable
from raydub.places import Inputs, PathLike, absolute, exists, overwrites, refuse_overwriting, refuse_work_folder

_FRAME = re.compile(r"[0-9]{6,}")
"""The name of a frame's picture, without its suffix."""


def check_results(request: RunRequest) -> None:
    """Raises UsageError: FIELD_CONFLICT if the results would overwrite the manifest or an input of a job,
    OUTPUT_ESCAPES in a work folder, STORAGE or DISK_FULL if they cannot be written, OUTPUT_EXISTS if other files, or
    results of another manifest with the same name, exist at their paths."""
    inputs = inputs_of(request.jobs)
    if request.manifest is not None:
        inputs.add("the manifest", request.manifest)
    if request.results is not None:
        files = results_files(request.results)
        for path in files:
            check_written({"results": path}, inputs, request.work_dir)
        _check_replaced(files, request)
    elif request.record is not None:
        found = inputs.at(request.record)
        if found is not None:
            raise overwrites(request.record, "output", found)
        with _of_option("output"):
            check_replaceable(request.record)
        check_own("work-dir", request.record, is_row)


def _check_replaced(files: ResultsFiles, request: RunRequest) -> None:
    """Results replace results only, and under the default name only those of the same manifest."""
    try:
        stranger, other = stranger_of(files), _other_manifest(files, request)
    except OSError as error:
        raise UsageError(
            Code.STORAGE,
            f"cannot read the existing file {error.filename or files.jsonl}: {error.strerror or error}",
            hint="choose another name with --results",
            field="results",
        ) from error
    if stranger is not None:
        message = f"{stranger} exists and does not contain results of raydub"
        hint = "move it, or choose another name with --results"
        raise UsageError(Code.OUTPUT_EXISTS, message, hint=hint, field="results")
    if other is not None:
        raise UsageError(
            Code.OUTPUT_EXISTS,
            f"{files.jsonl} contains the results of another manifest, {other}",
            hint="choose another name with --results, or give each manifest its own output root",
            field="results",
        )


def _other_manifest(files: ResultsFiles, request: RunRequest) -> str | None:
    """The other manifest of the same name whose results would be overwritten; None if there is none, or if the user has
    chosen the name."""
    if request.manifest is None or files.jsonl.name != f"{results_name(request.manifest)}.jsonl":
        return None
    other = manifest_of(files.parquet)
    try:
        if other is None or other == absolute(request.manifest):
            return None
        return None if os.path.samefile(other, request.manifest) else other
    except OSError:
        return None  # it was moved or removed, so its results may be replaced


def inputs_of(jobs: Iterable[Job]) -> Inputs:
    """All files that these jobs read, including those that only their scripts name."""
    inputs = Inputs()
    scripts: set[str] = set()
    for job in jobs:
        add_inputs(inputs, job)
        if job.script is not None and job.script not in scripts and not is_remote(job.script):
            from raydub.tts.scripts.read import voice_files

            scripts.add(job.script)
            place = "" if job.line is None else f" of line {job.line}"
            for path in voice_files(job.script):
                inputs.add(f"a voice in the script{place}", path)
    return inputs


def check_written(written: Mapping[str, PurePath | None], inputs: Inputs, work_dir: PurePath | None = None) -> None:
    """Check files that a command writes, by the option that names them; None is skipped. work_dir: the work folder, if
    not the default. Raises UsageError: FIELD_CONFLICT for an input or a file named twice, OUTPUT_ESCAPES in a work
    folder, STORAGE or DISK_FULL if it cannot be written."""
    refuse_overwriting(written, inputs, work_dir)
    for option, path in written.items():
        if path is not None:
            with _of_option(option):
                check_writable(path)


def check_folder_written(option: str, folder: Path, suffixes: Collection[str], inputs: Inputs) -> None:
    """The same for a folder of pictures named by frame numbers, with one of these suffixes; also OUTPUT_EXISTS if it
    contains one that raydub did not write."""
    found = inputs.in_folder(folder, suffixes)
    if found is not None:
        raise overwrites(folder, option, found)
    refuse_work_folder(folder / "file", option)
    with _of_option(option):
        check_folder(folder)
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix.lower() in suffixes and _FRAME.fullmatch(path.stem) and not is_marked(path):
            raise _not_ours(path, option, "move it, or choose another folder")


def check_own(option: str, path: PurePath, is_ours: Callable[[Any], bool]) -> None:
    """Raises UsageError OUTPUT_EXISTS if a file that is not ours exists at a path that the command chose itself."""
    if (exists(path) or os.path.lexists(path)) and not is_ours(path):
        raise _not_ours(path, option, "move it, or choose another name")


def _not_ours(path: PurePath, option: str, hint: str) -> UsageError:
    message = f"{path} exists, and raydub did not write it or it was changed since"
    return UsageError(Code.OUTPUT_EXISTS, message, hint=hint, field=option)


@contextlib.contextmanager
def _of_option(option: str) -> Iterator[None]:
    try:
        yield
    except StageError as error:
        raise UsageError(error.code, error.message, hint=error.hint, field=option) from error


def source(what: str, path: PathLike) -> Inputs:
    """The one input of a tool: a file, or a folder of pictures."""
    inputs = Inputs()
    if os.path.isdir(path):
        from raydub.media.images import IMAGE_SUFFIXES

        inputs.add_folder(what, path, IMAGE_SUFFIXES)
    else:
        inputs.add(what, path)
    return inputs
