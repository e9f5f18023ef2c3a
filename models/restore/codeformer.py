"""CodeFormer (Zhou et al., "Towards Robust Blind Face Restoration with Codebook Lookup Transformer", NeurIPS 2022): an
encoder, a transformer that predicts the codebook entry of each position of the clean face, and a decoder that uses the
encoder's features as far as fidelity asks. Written from the paper; parameter names and
shapes are those of the published checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raydub.models.load import layout_error
from raydub.models.restore import vqgan
from raydub.models.restore.keys import count
from raydub.models.restore.rows import Rows

WANTED = "a CodeFormer for restoration"
HEADS = 8
"""Of the transformer; the only figure that does not follow from shapes."""

_SLOPE = 0.2
_STEADY = 1e-5  # added to variances
_BEYOND_LEVELS = 6  # blocks of an encoder's list that are not three to a level, after the first


@dataclass(frozen=True)
class Shape:
    """The network's dimensions by its parameters' shapes. The published network: widths (64, 128, 128, 256, 256, 512),
    codes 1024 of 256, inner 512, layers 9, hidden 1024, places 256, size 512.

    widths: channels of the levels, the largest side first; codes: (entries, channels) of the codebook; inner, hidden:
    channels of the transformer and of its feed-forward part; places: positions of codes, a square number.
    """

    widths: tuple[int, ...]
    codes: tuple[int, int]
    inner: int
    hidden: int
    layers: int
    places: int

    @property
    def size(self) -> int:
        """Side of the pictures in pixels."""
        return math.isqrt(self.places) << (len(self.widths) - 1)


class Layer(nn.Module):
    """A transformer layer, norms first; positions are added to queries and keys."""

    def __init__(self, inner: int, hidden: int) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(inner, HEADS, batch_first=True)
        self.linear1, self.linear2 = nn.Linear(inner, hidden), nn.Linear(hidden, inner)
        self.norm1, self.norm2 = nn.LayerNorm(inner), nn.LayerNorm(inner)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        y = self.norm1(x)
        placed = y + positions
        x = x + self.self_attn(placed, placed, y, need_weights=False)[0]
        return x + self.linear2(F.gelu(self.linear1(self.norm2(x))))


class Fusion(nn.Module):
    """Features of the decoder, steered by the encoder's of the same side."""

    def __init__(self, channels: int) -> None:
        super().__init__()

        def steering() -> nn.Sequential:
            first, second = (nn.Conv2d(channels, channels, 3, 1, 1) for _ in range(2))
            return nn.Sequential(first, nn.LeakyReLU(_SLOPE), second)

        self.encode_enc = vqgan.Residual(2 * channels, channels)
        self.scale, self.shift = steering(), steering()

    def forward(self, decoded: Tensor, encoded: Tensor, fidelity: float) -> Tensor:
        both = self.encode_enc(torch.cat((encoded, decoded), dim=1))
        return decoded + fidelity * (decoded * self.scale(both) + self.shift(both))


class Codebook(nn.Module):
    def __init__(self, entries: int, channels: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(entries, channels)


class CodeFormer(Rows):
    """forward((B, 3, size, size) RGB in [-1, 1]) -> the same shape, about [-1, 1], not clamped.

    fidelity: the paper's w in 0..1; 0: the codebook alone, the cleanest; 1: closest to the input.
    """

    def __init__(self, shape: Shape, fidelity: float = 0.5) -> None:
        super().__init__()
        self.shape = shape
        self.fidelity = fidelity
        entries, channels = shape.codes
        self.encoder = vqgan.encoder(shape.widths, channels)
        self.generator = vqgan.decoder(shape.widths, channels)
        self.quantize = Codebook(entries, channels)
        self.position_emb = nn.Parameter(torch.empty(shape.places, shape.inner))
        self.feat_emb = nn.Linear(channels, shape.inner)
        self.ft_layers = nn.ModuleList(Layer(shape.inner, shape.hidden) for _ in range(shape.layers))
        self.idx_pred_layer = nn.Sequential(nn.LayerNorm(shape.inner), nn.Linear(shape.inner, entries, bias=False))
        # All levels but the largest and the smallest side, by side.
        fused = range(1, len(shape.widths) - 1)
        self.fuse_convs_dict = nn.ModuleDict({str(shape.size >> level): Fusion(shape.widths[level]) for level in fused})

    def restored(self, x: Tensor) -> Tensor:
        encoded = {}
        for index, block in enumerate(self.encoder.blocks):
            x = block(x)
            if index in self.encoder.taps:
                encoded[self.encoder.taps[index]] = x
        x = _restyled(self._looked_up(x), x)
        for index, block in enumerate(self.generator.blocks):
            x = block(x)
            level = self.generator.taps.get(index)
            side = "" if level is None else str(self.shape.size >> level)
            if level is not None and self.fidelity > 0 and side in self.fuse_convs_dict:
                x = self.fuse_convs_dict[side](x, encoded[level], self.fidelity)
        return x

    def _looked_up(self, features: Tensor) -> Tensor:
        """The codebook's likeliest entries (B, C, h, w) for features of that shape."""
        x = self.feat_emb(features.flatten(2).transpose(1, 2))  # (B, h w, inner)
        for layer in self.ft_layers:
            x = layer(x, self.position_emb)
        codes = self.quantize.embedding(self.idx_pred_layer(x).argmax(dim=2))
        return codes.transpose(1, 2).reshape(features.shape)


def _restyled(x: Tensor, like: Tensor) -> Tensor:
    """Adaptive instance normalisation: x with the mean and deviation of each of like's channels, computed in fp32."""
    (deviation, mean), (wanted, centre) = _statistics(x), _statistics(like)
    return ((x.float() - mean) / deviation * wanted + centre).to(x.dtype)


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    variance, mean = torch.var_mean(x.float(), dim=(2, 3), keepdim=True)
    return torch.sqrt(variance + _STEADY), mean


def shape_of(state: Mapping[str, Tensor], name: str) -> Shape:
    """From one tensor of each part; DependencyError (WEIGHTS_LAYOUT) if they are inconsistent."""
    ranks = {
        "quantize.embedding.weight": 2,
        "feat_emb.weight": 2,
        "position_emb": 2,
        "ft_layers.0.linear1.weight": 2,
        "encoder.blocks.1.conv1.weight": 4,
    }
    missing = [key for key in ranks if key not in state]
    if missing:
        raise layout_error(name, missing, [], WANTED)
    codebook, embedding, positions, linear, _ = (state[key].shape for key in ranks)
    blocks = count(state, "encoder.blocks.")
    levels = max(1, (blocks - 1 - _BEYOND_LEVELS) // 3)
    firsts = [f"encoder.blocks.{1 + 3 * level}.conv1.weight" for level in range(levels)]
    wrong = [key for key, rank in ranks.items() if state[key].ndim != rank or 0 in state[key].shape]
    wrong += [key for key in firsts if key in state and (state[key].ndim != 4 or state[key].shape[0] % vqgan.GROUPS)]
    if not wrong and math.isqrt(positions[0]) ** 2 != positions[0]:
        wrong = ["position_emb"]
    if not wrong and embedding[0] % HEADS:
        wrong = ["feat_emb.weight"]
    missing = [key for key in firsts if key not in state]
    if wrong or missing:
        raise layout_error(name, missing, [f"{key} {tuple(state[key].shape)}" for key in wrong], WANTED)
    return Shape(
        widths=tuple(state[key].shape[0] for key in firsts),
        codes=(codebook[0], codebook[1]),
        inner=embedding[0],
        hidden=linear[0],
        layers=count(state, "ft_layers."),
        places=positions[0],
    )
