"""Checks that a command does not overwrite its inputs, under any name, link or case.

Two paths are the same place if they resolve to the same path up to case and Unicode form (some file systems fold both),
or to the same inode (hard links, bind mounts, a folder that is mounted twice).
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Collection, Mapping
from pathlib import Path, PurePath, PurePosixPath

from raydub.errors import Code, UsageError
from raydub.objects.names import is_object, prefix

WORK_FOLDER = ".raydub"
"""Default name of the folder for plans, tracks and parts."""

PathLike = str | os.PathLike[str]


def folded(text: str) -> str:
    """The same text for all spellings that a case-folding, Unicode-normalising file system treats as equal."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


class ObjectPath(PurePosixPath):
    """A path in a bucket: as text it is an address."""

    def __str__(self) -> str:
        scheme, colon, rest = super().__str__().partition(":/")
        return f"{scheme.lower()}://{rest}" if colon else scheme

    def __fspath__(self) -> str:
        return str(self)


def path_at(text: PathLike, field: str = "") -> PurePath:
    """A Path, or an ObjectPath for the address of a folder or object. Raises UsageError FIELD_VALUE for an address that
    is none."""
    said = os.fspath(text)
    return ObjectPath(prefix(said, field)) if is_object(said) else Path(said)


def absolute(path: PathLike) -> str:
    """The absolute path; an address of an object unchanged."""
    text = os.fspath(path)
    return text if is_object(text) else os.path.abspath(text)


def real(path: PathLike, field: str = "") -> PurePath:
    """A path after following links; an address of a folder or an object unchanged. Raises UsageError FIELD_VALUE for an
    address that is none."""
    text = os.fspath(path)
    return path_at(text, field) if is_object(text) else Path(os.path.realpath(text))


def exists(path: PathLike) -> bool:
    """Whether there is a file, or an object at an address. Raises for an object what raydub.objects.bucket raises."""
    if is_object(os.fspath(path)):
        from raydub.objects.near import head

        return head(os.fspath(path)) is not None
    return os.path.exists(path)


class Inputs:
    """Files and folders that a command reads. Compares names and inodes; opens nothing."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._files: dict[tuple[int, int], str] = {}
        self._folders: dict[str, tuple[str, str, frozenset[str]]] = {}
        self._known: set[str] = set()

    def add(self, what: str, path: PathLike) -> None:
        """Add a file that is read; it need not exist. what: its name in messages, such as "the manifest"."""
        text = os.fspath(path)
        if text in self._known:
            return
        self._known.add(text)
        self._names.setdefault(_name(text), what)
        inode = _inode(text)
        if inode is not None:
            self._files.setdefault(inode, what)

    def add_folder(self, what: str, path: PathLike, suffixes: Collection[str]) -> None:
        """Add a folder of which every file with one of these suffixes (lower case, with the dot) is read."""
        text = os.fspath(path)
        if text not in self._known:
            self.add(what, text)
            self._folders[_name(text)] = (what, text, frozenset(suffixes))

    def at(self, path: PathLike) -> str | None:
        """The `what` of the input that writing to `path` would overwrite or change, or None."""
        text = os.fspath(path)
        found = self._names.get(_name(text))
        inode = _inode(text)
        if found is None and inode is not None:
            found = self._files.get(inode) or self._linked(text, inode)
        if found is not None:
            return found
        folder = self._folders.get(_name(os.path.dirname(absolute(text))))
        if folder is not None and os.path.splitext(text)[1].lower() in folder[2]:
            return f"a file in {folder[0]}"
        return None

    def in_folder(self, folder: PathLike, numbered: Collection[str]) -> str | None:
        """The same for a folder into which files named 000123.SUFFIX are written, with one of the suffixes
        `numbered`."""
        goal = _name(os.fspath(folder))
        for name, what in self._names.items():
            stem, suffix = os.path.splitext(os.path.basename(name))
            if name == goal or (os.path.dirname(name) == goal and stem.isdecimal() and suffix in numbered):
                return what
        inode = _inode(os.fspath(folder))
        return self._files.get(inode) if inode is not None else None

    def _linked(self, text: str, inode: tuple[int, int]) -> str | None:
        """The input folder that contains a hard link to `text`, or None."""
        if not self._folders or os.stat(text).st_nlink < 2:
            return None
        for what, folder, suffixes in self._folders.values():
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.inode() == inode[1] and os.path.splitext(entry.name)[1].lower() in suffixes:
                        return f"a file in {what}"
        return None


def refuse_overwriting(
    written: Mapping[str, PathLike | None], inputs: Inputs, work_dir: PathLike | None = None
) -> None:
    """Check files to be written, by the option that names them (None is skipped). Raises UsageError FIELD_CONFLICT if
    one is an input or two are the same file, OUTPUT_ESCAPES for one in raydub's own work folder (.raydub or
    `work_dir`)."""
    goals: dict[str, str] = {}
    for option, path in written.items():
        if path is None:
            continue
        refuse_work_folder(path, option, work_dir)
        found = inputs.at(path)
        if found is not None:
            raise overwrites(path, option, found)
        other = goals.setdefault(_name(os.fspath(path)), option)
        if other != option:
            message = f"{os.fspath(path)!r} would be written twice, as {other!r} and as {option!r}"
            raise UsageError(Code.FIELD_CONFLICT, message, field=option, hint="choose another name")


def overwrites(path: PathLike, option: str, found: str) -> UsageError:
    """The error for an output that is an input. found: Inputs.at()."""
    message = f"{os.fspath(path)!r} is {found} and would be overwritten"
    return UsageError(Code.FIELD_CONFLICT, message, field=option, hint="choose another name")


def refuse_work_folder(path: PathLike, option: str, work_dir: PathLike | None = None) -> None:
    """Raise UsageError OUTPUT_ESCAPES for a path in a folder named .raydub or in `work_dir`: raydub removes unknown
    files there."""
    real = PurePath(_real(path))
    inside = any(part.casefold() == WORK_FOLDER for part in real.parts)
    if work_dir is not None:
        inside = inside or PurePath(_real(work_dir)) in (real, *real.parents)
    if inside:
        raise UsageError(
            Code.OUTPUT_ESCAPES,
            f"{os.fspath(path)!r} is, or is in, raydub's own work folder",
            field=option,
            hint="choose another folder for it",
        )


def same_place(one: PathLike, other: PathLike) -> bool:
    """Whether both paths are the same place. Neither needs to exist."""
    if _name(os.fspath(one)) == _name(os.fspath(other)):
        return True
    inode = _inode(os.fspath(one))
    return inode is not None and inode == _inode(os.fspath(other))


def _real(path: PathLike) -> str:
    text = os.fspath(path)
    return text.rstrip("/") if is_object(text) else os.path.realpath(text)


def _name(text: str) -> str:
    # Keys of objects are compared as they are.
    return _real(text) if is_object(text) else folded(os.path.realpath(text))


def _inode(text: str) -> tuple[int, int] | None:
    try:
        seen = os.stat(text)
    except (OSError, ValueError):
        return None
    return seen.st_dev, seen.st_ino
