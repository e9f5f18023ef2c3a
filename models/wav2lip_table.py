"""The layer table of the Wav2Lip generator (Prajwal et al., "A Lip Sync Expert Is All You Need", 2020), and the names
and shapes of its published weights. Without torch, which OpenVINO does not need and whose import takes 3 s of CPU time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from raydub.models import load

FACE = 96
"""Side of the square face crop in pixels."""

# conv: (in, out, kernel, stride, padding, residual). Channel counts at width 1.
Conv = tuple[int, int, int, int | tuple[int, int], int, bool]


def _down(inner: int, outer: int, residuals: int) -> list[Conv]:
    return [(inner, outer, 3, 2, 1, False)] + [(outer, outer, 3, 1, 1, True)] * residuals


FACE_ENCODER: list[list[Conv]] = [
    [(6, 16, 7, 1, 3, False)],  # 96
    _down(16, 32, 2),  # 48
    _down(32, 64, 3),  # 24
    _down(64, 128, 2),  # 12
    _down(128, 256, 2),  # 6
    _down(256, 512, 1),  # 3
    [(512, 512, 3, 1, 0, False), (512, 512, 1, 1, 0, False)],  # 1
]
AUDIO_ENCODER: list[Conv] = [  # 80 x 16
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
FACE_DECODER: list[tuple[int, int, int, int]] = [
    (512, 0, 512, 0),  # 1
    (512, 512, 512, 1),  # 3
    (512, 512, 512, 2),  # 6
    (512, 256, 384, 2),  # 12
    (384, 128, 256, 2),  # 24
    (256, 64, 128, 2),  # 48
    (128, 32, 64, 2),  # 96
]
_FIRST = "face_encoder_blocks.0.0.conv_block.0.weight"
EPSILON = 1e-5
"""Of the batch norms (torch's default)."""


@dataclass(frozen=True)
class Layer:
    """One convolution. name: prefix of its weights; inner, outer: channels; up: transposed, with output_padding equal
    to stride - 1; norm: a batch norm and ReLU follow; residual: the input is added before the ReLU."""

    name: str
    inner: int
    outer: int
    kernel: int
    stride: tuple[int, int]
    padding: int
    residual: bool = False
    up: bool = False
    norm: bool = True

    @property
    def conv(self) -> str:
        """Prefix of the convolution's own weights."""
        return f"{self.name}.conv_block.0" if self.norm else self.name

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of its weights."""
        sides = (self.inner, self.outer) if self.up else (self.outer, self.inner)
        found: dict[str, tuple[int, ...]] = {
            f"{self.conv}.weight": (*sides, self.kernel, self.kernel),
            f"{self.conv}.bias": (self.outer,),
        }
        if self.norm:
            norm = f"{self.name}.conv_block.1"
            for part in ("weight", "bias", "running_mean", "running_var"):
                found[f"{norm}.{part}"] = (self.outer,)
            found[f"{norm}.num_batches_tracked"] = ()
        return found


@dataclass(frozen=True)
class Table:
    """The layers in order. encoder, decoder: of the face, by level; the output block ends in a sigmoid."""

    encoder: tuple[tuple[Layer, ...], ...]
    audio: tuple[Layer, ...]
    decoder: tuple[tuple[Layer, ...], ...]
    output: tuple[Layer, ...]

    def layers(self) -> Iterator[Layer]:
        for level in (*self.encoder, self.audio, *self.decoder, self.output):
            yield from level


def table_of(width: float) -> Table:
    """The network whose inner channels are scaled by `width`, a positive multiple of 1/16; ValueError otherwise."""
    exact = exact_width(width)

    def wide(channels: int) -> int:
        # 6 (two pictures) and 1 (the mel) are inputs and stay as they are.
        return channels if channels in (1, 6) else int(channels * exact)

    def chain(prefix: str, convs: list[Conv]) -> tuple[Layer, ...]:
        return tuple(
            Layer(
                f"{prefix}.{number}",
                wide(inner),
                wide(outer),
                kernel,
                stride if isinstance(stride, tuple) else (stride, stride),
                padding,
                residual,
            )
            for number, (inner, outer, kernel, stride, padding, residual) in enumerate(convs)
        )

    def level(index: int) -> tuple[Layer, ...]:
        below, skip, outer, residuals = FACE_DECODER[index]
        prefix, inner, outer = f"face_decoder_blocks.{index}", wide(below) + (wide(skip) if skip else 0), wide(outer)
        kernel, stride, padding = [(1, 1, 0), (3, 1, 0)][index] if index < 2 else (3, 2, 1)
        first = Layer(f"{prefix}.0", inner, outer, kernel, (stride, stride), padding, up=index > 0)
        more = (Layer(f"{prefix}.{1 + n}", outer, outer, 3, (1, 1), 1, residual=True) for n in range(residuals))
        return (first, *more)

    return Table(
        tuple(chain(f"face_encoder_blocks.{index}", part) for index, part in enumerate(FACE_ENCODER)),
        chain("audio_encoder", AUDIO_ENCODER),
        tuple(level(index) for index in range(len(FACE_DECODER))),
        (
            Layer("output_block.0", wide(80), wide(32), 3, (1, 1), 1),
            Layer("output_block.1", wide(32), 3, 1, (1, 1), 0, norm=False),
        ),
    )


def exact_width(width: float) -> Fraction:
    """ValueError unless `width` is a positive multiple of 1/16."""
    exact = Fraction(width).limit_denominator(1 << 16)
    if exact <= 0 or (exact * 16).denominator != 1:
        raise ValueError(f"width {width} is not a positive multiple of 1/16")
    return exact


def shapes_of(width: float) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all weights, as published."""
    return {name: shape for layer in table_of(width).layers() for name, shape in layer.shapes().items()}


class Shaped(Protocol):
    """A tensor of torch or an array of numpy."""

    @property
    def shape(self) -> tuple[int, ...]: ...


def width_of(state: Mapping[str, Shaped], name: str = "the checkpoint") -> float:
    """Channel width of a Wav2Lip state dict; DependencyError (WEIGHTS_LAYOUT) where it is another network's."""
    first = state.get(_FIRST)
    shape = () if first is None else tuple(first.shape)
    if len(shape) != 4 or shape[0] == 0 or shape[1:] != (6, 7, 7):
        expected, found = shapes_of(1 / 16).keys(), state.keys()
        raise load.layout_error(name, sorted(expected - found), sorted(found - expected), "a Wav2Lip generator")
    return shape[0] / 16


def check_layout(state: Mapping[str, Shaped], name: str = "the checkpoint") -> float:
    """Width of a state dict whose names and shapes are all right; DependencyError (WEIGHTS_LAYOUT) that names the
    missing, the unexpected or the misshapen keys otherwise. Costs no memory."""
    width = width_of(state, name)
    # Checkpoints that went through a converter may lack the batch counters, which inference does not use.
    load.check_layout(name, state, shapes_of(width), "a Wav2Lip generator", optional="num_batches_tracked")
    return width
