"""The Wav2Lip generator in torch, from its layer table (models.wav2lip_table).

Parameter names and shapes are those of the published checkpoints, so these load with strict=True. `width` scales every
inner channel count: 1 is the published network (36,298,035 parameters), smaller ones are for tests and small machines.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from raydub.models.wav2lip_table import Layer, check_layout, exact_width, table_of


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


def _module(layer: Layer) -> nn.Module:
    shape = (layer.inner, layer.outer, layer.kernel, layer.stride, layer.padding)
    conv = nn.ConvTranspose2d(*shape, output_padding=layer.stride[0] - 1) if layer.up else nn.Conv2d(*shape)
    return Block(conv, layer.residual) if layer.norm else conv


class Wav2Lip(nn.Module):
    """forward(mel (N, 1, 80, 16), faces (N, 6, 96, 96)) -> (N, 3, 96, 96), all float.

    faces: in [0, 1], BGR; channels 0-2 the face with its lower half (rows 48..) set to 0, channels 3-5 the reference
    face. Result in [0, 1], BGR. width: a positive multiple of 1/16, ValueError otherwise.
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        self.width = float(exact_width(width))
        table = table_of(width)

        def chain(layers: tuple[Layer, ...]) -> nn.Sequential:
            return nn.Sequential(*map(_module, layers))

        self.face_encoder_blocks = nn.ModuleList(map(chain, table.encoder))
        self.audio_encoder = chain(table.audio)
        self.face_decoder_blocks = nn.ModuleList(map(chain, table.decoder))
        self.output_block = nn.Sequential(*map(_module, table.output), nn.Sigmoid())

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
