"""Results: one row per manifest row, as JSONL and as Parquet with one fixed schema.

Both files contain the same rows and are written atomically: a reader never sees part of a file, and a failed write
leaves the old file unchanged.
"""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from raydub.anywhere import write
from raydub.errors import Code, RaydubError
from raydub.manifests.components import Component
from raydub.manifests.evaluation import Verdict
from raydub.manifests.job import Job
from raydub.manifests.rows import BadRow
from raydub.media.fetch_uri import redact
from raydub.places import PathLike, absolute
from raydub.regular import open_regular
from raydub.texts import escaped, strict_json

if TYPE_CHECKING:
    import pyarrow as pa

Status = Literal["ok", "failed", "quarantined", "skipped"]
_MAX_MESSAGE = 4000
"""In characters: a row with 256 bad fields has 256 errors."""


class WeightsUse(BaseModel):
    """A weights file that was used for an output, and its licence; consent: how the licence was accepted ("flag",
    "environment", "remembered"), "" if no consent is needed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sha256: str
    licence: str
    consent: str = ""


class JobResult(BaseModel):
    """The one outcome of one manifest row.

    frames = synthesised + untouched; untouched means without a new mouth (upscaling still changes every frame).
    faceless: untouched frames without a chosen face. drawn: frames with a new mouth by the engine that drew it (own
    leaves some to warp). seconds: work per stage, summed over workers, so it may exceed
    wall_seconds. warnings: "W_WORD: sentence" with stable words. segments: cues of the script, of which `spoken` were
    synthesised in this run. components: the bill of an ok job. job_dir: folder of the job's plan and records, for
    `raydub timeline`. verdict, reasons, evaluation: of `raydub evaluate`, its sentences, and the path or
    address of the whole document (manifests.evaluation). marks: what the output carries ("xmp", "c2pa", "label").
    consent: as the job states it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    status: Status
    error_code: str | None = None
    error_message: str | None = None
    hint: str | None = None
    video: str | None = None
    audio: str | None = None
    script: str | None = None
    output: str | None = None
    frames: int = 0
    synthesised: int = 0
    untouched: int = 0
    faceless: int = 0
    drawn: Mapping[str, int] = Field(default_factory=dict)
    seconds: Mapping[str, float] = Field(default_factory=dict)
    wall_seconds: float = 0.0
    attempts: int = 0
    weights: tuple[WeightsUse, ...] = ()
    components: tuple[Component, ...] = ()
    warnings: tuple[str, ...] = ()
    engine: str | None = None
    segments: int = 0
    spoken: int = 0
    job_dir: str | None = None
    line: int | None = None
    verdict: Verdict | None = None
    reasons: tuple[str, ...] = ()
    evaluation: str | None = None
    marks: tuple[str, ...] = ()
    consent: str | None = None

    @field_validator(
        *("id", "error_code", "error_message", "hint", "video", "audio", "script", "output", "job_dir"),
        *("evaluation", "consent"),
        mode="before",
    )
    @classmethod
    def _as_utf8(cls, value: Any) -> Any:
        # File names can be any bytes; results must be UTF-8.
        return escaped(value) if isinstance(value, str) else value

    @field_validator("warnings", "reasons", mode="before")
    @classmethod
    def _each_as_utf8(cls, value: Any) -> Any:
        return tuple(map(cls._as_utf8, value)) if isinstance(value, (list, tuple)) else value

    @field_validator("video", "audio", "script", "output")
    @classmethod
    def _without_secrets(cls, value: str | None) -> str | None:
        # The query of a signed URL gives access to the file, and results are shared; failed.jsonl keeps it.
        return None if value is None else redact(value)

    @staticmethod
    def asked(job: Job) -> dict[str, Any]:
        """The fields of a result that its job decides."""
        own = {name: getattr(job, name) for name in ("id", "video", "audio", "script", "output", "line")}
        return {**own, "consent": job.options.consent}

    @classmethod
    def failure(cls, job: Job, error: RaydubError, **more: Any) -> JobResult:
        """The result of a job that ended with `error`: quarantined for Code.QUARANTINED, else failed."""
        status: Status = "quarantined" if error.code is Code.QUARANTINED else "failed"
        said = {"error_code": str(error.code), "error_message": error.message, "hint": error.hint or None}
        return cls(status=status, **{**cls.asked(job), **said, **more})

    @classmethod
    def refused(cls, bad: BadRow) -> JobResult:
        """The result of an invalid row: the code of its first error, and the messages of all."""
        first = bad.errors[0]
        said = "; ".join(f"{e.field}: {e.message}" if e.field else e.message for e in bad.errors)
        asked = {name: _text(bad.row.get(name)) for name in ("video", "audio", "script", "output")}
        return cls(
            id=bad.id,
            status="failed",
            error_code=str(first.code),
            error_message=said if len(said) <= _MAX_MESSAGE else f"{said[:_MAX_MESSAGE]} ..",
            hint=first.hint or None,
            line=bad.line,
            **asked,
        )


@functools.cache
def schema() -> pa.Schema:
    """The columns of the Parquet file."""
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("status", pa.string(), nullable=False),
            *(pa.field(name, pa.string()) for name in ("error_code", "error_message", "hint", "video", "audio")),
            *(pa.field(name, pa.string()) for name in ("script", "output")),
            *(
                pa.field(name, pa.int64(), nullable=False)
                for name in ("frames", "synthesised", "untouched", "faceless")
            ),
            pa.field("drawn", pa.map_(pa.string(), pa.int64()), nullable=False),
            pa.field("seconds", pa.map_(pa.string(), pa.float64()), nullable=False),
            pa.field("wall_seconds", pa.float64(), nullable=False),
            pa.field("attempts", pa.int64(), nullable=False),
            pa.field(
                "weights",
                pa.list_(pa.struct([(name, pa.string()) for name in ("name", "sha256", "licence", "consent")])),
                nullable=False,
            ),
            pa.field(
                "components",
                pa.list_(pa.struct([(name, pa.string()) for name in Component.model_fields])),
                nullable=False,
            ),
            pa.field("warnings", pa.list_(pa.string()), nullable=False),
            pa.field("engine", pa.string()),
            *(pa.field(name, pa.int64(), nullable=False) for name in ("segments", "spoken")),
            pa.field("job_dir", pa.string()),
            pa.field("line", pa.int64()),
            pa.field("verdict", pa.string()),
            pa.field("reasons", pa.list_(pa.string()), nullable=False),
            pa.field("evaluation", pa.string()),
            pa.field("marks", pa.list_(pa.string()), nullable=False),
            pa.field("consent", pa.string()),
        ]
    )


_MAPS = ("drawn", "seconds")
NOTE_KEY = b"raydub"
"""Metadata key of the Parquet file. Its value is a JSON object in ASCII; "manifest" is the manifest's absolute path."""


def write_results(
    results: Sequence[JobResult],
    jsonl: PathLike | None,
    parquet: PathLike | None,
    manifest: PathLike | None = None,
) -> None:
    """Write one row per result to `jsonl` and/or `parquet` (None leaves that one out). manifest: recorded in the
    Parquet file.

    Raises StageError STORAGE or DISK_FULL if a file cannot be written."""
    rows = [result.model_dump(mode="json") for result in results]
    if jsonl is not None:
        write_jsonl(rows, jsonl)
    if parquet is not None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        said = None if manifest is None else {NOTE_KEY: json.dumps({"manifest": absolute(manifest)})}
        table = pa.Table.from_pylist(
            [{**row, **{name: list(row[name].items()) for name in _MAPS}} for row in rows], schema=schema()
        )
        table = table.replace_schema_metadata(said)
        content = io.BytesIO()
        pq.write_table(table, content)
        write(parquet, content.getvalue())


def read_results(path: PathLike) -> list[JobResult]:
    """Read a file of write_results(), in either format. Raises ValueError for other content, and OSError."""
    if not str(path).endswith(".parquet"):
        with open_regular(path) as lines:
            return [JobResult.model_validate_json(line) for line in lines]
    import pyarrow.parquet as pq

    from raydub.manifests.parquet import UNREADABLE

    try:
        # In this thread only: an Arrow thread that still holds a Python file at interpreter exit aborts the process.
        with open_regular(path) as file, pq.ParquetFile(file, pre_buffer=False) as found:
            rows = found.read(use_threads=False).to_pylist()
        return [
            JobResult.model_validate({**row, "drawn": dict(row.get("drawn") or ()), "seconds": dict(row["seconds"])})
            for row in rows
        ]
    except UNREADABLE as error:
        raise ValueError(f"{type(error).__name__}: {str(error)[:300]}") from error


def write_jsonl(rows: Sequence[Mapping[str, Any]], path: PathLike) -> None:
    """Write rows as strict JSON lines, UTF-8, atomically. Raises StageError STORAGE or DISK_FULL."""
    write(path, "".join(f"{strict_json(row)}\n" for row in rows).encode())


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
