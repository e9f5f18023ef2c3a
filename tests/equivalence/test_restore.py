"""GFPGAN and CodeFormer beside spandrel's.

The weights of tests/models/restore_states.py: every bias, noise and style differs from 0 and 1, so that each of them is
compared. CodeFormer's class is in spandrel_extra_arches, a package that is not free for commercial use; it is looked at
only where somebody has installed it (pip install --no-deps spandrel_extra_arches==0.2.0).
"""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from typing import Any

import pytest
from torch import Tensor, nn

from raydub.models.restore.load import load_restorer
from tests.equivalence.compare import Compare, reference
from tests.models.restore_states import FULL, SMALL, face, random_restorer_state

GFPGAN = ("spandrel.architectures.GFPGAN.__arch.gfpganv1_clean_arch", "GFPGANv1Clean")
CODEFORMER = ("spandrel_extra_arches.architectures.CodeFormer.__arch.codeformer", "CodeFormer")


class Stored(nn.Module):
    """spandrel's GFPGAN with the noise of the checkpoint instead of a new one, as published inference leaves it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x, return_rgb=False, randomize_noise=False)[0]


class Faithful(nn.Module):
    """spandrel's CodeFormer, the picture alone."""

    def __init__(self, network: nn.Module, fidelity: float) -> None:
        super().__init__()
        self.network = network
        self.fidelity = fidelity

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x, weight=self.fidelity)[0]


def gfpgan(state: dict[str, Tensor], size: int, style: int, narrow: float) -> nn.Module:
    network = reference(*GFPGAN)(
        out_size=size,
        num_style_feat=style,
        channel_multiplier=2,
        decoder_load_path=None,
        fix_decoder=False,
        num_mlp=8,
        input_is_latent=True,
        different_w=True,
        narrow=narrow,
        sft_half=True,
    )
    network.load_state_dict(state, strict=True)
    return Stored(network.eval())


def codeformer(**figures: Any) -> nn.Module:
    reference(*GFPGAN)  # skips without spandrel, and puts what it imports in place
    if importlib.util.find_spec("spandrel_extra_arches") is None:
        pytest.skip("spandrel_extra_arches is not installed (its licence is non-commercial)")
    return reference(*CODEFORMER)(**figures).eval()


@pytest.mark.parametrize("seed", [0, 1])
def test_small_gfpgan(compare: Compare, seed: int) -> None:
    state = random_restorer_state(seed)
    shape = SMALL["gfpgan"]
    theirs = gfpgan(state, shape.size, shape.style, narrow=shape.widths[0] / 512)
    ours, spec = load_restorer(state)
    compare("GFPGAN", f"narrow, size 128, seed {seed}", ours, theirs, face(spec.size, rows=3, seed=seed))


def test_published_gfpgan(compare: Compare) -> None:
    """v1.3's and v1.4's own size: 2 s a face on a free core."""
    state = random_restorer_state(2, small=False)
    theirs = gfpgan(state, 512, 512, narrow=1.0)
    ours, spec = load_restorer(state)
    assert spec.size == 512
    row = compare("GFPGAN", "published, size 512", ours, theirs, face(512))
    assert row.parameters == 86_444_252


@pytest.mark.parametrize("fidelity", [0.0, 0.7])
def test_codeformer(compare: Compare, fidelity: float) -> None:
    theirs = codeformer()
    state = random_restorer_state(3, "codeformer", small=False)
    theirs.load_state_dict(state, strict=True)
    ours, _ = load_restorer(state, fidelity=fidelity)
    case = f"published, size 512, fidelity {fidelity}"
    row = compare("CodeFormer", case, ours, Faithful(theirs, fidelity), face(512))
    assert row.parameters == 94_112_707


def test_other_depths_of_codeformer(compare: Compare) -> None:
    """Layers and codebook are read from the shapes."""
    theirs = codeformer(n_layers=2, codebook_size=64)
    state = random_restorer_state(4, shape=replace(FULL["codeformer"], layers=2, codes=(64, 256)))
    theirs.load_state_dict(state, strict=True)
    ours, _ = load_restorer(state, fidelity=1.0)
    compare("CodeFormer", "2 layers, 64 codes, fidelity 1.0", ours, Faithful(theirs, 1.0), face(512))
