"""Rows of a batch that do not depend on each other, bit for bit."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Rows(nn.Module, ABC):
    """A network of pictures: forward runs `restored`, on a CPU with one row at a time.

    There, with several threads, torch's linear layers and group norms give a row other last bits in another place of
    the batch (seen with batches of 3, 5 and 6 on two threads), because threads share the rows out. One picture of 512
    pixels already keeps all cores busy, and larger batches only leave the cache.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu" and len(x) > 1:
            return torch.cat([self.restored(row) for row in x.split(1)])
        return self.restored(x)

    @abstractmethod
    def restored(self, x: Tensor) -> Tensor:
        """The network itself: (B, 3, s, s) to (B, 3, s, s)."""
