"""Gives memory that is free back to the system, so that a worker's size is that of its largest chunk.

The C library keeps what is freed, in pieces between what is still in use, and asks for more where the next request does
not fit between them: workers that cut frames out of such a heap grew by 30 MB in their first hundred chunks. Trimmed
after each step, they stay as they were after the first two.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable


def release_free_memory() -> bool:
    """Return free pages to the system; a few milliseconds. False where the C library cannot (it is not glibc)."""
    trim = _trim()
    return bool(trim is not None and trim(0))


@functools.cache
def _trim() -> Callable[[int], int] | None:
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None
    return found
