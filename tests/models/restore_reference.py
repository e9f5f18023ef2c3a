"""GFPGAN written a second time, from the papers' formulas: functions over a state dict, nothing of raydub's network."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def by_the_paper(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """x (1, 3, size, size) -> the same shape. The weights are modulated, as in StyleGAN2's paper."""

    def conv(name: str, x: Tensor) -> Tensor:
        weight = state[f"{name}.weight"]
        return F.conv2d(x, weight, state.get(f"{name}.bias"), padding=weight.shape[-1] // 2)

    def resized(x: Tensor, factor: float) -> Tensor:
        return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)

    def residual(name: str, x: Tensor, factor: float) -> Tensor:
        y = F.leaky_relu(conv(f"{name}.conv1", x), 0.2)
        y = F.leaky_relu(conv(f"{name}.conv2", resized(y, factor)), 0.2)
        return y + conv(f"{name}.skip", resized(x, factor))

    def steering(name: str, x: Tensor) -> Tensor:
        return conv(f"{name}.2", F.leaky_relu(conv(f"{name}.0", x), 0.2))

    def modulated(name: str, x: Tensor, style: Tensor, demodulated: bool) -> Tensor:
        linear = f"{name}.modulated_conv.modulation"
        scales = F.linear(style, state[f"{linear}.weight"], state[f"{linear}.bias"])
        weight = state[f"{name}.modulated_conv.weight"][0] * scales[None, :, None, None]
        if demodulated:
            weight = weight / torch.sqrt(weight.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8)
        return F.conv2d(x, weight, padding=weight.shape[-1] // 2)

    def styled(name: str, x: Tensor, style: Tensor, noise: int) -> Tensor:
        y = math.sqrt(2) * modulated(name, x, style, True)
        y = y + state[f"{name}.weight"] * state[f"stylegan_decoder.noises.noise{noise}"] + state[f"{name}.bias"]
        return F.leaky_relu(y, 0.2)

    levels = int(math.log2(x.shape[-1])) - 2
    x, kept = F.leaky_relu(conv("conv_body_first", x), 0.2), []
    for level in range(levels):
        x = residual(f"conv_body_down.{level}", x, 0.5)
        kept.append(x)
    x = F.leaky_relu(conv("final_conv", x), 0.2)
    linear = F.linear(x.flatten(), state["final_linear.weight"], state["final_linear.bias"])
    styles = linear.view(2 * levels + 2, -1)
    decoder = "stylegan_decoder"
    y = styled(f"{decoder}.style_conv1", state[f"{decoder}.constant_input.weight"], styles[0], 0)
    picture = modulated(f"{decoder}.to_rgb1", y, styles[1], False) + state[f"{decoder}.to_rgb1.bias"]
    for level in range(levels):
        x = residual(f"conv_body_up.{level}", x + kept.pop(), 2)
        first, second = 2 * level, 2 * level + 1
        y = styled(f"{decoder}.style_convs.{first}", resized(y, 2), styles[first + 1], first + 1)
        half = y.shape[1] // 2
        steered = y[:, half:] * steering(f"condition_scale.{level}", x) + steering(f"condition_shift.{level}", x)
        y = torch.cat((y[:, :half], steered), dim=1)
        y = styled(f"{decoder}.style_convs.{second}", y, styles[second + 1], second + 1)
        name = f"{decoder}.to_rgbs.{level}"
        picture = resized(picture, 2) + modulated(name, y, styles[second + 2], False) + state[f"{name}.bias"]
    return picture
