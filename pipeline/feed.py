"""Rows of a Ray dataset, read by a thread into a queue that several datasets share, so that the consumer can wait for
all of them with a timeout, handle signals, and stop."""

from __future__ import annotations

import contextlib
import ctypes
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

HELD_ROWS = 64
"""Rows that the queue should hold at most. More stay in Ray, so that its back-pressure applies."""


class _Closed(BaseException):
    """Raised inside the feeding thread to end it."""


class Feed:
    """Iterates over `blocks` (Arrow tables; the iterator is created in the thread) and puts (feed, row) into `rows`; at
    the end (feed, None), after which `error` has what the iteration raised."""

    def __init__(self, blocks: Callable[[], Iterator[Any]], rows: queue.Queue[tuple[Feed, dict[str, Any] | None]]):
        self._blocks = blocks
        self._rows = rows
        self._closing = False
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="raydub-feed", daemon=True)
        self._thread.start()

    def join(self, seconds: float) -> None:
        """Wait for the end of the iteration."""
        self._thread.join(seconds)

    def close(self, seconds: float = 5.0) -> bool:
        """End the iteration, and with it Ray's execution. False if the thread did not stop in time."""
        if not self._closing and self._thread.is_alive() and self._thread.ident is not None:
            # Ray polls for blocks and cleans up after any exception; before its first block there is no other way to
            # stop it. Only once: another one would end the cleaning up.
            self._closing = True
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread.ident), ctypes.py_object(_Closed))
        self._closing = True
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            for block in self._blocks():
                for row in block.to_pylist():
                    self._put(row)
        except _Closed:
            return
        except BaseException as error:
            self.error = error
        with contextlib.suppress(_Closed):
            self._put(None)

    def _put(self, row: dict[str, Any] | None) -> None:
        while not self._closing:
            with contextlib.suppress(queue.Full):
                self._rows.put((self, row), timeout=0.2)
                return
        raise _Closed
