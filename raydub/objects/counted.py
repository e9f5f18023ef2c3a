"""What this process has asked of object stores so far."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Counts:
    """requests: with those that were retried, as far as the client tells (it retries pages of listings and parts of
    large uploads by itself); bytes_read and bytes_written: of bodies; hits, misses: of the cache folder."""

    requests: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    retries: int = 0
    hits: int = 0
    misses: int = 0


_lock = threading.Lock()
_counts = Counts()


def count(
    *, requests: int = 0, bytes_read: int = 0, bytes_written: int = 0, retries: int = 0, hits: int = 0, misses: int = 0
) -> None:
    """Add to the counts."""
    global _counts
    with _lock:
        _counts = replace(
            _counts,
            requests=_counts.requests + requests,
            bytes_read=_counts.bytes_read + bytes_read,
            bytes_written=_counts.bytes_written + bytes_written,
            retries=_counts.retries + retries,
            hits=_counts.hits + hits,
            misses=_counts.misses + misses,
        )


def counted() -> Counts:
    """The counts of this process up to now."""
    return _counts
