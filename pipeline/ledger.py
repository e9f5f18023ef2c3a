"""Files are the truth: where a job's parts lie, which of them are finished, and whether the whole job is.

A part file is published by the render stage (temporary name, verified, fsync, os.replace); its marker, a small JSON
file beside it, is written afterwards in the same way. A part counts as finished when its marker and its file are both
there and agree. The key in a part's name is a hash of everything that decides its frames, so a changed option or model
never meets an old part.

Layout of a job's folder:
    parts/<index>-<key>.mp4, .json        finished parts and their markers
    done-<key of the output path>.json    the job's result, once the output is published
    failed/<run>                          this run has given the job up: workers skip its remaining chunks
Claims of attempts and quarantine (`attempts/<index>.<n>`) belong here too, when fault handling is built.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.types import Chunk, Part

# Raised whenever parts made by an earlier version must not be mixed with new ones.
PART_FORMAT = 1
_DIGEST_SPAN = 1 << 20


@dataclass(frozen=True)
class Ledger:
    """The records of one job. job_dir is named by the job's key, which covers inputs, options, engine and weights."""

    job_dir: str

    def part_path(self, chunk: Chunk) -> Path:
        """Where the part of `chunk` lies once it is finished."""
        said = [PART_FORMAT, Path(self.job_dir).name, chunk.index, chunk.n_chunks, chunk.span.start, chunk.span.stop]
        key = hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]
        return Path(self.job_dir) / "parts" / f"{chunk.index:06d}-{key}.mp4"

    def finished_part(self, chunk: Chunk) -> Part | None:
        """The published part of `chunk`, or None when there is none, or its marker and file disagree."""
        path = self.part_path(chunk)
        marker = _read_json(path.with_suffix(".json"))
        if marker is None or not path.is_file() or path.stat().st_size != marker.get("bytes"):
            return None
        if marker.get("frames") != len(chunk.span):
            return None
        return Part(chunk, str(path), marker["frames"], marker["synthesised"], marker["faceless"], {}, reused=True)

    def publish_part(self, part: Part) -> None:
        """Write the marker of a part whose file is already at its place."""
        path = Path(part.path)
        marker = {
            "frames": part.frames,
            "synthesised": part.synthesised,
            "faceless": part.faceless,
            "seconds": dict(part.seconds),
            "host": socket.gethostname(),
            "bytes": path.stat().st_size,
            "sha256": _sha256(path),
        }
        write_json(path.with_suffix(".json"), marker)

    def finished_job(self, output: str) -> dict[str, Any] | None:
        """The stored result of this job for `output`, when that file is still the one that was published."""
        record = _read_json(self._done_path(output))
        path = Path(output)
        if record is None or not path.is_file() or record.get("output_digest") != output_digest(path):
            return None
        result = record.get("result")
        return result if isinstance(result, dict) else None

    def publish_job(self, output: str, result: Mapping[str, Any]) -> None:
        """Record that `output` is published and what came of the job."""
        write_json(self._done_path(output), {"output_digest": output_digest(Path(output)), "result": dict(result)})

    def give_up(self, run_id: str) -> None:
        """Tell all workers of this run that the job has failed."""
        folder = Path(self.job_dir) / "failed"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / run_id).touch()

    def given_up(self, run_id: str) -> bool:
        """Has some worker of this run given the job up?"""
        return (Path(self.job_dir) / "failed" / run_id).exists()

    def _done_path(self, output: str) -> Path:
        key = hashlib.sha256(os.path.abspath(output).encode("utf-8", "surrogatepass")).hexdigest()[:16]
        return Path(self.job_dir) / f"done-{key}.json"


def output_digest(path: Path) -> str:
    """Size and a hash of the first and last MiB: tells an output from another one without reading all of it."""
    size = path.stat().st_size
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        digest.update(file.read(_DIGEST_SPAN))
        file.seek(max(0, size - _DIGEST_SPAN))
        digest.update(file.read(_DIGEST_SPAN))
    return f"{size}-{digest.hexdigest()}"


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file so that a reader sees the whole of it or nothing, even after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.tmp")
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _read_json(path: Path) -> dict[str, Any] | None:
    # A marker that cannot be read is no marker: the work is done again, which is always right.
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
