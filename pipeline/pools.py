"""Numbers of workers per stage, and the resources that each reserves.

Three rules come from Ray: one worker of every stage together must fit the smallest used node (after losing a node Ray
may have to rebuild anything there, and hangs if it cannot); pools have a fixed size (growing ones grow late and
unevenly, see pipeline.graph); and shares of a GPU must fill it (1, 1/2), else a part is idle. Tracking and rendering
take a few milliseconds of one core per frame; a network on a CPU uses all its cores, and restoring or upscaling in the
render stage is by far the largest network of a run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from raydub.pipeline.registry import STAGES
from raydub.pipeline.stage import Demand, Stage

_CORES_PER_SET = 2.0


@dataclass(frozen=True)
class Node:
    """Resources of one node of the cluster. spot: it may be taken away at any time; leaving: it is being drained."""

    cpus: float
    gpus: float = 0.0
    spot: bool = False
    leaving: bool = False


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
    share the cores. If a run restores or upscales, rendering uses the GPU too: each has half of it, or rendering all of
    it if the lip engine needs none. There is one GPU worker per GPU whose node has cores for a set.
    """
    demand = demand or Demand()
    usable = used(nodes) or [Node(1.0)]
    smallest = min(node.cpus for node in usable)
    cores = min(_CORES_PER_SET, smallest)
    gpus = sum(min(int(node.gpus), _sets(node, cores)) for node in usable) if device != "cpu" else 0
    sets = sum(_sets(node, cores) for node in usable)
    # A process takes a second to start: no more workers than a few chunks of each job keep busy.
    sets, gpus = (min(count, max(1, jobs) * 8) for count in (sets, gpus))
    if workers is not None:
        sets = min(sets, max(1, workers))
    shares = {stage.name: _wanted(stage, demand) for stage in stages}
    ahead = {stage.name: stage.prefetch.share for stage in stages if stage.prefetch is not None}
    unit = cores / round(sum(shares.values()) + sum(ahead.values()), 9)
    pools = {}
    for stage in stages:
        gpu = stage.gpu(demand) if gpus else 0.0
        size = gpus if gpu else sets
        if stage.per == "output":
            # A stitch copies packets and encodes one audio track: half as many workers as for rendering are enough.
            size = max(2, sets // 2)
        if stage.per == "job" and not stage.actors:
            # Two for each share: preparing a film of hours must not hold up all other jobs.
            size, shares[stage.name] = 2 * size, shares[stage.name] / 2
        threads = max(1, round(cores)) if stage.all_cores else 1
        share, divide = _floor(shares[stage.name] * unit), _floor(ahead.get(stage.name, 0.0) * unit)
        pools[stage.name] = Pool(size, share, gpu, threads, divide)
    return pools


def used(nodes: Sequence[Node]) -> list[Node]:
    """The nodes that get work: not those without CPUs, nor those that are being drained. Nodes with less than a set of
    cores are used only where they have more cores together than the others: the smallest used node decides how small
    the shares of all workers are."""
    usable = [node for node in nodes if node.cpus > 0 and not node.leaving]
    large = [node for node in usable if node.cpus >= _CORES_PER_SET]
    return large if 2 * sum(node.cpus for node in large) >= sum(node.cpus for node in usable) else usable


def _wanted(stage: Stage, demand: Demand) -> float:
    return stage.finishing_share if demand.finish and stage.finishing_share is not None else stage.share


def _sets(node: Node, cores: float) -> int:
    return max(1, int(node.cpus // cores))


def _floor(share: float) -> float:
    # Rounded down: the sum must not exceed the node's resources.
    return int(share * 1000) / 1000
