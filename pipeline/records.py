"""Small JSON files that prove themselves: a record carries a hash of what it says, so one that was cut, mixed or
altered counts as absent."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from media.publish import write_atomic

_SEAL = "seal"


def write_record(path: str | Path, value: Mapping[str, Any], *, durable: bool = True) -> None:
    """Write `value`, JSON-ready, in one step; durable as in media.publish. Raises StageError STORAGE or DISK_FULL."""
    plain = json.loads(json.dumps(value, ensure_ascii=True))
    text = json.dumps({**plain, _SEAL: _seal(plain)}, ensure_ascii=True, indent=1)
    write_atomic(path, text.encode("ascii"), durable=durable)


def read_record(path: str | Path) -> dict[str, Any] | None:
    """What write_record wrote; None for a file that is absent, damaged or unreadable: the work that it stands for is
    done again then, which is always right."""
    try:
        value = json.loads(Path(path).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or value.pop(_SEAL, None) != _seal(value):
        return None
    return value


def _seal(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=True, sort_keys=True).encode("ascii")).hexdigest()[:32]
