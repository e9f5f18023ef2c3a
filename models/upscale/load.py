"""Build the upscaling network of published weights; architecture and size follow from the shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from raydub.models.load import check_layout, layout_error
from raydub.models.upscale.rrdb import RRDBNet, RrdbSize, rrdb_size, todays_names
from raydub.models.upscale.srvgg import SRVGGNetCompact, SrvggSize, srvgg_size

# Pixels of the body's resolution. The compact networks get their whole receptive field (34 and 18 pixels), which makes
# tiles exact; with 24, stripes at the limit of resolution differed by 2/255 (bench/NOTES.md). RRDBNet's is 350 pixels
# on paper, but its residuals have a weight of 0.2, and random weights need 8. The published weights were not available
# for measuring.
_RRDB_OVERLAP = 24
_WANTED = "an upscaling network (RRDBNet or SRVGGNetCompact)"


@dataclass(frozen=True)
class UpscaleSpec:
    """A network's properties.

    architecture: "rrdb" or "srvgg"; scale: output pixels per input pixel and axis; multiple: the sides of the input are
    multiples of it; overlap: input pixels around a tile so that tiled equals untiled within 1/255, a multiple of
    `multiple`.
    """

    architecture: str
    scale: int
    multiple: int
    overlap: int


def check_upscaler(state: Mapping[str, Tensor], name: str = "") -> UpscaleSpec:
    """The network of a state dict, with all names and shapes checked. Reads shapes only and builds nothing.

    name: of the file, for the message. Raises DependencyError (WEIGHTS_LAYOUT) that names the missing, unexpected or
    misshapen keys.
    """
    return _spec(_size(todays_names(state), name))


def load_upscaler(
    state: Mapping[str, Tensor], name: str = "", partner: Mapping[str, Tensor] | None = None, strength: float = 1.0
) -> tuple[nn.Module, UpscaleSpec]:
    """The network with these weights (fp32, eval mode, on the CPU, without gradients), and what it is.

    Its forward takes (B, 3, H, W) float RGB in [0, 1] and returns (B, 3, scale * H, scale * W), not clamped.

    partner: weights of the same layout that are mixed in, strength * state + (1 - strength) * partner: interpolating
    between a network and one fine-tuned from it gives working networks (Wang et al., "Deep Network Interpolation",
    2018). general-x4v3 removes noise, its WDN partner keeps it. Raises DependencyError (WEIGHTS_LAYOUT) as
    check_upscaler does, also if the two layouts differ; ValueError for a strength outside 0..1 or one below 1 without a
    partner.
    """
    if not 0 <= strength <= 1 or (strength < 1 and partner is None):
        raise ValueError(f"strength {strength} with{'out' if partner is None else ''} a partner")
    state = todays_names(state)
    size = _size(state, name)
    whole = {key: value.detach().float() for key, value in state.items()}
    if partner is not None:
        partner = todays_names(partner)
        _compare(size, partner, f"the partner of {name or 'the weights'}")
        whole = {key: _mixed(value, partner[key].detach().float(), strength) for key, value in whole.items()}
    with torch.device("meta"):
        network = RRDBNet(size) if isinstance(size, RrdbSize) else SRVGGNetCompact(size)
    network.load_state_dict(whole, strict=True, assign=True)
    return network.eval().requires_grad_(False), _spec(size)


def _mixed(ours: Tensor, partner: Tensor, strength: float) -> Tensor:
    # Both ends are exact: 1 * a + 0 * b is not a if b is not finite.
    if strength in (0.0, 1.0):
        return ours if strength else partner
    return strength * ours + (1 - strength) * partner


def _size(state: Mapping[str, Tensor], name: str) -> RrdbSize | SrvggSize:
    size: RrdbSize | SrvggSize
    if "conv_first.weight" in state:
        size = rrdb_size(state, name or "the file")
    elif "body.0.weight" in state:
        size = srvgg_size(state, name or "the file")
    else:
        raise layout_error(name or "the file", ["conv_first.weight", "body.0.weight"], sorted(state), _WANTED)
    _compare(size, state, name or "the file")
    return size


def _compare(size: RrdbSize | SrvggSize, state: Mapping[str, Tensor], name: str) -> None:
    kind = "an RRDBNet" if isinstance(size, RrdbSize) else "an SRVGGNetCompact"
    check_layout(name, state, size.shapes(), f"{kind} of {_words(size)}")


def _words(size: RrdbSize | SrvggSize) -> str:
    depth = f"{size.blocks} blocks" if isinstance(size, RrdbSize) else f"{size.convs} inner convolutions"
    return f"{depth}, {size.features} channels, x{size.scale}"


def _spec(size: RrdbSize | SrvggSize) -> UpscaleSpec:
    if isinstance(size, SrvggSize):
        return UpscaleSpec("srvgg", size.scale, 1, size.reach)
    return UpscaleSpec("rrdb", size.scale, size.unshuffle, _RRDB_OVERLAP * size.unshuffle)
