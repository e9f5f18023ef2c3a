"""Each user's own folder. A user is a browser with a secret in a cookie; the folder's name is a hash of it, so neither
can be guessed nor one be got from a listing of the folder.

    rooms/<hash>/files/<id>/<name>     what was uploaded or typed
    rooms/<hash>/runs/<id>/            see cluster.ui.seen

Ids are random; names of users are only the last part of a path, and only after safe_name().
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from raydub.errors import Code, InputError, StageError, UsageError

ID_BYTES = 12
_ID = re.compile(r"[0-9a-f]{24}")
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")
_MOST_NAME = 80
VIDEO = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".m4v", ".ts", ".mts", ".mxf"})
SOUND = frozenset({".wav", ".mp3", ".m4a", ".aac", ".flac", ".ogg", ".opus", ".aiff", ".aif"})
SCRIPT = frozenset({".srt", ".vtt", ".ass", ".txt", ".json", ".jsonl"})
_SPARE = 256 << 20
"""Bytes that stay free on the disk."""


def new_secret() -> str:
    """A user's secret: 32 random bytes as text."""
    return secrets.token_urlsafe(32)


def is_secret(text: str | None) -> bool:
    """Whether the text has the form of a user's secret."""
    return text is not None and _SECRET.fullmatch(text) is not None


def new_id() -> str:
    """A name that nobody guesses."""
    return secrets.token_hex(ID_BYTES)


def is_id(text: object) -> bool:
    """Whether the text has the form of an id."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def safe_name(name: str, suffixes: frozenset[str]) -> str:
    """A file name for a user's file: its last part, without characters that mean something in a path or a terminal.
    Raises InputError INPUT_FORMAT if it does not end in one of the suffixes."""
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    stem, dot, suffix = last.rpartition(".")
    suffix = f".{suffix.lower()}" if dot else ""
    if suffix not in suffixes:
        hint = f"give a file that ends in {', '.join(sorted(suffixes))}"
        raise InputError(Code.INPUT_FORMAT, f"{last[:_MOST_NAME]!r} is no kind of file that fits here", hint=hint)
    stem = "".join(one if one.isalnum() or one in "-_ " else "_" for one in stem).strip("_ ") or "file"
    while len(os.fsencode(stem)) > _MOST_NAME:
        stem = stem[:-1]
    return stem + suffix


def check_room(folder: Path, size: int) -> None:
    """Raises StageError DISK_FULL if `size` bytes more would not leave the disk enough room."""
    free = shutil.disk_usage(folder).free
    if free - size < _SPARE:
        message = f"the disk has {free >> 20} MiB left, and {size >> 20} MiB more would not fit"
        raise StageError(Code.DISK_FULL, message, hint="remove earlier runs, or ask who runs this page")


@dataclass(frozen=True)
class Kept:
    """A file of a user. kind: "video", "sound" or "script"."""

    id: str
    path: Path
    kind: str

    @property
    def name(self) -> str:
        """Its name for people."""
        return self.path.name


class Room:
    """The folder of one user, made when it is first used. Raises UsageError FIELD_VALUE for what is no secret."""

    def __init__(self, folder: Path, secret: str) -> None:
        if not is_secret(secret):
            raise UsageError(Code.FIELD_VALUE, "this browser has no valid cookie", hint="load the page again")
        self.path = folder / "rooms" / hashlib.sha256(secret.encode()).hexdigest()

    def keep(self, name: str, data: bytes, suffixes: frozenset[str]) -> Kept:
        """Keep an uploaded file under an id of its own. Raises InputError INPUT_FORMAT or INPUT_EMPTY, StageError
        DISK_FULL or STORAGE."""
        name = safe_name(name, suffixes)
        if not data:
            raise InputError(Code.INPUT_EMPTY, f"{name} is empty (0 bytes)")
        own = self._made("files") / new_id()
        check_room(own.parent, len(data))
        own.mkdir(mode=0o700)
        try:
            (own / name).write_bytes(data)
        except OSError as error:
            shutil.rmtree(own, ignore_errors=True)  # a part of a file is not offered
            message = f"{name} could not be kept: {error.strerror}"
            code = Code.DISK_FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else Code.STORAGE
            raise StageError(code, message, hint="remove earlier runs, or ask who runs this page") from error
        return Kept(own.name, own / name, kind_of(name))

    def files(self, kind: str) -> list[Kept]:
        """The user's files of a kind, the latest first."""
        found = [
            Kept(own.name, path, kind)
            for own in self._listed("files")
            for path in sorted(own.iterdir())
            if kind_of(path.name) == kind and path.is_file() and not path.is_symlink()
        ]
        return sorted(found, key=lambda one: one.path.stat().st_mtime, reverse=True)

    def file(self, file_id: str) -> Kept:
        """A file by its id. Raises UsageError NO_RUN."""
        for kind in ("video", "sound", "script"):
            for one in self.files(kind) if is_id(file_id) else ():
                if one.id == file_id:
                    return one
        raise UsageError(Code.NO_RUN, "there is no such file of yours", hint="upload it again")

    def new_run(self) -> Path:
        """The folder of a new run."""
        path = self._made("runs") / new_id()
        path.mkdir(mode=0o700)
        return path

    def runs(self) -> list[Path]:
        """Folders of the user's runs, the latest first."""
        return sorted(self._listed("runs"), key=lambda path: path.stat().st_mtime, reverse=True)

    def run(self, run_id: str) -> Path:
        """The folder of a run. Raises UsageError NO_RUN for anything that is not one of the user's."""
        path = self.path / "runs" / run_id if is_id(run_id) else None
        if path is None or path.is_symlink() or not path.is_dir():
            raise UsageError(Code.NO_RUN, "there is no such run of yours", hint="choose one of the list")
        return path

    def remove_run(self, run_id: str) -> None:
        """Remove a run with all its files."""
        shutil.rmtree(self.run(run_id), ignore_errors=True)

    def _made(self, what: str) -> Path:
        for folder in (self.path.parent, self.path, self.path / what):
            folder.mkdir(mode=0o700, exist_ok=True)
        return self.path / what

    def _listed(self, what: str) -> list[Path]:
        path = self.path / what
        return [one for one in path.iterdir() if is_id(one.name) and one.is_dir()] if path.is_dir() else []


def kind_of(name: str) -> str:
    """ "video", "sound", "script", or "" for other names."""
    suffix = os.path.splitext(name)[1].lower()
    return "video" if suffix in VIDEO else "sound" if suffix in SOUND else "script" if suffix in SCRIPT else ""
