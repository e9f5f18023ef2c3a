"""What is already done, as files in the job's folder.

A part file is published by the render stage (temporary name, verified by decoding, fsync, os.replace); its marker, a
small JSON file, follows. A part counts as done when its marker is whole and names the very bytes that are there; else
the chunk is done again, which gives the same frames. Folder of a job (`<work_dir>/jobs/<job key>/`):

    parts/<index>-<part key>.mp4, .json       finished chunks; the key covers all that decides their frames. Chunks that
                                              say where their parts are to lie (Chunk.parts_dir) share them with others
    done-<output key>.json                    the job's result, once the output is published

Any number of workers and runs may publish the same part: whichever is last, file and marker agree in the end. Nothing
here depends on a clock, nor on the order of modification times.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from media.publish import storage_error, sweep
from pipeline.records import read_record, write_record
from stages.types import STAGE_VERSION, Chunk, Gate, Part

PART_FORMAT = 3
"""Raised when parts and markers are written in another way than before, so that old ones are not read."""

_DIGEST_SPAN = 1 << 20
_TRIES = 5


@dataclass(frozen=True)
class Ledger:
    """The records of one job. job_dir is named by the job's key: a hash of the content of the inputs, of the options,
    the engine and its weights, and of stages.types.PLAN_VERSION."""

    job_dir: str

    def part_path(self, chunk: Chunk) -> Path:
        """Where the part of `chunk` lies once it is finished."""
        start, stop = chunk.span
        if chunk.key:
            said: list[Any] = [PART_FORMAT, STAGE_VERSION, chunk.key]
            name = f"{start:08d}"
        else:
            said = [PART_FORMAT, STAGE_VERSION, Path(self.job_dir).name, chunk.index, chunk.n_chunks, start, stop]
            name = f"{chunk.index:06d}"
        key = hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]
        return Path(chunk.parts_dir or self._parts()) / f"{name}-{key}.mp4"

    def finished_parts(self, chunks: Iterable[Chunk]) -> dict[int, Part]:
        """The parts that are done, by the chunk's index. One listing of a folder, then a look into each pair."""
        found: dict[int, Part] = {}
        listed: dict[Path, set[str]] = {}
        for chunk in chunks:
            path = self.part_path(chunk)
            if path.parent not in listed:
                listed[path.parent] = _listing(path.parent)
            there = listed[path.parent]
            if path.name in there and path.with_suffix(".json").name in there:
                part = self.finished_part(chunk)
                if part is not None:
                    found[chunk.index] = part
        return found

    def finished_part(self, chunk: Chunk) -> Part | None:
        """The published part of `chunk`; None when there is none, or its file is not the one that its marker names.
        Reads the whole file: a part may be damaged years after it was made."""
        path = self.part_path(chunk)
        marker = read_record(path.with_suffix(".json"))
        if marker is None or marker.get("frames") != len(chunk.span) or marker.get("stage_version") != STAGE_VERSION:
            return None
        try:
            if path.stat().st_size != marker["bytes"] or _sha256(path) != marker["sha256"]:
                return None
            synthesised, faceless, attempt = (int(marker[name]) for name in ("synthesised", "faceless", "attempt"))
            gates = tuple(Gate(*gate) for gate in marker["gates"])
        except (OSError, KeyError, TypeError, ValueError):
            return None
        frames = marker["frames"]
        return Part(chunk, str(path), frames, synthesised, faceless, {}, reused=True, attempt=attempt, gates=gates)

    def publish_part(self, part: Part, run_id: str = "") -> None:
        """Write the marker of a part whose file is already at its place.

        Another worker may publish the same part at the same time: the marker is written again until it names the file
        that is there. Raises StageError STORAGE or DISK_FULL.
        """
        path = Path(part.path)
        for _ in range(_TRIES):
            try:
                before = _which(path)
                digest = _sha256(path)
                marker = {
                    "frames": part.frames,
                    "synthesised": part.synthesised,
                    "faceless": part.faceless,
                    "attempt": part.attempt,
                    "gates": part.gates,
                    "run": run_id,
                    "host": socket.gethostname(),
                    "seconds": dict(part.seconds),
                    "stage_version": STAGE_VERSION,
                    "bytes": before[1],
                    "sha256": digest,
                }
                write_record(path.with_suffix(".json"), marker)
                if _which(path) == before:
                    return
            except OSError as error:
                raise storage_error(error, str(path)) from error

    def finished_job(self, output: str) -> dict[str, Any] | None:
        """The stored result of this job for `output`, when that file is still the one that was published."""
        record = read_record(self._done_path(output))
        if record is None or record.get("output_digest") != output_digest(output):
            return None
        result = record.get("result")
        return result if isinstance(result, dict) else None

    def publish_job(self, output: str, result: Mapping[str, Any], parts: Iterable[Part] = ()) -> None:
        """Record that `output` is published and what came of the job, and sweep what dead workers left in the folder,
        and beside its parts. Raises StageError STORAGE or DISK_FULL, also when the output is gone."""
        digest = output_digest(output)
        if digest is None:
            raise storage_error(FileNotFoundError(2, "the output is gone"), output)
        write_record(self._done_path(output), {"output_digest": digest, "result": dict(result)})
        self.sweep(parts)

    def sweep(self, parts: Iterable[Part] = ()) -> list[str]:
        """Remove temporary files of dead writers; returns their names. Never raises."""
        folders = {Path(self.job_dir), self._parts(), *(Path(part.path).parent for part in parts)}
        return [name for folder in sorted(folders) for name in sweep(folder)]

    def _parts(self) -> Path:
        return Path(self.job_dir) / "parts"

    def _done_path(self, output: str) -> Path:
        key = hashlib.sha256(os.path.abspath(output).encode("utf-8", "surrogatepass")).hexdigest()[:16]
        return Path(self.job_dir) / f"done-{key}.json"


def _listing(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except OSError:
        return set()


def output_digest(path: str | Path) -> str | None:
    """Size and a hash of the first and last MiB: tells an output from another one without reading all of it. None
    where the file cannot be read."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest = hashlib.sha256(file.read(_DIGEST_SPAN))
            file.seek(max(0, size - _DIGEST_SPAN))
            digest.update(file.read(_DIGEST_SPAN))
    except OSError:
        return None
    return f"{size}-{digest.hexdigest()}"


def _which(path: Path) -> tuple[int, int, int]:
    """Changes whenever another file takes the place of this one."""
    state = path.stat()
    return state.st_ino, state.st_size, state.st_mtime_ns


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
