"""Sizes and shares of worker pools."""

from __future__ import annotations

import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.pools import Node, plan_pools
from pipeline.threads import limit_threads, thread_environment

NODES = st.lists(
    st.builds(Node, st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.0, 16.0, 96.0]), st.sampled_from([0.0, 1.0, 8.0]))
)


@given(NODES, st.integers(1, 1000), st.none() | st.integers(1, 64))
def test_one_worker_of_each_stage_fits_the_smallest_node(nodes: list[Node], jobs: int, workers: int | None) -> None:
    pools = plan_pools(nodes, jobs, workers)
    usable = [node for node in nodes if node.cpus] or [Node(1.0)]
    shares = pools.prepare_cpus + pools.track.cpus + pools.lipsync.cpus + pools.render.cpus
    assert shares <= min(node.cpus for node in usable)
    assert min(pools.prepare_cpus, pools.track.cpus, pools.lipsync.cpus, pools.render.cpus) > 0
    booked = sum(pool.size * pool.cpus for pool in (pools.track, pools.lipsync, pools.render))
    assert booked <= sum(node.cpus for node in usable) + sum(node.gpus for node in usable)
    assert pools.lipsync.size * pools.lipsync.gpus <= max(sum(node.gpus for node in usable), 0)
    if workers is not None:
        assert pools.track.size <= workers


def test_a_laptop_gets_one_of_each() -> None:
    pools = plan_pools([Node(2.0)], 6)
    assert (pools.track.size, pools.lipsync.size, pools.render.size) == (1, 1, 1)
    assert pools.lipsync.threads == 2


def test_every_gpu_gets_a_network() -> None:
    pools = plan_pools([Node(0.0), Node(16.0, 2.0), Node(16.0, 2.0)], 50)
    assert (pools.lipsync.size, pools.lipsync.gpus) == (4, 1.0)
    assert pools.track.size == pools.render.size == 16


def test_small_runs_start_few_workers() -> None:
    assert plan_pools([Node(128.0)], 1).track.size == 8


def test_threads_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    class Library:
        seen: int = 0

        def set_num_threads(self, count: int) -> None:
            self.seen = count

        setNumThreads = set_num_threads

    for name in thread_environment(3):
        monkeypatch.setenv(name, "9")
    torch, cv2 = Library(), Library()
    monkeypatch.setitem(sys.modules, "torch", torch)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "cv2", cv2)  # type: ignore[arg-type]
    limit_threads(3)
    assert (torch.seen, cv2.seen, os.environ["OMP_NUM_THREADS"]) == (3, 3, "3")
