"""Estimates, their loads, and the forecast of a run."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydub.errors import Code, UsageError
from raydub.manifests.job import Job
from raydub.manifests.options import Options
from raydub.pipeline.capacity import parse_cluster, parse_prices
from raydub.pipeline.costs import COSTS, Costs, Gpu, StageCost, Workload, read_costs
from raydub.pipeline.forecast import Forecast, bounds, forecast
from raydub.pipeline.plan import Estimate, estimated, work_of
from raydub.pipeline.pools import Node, Pools, plan_pools
from raydub.pipeline.registry import STAGES
from raydub.pipeline.stage import Demand


def film(seconds: int = 600, **options: object) -> Estimate:
    asked = Options.model_validate({"engine": "wav2lip", "model": "wav2lip", **options})
    job = Job(id="film", video="/v.mp4", audio="/a.wav", output="/o.mp4", options=asked)
    return estimated(job, (1280, 720), Fraction(25), 25 * seconds, float(seconds))


def pools_for(nodes: list[Node], jobs: int = 20, finish: bool = False) -> Pools:
    stages = [stage for stage in STAGES if stage.name != "speak"]
    return plan_pools(nodes, jobs, demand=Demand(finish=finish), stages=stages)


def seen(cluster: str, estimates: list[Estimate], finish: bool = False, price: str = "cpu=1") -> Forecast:
    groups = parse_cluster(cluster)
    planned = lambda nodes: pools_for(list(nodes), len(estimates), finish)  # noqa: E731
    return forecast(estimates, groups, planned, COSTS, parse_prices(price, groups))


def test_every_stage_has_costs() -> None:
    for stage in STAGES:
        for engine in ("own", "warp", "wav2lip", "of another package"):
            assert COSTS.of(stage.name, engine).seconds(Workload(250, 1, 10.0, 1.0, 1.0)) > 0
    assert COSTS.of("lipsync", "of another package") == COSTS.of("lipsync", "wav2lip")
    assert COSTS.of("lipsync", "own").network == 0


def test_the_loads_of_the_chunks_sum_to_the_estimate() -> None:
    one = film(615)
    work = work_of(one, COSTS)
    assert (one.chunks, work.chunks, work.last) == (62, 62, 0.5)
    for stage in STAGES:
        if stage.name not in ("speak", "evaluate"):
            load = work.loads[stage.name]
            items = 61.5 if stage.per == "chunk" else 1.0
            assert items * (load.cpu + load.network) == pytest.approx(one.seconds[stage.name], abs=0.001)


def test_restoring_belongs_to_the_render_stage() -> None:
    plain, restored = film(), film(restore="gfpgan", restore_model="gfpgan")
    assert restored.networks == ("lipsync", "restore")
    render, more = (work_of(one, COSTS, ["H100"]).loads["render"] for one in (plain, restored))
    assert more.cpu == render.cpu
    assert render.gpu == {}
    assert 60 * more.network == pytest.approx(restored.seconds["restore"])
    assert 60 * more.gpu["H100"] == pytest.approx(restored.seconds["restore"] / COSTS.gpu("H100").cores)


def test_what_bounds_a_run() -> None:
    films = [replace(film(), job_id=str(number)) for number in range(20)]
    assert (seen("1x16cpu", films).bottleneck.bound, seen("1x16cpu", films).bottleneck.stage) == ("cores", "lipsync")
    restored = [replace(film(restore="gfpgan", restore_model="gfpgan"), job_id=one.job_id) for one in films]
    slow = seen("1xT4:64cpu", restored, finish=True)
    assert (slow.bottleneck.bound, slow.bottleneck.stage) == ("gpus", "render")
    quick = seen("1xH100:4cpu", films)
    assert quick.bottleneck.stage in ("render", "track")
    few = seen("64xH100:16cpu", [film(20)])
    assert (few.bottleneck.bound, few.bottleneck.job) == ("chain", "film")


def test_price_and_one_more_node() -> None:
    films = [replace(film(), job_id=str(number)) for number in range(20)]
    two = seen("2x16cpu,0x4cpu", films)
    assert two.price == pytest.approx(two.outcome.seconds / 3600 * 32)
    three = seen("3x16cpu", films)
    assert [one.node for one in two.more] == ["16cpu", "4cpu"]
    assert two.more[0].seconds == pytest.approx(three.outcome.seconds - two.outcome.seconds)
    assert two.more[0].price == pytest.approx(three.price - two.price)
    assert two.more[0].seconds < two.more[1].seconds
    assert two.first_seconds == min(two.outcome.ended.values())


@given(st.integers(1, 30), st.sampled_from(["1x2cpu", "3x16cpu", "2x2xH100:16cpu,1xL4:8cpu"]), st.integers(5, 300))
def test_more_nodes_do_not_raise_the_bound_of_the_cores(jobs: int, cluster: str, seconds: int) -> None:
    from raydub.pipeline.capacity import hosts_of

    groups = parse_cluster(cluster)
    found = []
    for more in (0, 1):
        hosts = hosts_of([replace(groups[0], count=groups[0].count + more), *groups[1:]])
        pools = pools_for([Node(host.cpus, float(host.gpus)) for host in hosts], jobs)
        works = [work_of(film(seconds), COSTS, ["H100", "L4"])] * jobs
        found.append({one.bound: one.seconds for one in bounds(works, hosts, pools, COSTS)})
    assert found[1]["cores"] <= found[0]["cores"] + 1e-9


def test_costs_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "costs.toml"
    file.write_text(
        'source = "ours"\n[stages.track]\nframe = 2.0\n[gpus.H100]\nmeasured = true\nframe.lipsync = 0.05\n'
    )
    costs = read_costs(file)
    assert (costs.source, costs.stages["track"], costs.stages["render"]) == (
        "ours",
        StageCost(frame=2.0),
        COSTS.stages["render"],
    )
    assert costs.gpu("h100").seconds("lipsync", 99.0, 1000) == pytest.approx(0.05)
    assert costs.gpu("h100").seconds("restore", 700.0, 1000) == 1.0
    assert costs.gpu("H100").measured
    again = tmp_path / "costs.json"
    again.write_text(costs.model_dump_json())
    assert read_costs(again) == costs


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[stages.track]\nframes = 1", "stages.track.frames"),
        ("efficiency = 0", "efficiency"),
        ("efficiency = nan", "efficiency"),
        ("[gpus.H100]\ncores = -1", "gpus.H100.cores"),
        ("[stages", "costs.toml: "),
    ],
)
def test_wrong_costs_name_the_place(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "costs.toml"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_costs(file)
    assert (caught.value.code, caught.value.field) == (Code.FIELD_VALUE, "--costs")
    assert says in caught.value.message
    with pytest.raises(UsageError, match="E_MANIFEST_UNREADABLE"):
        read_costs(tmp_path / "none.toml")


def test_a_gpu_without_costs() -> None:
    with pytest.raises(UsageError, match="no costs for the GPU X9") as caught:
        Costs(gpus={"H100": Gpu()}).gpu("X9")
    assert "[gpus.X9]" in caught.value.hint
