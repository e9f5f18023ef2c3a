"""What upscaling costs, from the shapes of the weights: multiply-accumulates, for predictions beside measurements."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from raydub.models.upscale.rrdb import UNSHUFFLE, todays_names

_FOUR, _SIXTEEN = ("conv_up1.weight",), ("conv_up2.weight", "conv_hr.weight", "conv_last.weight")


def macs_per_pixel(state: Mapping[str, Tensor]) -> float:
    """Multiply-accumulates of all convolutions per pixel of the input (FLOPs are twice that); activations, sums and
    resizing, together under 1 % of the arithmetic, are not counted.

    state: names and shapes that check_upscaler accepts; nothing else is looked at.
    """
    state = todays_names(state)
    first = state.get("conv_first.weight")
    # The blocks of an RRDBNet run after the unshuffle, on so many times fewer positions.
    share = 1.0 if first is None else 1.0 / UNSHUFFLE[first.shape[1]] ** 2
    total = 0.0
    for key, value in state.items():
        if value.ndim == 4:
            total += value.numel() * share * (4 if key in _FOUR else 16 if key in _SIXTEEN else 1)
    return total
