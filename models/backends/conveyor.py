"""Batches through a network on a card, with copies beside the computation: while batch k is computed, k + 1 travels to
the card and k - 1 travels back.

The order of the work is decided here, in terms of lanes (streams) and marks (events), so that a test can run it on
lanes of its own in every order that they allow. models.backends.cuda has the lanes of a CUDA device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Rows = npt.NDArray[np.generic]
DEPTH = 2
"""Batches on the way at a time, each with buffers of its own. With two, one is copied while the other is computed;
more would hide nothing else, because the next copy to the card waits for the same link."""


class Mark(Protocol):
    """A point in the work of a lane."""

    def wait(self) -> None:
        """Return when the lane has come to it."""
        ...


class Lane(Protocol):
    """Work that a device does in order, at a time of its own: every call returns before it is done."""

    def copy(self, target: Tensor, source: Tensor) -> None:
        """Copy a tensor's values."""
        ...

    def call(self, work: Callable[[], object]) -> None:
        """Do this work of the device."""
        ...

    def mark(self) -> Mark:
        """A mark behind the work so far."""
        ...

    def after(self, mark: Mark) -> None:
        """Begin the work that follows when another lane has come to its mark."""
        ...


class Card(Protocol):
    """A device with lanes."""

    def lane(self) -> Lane:
        """A new lane."""
        ...

    def host(self, like: Tensor) -> Tensor:
        """A tensor of this shape and type in the host's memory that the device can copy from and to by itself."""
        ...

    def empty(self, like: Tensor) -> Tensor:
        """A tensor of this shape and type on the device."""
        ...

    def record(
        self, forward: Callable[..., Tensor], inputs: list[Tensor], lane: Lane
    ) -> tuple[Callable[[], None], Tensor]:
        """(work for the lane that computes forward(*inputs) from what is in `inputs` by then, where its result is)."""
        ...

    def settle(self) -> None:
        """Return when all lanes are done."""
        ...


@dataclass
class _Slot:
    """Buffers of one batch on its way: pinned in the host's memory, and on the card. held: its result was not fetched
    yet."""

    given: list[Tensor]
    there: list[Tensor]
    made: Tensor
    back: Tensor
    held: bool = False


class Conveyor:
    """Runs forward(*inputs) on a card, for batches of arrays of one shape. See stages.batching.Ahead.

    Another shape frees all that the former one had on the card, and is recorded anew. Not for several threads.
    """

    depth = DEPTH

    def __init__(self, card: Card, forward: Callable[..., Tensor]) -> None:
        self._card = card
        self._forward = forward
        self._shapes: list[tuple[object, ...]] = []
        self._slots: list[_Slot] = []
        self._next = 0

    @torch.inference_mode()
    def submit(self, *arrays: Rows) -> Callable[[], Rows]:
        """Start one batch and return a function that waits for its result: an array that is valid until the next
        submit(). At most `depth` results may be open, and are fetched in order; RuntimeError otherwise."""
        shapes: list[tuple[object, ...]] = [(array.shape, array.dtype) for array in arrays]
        if shapes != self._shapes:
            self.release()
            self._prepare(arrays)
            self._shapes = shapes
        slot = self._slots[self._next]
        if slot.held:
            raise RuntimeError(f"more than {DEPTH} batches on their way")
        self._next = (self._next + 1) % DEPTH
        # Nothing of the slot is in use: its last result was fetched, and that came after everything else.
        for given, array in zip(slot.given, arrays, strict=True):
            np.copyto(given.numpy(), array)
        for there, given in zip(slot.there, slot.given, strict=True):
            self._up.copy(there, given)
        self._compute.after(self._up.mark())
        for static, there in zip(self._inputs, slot.there, strict=True):
            self._compute.copy(static, there)
        self._compute.call(self._replay)
        # The next batch's work, in the same lane, is the next to write the recorded result.
        self._compute.copy(slot.made, self._result)
        self._down.after(self._compute.mark())
        self._down.copy(slot.back, slot.made)
        slot.held = True
        return partial(_fetched, slot, self._down.mark())

    def release(self) -> None:
        """Drop open results, and free everything on the card except the network."""
        if self._slots:
            self._card.settle()
            del self._replay, self._result, self._inputs, self._up, self._compute, self._down
        self._shapes, self._slots, self._next = [], [], 0

    def _prepare(self, arrays: tuple[Rows, ...]) -> None:
        rows = [torch.from_numpy(np.empty(array.shape, array.dtype)) for array in arrays]
        lanes = self._card.lane(), self._card.lane(), self._card.lane()
        inputs = [self._card.empty(one).zero_() for one in rows]
        self._card.settle()  # the zeros are there before another lane reads them
        replay, result = self._card.record(self._forward, inputs, lanes[1])
        slots = [
            _Slot(
                [self._card.host(one) for one in rows],
                [self._card.empty(one) for one in rows],
                self._card.empty(result),
                self._card.host(result),
            )
            for _ in range(DEPTH)
        ]
        self._up, self._compute, self._down = lanes
        self._inputs, self._replay, self._result, self._slots = inputs, replay, result, slots


def _fetched(slot: _Slot, done: Mark) -> Rows:
    done.wait()
    slot.held = False
    made: Rows = slot.back.numpy()
    return made
