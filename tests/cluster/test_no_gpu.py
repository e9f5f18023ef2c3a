"""A GPU that cannot be used is named with its reason and a way out: in the library, the workers, and the commands."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import raydub
from raydub.cluster import checks
from raydub.cluster.cli import app
from raydub.cluster.request import RunReport
from raydub.cluster.session import where
from raydub.errors import Code, DependencyError, StageError
from raydub.manifests.options import Options
from raydub.manifests.results import JobResult
from raydub.models import device
from raydub.models.backends.base import make_backend
from raydub.models.wav2lip import Wav2Lip
from raydub.pipeline import engines
from raydub.pipeline.failures import as_raydub_error, while_loading
from raydub.pipeline.pools import Node
from raydub.stages.batching import FixedBatches
from raydub.stages.restore.options import RestoreOptions
from raydub.stages.restore.restorer import Restorer
from tests.stages.fakes import DEMO

ARCHES = ["sm_75", "sm_80", "sm_90", "compute_90"]


@dataclass(frozen=True)
class Machine:
    """What torch would say. cuda: the build's version; refuses: what init() raises; own: the GPU's capability."""

    cuda: str | None = "13.0"
    refuses: str = ""
    own: tuple[int, int] | None = None
    driver: bool = True
    hidden: str | None = None


TOO_OLD = "The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver."
CASES = {
    "CPU build": (Machine(cuda=None), "a build without CUDA", "pytorch.org"),
    "no GPU": (Machine(refuses="Found no NVIDIA driver on your system.", driver=False), "no GPU", "install a GPU"),
    "old driver": (Machine(refuses=TOO_OLD), "the driver does not fit torch", "update the GPU's driver"),
    "hidden": (Machine(refuses="No CUDA GPUs are available", hidden=""), "No CUDA GPUs", "CUDA_VISIBLE_DEVICES is ''"),
    "broken": (Machine(refuses="CUDA unknown error - this may be due to\nx"), "CUDA unknown", "check nvidia-smi"),
    "old GPU": (Machine(own=(6, 1)), "has compute capability 6.1", "install a torch build that supports this GPU"),
}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[Machine], None]:
    def become(one: Machine) -> None:
        def init() -> None:
            raise RuntimeError(one.refuses)

        monkeypatch.setattr(torch.version, "cuda", one.cuda)
        monkeypatch.setattr(torch.version, "hip", None)
        monkeypatch.setattr(torch.cuda, "init", init)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: one.own is not None)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: int(one.own is not None))
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda number: one.own)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: "NVIDIA X")
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ARCHES)
        about = SimpleNamespace(name="NVIDIA X", total_memory=24 << 30, major=(one.own or (0, 0))[0], minor=0)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: about)
        monkeypatch.setattr(device, "_has_driver", lambda: one.driver)
        monkeypatch.setattr(device, "may_have_gpu", lambda: True)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if one.hidden is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", one.hidden)

    engines._warn.cache_clear()
    return become


@pytest.mark.parametrize("case", CASES)
def test_each_case_through_the_command(case: str, machine: Any, tmp_path: Path) -> None:
    """Whatever the engine: here the embedded one, which itself would need no GPU."""
    one, found, hint = CASES[case]
    machine(one)
    arguments = ["dub", "--video", str(DEMO / "clip.mp4"), "--audio", str(DEMO / "speech_es.flac"), "--json"]
    arguments += ["-o", str(tmp_path / "o.mp4"), "--work-dir", str(tmp_path / "w"), "--no-ray", "--device", "cuda"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 3, result.output
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "E_NO_GPU"
    assert found in error["message"]
    assert hint in error["hint"]
    assert "--device cpu" in error["hint"]
    with pytest.raises(DependencyError) as raised:
        raydub.dub(DEMO / "clip.mp4", audio=DEMO / "speech_es.flac", output=tmp_path / "o.mp4", device="cuda")
    assert (raised.value.code, raised.value.message) == (Code.NO_GPU, error["message"])
    assert not (tmp_path / "o.mp4").exists()


@pytest.mark.parametrize("case", CASES)
def test_each_case_in_the_library_and_in_a_worker(case: str, machine: Any) -> None:
    machine(CASES[case][0])
    calls = {
        "engine": lambda: make_backend(Wav2Lip(1 / 16), "cuda"),
        "worker": lambda: engines.engine_device(Options(model="x.pth"), "cuda"),
        "post-processors": lambda: Restorer(RestoreOptions("x")).load("cuda"),
    }
    for call in calls.values():
        with pytest.raises(DependencyError) as error:
            call()
        assert error.value.code == Code.NO_GPU
        assert CASES[case][1] in error.value.message
    assert engines.engine_device(Options(), "cuda") == "cpu", "the embedded engine"


@pytest.mark.parametrize("case", CASES)
def test_auto_takes_the_cpu_and_says_so_where_there_is_a_gpu(
    case: str, machine: Any, caplog: pytest.LogCaptureFixture
) -> None:
    machine(CASES[case][0])
    with caplog.at_level(logging.WARNING):
        assert [engines.pick_device("auto") for _ in range(3)] == ["cpu"] * 3
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == (case in ("old driver", "broken", "old GPU", "CPU build"))
    assert all(CASES[case][1] in text for text in told)


@pytest.mark.parametrize("case", CASES)
def test_doctor_reports_the_same(case: str, machine: Any) -> None:
    machine(CASES[case][0])
    check = checks._gpu()
    assert check.state == "note"
    assert CASES[case][1] in check.found
    assert case in ("no GPU", "hidden") or CASES[case][2] in check.hint


def test_torch_is_not_asked_where_there_is_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "may_have_gpu", lambda: False)
    monkeypatch.setattr(device, "cuda_problem", lambda: pytest.fail("asked"))
    assert engines.pick_device("auto") == "cpu"


def test_a_gpu_that_fits(machine: Any) -> None:
    machine(Machine(own=(9, 0)))
    assert device.cuda_problem() is None
    assert engines.pick_device("auto") == engines.pick_device("cuda") == "cuda"
    found = checks._gpu()
    assert (found.state, found.found) == ("ok", "NVIDIA X, 24 GiB, compute capability 9.0; CUDA 13.0")
    with pytest.raises(DependencyError, match=r"no GPU 3"):
        device.check_cuda("cuda:3")


@pytest.mark.parametrize(
    ("own", "built", "expected"),
    [
        ((8, 6), ["sm_80"], True),
        ((8, 0), ["sm_86"], False),
        ((9, 0), ["sm_80"], False),
        ((12, 0), ["sm_90", "compute_90"], True),
        ((7, 0), ["compute_75"], False),
        ((9, 0), ["sm_90a"], True),
        ((9, 1), ["sm_90a"], False),
        ((10, 3), ["sm_100f"], True),
        ((10, 3), ["sm_100a", "sm_120"], False),
        ((3, 7), ["gfx90a", "gfx942"], True),
    ],
)
def test_architectures(own: tuple[int, int], built: list[str], expected: bool) -> None:
    assert device.runs_on(own, built) == expected


def test_own_ray_checks_before_any_work(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(CASES["old GPU"][0])
    monkeypatch.setattr("raydub.pipeline.nodes.nodes_now", lambda: {"a": Node(4.0, 1.0)})
    request: Any = SimpleNamespace(device="cuda", wait_gpu=0.0)
    with pytest.raises(DependencyError) as error:
        where.ray_executor(ExitStack(), request, None, "", lambda note: None, own=True)  # type: ignore[arg-type]
    assert error.value.code == Code.NO_GPU
    assert "compute capability" in error.value.message


def test_jobs_that_missed_their_gpu_end_a_run_with_3() -> None:
    lost = JobResult(id="a", status="failed", error_code="E_NO_GPU")
    assert RunReport((lost,)).exit_code() == 3
    assert RunReport((lost, JobResult(id="b", status="ok"))).exit_code() == 1


def test_too_little_memory_for_one_face() -> None:
    def full(rows: np.ndarray) -> np.ndarray:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB")

    with pytest.raises(StageError) as error:
        FixedBatches(full, 8).map(np.zeros((3, 2)))
    assert error.value.code == Code.OUT_OF_MEMORY
    assert "--device cpu" in error.value.hint
    with pytest.raises(StageError) as loading, while_loading("the lip engine"):
        full(np.zeros(1))
    assert (loading.value.code, loading.value.hint) == (
        Code.OUT_OF_MEMORY,
        "free memory on the GPU, run fewer workers on it, or use --device cpu",
    )
    assert "chunk_seconds" in as_raydub_error(MemoryError(), "render").hint
