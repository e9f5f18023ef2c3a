"""How many workers each stage gets, and which share of a machine each of them books.

Two rules come from Ray: the shares of one worker of every stage together must fit the smallest node (after a node is
lost Ray may have to rebuild anything there, and hangs when it cannot), and pools have a fixed size (growing pools
with one task in flight never grow). The rest is arithmetic: tracking and rendering cost a few milliseconds of one
core a frame, a network on a CPU takes all the cores that it is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_CORES_PER_SET = 2.0
# Shares of one set: one worker of each stage, a prepare task and a stitch task. They sum to 1.
PREPARE, TRACK, LIPSYNC, RENDER, STITCH = 0.05, 0.25, 0.4, 0.28, 0.02


@dataclass(frozen=True)
class Node:
    """What one machine of the cluster offers."""

    cpus: float
    gpus: float = 0.0


@dataclass(frozen=True)
class Pool:
    """size workers, each booking cpus and gpus (shares, for placement), each running at most `threads` threads."""

    size: int
    cpus: float
    gpus: float
    threads: int


@dataclass(frozen=True)
class Pools:
    """The worker pools of a run. prepare_cpus: share of one prepare task; stitch_cpus: of one stitch, and so many of
    those run at once. A stitch books something, so that it never lands on a head node that offers no CPU."""

    prepare_cpus: float
    track: Pool
    lipsync: Pool
    render: Pool
    stitch_cpus: float
    stitches: int


def plan_pools(nodes: Sequence[Node], jobs: int, workers: int | None = None, device: str = "auto") -> Pools:
    """Pools for a cluster of `nodes` (those without a CPU are not used) and a run of `jobs` jobs.

    workers: as many of each CPU stage and no more; None decides. device: "cpu" leaves the GPUs alone. On a GPU node
    the network has the GPU and the cores are shared by tracking and rendering; elsewhere the three run side by side in
    sets of two cores.
    """
    usable = [node for node in nodes if node.cpus > 0] or [Node(1.0)]
    gpus = sum(int(node.gpus) for node in usable) if device != "cpu" else 0
    smallest = min(node.cpus for node in usable)
    cores = min(_CORES_PER_SET, smallest)
    sets = sum(max(1, int(node.cpus // cores)) for node in usable)
    # A process costs a second to start: no more workers than a few chunks of each job can keep busy.
    sets = min(sets, max(1, jobs) * 8)
    if workers is not None:
        sets = min(sets, max(1, workers))
    threads = max(1, round(cores))
    prepare = _share(PREPARE, cores)
    if gpus:
        lipsync = Pool(gpus, _share(LIPSYNC, cores), 1.0, threads)
    else:
        lipsync = Pool(sets, _share(LIPSYNC, cores), 0.0, threads)
    return Pools(
        prepare,
        Pool(sets, _share(TRACK, cores), 0.0, 1),
        lipsync,
        Pool(sets, _share(RENDER, cores), 0.0, threads),
        _share(STITCH, cores),
        # A stitch copies packets and encodes one audio track: half as many as renderers keep up with them.
        max(2, sets // 2),
    )


def _share(part: float, cores: float) -> float:
    # Rounded down: the sum must never be more than the node has.
    return int(part * cores * 1000) / 1000
