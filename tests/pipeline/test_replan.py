"""What the Ray executor does when the cluster changes under it, with a script in the place of Ray's datasets."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorDiedError

from raydub.errors import Code, RaydubError
from raydub.manifests.job import Job
from raydub.pipeline import graph, running
from raydub.pipeline.attempts import Attempts, this_worker
from raydub.pipeline.context import WorkSettings
from raydub.pipeline.events import Failed, Item, Planned
from raydub.pipeline.graph import Patience, RayExecutor
from raydub.pipeline.pools import Node, Pools, plan_pools
from raydub.pipeline.registry import STAGES
from raydub.pipeline.rows import pack, unpack
from raydub.stages.types import Chunk, Part, Span

Play = Callable[[], Iterator[Any]]


class Table:
    def __init__(self, *items: Item) -> None:
        self.items = items

    def to_pylist(self) -> list[dict[str, Any]]:
        return [pack(item) for item in self.items]


def hang() -> Iterator[Any]:
    """Nothing comes any more, in short naps as Ray's own waiting."""
    while True:
        time.sleep(0.01)
    yield


class Source:
    """Stands for the actor of a dataset: what the driver handed out."""

    def __init__(self) -> None:
        self.given: queue.Queue[Chunk | None] = queue.Queue()
        self.put = SimpleNamespace(remote=self._put)

    def _put(self, rows: Sequence[Any], last: bool) -> None:
        for row in rows:
            item = unpack(row)
            assert isinstance(item, Chunk)
            self.given.put(item)
        if last:
            self.given.put(None)


class World:
    """Stands for the cluster: datasets of jobs play the given pieces; those of chunks are as `work` says, by number."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *plans: Play) -> None:
        self.plans = list(plans)
        self.nodes: dict[str, Node] = {"a": Node(2.0), "b": Node(2.0)}
        self.work: dict[int, Callable[[int], Iterator[Any]]] = {}
        self.planned: list[list[str]] = []
        self.planned_for: list[int] = []
        self.made: list[tuple[int, str, int]] = []
        self.sources: dict[int, Source] = {}
        self.settings = WorkSettings(str(tmp_path), "run")
        monkeypatch.setattr(graph, "start_progress_actor", lambda: None)
        monkeypatch.setattr(running, "start_source", Source)
        monkeypatch.setattr(running, "joined", lambda source: [])
        monkeypatch.setattr(graph, "nodes_now", lambda: dict(self.nodes))
        monkeypatch.setattr(graph, "free_now", lambda: dict(self.nodes))
        monkeypatch.setattr(graph, "jobs_dataset", self._jobs)
        monkeypatch.setattr(graph, "chunks_dataset", self._chunks)
        monkeypatch.setattr(running, "blocks", lambda dataset: dataset())

    def _jobs(self, jobs: Sequence[Job], *_: object) -> Play:
        self.planned.append([job.id for job in jobs])
        return self.plans.pop(0)

    def _chunks(self, *told: Any) -> Play:
        number = len(self.sources) + 1
        self.sources[number] = told[-1]
        return partial(self.work.get(number, self.parts), number)

    def parts(self, number: int, until: int = 1 << 30) -> Iterator[Any]:
        """A dataset of chunks that does what it gets, `until` so many are done."""
        for _ in range(until):
            chunk = self.sources[number].given.get()
            if chunk is None:
                return
            self.made.append((number, chunk.job_id, chunk.index))
            yield Table(Part(chunk, "p", 1, 1, 0))

    def parts_beside_a_new_node(self, number: int) -> Iterator[Any]:
        """A dataset of chunks that takes its time, while a node without GPU joins."""
        self.nodes["c"] = Node(4.0)
        for part in self.parts(number):
            time.sleep(0.05)
            yield part

    def drain(self) -> None:
        """Both nodes are drained, and a new one is there."""
        self.nodes = {"a": Node(2.0, leaving=True), "b": Node(2.0, leaving=True), "c": Node(2.0)}

    def _plan(self, nodes: Sequence[Node], jobs: int) -> Pools:
        self.planned_for.append(len(nodes))
        return plan_pools(nodes, jobs)

    def executor(self, patience: Patience) -> RayExecutor:
        pools = plan_pools(list(self.nodes.values()), 2)
        return RayExecutor(self.settings, STAGES, pools, patience=patience, plan=self._plan)

    def run(self, patience: Patience | None = None) -> list[Item]:
        return list(self.executor(patience or Patience(stall=60, replan=0.2)).items(JOBS))


def chunk(job: str, index: int, n: int) -> Chunk:
    return Chunk(job, "f", index, n, Span(index, index + 1))


def made(items: Sequence[Item]) -> list[tuple[str, int]]:
    return sorted((item.chunk.job_id, item.chunk.index) for item in items if isinstance(item, Part))


JOBS = [Job(id=name, video="v", audio="a", output=f"/o/{name}.mp4") for name in "xy"]
ROWS: tuple[Item, ...] = (
    Planned("x", "f", 1, 1),
    Planned("y", "f", 40, 40),
    chunk("x", 0, 1),
    *(chunk("y", index, 40) for index in range(40)),
)
ALL = [("x", 0), *(("y", index) for index in range(40))]


def plan() -> Iterator[Any]:
    return iter([Table(*ROWS)])


def test_a_lane_that_lost_a_node_and_stands_still_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def some(number: int) -> Iterator[Any]:
        yield from world.parts(number, 5)
        del world.nodes["a"]
        yield from hang()

    world = World(monkeypatch, tmp_path, plan)
    world.work[1] = some
    attempts = Attempts(str(tmp_path), "run")
    attempts.begin("y", "render.000009", worker={**this_worker(), "born": ""})
    found = world.run()
    assert made(found) == ALL
    assert len(world.made) == len(ALL), "what was done is not done again"
    assert world.planned == [["x", "y"]], "nothing is prepared again"
    assert world.planned_for[0] == 1
    assert len(world.sources) == 2
    # the worker that was taken away did not die of its chunk
    assert attempts.deaths("y", "render.000009", lambda _: True) == []


def test_a_chunk_that_waits_for_a_lost_worker_is_done_by_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """While the others of the lane go on, so that it never stands still."""

    def limping(number: int) -> Iterator[Any]:
        for place, table in enumerate(world.parts(number)):
            if place == 2:
                del world.nodes["a"]  # and with it, what it was about to return
                world.made.pop()
                continue
            time.sleep(0.03)
            yield table

    world = World(monkeypatch, tmp_path, plan)
    world.work[1] = limping
    found = world.run(Patience(stall=60, replan=0.4))
    assert made(found) == ALL
    assert len(world.made) == len(ALL)
    assert len(world.sources) == 1, "the lane went on"


def test_a_node_that_joins_gets_a_lane(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    world = World(monkeypatch, tmp_path, plan)
    world.work[1] = world.parts_beside_a_new_node
    assert made(world.run()) == ALL
    assert {number for number, _, _ in world.made} == {1, 2}
    assert len(world.made) == len(ALL), "no chunk is given to two"


def test_a_node_that_leaves_gets_nothing_new_and_loses_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    left: list[int] = []
    attempts = Attempts(str(tmp_path), "run")

    def leaving(number: int) -> Iterator[Any]:
        yield from world.parts(number, 2)
        world.drain()
        left.append(len(world.made))
        for index in range(40):
            attempts.begin("y", f"render.{index:06d}", worker={**this_worker("a"), "limit_s": 60.0})
        for part in world.parts(number):
            time.sleep(0.1)
            yield part

    world = World(monkeypatch, tmp_path, plan)
    world.work[1] = leaving
    found = world.run()
    assert made(found) == ALL
    assert len(world.made) == len(ALL)
    first = sum(number == 1 for number, _, _ in world.made)
    assert left[0] < first < len(ALL) - 5, "it did what it had, and the new node the rest"


def test_chunks_that_a_leaving_node_has_not_begun_are_done_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def stuck(number: int) -> Iterator[Any]:
        yield from world.parts(number, 2)
        world.drain()
        yield from hang()

    world = World(monkeypatch, tmp_path, plan)
    world.work[1] = stuck
    assert made(world.run()) == ALL
    assert len(world.made) == len(ALL)


def test_a_run_on_gpus_does_not_grow_without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    world = World(monkeypatch, tmp_path, plan)
    world.nodes = {"a": Node(4.0, 1.0)}
    world.work[1] = world.parts_beside_a_new_node
    assert made(world.run()) == ALL
    assert {number for number, _, _ in world.made} == {1}


def test_a_film_does_not_hold_up_a_clip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows = [Planned("y", "f", 400, 400), *(chunk("y", index, 400) for index in range(400))]
    world = World(
        monkeypatch, tmp_path, lambda: iter([Table(*rows, Planned("x", "f", 2, 2), chunk("x", 0, 2), chunk("x", 1, 2))])
    )
    world.run()
    places = [place for place, (_, job, _) in enumerate(world.made) if job == "x"]
    assert max(places) < 400, "a clip that is planned after the film ends before it"


def test_rows_that_come_twice_count_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def dies() -> Iterator[Any]:
        yield Table(*ROWS[:10])
        raise ActorDiedError

    world = World(monkeypatch, tmp_path, dies, plan)
    assert made(world.run()) == ALL
    assert len(world.made) == len(ALL)
    assert world.planned == [["x", "y"], ["y"]]


def test_a_failed_job_gets_no_more_turns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fails(number: int) -> Iterator[Any]:
        for table in world.parts(number):
            [item] = table.items
            assert isinstance(item, Part)
            if item.chunk.job_id == "y" and item.chunk.index == 3:
                yield Table(Failed("y", "track", "StageError", {}, chunk=3))
            else:
                yield table

    world = World(monkeypatch, tmp_path, plan)
    world.work[1] = fails
    found = world.run()
    assert ("x", 0) in made(found)
    assert len(world.made) < 30
    assert any(isinstance(item, Failed) for item in found)


def test_without_lost_nodes_nothing_is_planned_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    world = World(monkeypatch, tmp_path, hang)
    with pytest.raises(RaydubError) as found:
        world.run(Patience(stall=1.0, replan=0.1))
    assert found.value.code is Code.STALLED
    assert world.planned == [["x", "y"]]


def test_a_step_under_way_within_its_limit_is_no_stall(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    world = World(monkeypatch, tmp_path, hang)
    record = {**this_worker("a"), "limit_s": 3.0}
    Attempts(str(tmp_path), "run").begin("x", "prepare", worker=record)
    start = time.monotonic()
    with pytest.raises(RaydubError) as found:
        world.run(Patience(stall=0.5, replan=60))
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
    def first(number: int) -> Iterator[Any]:
        world.nodes.clear()
        yield from hang()

    world = World(monkeypatch, tmp_path, plan)
    world.work[1] = first
    with pytest.raises(RaydubError) as found:
        world.run(Patience(stall=1.0, replan=0.1))
    assert found.value.code is Code.STALLED


def test_what_ray_gives_up_is_tried_anew_within_a_bound(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def dies(number: int) -> Iterator[Any]:
        yield from world.parts(number, 2)
        raise ActorDiedError

    world = World(monkeypatch, tmp_path, plan)
    world.work[1] = dies
    assert made(world.run()) == ALL
    assert len(world.made) == len(ALL)
    world = World(monkeypatch, tmp_path, plan)
    world.work = dict.fromkeys(range(20), dies)
    with pytest.raises(RaydubError) as found:
        world.run()
    assert found.value.code is Code.WORKER_LOST
    assert len(world.made) == 20


def test_a_lane_that_lost_its_source_ends_and_another_begins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its first task ends then, and with it the dataset, without an error."""
    world = World(monkeypatch, tmp_path, plan)
    world.work[1] = lambda number: world.parts(number, 3)
    assert made(world.run()) == ALL
    assert len(world.sources) == 2
    world = World(monkeypatch, tmp_path, plan)
    world.work = {number: lambda number: world.parts(number, 1) for number in range(30)}
    with pytest.raises(RaydubError) as found:
        world.run()
    assert found.value.code is Code.WORKER_LOST


def test_a_bug_is_no_loss(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def breaks() -> Iterator[Any]:
        raise ZeroDivisionError("bug")
        yield

    world = World(monkeypatch, tmp_path, breaks)
    with pytest.raises(RaydubError) as found:
        world.run()
    assert found.value.code is Code.INTERNAL
    assert len(world.planned) == 1


def test_a_stopped_run_leaves_no_feed_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def slow() -> Iterator[Any]:
        yield Table(*ROWS)
        yield from hang()

    world = World(monkeypatch, tmp_path, slow)
    world.work[1] = lambda _: hang()
    executor = world.executor(Patience())
    items = executor.items(JOBS)
    next(items)
    threads = [executor._planning.feed._thread, *(lane.running.feed._thread for lane in executor._lanes)]  # type: ignore[union-attr]
    executor.close()
    assert not any(thread.is_alive() for thread in threads)
