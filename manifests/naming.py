"""What the results of a manifest are called, so that those of two manifests, or of two runs, never share a name.

jobs.jsonl                  jobs.results.jsonl, .parquet, .failed.jsonl
jobs.csv                    jobs.csv.results.jsonl, ..
jobs.results.failed.jsonl   jobs.results.try-2.jsonl, ..
jobs.results.try-2.failed.jsonl   jobs.results.try-3.jsonl, ..
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from raydub.errors import Code, UsageError
from raydub.manifests.formats import SUFFIXES
from raydub.places import folded

FAILED = ".failed.jsonl"
_PLAIN = ".jsonl"
_TRY = re.compile(r"(.+)\.try-([2-9]|[1-9][0-9]{1,5})", re.DOTALL)


class ResultsFiles(NamedTuple):
    """The files that a run writes beside its videos."""

    jsonl: Path
    parquet: Path
    failed: Path


def results_files(stem: Path) -> ResultsFiles:
    """The files of the results manifest `stem` (a path without extension)."""
    return ResultsFiles(*(stem.with_name(stem.name + end) for end in (".jsonl", ".parquet", FAILED)))


def check_stem(stem: Path, outputs: Iterable[str]) -> None:
    """Can results be called `stem` where `outputs` (resolved paths) are made in the same run? Raises UsageError:
    FIELD_VALUE for a path that ends in no name, FIELD_CONFLICT where one file would have to be the other's folder."""
    if stem.name in ("", ".."):
        message = f"{str(stem)!r} is a folder, and no name for the results"
        hint = "name a file without its extension, as in --results out/results"
        raise UsageError(Code.FIELD_VALUE, message, field="results", hint=hint)
    outputs = list(outputs)
    above = {folded(str(folder)) for folder in Path(os.path.realpath(stem)).parents}
    inside = next((output for output in outputs if folded(output) in above), None)
    if inside is not None:
        message = f"{str(stem)!r} lies in {inside!r}, which is no folder but the output of a job"
        raise UsageError(Code.FIELD_CONFLICT, message, field="results", hint="choose another name")
    files = {folded(os.path.realpath(path)): path for path in results_files(stem)}
    for folder in map(Path, {os.path.dirname(output) for output in outputs}):
        taken = next((files[name] for name in map(folded, map(str, (folder, *folder.parents))) if name in files), None)
        if taken is not None:
            message = f"outputs go into {str(folder)!r}, but {str(taken)!r} is no folder but a file of the results"
            raise UsageError(Code.FIELD_CONFLICT, message, field="results", hint="choose another name with --results")


def results_name(manifest: str | Path) -> str:
    """The name, without extension, of the results of `manifest`; another for every name that a manifest can have.

    A list of failures belongs to the results that it came from, as the next try: it neither piles up names nor writes
    over the results of the run before."""
    name = Path(manifest).name
    if name.endswith(FAILED) and len(name) > len(FAILED):
        return _next_try(name.removesuffix(FAILED))
    stem = name.removesuffix(_PLAIN)
    # jobs.csv.jsonl keeps its whole name: jobs.csv.results are those of jobs.csv.
    kept = name if stem == name or not stem or Path(stem).suffix.lower() in SUFFIXES else stem
    return f"{kept}.results"


def _next_try(stem: str) -> str:
    found = _TRY.fullmatch(stem)
    return f"{found[1]}.try-{int(found[2]) + 1}" if found else f"{stem}.try-2"
