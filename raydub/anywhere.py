"""Small files on a disk or in a bucket, by path or address."""

from __future__ import annotations

import contextlib
import os

from raydub.files import write_atomic
from raydub.objects.bucket import bucket_of
from raydub.objects.names import is_object, parse


def write(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file as raydub.files.write_atomic(), or an object. Raises StageError STORAGE or DISK_FULL, and for an
    object what raydub.objects.bucket raises; the old one stays then."""
    if is_object(os.fspath(path)):
        name = parse(os.fspath(path))
        bucket_of(name).put(name.key, content)
        return
    write_atomic(path, content)


def remove(path: str | os.PathLike[str]) -> None:
    """Remove a file or an object if it exists. Raises OSError, and for an object what raydub.objects.bucket raises."""
    if is_object(os.fspath(path)):
        name = parse(os.fspath(path))
        bucket_of(name).delete(name.key)
        return
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
