"""The network against the published layout and an independent functional copy of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from raydub.errors import Code, DependencyError, RaydubError, UsageError
from raydub.models.backends.base import Backend, has_bf16, make_backend, resolve
from raydub.models.load import load_state
from raydub.models.wav2lip import Wav2Lip, from_state
from raydub.models.wav2lip_table import check_layout, width_of
from tests.models.reference import generator, lively, published_floats

LAYOUTS = ["nested", "nested module.", "flat", "flat module.", "safetensors", "safetensors module."]
BACKENDS = [("torch", "fp32"), ("openvino", "fp32"), ("torch", "bf16"), ("openvino", "bf16")]


def inputs(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    crops = random.integers(0, 256, (count, 96, 96, 3), dtype=np.uint8)
    return crops, random.uniform(-4, 4, (count, 80, 16)).astype(np.float32)


_made: dict[tuple[float, str, str], Backend] = {}


def backend_of(network: Wav2Lip, name: str, precision: str) -> Backend:
    """A copy of the network on a backend, made once; skips where this machine lacks it."""
    try:
        key = (network.width, *resolve("cpu", name, precision))
    except RaydubError as error:
        pytest.skip(str(error))
    if key not in _made:
        fresh = Wav2Lip(network.width).eval()
        fresh.load_state_dict(network.state_dict())
        _made[key] = make_backend(fresh, "cpu", name, precision)  # type: ignore[arg-type]
    return _made[key]


@pytest.fixture(scope="module")
def full() -> Wav2Lip:
    torch.manual_seed(0)
    return lively(Wav2Lip(1.0))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def small() -> Wav2Lip:
    torch.manual_seed(1)
    return lively(Wav2Lip(0.125))  # type: ignore[return-value]


def test_parameter_count_and_key_names(full: Wav2Lip) -> None:
    assert sum(p.numel() for p in full.parameters()) == 36_298_035
    shapes = {key: tuple(value.shape) for key, value in full.state_dict().items()}
    assert shapes["face_encoder_blocks.0.0.conv_block.0.weight"] == (16, 6, 7, 7)
    assert shapes["face_encoder_blocks.6.1.conv_block.1.running_var"] == (512,)
    assert shapes["audio_encoder.12.conv_block.0.weight"] == (512, 512, 1, 1)
    assert shapes["face_decoder_blocks.3.0.conv_block.0.weight"] == (768, 384, 3, 3)
    assert shapes["face_decoder_blocks.6.2.conv_block.0.bias"] == (64,)
    assert shapes["output_block.0.conv_block.0.weight"] == (32, 80, 3, 3)
    assert shapes["output_block.1.weight"] == (3, 32, 1, 1)
    blocks = {key.rsplit(".conv_block", 1)[0] for key in shapes if "conv_block" in key}
    assert len(blocks) == 50


@pytest.mark.parametrize("layout", LAYOUTS)
def test_full_width_checkpoints_load_strictly(full: Wav2Lip, layout: str, tmp_path: Path) -> None:
    prefix = "module." if layout.endswith("module.") else ""
    state = {f"{prefix}{key}": value for key, value in full.state_dict().items()}
    path = tmp_path / "model.pth"
    if layout.startswith("nested"):
        optimizer = {"state": {0: {"step": 5, "exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-4}]}
        torch.save({"state_dict": state, "optimizer": optimizer, "global_step": 5, "global_epoch": 1}, path)
    elif layout.startswith("flat"):
        # the format of torch before 1.6, in which the published files were saved
        torch.save(state, path, _use_new_zipfile_serialization=False)
    else:
        path = tmp_path / "model.safetensors"
        save_file({key: value.contiguous() for key, value in state.items()}, path)
    network = from_state(load_state(path))
    assert network.width == 1.0
    assert not network.training
    for key, value in full.state_dict().items():
        assert torch.equal(network.state_dict()[key], value), key


def test_law_8_network_equals_the_functional_copy(full: Wav2Lip) -> None:
    random = torch.Generator().manual_seed(3)
    mel = torch.rand(2, 1, 80, 16, generator=random) * 8 - 4
    faces = torch.rand(2, 6, 96, 96, generator=random)
    with torch.no_grad():
        found = full(mel, faces)
    expected = generator(full.state_dict(), mel, faces)
    assert expected.std() > 0.1, "the comparison is worth something only if the output moves"
    assert (found - expected).abs().max() < 1e-5


@pytest.mark.parametrize(("name", "precision"), BACKENDS)
def test_backends_equal_the_published_inference(small: Wav2Lip, name: str, precision: str) -> None:
    crops, mel = inputs(4)
    found = backend_of(small, name, precision).run(crops, mel)
    expected = published_floats(small.state_dict(), crops, mel)
    assert found.dtype == np.float32
    assert found.shape == (4, 96, 96, 3)
    difference = np.abs(found - expected)
    assert expected.std() > 0.1
    # random weights are a hard case for bf16: trained ones give smoother sums
    assert np.quantile(difference, 0.999) < (1e-3 if precision == "fp32" else 0.2)
    assert difference.mean() < (1e-5 if precision == "fp32" else 0.01)
    assert precision == "bf16" or difference.max() < 1e-3


def test_law_8_fastest_cpu_backend_at_full_width(full: Wav2Lip) -> None:
    crops, mel = inputs(2, seed=5)
    found = backend_of(full, "auto", "auto").run(crops, mel)
    expected = published_floats(full.state_dict(), crops, mel)
    assert np.abs(found - expected).max() < 1e-3


@pytest.mark.parametrize(("name", "precision"), BACKENDS)
def test_a_row_does_not_depend_on_its_batch(small: Wav2Lip, name: str, precision: str) -> None:
    backend = backend_of(small, name, precision)
    crops, mel = inputs(8)
    whole = backend.run(crops, mel)
    for shift in range(1, 8):
        assert np.array_equal(np.roll(backend.run(np.roll(crops, shift, 0), np.roll(mel, shift, 0)), -shift, 0), whole)
    alone = np.zeros_like(crops), np.zeros_like(mel)
    alone[0][5], alone[1][5] = crops[2], mel[2]
    assert np.array_equal(backend.run(*alone)[5], whole[2])


def test_openvino_leaves_its_threads_on_all_cores(small: Wav2Lip) -> None:
    """Pinned, the workers of a machine share its first core: two of them took twice as long as one."""
    pytest.importorskip("openvino")
    backend = backend_of(small, "openvino", "fp32")
    backend.run(*inputs(2))
    made = backend._request.get_compiled_model()  # type: ignore[attr-defined]
    assert made.get_property("ENABLE_CPU_PINNING") is False


def test_width_is_inferred(small: Wav2Lip) -> None:
    assert width_of(small.state_dict()) == 0.125
    assert from_state(small.state_dict()).width == 0.125
    without_counters = {k: v for k, v in small.state_dict().items() if not k.endswith("num_batches_tracked")}
    assert from_state(without_counters).width == 0.125
    half = {key: value.half() if value.is_floating_point() else value for key, value in small.state_dict().items()}
    assert next(from_state(half).parameters()).dtype == torch.float32


@pytest.mark.parametrize("width", [0, -1, 0.1])
def test_width_must_be_sixteenths(width: float) -> None:
    with pytest.raises(ValueError, match="1/16"):
        Wav2Lip(width)


def test_wrong_layouts_name_the_keys(small: Wav2Lip) -> None:
    state = dict(small.state_dict())
    lost, extra, wrong = dict(state), {**state, "surplus.weight": torch.zeros(1)}, dict(state)
    del lost["output_block.1.weight"]
    wrong["output_block.1.bias"] = torch.zeros(4)
    other = {"encoder.weight": torch.zeros(3)}
    for broken, words in [
        (lost, "missing output_block.1.weight"),
        (extra, "unexpected surplus.weight"),
        (wrong, "output_block.1.bias (4,)"),
        (other, "unexpected encoder.weight"),
    ]:
        with pytest.raises(DependencyError) as error:
            check_layout(broken, "some.pth")
        assert error.value.code == Code.WEIGHTS_LAYOUT
        assert "some.pth" in error.value.message
        assert words in error.value.hint


def test_devices_and_precisions_that_do_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve("cpu", "torch", "auto") == ("torch", "fp32")
    for backend, precision in [("tensorrt", "auto"), ("torch", "fp8"), ("torch", "fp16")]:
        with pytest.raises(UsageError) as error:
            resolve("cpu", backend, precision)
        assert error.value.code == Code.FIELD_VALUE
    monkeypatch.setattr("raydub.models.backends.base.has_bf16", lambda: False)
    with pytest.raises(UsageError, match="bf16"):
        resolve("cpu", "torch", "bf16")
    monkeypatch.setattr("raydub.models.backends.base.check_cuda", lambda device: None)
    assert resolve("cuda:0") == ("torch", "fp16")
    with pytest.raises(UsageError, match="CPU"):
        resolve("cuda", "openvino")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert resolve("cpu") == ("torch", "fp32")
    with pytest.raises(DependencyError, match="openvino"):
        resolve("cpu", "openvino")


def test_has_bf16_is_a_fact_about_this_machine() -> None:
    assert has_bf16() == any(word in _cpu_words() for word in ("avx512_bf16", "amx_bf16", "bf16"))


def _cpu_words() -> list[str]:
    info = Path("/proc/cpuinfo")
    return info.read_text().split() if info.exists() else []
