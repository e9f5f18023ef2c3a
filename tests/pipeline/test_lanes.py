"""Which nodes a group of workers gets, and how much work."""

from __future__ import annotations

from typing import Any

import pytest
import ray
from hypothesis import given
from hypothesis import strategies as st

from raydub.pipeline import nodes as asking
from raydub.pipeline.lanes import Lane, joined, unused, whole, window, works_on
from raydub.pipeline.nodes import nodes_now, rather_stay
from raydub.pipeline.pools import Node, plan_pools, used
from raydub.pipeline.registry import STAGES
from raydub.stages.types import Chunk, Span

SIZES = st.builds(
    Node, st.sampled_from([0.0, 1.0, 2.0, 8.0, 64.0]), st.sampled_from([0.0, 1.0, 8.0]), leaving=st.booleans()
)
CLUSTER = st.dictionaries(st.sampled_from("abcdefgh"), SIZES, max_size=8)


def lane(**nodes: Node) -> Lane:
    running: Any = None
    return Lane(nodes, 10, running, 0.0)


@given(CLUSTER, st.sets(st.sampled_from("abcdefgh")), st.booleans())
def test_a_further_lane_has_nodes_that_no_other_has(living: dict[str, Node], taken: set[str], gpu: bool) -> None:
    lanes = [lane(**dict.fromkeys(taken, Node(2.0)))]
    new = joined(lanes, living, living, gpu, set())
    assert not new.keys() & taken
    assert all(node.cpus >= 1 and not living[name].leaving for name, node in new.items())
    assert not (gpu and new) or any(node.gpus for node in new.values())
    if not gpu:
        assert new.keys() == unused(lanes, living).keys()
    assert unused([], living).keys() >= new.keys()
    assert [node for node in living.values() if node in used(list(living.values()))] == list(
        unused([], living).values()
    )


def test_a_further_lane_gets_what_the_others_left() -> None:
    living = {"a": Node(8.0), "b": Node(8.0), "c": Node(8.0)}
    free = {"a": Node(8.0), "b": Node(0.9), "c": Node(3.5)}
    assert joined([lane(a=Node(8.0))], living, free, False, {"b", "c"}) == {"c": Node(3.0)}
    assert joined([], living, free, False, set()) == {"a": Node(8.0)}, "the others may still be emptied"
    assert joined([], living, {}, False, {"a", "b", "c"}) == {}


def test_a_lane_gets_less_as_its_nodes_go() -> None:
    one = lane(a=Node(6.0), b=Node(4.0))
    both = {"a": Node(6.0), "b": Node(4.0)}
    assert one.room(both) == 10
    assert one.room({**both, "a": Node(6.0, leaving=True)}) == one.room({"b": Node(4.0)}) == 4
    assert (one.leaving(both), one.leaving({}), one.leaving({"b": Node(4.0, leaving=True)})) == (False, False, True)
    for index in range(4):
        one.flight["j", index] = Chunk("j", "f", index, 9, Span(index, index + 1))
    assert (one.room(both), one.room({"b": Node(4.0)}), one.room({})) == (6, 0, -4)


def test_chunks_that_a_lost_node_had_are_taken_back_unless_somebody_works_on_them() -> None:
    one = lane(a=Node(2.0), b=Node(2.0))
    chunks = {("j", index): Chunk("j", "f", index, 9, Span(index, index + 1)) for index in range(5)}
    one.flight = {key: chunks[key] for key in list(chunks)[:3]}
    busy = {("j", 1)}
    assert one.overdue(1, 100.0, 30.0, lambda: busy) == []
    one.flight["j", 3] = chunks["j", 3]  # handed out since
    del one.flight["j", 0]  # came out
    assert one.overdue(1, 129.0, 30.0, lambda: busy) == []
    assert one.overdue(1, 131.0, 30.0, lambda: busy) == [chunks["j", 2]]
    assert list(one.flight) == [("j", 1), ("j", 3)]
    assert one.overdue(1, 132.0, 30.0, set) == [chunks["j", 1]]
    assert one.overdue(1, 200.0, 30.0, set) == []
    assert one.overdue(2, 201.0, 30.0, set) == []
    assert one.overdue(2, 232.0, 30.0, set) == [chunks["j", 3]]


def test_a_node_is_whole_when_its_workers_have_gone() -> None:
    assert whole(Node(60.0, 2.0), Node(64.0, 2.0))
    assert not whole(Node(50.0, 2.0), Node(64.0, 2.0))
    assert not whole(Node(64.0, 1.5), Node(64.0, 2.0))


def test_records_belong_to_the_lane_that_has_the_chunk() -> None:
    one = lane()
    one.flight["j", 3] = Chunk("j", "f", 3, 9, Span(3, 4))
    for work, job, mine in (
        ("render.000003", "j", True),
        ("track.000003", "j", True),
        ("track.000004", "j", False),
        ("track.000003", "k", False),
        ("speak.000003", "j", False),
        ("prepare", "j", False),
    ):
        assert works_on(one, STAGES, {"work": work, "job": job}) is mine


@given(st.integers(1, 200), st.integers(1, 50))
def test_the_window_keeps_all_workers_busy(sets: int, jobs: int) -> None:
    pools = plan_pools([Node(2.0 * sets)], jobs)
    workers = sum(pools[name].size for name in ("track", "lipsync", "render"))
    assert 2 * workers < window(pools, STAGES) <= 2 * workers + 2


def test_stitches_avoid_spot_nodes_if_there_are_others() -> None:
    spot, head = Node(4.0, spot=True), Node(0.0)
    assert rather_stay({"a": Node(4.0)}) == rather_stay({"a": spot}) == rather_stay({"a": spot, "h": head}) == {}
    assert rather_stay({"a": spot, "b": Node(4.0, leaving=True)}) == {}
    assert "!spot" in str(rather_stay({"a": spot, "b": Node(4.0)}))


def test_nodes_are_read_as_ray_tells_them(monkeypatch: pytest.MonkeyPatch) -> None:
    told = [
        {"NodeID": "a", "Alive": True, "Resources": {"CPU": 4.0}, "Labels": {asking.MARKET: "spot"}},
        {"NodeID": "b", "Alive": True, "Resources": {"CPU": 2.0, "GPU": 1.0}, "Labels": None},
        {"NodeID": "c", "Alive": False, "Resources": {"CPU": 2.0}},
    ]
    monkeypatch.setattr(ray, "nodes", lambda: told)
    monkeypatch.setattr(asking._state, "get_draining_nodes", lambda: {"b": 0})
    assert nodes_now() == {"a": Node(4.0, spot=True), "b": Node(2.0, 1.0, leaving=True)}
    monkeypatch.setattr(asking._state, "available_resources_per_node", lambda: {"a": {"CPU": 1.5}})
    assert asking.free_now() == {"a": Node(1.5, spot=True), "b": Node(0.0, 0.0, leaving=True)}
