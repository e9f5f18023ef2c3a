"""Face restorers: the published layouts, what the papers' formulas say, and what may be relied on when they run.

That the outputs are those of the published networks is shown in tests/equivalence, where spandrel is.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from raydub.errors import Code, DependencyError
from raydub.models.load import load_state
from raydub.models.restore import codeformer, gfpgan
from raydub.models.restore.load import RestoreSpec, check_restorer, load_restorer
from raydub.stages.post_processors import RESTORE_GMAC
from tests.examples import examples, slow
from tests.models.macs import macs
from tests.models.restore_reference import by_the_paper
from tests.models.restore_states import FULL, Architecture, face, random_restorer_state, save_restorer

ARCHITECTURES: list[Architecture] = ["gfpgan", "codeformer"]
SIZES = {"gfpgan": 128, "codeformer": 64}
# Of the sorted lines "name shape" of the state dicts of spandrel's GFPGANv1Clean (as published) and CodeFormer.
LAYOUTS = {
    "gfpgan": (285, "c7ab9d897528efde7f34e68c5fa6ba7e9748d9c99534442e02de075278f859b2"),
    "codeformer": (515, "afe100e63782fbdc75a0c101843652d932af5d9013a8cef5f4a4c2b03de40a9c"),
}


@pytest.fixture(scope="module")
def states() -> dict[str, dict[str, Tensor]]:
    return {architecture: random_restorer_state(0, architecture) for architecture in ARCHITECTURES}


@pytest.fixture(scope="module")
def networks(states: dict[str, dict[str, Tensor]]) -> dict[str, nn.Module]:
    return {architecture: load_restorer(states[architecture])[0] for architecture in ARCHITECTURES}


def published(architecture: Architecture) -> dict[str, Tensor]:
    """The published layout, without memory."""
    with torch.device("meta"):
        network: nn.Module
        if architecture == "gfpgan":
            network = gfpgan.GFPGAN(FULL["gfpgan"])
        else:
            network = codeformer.CodeFormer(FULL["codeformer"])
    return {
        key: torch.empty(gfpgan.published_shape(key, value.shape), device="meta")
        for key, value in network.state_dict().items()
    }


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_published_layout(architecture: Architecture) -> None:
    state = published(architecture)
    lines = "\n".join(f"{key} {tuple(value.shape)}" for key, value in sorted(state.items()))
    assert (len(state), hashlib.sha256(lines.encode()).hexdigest()) == LAYOUTS[architecture]
    assert check_restorer(state) == RestoreSpec(architecture, 512)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_file_loads_strictly(architecture: Architecture, tmp_path: Path) -> None:
    state = load_state(save_restorer(tmp_path / "restorer.pth", 1, architecture))
    network, spec = load_restorer(state, "restorer.pth")
    assert spec == RestoreSpec(architecture, SIZES[architecture]) == check_restorer(state)
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    own = network.state_dict()
    assert own.keys() == state.keys()
    for key, value in state.items():
        assert torch.equal(own[key].reshape(value.shape), value), key


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_full_file_loads_and_restores(architecture: Architecture, tmp_path: Path) -> None:
    network, spec = load_restorer(load_state(save_restorer(tmp_path / "full.pth", 1, architecture, small=False)))
    assert spec.size == 512
    with torch.inference_mode():
        made = network(face(512))
    assert made.shape == (1, 3, 512, 512)
    assert 0.1 < made.std() < 3


def test_gfpgan_is_what_the_paper_says(states: dict[str, dict[str, Tensor]], networks: dict[str, nn.Module]) -> None:
    faces = face(128, rows=2)
    with torch.inference_mode():
        expected = torch.cat([by_the_paper(states["gfpgan"], row[None]) for row in faces])
        found = networks["gfpgan"](faces)
    assert expected.std() > 0.1
    assert (expected[0] - expected[1]).abs().mean() > 0.02, "the picture should depend on the face"
    assert (found - expected).abs().max() < 1e-4


def test_codeformer_gives_what_it_gave(networks: dict[str, nn.Module]) -> None:
    """Figures of the day when the full network equalled spandrel's; its small layouts exist only here."""
    with torch.inference_mode():
        made = networks["codeformer"](face(64))
    values = [made.mean(), made.std(), made[0, 0, 10, 20], made[0, 1, 32, 32], made[0, 2, 50, 7]]
    expected = [-0.00233, 0.24381, -0.22266, -0.47478, -0.20694]
    assert [float(value) for value in values] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("architecture", [slow("gfpgan"), "codeformer"])
def test_a_face_is_the_same_every_time_and_in_any_company(
    networks: dict[str, nn.Module], architecture: Architecture
) -> None:
    network, faces = networks[architecture], face(SIZES[architecture], rows=3, seed=5)
    with torch.inference_mode():
        made = network(faces)
        assert torch.equal(network(faces), made)
        assert torch.equal(torch.cat([network(row[None]) for row in faces]), made)
        assert torch.equal(network(faces.flip(0)).flip(0), made)
        other = network(torch.cat((faces[:1], -faces[1:])))
        # As on a GPU, all rows at once: equal but for the last bits.
        batched = network.restored(faces)
    assert made.shape == faces.shape
    assert made.dtype == torch.float32
    assert torch.equal(other[0], made[0])
    assert (other[1] - made[1]).abs().max() > 1e-2
    assert (batched - made).abs().max() < 2e-5 * max(1.0, float(made.abs().max()))


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_gfpgan_in_half_precision(
    states: dict[str, dict[str, Tensor]], networks: dict[str, nn.Module], kind: torch.dtype
) -> None:
    faces = face(128, rows=2)
    half = load_restorer(states["gfpgan"])[0].to(kind).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        expected = networks["gfpgan"](faces)
        made = half(faces.to(kind).contiguous(memory_format=torch.channels_last))
    assert made.dtype == kind
    difference = (made.float() - expected).abs()
    assert difference.mean() < (0.02 if kind == torch.bfloat16 else 0.003)
    assert difference.max() < (0.2 if kind == torch.bfloat16 else 0.03)


def test_styles_beyond_the_range_of_fp16(states: dict[str, dict[str, Tensor]]) -> None:
    """Demodulation takes the size of a style out again, so it must not overflow on the way."""
    state = {
        key: value * 1e6 if "style_convs" in key and "modulation" in key else value
        for key, value in states["gfpgan"].items()
    }
    network, _ = load_restorer(state)
    with torch.inference_mode():
        expected = network(face(128))
        # The modulation's own weights stay as they are: fp16 could not hold them.
        for module in network.modules():
            if not isinstance(module, nn.Linear) or module is network.final_linear:
                for value in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
                    value.data = value.data.half()
        made = network(face(128).half())
    assert torch.isfinite(made).all()
    assert (made.float() - expected).abs().mean() < 0.01


def test_codeformer_in_half_precision(states: dict[str, dict[str, Tensor]]) -> None:
    """The same codes give nearly the same picture, and nearly the same codes are guessed. (Random codes have close
    runners-up: which one wins may change with the last bits, and that is a different face.)"""
    faces = face(64)
    codes: list[Tensor] = []

    class Remembered(nn.Module):
        def __init__(self, layer: nn.Module) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Tensor) -> Tensor:
            made = self.layer(x)
            codes.append(made.argmax(dim=2))
            return made if len(codes) == 1 else F.one_hot(codes[0], made.shape[2]).to(made.dtype)

    network, _ = load_restorer(states["codeformer"], fidelity=0.5)
    network.idx_pred_layer = Remembered(network.idx_pred_layer)
    with torch.inference_mode():
        expected = network(faces)
        network.to(torch.bfloat16).to(memory_format=torch.channels_last)
        made = network(faces.bfloat16().contiguous(memory_format=torch.channels_last)).float()
    assert (codes[0] == codes[1]).float().mean() > 0.8
    assert len(torch.unique(codes[0])) > 5
    assert (made - expected).abs().mean() < 0.05 * expected.std()


def test_fidelity(states: dict[str, dict[str, Tensor]]) -> None:
    """More of it, more of the input; at 0 the encoder's features do not come in at all."""
    state = states["codeformer"]
    faces = face(64)
    made = {}
    with torch.inference_mode():
        for fidelity in (0.0, 0.5, 1.0):
            network, _ = load_restorer(state, fidelity=fidelity)
            made[fidelity] = network(faces)
        poisoned = {key: value * math.nan if "fuse" in key else value for key, value in state.items()}
        assert torch.equal(load_restorer(poisoned, fidelity=0.0)[0](faces), made[0.0])
    assert (made[1.0] - made[0.0]).abs().mean() > (made[0.5] - made[0.0]).abs().mean() > 0.01
    for outside in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="fidelity"):
            load_restorer(state, fidelity=outside)


def test_half_precision_files_are_computed_in_full(states: dict[str, dict[str, Tensor]]) -> None:
    network, _ = load_restorer({key: value.half() for key, value in states["gfpgan"].items()})
    assert {value.dtype for value in network.state_dict().values()} == {torch.float32}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_wrong_layouts_are_named(
    states: dict[str, dict[str, Tensor]], architecture: Architecture, data: st.DataObject
) -> None:
    state = dict(states[architecture])
    key = data.draw(st.sampled_from(sorted(state)))
    change = data.draw(st.sampled_from(["missing", "longer", "flatter", "empty", "renamed"]))
    value = state.pop(key)
    if change == "longer":
        state[key] = torch.cat((value, value))
    elif change == "flatter":
        state[key] = value.flatten()[None, None, None, None, None]
    elif change == "empty":
        state[key] = value[:0]
    elif change == "renamed":
        state[f"{key}_orig"] = value
    with pytest.raises(DependencyError) as caught:
        check_restorer(state, "someone's.pth")
    assert caught.value.code == Code.WEIGHTS_LAYOUT
    assert "someone's.pth" in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_missing_key_is_named(states: dict[str, dict[str, Tensor]], architecture: Architecture) -> None:
    for key in list(states[architecture])[::23]:
        with pytest.raises(DependencyError) as caught:
            check_restorer({name: value for name, value in states[architecture].items() if name != key})
        assert f"missing {key}" in str(caught.value.hint)


@pytest.mark.parametrize(
    "keys",
    [
        [],
        ["body.0.weight", "body.0.bias"],
        ["conv_body_first.0.weight", "stylegan_decoder.style_mlp.1.weight"],  # GFPGAN v1, with its own operators
        ["quantize.embedding.weight", "stylegan_decoder.style_conv1.bias"],
        ["encoder.blocks.999999999.weight", "fuse_convs_dict.32.scale.0.weight"],
        ["stylegan_decoder.style_convs.9999999999999.bias"],
    ],
)
def test_other_networks_are_refused(keys: list[str]) -> None:
    with pytest.raises(DependencyError) as caught:
        check_restorer({key: torch.zeros(2, 2) for key in keys})
    assert caught.value.code == Code.WEIGHTS_LAYOUT


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_cost_of_a_face(architecture: Architecture) -> None:
    """spandrel's GFPGAN takes 198 GMAC: some of its 1x1 convolutions run here at a quarter of the pixels."""
    network, spec = load_restorer(published(architecture))
    assert macs(network, spec.size, spec.size) / 1e9 == pytest.approx(RESTORE_GMAC[architecture], rel=1e-3)
