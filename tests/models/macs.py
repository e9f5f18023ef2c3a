"""What a network costs, counted by torch while it runs without memory: for tests and predictions of speed."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def macs(network: nn.Module, height: int, width: int) -> int:
    """Multiplications with addition of all convolutions and matrices for one picture."""
    shadow = copy.deepcopy(network).to("meta").float().eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        shadow(torch.empty(1, 3, height, width, device="meta"))
    return int(counter.get_total_flops()) // 2
