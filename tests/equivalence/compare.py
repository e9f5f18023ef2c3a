"""What a comparison with spandrel's networks needs: its classes, weights that prove something, rows of the table."""

from __future__ import annotations

import importlib
import importlib.util
import math
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

LIMIT = 1e-4
"""Largest difference allowed, as a share of the output's range (of 1 where that is smaller)."""


@dataclass(frozen=True)
class Row:
    """One comparison, as the table shows it."""

    architecture: str
    case: str
    max_difference: float
    range: float
    parameters: int
    shape: tuple[int, ...]


class Compare:
    """compare(architecture, case, ours, theirs, *inputs): runs both, keeps a row, fails above LIMIT."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def __call__(
        self, architecture: str, case: str, ours: Callable[..., Tensor], theirs: Callable[..., Tensor], *inputs: Tensor
    ) -> Row:
        with torch.inference_mode():
            expected, found = theirs(*inputs), ours(*inputs)
        assert found.shape == expected.shape
        assert found.dtype == expected.dtype == torch.float32
        assert bool(torch.isfinite(expected).all())
        count = sum(p.numel() for p in ours.parameters()) if isinstance(ours, nn.Module) else 0
        difference, extent = float((found - expected).abs().max()), float(expected.abs().max())
        row = Row(architecture, case, difference, extent, count, tuple(expected.shape))
        self.rows.append(row)
        assert difference <= LIMIT * max(1.0, extent), asdict(row)
        # Weights that make next to nothing of a picture would agree whatever the layers do.
        assert float(expected.std()) > 1e-2, asdict(row)
        return row


def reference(module: str, name: str) -> Any:
    """A class or function of spandrel; the test skips where spandrel is not installed."""
    if importlib.util.find_spec("spandrel") is None:
        pytest.skip("spandrel is not installed: make equivalence")
    if "torchvision" not in sys.modules and importlib.util.find_spec("torchvision") is None:
        _stand_in_for_torchvision()
    return getattr(importlib.import_module(module), name)


def _stand_in_for_torchvision() -> None:
    """spandrel's package imports three names of torchvision for networks that are not compared here; their modules
    are made up, and whatever would call one of the names fails."""
    wanted = {
        "torchvision": (),
        "torchvision.transforms": ("InterpolationMode",),
        "torchvision.transforms.functional": ("InterpolationMode", "rotate", "normalize"),
    }
    for path, names in wanted.items():
        module = ModuleType(path)
        for name in names:
            setattr(module, name, None)
        sys.modules[path] = module
        parent, _, child = path.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)


def lively(network: nn.Module, seed: int = 0, gain: float = 1.0) -> dict[str, Tensor]:
    """Fills a network, in place, with random weights under which a picture keeps its size through any depth, and
    returns its state dict. Convolutions and linear layers: normal, standard deviation gain / sqrt(inputs) times the
    gain of a leaky ReLU; biases: 0.05 of normal; slopes of PReLU: 0..0.4."""
    random = torch.Generator().manual_seed(seed)
    for layer in network.modules():
        if isinstance(layer, nn.PReLU):
            layer.weight.data = torch.rand(layer.weight.shape, generator=random) * 0.4
        elif isinstance(layer, (nn.Conv2d, nn.Linear)):
            deviation = gain * math.sqrt(2 / (1 + 0.2**2)) / math.sqrt(layer.weight[0].numel())
            layer.weight.data = torch.randn(layer.weight.shape, generator=random) * deviation
            if layer.bias is not None:
                layer.bias.data = torch.randn(layer.bias.shape, generator=random) * 0.05
    return {key: value.clone() for key, value in network.eval().state_dict().items()}


def picture(height: int, width: int, rows: int = 1, seed: int = 0) -> Tensor:
    """(rows, 3, height, width) float32 in [0, 1]: a gradient with noise on it."""
    random = torch.Generator().manual_seed(seed)
    down, across = torch.linspace(0, 1, height), torch.linspace(0, 1, width)
    smooth = torch.stack((down[:, None] * across, down[:, None].expand(-1, width), across.expand(height, -1)))
    return (0.7 * smooth + 0.3 * torch.rand(rows, 3, height, width, generator=random)).contiguous()
