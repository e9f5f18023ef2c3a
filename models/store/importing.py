"""Import files of users: published ones are known by their digest, all others are kept as custom.

Old files are pickles, and a pickle can run anything. They are converted once to safetensors, which holds tensors only.
They are read by torch's restricted unpickler, which builds tensors and plain containers from a list of allowed
functions and refuses every other name; for imports, the list also has the functions of numpy that old training programs
left in their checkpoints. A voice of Piper is a graph and a small configuration beside it, X.onnx and X.onnx.json: both
are kept unchanged.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raydub.errors import Code, DependencyError, UsageError
from raydub.files import publish, temp_beside
from raydub.models import catalogue
from raydub.models.catalogue import Entry
from raydub.models.load import check_file, is_safetensors, load_state
from raydub.models.store.folders import own_folder, storage_errors
from raydub.models.store.state import CUSTOM, NAME, custom_note, digest_of, write_note
from raydub.models.verdict import no_weights
from raydub.places import same_place

if TYPE_CHECKING:
    from torch import Tensor

_SWELL = 4
"""Refuse tensors that would need more than this many times the bytes of the file (views that repeat few values)."""


def import_file(source: str | Path, *, as_name: str | None = None, to_name: str | None = None) -> tuple[Entry, Path]:
    """Import a file into the weights folder; returns its entry and its path.

    as_name: it must be this file of the catalogue. to_name: the name of a custom file; its own stem otherwise. Raises
    UsageError FIELD_VALUE, FIELD_CONFLICT (names), OUTPUT_EXISTS (a file of that name exists that was not imported),
    DependencyError WEIGHTS_MISSING, WEIGHTS_REFUSED, WEIGHTS_HASH (not what as_name says), WEIGHTS_LAYOUT, DISK_FULL,
    STORAGE.
    """
    from filelock import FileLock

    path = _checked(Path(source))
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    catalogue.refuse_denied(digest, str(path))
    entry = catalogue.by_digest(digest)
    if as_name is not None:
        _refuse_other(path, digest, entry, catalogue.get(as_name))
    if entry is not None and to_name is not None:
        raise UsageError(
            Code.FIELD_CONFLICT, f"{path} is the published {entry.file} and keeps that name", hint="omit --to"
        )
    folder = own_folder()
    if entry is not None:
        _companions(path, entry, folder)
        with storage_errors(folder), FileLock(folder / f".{entry.file}.lock", mode=0o666):
            return entry, _put(path, folder / entry.file, entry.sha256)
    name = _custom_name(to_name if to_name is not None else path.stem, given=to_name is not None)
    if is_voice(path):
        return _import_voice(path, digest, folder / f"{name}.onnx", name)
    check_file(path)
    target = folder / f"{name}.safetensors"
    with storage_errors(folder), FileLock(folder / f".{target.name}.lock", mode=0o666):
        if not (custom_note(target).get("source_sha256") == digest and _is_intact(target)):
            _refuse_itself(path, target)
            _refuse_foreign(target, target, digest)
            _convert(path, digest, target, name)
        note = custom_note(target)
    return catalogue.custom_entry(name, target, note), target


def is_voice(path: Path) -> bool:
    """Is this the graph of a voice with a configuration beside it?"""
    return path.suffix.lower() == ".onnx" and path.with_name(f"{path.name}.json").is_file()


def _companions(source: Path, entry: Entry, folder: Path) -> None:
    """Import the companions beside a published file, too."""
    from filelock import FileLock

    for companion in entry.companions:
        beside = source.with_name(companion.file)
        if beside.is_file():
            with storage_errors(folder), FileLock(folder / f".{companion.file}.lock", mode=0o666):
                _put(beside, folder / companion.file, companion.sha256)


def _import_voice(source: Path, digest: str, target: Path, name: str) -> tuple[Entry, Path]:
    from filelock import FileLock

    beside, config = _checked(source.with_name(f"{source.name}.json")), target.with_name(f"{target.name}.json")
    with storage_errors(beside), beside.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    with storage_errors(target.parent), FileLock(target.parent / f".{target.name}.lock", mode=0o666):
        if not (custom_note(target).get("companion_sha256") == found and _is_intact(target)):
            _refuse_itself(source, target)
            _refuse_itself(beside, config)
            _refuse_foreign(target, target, digest)
            _refuse_foreign(config, target, found)
        _put(beside, config, found)
        more = {"companion_sha256": found, "companion_bytes": str(config.stat().st_size)}
        _put(source, target, digest, licence=CUSTOM, name=name, origin=source.name, source_sha256=digest, **more)
        return catalogue.custom_entry(name, target, custom_note(target)), target


def _checked(path: Path) -> Path:
    if not path.is_file():
        raise DependencyError(Code.WEIGHTS_MISSING, f"no weights file at {path}", hint="check the path")
    with storage_errors(path), path.open("rb") as stream:
        reason = no_weights(stream.read(512))
    if reason is not None:
        raise DependencyError(Code.WEIGHTS_REFUSED, f"{path} is {reason}", hint="download the file itself")
    return path


def _refuse_other(path: Path, digest: str, entry: Entry | None, wanted: Entry) -> None:
    if wanted.sha256 != digest:
        what = f"the published {entry.file}" if entry is not None else "no file of the catalogue"
        raise DependencyError(
            Code.WEIGHTS_HASH,
            f"{path} is not {wanted.file} but {what}: sha256 {digest[:16]}…, expected {wanted.sha256[:16]}…",
            hint="import it without --as" if entry is None else f"import it as {entry.name}",
        )


def _refuse_itself(source: Path, target: Path) -> None:
    """Refuse to replace a file of the folder by its own conversion."""
    if same_place(source, target):
        raise UsageError(
            Code.FIELD_CONFLICT,
            f"{source} is in the weights folder already and would be overwritten",
            hint="move it to another folder and import it from there, or choose another name with --to NAME",
        )


def _refuse_foreign(path: Path, owner: Path, sha256: str) -> None:
    """Refuse to replace a file that was put into the folder by hand, unless it is identical. owner: the file whose note
    covers it, if it was imported."""
    if not os.path.lexists(path) or custom_note(owner):
        return
    if not path.is_file() or digest_of(path) != sha256:
        raise UsageError(
            Code.OUTPUT_EXISTS,
            f"{path} already exists and was not imported",
            hint="move it, or choose another name with --to NAME",
        )


def _custom_name(name: str, given: bool) -> str:
    if NAME.fullmatch(name) is None:
        hint = "use letters, digits, dots, dashes and underscores" if given else "choose one with --to NAME"
        raise UsageError(Code.FIELD_VALUE, f"{name[:80]!r} is not a valid name for weights", hint=hint)
    known = catalogue.find(name)
    if known is not None and not known.custom:
        raise UsageError(
            Code.FIELD_CONFLICT,
            f"{name!r} is a name of the catalogue, but this file is not the published {known.file}",
            hint="choose another name with --to NAME",
        )
    return name


def _is_intact(path: Path) -> bool:
    return path.is_file() and digest_of(path) == custom_note(path).get("sha256")


def _put(source: Path, target: Path, sha256: str, **more: str) -> Path:
    """A verified copy at `target`, whose note says `more`."""
    if target.is_file() and digest_of(target) == sha256 and custom_note(target).items() >= more.items():
        return target

    def copy(temp: Path) -> None:
        shutil.copyfile(source, temp)

    return _publish(copy, target, sha256, **more)


def _convert(source: Path, digest: str, target: Path, name: str) -> None:
    if is_safetensors(source):
        load_state(source)  # refuse damaged files
        _put(source, target, digest, licence=CUSTOM, name=name, origin=source.name, source_sha256=digest)
        return
    from safetensors.torch import save_file

    tensors = read_pickle(source)

    def save(temp: Path) -> None:
        save_file({key: value.clone().contiguous() for key, value in tensors.items()}, temp, {"source_sha256": digest})

    _publish(save, target, None, licence=CUSTOM, name=name, origin=source.name, source_sha256=digest)


def _publish(write: Callable[[Path], None], target: Path, sha256: str | None, **more: str) -> Path:
    temp = Path(temp_beside(target))
    try:
        write(temp)
        with temp.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if sha256 is not None and found != sha256:
            raise DependencyError(Code.WEIGHTS_HASH, f"{target.name} changed while it was copied", hint="try again")
        os.chmod(temp, 0o644)
        publish(temp, target)
    finally:
        temp.unlink(missing_ok=True)
    write_note(target, found, **more)
    return target


def read_pickle(path: Path) -> dict[str, Tensor]:
    """Tensors by name from a torch file of any age, which may also contain numpy arrays and numbers.

    Nothing in the file is run. Raises DependencyError WEIGHTS_REFUSED, which names what the file wants to call;
    WEIGHTS_LAYOUT (no tensors).
    """
    import torch

    with torch.serialization.safe_globals(_numpy_names()):
        tensors = load_state(path)
    needed = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if needed > _SWELL * path.stat().st_size + 4096:
        raise DependencyError(
            Code.WEIGHTS_REFUSED,
            f"{path} would expand to {needed / 1e6:.0f} MB",
            hint="its tensors repeat a few numbers",
        )
    return tensors


def _numpy_names() -> list[Any]:
    """Functions that rebuild numpy's arrays and numbers, under the names that old and new versions pickled."""
    import numpy as np
    from numpy._core import multiarray

    names: list[Any] = [np.ndarray, np.dtype]
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        names += [(multiarray._reconstruct, f"{module}._reconstruct"), (multiarray.scalar, f"{module}.scalar")]
    kinds = (np.float16, np.float32, np.float64, np.int8, np.int16, np.int32, np.int64, np.uint8, np.bool_)
    names += [type(np.dtype(kind)) for kind in kinds]
    return names
