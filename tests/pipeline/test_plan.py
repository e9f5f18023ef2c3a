"""What bounds a run: cores or GPUs, and which stage."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydub.pipeline.plan import CORES_PER_GPU, Bottleneck, Estimate, bottleneck

SECONDS = {"track": 8.0, "lipsync": 34.0, "render": 14.0, "restore": 400.0, "stitch": 1.0}


def of(seconds: Mapping[str, float], networks: tuple[str, ...] = ("lipsync", "restore")) -> Estimate:
    return Estimate("a", 64, 64, 64, 64, "25", 100, 1, 4.0, "wav2lip", seconds, networks)


def test_without_a_gpu_the_largest_network_is_the_bottleneck() -> None:
    assert bottleneck([of(SECONDS)], 4, 0) == Bottleneck(114.2, "cores", "restore", 0.875, None)


def test_with_gpus_decoding_drawing_and_encoding_are() -> None:
    found = bottleneck([of(SECONDS), of(SECONDS)], 4, 1)
    card = 2 * 434 / CORES_PER_GPU
    assert found == Bottleneck(11.5, "cores", "render", 0.609, round(1 - card / 11.5, 3))


def test_many_cores_wait_for_one_gpu() -> None:
    found = bottleneck([of({**SECONDS, "restore": 40000.0})], 64, 1)
    assert found is not None
    assert (found.bound, found.stage) == ("gpus", "restore")
    more = bottleneck([of({**SECONDS, "restore": 40000.0})], 64, 8)
    assert more is not None
    assert more.seconds == pytest.approx(found.seconds / 8, abs=0.1)


def test_an_engine_without_a_network_stays_on_the_cores() -> None:
    found = bottleneck([of({"track": 8.0, "lipsync": 0.3, "render": 14.0}, ())], 2, 4)
    assert found is not None
    assert (found.bound, found.stage, found.idle) == ("cores", "render", 1.0)


def test_no_work() -> None:
    assert bottleneck([], 4, 1) is None


@given(
    st.dictionaries(st.sampled_from(list(SECONDS)), st.floats(0.1, 1e5), min_size=1),
    st.integers(1, 500),
    st.integers(0, 16),
)
def test_more_machines_never_take_longer(seconds: dict[str, float], cores: int, gpus: int) -> None:
    now, more = bottleneck([of(seconds)], cores, gpus), bottleneck([of(seconds)], cores + 1, gpus + bool(gpus))
    assert now is not None
    assert more is not None
    assert more.seconds <= now.seconds
    assert 0 < now.share <= 1
    assert now.idle is None or 0 <= now.idle <= 1
