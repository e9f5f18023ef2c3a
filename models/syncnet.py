"""SyncNet (Chung and Zisserman, "Out of time: automated lip sync in the wild", 2016): one stream of 5 frames of a face,
one of 0.2 s of sound, each to 1024 numbers that are near each other where they belong together.

Parameter names and shapes are those of the published file, so that it loads with strict=True.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from raydub.models.load import check_layout, load_state

FRAMES, SIDE, COLUMNS = 5, 224, 20
"""Frames and pixels of the picture's input, columns of models.mfcc of the sound's."""
FEATURES = 1024


class SyncNet(nn.Module):
    """sound(mfcc (N, 1, 13, 20)) and picture(faces (N, 3, 5, 224, 224), BGR, 0 .. 255) -> (N, 1024), all float."""

    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud = nn.Sequential(
            *_flat(1, 64, 3, 1),
            nn.MaxPool2d((1, 1), (1, 1)),
            *_flat(64, 192, 3, 1),
            nn.MaxPool2d((3, 3), (1, 2)),
            *_flat(192, 384, 3, 1),
            *_flat(384, 256, 3, 1),
            *_flat(256, 256, 3, 1),
            nn.MaxPool2d((3, 3), (2, 2)),
            *_flat(256, 512, (5, 4), 0),
        )
        self.netfcaud = _dense()
        self.netfclip = _dense()
        self.netcnnlip = nn.Sequential(
            *_deep(3, 96, (5, 7, 7), (1, 2, 2), 0),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_deep(96, 256, (1, 5, 5), (1, 2, 2), (0, 1, 1)),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
            *_deep(256, 256, (1, 3, 3), 1, (0, 1, 1)),
            *_deep(256, 256, (1, 3, 3), 1, (0, 1, 1)),
            *_deep(256, 256, (1, 3, 3), 1, (0, 1, 1)),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_deep(256, 512, (1, 6, 6), 1, 0),
        )

    def sound(self, mfcc: Tensor) -> Tensor:
        """The sound's stream."""
        found: Tensor = self.netfcaud(self.netcnnaud(mfcc).flatten(1))
        return found

    def picture(self, faces: Tensor) -> Tensor:
        """The picture's stream."""
        found: Tensor = self.netfclip(self.netcnnlip(faces).flatten(1))
        return found


def load_syncnet(path: str | Path, sha256: str | None = None) -> SyncNet:
    """The network with the weights of a file, on the CPU. Raises what models.load.load_state raises, and
    DependencyError WEIGHTS_LAYOUT for other weights."""
    state = load_state(path, sha256)
    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in SyncNet().state_dict().items()}
    check_layout(str(path), state, shapes, "SyncNet", "num_batches_tracked")
    return from_state(state)


def from_state(state: Mapping[str, Tensor]) -> SyncNet:
    """The network with these tensors, ready for use."""
    network = SyncNet()
    network.load_state_dict({**network.state_dict(), **state})
    return network.eval().requires_grad_(False)


def _flat(inner: int, outer: int, kernel: int | tuple[int, int], padding: int) -> list[nn.Module]:
    return [nn.Conv2d(inner, outer, kernel, 1, padding), nn.BatchNorm2d(outer), nn.ReLU()]


def _deep(
    inner: int,
    outer: int,
    kernel: tuple[int, int, int],
    stride: int | tuple[int, int, int],
    padding: int | tuple[int, int, int],
) -> list[nn.Module]:
    return [nn.Conv3d(inner, outer, kernel, stride, padding), nn.BatchNorm3d(outer), nn.ReLU()]


def _dense() -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, FEATURES))
