"""How many uploads are at work, and what they may hold: streamlit keeps them in memory until the page takes them."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
MOST, MOST_OF_ONE = 4, 2
"""Uploads at the same time, of all users and of one: nobody can hold all places."""
_SILENT = 30.0
"""Seconds without a byte after which an upload is ended."""
_LEAST_RATE = 32 << 10
"""Bytes per second that an upload must reach on average, after a minute."""


class Uploads:
    """Counts uploads."""

    def __init__(self) -> None:
        self._of: Counter[str] = Counter()
        self._lock = threading.Lock()

    def begin(self, user: str) -> bool:
        """Whether there is a place for one more, which it then has until end()."""
        with self._lock:
            free = self._of.total() < MOST and self._of[user] < MOST_OF_ONE
            self._of[user] += free
            return free

    def end(self, user: str) -> None:
        """Give the place back."""
        with self._lock:
            self._of[user] -= 1
            self._of += Counter()


def in_time(receive: Receive, size: int, silent: float = _SILENT) -> Receive:
    """A receive() that ends an upload of `size` bytes as a lost connection does, if it stands still or is too slow."""
    loop = asyncio.get_running_loop()
    end = loop.time() + 2 * silent + size / _LEAST_RATE

    async def received() -> MutableMapping[str, Any]:
        try:
            return await asyncio.wait_for(receive(), min(silent, max(0.0, end - loop.time())))
        except TimeoutError:
            return {"type": "http.disconnect"}

    return received


def held() -> int:
    """Bytes of uploads that streamlit holds now."""
    from streamlit.runtime import Runtime, exists

    if not exists():
        return 0
    files = getattr(Runtime.instance().uploaded_file_mgr, "file_storage", {})
    return sum(len(one.data) for session in list(files.values()) for one in list(session.values()))
