"""A restoration network in torch, from bytes to bytes: conversions run on the device, batches have one fixed shape."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from raydub.arrays import U8
from raydub.stages.engine import WeightsRecord
from raydub.stages.restore.options import RestoreOptions

if TYPE_CHECKING:
    from torch import nn

_log = logging.getLogger(__name__)


class TorchRestorer:
    """Squares through `network`: (B, 3, S, S) RGB in [-1, 1] -> the same. precision: fp32, bf16 or fp16."""

    def __init__(self, network: nn.Module, device: str, precision: str) -> None:
        import torch

        self._device = torch.device(device)
        self._type = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
        layout: Any = {"memory_format": torch.channels_last}  # torch's type hints do not know it
        self._network = network.requires_grad_(False).to(self._device, self._type, **layout)
        self._warned = False

    def __call__(self, squares: U8) -> U8:
        """(B, S, S, 3) uint8 BGR -> restored, same shape. Repeatable: cuDNN keeps to deterministic kernels, no TF32.

        A pixel with a result that is not finite (16-bit overflow) is left unchanged, with one warning.
        """
        import torch

        from raydub.models.backends.copies import to_device, to_host

        with (
            torch.inference_mode(),
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
        ):
            given = to_device(squares, self._device).flip(-1).permute(0, 3, 1, 2)
            x = (given.to(torch.float32) / 127.5 - 1.0).to(self._type, memory_format=torch.channels_last)
            made = (self._network(x).float() + 1.0) * 127.5
            finite = made.isfinite()
            if not self._warned and not bool(finite.all()):
                self._warned = True
                _log.warning("the restoration network overflows in %s: those pixels are left unchanged", self._type)
            made = torch.where(finite, made, given.float()).round().clamp(0, 255).byte()
            return np.asarray(to_host(made.permute(0, 2, 3, 1).flip(-1).contiguous()), np.uint8)


def find_weights(options: RestoreOptions) -> WeightsRecord:
    """The record of the chosen weights, once their layout has been checked. Raises DependencyError: WEIGHTS_*, LICENCE,
    and what fetching a file of the catalogue raises."""
    found = _located(options)
    _check_layout(str(found.path), found.sha256, found.name)
    return WeightsRecord(found.name, found.sha256, found.licence, found.consent)


def load_network(options: RestoreOptions, device: str) -> tuple[TorchRestorer, int]:
    """(network on the device, side of its squares). Raises as find_weights, UsageError (FIELD_VALUE) for a precision
    that the device does not have, DependencyError (DEPENDENCY_MISSING) for an absent device."""
    from raydub.models.backends.base import resolve
    from raydub.models.load import load_state
    from raydub.models.restore.load import load_restorer

    _, precision = resolve(device, "torch", options.precision)
    found = _located(options)
    network, spec = load_restorer(load_state(found.path), found.name, options.fidelity)
    return TorchRestorer(network, device, precision), int(spec.size)


def _located(options: RestoreOptions) -> Any:
    from raydub.models.store.locate import locate

    return locate(options.model, accepted=options.accepted)


@functools.lru_cache(maxsize=8)
def _check_layout(path: str, digest: str, name: str) -> None:
    """Once per process and content (the digest is only there to tell contents apart)."""
    from raydub.models.load import load_state
    from raydub.models.restore.load import check_restorer

    check_restorer(load_state(path), name)
