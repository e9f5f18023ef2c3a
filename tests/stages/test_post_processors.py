"""From options to post-processors and their cost."""

from __future__ import annotations

import os
import sys
import types
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydub.errors import InputError
from raydub.manifests.options import FIELDS, POST_FIELDS, Options
from raydub.stages.post_processor import PostProcessor
from raydub.stages.post_processors import expected_size, make_post_processors, plan_post_processing, post_process_costs
from tests.stages.post_processor_fakes import Blur, Enlarge, Sign

SIZES = st.tuples(st.integers(32, 2000), st.integers(32, 2000)).map(lambda size: (size[0] * 2, size[1] * 2))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the post-processors are built with; the post-processors themselves are words."""
    asked: list[Any] = []
    for package, name in (
        ("raydub.stages.upscale.upscaler", "Upscaler"),
        ("raydub.stages.restore.restorer", "Restorer"),
    ):
        module = types.ModuleType(package)
        setattr(module, name, lambda options, name=name: asked.append(options) or name)
        monkeypatch.setitem(sys.modules, package, module)
    return asked


def test_nothing_is_made_of_nothing(made: list[Any]) -> None:
    assert make_post_processors(Options()) == ()
    assert made == []


def test_faces_are_restored_after_the_frame_has_grown(made: list[Any]) -> None:
    options = Options(
        restore="codeformer",
        restore_area="face",
        restore_strength=0.5,
        restore_frames="all",
        restore_steady=0.25,
        restore_fidelity=0.75,
        upscale="general",
        upscale_area="face",
        outscale=2.0,
        upscale_denoise=0.5,
        upscale_tile=64,
        precision="bf16",
    )
    found: tuple[Any, ...] = make_post_processors(options, ["some-licence"])
    assert found == ("Upscaler", "Restorer")
    upscale, restore = made
    assert (upscale.model, upscale.partner) == ("realesr-general-x4v3", "realesr-general-wdn-x4v3")
    assert (upscale.area, upscale.outscale, upscale.denoise, upscale.tile) == ("face", 2.0, 0.5, 64)
    assert (restore.model, restore.area, restore.frames) == ("codeformer", "face", "all")
    assert (restore.strength, restore.steady, restore.fidelity) == (0.5, 0.25, 0.75)
    assert {one.precision for one in made} == {"bf16"}
    assert {one.accepted for one in made} == {("some-licence",)}


@pytest.mark.parametrize(
    ("options", "models"),
    [
        ({"restore": "gfpgan"}, ["GFPGANv1.4"]),
        ({"restore": "gfpgan", "restore_model": "GFPGANv1.3"}, ["GFPGANv1.3"]),
        ({"upscale": "x2"}, ["RealESRGAN_x2plus"]),
        ({"upscale": "x4", "upscale_model": f"{os.sep}own.pth"}, [f"{os.sep}own.pth"]),
        ({"upscale": "anime"}, ["realesr-animevideov3"]),
    ],
)
def test_networks_by_name(made: list[Any], options: dict[str, Any], models: list[str]) -> None:
    make_post_processors(Options(**options))
    assert [one.model for one in made] == models
    assert not any(getattr(one, "partner", None) for one in made)


def test_every_option_of_post_processors_is_known_as_such() -> None:
    assert {name for name in FIELDS if name.startswith(("restore", "upscale", "outscale"))} == POST_FIELDS


def test_what_post_processors_want_adds_up() -> None:
    chain: list[PostProcessor] = [Enlarge(2.0), Blur(2), Sign(every_face=True), Blur(3)]
    found = plan_post_processing(chain, (96, 64))
    assert (found.out_size, found.post_halo, found.post_every_face) == ((192, 128), 5, True)
    assert found.post_processors == ("enlarge", "blur", "sign", "blur")
    assert plan_post_processing((), (96, 64)).out_size == (96, 64)


@given(SIZES, st.sampled_from(["x2", "x4", "general", "anime"]), st.sampled_from(["none", "gfpgan", "codeformer"]))
def test_larger_frames_cost_more(size: tuple[int, int], upscale: Any, restore: Any) -> None:
    options = Options(upscale=upscale, restore=restore)
    costs, twice = post_process_costs(options, size), post_process_costs(options, (size[0] * 2, size[1]))
    assert set(costs) == {"upscale"} | ({"restore"} if restore != "none" else set())
    assert twice["upscale"] == pytest.approx(2 * costs["upscale"])
    assert twice.get("restore") == costs.get("restore")
    face = options.model_copy(update={"upscale_area": "face"})
    every = face.model_copy(update={"face": "all"})
    assert 0 < post_process_costs(face, size)["upscale"] < post_process_costs(every, size)["upscale"] < costs["upscale"]
    assert restore == "none" or post_process_costs(every, size)["restore"] > costs["restore"]


@given(SIZES, st.floats(0.25, 8.0))
def test_expected_sizes_are_those_of_the_upscaler(size: tuple[int, int], outscale: float) -> None:
    from raydub.stages.upscale.options import UpscaleOptions
    from raydub.stages.upscale.upscaler import Upscaler

    try:
        made = Upscaler(UpscaleOptions(model="x", outscale=outscale)).out_size(size)
    except InputError:
        return
    assert made == expected_size(Options(upscale="x2", outscale=outscale), size)


def test_the_order_of_the_costs() -> None:
    costs = [
        post_process_costs(Options(upscale=name), (1280, 720))["upscale"] for name in ("anime", "general", "x2", "x4")
    ]
    assert costs == sorted(costs)
    # the largest network takes minutes for a frame of 720p
    assert costs[-1] > 100
    assert post_process_costs(Options(), (1280, 720)) == {}


@given(
    SIZES, st.none() | st.floats(0.25, 8.0), st.sampled_from(["none", "x2", "x4"]), st.sampled_from(["frame", "face"])
)
def test_expected_sizes_are_even(size: tuple[int, int], outscale: float | None, upscale: Any, area: Any) -> None:
    if upscale == "none":
        assert expected_size(Options(), size) == size
        return
    width, height = expected_size(Options(upscale=upscale, upscale_area=area, outscale=outscale), size)
    assert width % 2 == height % 2 == 0
    scale = outscale or (1.0 if area == "face" else {"x2": 2.0, "x4": 4.0}[upscale])
    assert abs(width - size[0] * scale) <= 1
    assert abs(height - size[1] * scale) <= 1
