"""Records that contain a hash of themselves, and keys of JSON values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_SEAL = "seal"


def key_of(said: Any) -> str:
    """The SHA-256 of a JSON-ready value, hex: the key of whatever the value determines."""
    return hashlib.sha256(json.dumps(said, ensure_ascii=True, sort_keys=True).encode("ascii")).hexdigest()


def sealed(value: Mapping[str, Any]) -> bytes:
    """A JSON-ready record with its hash, as JSON."""
    plain = json.loads(json.dumps(value, ensure_ascii=True))
    return json.dumps({**plain, _SEAL: key_of(plain)}, ensure_ascii=True, indent=1).encode("ascii")


def unsealed(data: bytes) -> dict[str, Any] | None:
    """The record of sealed(), None if it is damaged. Never raises."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and value.pop(_SEAL, None) == key_of(value) else None
