"""Nodes that join a running cluster, and nodes that are drained before they go."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytest

from raydub.errors import EXIT_OK
from tests.cluster_faults.faults import expected_text, steps, write_script
from tests.cluster_faults.harness import Case, add_node, children_of, cluster_of, drain_node, lose_node, until, whole

JOBS = {"a": 30, "b": 30}


def on(node: Any) -> set[int]:
    """The workers of a node."""
    raylets = [info.process.pid for infos in node.all_processes.values() for info in infos]
    return {child for raylet in raylets for child in children_of(raylet)}


def check(case: Case) -> None:
    whole(case)
    for name, n in JOBS.items():
        assert (case.root / "out" / f"{name}.mp4").read_text() == expected_text(name, n)


def times_begun(case: Case, stage: str) -> Mapping[tuple[str, int], int]:
    """How often each chunk was begun in a stage."""
    found: dict[tuple[str, int], int] = {}
    for name, job, index, _ in steps(case.work):
        if name == stage:
            found[job, index] = found.get((job, index), 0) + 1
    return found


@pytest.mark.slow
def test_a_node_joins_and_another_is_drained(case: Case, record_property: Any) -> None:
    case.fake_jobs(**JOBS)
    write_script(case.work, track=0.7, lipsync=0.7)
    with cluster_of(cpus=2) as cluster:
        run = case.start("--address", cluster.address)
        until(lambda: len(case.markers()) >= 4, "4 parts", run)
        node = add_node(cluster, cpus=2)
        joined = time.monotonic()
        until(lambda: on(node) & {pid for _, _, _, pid in steps(case.work)}, "work on the new node", run)
        record_property("seconds_to_work", round(time.monotonic() - joined, 1))
        seen = len(case.markers())
        until(lambda: len(case.markers()) >= seen + 12, "12 more parts", run)
        theirs = on(node)
        drain_node(cluster, node)
        drained = time.monotonic()
        # What it has, it finishes; then it has nothing, and may go.
        until(lambda: "nothing left to do" in run.said or run.process.poll() is not None, "an empty node", run)
        record_property("seconds_to_drain", round(time.monotonic() - drained, 1))
        begun = [step for step in steps(case.work) if step[3] in theirs]
        assert run.process.poll() is None, "the run went on after the node was empty"
        lose_node(cluster, node)
        assert run.wait() == EXIT_OK, run.said
        assert [step for step in steps(case.work) if step[3] in theirs] == begun, "it got nothing new"
    check(case)
    assert set(times_begun(case, "render").values()) == {1}, "no finished chunk was lost"
