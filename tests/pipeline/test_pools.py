"""Sizes and shares of worker pools."""

from __future__ import annotations

import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydub.pipeline.pools import Node, Pool, Pools, plan_pools, used
from raydub.pipeline.registry import STAGES
from raydub.pipeline.stage import Demand
from raydub.pipeline.threads import limit_threads, thread_environment

NODES = st.lists(
    st.builds(
        Node,
        st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.0, 16.0, 96.0]),
        st.sampled_from([0.0, 1.0, 2.0, 8.0]),
        gpu=st.sampled_from(["", "H100", "T4", "A100-80G"]),
    )
)
KIND = st.fixed_dictionaries({"finish": st.booleans(), "network": st.booleans(), "speak": st.booleans()})


@given(NODES, st.integers(1, 1000), st.none() | st.integers(1, 64), st.sampled_from(["auto", "cpu", "cuda"]), KIND)
def test_all_workers_fit_their_nodes(
    nodes: list[Node], jobs: int, workers: int | None, device: str, kind: dict[str, bool]
) -> None:
    pools = planned(nodes, jobs, workers, device, **kind)
    usable = used(nodes) or [Node(1.0)]
    # One worker of each stage fits the smallest used node.
    assert ("speak" in pools) == kind["speak"]
    one_of_each = sum(pool.cpus + pool.prefetch_cpus for pool in pools.values())
    assert one_of_each <= min(node.cpus for node in usable)
    assert min(pool.cpus for pool in pools.values()) > 0
    stages = actors(pools)
    assert all(pool.size >= 1 for pool in stages)
    # Shares of a GPU are equal and tile it, and there are workers for no more GPUs than there are.
    assert {pool.gpus for pool in stages if pool.gpus} in (set(), {1.0}, {0.5}, {0.25})
    assert pools["track"].gpus == 0.0
    gpus = sum(int(node.gpus) for node in usable)
    assert sum(pool.size * pool.gpus for pool in stages) <= gpus
    assert all(pool.size <= sum(int(node.cpus // min(2.0, node.cpus)) for node in usable) for pool in stages)
    if device == "cpu":
        assert not any(pool.gpus for pool in stages)
    if workers is not None:
        assert all(pool.size <= workers for pool in stages if not pool.gpus)
    assert seated(pools, usable)


def planned(
    nodes: list[Node],
    jobs: int,
    workers: int | None = None,
    device: str = "auto",
    *,
    finish: bool = False,
    network: bool = True,
    speak: bool = False,
) -> Pools:
    left = {"evaluate"} if speak else {"evaluate", "speak"}
    stages = [stage for stage in STAGES if stage.name not in left]
    return plan_pools(nodes, jobs, workers, device, demand=Demand(finish, network), stages=stages)


def actors(pools: Pools) -> list[Pool]:
    """Pools of workers that stay, in order."""
    return [pools[stage.name] for stage in STAGES if stage.actors and stage.name in pools]


def seated(pools: Pools, nodes: list[Node]) -> bool:
    """Can all workers of all pools sit somewhere, those for a GPU on one? Node by node, in whole sets."""
    stages = actors(pools)
    left = [pool.size for pool in stages]
    for node in sorted(nodes, key=lambda node: -node.gpus):
        cpus, gpus = node.cpus - pools["prepare"].cpus, float(int(node.gpus))
        while True:
            took = False
            for number, pool in enumerate(stages):
                if left[number] and pool.cpus <= cpus + 1e-9 and pool.gpus <= gpus:
                    left[number], cpus, gpus, took = left[number] - 1, cpus - pool.cpus, gpus - pool.gpus, True
            if not took:
                break
    return not any(left)


def test_a_laptop_gets_one_of_each() -> None:
    for finish in (False, True):
        pools = planned([Node(2.0)], 6, finish=finish)
        assert (pools["track"].size, pools["lipsync"].size, pools["render"].size) == (1, 1, 1)
        assert (pools["lipsync"].threads, pools["render"].threads) == (2, 2)
        assert not pools["render"].gpus


@given(NODES)
def test_most_cores_are_used_and_small_nodes_make_no_large_one_small(nodes: list[Node]) -> None:
    kept = used(nodes)
    cores = sum(node.cpus for node in nodes)
    assert sum(node.cpus for node in kept) >= cores / 2
    assert all(node in kept for node in nodes if node.cpus >= 2)
    small = [node for node in kept if node.cpus < 2]
    assert not small or sum(node.cpus for node in small) > sum(node.cpus for node in kept) / 2


def test_a_small_node_does_not_cripple_large_ones() -> None:
    large = [Node(64.0)] * 3
    assert planned([*large, Node(1.0)], 50) == planned(large, 50)
    assert planned([Node(1.0)] * 9 + [Node(2.0)], 50)["track"].size == 11
    assert planned([*large, Node(64.0, leaving=True)], 50) == planned(large, 50)


def test_two_jobs_are_prepared_for_each_set() -> None:
    """Preparing a film of hours does not hold up the only other job."""
    one = planned([Node(2.0)], 50)["prepare"]
    assert one.size == 2
    assert one.cpus == pytest.approx(0.025 * 2 / 1.0, abs=0.02)


def test_every_gpu_gets_a_network() -> None:
    pools = planned([Node(0.0), Node(16.0, 2.0), Node(16.0, 2.0)], 50)
    assert (pools["lipsync"].size, pools["lipsync"].gpus) == (4, 1.0)
    assert pools["track"].size == pools["render"].size == 16
    assert pools["render"].gpus == 0.0


def test_rendering_shares_the_gpu_when_it_finishes() -> None:
    nodes = [Node(0.0), Node(16.0, 2.0), Node(16.0, 2.0)]
    pools = planned(nodes, 50, finish=True)
    assert (pools["lipsync"].size, pools["lipsync"].gpus) == (pools["render"].size, pools["render"].gpus) == (4, 0.5)
    assert pools["track"].size == 16
    # The warp has no network that a GPU would help.
    pools = planned(nodes, 50, finish=True, network=False)
    assert (pools["lipsync"].size, pools["lipsync"].gpus) == (16, 0.0)
    assert (pools["render"].size, pools["render"].gpus) == (4, 1.0)
    pools = planned(nodes, 50, device="cpu", finish=True)
    assert (pools["lipsync"].gpus, pools["render"].gpus, pools["render"].size) == (0.0, 0.0, 16)


def test_several_render_workers_share_a_gpu_whose_memory_is_known() -> None:
    def shares(*nodes: Node, network: bool = True) -> list[tuple[int, float]]:
        pools = planned(list(nodes), 50, finish=True, network=network)
        return [(pools[name].size, pools[name].gpus) for name in ("lipsync", "render")]

    large = Node(16.0, 2.0, gpu="H100")
    assert shares(large, large) == [(4, 0.25), (12, 0.25)]
    assert shares(large, large, network=False) == [(16, 0.0), (16, 0.25)]
    assert shares(Node(16.0, 1.0, gpu="A100-40G")) == [(1, 0.25), (3, 0.25)]
    # The smallest memory decides for all: any worker may be placed on any GPU.
    for other in (Node(16.0, 2.0, gpu="T4"), Node(16.0, 2.0), Node(16.0, 2.0, gpu="X9000")):
        assert shares(large, other) == [(4, 0.5), (4, 0.5)]
    # No more of them than the node has sets of cores, for decoding, drawing and encoding.
    assert shares(Node(4.0, 2.0, gpu="L4")) == [(2, 0.25), (2, 0.25)]
    assert shares(Node(4.0, 1.0, gpu="L4")) == [(1, 0.25), (2, 0.25)]
    # Without restoring the lip network has the GPU.
    pools = planned([large], 50)
    assert (pools["lipsync"].size, pools["lipsync"].gpus, pools["render"].gpus) == (2, 1.0, 0.0)


def test_a_gpu_without_cores_beside_it_is_not_counted_on() -> None:
    """Workers for eight GPUs on two cores would leave no room for the other stages, and the run would hang."""
    pools = planned([Node(2.0, 8.0)], 50)
    assert (pools["lipsync"].size, pools["lipsync"].gpus) == (1, 1.0)


def test_small_runs_start_few_workers() -> None:
    pools = planned([Node(128.0, 64.0)], 1, finish=True)
    assert pools["track"].size == pools["render"].size == pools["lipsync"].size == 8


@pytest.mark.parametrize("node", [Node(1.0), Node(2.0), Node(64.0), Node(64.0, 8.0), Node(1.0, 1.0)])
@pytest.mark.parametrize("finish", [False, True])
@pytest.mark.parametrize("network", [False, True])
def test_speaking_has_a_share_that_the_others_make_room_for(node: Node, finish: bool, network: bool) -> None:
    kind = {"finish": finish, "network": network}
    silent, pools = planned([node], 50, **kind), planned([node], 50, **kind, speak=True)
    assert "speak" not in silent
    assert (pools["speak"].gpus, pools["speak"].threads) == (0.0, 1)
    cores = min(node.cpus, 2.0)
    assert pools["speak"].cpus == pytest.approx(0.15 * cores, abs=0.005)
    for name in ("track", "lipsync", "render"):
        before, after = silent[name], pools[name]
        assert (after.size, after.gpus, after.threads) == (before.size, before.gpus, before.threads)
        assert after.cpus == pytest.approx(0.84 * before.cpus, abs=0.003)
    one_of_each = sum(pool.cpus + pool.prefetch_cpus for pool in pools.values())
    assert 0.96 * cores <= one_of_each <= cores  # of prepare there are two


def test_one_long_script_is_spoken_by_many() -> None:
    assert [planned([Node(64.0)], jobs, speak=True)["speak"].size for jobs in (1, 3, 500)] == [8, 24, 32]
    assert planned([Node(64.0)], 50, 2, speak=True)["speak"].size == 2


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
