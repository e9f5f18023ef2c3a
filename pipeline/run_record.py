"""The record of a run's state as it is read: by another version of raydub than the one that wrote it, or written by
somebody else. What an older one does not say has a default; what a newer one says besides is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())


class _Counts(_Part):
    ok: int = 0
    failed: int = 0
    quarantined: int = 0
    skipped: int = 0
    running: int = 0
    waiting: int = 0


class _Frames(_Part):
    planned: int = 0
    done: int = 0
    reached: int = 0


class _Stage(_Part):
    stage: str
    frames: int = 0
    seconds: float = 0.0
    working: int = 0
    share: float | None = None


class _OpenJob(_Part):
    id: str
    frames: int | None = None
    done: int = 0
    chunks: int | None = None
    parts: int = 0
    stage: str | None = None
    share: float | None = None


class _Failure(_Part):
    id: str
    line: int | None = None
    status: str = "failed"
    error_code: str | None = None
    error_message: str | None = None
    hint: str | None = None


class _Record(_Part):
    status: str
    beat: int = 0
    ray_job: str = ""
    folder: str = ""
    host: str = ""
    pid: int = 0
    born: str = ""
    rows: int = 0
    counts: _Counts = _Counts()
    jobs: tuple[_OpenJob, ...] = ()
    jobs_left_out: int = 0
    failures: tuple[_Failure, ...] = ()
    failures_left_out: int = 0
    frames: _Frames = _Frames()
    unplanned: int = 0
    speed: float = 0.0
    eta: float | None = None
    share: float | None = None
    elapsed: float = 0.0
    stages: tuple[_Stage, ...] = ()
    files: tuple[str, ...] = ()


def whole(found: Mapping[str, Any]) -> dict[str, Any]:
    """The record with all fields, JSON-ready. Raises ValueError, with the field, for what is not the record of a
    run."""
    try:
        return _Record.model_validate(found).model_dump(mode="json")
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
