"""Every network on a CUDA device, in each precision that it has there: repeatable, rows independent of each other,
close to fp32 on the CPU, and smaller batches when memory runs out.

RAYDUB_GPU_TESTS=cpu tries the tests themselves on a CPU.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from raydub.models.backends.base import Backend, make_backend
from raydub.models.restore.load import load_restorer
from raydub.models.upscale.load import load_upscaler
from raydub.models.upscale.rrdb import RRDBNet, RrdbSize
from raydub.models.upscale.srvgg import SRVGGNetCompact, SrvggSize
from raydub.models.wav2lip import Wav2Lip
from raydub.stages.batching import FixedBatches
from raydub.stages.restore.network import TorchRestorer
from raydub.stages.upscale.network import UpscaleNetwork
from tests.models.restore_states import random_restorer_state

DEVICE = os.environ.get("RAYDUB_GPU_TESTS", "cuda")
PRECISIONS = ("fp32", "fp16", "bf16") if DEVICE != "cpu" else ("fp32",)
# Of 255 levels, largest and mean difference from fp32 on the CPU; random weights.
CLOSE = {"fp32": (1, 0.01), "fp16": (6, 0.3), "bf16": (40, 2.0)}

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(DEVICE != "cpu" and not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]
Run = Callable[..., np.ndarray]


def bytes_of(count: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def mels(count: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(-4, 4, (count, 80, 16)).astype(np.float32)


def byte_network(backend: Backend) -> Any:
    """As the lipsync stage has it."""
    return backend.conveyor or (lambda crops, sound: (backend.run(crops, sound) * np.float32(255)).astype(np.uint8))


def lips(device: str, precision: Any) -> Run:
    torch.manual_seed(0)
    network = byte_network(make_backend(Wav2Lip(0.25).eval(), device, "torch", precision))
    return lambda crops, sound: FixedBatches(network, len(crops)).map(crops, sound)


def restorer(architecture: Any) -> Callable[[str, Any], Run]:
    state = random_restorer_state(architecture=architecture, small=True)

    def make(device: str, precision: Any) -> Run:
        return TorchRestorer(load_restorer(state)[0], device, precision)

    return make


def upscaler(size: SrvggSize | RrdbSize) -> Callable[[str, Any], Run]:
    torch.manual_seed(0)
    state = dict((RRDBNet(size) if isinstance(size, RrdbSize) else SRVGGNetCompact(size)).state_dict())

    def make(device: str, precision: Any) -> Run:
        network, spec = load_upscaler(state)
        made = UpscaleNetwork(network, spec, device, precision, core=64, pixels=4 * 112 * 112)
        return lambda rows: np.stack(made.enlarge(list(rows), stream=True))

    return make


def side_of(name: str) -> tuple[int, int]:
    if name in ("gfpgan", "codeformer"):
        state = random_restorer_state(architecture=name, small=True)  # type: ignore[arg-type]
        side = load_restorer(state)[1].size
        return side, side
    return (96, 96) if name == "wav2lip" else (72, 128)


NETWORKS: dict[str, Callable[[], Callable[[str, Any], Run]]] = {
    "wav2lip": lambda: lips,
    "gfpgan": lambda: restorer("gfpgan"),
    "codeformer": lambda: restorer("codeformer"),
    "srvgg": lambda: upscaler(SrvggSize(convs=8)),
    "rrdb": lambda: upscaler(RrdbSize(blocks=1)),
}


@pytest.fixture(autouse=True)
def freed() -> Iterator[None]:
    yield
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", NETWORKS)
def test_laws_2_and_3(name: str, precision: str) -> None:
    """The same rows give the same bits: again, in another place of the batch, and in other company."""
    run, (height, width) = NETWORKS[name]()(DEVICE, precision), side_of(name)
    more = (mels(4),) if name == "wav2lip" else ()
    rows, others = bytes_of(4, height, width), bytes_of(4, height, width, seed=7)
    once = run(rows, *more)
    assert np.array_equal(run(rows, *more), once)
    for place in range(4):
        mixed = others.copy()
        mixed[place] = rows[0]
        sounds = tuple(np.roll(sound, place, axis=0) for sound in more)
        assert np.array_equal(run(mixed, *sounds)[place], once[0]), f"row 0 in place {place}"


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", NETWORKS)
def test_law_8_close_to_fp32_on_the_cpu(name: str, precision: str) -> None:
    make, (height, width) = NETWORKS[name](), side_of(name)
    rows, more = bytes_of(2, height, width), (mels(2),) if name == "wav2lip" else ()
    here, there = make("cpu", "fp32")(rows, *more).astype(int), make(DEVICE, precision)(rows, *more).astype(int)
    difference = np.abs(here - there)
    most, mean = CLOSE[precision]
    assert here.std() > 1, "a picture, not a constant"
    assert (difference.max() <= most, difference.mean() <= mean) == (True, True), (difference.max(), difference.mean())


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_graph_and_its_copies_change_no_bit(precision: Any) -> None:
    """Many batches, two on their way, against one call after the other; again after another shape, and in a new
    recording."""
    backend = make_backend(Wav2Lip(0.25).eval(), DEVICE, "torch", precision)
    crops, sound = bytes_of(101, 96, 96), mels(101)
    padded = np.zeros((112, 96, 96, 3), np.uint8), np.zeros((112, 80, 16), np.float32)
    padded[0][:101], padded[1][:101] = crops, sound
    floats = [backend.run(padded[0][at : at + 16], padded[1][at : at + 16]) for at in range(0, 112, 16)]
    expected = (np.concatenate(floats) * np.float32(255)).astype(np.uint8)[:101]
    batches = FixedBatches(byte_network(backend), 16)
    assert np.array_equal(batches.map(crops, sound), expected)
    assert np.array_equal(batches.map(crops, sound), expected)
    FixedBatches(byte_network(backend), 4).map(crops[:9], sound[:9])
    assert np.array_equal(batches.map(crops, sound), expected)


@pytest.mark.skipif(DEVICE == "cpu", reason="CUDA's memory")
def test_another_shape_frees_what_the_former_one_had() -> None:
    conveyor = make_backend(Wav2Lip(1.0).eval(), DEVICE, "torch").conveyor
    assert conveyor is not None
    used = []
    for size in (64, 256, 64, 256, 64):
        conveyor.submit(bytes_of(size, 96, 96), mels(size))()
        torch.cuda.empty_cache()
        used.append(torch.cuda.memory_reserved())
    assert used[0] == pytest.approx(used[2], rel=0.05) == pytest.approx(used[4], rel=0.05)
    assert used[1] == pytest.approx(used[3], rel=0.05)


@pytest.mark.skipif(DEVICE == "cpu", reason="limits the memory of a CUDA device")
def test_running_out_of_memory_halves_the_batch_and_changes_nothing() -> None:
    backend = make_backend(Wav2Lip(1.0).eval(), DEVICE, "torch", "fp32")
    crops, sound = bytes_of(64, 96, 96), mels(64)
    expected = FixedBatches(byte_network(backend), 16).map(crops, sound).astype(int)
    torch.cuda.empty_cache()
    used, total = torch.cuda.memory_allocated(), torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((used + (600 << 20)) / total)
    try:
        batches = FixedBatches(byte_network(backend), 1024)
        found = batches.map(crops, sound)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert batches.size < 1024, "the limit was not reached"
    assert np.abs(found - expected).max() <= 1
