"""Rows of a batch that do not depend on each other, bit for bit."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Rows(nn.Module, ABC):
    """A network for images: forward runs `restored`, on a CPU one row at a time.

    With several threads, torch's linear layers and group norms give a row other last bits at another position of the
    batch (seen with batches of 3, 5 and 6 on two threads). One image of 512 pixels keeps all cores busy, and larger
    batches exceed the cache.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu" and len(x) > 1:
            return torch.cat([self.restored(row) for row in x.split(1)])
        return self.restored(x)

    @abstractmethod
    def restored(self, x: Tensor) -> Tensor:
        """The network itself: (B, 3, s, s) to (B, 3, s, s)."""
