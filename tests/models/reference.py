"""The published Wav2Lip inference, written a second time from its description: functions over a state dict.

Nothing of raydub's own network is used here: this is what law 8 compares with.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

State = Mapping[str, Tensor]

AUDIO_STRIDES = [1, 1, 1, (3, 1), 1, 1, 3, 1, 1, (3, 2), 1, 1, 1]
AUDIO_RESIDUAL = {1, 2, 4, 5, 7, 8, 10}
FACE_STRIDES = [1, 2, 2, 2, 2, 2, 1]


def _norm(state: State, name: str, x: Tensor) -> Tensor:
    mean, var = state[f"{name}.1.running_mean"], state[f"{name}.1.running_var"]
    return F.batch_norm(x, mean, var, state[f"{name}.1.weight"], state[f"{name}.1.bias"], training=False, eps=1e-5)


def _conv(
    state: State, name: str, x: Tensor, stride: int | tuple[int, int], padding: int, residual: bool = False
) -> Tensor:
    name = f"{name}.conv_block"
    y = _norm(state, name, F.conv2d(x, state[f"{name}.0.weight"], state[f"{name}.0.bias"], stride, padding))
    return F.relu(y + x if residual else y)


def _up(state: State, name: str, x: Tensor, stride: int, padding: int, extra: int) -> Tensor:
    name = f"{name}.conv_block"
    y = F.conv_transpose2d(x, state[f"{name}.0.weight"], state[f"{name}.0.bias"], stride, padding, extra)
    return F.relu(_norm(state, name, y))


def _count(state: State, prefix: str) -> int:
    return len({key[len(prefix) :].split(".")[0] for key in state if key.startswith(prefix)})


@torch.no_grad()
def generator(state: State, mel: Tensor, faces: Tensor) -> Tensor:
    """mel (N, 1, 80, 16), faces (N, 6, 96, 96) -> (N, 3, 96, 96)."""
    sound = mel
    for i, stride in enumerate(AUDIO_STRIDES):
        sound = _conv(state, f"audio_encoder.{i}", sound, stride, 0 if i >= 11 else 1, i in AUDIO_RESIDUAL)
    kept = []
    x = faces
    for i, stride in enumerate(FACE_STRIDES):
        for j in range(_count(state, f"face_encoder_blocks.{i}.")):
            name = f"face_encoder_blocks.{i}.{j}"
            if i == 6:
                x = _conv(state, name, x, 1, 0)
            elif j == 0:
                x = _conv(state, name, x, stride, 3 if i == 0 else 1)
            else:
                x = _conv(state, name, x, 1, 1, residual=True)
        kept.append(x)
    x = sound
    for i in range(7):
        for j in range(_count(state, f"face_decoder_blocks.{i}.")):
            name = f"face_decoder_blocks.{i}.{j}"
            if j > 0:
                x = _conv(state, name, x, 1, 1, residual=True)
            elif i == 0:
                x = _conv(state, name, x, 1, 0)
            else:
                x = _up(state, name, x, *((1, 0, 0) if i == 1 else (2, 1, 1)))
        x = torch.cat([x, kept.pop()], dim=1)
    x = _conv(state, "output_block.0", x, 1, 1)
    return torch.sigmoid(F.conv2d(x, state["output_block.1.weight"], state["output_block.1.bias"]))


def published_floats(state: State, crops: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """Pre-processing in numpy, the network, (N, 96, 96, 3) in [0, 1]. crops: uint8, windows: (N, 80, 16)."""
    masked = crops.copy()
    masked[:, 48:] = 0
    both = np.concatenate([masked, crops], axis=3) / 255.0
    faces = torch.from_numpy(both.transpose(0, 3, 1, 2).astype(np.float32))
    return generator(state, torch.from_numpy(windows[:, None].astype(np.float32)), faces).numpy().transpose(0, 2, 3, 1)


def published_paste(image: np.ndarray, box: tuple[int, int, int, int], face: np.ndarray) -> np.ndarray:
    """image (H, W, 3) uint8 with `face` (96, 96, 3) in [0, 1] pasted into box x0 y0 x1 y1, as published."""
    x0, y0, x1, y1 = box
    out = image.copy()
    out[y0:y1, x0:x1] = cv2.resize((face * 255.0).astype(np.uint8), (x1 - x0, y1 - y0))
    return out


def lively(network: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Random statistics for all batch norms and a loud last layer, so that outputs spread over [0, 1]."""
    random = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.05, generator=random)
            module.running_var.uniform_(0.05, 0.2, generator=random)
            module.weight.data.uniform_(0.5, 1.0, generator=random)
            module.bias.data.normal_(0, 0.05, generator=random)
            module.num_batches_tracked.fill_(1000)
    return network.eval()
