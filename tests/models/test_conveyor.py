"""Copies beside the computation: no buffer is written before whoever reads it is done, in whatever order lanes work."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from raydub.errors import Code, StageError
from raydub.models.backends.conveyor import Conveyor
from raydub.models.backends.cuda import CudaCard
from raydub.models.backends.torch_any import TorchBackend, to_bytes
from raydub.models.wav2lip import Wav2Lip
from raydub.stages.batching import FixedBatches, is_out_of_memory
from tests.models.lanes import FakeCard, FakeLane


def sums(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    return first.float() * 3 + second.sum(dim=1, keepdim=True)


def rows(count: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(count)
    return random.integers(0, 200, (count, 4), dtype=np.uint8), random.integers(-9, 9, (count, 3)).astype(np.float32)


def expected(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return first.astype(np.float32) * 3 + second.sum(axis=1, keepdims=True)


@given(count=st.integers(1, 40), size=st.integers(2, 8), room=st.integers(1, 8), seed=st.integers(0, 1 << 30))
def test_every_row_s_own_result_in_every_order_of_the_lanes(count: int, size: int, room: int, seed: int) -> None:
    card = FakeCard(seed, room)
    batches = FixedBatches(Conveyor(card, sums), size)
    for number in (count, count + 3):  # the second time without recording
        arrays = rows(number)
        assert np.array_equal(batches.map(*arrays), expected(*arrays))
    assert card.records[-1] == batches.size <= max(room, 1)
    assert len(card.records) == len(set(card.records)), "one recording for a shape"


@pytest.mark.parametrize("fault", ["no waiting", "copies in another lane", "one buffer"])
def test_that_test_sees_a_wrong_order(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if fault == "no waiting":
        monkeypatch.setattr(FakeLane, "after", lambda self, mark: None)
    if fault == "copies in another lane":
        made = FakeCard.record

        def elsewhere(self: FakeCard, forward: Any, inputs: Any, lane: FakeLane) -> Any:
            replay, result = made(self, forward, inputs, lane)
            other = self.lane()
            return (lambda: other.call(replay)), result

        monkeypatch.setattr(FakeCard, "record", elsewhere)

    def shared(conveyor: Conveyor) -> Conveyor:
        prepare = conveyor._prepare

        def same(arrays: Any) -> None:
            prepare(arrays)
            conveyor._slots[1].given = conveyor._slots[0].given

        conveyor._prepare = same  # type: ignore[method-assign]
        return conveyor

    arrays, wrong = rows(20), 0
    for seed in range(50):
        conveyor = Conveyor(FakeCard(seed), sums)
        found = FixedBatches(shared(conveyor) if fault == "one buffer" else conveyor, 4).map(*arrays)
        wrong += not np.array_equal(found, expected(*arrays))
    assert wrong > 10


def test_two_batches_are_on_their_way_and_no_third() -> None:
    card = FakeCard(0)
    conveyor = Conveyor(card, sums)
    arrays = rows(4)
    first, second = conveyor.submit(*arrays), conveyor.submit(*arrays)
    with pytest.raises(RuntimeError, match="on their way"):
        conveyor.submit(*arrays)
    assert np.array_equal(first(), expected(*arrays))
    third = conveyor.submit(*arrays)
    assert all(np.array_equal(fetch(), expected(*arrays)) for fetch in (second, third))


def test_another_shape_and_release_free_the_buffers() -> None:
    card = FakeCard(0)
    conveyor = Conveyor(card, sums)
    conveyor.submit(*rows(4))  # never fetched
    before = len(card.tensors)
    assert np.array_equal(conveyor.submit(*rows(6))(), expected(*rows(6)))
    gc.collect()
    card.lanes = card.lanes[3:]
    assert len(card.tensors) == before
    conveyor.release()
    card.lanes.clear()
    gc.collect()
    assert len(card.tensors) == 0
    assert np.array_equal(conveyor.submit(*rows(4))(), expected(*rows(4)))
    assert card.records == [4, 6, 4]


def test_an_error_frees_what_is_on_its_way() -> None:
    card = FakeCard(3)
    calls: list[int] = []

    def breaks(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        calls.append(len(first))
        if len(calls) == 3:
            raise RuntimeError("device-side assert triggered")
        return sums(first, second)

    batches = FixedBatches(Conveyor(card, breaks), 4)
    with pytest.raises(RuntimeError, match="device-side"):
        batches.map(*rows(20))
    assert np.array_equal(batches.map(*rows(20)), expected(*rows(20))), "and the next chunk works"
    with pytest.raises(StageError) as error:
        FixedBatches(Conveyor(FakeCard(0, room=0), sums), 4).map(*rows(3))
    assert error.value.code == Code.OUT_OF_MEMORY


class Recorder:
    """torch.cuda.graph without a card: `ends` is raised when a recording that failed is ended."""

    said: ClassVar[list[str]] = []
    ends: ClassVar[Exception | None] = None

    def __init__(self, graph: object, stream: object, capture_error_mode: str) -> None:
        self.said.append(f"records on {stream}, {capture_error_mode}")

    def __enter__(self) -> None:
        self.said.append("begin")

    def __exit__(self, kind: object, *_: object) -> None:
        self.said.append("end")
        if kind is not None and self.ends is not None:
            raise self.ends


@pytest.fixture
def no_card(monkeypatch: pytest.MonkeyPatch) -> type[Recorder]:
    @contextlib.contextmanager
    def stream(name: str) -> Iterator[None]:
        Recorder.said.append(f"enter {name}")
        try:
            yield
        finally:
            Recorder.said.append(f"leave {name}")

    monkeypatch.setattr(torch.cuda, "graph", Recorder)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(replay=lambda: Recorder.said.append("replay")))
    monkeypatch.setattr(torch.cuda, "stream", stream)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: "lane")
    monkeypatch.setattr(Recorder, "said", [])
    return Recorder


def test_recording_warms_up_on_its_own_stream(no_card: type[Recorder]) -> None:
    card = CudaCard(torch.device("cuda"))

    def forward(one: torch.Tensor) -> torch.Tensor:
        no_card.said.append("forward")
        return one + 1

    lane = card.lane()
    replay, result = card.record(forward, [torch.zeros(2)], lane)
    lane.call(replay)
    assert result.tolist() == [1, 1]
    forwards = ["forward", "forward", "records on lane, thread_local", "begin", "forward", "end"]
    assert no_card.said == ["enter lane", *forwards, "leave lane", "enter lane", "replay", "leave lane"]


@pytest.mark.parametrize("ends", [None, RuntimeError("operation failed due to a previous error during capture")])
@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("not permitted")])
def test_only_a_lack_of_memory_while_recording_makes_batches_smaller(
    no_card: type[Recorder], monkeypatch: pytest.MonkeyPatch, error: RuntimeError, ends: RuntimeError | None
) -> None:
    monkeypatch.setattr(no_card, "ends", ends)
    card, calls = CudaCard(torch.device("cuda")), list[int]()

    def forward(one: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 3:
            raise error
        return one

    with pytest.raises(RuntimeError) as raised:
        card.record(forward, [torch.zeros(2)], card.lane())
    assert is_out_of_memory(raised.value) == isinstance(error, torch.OutOfMemoryError)
    assert no_card.said[-1] == "leave lane"
    if not is_out_of_memory(error):
        assert raised.value is (ends or error)


def test_bytes_made_on_the_card_are_those_made_of_the_floats() -> None:
    torch.manual_seed(0)
    backend = TorchBackend(Wav2Lip(0.125).eval(), "cpu", "fp32")
    assert backend.conveyor is None
    random = np.random.default_rng(0)
    crops = random.integers(0, 256, (6, 96, 96, 3), dtype=np.uint8)
    mel = random.uniform(-4, 4, (6, 80, 16)).astype(np.float32)
    conveyor = Conveyor(FakeCard(0), lambda crops, mel: to_bytes(backend.faces(crops, mel)))
    plain = FixedBatches(lambda crops, mel: (backend.run(crops, mel) * np.float32(255.0)).astype(np.uint8), 4)
    found = FixedBatches(conveyor, 4).map(crops, mel)
    assert found.dtype == np.uint8
    assert np.array_equal(found, plain.map(crops, mel))
