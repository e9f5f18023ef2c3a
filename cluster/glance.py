"""Cheap checks of a job's files before any work starts.

Nothing is decoded: a file that crashes a decoder must not end the driver.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable

from raydub.errors import Code, InputError, RaydubError, StageError, UsageError
from raydub.manifests.job import Job
from raydub.manifests.paths import is_remote
from raydub.media.writable import check_folder, check_replaceable
from raydub.objects.names import is_object
from raydub.places import PathLike, refuse_work_folder

_SCRIPTS = frozenset({".srt", ".vtt", ".ass", ".ssa", ".txt"})
_NO_MEDIA = _SCRIPTS | {
    ".json",
    ".jsonl",
    ".ndjson",
    ".csv",
    ".parquet",
    ".md",
    ".html",
    ".pdf",
    ".doc",
    ".docx",
    ".zip",
}
_SOUND = frozenset({".wav", ".mp3", ".m4a", ".aac", ".flac", ".ogg", ".opus", ".mp4", ".mov", ".mkv", ".webm"})
_MEDIA = ("video", "audio", "bed_audio")


class Glance:
    """Checks jobs, each file and folder once.

    here: the work runs on this machine; otherwise files that are missing here may exist there."""

    def __init__(self, work_dir: PathLike, here: bool) -> None:
        self._work_dir = work_dir
        self._here = here
        self._files: dict[tuple[str, str], RaydubError | None] = {}
        self._folders: dict[str, RaydubError | None] = {}

    def problem(self, job: Job) -> RaydubError | None:
        """The first error of the job's files: InputError INPUT_*, SCRIPT_*; StageError OUTPUT_ESCAPES, STORAGE,
        DISK_FULL for its output. None if none is found here."""
        try:
            for field, path in job.inputs().items():
                if is_object(path) or not is_remote(path):
                    self._input(field, path)
            self._output(job.output)
        except OSError:
            return None
        except RaydubError as error:
            # A copy for each job, with its line.
            return copy.copy(error).at(job=job.id, line=job.line)
        return None

    def _input(self, field: str, path: str) -> None:
        kind = field.partition(":")[0]
        key = (kind, path)
        if key not in self._files:
            self._files[key] = _caught(lambda: self._look(kind, path))
        _raise(self._files[key])

    def _look(self, kind: str, path: str) -> None:
        if kind == "voice":
            return  # weights: checked by admission
        if not self._here and not is_object(path) and not os.path.lexists(path):
            return
        suffix = os.path.splitext(path)[1].lower()
        what = {"audio": "speech", "face": "reference picture", "speakers": "reference picture"}.get(kind, kind)
        if is_object(path) and kind != "script":
            _check_object(path, what)
            return
        if kind == "script":
            if suffix in _SOUND and os.path.isfile(path):
                hint = "set 'audio' to a sound file"
                raise InputError(Code.SCRIPT_UNREADABLE, f"script {path} is not a text file: {suffix}", hint=hint)
            from raydub.tts.scripts.read import read_script

            read_script(path)
            return
        if kind == "video" and os.path.isdir(path):
            _check_images(path)
            return
        from raydub.media.info import ProbeLimits
        from raydub.media.opening import check_file

        check_file(path, ProbeLimits(), what)
        if kind in _MEDIA and suffix in _NO_MEDIA:
            hint = "set 'script' to a script" if suffix in _SCRIPTS else f"give a file with {_holds(kind)}"
            raise InputError(Code.INPUT_FORMAT, f"{what} {path} is not a media file: {suffix}", hint=hint)

    def _output(self, output: str) -> None:
        try:
            refuse_work_folder(output, "output", self._work_dir)
        except UsageError as error:
            raise StageError(error.code, error.message, hint=error.hint, field="output") from None
        folder = os.path.dirname(output)
        if folder not in self._folders:
            self._folders[folder] = _caught(lambda: check_folder(folder))
        try:
            _raise(self._folders[folder])
            check_replaceable(output)
        except StageError as error:
            raise error.at(field="output") from error.__cause__


def _check_object(path: str, what: str) -> None:
    """Only its size: reading it is the workers' business."""
    from raydub.media.info import ProbeLimits
    from raydub.objects.near import pin

    size, most = pin(path, what).size, ProbeLimits().max_bytes
    if size == 0:
        raise InputError(Code.INPUT_EMPTY, f"{what} {path} is empty (0 bytes)")
    if size > most:
        raise InputError(Code.INPUT_LIMIT, f"{what} {path} has {size} bytes, more than {most}")


def _check_images(path: str) -> None:
    from raydub.media.images import list_images
    from raydub.media.info import ProbeLimits

    try:
        list_images(path, ProbeLimits())
    except OSError as error:
        raise InputError(Code.INPUT_UNREADABLE, f"folder {path} cannot be read: {error.strerror or error}") from error


def _holds(kind: str) -> str:
    return "a picture" if kind == "video" else "sound"


def _caught(call: Callable[[], None]) -> RaydubError | None:
    try:
        call()
    except RaydubError as error:
        return error
    return None


def _raise(error: RaydubError | None) -> None:
    if error is not None:
        raise error
