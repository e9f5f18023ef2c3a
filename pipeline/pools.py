"""Numbers of workers per stage, and the resources that each reserves.

Three rules come from Ray: one worker of every stage together must fit the smallest used node (after losing a node Ray
may have to rebuild anything there, and hangs if it cannot); pools have a fixed size (growing ones grow late and
unevenly, see pipeline.graph); and shares of a GPU must fill it (1, 1/2), else a part is idle. Tracking and rendering
take a few milliseconds of one core per frame; a network on a CPU uses all its cores, and restoring or upscaling in the
render stage is by far the largest network of a run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from raydub.pipeline.registry import STAGES
from raydub.pipeline.stage import Demand, OnGpu, Stage

_CORES_PER_SET = 2.0

GPU_GIB = {
    "B200": 180,
    "H200": 141,
    "H100": 80,
    "A100": 40,
    "L40S": 48,
    "A10G": 24,
    "L4": 24,
    "V100": 16,
    "T4": 16,
}
"""GiB of memory by type, of the smallest variant that is sold as this type (data sheets)."""
_WORKER_GIB = 6.0
"""GiB that one worker on a GPU is given. A rule, not measured: PyTorch with CUDA takes near 1 GiB before any network;
the networks have 0.4 GB of weights; the rest is for batches, which are halved if they do not fit (stages.batching)."""
_MOST_ON_A_GPU = 4


@dataclass(frozen=True)
class Node:
    """Resources of one node of the cluster. spot: it may be taken away at any time; leaving: it is being drained; gpu:
    type of its GPUs, "" if unknown."""

    cpus: float
    gpus: float = 0.0
    spot: bool = False
    leaving: bool = False
    gpu: str = ""


@dataclass(frozen=True)
class Pool:
    """size: number of workers; cpus, gpus: reserved by each (for placement); threads: most threads of each;
    prefetch_cpus: reserved by the task that divides long jobs among them, 0 if there is none."""

    size: int
    cpus: float
    gpus: float
    threads: int
    prefetch_cpus: float = 0.0


Pools = Mapping[str, Pool]
"""The worker pools of a run by stage, without stages that no job needs."""


def plan_pools(
    nodes: Sequence[Node],
    jobs: int,
    workers: int | None = None,
    device: str = "auto",
    *,
    demand: Demand | None = None,
    stages: Sequence[Stage] = STAGES,
) -> Pools:
    """Pools for a cluster of `nodes` (see used) and a run of `jobs` jobs.

    workers: most workers per CPU stage, None for the default. device: "cpu" uses no GPUs. stages: those that some job
    needs (Stage.asked).

    On CPUs the stages run side by side in sets of two cores. On GPU nodes the lip network has the GPU and the others
    share the cores. If a run restores or upscales, rendering uses the GPU too. Then one lip worker and three render
    workers share each GPU, or, if the memory of some GPU is small or unknown, one and one; if the lip engine needs no
    GPU, four render workers, or one. A GPU is used if its node has cores for a set, and has no more render workers than
    the node has sets for it.
    """
    usable = used(nodes) or [Node(1.0)]
    demand = replace(demand or Demand(), fit=fit(usable))
    smallest = min(node.cpus for node in usable)
    cores = min(_CORES_PER_SET, smallest)
    sets = sum(_sets(node, cores) for node in usable)
    # A process takes a second to start: no more workers than a few chunks of each job keep busy.
    most = max(1, jobs) * 8
    sets = min(sets, most)
    if workers is not None:
        sets = min(sets, max(1, workers))
    shares = {stage.name: _wanted(stage, demand) for stage in stages}
    ahead = {stage.name: stage.prefetch.share for stage in stages if stage.prefetch is not None}
    unit = cores / round(sum(shares.values()) + sum(ahead.values()), 9)
    pools = {}
    for stage in stages:
        on = stage.gpu(demand) if device != "cpu" else None
        on_gpus = min(_on_gpus(usable, cores, on), most) if on is not None else 0
        size = on_gpus or sets
        if stage.per == "output":
            # A stitch copies packets and encodes one audio track: half as many workers as for rendering are enough.
            size = max(2, sets // 2)
        if stage.per == "job" and not stage.actors:
            # Two for each share: preparing a film of hours must not hold up all other jobs.
            size, shares[stage.name] = 2 * size, shares[stage.name] / 2
        threads = max(1, round(cores)) if stage.all_cores else 1
        share, divide = _floor(shares[stage.name] * unit), _floor(ahead.get(stage.name, 0.0) * unit)
        pools[stage.name] = Pool(size, share, on.share if on is not None and on_gpus else 0.0, threads, divide)
    return pools


def used(nodes: Sequence[Node]) -> list[Node]:
    """The nodes that get work: not those without CPUs, nor those that are being drained. Nodes with less than a set of
    cores are used only where they have more cores together than the others: the smallest used node decides how small
    the shares of all workers are."""
    usable = [node for node in nodes if node.cpus > 0 and not node.leaving]
    large = [node for node in usable if node.cpus >= _CORES_PER_SET]
    return large if 2 * sum(node.cpus for node in large) >= sum(node.cpus for node in usable) else usable


def fit(nodes: Sequence[Node]) -> int:
    """Workers with networks that each GPU of these nodes holds in runs that restore or upscale: four if every one is of
    a known type with memory for them, else two."""
    types = {node.gpu.upper().partition("-")[0] for node in nodes if node.gpus >= 1}
    return _MOST_ON_A_GPU if types and all(GPU_GIB.get(one, 0) >= _MOST_ON_A_GPU * _WORKER_GIB for one in types) else 2


def _on_gpus(nodes: Sequence[Node], cores: float, on: OnGpu) -> int:
    """Workers on the GPUs of all nodes."""
    found = 0
    for node in nodes:
        gpus = min(int(node.gpus), _sets(node, cores))
        found += gpus * min(on.workers, _sets(node, cores) // max(1, gpus))
    return found


def _wanted(stage: Stage, demand: Demand) -> float:
    return stage.finishing_share if demand.finish and stage.finishing_share is not None else stage.share


def _sets(node: Node, cores: float) -> int:
    return max(1, int(node.cpus // cores))


def _floor(share: float) -> float:
    # Rounded down: the sum must not exceed the node's resources.
    return int(share * 1000) / 1000
