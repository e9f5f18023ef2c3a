"""Fixed batches: the same rows whatever the split, and less at a time when memory runs out."""

from __future__ import annotations

import errno
import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydub.errors import Code, StageError
from raydub.stages.batching import FixedBatches, is_out_of_memory


class Fake:
    """Mean of both inputs; remembers batch sizes; out of memory above `room` rows."""

    def __init__(self, room: int = 1000, error: Exception | None = None) -> None:
        self.sizes: list[int] = []
        self.room = room
        self.error = error or RuntimeError("CUDA out of memory. Tried to allocate 20 MiB")

    def __call__(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        assert len(first) == len(second)
        self.sizes.append(len(first))
        if len(first) > self.room:
            raise self.error
        return ((first.mean(axis=1) + second.mean(axis=1)) / 2)[:, None].astype(np.float32)


def rows(count: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.random((count, 3)).astype(np.float32), random.random((count, 5)).astype(np.float32)


@given(count=st.integers(1, 70), size=st.integers(1, 20), room=st.integers(1, 30))
def test_all_rows_in_order_in_one_shape(count: int, size: int, room: int) -> None:
    fake = Fake(room)
    arrays = rows(count)
    batches = FixedBatches(fake, size)
    made = batches.map(*arrays)
    expected = ((arrays[0].mean(axis=1) + arrays[1].mean(axis=1)) / 2)[:, None].astype(np.float32)
    assert made.dtype == np.float32
    assert np.array_equal(made, expected)
    fitting = [n for n in fake.sizes if n <= room]
    assert set(fitting) == {batches.size}, "one shape for every call that worked"
    assert len(fake.sizes) - len(fitting) <= size.bit_length(), "halving is bounded"


def test_halving_is_kept_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    fake = Fake(room=4)
    batches = FixedBatches(fake, 16)
    with caplog.at_level(logging.WARNING):
        batches.map(*rows(10))
    assert batches.size == 4
    assert fake.sizes == [16, 8, 4, 4, 4]
    assert len(caplog.records) == 2
    batches.map(*rows(4))
    assert fake.sizes[-1] == 4


def test_one_row_that_does_not_fit() -> None:
    fake = Fake(room=0)
    with pytest.raises(StageError) as error:
        FixedBatches(fake, 8).map(*rows(3))
    assert error.value.code == Code.OUT_OF_MEMORY
    assert fake.sizes == [8, 4, 2, 1]


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        FixedBatches(Fake(room=0, error=RuntimeError("shapes do not match")), 8).map(*rows(3))


def test_what_counts_as_out_of_memory() -> None:
    import torch

    assert is_out_of_memory(torch.cuda.OutOfMemoryError("x"))
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 90 bytes"))
    assert is_out_of_memory(RuntimeError("Exception from src: std::bad_alloc"))
    assert is_out_of_memory(OSError(errno.ENOMEM, "mmap failed"))
    assert is_out_of_memory(ValueError("OpenCV: (-4:Insufficient memory) Failed to allocate 99 bytes"))
    assert not is_out_of_memory(RuntimeError("device-side assert triggered"))
    assert not is_out_of_memory(OSError(errno.EIO, "x"))


def test_an_exception_that_cannot_be_told_is_no_lack_of_memory() -> None:
    class Mute(RuntimeError):
        def __str__(self) -> str:
            raise ValueError("no")

    assert not is_out_of_memory(Mute())
    with pytest.raises(Mute):
        FixedBatches(Fake(room=0, error=Mute()), 8).map(*rows(3))


class OnnxFail(Exception):
    """What a runtime raises that derives its own from Exception."""


@pytest.mark.parametrize("kind", ["torch", "runtime", "host"])
def test_every_kind_of_memory_error_halves_the_batch(kind: str) -> None:
    import torch

    errors = {
        "torch": torch.OutOfMemoryError("CUDA"),
        "runtime": OnnxFail("Failed to allocate memory"),
        "host": MemoryError(),
    }
    fake = Fake(room=3, error=errors[kind])
    batches = FixedBatches(fake, 16)
    assert len(batches.map(*rows(5))) == 5
    assert (batches.size, fake.sizes) == (2, [16, 8, 4, 2, 2, 2])


def test_wrong_calls() -> None:
    with pytest.raises(ValueError, match="batch size"):
        FixedBatches(Fake(), 0)
    with pytest.raises(ValueError, match="rows"):
        FixedBatches(Fake(), 4).map(rows(3)[0], rows(4)[1])
