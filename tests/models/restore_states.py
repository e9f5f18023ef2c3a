"""Checkpoints of face restorers in the published layout, with random values that are as large as trained ones.

StyleGAN2 with standard normal weights gives pictures far outside [-1, 1], and a deep U-Net grows with every residual.
Here every weight is drawn with a standard deviation of gain / sqrt(inputs), and what is added to a picture with little
gain, so that outputs spread over about -1..1. No bias, noise or style is left at 0 or 1.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from raydub.models.restore.codeformer import CodeFormer
from raydub.models.restore.codeformer import Shape as CodeFormerShape
from raydub.models.restore.gfpgan import GFPGAN, published_shape
from raydub.models.restore.gfpgan import Shape as GFPGANShape

Architecture = Literal["gfpgan", "codeformer"]

# The published ones: 86.44 and 94.11 million parameters, about 350 and 377 MB in a file.
FULL: dict[str, GFPGANShape | CodeFormerShape] = {
    "gfpgan": GFPGANShape(widths=(512, 512, 512, 512, 512, 256, 128, 64), style=512),
    "codeformer": CodeFormerShape((64, 128, 128, 256, 256, 512), (1024, 256), 512, 1024, 9, 256),
}
# The same with fewer channels, at 128 and 64 pixels: some ten milliseconds a face.
SMALL: dict[str, GFPGANShape | CodeFormerShape] = {
    "gfpgan": GFPGANShape(widths=(32, 32, 32, 32, 32, 16), style=32),
    "codeformer": CodeFormerShape((32, 32, 32, 64), (64, 32), 64, 128, 2, 64),
}

_GAINS = {
    "to_rgb": 0.3,  # eight of them add up
    "modulation": 0.4,  # styles around 1
    "skip": 0.7,
    "conv_body": 1.0,  # residual blocks
    "fuse_convs_dict": 0.7,  # what is added four times
}


def random_restorer_state(
    seed: int = 0,
    architecture: Architecture = "gfpgan",
    small: bool = True,
    shape: GFPGANShape | CodeFormerShape | None = None,
) -> dict[str, Tensor]:
    """A state dict as the published files hold it under `params_ema`: the published one of size 512, or, when small,
    one of few channels, of size 128 (gfpgan) or 64 (codeformer), or of any other shape."""
    shape = shape or (SMALL if small else FULL)[architecture]
    with torch.device("meta"):
        network = GFPGAN(shape) if isinstance(shape, GFPGANShape) else CodeFormer(shape)
    random = torch.Generator().manual_seed(seed)
    return {key: _filled(key, published_shape(key, value.shape), random) for key, value in network.state_dict().items()}


def save_restorer(path: Path, seed: int = 0, architecture: Architecture = "gfpgan", small: bool = True) -> Path:
    """The same in a file like the published ones: torch's format, nested."""
    torch.save({"params_ema": random_restorer_state(seed, architecture, small)}, path)
    return path


def face(size: int, rows: int = 1, seed: int = 0) -> Tensor:
    """(rows, 3, size, size) float32 in [-1, 1]: smooth blots, since a U-Net averages white noise away."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand(rows, 3, 8, 8, generator=random) * 2 - 1
    return F.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=False).clamp(-1, 1)


def _filled(key: str, shape: torch.Size, random: torch.Generator) -> Tensor:
    values = torch.randn(shape, generator=random)
    if ".noises." in key or key in ("stylegan_decoder.constant_input.weight", "quantize.embedding.weight"):
        return values
    if key == "position_emb":
        return 0.5 * values
    if key.endswith("bias"):
        # What multiplies features is spread around 1.
        multiplies = key.endswith("modulation.bias") or (key.startswith("condition_scale") and key.endswith("2.bias"))
        return 0.05 * values + (1.0 if multiplies else 0.0)
    if key.endswith("weight") and len(shape) == 1:
        return 0.1 * values if len(values) == 1 else 1.0 + 0.1 * values  # of the noise, of a norm
    inputs = shape[2:].numel() if len(shape) == 5 else shape[1:].numel()
    gain = next((gain for part, gain in _GAINS.items() if part in key), 1.3)
    gain = 0.25 if shape[0] == 3 and len(shape) == 4 else gain  # a picture
    return values * (gain / math.sqrt(inputs))
