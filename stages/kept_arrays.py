"""Named arrays in the store."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from raydub.blobs import verified
from raydub.errors import Code, StageError
from raydub.store import Artefact, Store

Arrays = Mapping[str, npt.NDArray[np.generic]]


def read_arrays(path: str | Path) -> Arrays:
    """Arrays written by put_arrays. Raises StageError STORAGE."""
    try:
        with np.load(verified(path), allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise lost(str(path), error) from error


def put_array(store: Store, name: str, array: npt.NDArray[Any]) -> Artefact:
    """Store one array as .npy."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return store.put(name, stream.getvalue(), ".npy")


def put_arrays(store: Store, name: str, arrays: Arrays, about: Mapping[str, Any] | None = None) -> Artefact:
    """Store named arrays as .npz."""
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **{key: np.asarray(array) for key, array in arrays.items()})
    return store.put(name, stream.getvalue(), ".npz", about)


def read_array(path: str) -> Any:
    """One array written by put_array, mapped from its file. Raises StageError STORAGE."""
    try:
        return np.load(verified(path), mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise lost(path, error) from error


def lost(path: str, error: Exception) -> StageError:
    """STORAGE, for a file of the work folder that cannot be read."""
    return StageError(
        Code.STORAGE,
        f"{path} cannot be read: {error}",
        hint="use a work folder that every worker can reach; run again to create the file again",
        retryable=True,
    )
