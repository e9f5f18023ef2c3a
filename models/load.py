"""Read weight files from any source without running their content.

Two formats only: safetensors, and torch's own through `torch.load(weights_only=True)`, which unpickles tensors and
plain containers and no code (plain files as arrays without torch: models.torch_file). Web pages and git-lfs pointers
saved under the name of a weights file (common on mirrors) are recognised by their first bytes.
"""

from __future__ import annotations

import json
import os
import pickle
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raydub.errors import Code, DependencyError
from raydub.identity import identify
from raydub.kinds import NotRegularError
from raydub.models.verdict import AGAIN, no_weights, refused
from raydub.objects.names import is_object
from raydub.regular import read_regular

if TYPE_CHECKING:
    from torch import Tensor

# Keys under which training programs store the network's tensors, in order of preference.
_NESTED = ("state_dict", "params_ema", "model", "params")


def load_state(path: str | Path, sha256: str | None = None) -> dict[str, Tensor]:
    """Tensors by name, on the CPU, as stored; a leading `module.` (torch's data-parallel wrapper) is taken off.

    Accepts a flat dict of tensors or one nested under state_dict, params_ema, model or params; other content (optimizer
    state) is dropped. sha256: refuse any other file. Raises DependencyError: WEIGHTS_MISSING, WEIGHTS_REFUSED (a web
    page, a git-lfs pointer, a truncated file, a pickle with code in it), WEIGHTS_HASH, WEIGHTS_LAYOUT (no tensors).
    """
    file = check_file(path)
    if sha256 is not None and (found := sha256_of(file)) != sha256.lower():
        raise DependencyError(
            Code.WEIGHTS_HASH, f"{file} has sha256 {found[:16]}…, expected {sha256[:16].lower()}…", hint=AGAIN
        )
    state = _safetensors(file) if is_safetensors(file) else _nested(file, _pickled(file))
    return {key.removeprefix("module."): value for key, value in state.items()}


def load_arrays(path: str | Path) -> dict[str, Any]:
    """load_state() as numpy arrays, read-only where they are views of the file; without importing torch for files that
    models.torch_file and safetensors' numpy reader understand. Raises as load_state does."""
    from raydub.models.torch_file import read_torch

    file = check_file(path)
    found = _safetensors_arrays(file) if is_safetensors(file) else read_torch(file, _inner)
    if not found:
        found = {key: _numpy(value) for key, value in load_state(file).items()}
    return {key.removeprefix("module."): value for key, value in found.items()}


def _safetensors_arrays(file: Path) -> dict[str, Any] | None:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return dict(load_file(str(file)))
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError):
        return None  # a type that numpy lacks (bf16), or damage: torch's reader says which


def _numpy(value: Tensor) -> Any:
    value = value.detach()
    return (value.float() if value.is_floating_point() else value).numpy()


def check_file(path: str | Path) -> Path:
    """The path of a file that may be weights. DependencyError WEIGHTS_MISSING, or WEIGHTS_REFUSED by first bytes."""
    file = Path(path)
    try:
        head = read_regular(file, 512)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise DependencyError(
            Code.WEIGHTS_MISSING,
            f"no weights file at {file}",
            hint="check the path; `raydub doctor` lists the weights that it finds",
        ) from None
    except NotRegularError as error:
        hint = "give the path of the weights file itself"
        raise DependencyError(Code.WEIGHTS_MISSING, f"{file} {error.strerror}", hint=hint) from error
    except OSError as error:
        raise DependencyError(Code.WEIGHTS_REFUSED, f"{file} cannot be read: {error.strerror}") from error
    if file.suffix.lower() == ".onnx":
        hint = "use the .pth or .safetensors file of the same network"
        raise DependencyError(Code.WEIGHTS_REFUSED, f"{file} is an ONNX graph, not a file of named weights", hint=hint)
    reason = no_weights(head)
    if reason is not None:
        hint = "download the file that it points to: git lfs pull" if "pointer" in reason else AGAIN
        raise DependencyError(Code.WEIGHTS_REFUSED, f"{file} is {reason}", hint=hint)
    return file


def sha256_of(path: str | Path) -> str:
    """Hex sha256 of a file, or of an object at an address; each version of a file is hashed once per process. Raises
    OSError, InputError INPUT_CHANGED, and for an object what raydub.objects.bucket raises."""
    name = os.fspath(path)
    return identify(name if is_object(name) else os.path.realpath(name), what="weights").sha256


def layout_error(name: str, missing: Sequence[str], unexpected: Sequence[str], wanted: str) -> DependencyError:
    """WEIGHTS_LAYOUT that names at most three keys of each kind."""

    def some(keys: Sequence[str]) -> str:
        return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")

    parts = [f"missing {some(missing)}"] if missing else []
    parts += [f"unexpected {some(unexpected)}"] if unexpected else []
    return DependencyError(
        Code.WEIGHTS_LAYOUT, f"{name} does not hold {wanted}", hint="; ".join(parts) or "it contains no tensors"
    )


def check_layout(
    name: str, state: Mapping[str, Any], shapes: Mapping[str, Sequence[int]], wanted: str, optional: str = "\0"
) -> None:
    """Raise WEIGHTS_LAYOUT unless the state dict has tensors of exactly these names and shapes. Names that end with
    `optional` may be missing."""
    missing = sorted(key for key in shapes.keys() - state.keys() if not key.endswith(optional))
    unexpected = sorted(state.keys() - shapes.keys())
    unexpected += [
        f"{key} {tuple(state[key].shape)} instead of {tuple(shapes[key])}"
        for key in sorted(shapes.keys() & state.keys())
        if tuple(state[key].shape) != tuple(shapes[key])
    ]
    if missing or unexpected:
        raise layout_error(name, missing, unexpected, wanted)


def is_safetensors(file: Path) -> bool:
    """Safetensors starts with the length of a JSON header (8 bytes, little endian) and the header's brace."""
    with file.open("rb") as stream:
        head = stream.read(9)
    return file.suffix == ".safetensors" or (len(head) == 9 and head[8:] == b"{" and head[:2] != b"PK")


def _safetensors(file: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = dict(load_file(str(file)))
    except (SafetensorError, OSError, ValueError, json.JSONDecodeError) as error:
        raise refused(file, error) from error
    if not tensors:
        raise layout_error(str(file), [], [], "a dict of tensors")
    return tensors


def _pickled(file: Path) -> Any:
    import torch

    try:
        archive = zipfile.is_zipfile(file)
        if archive:
            _check_archive(file)
        # Zip archives can be mapped, so the optimizer's two thirds of a training checkpoint are never read.
        return torch.load(file, map_location="cpu", weights_only=True, mmap=archive or None)
    # Torch raises many kinds of errors for damaged files; all of them mean the same to the user.
    except (
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        LookupError,
        AttributeError,
        TypeError,
        AssertionError,
        ArithmeticError,
        ImportError,
        MemoryError,
        struct.error,
    ) as error:
        raise refused(file, error) from error


def _check_archive(file: Path) -> None:
    """torch stores tensors uncompressed and maps them from the file: compressed ones would be read as garbage, or
    inflate to any size. Raises DependencyError WEIGHTS_REFUSED, zipfile.BadZipFile."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
    names = [member.filename for member in members]
    if any(member.compress_type != zipfile.ZIP_STORED for member in members) or len(set(names)) < len(names):
        message = f"{file} is a zip archive with compressed or repeated members, which torch never writes"
        raise DependencyError(Code.WEIGHTS_REFUSED, message, hint="save it again with torch.save, or as safetensors")


def _inner(found: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """The dict that holds the network's tensors."""
    return next((found[name] for name in _NESTED if isinstance(found.get(name), Mapping)), found)


def _nested(file: Path, found: Any) -> dict[str, Tensor]:
    import torch

    if not isinstance(found, Mapping):
        raise layout_error(str(file), [], [type(found).__name__], "a dict of tensors")
    found = _inner(found)
    # Arrays are allowed by models.store.importing only.
    arrays = {key: torch.from_numpy(value) for key, value in found.items() if _is_numeric_array(value)}
    tensors = {str(key): value for key, value in {**found, **arrays}.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise layout_error(str(file), [], [str(key) for key in found], "a dict of tensors")
    return tensors


def _is_numeric_array(value: Any) -> bool:
    import numpy as np

    return isinstance(value, np.ndarray) and value.dtype.kind in "fiub"
