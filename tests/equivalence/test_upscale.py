"""RRDBNet and SRVGGNetCompact beside spandrel's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from raydub.models.load import load_state
from raydub.models.upscale.load import load_upscaler
from raydub.models.upscale.rrdb import RRDBNet, RrdbSize
from tests.equivalence.compare import Compare, lively, picture, reference

SRVGG = ("spandrel.architectures.Compact.__arch.SRVGG", "SRVGGNetCompact")


@pytest.mark.parametrize(
    ("case", "size", "side"),
    [
        ("x4, 23 blocks, full width", RrdbSize(), 32),
        ("x4, 23 blocks, 16 channels", RrdbSize(features=16), 64),
        ("x4, 6 blocks, full width", RrdbSize(blocks=6), 32),
        ("x2, 23 blocks, full width", RrdbSize(unshuffle=2), 46),
        ("x1, 2 blocks, 16 channels", RrdbSize(features=16, blocks=2, unshuffle=4), 64),
    ],
)
def test_rrdb(compare: Compare, case: str, size: RrdbSize, side: int) -> None:
    # spandrel reads the published names and says itself what network they are
    loader = reference("spandrel", "ModelLoader")()
    # residuals add up: less gain, so that what comes out is about as large as a picture
    state = lively(RRDBNet(size), seed=size.blocks, gain=0.55 if size.blocks > 6 else 0.7)
    theirs = loader.load_from_state_dict(dict(state))
    ours, spec = load_upscaler(state)
    assert theirs.scale == spec.scale
    compare("RRDBNet", case, ours, theirs.model, picture(side, side + 8, rows=2))


@pytest.mark.parametrize(
    ("case", "convs", "scale"),
    [("x4, 32 convolutions", 32, 4), ("x4, 16 convolutions", 16, 4), ("x2, 16 convolutions", 16, 2)],
)
def test_srvgg(compare: Compare, case: str, convs: int, scale: int) -> None:
    theirs = reference(*SRVGG)(num_in_ch=3, num_out_ch=3, num_feat=64, num_conv=convs, upscale=scale)
    ours, spec = load_upscaler(lively(theirs, seed=convs))
    assert spec.scale == scale
    compare("SRVGGNetCompact", case, ours, theirs, picture(45, 64, rows=2))


@pytest.mark.media
@pytest.mark.parametrize(
    ("file", "convs"),
    [("realesr-general-x4v3.from_fp16.pth", 32), ("realesr-animevideov3-x4.from_fp16.pth", 16)],
)
def test_real_weights(compare: Compare, media_dir: Path, file: str, convs: int) -> None:
    path = media_dir / "weights" / file
    if not path.is_file():
        pytest.skip(f"no {file} in {media_dir}")
    theirs = reference(*SRVGG)(num_in_ch=3, num_out_ch=3, num_feat=64, num_conv=convs, upscale=4)
    state = load_state(path)
    theirs.load_state_dict(state, strict=True)
    ours, _ = load_upscaler(state)
    compare("SRVGGNetCompact", file, ours, theirs.eval(), picture(96, 128))


def test_interpolated_weights(compare: Compare) -> None:
    """The mix of two networks is the reference with mixed weights, not a mix of two pictures."""
    theirs = reference(*SRVGG)(num_in_ch=3, num_out_ch=3, num_feat=64, num_conv=32, upscale=4)
    first, second = lively(theirs, seed=1), lively(theirs, seed=2)
    theirs.load_state_dict({key: torch.lerp(second[key], value, 0.3) for key, value in first.items()})
    ours, _ = load_upscaler(first, partner=second, strength=0.3)
    compare("SRVGGNetCompact", "x4, 0.3 of one and 0.7 of another", ours, theirs.eval(), picture(45, 64))


def test_esrgans_oldest_names(compare: Compare) -> None:
    """spandrel's own RRDBNet still bears them."""
    theirs = reference("spandrel.architectures.ESRGAN.__arch.RRDB", "RRDBNet")(num_filters=16, num_blocks=2)
    ours, spec = load_upscaler(lively(theirs))
    assert spec.scale == 4
    compare("RRDBNet", "x4, 2 blocks, ESRGAN's oldest names", ours, theirs, picture(24, 32))
