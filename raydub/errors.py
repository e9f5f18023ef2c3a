"""The one exception tree, and the stable codes that users, tests and result manifests see.

RaydubError
├── UsageError         the call or the manifest is wrong            exit 2
├── DependencyError    a program, package or weights file is absent exit 3
├── InputError         this job's video or speech cannot be used    job fails, others continue
├── StageError         work on a good input failed                  job fails, others continue
└── InterruptedRun     the user stopped the run                     exit 130
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, ClassVar

EXIT_OK = 0
EXIT_SOME_FAILED = 1
EXIT_USAGE = 2
EXIT_DEPENDENCY = 3
EXIT_INTERRUPTED = 130


class Code(StrEnum):
    """Stable error codes. A code is never renamed or given a second meaning."""

    # manifest and command line
    MANIFEST_UNREADABLE = "E_MANIFEST_UNREADABLE"
    MANIFEST_EMPTY = "E_MANIFEST_EMPTY"
    MANIFEST_SYNTAX = "E_MANIFEST_SYNTAX"
    FIELD_UNKNOWN = "E_FIELD_UNKNOWN"
    FIELD_MISSING = "E_FIELD_MISSING"
    FIELD_VALUE = "E_FIELD_VALUE"
    FIELD_CONFLICT = "E_FIELD_CONFLICT"
    NOT_BUILT = "E_NOT_BUILT"
    CONSENT = "E_CONSENT"
    ID_DUPLICATE = "E_ID_DUPLICATE"
    OUTPUT_DUPLICATE = "E_OUTPUT_DUPLICATE"
    OUTPUT_ESCAPES = "E_OUTPUT_ESCAPES"
    OUTPUT_FORMAT = "E_OUTPUT_FORMAT"
    OUTPUT_EXISTS = "E_OUTPUT_EXISTS"
    OUTPUT_BUSY = "E_OUTPUT_BUSY"
    URI_SCHEME = "E_URI_SCHEME"
    URI_DENIED = "E_URI_DENIED"
    # jobs of a cluster
    JOB_UNKNOWN = "E_JOB_UNKNOWN"
    JOB_STATE = "E_JOB_STATE"
    JOB_REFUSED = "E_JOB_REFUSED"
    NO_RUN = "E_NO_RUN"
    NO_RESULTS = "E_NO_RESULTS"
    # inputs
    INPUT_MISSING = "E_INPUT_MISSING"
    INPUT_EMPTY = "E_INPUT_EMPTY"
    INPUT_UNREADABLE = "E_INPUT_UNREADABLE"
    INPUT_FORMAT = "E_INPUT_FORMAT"
    INPUT_PLAYLIST = "E_INPUT_PLAYLIST"
    INPUT_TRUNCATED = "E_INPUT_TRUNCATED"
    INPUT_LIMIT = "E_INPUT_LIMIT"
    INPUT_CHANGED = "E_INPUT_CHANGED"
    FETCH_FAILED = "E_FETCH_FAILED"
    VIDEO_NO_STREAM = "E_VIDEO_NO_STREAM"
    VIDEO_NO_FRAMES = "E_VIDEO_NO_FRAMES"
    VIDEO_DIMENSIONS = "E_VIDEO_DIMENSIONS"
    VIDEO_TOO_SHORT = "E_VIDEO_TOO_SHORT"
    VIDEO_NO_SOUND = "E_VIDEO_NO_SOUND"
    SPEECH_NO_STREAM = "E_SPEECH_NO_STREAM"
    SPEECH_EMPTY = "E_SPEECH_EMPTY"
    SPEECH_SILENT = "E_SPEECH_SILENT"
    FACE_NONE = "E_FACE_NONE"
    FACE_MISSING = "E_FACE_MISSING"
    REFERENCE_FACE = "E_REFERENCE_FACE"
    # scripts and speech from text
    SCRIPT_UNREADABLE = "E_SCRIPT_UNREADABLE"
    SCRIPT_EMPTY = "E_SCRIPT_EMPTY"
    SCRIPT_CUE = "E_SCRIPT_CUE"
    VOICE_UNKNOWN = "E_VOICE_UNKNOWN"
    SPEAKER_UNKNOWN = "E_SPEAKER_UNKNOWN"
    TTS_FAILED = "E_TTS_FAILED"
    SPEECH_OVERFLOW = "E_SPEECH_OVERFLOW"
    # dependencies and weights
    DEPENDENCY_MISSING = "E_DEPENDENCY_MISSING"
    WEIGHTS_MISSING = "E_WEIGHTS_MISSING"
    WEIGHTS_REFUSED = "E_WEIGHTS_REFUSED"
    WEIGHTS_HASH = "E_WEIGHTS_HASH"
    WEIGHTS_LAYOUT = "E_WEIGHTS_LAYOUT"
    LICENCE = "E_LICENCE"
    SIGNER = "E_SIGNER"
    CLUSTER_UNREACHABLE = "E_CLUSTER_UNREACHABLE"
    CLUSTER_DENIED = "E_CLUSTER_DENIED"
    NO_GPU = "E_NO_GPU"
    # object stores
    BUCKET_MISSING = "E_BUCKET_MISSING"
    STORE_DENIED = "E_STORE_DENIED"
    CREDENTIALS = "E_CREDENTIALS"
    STORE_PROTOCOL = "E_STORE_PROTOCOL"
    # work
    OUT_OF_MEMORY = "E_OUT_OF_MEMORY"
    ENCODE_FAILED = "E_ENCODE_FAILED"
    VERIFY_FAILED = "E_VERIFY_FAILED"
    STRICT = "E_STRICT"
    STITCH_FAILED = "E_STITCH_FAILED"
    STORAGE = "E_STORAGE"
    DISK_FULL = "E_DISK_FULL"
    TIMEOUT = "E_TIMEOUT"
    WORKER_LOST = "E_WORKER_LOST"
    STALLED = "E_STALLED"
    QUARANTINED = "E_QUARANTINED"
    INTERRUPTED = "E_INTERRUPTED"
    INTERNAL = "E_INTERNAL"


class RaydubError(Exception):
    """Base of everything raydub raises on purpose.

    `message` says what is wrong and names the object; `hint` says what to do. `job`, `line` and `field` place the error
    in a manifest; at() fills them in. Instances can be pickled (Ray sends them).
    """

    exit_code: ClassVar[int] = EXIT_SOME_FAILED

    def __init__(
        self,
        code: Code,
        message: str,
        *,
        hint: str = "",
        job: str | None = None,
        line: int | None = None,
        field: str | None = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.job = job
        self.line = line
        self.field = field
        self.retryable = retryable

    def at(self, *, job: str | None = None, line: int | None = None, field: str | None = None) -> RaydubError:
        """Set those of job, line and field that are not set yet, and return self."""
        self.job = self.job if self.job is not None else job
        self.line = self.line if self.line is not None else line
        self.field = self.field if self.field is not None else field
        return self

    def __str__(self) -> str:
        where = [f"job {self.job!r}"] if self.job else []
        where += [f"line {self.line}"] if self.line is not None else []
        where += [f"field {self.field!r}"] if self.field else []
        place = f"{', '.join(where)}: " if where else ""
        way_out = f" ({self.hint})" if self.hint else ""
        return f"[{self.code}] {place}{self.message}{way_out}"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form, as in results manifests and `--json` output."""
        return {
            "code": str(self.code),
            "message": self.message,
            "hint": self.hint,
            "job": self.job,
            "line": self.line,
            "field": self.field,
            "retryable": self.retryable,
        }

    def __reduce__(self) -> Any:
        return _rebuild, (type(self), self.to_dict())


def _rebuild(cls: type[RaydubError], state: Mapping[str, Any]) -> RaydubError:
    return cls(**{**state, "code": Code(state["code"])})


def rebuilt(kind: str, state: Mapping[str, Any]) -> RaydubError:
    """The error of a to_dict() and the name of its class; a StageError for an unknown class."""
    return _rebuild(globals().get(kind, StageError), state)


class UsageError(RaydubError):
    """The command line or the manifest is wrong; nothing was started."""

    exit_code = EXIT_USAGE


class DependencyError(RaydubError):
    """A program, a package, a cluster or a weights file that the work needs is absent or refused."""

    exit_code = EXIT_DEPENDENCY


class InputError(RaydubError):
    """The job's own video or speech cannot be used. The job fails; others continue."""


class StageError(RaydubError):
    """Work on a good input failed. The job fails; others continue."""


class InterruptedRun(RaydubError):
    """The user stopped the run. Finished work is kept, and the next run continues from it."""

    exit_code = EXIT_INTERRUPTED
