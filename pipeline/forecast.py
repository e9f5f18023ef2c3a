"""What a run will take on a cluster: time, price, bottleneck, and what one more node of each kind changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from raydub.pipeline.capacity import Cluster, Prices, hosts_of
from raydub.pipeline.costs import Costs
from raydub.pipeline.plan import Estimate, work_of
from raydub.pipeline.pools import Node, Pool, Pools
from raydub.pipeline.registry import STAGES
from raydub.pipeline.shared_cores import SharedCores
from raydub.pipeline.simulate import Outcome, simulate
from raydub.pipeline.simulated import Host, JobWork, Step

PoolsFor = Callable[[Sequence[Node]], Pools | int]
"""The worker pools of the run on these nodes, or, without Ray, the number of worker processes."""


@dataclass(frozen=True)
class Bottleneck:
    """What bounds a run. bound: the largest of the times that no run can beat: "cores" or "gpus" (all of them busy),
    "workers" (all workers of `stage` busy), "chain" (start, and the longest way of one job); seconds: that time; stage:
    the one that most of it belongs to; share: how much of it, 0 to 1; job: of the chain."""

    bound: str
    seconds: float
    stage: str
    share: float
    job: str = ""


@dataclass(frozen=True)
class More:
    """One more node. seconds, price: change against the forecast."""

    node: str
    seconds: float
    price: float


@dataclass(frozen=True)
class Forecast:
    """price: of all nodes for the whole time; more: by kind of node."""

    outcome: Outcome
    first_seconds: float
    price: float
    bottleneck: Bottleneck
    more: tuple[More, ...]


def forecast(
    estimates: Sequence[Estimate],
    cluster: Cluster,
    pools_for: PoolsFor,
    costs: Costs,
    prices: Prices | None = None,
    *,
    marginal: bool = True,
) -> Forecast:
    """Simulate a run of at least one job. Raises UsageError for a type of GPU without costs."""
    prices = prices or Prices()
    kinds = sorted({group.gpu for group in cluster if group.gpus})
    works = [work_of(one, costs, kinds) for one in estimates]

    def run(nodes: Cluster) -> tuple[Outcome, float]:
        hosts = hosts_of(nodes)
        pools = pools_for(_nodes(hosts))
        made = simulate(works, hosts, pools, start=costs.start, efficiency=costs.efficiency)
        return made, made.seconds / 3600 * prices.per_hour(nodes)

    outcome, price = run(cluster)
    more = []
    for place, group in enumerate(cluster) if marginal else ():
        other, other_price = run([*cluster[:place], replace(group, count=group.count + 1), *cluster[place + 1 :]])
        more.append(More(group.node, other.seconds - outcome.seconds, other_price - price))
    hosts = hosts_of(cluster)
    pools = pools_for(_nodes(hosts))
    bound = max(bounds(works, hosts, pools, costs), key=lambda one: one.seconds)
    return Forecast(outcome, min(outcome.ended.values()), price, bound, tuple(more))


def _nodes(hosts: Sequence[Host]) -> list[Node]:
    return [Node(host.cpus, float(host.gpus), gpu=host.gpu) for host in hosts]


def bounds(works: Sequence[JobWork], hosts: Sequence[Host], pools: Pools | int, costs: Costs) -> list[Bottleneck]:
    """Times that no run of these jobs can beat, with start and end, one for each cause."""
    kinds = {host.gpu: host.gpus for host in hosts if host.gpus}
    counts = {kind: sum(host.gpus for host in hosts if host.gpu == kind) for kind in kinds}
    cores: dict[str, float] = defaultdict(float)
    gpus: dict[str, dict[str, float]] = {kind: defaultdict(float) for kind in kinds}
    workers: dict[str, float] = defaultdict(float)
    longest, chain = "", dict[str, float]()
    for work in works:
        path: dict[str, float] = {}
        for name, items, first in _items(work):
            plan = _pool(pools, name, hosts)
            steps = _steps(work, name, plan, kinds, 0.0 if isinstance(pools, int) else costs.start.item)
            quickest = min(max(step.seconds, step.gpu) for step in steps.values())
            any_step = next(iter(steps.values()))
            cores[name] += items * any_step.seconds * any_step.cores
            for kind in gpus:
                gpus[kind][name] += items * (steps[kind].gpu if kind in steps else 0.0)
            workers[name] += items * quickest / plan.size
            path[name] = first * quickest
        if sum(path.values()) > sum(chain.values()):
            longest, chain = work.id, path
    capacity = sum(SharedCores(host.cpus, costs.efficiency).throughput(host.cpus) for host in hosts)
    found = [_bound("cores", {name: seconds / capacity for name, seconds in cores.items()})]
    # Each type does its part of the work at its own speed.
    speed = {kind: counts[kind] / sum(work.values()) for kind, work in gpus.items() if sum(work.values()) > 0}
    if speed:
        kind = max(speed, key=lambda one: speed[one])
        whole = 1 / sum(speed.values())
        shares = {name: seconds / sum(gpus[kind].values()) * whole for name, seconds in gpus[kind].items()}
        found.append(_bound("gpus", shares))
    if not isinstance(pools, int):
        found += [_bound("workers", {name: seconds}) for name, seconds in workers.items()]
    else:
        found.append(_bound("workers", workers))
    found.append(replace(_bound("chain", chain), job=longest))
    start = costs.start.end + (costs.start.local if isinstance(pools, int) else costs.start.ray)
    return [replace(one, seconds=one.seconds + start) for one in found]


def _items(work: JobWork) -> Iterator[tuple[str, float, float]]:
    """(stage, full items, of which the first has this length) of a job."""
    for stage in STAGES:
        if stage.name in work.loads:
            chunked = stage.per == "chunk"
            yield (
                stage.name,
                work.chunks - 1 + work.last if chunked else 1.0,
                1.0 if work.chunks > 1 or not chunked else work.last,
            )


def _pool(pools: Pools | int, name: str, hosts: Sequence[Host]) -> Pool:
    return Pool(pools, 0.0, 0.0, max(1, int(hosts[0].cpus) // pools)) if isinstance(pools, int) else pools[name]


def _steps(work: JobWork, name: str, plan: Pool, kinds: Mapping[str, int], item: float) -> dict[str, Step]:
    """The stage's step by type of GPU, "" without one."""
    load = work.loads[name]
    where: Sequence[str | None] = list(kinds) if plan.gpus else [None]
    return {kind or "": load.step(kind, plan.threads).after(item) for kind in where}


def _bound(name: str, seconds: Mapping[str, float]) -> Bottleneck:
    whole = sum(seconds.values())
    stage, most = max(seconds.items(), key=lambda one: one[1])
    return Bottleneck(name, whole, stage, most / whole if whole else 0.0)
