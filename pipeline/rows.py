"""Items as rows of a Ray Data block: four columns for every kind of item, so that all blocks share one schema. Arrays
are one binary column; nothing is pickled. Rows go to other machines, so paths of copies of objects are translated
(raydub.present)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from raydub.manifests.job import Job
from raydub.pipeline.events import Assembled, Dropped, Failed, Item, Planned, job_of
from raydub.present import from_text, to_text
from raydub.stages.types import Chunk, Part, SynthesisedChunk, TrackedChunk
from raydub.stages.wire import from_row, to_row

Row = dict[str, Any]
_RECORDS: Mapping[str, type] = {"Planned": Planned, "Failed": Failed, "Dropped": Dropped, "Assembled": Assembled}
_ALIGN = 64  # arrays start at multiples of this, so that views on the blob are aligned


def pack(item: Item) -> Row:
    """A row: kind and job_id (text), meta (JSON), blob (bytes of the arrays named in meta)."""
    if isinstance(item, Job):
        return {"kind": "job", "job_id": item.id, "meta": to_text(item.model_dump(mode="json")), "blob": b""}
    if isinstance(item, (Chunk, TrackedChunk, SynthesisedChunk, Part)):
        fields, blob = _split(to_row(item))
        return {"kind": "work", "job_id": job_of(item), "meta": to_text(fields), "blob": blob}
    return {
        "kind": type(item).__name__,
        "job_id": item.job_id,
        "meta": to_text(dataclasses.asdict(item)),
        "blob": b"",
    }


def unpack(row: Mapping[str, Any]) -> Item:
    """The item of a row. Its arrays are read-only views on the row's blob."""
    if row["kind"] == "job":
        return Job.model_validate(from_text(row["meta"]))
    meta = from_text(row["meta"])
    if row["kind"] == "work":
        item: Item = from_row(_join(meta, row["blob"]))
        return item
    for name in ("warnings", "weights", "components", "marks"):
        if name in meta:
            meta[name] = tuple(meta[name])
    if "evaluated" in meta and "reasons" in meta["evaluated"]:
        meta["evaluated"]["reasons"] = tuple(meta["evaluated"]["reasons"])
    record: Item = _RECORDS[row["kind"]](**meta)
    return record


def pack_ahead(job: Job, first: int, stop: int) -> Row:
    """A prefetch request for units of a job (pipeline.stage.Prefetch), as a row of the same shape."""
    meta = to_text({"job": job.model_dump(mode="json"), "first": first, "stop": stop})
    return {"kind": "ahead", "job_id": job.id, "meta": meta, "blob": b""}


def unpack_ahead(row: Mapping[str, Any]) -> tuple[Job, int, int] | None:
    """The arguments of pack_ahead; None for any other row."""
    if row["kind"] != "ahead":
        return None
    meta = from_text(row["meta"])
    return Job.model_validate(meta["job"]), meta["first"], meta["stop"]


def _split(fields: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
    plain: dict[str, Any] = {}
    arrays: dict[str, tuple[str, list[int], int]] = {}
    pieces: list[bytes] = []
    offset = 0
    for name, value in fields.items():
        if not isinstance(value, np.ndarray):
            plain[name] = value
            continue
        padding = -offset % _ALIGN
        data = value.tobytes()
        pieces += [b"\0" * padding, data]
        arrays[name] = (value.dtype.str, list(value.shape), offset + padding)
        offset += padding + len(data)
    return {"plain": plain, "arrays": arrays}, b"".join(pieces)


def _join(meta: Mapping[str, Any], blob: bytes) -> dict[str, Any]:
    fields = dict(meta["plain"])
    for name, (dtype, shape, offset) in meta["arrays"].items():
        count = int(np.prod(shape, dtype=np.int64))
        fields[name] = np.frombuffer(blob, np.dtype(dtype), count, offset).reshape(shape)
    return fields
