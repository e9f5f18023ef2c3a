"""Names of result files, so that two manifests, or two runs, never share one.

jobs.jsonl                  jobs.results.jsonl, .parquet, .failed.jsonl
jobs.csv                    jobs.csv.results.jsonl, ..
jobs.results.failed.jsonl   jobs.results.try-2.jsonl, ..
jobs.results.try-2.failed.jsonl   jobs.results.try-3.jsonl, ..
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import NamedTuple

from raydub.errors import Code, UsageError
from raydub.manifests.formats import SUFFIXES
from raydub.places import PathLike, folded, path_at, real

FAILED = ".failed.jsonl"
_PLAIN = ".jsonl"
_TRY = re.compile(r"(.+)\.try-([2-9]|[1-9][0-9]{1,5})", re.DOTALL)


class ResultsFiles(NamedTuple):
    """The files that a run writes beside its videos."""

    jsonl: PurePath
    parquet: PurePath
    failed: PurePath


def results_files(stem: PurePath) -> ResultsFiles:
    """The files of the results manifest `stem` (a path without extension)."""
    return ResultsFiles(*(stem.with_name(stem.name + end) for end in (".jsonl", ".parquet", FAILED)))


def check_stem(stem: PurePath, outputs: Iterable[str]) -> None:
    """Check that results named `stem` and `outputs` (resolved paths) can be written in the same run. Raises UsageError:
    FIELD_VALUE for a path without a file name, FIELD_CONFLICT if a file would have to be a folder of another."""
    if stem.name in ("", ".."):
        message = f"{str(stem)!r} is a folder, not a name for the results"
        hint = "give a file name without extension, such as --results out/results"
        raise UsageError(Code.FIELD_VALUE, message, field="results", hint=hint)
    outputs = list(outputs)
    above = {folded(str(folder)) for folder in real(stem).parents}
    inside = next((output for output in outputs if folded(output) in above), None)
    if inside is not None:
        message = f"{str(stem)!r} is below {inside!r}, which is the output of a job, not a folder"
        raise UsageError(Code.FIELD_CONFLICT, message, field="results", hint="choose another name")
    files = {folded(str(real(path))): path for path in results_files(stem)}
    for folder in map(path_at, {os.path.dirname(output) for output in outputs}):
        taken = next((files[name] for name in map(folded, map(str, (folder, *folder.parents))) if name in files), None)
        if taken is not None:
            message = f"outputs go into {str(folder)!r}, but {str(taken)!r} is a results file, not a folder"
            raise UsageError(Code.FIELD_CONFLICT, message, field="results", hint="choose another name with --results")


def results_name(manifest: PathLike) -> str:
    """The name, without extension, of the results of `manifest`; different for every manifest name.

    A list of failed rows gets the name of its results with the next try number, so that names do not grow and earlier
    results are not overwritten."""
    name = PurePath(manifest).name
    if name.endswith(FAILED) and len(name) > len(FAILED):
        return _next_try(name.removesuffix(FAILED))
    stem = name.removesuffix(_PLAIN)
    # jobs.csv.jsonl keeps its whole name: jobs.csv.results belongs to jobs.csv.
    kept = name if stem == name or not stem or Path(stem).suffix.lower() in SUFFIXES else stem
    return f"{kept}.results"


def _next_try(stem: str) -> str:
    found = _TRY.fullmatch(stem)
    return f"{found[1]}.try-{int(found[2]) + 1}" if found else f"{stem}.try-2"
