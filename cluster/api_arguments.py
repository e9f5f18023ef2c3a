"""Check the arguments of the Python API, and convert them to what the command line would have passed."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from raydub.cluster.limits import DEVICES
from raydub.errors import Code, UsageError
from raydub.places import PathLike, absolute, path_at
from raydub.texts import has_utf8

_WHOLE = 1 << 63


def check_numbers(**asked: Any) -> None:
    """Check device, counts and seconds of a run; absent ones are skipped. Raises UsageError FIELD_VALUE, and
    FIELD_CONFLICT for an address without Ray."""
    if asked["device"] not in DEVICES:
        raise _wrong("device", asked["device"], f"one of {', '.join(DEVICES)}")
    for name in ("workers", "num_cpus"):
        count = asked.get(name)
        if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
            raise _wrong(name, count, "a whole number from 1")
    for name, least in (("stall_timeout", 1e-3), ("step_timeout", 1e-3), ("wait_gpu", 0.0)):
        seconds: Any = asked.get(name)
        if seconds is None and name == "step_timeout":
            continue
        number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
        if not number or not math.isfinite(seconds) or seconds < least:
            raise _wrong(name, seconds, "a finite number of seconds above 0" if least else "seconds, from 0")
    if asked.get("address") is not None and not asked["use_ray"]:
        message = f"address is {asked['address']!r}, but use_ray is False"
        raise UsageError(Code.FIELD_CONFLICT, message, field="address", hint="leave out one of the two")


def rows_of(manifest: Any) -> list[Mapping[Any, Any]]:
    """The rows of a manifest that is not a file: mappings, or a pandas DataFrame. Raises UsageError FIELD_VALUE; errors
    of the caller's own iterator pass through."""
    if hasattr(manifest, "columns") and hasattr(manifest, "to_dict"):
        return list(manifest.to_dict("records"))
    hint = "a path, a list of dicts from field to value, or a DataFrame"
    if isinstance(manifest, Mapping) or not isinstance(manifest, Iterable):
        raise _wrong("manifest", manifest, hint)
    rows = list(manifest)
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping):
            raise _wrong("manifest", row, hint, f"row {number} of the manifest")
    return rows


def fields_of(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A row without absent fields (None, "", NaN, pandas.NA), its values as in a manifest."""
    plain = {str(name): _plain(value) for name, value in row.items()}
    return {name: value for name, value in plain.items() if value is not None and value != ""}


def path_of(value: PathLike | None, name: str) -> PurePath | None:
    """An absolute path, or one in a bucket; None for None.
    Raises UsageError FIELD_VALUE for another type, and for names that are not UTF-8
    (which results and Ray require) or that contain NUL."""
    if value is None:
        return None
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(text, str) or "\0" in text:
        raise _wrong(name, value, "a path, as text or pathlib.Path")
    path = path_at(absolute(text), name)
    if not has_utf8(str(path)):
        message = f"the path {str(path)!r} contains bytes that are not UTF-8"
        raise UsageError(Code.FIELD_VALUE, message, field=name, hint="rename the file or folder")
    return path


def words_of(names: Sequence[str] | None, name: str) -> list[str]:
    """A list of words from one or several; [] for None. Raises UsageError FIELD_VALUE."""
    found = [names] if isinstance(names, str) else list(names or [])
    for word in found:
        if not isinstance(word, str):
            raise _wrong(name, word, "text, or a list of texts")
    return found


def text_of(value: str | None, name: str) -> str | None:
    """Text or None. Raises UsageError FIELD_VALUE."""
    if value is not None and not isinstance(value, str):
        raise _wrong(name, value, "text")
    return value


def _plain(value: Any) -> Any:
    """A field's value as in a manifest: paths as absolute text, numpy scalars and arrays as numbers and lists."""
    if isinstance(value, os.PathLike):
        return os.path.abspath(os.fspath(value))
    if type(value).__name__ == "NAType":  # pandas.NA, whose comparisons are neither true nor false
        return None
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, int) and abs(value) >= _WHOLE:
        return math.inf  # refused by every field; Python does not print ints of any length
    return None if isinstance(value, float) and math.isnan(value) else value


def _wrong(name: str, value: Any, hint: str, what: str = "") -> UsageError:
    try:
        shown = repr(value)[:80]
    except ValueError:  # an int of more digits than Python converts
        shown = "too large"
    return UsageError(Code.FIELD_VALUE, f"{what or name} is {shown}", field=name, hint=hint)
