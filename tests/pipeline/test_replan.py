"""What the Ray executor does when the cluster changes under it, with a script in the place of Ray's datasets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from ray.exceptions import ActorDiedError

from raydub.errors import Code, RaydubError
from raydub.manifests.job import Job
from raydub.pipeline import graph
from raydub.pipeline.attempts import Attempts, this_worker
from raydub.pipeline.context import WorkSettings
from raydub.pipeline.events import Item, Planned
from raydub.pipeline.graph import Patience, RayExecutor
from raydub.pipeline.pools import Node, Pools, plan_pools
from raydub.pipeline.registry import STAGES
from raydub.pipeline.rows import pack
from raydub.stages.types import Chunk, Part, Span

Play = Callable[[], Iterator[Any]]


class Table:
    def __init__(self, *items: Item) -> None:
        self._items = items

    def to_pylist(self) -> list[dict[str, Any]]:
        return [pack(item) for item in self._items]


def hang() -> Iterator[Any]:
    """Nothing comes any more, in short naps as Ray's own waiting."""
    while True:
        time.sleep(0.01)
    yield


def part(job: str, index: int, n: int) -> Part:
    return Part(Chunk(job, "f", index, n, Span(index, index + 1)), "p", 1, 1, 0)


class World:
    """Stands for the cluster: each dataset plays the next piece, nodes are as they are set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *plays: Play) -> None:
        self.plays = list(plays)
        self.nodes: dict[str, Node] = {"a": Node(2.0), "b": Node(2.0)}
        self.built: list[list[str]] = []
        self.planned_for: list[int] = []
        self.settings = WorkSettings(str(tmp_path), "run")
        monkeypatch.setattr(graph, "start_progress_actor", lambda: None)
        monkeypatch.setattr(graph, "nodes_now", lambda: dict(self.nodes))
        monkeypatch.setattr(graph, "build", self._build)
        monkeypatch.setattr(graph, "blocks", lambda dataset: dataset())

    def _build(self, jobs: Sequence[Job], *_: object, **__: object) -> Play:
        self.built.append([job.id for job in jobs])
        return self.plays.pop(0)

    def _plan(self, nodes: Sequence[Node], jobs: int) -> Pools:
        self.planned_for.append(len(nodes))
        return plan_pools(nodes, jobs)

    def executor(self, patience: Patience) -> RayExecutor:
        pools = plan_pools(list(self.nodes.values()), 2)
        return RayExecutor(self.settings, STAGES, pools, patience=patience, plan=self._plan)


JOBS = [Job(id=name, video="v", audio="a", output=f"/o/{name}.mp4") for name in "xy"]
PLANS = (Planned("x", "f", 1, 1), Planned("y", "f", 2, 2))


def test_lost_nodes_without_progress_lead_to_a_new_plan(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def first() -> Iterator[Any]:
        yield Table(*PLANS, part("x", 0, 1), part("y", 0, 2))
        del world.nodes["a"]
        yield from hang()

    world = World(monkeypatch, tmp_path, first, lambda: iter([Table(PLANS[1], part("y", 1, 2))]))
    attempts = Attempts(str(tmp_path), "run")
    attempts.begin("y", "render.000001", worker={**this_worker(), "born": ""})
    found = list(world.executor(Patience(stall=60, replan=0.2)).items(JOBS))
    assert world.built == [["x", "y"], ["y"]]  # what is done is not done again
    assert world.planned_for == [1]
    assert [type(item).__name__ for item in found] == ["Planned", "Planned", "Part", "Part", "Planned", "Part"]
    # the worker that was taken away did not die of its chunk
    assert attempts.deaths("y", "render.000001", lambda _: True) == []


def test_without_lost_nodes_nothing_is_planned_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    world = World(monkeypatch, tmp_path, hang)
    with pytest.raises(RaydubError) as found:
        list(world.executor(Patience(stall=1.0, replan=0.1)).items(JOBS))
    assert found.value.code is Code.STALLED
    assert world.built == [["x", "y"]]


def test_a_step_under_way_within_its_limit_is_no_stall(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    world = World(monkeypatch, tmp_path, hang)
    record = {**this_worker("a"), "limit_s": 3.0}
    Attempts(str(tmp_path), "run").begin("x", "prepare", worker=record)
    start = time.monotonic()
    with pytest.raises(RaydubError) as found:
        list(world.executor(Patience(stall=0.5, replan=60)).items(JOBS))
    assert found.value.code is Code.STALLED
    assert time.monotonic() - start > 2.5


@pytest.mark.parametrize("mended", [{"node": "gone"}, {"born": "another"}, {"limit_s": 0.0}, {}])
def test_work_that_nobody_does_is_no_excuse(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mended: dict[str, Any]
) -> None:
    attempts = Attempts(str(tmp_path), "run")
    attempt = attempts.begin("x", "prepare", worker={**this_worker("a"), "limit_s": 60.0, **mended})
    nodes = {"a", "b"}
    assert attempts.somebody_works(lambda record: record["node"] in nodes) is not bool(mended)
    attempt.end()
    assert not attempts.somebody_works(lambda _: True)


def test_no_node_left_is_a_stall(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def first() -> Iterator[Any]:
        world.nodes.clear()
        yield from hang()

    world = World(monkeypatch, tmp_path, first)
    with pytest.raises(RaydubError) as found:
        list(world.executor(Patience(stall=1.0, replan=0.1)).items(JOBS))
    assert found.value.code is Code.STALLED


def test_what_ray_gives_up_is_tried_anew_within_a_bound(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def dies() -> Iterator[Any]:
        yield Table(PLANS[0])
        raise ActorDiedError

    world = World(monkeypatch, tmp_path, dies, lambda: iter([Table(*PLANS, part("x", 0, 1))]))
    assert len(list(world.executor(Patience()).items(JOBS))) == 4
    world = World(monkeypatch, tmp_path, *[dies] * 20)
    with pytest.raises(RaydubError) as found:
        list(world.executor(Patience()).items(JOBS))
    assert found.value.code is Code.WORKER_LOST
    assert len(world.built) == 10


def test_a_bug_is_no_loss(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def breaks() -> Iterator[Any]:
        raise ZeroDivisionError("bug")
        yield

    world = World(monkeypatch, tmp_path, breaks)
    with pytest.raises(RaydubError) as found:
        list(world.executor(Patience()).items(JOBS))
    assert found.value.code is Code.INTERNAL
    assert len(world.built) == 1


def test_a_stopped_run_leaves_no_feed_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def slow() -> Iterator[Any]:
        yield Table(*PLANS)
        yield from hang()

    executor = World(monkeypatch, tmp_path, slow).executor(Patience())
    items = executor.items(JOBS)
    next(items)
    feed = executor._feed
    assert feed is not None
    executor.close()
    assert not feed._thread.is_alive()
