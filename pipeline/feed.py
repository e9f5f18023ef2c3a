"""Rows of a Ray dataset, brought by a thread, so that whoever waits for them can look at the clock, at other work and
at signals meanwhile, and can stop."""

from __future__ import annotations

import contextlib
import ctypes
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

_HELD_ROWS = 64  # more are left to Ray, whose back-pressure then works
_ENDED = object()


class _Closed(BaseException):
    """Raised inside the feeding thread to end it."""


class Feed:
    """Runs `blocks` (an iterator of Arrow tables, made in the thread) and hands out their rows."""

    def __init__(self, blocks: Callable[[], Iterator[Any]]) -> None:
        self._blocks = blocks
        self._rows: queue.Queue[Any] = queue.Queue(_HELD_ROWS)
        self._closing = False
        self._error: BaseException | None = None
        self.ended = False
        self._thread = threading.Thread(target=self._run, name="raydub-feed", daemon=True)
        self._thread.start()

    def get(self, seconds: float) -> dict[str, Any] | None:
        """The next row; None when none came within `seconds`, or when there are no more (`ended`). Raises what the
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
        """End the iteration, which ends Ray's execution of it. False when the thread did not stop in time."""
        self._closing = True
        if self._thread.is_alive() and self._thread.ident is not None:
            # Ray waits for blocks in a loop of short naps and cleans up after any exception: there is no other way to
            # reach it before its first block.
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
