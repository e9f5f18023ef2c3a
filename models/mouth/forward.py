"""The trained mouth network (network.py) in numpy, for use: importing torch takes seconds of processor time and
hundreds of megabytes in every worker, and this network needs 0.1 ms a frame. A test compares both."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np
from threadpoolctl import ThreadpoolController

from raydub.arrays import F32
from raydub.models.mel import BANDS
from raydub.models.mouth.layout import BAND_CHANNELS, BAND_KERNEL, NetworkConfig

_EPSILON = 1e-5
"""Of batch normalisation, as torch has it by default."""


class Ensemble:
    """The mean of several networks of one layout, whose batch normalisation is folded into the convolutions."""

    def __init__(self, config: NetworkConfig, members: int, state: Mapping[str, F32]) -> None:
        """state: the float tensors of network.Ensemble's state dict. Raises ValueError for tensors that are absent,
        left over, or of another shape."""
        left = dict(state)
        self._members = [_Member(config, left, f"members.{index}.") for index in range(members)]
        if left:
            raise ValueError(f"tensors of no layer: {', '.join(sorted(left)[:3])}")

    def __call__(self, mel: F32) -> F32:
        """mel (80, T) float32 in [-4, 4] → (outputs, T - 2 * reach) float32, see network.py. Bit-identical for
        any number of threads that numpy's BLAS may use, because it uses one: products split among threads are rounded
        in other places, and stages run with different numbers of them."""
        with _blas().limit(limits=1, user_api="blas"):
            return np.mean([member(mel) for member in self._members], axis=0, dtype=np.float32)


@functools.cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


class _Member:
    def __init__(self, config: NetworkConfig, state: dict[str, F32], prefix: str) -> None:
        c, (high, wide) = config.channels, BAND_KERNEL

        def conv(name: str, norm: str | None, *shape: int) -> tuple[F32, F32]:
            """Weight (out, in, ..) and bias (out, 1) of a convolution and of the normalisation after it."""
            weight = _taken(state, f"{prefix}{name}.weight", shape)
            bias = _taken(state, f"{prefix}{name}.bias", shape[:1])
            if norm is not None:
                mean, variance, scale, shift = (
                    _taken(state, f"{prefix}{norm}.{what}", shape[:1])
                    for what in ("running_mean", "running_var", "weight", "bias")
                )
                scale = scale / np.sqrt(variance + np.float32(_EPSILON))
                weight = weight * scale.reshape(-1, *[1] * (len(shape) - 1))
                bias = (bias - mean) * scale + shift
            return np.ascontiguousarray(weight), bias[:, None]

        self._bands = [
            conv("bands.0", "bands.1", BAND_CHANNELS, 1, high, wide),
            conv("bands.3", "bands.4", BAND_CHANNELS, BAND_CHANNELS, high, wide),
        ]
        self._enter = conv("enter.1", "enter.2", c, BAND_CHANNELS * BANDS // 4, 3)
        self._blocks = []
        for i, dilation in enumerate(config.dilations):
            first = conv(f"blocks.{i}.body.0", f"blocks.{i}.body.1", c, c, 3)
            second = conv(f"blocks.{i}.body.4", f"blocks.{i}.body.5", c, c, 1)
            self._blocks.append((dilation, first, second))
        self._leave = conv("leave", None, config.outputs, c, 1)
        self._kernels = config.kernels

    def __call__(self, mel: F32) -> F32:
        x = mel[None] / np.float32(4)  # (1, 80, T)
        for weight, bias in self._bands:
            x = np.maximum(_band_conv(x, weight, bias), 0)
        x = x.reshape(-1, x.shape[-1])  # (16 * 20, T - 4)
        x = np.maximum(_conv(x, *self._enter), 0)
        for dilation, first, second in self._blocks:
            body = _conv(np.maximum(_conv(x, *first, dilation), 0), *second)
            x = np.maximum(x[:, dilation:-dilation] + body, 0)
        x = _conv(x, *self._leave)
        return np.stack(
            [np.convolve(row, kernel, "valid") for row, kernel in zip(x, self._kernels, strict=True)]
        )  # symmetric


def _taken(state: dict[str, F32], name: str, shape: tuple[int, ...]) -> F32:
    if name not in state:
        raise ValueError(f"there is no tensor {name}")
    found = state.pop(name)
    if found.shape != shape:
        raise ValueError(f"{name} has shape {found.shape}, expected {shape}")
    return found


def _conv(x: F32, weight: F32, bias: F32, dilation: int = 1) -> F32:
    """x (in, T), weight (out, in, k) → (out, T - (k - 1) * dilation)."""
    length = x.shape[1] - (weight.shape[2] - 1) * dilation
    out = weight[:, :, 0] @ x[:, :length]
    for k in range(1, weight.shape[2]):
        out += weight[:, :, k] @ x[:, k * dilation : k * dilation + length]
    return np.asarray(out + bias, np.float32)


def _band_conv(x: F32, weight: F32, bias: F32) -> F32:
    """x (in, F, T), weight (out, in, 5, 3) → (out, F / 2, T - 2): every second band, zeros beyond the lowest and the
    highest."""
    outputs, inputs, high, wide = weight.shape
    bands, length = x.shape[1] // 2, x.shape[2] - wide + 1
    x = np.pad(x, ((0, 0), (high // 2, high // 2), (0, 0)))
    patches = np.empty((inputs, high, wide, bands, length), np.float32)
    for i in range(high):
        for j in range(wide):
            patches[:, i, j] = x[:, i : i + 2 * bands : 2, j : j + length]
    out = weight.reshape(outputs, -1) @ patches.reshape(-1, bands * length)
    return np.asarray((out + bias).reshape(outputs, bands, length), np.float32)
