"""Read a manifest: JSON lines, CSV or Parquet. All bad rows are reported together, and the good rows are returned
too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from raydub.errors import Code, UsageError
from raydub.manifests.formats import raw_rows
from raydub.manifests.job import Job
from raydub.manifests.limits import RawRow, Row
from raydub.manifests.paths import folded
from raydub.manifests.reads import add_inputs
from raydub.manifests.rows import BadRow, parse_row
from raydub.manifests.values import no_utf8
from raydub.places import Inputs, PathLike, overwrites, path_at, real
from raydub.texts import has_utf8


@dataclass(frozen=True)
class ManifestResult:
    """The rows of a manifest, in its order. len(jobs) + len(bad) is the number of rows.

    folder: where relative inputs started; output_root: where outputs may go (both absolute)."""

    jobs: tuple[Job, ...]
    bad: tuple[BadRow, ...]
    folder: str
    output_root: str

    @property
    def errors(self) -> tuple[UsageError, ...]:
        """All errors of all bad rows, each with its line and field."""
        return tuple(error for row in self.bad for error in row.errors)


def read_manifest(
    path: PathLike, output_root: PathLike | None = None, defaults: Mapping[str, str] | None = None
) -> ManifestResult:
    """Read and check a whole manifest, which may be in a bucket. Relative inputs start at its folder, which is also the
    default output root. defaults: fields for rows that do not set them.

    Raises UsageError for a manifest as a whole: MANIFEST_UNREADABLE (absent, unknown form, damaged), MANIFEST_EMPTY.
    Errors of single rows are in the result's `bad`.
    """
    manifest = path_at(path, "manifest")
    rows = [(line, _filled(row, defaults or {})) for line, row in raw_rows(manifest)]
    folder = real(manifest).parent
    return check_rows(rows, folder, folder if output_root is None else real(output_root, "output-root"))


def check_rows(rows: Iterable[RawRow], folder: PurePath, output_root: PurePath) -> ManifestResult:
    """Check rows that were already read (see read_manifest). Raises UsageError MANIFEST_EMPTY, and FIELD_VALUE if the
    path of the folder or the output root is not UTF-8, because every path below it would be refused."""
    for name, place in (("manifest", folder), ("output-root", output_root)):
        if not has_utf8(str(place)):
            raise no_utf8(name, str(place))
    jobs: list[Job] = []
    bad: list[BadRow] = []
    for line, row in rows:
        found = [row.at(line=line)] if isinstance(row, UsageError) else parse_row(row, folder, output_root, line)
        if isinstance(found, Job):
            jobs.append(found)
        else:
            bad.append(_bad(line, {} if isinstance(row, UsageError) else row, found))
    if not jobs and not bad:
        raise UsageError(Code.MANIFEST_EMPTY, "the manifest has no rows", hint="write one job per row")
    kept, clashing = _without_clashes(jobs)
    bad += clashing
    return ManifestResult(tuple(kept), tuple(sorted(bad, key=lambda row: row.line)), str(folder), str(output_root))


def _filled(row: Row | UsageError, defaults: Mapping[str, str]) -> Row | UsageError:
    if isinstance(row, UsageError):
        return row
    absent = {name: value for name, value in defaults.items() if row.get(name) in (None, "")}
    return {**row, **absent}


def _bad(line: int, row: Mapping[str, Any], errors: Iterable[Any]) -> BadRow:
    found = tuple(errors)
    return BadRow(line, found[0].job or f"line-{line}", row, found)


def _without_clashes(jobs: list[Job]) -> tuple[list[Job], list[BadRow]]:
    """Refuse rows that share an id or an output with an earlier row, or whose output is some row's input.

    The first row is kept: its result is the same as if the others did not exist."""
    ids: dict[str, int | None] = {}
    outputs: dict[str, int | None] = {}
    inputs = Inputs()
    for job in jobs:
        add_inputs(inputs, job)
    kept: list[Job] = []
    bad: list[BadRow] = []
    for job in jobs:
        name, output = folded(job.id), folded(job.output)
        errors = []
        if name in ids:
            message = f"the id {job.id!r} is used by line {ids[name]} (ids are compared ignoring case and Unicode form)"
            errors.append(UsageError(Code.ID_DUPLICATE, message, field="id", hint="give each job its own id"))
        if output in outputs:
            message = f"line {outputs[output]} writes {job.output!r} too"
            errors.append(
                UsageError(Code.OUTPUT_DUPLICATE, message, field="output", hint="give each job its own output")
            )
        read = inputs.at(job.output)
        if read is not None:
            errors.append(overwrites(job.output, "output", read))
        if errors:
            placed = [error.at(job=job.id, line=job.line) for error in errors]
            bad.append(_bad(job.line or 0, job.row(), placed))
            continue
        ids[name] = outputs[output] = job.line
        kept.append(job)
    return kept, bad
