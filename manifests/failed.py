"""Write rows that did not succeed as a JSONL manifest that can be run again, each with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from raydub.anywhere import write
from raydub.manifests.job import Job
from raydub.manifests.limits import MAX_LINE
from raydub.manifests.placed import face_with_path, voice_with_path, with_paths
from raydub.manifests.results import JobResult
from raydub.manifests.rows import NOTES, BadRow
from raydub.places import PathLike
from raydub.texts import has_utf8, strict_json


def write_failed(
    path: PathLike, results: Iterable[JobResult], jobs: Iterable[Job], bad: Iterable[BadRow] = (), folder: str = ""
) -> int:
    """Write the rows that did not succeed; returns their number. Raises StageError STORAGE or DISK_FULL.

    The reason is in the fields manifests.rows.NOTES, which readers ignore. Failed jobs are written with absolute paths.
    Refused rows are written as they came, with relative inputs made absolute against `folder`, the folder of their
    manifest, so that a corrected row still names the same files. Text that could not be read as a row, and rows too
    long for a manifest line, are left out.
    """
    lost = {(result.id, result.line): result for result in results if result.status != "ok"}
    rows: list[tuple[int, dict[str, Any]]] = []
    for job in jobs:
        result = lost.get((job.id, job.line))
        if result is not None:
            rows.append((job.line or 0, {**job.row(), **_reason(result)}))
    for row in bad:
        if row.row:
            rows.append((row.line, {**placed_row(row.row, folder), **_reason(JobResult.refused(row))}))
    lines = [strict_json(row).encode() + b"\n" for _, row in sorted(rows, key=lambda pair: pair[0])]
    kept = [line for line in lines if len(line) <= MAX_LINE]
    write(path, b"".join(kept))
    return len(kept)


def _reason(result: JobResult) -> dict[str, str | None]:
    return dict(zip(NOTES, (result.error_code, result.error_message, result.hint), strict=True))


def placed_row(row: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """A refused row with relative inputs made absolute, by the rules for valid rows: catalogue names and values that
    are not paths stay unchanged."""
    placed = {name: value for name, value in row.items() if name not in NOTES}
    for name, value in placed.items():
        if isinstance(value, str) and value.strip() and has_utf8(value):
            placed[name] = with_paths(name, value, folder)
    for name, place in (("speakers", face_with_path), ("voice", voice_with_path)):
        said = placed.get(name)
        if isinstance(said, Mapping):
            placed[name] = {who: place(what, folder) if isinstance(what, str) else what for who, what in said.items()}
        elif isinstance(said, (list, tuple)):
            # Parquet map columns are lists of pairs.
            placed[name] = [
                (pair[0], place(pair[1], folder)) if _is_pair(pair) and isinstance(pair[1], str) else pair
                for pair in said
            ]
    return placed


def _is_pair(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2
