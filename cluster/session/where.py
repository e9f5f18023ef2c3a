"""Choose where a run works: on Ray, or in child processes. With device "cuda" a GPU that torch can use is required,
whatever the jobs' engines are: a run that was asked for a GPU does not quietly do without."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from raydub.cluster.request import RunRequest
from raydub.cluster.session.stopping import StopWatch
from raydub.errors import Code, DependencyError
from raydub.manifests.job import Job
from raydub.models.device import check_cuda

if TYPE_CHECKING:
    from raydub.pipeline.context import WorkSettings
    from raydub.pipeline.driver import Executor
    from raydub.pipeline.events import Note, Reporter
    from raydub.pipeline.pools import Node, Pools
    from raydub.pipeline.ray_metrics import Metered

STAGES = "raydub.pipeline.registry:STAGES"
_POLL = 1.0


@contextmanager
def executor_for(
    request: RunRequest, settings: WorkSettings, jobs: Sequence[Job], progress: Reporter, stop: StopWatch
) -> Iterator[Executor]:
    """The executor of a run of `jobs`. At the end in-flight work is cancelled and everything that was started for it is
    ended. Raises DependencyError CLUSTER_UNREACHABLE, NO_GPU."""
    from raydub.cluster.session.connect import is_connected

    with ExitStack() as stack:
        if not request.use_ray:
            yield _beside(stack, request, settings, jobs, progress)
        elif is_connected():
            stop.arm()  # Ray has replaced our handlers
            yield ray_executor(stack, replace(request, jobs=tuple(jobs)), settings, STAGES, progress.note)
        else:
            yield _on_ray(stack, request, settings, jobs, progress)


def _beside(
    stack: ExitStack, request: RunRequest, settings: WorkSettings, jobs: Sequence[Job], progress: Reporter
) -> Executor:
    from raydub.pipeline.local_workers import local_workers
    from raydub.pipeline.supervised import SupervisedExecutor

    if request.device == "cuda":
        check_cuda()
    workers = local_workers(jobs, request.workers)
    executor = SupervisedExecutor(settings, STAGES, progress, workers=workers, stall=request.stall_timeout)
    stack.callback(executor.close)
    return executor


def _on_ray(
    stack: ExitStack, request: RunRequest, settings: WorkSettings, jobs: Sequence[Job], progress: Reporter
) -> Executor:
    from raydub.cluster.session.ray_process import RayProcess

    executor = RayProcess(request, settings, jobs, STAGES, progress)
    stack.callback(executor.close)
    executor.start()
    return executor


def ray_executor(
    stack: ExitStack,
    request: RunRequest,
    settings: WorkSettings,
    stages: str,
    note: Callable[[Note], None],
    *,
    own: bool = False,
    pulse: Callable[[], None] = lambda: None,
) -> Metered:
    """The executor of a process that is connected to Ray; closed with the stack. own: no node can join later. Raises
    DependencyError NO_GPU."""
    from raydub.pipeline.graph import Patience, RayExecutor
    from raydub.pipeline.progress import Poller
    from raydub.pipeline.ray_metrics import Metered

    nodes = _nodes(request, 0.0 if own else request.wait_gpu)
    if own and request.device == "cuda":
        check_cuda()  # Ray counts GPUs, whether torch can use them or not
    plan = planner(request)
    patience = Patience(stall=request.stall_timeout)
    pools, grow = plan(nodes, len(request.jobs)), request.workers is None
    executor = RayExecutor(settings, stages, pools, patience=patience, plan=plan, pulse=pulse, grow=grow)
    stack.callback(executor.close)
    metered = Metered(executor, settings.run_id, note)
    stack.enter_context(Poller(metered.notes, note))
    return metered


def planner(request: RunRequest) -> Callable[[Sequence[Node], int], Pools]:
    """A function from nodes and number of jobs to the worker pools for this run."""
    from raydub.manifests.options import EMBEDDED_ENGINES
    from raydub.pipeline.engines import finishes, resolved_engine
    from raydub.pipeline.pools import plan_pools
    from raydub.pipeline.registry import find
    from raydub.pipeline.stage import Demand

    asked = [job.options for job in request.jobs]
    network = any(resolved_engine(options) not in EMBEDDED_ENGINES for options in asked)
    demand = Demand(finish=any(map(finishes, asked)), network=network)
    wanted = [stage for stage in find(STAGES) if stage.asked(request.jobs)]

    def plan(present: Sequence[Node], count: int) -> Pools:
        return plan_pools(present, count, request.workers, request.device, demand=demand, stages=wanted)

    return plan


def _nodes(request: RunRequest, wait: float) -> list[Node]:
    """The nodes of the cluster; with device "cuda" at least one has a GPU. Raises DependencyError NO_GPU if none has
    within `wait` seconds."""
    from raydub.pipeline.nodes import nodes_now

    until = time.monotonic() + wait
    while True:
        nodes = list(nodes_now().values())
        if request.device != "cuda" or any(node.gpus >= 1 and node.cpus > 0 for node in nodes):
            return nodes
        if time.monotonic() >= until:
            waited = f" after {wait:.0f} s" if wait else ""
            raise DependencyError(
                Code.NO_GPU,
                f"--device cuda, but none of {len(nodes)} nodes has a GPU{waited}",
                hint="start GPU nodes and wait for them with --wait-gpu, or use --device auto",
            )
        time.sleep(min(_POLL, max(0.0, until - time.monotonic())))
