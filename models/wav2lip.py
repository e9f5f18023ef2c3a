"""The Wav2Lip generator (Prajwal et al., "A Lip Sync Expert Is All You Need", 2020), from its published layer table.

Parameter names and shapes are those of the published checkpoints, so these load with strict=True. `width` scales every
inner channel count: 1 is the published network (36,298,035 parameters), smaller ones are for tests and small machines.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from raydub.models import load

FACE = 96
"""Side of the square face crop in pixels."""

# conv: (in, out, kernel, stride, padding, residual). Channel counts at width 1.
_Conv = tuple[int, int, int, int | tuple[int, int], int, bool]


def _down(inner: int, outer: int, residuals: int) -> list[_Conv]:
    return [(inner, outer, 3, 2, 1, False)] + [(outer, outer, 3, 1, 1, True)] * residuals


_FACE_ENCODER: list[list[_Conv]] = [
    [(6, 16, 7, 1, 3, False)],  # 96
    _down(16, 32, 2),  # 48
    _down(32, 64, 3),  # 24
    _down(64, 128, 2),  # 12
    _down(128, 256, 2),  # 6
    _down(256, 512, 1),  # 3
    [(512, 512, 3, 1, 0, False), (512, 512, 1, 1, 0, False)],  # 1
]
_AUDIO_ENCODER: list[_Conv] = [  # 80 x 16
    (1, 32, 3, 1, 1, False),
    (32, 32, 3, 1, 1, True),
    (32, 32, 3, 1, 1, True),
    (32, 64, 3, (3, 1), 1, False),  # 27 x 16
    (64, 64, 3, 1, 1, True),
    (64, 64, 3, 1, 1, True),
    (64, 128, 3, 3, 1, False),  # 9 x 6
    (128, 128, 3, 1, 1, True),
    (128, 128, 3, 1, 1, True),
    (128, 256, 3, (3, 2), 1, False),  # 3 x 3
    (256, 256, 3, 1, 1, True),
    (256, 512, 3, 1, 0, False),  # 1 x 1
    (512, 512, 1, 1, 0, False),
]
# One decoder level: channels of the level below, its skip, out; residual blocks. Level 0 is a plain 1x1 convolution.
_FACE_DECODER: list[tuple[int, int, int, int]] = [
    (512, 0, 512, 0),  # 1
    (512, 512, 512, 1),  # 3
    (512, 512, 512, 2),  # 6
    (512, 256, 384, 2),  # 12
    (384, 128, 256, 2),  # 24
    (256, 64, 128, 2),  # 48
    (128, 32, 64, 2),  # 96
]
_FIRST = "face_encoder_blocks.0.0.conv_block.0.weight"


class Block(nn.Module):
    """Convolution (or its transpose), batch norm, the input added when residual, ReLU."""

    def __init__(self, conv: nn.Conv2d | nn.ConvTranspose2d, residual: bool = False) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels))
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv_block(x)
        return torch.relu(y + x if self.residual else y)

    def fold(self) -> None:
        """Fold the batch norm's running statistics into the convolution."""
        if len(self.conv_block) == 2:
            conv, norm = self.conv_block[0], self.conv_block[1]
            transposed = isinstance(conv, nn.ConvTranspose2d)
            self.conv_block = nn.Sequential(fuse_conv_bn_eval(conv, norm, transpose=transposed))


class Wav2Lip(nn.Module):
    """forward(mel (N, 1, 80, 16), faces (N, 6, 96, 96)) -> (N, 3, 96, 96), all float.

    faces: in [0, 1], BGR; channels 0-2 the face with its lower half (rows 48..) set to 0, channels 3-5 the reference
    face. Result in [0, 1], BGR. width: a positive multiple of 1/16, ValueError otherwise.
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        exact = Fraction(width).limit_denominator(1 << 16)
        if exact <= 0 or (exact * 16).denominator != 1:
            raise ValueError(f"width {width} is not a positive multiple of 1/16")
        self.width = float(exact)

        def wide(channels: int) -> int:
            # 6 (two pictures) and 1 (the mel) are inputs and stay as they are.
            return channels if channels in (1, 6) else int(channels * exact)

        def block(conv: _Conv) -> Block:
            inner, outer, kernel, stride, padding, residual = conv
            return Block(nn.Conv2d(wide(inner), wide(outer), kernel, stride, padding), residual)

        def level(index: int) -> nn.Sequential:
            below, skip, outer, residuals = _FACE_DECODER[index]
            inner, outer = wide(below) + (wide(skip) if skip else 0), wide(outer)
            if index == 0:
                first = Block(nn.Conv2d(inner, outer, 1, 1, 0))
            elif index == 1:
                first = Block(nn.ConvTranspose2d(inner, outer, 3, 1, 0))
            else:
                first = Block(nn.ConvTranspose2d(inner, outer, 3, 2, 1, output_padding=1))
            return nn.Sequential(first, *(Block(nn.Conv2d(outer, outer, 3, 1, 1), True) for _ in range(residuals)))

        self.face_encoder_blocks = nn.ModuleList(nn.Sequential(*map(block, part)) for part in _FACE_ENCODER)
        self.audio_encoder = nn.Sequential(*map(block, _AUDIO_ENCODER))
        self.face_decoder_blocks = nn.ModuleList(level(index) for index in range(len(_FACE_DECODER)))
        self.output_block = nn.Sequential(
            Block(nn.Conv2d(wide(80), wide(32), 3, 1, 1)), nn.Conv2d(wide(32), 3, 1, 1, 0), nn.Sigmoid()
        )

    def forward(self, mel: Tensor, faces: Tensor) -> Tensor:
        skips = []
        x = faces
        for encode in self.face_encoder_blocks:
            x = encode(x)
            skips.append(x)
        x = self.audio_encoder(
            mel
        )  # (N, 512, 1, 1): the decoder starts from the sound; the face comes through the skips
        for decode in self.face_decoder_blocks:
            x = torch.cat((decode(x), skips.pop()), dim=1)
        made: Tensor = self.output_block(x)
        return made

    def folded(self) -> Wav2Lip:
        """Fold all batch norms, in place, for inference; returns self."""
        self.eval()
        for module in self.modules():
            if isinstance(module, Block):
                module.fold()
        return self


def width_of(state: Mapping[str, Tensor], name: str = "the checkpoint") -> float:
    """Channel width of a Wav2Lip state dict; DependencyError (WEIGHTS_LAYOUT) where it is another network's."""
    first = state.get(_FIRST)
    if first is None or first.ndim != 4 or first.shape[0] == 0 or tuple(first.shape[1:]) != (6, 7, 7):
        expected, found = Wav2Lip(1 / 16).state_dict().keys(), state.keys()
        raise load.layout_error(name, sorted(expected - found), sorted(found - expected), "a Wav2Lip generator")
    return first.shape[0] / 16


def check_layout(state: Mapping[str, Tensor], name: str = "the checkpoint") -> float:
    """Width of a state dict whose names and shapes are all right; DependencyError (WEIGHTS_LAYOUT) that names the
    missing, the unexpected or the misshapen keys otherwise. Costs no memory."""
    width = width_of(state, name)
    with torch.device("meta"):
        wanted = {key: value.shape for key, value in Wav2Lip(width).state_dict().items()}
    # Checkpoints that went through a converter may lack the batch counters, which inference does not use.
    load.check_layout(name, state, wanted, "a Wav2Lip generator", optional="num_batches_tracked")
    return width


def from_state(state: Mapping[str, Tensor], name: str = "the checkpoint") -> Wav2Lip:
    """The network with these weights (fp32, eval mode), its width inferred. Raises as check_layout."""
    width = check_layout(state, name)
    with torch.device("meta"):
        network = Wav2Lip(width)
    counters = {
        key: torch.zeros((), dtype=torch.long) for key in network.state_dict() if key.endswith("num_batches_tracked")
    }
    whole = {**counters, **state}
    network.load_state_dict({key: _fp32(value) for key, value in whole.items()}, strict=True, assign=True)
    return network.eval()


def _fp32(value: Tensor) -> Tensor:
    return value.detach().float() if value.is_floating_point() else value.detach()
