"""How many workers each stage gets, and which share of a machine each of them books.

Three rules come from Ray: the shares of one worker of every stage together must fit the smallest node (after a node is
lost Ray may have to rebuild anything there, and hangs when it cannot), pools have a fixed size (growing pools with one
task in flight never grow), and shares of a GPU must tile it (1, 1/2), or one of them lies idle. The rest is arithmetic:
tracking and rendering cost a few milliseconds of one core a frame; a network on a CPU takes all the cores that it is
given, and restoring or upscaling in the render stage is by far the largest network of a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_CORES_PER_SET = 2.0


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
    those run at once; speak: None in a run without scripts and beds; cues_cpus: share of
    the task that divides long scripts. A stitch books something, so that it never lands on a head node that offers no
    CPU."""

    prepare_cpus: float
    track: Pool
    lipsync: Pool
    render: Pool
    stitch_cpus: float
    stitches: int
    speak: Pool | None = None
    cues_cpus: float = 0.0


@dataclass(frozen=True)
class Shares:
    """CPU shares of one set: one worker of each stage, a prepare task and a stitch task. They sum to 1."""

    speak: float
    prepare: float
    track: float
    lipsync: float
    render: float
    stitch: float


PLAIN = Shares(speak=0.0, prepare=0.05, track=0.25, lipsync=0.4, render=0.28, stitch=0.02)
FINISHING = Shares(speak=0.0, prepare=0.05, track=0.18, lipsync=0.25, render=0.5, stitch=0.02)
_SPEAK, _CUES = 0.15, 0.01
"""Shares of the speak stage, and of the task that divides long scripts. The others make room for them: they are busy at
the start of a run and then idle."""


def plan_pools(
    nodes: Sequence[Node],
    jobs: int,
    workers: int | None = None,
    device: str = "auto",
    *,
    finish: bool = False,
    network: bool = True,
    speak: bool = False,
) -> Pools:
    """Pools for a cluster of `nodes` (those without a CPU are not used) and a run of `jobs` jobs.

    workers: as many of each CPU stage and no more; None decides. device: "cpu" leaves the GPUs alone. finish: some job
    restores or upscales; network: some job's lip engine has a network for the GPU; speak: some job has a script or a
    bed.

    On CPUs the three stages run side by side in sets of two cores. On GPU nodes the lip network has the GPU and the
    cores are shared by tracking and rendering; when a run finishes frames as well, rendering goes to the GPU too, and
    both have half of it, or rendering has all of it where the lip engine needs none. So many workers have a GPU as
    there are GPUs whose node has cores for a set beside them.
    """
    usable = [node for node in nodes if node.cpus > 0] or [Node(1.0)]
    smallest = min(node.cpus for node in usable)
    cores = min(_CORES_PER_SET, smallest)
    gpus = sum(min(int(node.gpus), _sets(node, cores)) for node in usable) if device != "cpu" else 0
    sets = sum(_sets(node, cores) for node in usable)
    # A process costs a second to start: no more workers than a few chunks of each job can keep busy.
    sets, gpus = (min(count, max(1, jobs) * 8) for count in (sets, gpus))
    if workers is not None:
        sets = min(sets, max(1, workers))
    threads = max(1, round(cores))
    shares = FINISHING if finish else PLAIN
    if speak:
        rest = {name: share * (1 - _SPEAK - _CUES) for name, share in vars(shares).items()}
        shares = Shares(**{**rest, "speak": _SPEAK})

    def pool(share: float, of_a_gpu: float = 0.0) -> Pool:
        on_gpu = bool(gpus) and of_a_gpu > 0
        return Pool(gpus if on_gpu else sets, _share(share, cores), of_a_gpu if on_gpu else 0.0, threads)

    if not finish:
        lips, finishing = 1.0, 0.0
    else:
        lips, finishing = (0.5, 0.5) if network else (0.0, 1.0)
    return Pools(
        _share(shares.prepare, cores),
        Pool(sets, _share(shares.track, cores), 0.0, 1),
        pool(shares.lipsync, lips),
        pool(shares.render, finishing),
        _share(shares.stitch, cores),
        # A stitch copies packets and encodes one audio track: half as many as renderers keep up with them.
        max(2, sets // 2),
        Pool(sets, _share(shares.speak, cores), 0.0, 1) if speak else None,
        _share(_CUES, cores),
    )


def _sets(node: Node, cores: float) -> int:
    return max(1, int(node.cpus // cores))


def _share(part: float, cores: float) -> float:
    # Rounded down: the sum must never be more than the node has.
    return int(part * cores * 1000) / 1000
