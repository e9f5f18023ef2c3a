"""The simulation of a run: cases by hand, and what must hold for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.pipeline.costs import COSTS, Costs, Start
from raydub.pipeline.forecast import bounds
from raydub.pipeline.pools import Node, Pool, Pools, plan_pools
from raydub.pipeline.registry import STAGES
from raydub.pipeline.shared_cores import SharedCores
from raydub.pipeline.simulate import Outcome, simulate
from raydub.pipeline.simulated import Host, JobWork, Load
from raydub.pipeline.stage import Demand
from tests.examples import examples

SILENT = [stage for stage in STAGES if stage.name != "speak"]
AT_ONCE = Start(local=0.0, ray=10.0, end=0.0, worker=0.0, item=0.0)
ONE = Pool(1, 0.1, 0.0, 1)
ALONE = {stage.name: ONE for stage in SILENT}
BY_HAND = {
    "prepare": Load(2.0),
    "track": Load(1.0),
    "lipsync": Load(0.5),
    "render": Load(4.0),
    "stitch": Load(1.0),
}


def test_one_worker_of_each_stage() -> None:
    """Ray starts until 10, prepare ends at 12, the three chunks are tracked at 13, 14 and 15, the first is rendered
    from 13.5 to 17.5, the others until 21.5 and 25.5, the stitch ends at 26.5."""
    made = simulate([JobWork("a", BY_HAND, 3)], [Host(100.0)], ALONE, start=AT_ONCE)
    assert (made.seconds, made.parts, made.ended) == (26.5, 3, {"a": 26.5})
    assert made.busy["render"] == pytest.approx(12 / 26.5)
    assert made.cores_busy == pytest.approx(19.5 / 2650)


def test_two_workers_that_render() -> None:
    """Rendered: 13.5 to 17.5, 14.5 to 18.5, and 17.5 to 21.5."""
    pools = {**ALONE, "render": replace(ONE, size=2)}
    assert simulate([JobWork("a", BY_HAND, 3)], [Host(100.0)], pools, start=AT_ONCE).seconds == 22.5


def test_a_short_last_chunk_and_two_jobs() -> None:
    """The second job is prepared at 14, while the first is tracked; its stitch is beside the rendering."""
    made = simulate([JobWork("a", BY_HAND, 2, 0.5), JobWork("b", BY_HAND, 1)], [Host(100.0)], ALONE, start=AT_ONCE)
    # Rendered: a until 17.5 and 19.5, b until 23.5.
    assert made.ended == {"a": 20.5, "b": 24.5}


def test_workers_share_the_cores_of_their_node() -> None:
    """Prepare needs both cores; then three workers want one core each of two."""
    loads = {name: Load(2.0) for name in BY_HAND} | {"prepare": Load(2.0, threads=2.0)}
    made = simulate([JobWork("a", loads, 3)], [Host(2.0)], ALONE, start=AT_ONCE)
    # Prepare until 11; 2 s for one, 2 for two, 3 for all three at once, 2 for two, 2 for the last one, 2 to stitch.
    assert made.seconds == pytest.approx(11 + 2 + 2 + 3 + 2 + 2 + 2)


def test_without_ray() -> None:
    """Worker processes do a chunk's stages one after another: 2, three times 5.5 on one or two workers, 1."""
    works = [JobWork("a", BY_HAND, 3)]
    assert simulate(works, [Host(2.0)], 1, start=AT_ONCE).seconds == pytest.approx(19.5)
    assert simulate(works, [Host(2.0)], 2, start=AT_ONCE).seconds == pytest.approx(14.0)
    hyper_threads = simulate(works, [Host(2.0)], 2, start=AT_ONCE, efficiency=0.6).seconds
    assert hyper_threads == pytest.approx(2 + 5.5 / 0.6 + 5.5 + 1)


def test_starting_and_loading_is_paid_once_in_each_worker() -> None:
    loads = {name: replace(load, load=1.0) for name, load in BY_HAND.items()}
    start = replace_start(local=1.0, worker=3.0, end=0.5)
    # One process: it starts, and loads for each of five stages.
    made = simulate([JobWork("a", loads, 3)], [Host(2.0)], 1, start=start)
    assert made.seconds == pytest.approx(1 + 3 + 19.5 + 5 + 0.5)


def test_without_ray_a_job_is_finished_before_the_next_one_is_prepared() -> None:
    made = simulate([JobWork("a", BY_HAND, 1), JobWork("b", BY_HAND, 1)], [Host(2.0)], 1, start=AT_ONCE)
    assert made.ended == pytest.approx({"a": 8.5, "b": 17.0})


def test_without_ray_workers_start_while_the_first_one_prepares() -> None:
    """It starts until 3 and prepares until 5; two chunks end at 10.5, because the second worker is there by then."""
    made = simulate([JobWork("a", BY_HAND, 2)], [Host(2.0)], 2, start=replace_start(worker=3.0))
    assert made.seconds == pytest.approx(11.5)


def test_short_jobs_have_turns_beside_a_long_one() -> None:
    """All chunks take one second on one worker. The clip, prepared second, waits for every other turn only; with a
    priority that leaves the film one turn in 1,024, it is also prepared first."""
    loads = {stage: Load(1.0 if stage == "render" else 0.0) for stage in BY_HAND}
    film, clip = JobWork("film", loads, 400), JobWork("clip", loads, 10)
    later = simulate([film, clip], [Host(100.0)], ALONE, start=AT_ONCE).ended["clip"]
    assert 10 + 2 * 10 <= later <= 10 + 2 * 10 + 2 + 4 + 2  # in flight, and ready for the worker that renders
    first = simulate([film, replace(clip, priority=100)], [Host(100.0)], ALONE, start=AT_ONCE).ended
    assert first["clip"] <= 21.0
    assert first["film"] == 420.0
    local = simulate([film, clip], [Host(1.0)], 1, start=AT_ONCE).ended["clip"]
    assert local <= 2 * 10 + 1


def test_a_chunk_in_flight_waits_for_its_worker() -> None:
    """Three chunks are ready at once for two workers. The first has the long one, and the third in flight, which waits
    although the other worker is idle from 11 on: until 10 + 10 + 5."""
    works = [
        JobWork(name, {stage: Load(seconds if stage == "render" else 0.0) for stage in BY_HAND}, 1)
        for name, seconds in (("a", 10.0), ("b", 1.0), ("c", 5.0))
    ]
    made = simulate(works, [Host(100.0)], {**ALONE, "render": replace(ONE, size=2)}, start=AT_ONCE)
    assert made.ended == {"a": 20.0, "b": 11.0, "c": 25.0}


def test_a_stage_waits_for_the_next_one() -> None:
    """Two jobs on one core. If chunks were tracked far ahead, tracking would have half of the core until all 100 chunks
    are tracked, at 50, and the first job would end at 70."""
    loads = {name: Load({"track": 0.2, "render": 1.0}.get(name, 0.0)) for name in BY_HAND}
    works = [JobWork("a", loads, 40), JobWork("b", loads, 60)]
    made = simulate(works, [Host(1.0)], ALONE, start=AT_ONCE)
    # 1.2 s a chunk, and few more are tracked.
    assert 10 + 40 * 1.2 <= made.ended["a"] <= 10 + (40 * 1.2) + (14 * 0.2)
    assert made.seconds == pytest.approx(10 + 100 * 1.2)


def replace_start(**values: float) -> Start:
    return AT_ONCE.model_copy(update=values)


def test_a_gpu_works_beside_the_cores_and_is_shared() -> None:
    pools = {**ALONE, "lipsync": Pool(1, 0.1, 0.5, 1), "render": Pool(1, 0.1, 0.5, 1)}
    loads = {
        "prepare": Load(0.0),
        "track": Load(0.0),
        "lipsync": Load(0.0, network=90.0, gpu={"H100": 2.0}),
        "render": Load(1.0, network=900.0, gpu={"H100": 3.0}),
        "stitch": Load(0.0),
    }
    made = simulate([JobWork("a", loads, 2)], [Host(8.0, 1, "H100")], pools, start=AT_ONCE)
    # 2 s for the first lipsync; then it shares the GPU: 4 s for the second, 1 s for the rest of the first render, 3 s.
    assert made.seconds == pytest.approx(10 + 2 + 4 + 1 + 3)
    assert made.gpus_busy == pytest.approx(10 / 20)


@given(st.floats(1, 64), st.floats(0.5, 1), st.lists(st.floats(0.1, 8), min_size=1, max_size=40))
def test_busy_cores_do_no_more_than_they_can(cores: float, efficiency: float, demands: list[float]) -> None:
    machine = SharedCores(cores, efficiency)
    done = [machine.throughput(sum(demands[:count])) for count in range(1, len(demands) + 1)]
    assert done == sorted(done)
    assert all(one <= min(sum(demands[: number + 1]), cores) + 1e-9 for number, one in enumerate(done))
    assert machine.throughput(cores) == pytest.approx(cores * efficiency)
    assert machine.throughput(2 * cores) == machine.throughput(cores)


SECONDS = st.floats(0.01, 50.0)
LOADS = st.fixed_dictionaries(
    {
        stage.name: st.builds(
            Load,
            SECONDS,
            st.floats(1.0, 2.5),
            st.sampled_from([0.0, 20.0]),
            st.just({"H100": 0.3, "L4": 2.0}) if stage.name in ("lipsync", "render") else st.just({}),
            st.sampled_from([0.0, 2.0]),
        )
        for stage in SILENT
    }
)


def works(jobs: int, chunks: int) -> st.SearchStrategy[list[JobWork]]:
    return st.lists(st.tuples(LOADS, st.integers(1, chunks), st.floats(0.1, 1.0)), min_size=1, max_size=jobs).map(
        lambda found: [JobWork(str(number), *one) for number, one in enumerate(found)]
    )


WORKS = works(6, 12)
HOSTS = st.lists(
    st.sampled_from([Host(1.0), Host(2.0), Host(16.0), Host(16.0, 2, "H100"), Host(8.0, 1, "L4")]),
    min_size=1,
    max_size=5,
)


def planned(hosts: Sequence[Host], jobs: int, finish: bool) -> Pools:
    nodes = [Node(host.cpus, float(host.gpus)) for host in hosts]
    return plan_pools(nodes, jobs, demand=Demand(finish=finish), stages=SILENT)


@settings(max_examples=examples(80), deadline=None)
@given(WORKS, HOSTS, st.booleans(), st.booleans())
def test_no_run_beats_its_bounds_and_all_is_done_once(
    works: list[JobWork], hosts: list[Host], finish: bool, ray: bool
) -> None:
    costs = COSTS.merged(Costs(efficiency=0.8))
    pools: Pools | int = planned(hosts, len(works), finish) if ray else 2
    hosts = hosts if ray else hosts[:1]
    made = simulate(works, hosts, pools, start=costs.start, efficiency=costs.efficiency)
    assert made == simulate(works, hosts, pools, start=costs.start, efficiency=costs.efficiency)
    assert made.parts == sum(work.chunks for work in works)
    assert set(made.ended) == {work.id for work in works}
    assert max(made.ended.values()) == pytest.approx(made.seconds - costs.start.end)
    for bound in bounds(works, hosts, pools, costs):
        assert made.seconds >= bound.seconds * (1 - 1e-9), bound
    shares = [*made.busy.values(), made.cores_busy, made.gpus_busy or 0.0]
    assert all(0 <= share <= 1 + 1e-9 for share in shares)


@settings(max_examples=examples(60), deadline=None)
@given(WORKS, HOSTS, st.sampled_from([0.25, 2.0, 8.0]))
def test_work_that_takes_longer_takes_longer_by_as_much(works: list[JobWork], hosts: list[Host], factor: float) -> None:
    # By powers of two, which round nothing: rounding decides what is first of what happens at the same time.
    def run(jobs: list[JobWork]) -> Outcome:
        return simulate(jobs, hosts, planned(hosts, len(works), False), start=replace_start(ray=0.0))

    slower = [replace(work, loads=scaled(work.loads, factor)) for work in works]
    assert run(slower).seconds == run(works).seconds * factor


def scaled(loads: Mapping[str, Load], factor: float) -> dict[str, Load]:
    return {name: replace(load.scaled(factor), load=load.load * factor) for name, load in loads.items()}


@settings(max_examples=examples(60), deadline=None)
@given(works(2, 2), st.integers(0, 4), st.data())
def test_one_worker_of_each_stage_never_gains_from_more_work(
    works: list[JobWork], stage: int, data: st.DataObject
) -> None:
    """With more workers it can, because chunks go to other ones, and where stages wait for the next one."""
    hosts = [Host(64.0)]
    job = data.draw(st.integers(0, len(works) - 1))
    name = SILENT[stage].name
    more = {**works[job].loads, name: replace(works[job].loads[name], cpu=works[job].loads[name].cpu + 5.0)}
    other = [*works[:job], replace(works[job], loads=more), *works[job + 1 :]]
    assert simulate(other, hosts, ALONE).seconds >= simulate(works, hosts, ALONE).seconds - 1e-6
    more_chunks = [replace(work, chunks=2) for work in works]
    assert simulate(more_chunks, hosts, ALONE).seconds >= simulate(works, hosts, ALONE).seconds - 1e-6


@settings(max_examples=examples(60), deadline=None)
@given(WORKS, st.sampled_from([Host(2.0), Host(16.0), Host(16.0, 2, "H100")]), st.integers(1, 6))
def test_one_more_node_is_never_much_slower(works: list[JobWork], host: Host, count: int) -> None:
    def run(nodes: int) -> float:
        return simulate(works, [host] * nodes, planned([host] * nodes, len(works), False)).seconds

    # A chunk may go to a worker that has just loaded, or that ends a long one first.
    longest = max(sum(load.cpu + load.network + load.load for load in work.loads.values()) for work in works)
    assert run(count + 1) <= run(count) + 2 * longest + 2.0
