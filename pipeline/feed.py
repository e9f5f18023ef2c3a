"""Rows of a Ray dataset, read by a thread, so that the consumer can wait with a timeout, handle signals, and stop."""

from __future__ import annotations

import contextlib
import ctypes
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

_HELD_ROWS = 64  # more stay in Ray, so that its back-pressure applies
_ENDED = object()


class _Closed(BaseException):
    """Raised inside the feeding thread to end it."""


class Feed:
    """Iterates over `blocks` (Arrow tables; the iterator is created in the thread) and returns their rows."""

    def __init__(self, blocks: Callable[[], Iterator[Any]]) -> None:
        self._blocks = blocks
        self._rows: queue.Queue[Any] = queue.Queue(_HELD_ROWS)
        self._closing = False
        self._error: BaseException | None = None
        self.ended = False
        self._thread = threading.Thread(target=self._run, name="raydub-feed", daemon=True)
        self._thread.start()

    def get(self, seconds: float) -> dict[str, Any] | None:
        """The next row; None if none arrived within `seconds`, or if there are no more (`ended`). Raises what the
        iteration raised."""
        try:
            row = self._rows.get(timeout=seconds)
        except queue.Empty:
            return None
        if row is _ENDED:
            self.ended = True
            if self._error is not None:
                raise self._error
            return None
        found: dict[str, Any] = row
        return found

    def close(self, seconds: float = 5.0) -> bool:
        """End the iteration, and with it Ray's execution. False if the thread did not stop in time."""
        self._closing = True
        if self._thread.is_alive() and self._thread.ident is not None:
            # Ray polls for blocks and cleans up after any exception; before its first block there is no other way to
            # stop it.
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread.ident), ctypes.py_object(_Closed))
            until = time.monotonic() + seconds
            while self._thread.is_alive() and time.monotonic() < until:
                with contextlib.suppress(queue.Empty):
                    self._rows.get(timeout=0.05)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            for block in self._blocks():
                for row in block.to_pylist():
                    self._put(row)
        except _Closed:
            return
        except BaseException as error:
            self._error = error
        with contextlib.suppress(_Closed):
            self._put(_ENDED)

    def _put(self, row: Any) -> None:
        while not self._closing:
            with contextlib.suppress(queue.Full):
                self._rows.put(row, timeout=0.2)
                return
        raise _Closed
