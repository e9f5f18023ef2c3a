"""Tiles cover a picture once, and a network that works on them makes the picture that it makes of the whole."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from raydub.errors import Code, StageError
from raydub.models.upscale.load import UpscaleSpec
from raydub.stages.upscale import network as module
from raydub.stages.upscale.network import room
from raydub.stages.upscale.tiles import tiling
from tests.examples import examples
from tests.stages.upscale_fakes import network, of_module, smooth


@settings(max_examples=examples(60), deadline=None)
@given(st.data())
def test_tiles_cover_the_picture_once_and_look_around(data: st.DataObject) -> None:
    multiple = data.draw(st.sampled_from([1, 2, 4]))
    size = tuple(multiple * data.draw(st.integers(1, 300 // multiple)) for _ in range(2))
    core, overlap = data.draw(st.integers(16, 200)), multiple * data.draw(st.integers(0, 8))
    plan = tiling((size[0], size[1]), core, overlap, multiple)
    covered = np.zeros((size[1], size[0]), int)
    for tile in plan.tiles:
        (left, top, right, bottom), (x0, y0, x1, y1) = tile.seen, tile.own
        assert (right - left, bottom - top) == plan.window, "all tiles have one shape"
        for start, first, last, stop, side in ((left, x0, x1, right, size[0]), (top, y0, y1, bottom, size[1])):
            assert 0 <= start <= first < last <= stop <= side
            assert start % multiple == 0
            assert first - start >= overlap or start == first == 0
            assert stop - last >= overlap or stop == last == side
            assert last - first <= core + 2 * overlap + multiple
        covered[y0:y1, x0:x1] += 1
    assert (covered == 1).all()


def test_tiles_are_shared_out_evenly() -> None:
    """Four tiles of 100 + 2 x 10 rather than three of 150 and a thin one."""
    plan = tiling((420, 60), 130, 10)
    assert plan.window == (120, 60)
    assert [tile.own[::2] for tile in plan.tiles] == [(0, 110), (110, 210), (210, 310), (310, 420)]


@pytest.mark.parametrize("wrong", [((0, 4), 8, 0, 1), ((5, 4), 8, 0, 2), ((8, 8), 8, 3, 2), ((8, 8), 0, 2, 1)])
def test_what_cannot_be_cut(wrong: tuple[tuple[int, int], int, int, int]) -> None:
    with pytest.raises(ValueError, match="tiles"):
        tiling(*wrong)


@pytest.mark.parametrize("kind", ["srvgg", "x4", "x2"])
@settings(max_examples=examples(5), deadline=None)
@given(st.integers(32, 60), st.integers(1, 20), st.integers(20, 40), st.integers(0, 99))
def test_tiled_is_untiled_within_one_step(kind: str, core: int, extra: int, height: int, seed: int) -> None:
    parts = network(kind, core=core)
    size = 2 * (core // 2 + parts.spec.overlap + extra), 2 * height
    picture = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    (whole,) = network(kind, core=2048).enlarge([picture])
    (tiled,) = parts.enlarge([picture])
    assert len(parts.tiling(size).tiles) > 1
    assert tiled.shape == whole.shape == (parts.spec.scale * size[1], parts.spec.scale * size[0], 3)
    assert np.abs(tiled.astype(int) - whole).max() <= 1
    assert 20 < whole.std() < 120, "the network does something"


def test_too_small_an_overlap_is_seen() -> None:
    """The test above can fail."""
    picture = np.random.default_rng(0).integers(0, 256, (80, 120, 3), np.uint8)
    (whole,) = network(core=2048).enlarge([picture])
    blind = network(core=40)
    blind.spec = UpscaleSpec("srvgg", 4, 1, 1)
    assert np.abs(blind.enlarge([picture])[0].astype(int) - whole).max() > 1


def test_sides_that_the_network_cannot_take() -> None:
    picture = smooth((51, 37))
    (made,) = network("x2", core=2048).enlarge([picture])
    assert made.shape == (74, 102, 3)


class Limited(nn.Module):
    """Doubles a picture; out of memory for more than `room` pixels at a time."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.calls: list[tuple[int, ...]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls.append((x.shape[0], x.shape[3], x.shape[2]))
        if x.shape[0] * x.shape[2] * x.shape[3] > self.room:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def test_tiles_are_halved_when_memory_ends(caplog: pytest.LogCaptureFixture) -> None:
    limited = Limited(60 * 60)
    halving = of_module(limited, core=200)
    picture = smooth((300, 160))
    with caplog.at_level(logging.WARNING):
        (made,) = halving.enlarge([picture])
    assert np.array_equal(made, picture.repeat(2, 0).repeat(2, 1))
    assert halving.core < 60
    assert limited.calls[0] == (1, 152, 160)
    assert any("tiles of" in record.getMessage() for record in caplog.records)
    tried = len(limited.calls)
    assert np.array_equal(halving.enlarge([picture])[0], made)
    assert len(set(limited.calls[tried:])) == 1, "what fitted is kept"


def test_the_smallest_tile_does_not_fit() -> None:
    limited = Limited(30 * 30)
    with pytest.raises(StageError) as error:
        of_module(limited, core=500).enlarge([smooth((300, 160))])
    assert error.value.code == Code.OUT_OF_MEMORY
    assert min(width for _, width, _ in limited.calls) <= 36
    with pytest.raises(StageError):
        of_module(Limited(0)).enlarge([smooth((30, 30))])


def test_other_errors_pass() -> None:
    class Broken(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        of_module(Broken()).enlarge([smooth((30, 30))])


@pytest.mark.parametrize(("core", "rows", "at_once"), [(2048, 3, 3), (32, 6, 1), (40, 8, 2)])
def test_batches_of_tiles_and_of_pictures(core: int, rows: int, at_once: int) -> None:
    """A picture's result depends neither on how many go together nor on which."""
    pictures = [np.random.default_rng(seed).integers(0, 256, (48, 76, 3), np.uint8) for seed in range(5)]
    doubling = Limited(10**9)
    room_for = {2048: 3 * 76 * 48, 32: 10**7, 40: 4 * 76 * 48}[core]
    many = of_module(doubling, core, room_for)
    assert many.at_once((76, 48)) == at_once
    together = many.enlarge(pictures, stream=True)
    assert {batch for batch, _, _ in doubling.calls} == {rows}
    assert all(
        np.array_equal(one, many.enlarge([alone], stream=True)[0])
        for one, alone in zip(together, pictures, strict=True)
    )
    assert len(set(doubling.calls)) == 1, "the last ones are filled up"
    doubling.calls.clear()
    assert np.array_equal(many.enlarge(pictures[:1])[0], together[0])
    assert {batch for batch, _, _ in doubling.calls} == {rows // at_once}, "one picture alone is not filled up"
    assert all(np.array_equal(one, two.repeat(2, 0).repeat(2, 1)) for one, two in zip(together, pictures, strict=True))


def test_a_real_network_in_batches() -> None:
    pictures = [np.random.default_rng(seed).integers(0, 256, (40, 72, 3), np.uint8) for seed in range(3)]
    batched = network(core=32, pixels=10**7)
    for one, picture in zip(batched.enlarge(pictures, stream=True), pictures, strict=True):
        assert np.array_equal(one, batched.enlarge([picture], stream=True)[0])


def test_memory_ends_in_a_batch_first() -> None:
    limited = Limited(2 * 76 * 48)
    many = of_module(limited, 2048, 10**7)
    pictures = [smooth((76, 48), seed) for seed in range(8)]
    assert len(many.enlarge(pictures, stream=True)) == 8
    assert {batch for batch, width, _ in limited.calls if width == 76} == {8, 4, 2}, "no tile was halved"
    assert many.at_once((76, 48)) == 2


def test_what_a_device_has_room_for() -> None:
    small, large = UpscaleSpec("srvgg", 4, 1, 24), UpscaleSpec("rrdb", 4, 1, 16)
    assert room(small, 16 << 30, 2) == 2 << 20
    assert room(large, 16 << 30, 2) == int((4 << 30) / 10240)
    assert room(UpscaleSpec("rrdb", 2, 2, 32), 16 << 30, 2) // 4 == room(large, 16 << 30, 2)
    assert room(large, 16 << 30, 4) == room(large, 16 << 30, 2) // 2
    assert room(small, 141 << 30, 2) == 4 << 20
    assert module._core(2 << 20) == 1440
    assert module._core(100) == 32
    assert module._core(1 << 30) == 2048


def test_tiles_on_a_cpu_do_not_depend_on_the_machine() -> None:
    assert [network(kind).core for kind in ("srvgg", "x4", "x2")] == [256, 144, 288]
    assert network().at_once((1920, 1080)) == 1


def test_colours_keep_their_places() -> None:
    """BGR in, BGR out, RGB for the network."""

    class FirstIsRed(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            assert float(x[0, 0].mean()) == pytest.approx(200 / 255)
            assert float(x[0, 2].mean()) == pytest.approx(10 / 255)
            return (x + torch.tensor([0.1, 0.0, -1.0])[:, None, None]).repeat_interleave(2, 2).repeat_interleave(2, 3)

    picture = np.full((16, 20, 3), (10, 90, 200), np.uint8)
    (made,) = of_module(FirstIsRed()).enlarge([picture])
    assert made.reshape(-1, 3).tolist() == [[0, 90, 226]] * (32 * 40), "rounded and clipped"
