"""Build the restoration network of a state dict, with all names and shapes checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from raydub.models.load import check_layout, layout_error
from raydub.models.restore import codeformer, gfpgan

_MARKS = {"stylegan_decoder.": "gfpgan", "fuse_convs_dict.": "codeformer", "quantize.": "codeformer"}


@dataclass(frozen=True)
class RestoreSpec:
    """size: side in pixels of the aligned face that the network takes and gives back; 512 for the published ones."""

    architecture: Literal["gfpgan", "codeformer"]
    size: int


def load_restorer(state: Mapping[str, Tensor], name: str = "", fidelity: float = 0.5) -> tuple[nn.Module, RestoreSpec]:
    """The network (fp32, eval mode, CPU, no gradients) and what it is.

    Its forward: (B, 3, size, size) RGB in [-1, 1] -> the same shape, not clamped; deterministic, on a CPU row by row,
    so that a row's bits do not depend on the other rows. fp16, bf16 and channels_last work through network.to(...);
    inputs must then be of that dtype. fidelity: CodeFormer's w, 0..1 (0 the cleanest, 1 the closest to the input);
    GFPGAN has none. name: of the file, for messages. Raises DependencyError (WEIGHTS_LAYOUT) as check_restorer,
    ValueError for a fidelity outside 0..1.
    """
    if not 0 <= fidelity <= 1:
        raise ValueError(f"fidelity {fidelity} is not in 0..1")
    network, spec = _checked(state, name)
    if isinstance(network, codeformer.CodeFormer):
        network.fidelity = fidelity
    own = {key: gfpgan.to_own(key, value).detach().float() for key, value in state.items()}
    network.load_state_dict(own, strict=True, assign=True)
    return network.eval().requires_grad_(False), spec


def check_restorer(state: Mapping[str, Tensor], name: str = "") -> RestoreSpec:
    """The architecture of a state dict, from names and shapes alone, without building the network. DependencyError
    (WEIGHTS_LAYOUT) that names the missing, unexpected or misshapen keys if it is neither network."""
    return _checked(state, name)[1]


def _checked(state: Mapping[str, Tensor], name: str) -> tuple[gfpgan.GFPGAN | codeformer.CodeFormer, RestoreSpec]:
    """The network of this state dict, without memory (on the meta device)."""
    name = name or "the checkpoint"
    found = {kind for mark, kind in _MARKS.items() if any(key.startswith(mark) for key in state)}
    network: gfpgan.GFPGAN | codeformer.CodeFormer
    with torch.device("meta"):
        if found == {"gfpgan"}:
            network, wanted = gfpgan.GFPGAN(gfpgan.shape_of(state, name)), gfpgan.WANTED
            spec = RestoreSpec("gfpgan", network.shape.size)
        elif found == {"codeformer"}:
            network, wanted = codeformer.CodeFormer(codeformer.shape_of(state, name)), codeformer.WANTED
            spec = RestoreSpec("codeformer", network.shape.size)
        else:
            missing = ["stylegan_decoder.* (GFPGAN)", "quantize.* (CodeFormer)"]
            raise layout_error(name, missing, sorted(state), "a network that restores faces")
    shapes = {key: gfpgan.published_shape(key, value.shape) for key, value in network.state_dict().items()}
    check_layout(name, state, shapes, wanted)
    return network, spec
