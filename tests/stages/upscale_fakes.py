"""Small upscaling networks with random weights, their files, and made-up pictures, for tests of the upscale stage."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from raydub.arrays import U8
from raydub.media.frames import Frame
from raydub.media.info import Colour
from raydub.models.upscale.load import UpscaleSpec, load_upscaler
from raydub.models.upscale.rrdb import RRDBNet, RrdbSize
from raydub.models.upscale.srvgg import SRVGGNetCompact, SrvggSize
from raydub.stages.post_processor import Shown, ShownFace
from raydub.stages.upscale.network import UpscaleNetwork

SIZES = {
    "srvgg": SrvggSize(features=6, convs=2, scale=4),
    "x4": RrdbSize(features=6, growth=3, blocks=1),
    "x2": RrdbSize(features=6, growth=3, blocks=1, unshuffle=2),
}


def random_state(kind: str = "srvgg", seed: int = 0) -> dict[str, torch.Tensor]:
    """Weights that change a picture a lot without leaving the range of bytes everywhere."""
    torch.manual_seed(seed)
    size = SIZES[kind]
    network: nn.Module = RRDBNet(size) if isinstance(size, RrdbSize) else SRVGGNetCompact(size)
    state = {key: value.detach().clone() for key, value in network.state_dict().items()}
    for key, value in state.items():
        if value.ndim == 4:
            value.mul_(2.0)
        if key == "conv_last.bias":
            value.fill_(0.5)
    return state


def plain_state() -> dict[str, torch.Tensor]:
    """An SRVGGNetCompact that repeats each pixel 4 x 4 times and adds nothing."""
    return {key: torch.zeros_like(value) for key, value in random_state().items()}


def network(kind: str = "srvgg", core: int = 0, seed: int = 0, pixels: int = 0) -> UpscaleNetwork:
    made, spec = load_upscaler(random_state(kind, seed))
    return UpscaleNetwork(made, spec, "cpu", "fp32", core, pixels)


def of_module(module: nn.Module, core: int = 0, pixels: int = 0) -> UpscaleNetwork:
    """For a module that doubles pictures and looks at most 2 pixels around."""
    return UpscaleNetwork(module, UpscaleSpec("srvgg", 2, 1, 2), "cpu", "fp32", core, pixels)


def weights_file(folder: Path, state: dict[str, torch.Tensor] | None = None, name: str = "net.pth") -> str:
    path = folder / name
    torch.save({"params": random_state() if state is None else state}, path)
    return str(path)


def smooth(size: tuple[int, int], seed: int = 0) -> U8:
    """(h, w, 3) BGR without hard edges."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(50, 206, (size[1] // 20 + 2, size[0] // 20 + 2, 3)).astype(np.float32)
    return np.rint(cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)).clip(0, 255).astype(np.uint8)


def frame(index: int, size: tuple[int, int] = (64, 48), colour: Colour = Colour(matrix="bt601")) -> Frame:  # noqa: B008
    """Noise in all planes."""
    rng = np.random.default_rng(index)
    width, height = size
    half = (height // 2, width // 2)
    y = rng.integers(16, 236, (height, width), np.uint8)
    return Frame(index, y, rng.integers(90, 166, half, np.uint8), rng.integers(90, 166, half, np.uint8), colour)


def stream(
    count: int, size: tuple[int, int] = (64, 48), faces: tuple[ShownFace, ...] = (), first: int = 0
) -> list[Shown]:
    return [Shown(frame(first + index, size), faces) for index in range(count)]


def same(a: Frame, b: Frame) -> bool:
    planes = ((a.y, b.y), (a.u, b.u), (a.v, b.v))
    return a.index == b.index and a.colour == b.colour and all(np.array_equal(one, two) for one, two in planes)
