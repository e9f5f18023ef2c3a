"""Upscaling networks: strict loading by shape alone, sizes in and out, mixed weights, and what the real ones do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from raydub.errors import Code, DependencyError
from raydub.models.load import load_state
from raydub.models.upscale.load import check_upscaler, load_upscaler
from raydub.models.upscale.rrdb import RRDBNet, RrdbSize
from raydub.models.upscale.srvgg import SRVGGNetCompact, SrvggSize
from raydub.stages.post_processors import MMAC_PER_PIXEL
from tests.equivalence.compare import lively, picture
from tests.examples import examples
from tests.models.macs import macs

RRDB, SRVGG = RrdbSize(features=8, growth=4, blocks=2), SrvggSize(features=8, convs=3)
REAL = {"realesr-general-x4v3.from_fp16.pth": 34, "realesr-animevideov3-x4.from_fp16.pth": 18}


def network_of(size: RrdbSize | SrvggSize) -> nn.Module:
    return RRDBNet(size) if isinstance(size, RrdbSize) else SRVGGNetCompact(size)


def state_of(size: RrdbSize | SrvggSize, seed: int = 0) -> dict[str, Tensor]:
    return lively(network_of(size), seed)


def published(size: RrdbSize | SrvggSize) -> dict[str, Tensor]:
    """A state dict of the right names and shapes that takes no memory."""
    return {key: torch.empty(shape, device="meta") for key, shape in size.shapes().items()}


def refused(state: dict[str, Tensor], name: str = "some.pth") -> DependencyError:
    found = []
    for read in (check_upscaler, load_upscaler):
        with pytest.raises(DependencyError) as error:
            read(state, name)
        assert error.value.code == Code.WEIGHTS_LAYOUT
        found.append(error.value)
    assert found[0].message == found[1].message
    assert found[0].hint == found[1].hint
    return found[0]


@torch.inference_mode()
def run(network: nn.Module, x: Tensor) -> Tensor:
    made: Tensor = network(x)
    return made


# The parameter counts are those that the published files hold.
@pytest.mark.parametrize(
    ("size", "parameters", "scale", "multiple"),
    [
        (RrdbSize(), 16_697_987, 4, 1),
        (RrdbSize(unshuffle=2), 16_703_171, 2, 2),
        (RrdbSize(blocks=6), 4_467_779, 4, 1),
        (SrvggSize(), 1_213_296, 4, 1),
        (SrvggSize(convs=16), 621_424, 4, 1),
        (SrvggSize(convs=16, scale=2), 600_652, 2, 1),
    ],
)
def test_published_layouts(size: RrdbSize | SrvggSize, parameters: int, scale: int, multiple: int) -> None:
    with torch.device("meta"):
        network = network_of(size)
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    assert shapes == size.shapes()
    assert sum(value.numel() for value in network.parameters()) == parameters
    # only shapes are read, so tensors without any storage will do
    spec = check_upscaler(published(size))
    assert (spec.architecture, spec.scale, spec.multiple) == (
        "rrdb" if isinstance(size, RrdbSize) else "srvgg",
        scale,
        multiple,
    )
    assert spec.overlap > 0
    assert spec.overlap % multiple == 0


@settings(max_examples=examples(25), deadline=None)
@given(
    features=st.integers(1, 9),
    growth=st.integers(1, 5),
    depth=st.integers(1, 3),
    unshuffle=st.sampled_from([1, 2, 4]),
    scale=st.integers(1, 5),
    compact=st.booleans(),
    height=st.integers(1, 6),
    width=st.integers(1, 6),
)
def test_any_size_is_read_off_the_shapes(
    features: int, growth: int, depth: int, unshuffle: int, scale: int, compact: bool, height: int, width: int
) -> None:
    size = SrvggSize(features, depth, scale) if compact else RrdbSize(features, growth, depth, unshuffle)
    state = state_of(size)
    network, spec = load_upscaler(state)
    assert spec == check_upscaler(state)
    assert spec.scale == size.scale
    assert not network.training
    assert all(not value.requires_grad for value in network.parameters())
    assert all(torch.equal(network.state_dict()[key], value) for key, value in state.items())
    made = run(network, torch.rand(2, 3, height * spec.multiple, width * spec.multiple))
    assert made.shape == (2, 3, height * spec.multiple * spec.scale, width * spec.multiple * spec.scale)


@pytest.mark.parametrize("name", ["body.1.rdb2.conv4.weight", "conv_hr.bias", "conv_first.weight"])
def test_wrong_rrdb(name: str) -> None:
    state = state_of(RRDB)
    missing = refused({key: value for key, value in state.items() if key != name})
    assert name in missing.hint
    assert "some.pth" in missing.message
    shape = tuple(state[name].shape)
    odd = refused(state | {name: torch.zeros(*(n + 1 for n in shape))})
    assert name.split(".", maxsplit=1)[0] in odd.hint
    assert "conv_extra.weight" in refused(state | {"conv_extra.weight": torch.zeros(1)}).hint


@pytest.mark.parametrize("name", ["body.3.weight", "body.4.bias", "body.8.weight", "body.0.weight"])
def test_wrong_srvgg(name: str) -> None:
    state = state_of(SRVGG)
    assert name in refused({key: value for key, value in state.items() if key != name}).hint
    odd = refused(state | {name: torch.zeros(*(n + 1 for n in state[name].shape))})
    assert "body." in odd.hint
    assert "body.x.weight" in refused(state | {"body.x.weight": torch.zeros(1)}).hint


def test_other_networks_are_named() -> None:
    other = {"face_encoder_blocks.0.0.conv_block.0.weight": torch.zeros(16, 6, 7, 7)}
    error = refused(other)
    assert "RRDBNet or SRVGGNetCompact" in error.message
    assert "conv_first.weight" in error.hint
    assert "face_encoder_blocks.0.0.conv_block.0.weight" in error.hint
    assert "upscaling" in refused({}).message
    # a compact network without slopes has another activation, and nothing says which
    plain = {key: value for key, value in state_of(SRVGG).items() if value.ndim != 1 or key.endswith("bias")}
    assert "body.1.weight" in refused(plain).hint
    # indices that no file has, and what is so only at a glance
    assert refused({f"body.{10**9}.weight": torch.zeros(1)}).hint
    assert refused({"body.0.weight": torch.zeros(8, 3, 3, 3), f"body.{'9' * 6}.weight": torch.zeros(5, 8, 3, 3)}).hint
    assert refused({"conv_first.weight": torch.zeros(3), "body.0.rdb1.conv1.weight": torch.zeros(3)}).hint
    assert "(8, 27, 3, 3)" in refused(state_of(RRDB) | {"conv_first.weight": torch.zeros(8, 27, 3, 3)}).hint


def test_older_names_of_esrgan() -> None:
    state = state_of(RRDB)
    tops = {"conv_body": "trunk_conv", "conv_up1": "upconv1", "conv_up2": "upconv2", "conv_hr": "HRconv"}
    older = {}
    for key, value in state.items():
        head, _, rest = key.partition(".")
        name = f"RRDB_trunk.{rest.replace('rdb', 'RDB')}" if head == "body" else f"{tops.get(head, head)}.{rest}"
        older[name] = value
    network, _ = load_upscaler(older)
    assert all(torch.equal(network.state_dict()[key], value) for key, value in state.items())


def test_sides_that_cannot_be_unshuffled() -> None:
    network, spec = load_upscaler(state_of(RrdbSize(8, 4, 1, unshuffle=2)))
    assert run(network, torch.rand(1, 3, 6, 10)).shape == (1, 3, 12, 20)
    for height, width in ((7, 10), (6, 11)):
        with pytest.raises(ValueError, match=f"{height} x {width} are not multiples of {spec.multiple}"):
            run(network, torch.rand(1, 3, height, width))


@pytest.mark.parametrize("size", [RRDB, SRVGG])
def test_mixed_weights(size: RrdbSize | SrvggSize) -> None:
    ours, partner = state_of(size, seed=1), state_of(size, seed=2)
    x = picture(12, 16)

    def made(strength: float) -> Tensor:
        return run(load_upscaler(ours, partner=partner, strength=strength)[0], x)

    assert torch.equal(made(1.0), run(load_upscaler(ours)[0], x))
    assert torch.equal(made(0.0), run(load_upscaler(partner)[0], x))
    half = {key: 0.5 * value + 0.5 * partner[key] for key, value in ours.items()}
    assert torch.equal(made(0.5), run(load_upscaler(half)[0], x))
    assert not torch.allclose(made(0.5), made(1.0), atol=1e-3)
    # and the states that were given are as they were
    assert all(torch.equal(value, ours[key]) for key, value in state_of(size, seed=1).items())


def test_a_partner_of_another_layout() -> None:
    ours = state_of(SRVGG)
    for other in (state_of(SrvggSize(8, 4)), state_of(SrvggSize(8, 3, scale=2)), state_of(RRDB), {}):
        with pytest.raises(DependencyError) as error:
            load_upscaler(ours, "a.pth", partner=other, strength=0.5)
        assert error.value.code == Code.WEIGHTS_LAYOUT
        assert "partner of a.pth" in error.value.message
    for strength, partner in ((0.5, None), (1.5, ours), (-0.1, ours), (float("nan"), ours)):
        with pytest.raises(ValueError, match="strength"):
            load_upscaler(ours, partner=partner, strength=strength)


def test_half_precision_files_become_fp32() -> None:
    state = {key: value.half() for key, value in state_of(SRVGG).items()}
    network, _ = load_upscaler(state)
    assert {value.dtype for value in network.state_dict().values()} == {torch.float32}


def formula(size: RrdbSize | SrvggSize) -> dict[str, Tensor]:
    """Weights that need no random generator: sines, each tensor with a phase of its own."""
    state = {}
    for phase, (key, shape) in enumerate(sorted(size.shapes().items())):
        waves = torch.sin(torch.arange(int(np.prod(shape)), dtype=torch.float64) * 1.7 + phase)
        state[key] = (waves * (0.3 if len(shape) == 4 else 0.1)).float().reshape(shape)
    return state


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (RrdbSize(8, 32, 2), (-0.04236, 0.67505, -0.39287, 0.02652)),
        (RrdbSize(8, 32, 2, unshuffle=2), (-0.07737, 2.15175, -6.23536, -1.71038)),
        (SrvggSize(8, 3), (0.50025, 0.75368, 0.32319, -0.70764)),
    ],
)
def test_numbers_that_spandrel_made(size: RrdbSize | SrvggSize, expected: tuple[float, ...]) -> None:
    """Mean, deviation and two corners of what spandrel 0.4.2 makes of the same weights and picture; `make equivalence`
    compares whole pictures of full-width networks."""
    network, spec = load_upscaler(formula(size))
    x = 0.5 + 0.5 * torch.sin(torch.arange(3 * 8 * 12, dtype=torch.float64) * 0.37).float().reshape(1, 3, 8, 12)
    made = run(network, x)
    found = (made.mean(), made.std(), made[0, 0, 0, 0], made[0, 2, -1, -1])
    assert [float(value) for value in found] == pytest.approx(expected, abs=1e-4), spec


@pytest.mark.parametrize("size", [RRDB, SRVGG])
def test_other_memory_and_number_formats(size: RrdbSize | SrvggSize) -> None:
    state, x = state_of(size), picture(16, 24, rows=2)
    plain = run(load_upscaler(state)[0], x)
    lasts = load_upscaler(state)[0].to(memory_format=torch.channels_last)
    assert torch.allclose(run(lasts, x.to(memory_format=torch.channels_last)), plain, atol=1e-5)
    short = run(lasts.to(torch.bfloat16), x.bfloat16())
    assert short.dtype == torch.bfloat16
    assert float((short.float() - plain).abs().max()) < 0.05 * float(plain.abs().max())


@pytest.mark.parametrize("size", [RRDB, SRVGG])
def test_a_row_is_itself_in_any_batch(size: RrdbSize | SrvggSize) -> None:
    network, x = load_upscaler(state_of(size))[0], picture(16, 24, rows=3)
    before = x.clone()
    together = run(network, x)
    assert torch.equal(x, before)
    for row in range(3):
        assert torch.allclose(run(network, x[row : row + 1]), together[row : row + 1], atol=1e-5)


def test_the_compact_network_adds_the_enlarged_input() -> None:
    network, _ = load_upscaler({key: torch.zeros_like(value) for key, value in state_of(SRVGG).items()})
    x = picture(5, 7)
    assert torch.equal(run(network, x), x.repeat_interleave(4, -1).repeat_interleave(4, -2))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("general", SrvggSize()),
        ("anime", SrvggSize(convs=16)),
        ("x4", RrdbSize()),
        ("x2", RrdbSize(unshuffle=2)),
    ],
)
def test_cost_of_the_published_networks(name: str, size: RrdbSize | SrvggSize) -> None:
    """By hand, general-x4v3: 9 * (3 * 64 + 32 * 64 * 64 + 64 * 48)."""
    with torch.device("meta"):
        counted = macs(network_of(size), 16, 16) / 16**2 / 1e6
    assert counted == pytest.approx(MMAC_PER_PIXEL[name], rel=5e-3)
    assert name != "general" or counted == 1.209024


@pytest.mark.media
@pytest.mark.parametrize("file", list(REAL))
def test_real_weights_load_strictly_and_beat_bicubic(media_dir: Path, file: str) -> None:
    """A noisy picture a quarter of its size and back. Noisy, for that is what these networks were trained to mend: a
    clean one they draw sharper than it was, and then bicubic is nearer to it."""
    import cv2

    path = media_dir / "weights" / file
    if not path.is_file():
        pytest.skip(f"no {file} in {media_dir}")
    state = load_state(path)
    network, spec = load_upscaler(state, file)
    assert (spec.architecture, spec.scale, spec.multiple) == ("srvgg", 4, 1)
    assert len(state) == 3 * REAL[file] - 1
    whole = cv2.imread(str(media_dir / "image" / "portrait_720p.jpg"), cv2.IMREAD_COLOR)
    assert whole is not None
    top, left = (whole.shape[0] - 320) // 2, (whole.shape[1] - 320) // 2
    target = whole[top : top + 320, left : left + 320, ::-1].astype(np.float32) / 255
    small = cv2.resize(target, (80, 80), interpolation=cv2.INTER_AREA)
    noise = np.random.default_rng(0).normal(0, 15 / 255, small.shape)
    small = np.clip(small + noise, 0, 1).astype(np.float32)
    x = torch.from_numpy(small).permute(2, 0, 1)[None].contiguous()
    made = run(network, x).clamp(0, 1)[0].permute(1, 2, 0).numpy()
    assert abs(float((made - target).mean())) < 0.01
    bicubic = F.interpolate(x, scale_factor=4, mode="bicubic").clamp(0, 1)[0].permute(1, 2, 0).numpy()
    ours, theirs = (float(np.mean((image - target) ** 2)) for image in (made, bicubic))
    assert ours < theirs
