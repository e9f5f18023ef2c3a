"""Evaluations in results: their columns, and results' files that are written again with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from raydub.anywhere import write
from raydub.cluster.written import check_own, check_written
from raydub.errors import Code, UsageError
from raydub.manifests.evaluation import Evaluation
from raydub.manifests.ours import manifest_of
from raydub.manifests.results import JobResult, read_results, write_results
from raydub.places import Inputs, absolute, exists, path_at
from raydub.regular import read_regular

_PAIR = (".jsonl", ".parquet")


def rewrite(path: PurePath, rows: Sequence[JobResult], columns: Mapping[str, Mapping[str, Any]]) -> list[PurePath]:
    """Write a results' file again with these columns by job id, and its sister of the other format if it holds the same
    rows. Returns what was written. Raises StageError STORAGE or DISK_FULL."""
    made = [row.model_copy(update=dict(columns.get(row.id, {}))) for row in rows]
    other = path.with_suffix(_PAIR[path.suffix.lower() == _PAIR[0]])
    both = [path, *([other] if _same(other, rows) else [])]
    by = {one.suffix.lower(): one for one in both}
    parquet = by.get(".parquet")
    manifest = None if parquet is None else manifest_of(parquet)
    write_results(made, by.get(".jsonl"), parquet, manifest)
    return both


def _same(path: PurePath, rows: Sequence[JobResult]) -> bool:
    try:
        return [row.id for row in read_results(path)] == [row.id for row in rows]
    except (OSError, ValueError):
        return False


def check_goal(path: str, *, chosen: bool = False) -> None:
    """Check, before anything is measured, where an evaluation goes. chosen: by the user; its folder has to be there.
    Raises UsageError OUTPUT_EXISTS for a file that is no evaluation, STORAGE or DISK_FULL."""
    place = path_at(absolute(path))
    if chosen:
        if isinstance(place, Path) and not place.parent.is_dir():
            message = f"there is no folder {place.parent}"
            raise UsageError(Code.STORAGE, message, hint="create it, or choose another name", field="output")
        check_written({"output": place}, Inputs())
    if exists(place):
        check_own("output", place, is_evaluation)


def keep(found: Evaluation, path: str, option: str = "output") -> str | None:
    """Write an evaluation to a file or an object; returns its absolute path or address, None where the folder is gone.
    Raises UsageError OUTPUT_EXISTS for a file that is no evaluation, StageError STORAGE or DISK_FULL."""
    place = path_at(absolute(path))
    if isinstance(place, Path) and not place.parent.is_dir():
        return None
    if exists(place):
        check_own(option, place, is_evaluation)
    write(place, found.to_json())
    return str(place)


def is_evaluation(path: PurePath) -> bool:
    """Whether a file is an evaluation. False for an unreadable one."""
    try:
        Evaluation.from_json(read_regular(path))
    except (OSError, ValueError):
        return False
    return True
