"""The lanes of a CUDA device for models.backends.conveyor: streams, events, pinned memory, and one CUDA graph.

A CUDA graph and not torch.compile: the graph replays the very kernels that cuDNN chooses for this shape in an ordinary
call, so its results are the same bits on every worker. torch.compile would need a C++ compiler and Triton on every
node, compiles for some tens of seconds in each worker, and its tuning chooses kernels by timing them (law 2). Its gain
would be fused ReLUs and sums, a part of the time; what the graph saves is Python starting 150 kernels for a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from raydub.models.backends.conveyor import Lane

_WARM = 2
"""Ordinary calls before the recording: libraries choose kernels and allocate their workspace in the first."""


class CudaLane:
    """conveyor.Lane: a CUDA stream."""

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device)

    def copy(self, target: Tensor, source: Tensor) -> None:
        """See Lane."""
        with torch.cuda.stream(self.stream):
            target.copy_(source, non_blocking=True)

    def call(self, work: Callable[[], object]) -> None:
        """See Lane."""
        with torch.cuda.stream(self.stream):
            work()

    def mark(self) -> CudaMark:
        """See Lane."""
        # Whoever waits for it sleeps: the worker's core draws and encodes meanwhile.
        event = torch.cuda.Event(blocking=True)
        event.record(self.stream)
        return CudaMark(event)

    def after(self, mark: Any) -> None:
        """See Lane."""
        self.stream.wait_event(mark.event)


class CudaMark:
    """conveyor.Mark: a CUDA event."""

    def __init__(self, event: torch.cuda.Event) -> None:
        self.event = event

    def wait(self) -> None:
        """See Mark."""
        self.event.synchronize()


class CudaCard:
    """conveyor.Card for "cuda" or "cuda:n"."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def lane(self) -> CudaLane:
        """See Card."""
        return CudaLane(self._device)

    def host(self, like: Tensor) -> Tensor:
        """See Card: pinned."""
        return torch.empty(like.shape, dtype=like.dtype, pin_memory=True)

    def empty(self, like: Tensor) -> Tensor:
        """See Card."""
        return torch.empty(like.shape, dtype=like.dtype, device=self._device)

    def settle(self) -> None:
        """See Card."""
        torch.cuda.synchronize(self._device)

    def record(
        self, forward: Callable[..., Tensor], inputs: list[Tensor], lane: Lane
    ) -> tuple[Callable[[], None], Tensor]:
        """See Card: a CUDA graph. Raises what `forward` raises, torch.OutOfMemoryError among others."""
        assert isinstance(lane, CudaLane)
        graph = torch.cuda.CUDAGraph()
        # The outer `stream` is left in any case; `graph` stays in its stream where ending a broken recording raises.
        with torch.cuda.stream(lane.stream):
            for _ in range(_WARM):
                forward(*inputs)
            try:
                # Other threads of the process may do what they like meanwhile.
                with torch.cuda.graph(graph, stream=lane.stream, capture_error_mode="thread_local"):
                    result = forward(*inputs)
            except Exception as error:
                if _lack_of_memory(error):
                    raise torch.OutOfMemoryError(f"recording a CUDA graph: out of memory: {error}") from error
                raise
        return graph.replay, result


def _lack_of_memory(error: BaseException) -> bool:
    """A lack of memory breaks the recording, and ending a broken recording raises an error of its own."""
    now: BaseException | None = error
    while now is not None and not isinstance(now, torch.OutOfMemoryError):
        now = now.__context__
    return now is not None
