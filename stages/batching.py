"""Run rows through a network in batches of one fixed shape.

A network's last bits change with the batch size, so every call has the same shape: the last batch is padded with zeros.
A row's result then depends on the row alone, wherever chunk borders fall. If memory runs out, the batch size is halved
permanently, down to one row, and the same rows are tried again. A network on a card may be given batches ahead
(Ahead), so that it computes one while others are copied.
"""

from __future__ import annotations

import errno
import logging
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt

from raydub.beat import beat
from raydub.errors import Code, StageError

_log = logging.getLogger(__name__)

# CUDA, Windows, torch's CPU allocator, C++ and with it OpenVINO and ONNX Runtime, libc, OpenCV.
_NO_ROOM = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "bad_alloc",
    "bad allocation",
    "cannot allocate memory",
    "insufficient memory",
    "failed to allocate",
    "cublas_status_alloc_failed",
)

Rows = npt.NDArray[np.generic]
Network = Callable[..., Rows]


class Ahead(Protocol):
    """A network that is given up to `depth` batches before the first result is fetched."""

    depth: int

    def submit(self, *arrays: Rows) -> Callable[[], Rows]:
        """Start one batch; the returned function waits for its result, which is valid until the next submit()."""
        ...

    def release(self) -> None:
        """Drop open results and free the memory of the batches."""
        ...


class FixedBatches:
    """Calls `network(*arrays)` with `size` rows at a time. Keeps a reduced size between calls.

    what: the network's name in messages; row: what one row of it is; stage: the stage whose progress its rows are
    (raydub.beat).
    """

    def __init__(
        self, network: Network | Ahead, size: int, what: str = "the lip network", row: str = "face", stage: str = ""
    ) -> None:
        if size < 1:
            raise ValueError(f"batch size {size}")
        self._network = cast(Ahead, network) if hasattr(network, "submit") else _OneByOne(network)
        self.size = size
        self._what = what
        self._row = row
        self._stage = stage

    def map(self, *arrays: Rows) -> Rows:
        """Results for all rows, in order, as the network returns them.

        arrays: each (M, ...); the network gets (size, ...) and returns (size, ...) of any type. Not for M = 0.
        Raises StageError (OUT_OF_MEMORY) when a single row does not fit.
        """
        count = len(arrays[0])
        if count == 0 or any(len(array) != count for array in arrays):
            raise ValueError(f"arrays of {[len(array) for array in arrays]} rows")
        whole: Rows | None = None
        done = 0
        while done < count:
            try:
                for rows, made in self._results([array[done:] for array in arrays]):
                    if whole is None:
                        whole = np.empty((count, *made.shape[1:]), made.dtype)
                    whole[done : done + rows] = made[:rows]
                    beat(self._stage, rows)
                    done += rows
            except BaseException as error:
                self._check_room(error)
            else:
                break
            # Outside the except block, so that the failed call's tensors are free before the next call.
            self._network.release()
            _free_cuda()
            self.size //= 2
            _log.warning("out of memory in %s: continuing with batches of %d", self._what, self.size)
        assert whole is not None
        return whole

    def _results(self, arrays: list[Rows]) -> Iterator[tuple[int, Rows]]:
        """(rows, their results and the padding's) of each batch, in order."""
        waiting: deque[tuple[int, Callable[[], Rows]]] = deque()
        start, count = 0, len(arrays[0])
        while start < count or waiting:
            if start < count and len(waiting) < self._network.depth:
                rows = min(self.size, count - start)
                batch = [_filled(array[start : start + rows], self.size) for array in arrays]
                waiting.append((rows, self._network.submit(*batch)))
                start += rows
            else:
                rows, fetch = waiting.popleft()
                yield rows, fetch()

    def _check_room(self, error: BaseException) -> None:
        """Return for a lack of memory that a smaller batch may end; otherwise raise."""
        lack = isinstance(error, Exception) and is_out_of_memory(error)  # every runtime has its own exception classes
        if lack and self.size > 1:
            return
        with suppress(Exception):  # a card that failed fails again here
            self._network.release()
        if not lack:
            raise error
        raise StageError(
            Code.OUT_OF_MEMORY,
            f"{self._what} does not fit into memory, not even with one {self._row} at a time",
            hint="free memory on the device, run fewer workers on it, or use --device cpu",
            retryable=True,
        ) from error


class _OneByOne:
    """Ahead for a network that is simply called."""

    depth = 1

    def __init__(self, network: Network) -> None:
        self._call = network

    def submit(self, *arrays: Rows) -> Callable[[], Rows]:
        return partial(self._call, *arrays)

    def release(self) -> None:
        """It keeps nothing."""


def is_out_of_memory(error: BaseException) -> bool:
    """torch.OutOfMemoryError, CUDA's and the CPU allocator's RuntimeErrors, bad_alloc of native libraries, ENOMEM,
    MemoryError. Never raises, whatever the exception makes of str()."""
    # torch's is known by its name: callers must not have to import torch.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    try:
        text = str(error).lower()
    except Exception:
        return False
    return any(words in text for words in _NO_ROOM)


def _filled(array: Rows, size: int) -> Rows:
    if len(array) == size:
        return np.ascontiguousarray(array)
    whole = np.zeros((size, *array.shape[1:]), array.dtype)
    whole[: len(array)] = array
    return whole


def _free_cuda() -> None:
    # Only if torch is loaded already: importing it takes memory and seconds.
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
