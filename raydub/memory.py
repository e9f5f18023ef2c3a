"""Return free memory to the system, so that a worker's size is bounded by its largest chunk.

The C library keeps freed memory, and fragmentation makes it request more: workers grew by 30 MB in their first hundred
chunks. Trimmed after each step, they stay as large as after the first two.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable


def release_free_memory() -> bool:
    """Return free pages to the system; a few milliseconds. False if the C library is not glibc."""
    trim = _trim()
    return bool(trim is not None and trim(0))


@functools.cache
def _trim() -> Callable[[int], int] | None:
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None
    return found
