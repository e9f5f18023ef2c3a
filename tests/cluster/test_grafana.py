"""Every query of the dashboard and every alert of docs/metrics.md, against the metrics that a real Ray serves."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import ray

from raydub.objects.counted import count
from raydub.pipeline.context import WorkSettings
from raydub.pipeline.driver import Driver
from raydub.pipeline.events import Note
from raydub.pipeline.graph import RayExecutor
from raydub.pipeline.pools import Node, plan_pools
from raydub.pipeline.ray_metrics import Metered
from raydub.stages.types import Chunk, TrackedChunk
from tests.conftest import REPOSITORY
from tests.pipeline.fakes import record_in, stages_of
from tests.pipeline.hazards import HazardToolbox
from tests.pipeline.test_driver import make_job

promql = pytest.importorskip("promql_parser", reason="the extra dev is not installed")
families = pytest.importorskip("prometheus_client.parser", reason="the extra cluster is not installed")
pytest.importorskip("opencensus", reason="the extra cluster, which serves Ray's metrics, is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_here")]

ONLY_WITH_GPU = "ray_node_gpus_utilization"
SECONDS = 60.0

Scrape = Mapping[str, list[dict[str, str]]]
"""The labels of all series, by metric."""


class BucketToolbox(HazardToolbox):
    """Asks an object store in track."""

    def track(self, chunk: Chunk) -> TrackedChunk:
        count(requests=9, retries=1, bytes_read=1000, bytes_written=100, hits=2, misses=1)
        return super().track(chunk)


def queries() -> list[str]:
    board = json.loads((REPOSITORY / "deploy" / "grafana" / "raydub.json").read_text(encoding="ascii"))
    found = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    text = (REPOSITORY / "docs" / "metrics.md").read_text(encoding="utf-8")
    alerts = re.findall(r"```promql\n(.*?)```", text, re.S)
    assert len(found) > 15
    assert len(alerts) > 5
    return [one.replace("$__rate_interval", "1m").replace("$run", ".*") for one in [*found, *alerts]]


def selectors(node: Any, by: frozenset[str] = frozenset()) -> Iterator[tuple[Any, frozenset[str]]]:
    """All vector selectors of an expression, each with the labels by which it is aggregated."""
    if isinstance(node, promql.VectorSelector):
        yield node, by
        return
    if isinstance(node, promql.AggregateExpr) and node.modifier is not None:
        by = by | frozenset(node.modifier.labels)
    below = [getattr(node, name) for name in ("lhs", "rhs", "expr", "vector_selector") if hasattr(node, name)]
    for one in [*below, *getattr(node, "args", [])]:
        yield from selectors(one, by)


def scrape() -> Scrape:
    node = ray.nodes()[0]
    address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    with urllib.request.urlopen(address, timeout=10) as answer:
        text = answer.read().decode()
    found: dict[str, list[dict[str, str]]] = defaultdict(list)
    for family in families.text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name].append(sample.labels)
    return found


def missing(query: str, found: Scrape) -> list[str]:
    """What a query names and the scrape does not have."""
    problems = []
    for selector, by in selectors(promql.parse(query)):
        series = found.get(selector.name, [])
        if not series:
            problems.append(selector.name)
            continue
        names = {name for labels in series for name in labels}
        problems += [f"{selector.name} by {name}" for name in by - names]
        for one in selector.matchers.matchers:
            if not any(_matches(one, labels) for labels in series):
                problems.append(f"{selector.name}{{{one.name}={one.value}}}")
    return problems


def _matches(matcher: Any, labels: Mapping[str, str]) -> bool:
    if matcher.name not in labels:
        return False
    value, op = labels[matcher.name], matcher.op
    same = (
        value == matcher.value
        if op in (promql.MatchOp.Equal, promql.MatchOp.NotEqual)
        else bool(re.fullmatch(matcher.value, value))
    )
    return same == (op in (promql.MatchOp.Equal, promql.MatchOp.Re))


def _executor(settings: WorkSettings, jobs: int, notes: list[Note]) -> Metered:
    pools = plan_pools([Node(2.0)], jobs)
    return Metered(RayExecutor(settings, stages_of(BucketToolbox), pools), settings.run_id, notes.append)


def test_every_query_finds_its_metrics_and_labels(tmp_path: Path) -> None:
    settings = WorkSettings(str(tmp_path / "work"), "run-of-this-test")
    videos = ["ok:3", "kill:2:1", "bad-track:2", "flaky:1:0:1"]
    jobs = [make_job(tmp_path, video, f"j{n}", line=n + 1) for n, video in enumerate(videos)]
    notes: list[Note] = []
    executor = _executor(settings, len(jobs), notes)
    results, _ = Driver(executor, record=record_in(tmp_path / "work")).run(jobs)
    assert [result.status for result in results] == ["ok", "quarantined", "failed", "ok"]
    executor.notes()
    # The same parts for another output: they are reused.
    again = make_job(tmp_path, "ok:3", "j9").model_copy(update={"output": str(tmp_path / "again.mp4")})
    assert "stitch" in {note.stage for note in notes if note.done}, "not only when somebody asks for them"
    executor = _executor(settings, 1, notes)
    [result], _ = Driver(executor).run([again])
    assert result.status == "ok"
    executor.notes()
    until, open_ones = time.monotonic() + SECONDS, queries()
    while open_ones and time.monotonic() < until:
        found = scrape()
        open_ones = [one for one in open_ones if [name for name in missing(one, found) if name != ONLY_WITH_GPU]]
        time.sleep(1.0)
    assert not {one: missing(one, found) for one in open_ones}
    runs = {labels["run"] for labels in found["ray_raydub_frames_total"]}
    assert runs == {"run-of-this-test"}
    from ray.dashboard.modules.reporter.reporter_agent import METRICS_GAUGES

    gauge = METRICS_GAUGES[ONLY_WITH_GPU.removeprefix("ray_")]
    assert {"ip", "GpuIndex"} <= set(map(str, gauge.view.columns))


def test_a_wrong_query_is_noticed() -> None:
    found = {"ray_x": [{"run": "a", "stage": "track"}, {"run": "a", "stage": "render"}]}
    assert (
        missing('sum by (run) (rate(ray_x{stage="track"}[1m])) / sum by (stage) (ray_x{stage=~"ren.*"})', found) == []
    )
    assert missing('sum by (node) (ray_x{stage!="track"})', found) == ["ray_x by node"]
    assert missing('ray_x{stage="stitch"} or ray_y', found) == ["ray_x{stage=stitch}", "ray_y"]
    assert missing('max(ray_x{code=""})', found) == ["ray_x{code=}"]
