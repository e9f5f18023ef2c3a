"""Bytes through a torch network and back, and where the network comes from."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from raydub.arrays import U8
from raydub.errors import Code, DependencyError, UsageError
from raydub.stages.post_processor import Shown
from raydub.stages.restore.area import area_alpha
from raydub.stages.restore.network import TorchRestorer, find_weights
from raydub.stages.restore.options import RestoreOptions
from raydub.stages.restore.restorer import BATCH_CPU, Restorer
from raydub.stages.restore.warp import TorchWarper
from tests.stages.restore_fakes import face_at, picture, same


class Same(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain


class Redder(Same):
    """More red; looks at its input: RGB in [-1, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[1] == 3
        assert float(x.min()) >= -1
        assert float(x.max()) <= 1
        return x + torch.tensor([0.2, 0.0, 0.0], dtype=x.dtype)[None, :, None, None]


def squares(count: int = 2, side: int = 48) -> U8:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_bytes_come_back_as_they_went(precision: str) -> None:
    given = squares()
    made = TorchRestorer(Same(), "cpu", precision)(given)
    assert made.dtype == np.uint8
    assert made.flags.c_contiguous
    # bf16 has 8 bits of mantissa: half a step of 1/128 near the ends of [-1, 1] is half a grey level
    assert np.abs(made.astype(int) - given).max() <= (0 if precision == "fp32" else 1)


def test_colours_are_bgr_outside_and_rgb_inside() -> None:
    given = squares() // 2
    made = TorchRestorer(Redder(), "cpu", "fp32")(given)
    assert np.array_equal(made[..., :2], given[..., :2])
    assert np.abs(made[..., 2].astype(float) - given[..., 2] - 25.5).max() <= 0.5


def test_values_beyond_the_range_are_cut_and_overflow_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    class Wild(Same):
        def forward(self, x: Tensor) -> Tensor:
            made = x * 50
            made[:, :, 3, 4] = float("nan")
            made[:, :, 5, 6] = float("inf")
            return made

    given, network = squares(), TorchRestorer(Wild(), "cpu", "fp32")
    with caplog.at_level(logging.WARNING):
        made = network(given)
        network(given)
    assert len(caplog.records) == 1
    assert np.array_equal(made[:, 3, 4], given[:, 3, 4])
    assert np.array_equal(made[:, 5, 6], given[:, 5, 6])
    rest = np.ones((48, 48), bool)
    rest[3, 4] = rest[5, 6] = False
    assert (made[:, rest][given[:, rest] < 120] == 0).all()
    assert (made[:, rest][given[:, rest] > 135] == 255).all()


@dataclass(frozen=True)
class Located:
    path: Path
    name: str
    sha256: str
    licence: str
    consent: str


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """A store with one file of a made-up network; notes what it is asked."""
    notes: dict[str, Any] = {"located": [], "checked": 0, "state": {"gain": torch.ones(1)}}
    path = tmp_path / "w.pth"
    torch.save(notes["state"], path)

    def locate(model: str, *, accepted: tuple[str, ...] = ()) -> Located:
        notes["located"].append((model, accepted))
        if model == "absent":
            raise DependencyError(Code.WEIGHTS_MISSING, "no such file")
        return Located(path, "w.pth", "ab" * 32, "terms", "flag")

    def check(state: dict[str, Tensor], name: str = "") -> None:
        notes["checked"] += 1
        if "gain" not in state:
            raise DependencyError(Code.WEIGHTS_LAYOUT, f"{name} holds another network")

    def load(state: dict[str, Tensor], name: str = "", fidelity: float = 0.5) -> tuple[nn.Module, Any]:
        check(state, name)
        notes["fidelity"] = fidelity
        return Same().eval(), SimpleNamespace(architecture="gfpgan", size=64)

    locating, loading = ModuleType("raydub.models.store.locate"), ModuleType("raydub.models.restore.load")
    locating.locate = locate  # type: ignore[attr-defined]
    loading.check_restorer, loading.load_restorer = check, load  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "raydub.models.store.locate", locating)
    monkeypatch.setitem(sys.modules, "raydub.models.restore.load", loading)
    return notes


def test_weights_are_located_checked_once_and_recorded(store: dict[str, Any]) -> None:
    one = Restorer(RestoreOptions("GFPGANv1.4", accepted=("terms",)))
    for _ in range(2):
        (record,) = one.weights()
        assert (record.name, record.sha256, record.licence, record.consent) == ("w.pth", "ab" * 32, "terms", "flag")
    assert store["located"] == [("GFPGANv1.4", ("terms",))] * 2
    assert store["checked"] <= 1
    with pytest.raises(DependencyError) as error:
        find_weights(RestoreOptions("absent"))
    assert error.value.code == Code.WEIGHTS_MISSING


def test_a_loaded_identity_leaves_the_frame_as_it_is(store: dict[str, Any]) -> None:
    one = Restorer(RestoreOptions("codeformer", area="face", fidelity=0.8))
    one.load("cpu")
    assert store["fidelity"] == 0.8
    assert one._batches is not None
    assert one._batches.size == BATCH_CPU
    before = picture((320, 240), blur=0.8)
    (after,) = one.map([Shown(before.copy(), (face_at((160, 120), 180, 0.2),))])
    assert after.changed
    assert same(after.frame, before)


def test_precisions_that_a_cpu_does_not_have(store: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as error:
        Restorer(RestoreOptions("x", precision="fp16")).load("cpu")
    assert error.value.code == Code.FIELD_VALUE
    if not torch.cuda.is_available():
        with pytest.raises(DependencyError):
            Restorer(RestoreOptions("x")).load("cuda")


@pytest.mark.parametrize("steady", [0.0, 0.7])
@pytest.mark.parametrize("device", ["cpu:0", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_on_a_gpu_as_on_a_cpu(monkeypatch: pytest.MonkeyPatch, device: str, steady: float) -> None:
    """The same pixels within 1/255 with warping, steadying and fading in torch: on the GPU in batches of its own and
    fp16, and by the same code on a CPU."""
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    shown = [(picture((320, 240)), (face_at((160, 120), 180, 0.2),)) for _ in range(3)]
    made: list[np.ndarray] = []
    for on in ("cpu", device):
        precision = "fp16" if on == "cuda" else "fp32"
        monkeypatch.setattr(
            "raydub.stages.restore.restorer.load_network",
            lambda _, on, p=precision: (TorchRestorer(Redder(), on, p), 256),
        )
        if on != "cpu":
            monkeypatch.setattr("raydub.stages.restore.restorer.make_warper", TorchWarper)
        one = Restorer(RestoreOptions("x", area="face", steady=steady))
        one.load(on)
        frames = [Shown(replace(frame.copy(), index=number), faces) for number, (frame, faces) in enumerate(shown)]
        made.append(np.stack([finished.frame.y.astype(int) for finished in one.map(frames)]))
    assert np.abs(made[0] - made[1]).max() <= 1
    assert np.abs(made[0] - picture((320, 240)).y).max() > 3


def test_starting_is_light() -> None:
    import subprocess

    script = "import sys, raydub.stages.restore.restorer; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("architecture", ["gfpgan", "codeformer"])
def test_a_file_of_each_network(architecture: Any, tmp_path: Path) -> None:
    """From a small file of the published layout to pixels, through the true store and loader."""
    from raydub.models.load import sha256_of
    from tests.models.restore_states import save_restorer

    path = save_restorer(tmp_path / "small.pth", architecture=architecture)
    face, before = face_at((160, 120), 180, 0.2), picture((320, 240))
    made = []
    for size in (1, 3):
        one = Restorer(RestoreOptions(str(path), batch_size=size))
        (record,) = one.weights()
        assert (record.name, record.sha256, record.licence) == ("small.pth", sha256_of(path), "custom")
        one.load("cpu")
        made.append(list(one.map([Shown(before.copy(), (face,)) for _ in range(2)])))
    assert same(made[0][0].frame, made[0][1].frame)
    assert np.abs(made[0][0].frame.y.astype(int) - made[1][0].frame.y).max() <= 1, "whatever the batch"
    outside = area_alpha(face.landmarks, "mouth", (0, 0, 320, 240)) == 0
    assert np.array_equal(made[0][0].frame.y[outside], before.y[outside])
    assert not np.array_equal(made[0][0].frame.y, before.y)


def test_a_file_of_another_network(tmp_path: Path) -> None:
    torch.save({"params_ema": {"layer.weight": torch.zeros(3)}}, tmp_path / "other.pth")
    one = Restorer(RestoreOptions(str(tmp_path / "other.pth")))
    for call in (one.weights, lambda: one.load("cpu")):
        with pytest.raises(DependencyError) as error:
            call()
        assert error.value.code == Code.WEIGHTS_LAYOUT


@pytest.mark.parametrize("architecture", ["gfpgan", "codeformer"])
def test_a_square_s_answer_does_not_depend_on_its_company(architecture: Any) -> None:
    """Law 2 rests on this: in one batch shape, a row comes out the same in every place, whatever is beside it."""
    from raydub.models.restore.load import load_restorer
    from tests.models.restore_states import random_restorer_state

    found, spec = load_restorer(random_restorer_state(architecture=architecture))
    network, rows = TorchRestorer(found, "cpu", "fp32"), squares(4, spec.size)
    made = network(rows)
    for order in ([3, 2, 1, 0], [1, 1, 1, 1], [2, 0, 3, 1]):
        assert np.array_equal(network(rows[order]), made[order])


@pytest.mark.slow
def test_the_published_layout_at_full_size(tmp_path: Path) -> None:
    """86 million random values in GFPGAN's layout: loads strictly, runs, and touches nothing outside the mouth."""
    from tests.models.restore_states import save_restorer

    face, before = face_at((320, 240), 400, 0.1), picture((640, 480))
    one = Restorer(RestoreOptions(str(save_restorer(tmp_path / "full.pth", small=False))))
    one.weights()
    one.load("cpu")
    (after,) = one.map([Shown(before.copy(), (face,))])
    alpha = area_alpha(face.landmarks, "mouth", (0, 0, 640, 480))
    assert np.array_equal(after.frame.y[alpha == 0], before.y[alpha == 0])
    assert (after.frame.y != before.y)[alpha == 1].mean() > 0.5
