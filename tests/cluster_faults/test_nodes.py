"""Machines that go away, and GPUs that never come."""

from __future__ import annotations

import pytest

from raydub.errors import EXIT_DEPENDENCY, EXIT_OK, EXIT_SOME_FAILED, Code
from tests.cluster_faults.clips import decoded, real_jobs
from tests.cluster_faults.faults import expected_text, steps, write_script
from tests.cluster_faults.harness import Case, add_node, cluster_of, lose_node, until, whole

JOBS = {"a": 8, "b": 8}


def check_texts(case: Case) -> None:
    """The outputs hold what they hold without faults."""
    for name, n in JOBS.items():
        assert (case.root / "out" / f"{name}.mp4").read_text() == expected_text(name, n)


@pytest.mark.slow
def test_a_node_is_lost_in_the_middle(case: Case) -> None:
    case.fake_jobs(**JOBS)
    write_script(case.work, lipsync=0.4)
    with cluster_of(cpus=2) as cluster:
        node = add_node(cluster, cpus=2)
        run = case.start("--address", cluster.address)
        until(lambda: len(case.markers()) >= 4, "4 parts", run)
        lose_node(cluster, node)
        assert run.wait() == EXIT_OK, run.said
    # What Ray has to say about it does not spoil the document on stdout.
    assert run.report["counts"]["ok"] == len(JOBS)
    whole(case)
    check_texts(case)


@pytest.mark.slow
def test_a_node_is_lost_with_real_stages(case: Case, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = Case(tmp_path_factory.mktemp("undisturbed"))
    for one in (case, other):
        real_jobs(one)
        write_script(one.work, stages="real", lipsync=0.5)
    assert other.run().code == EXIT_OK
    with cluster_of(cpus=2) as cluster:
        node = add_node(cluster, cpus=2)
        run = case.start("--address", cluster.address)
        until(lambda: len(case.markers()) >= 2, "2 parts", run)
        lose_node(cluster, node)
        assert run.wait() == EXIT_OK, run.said
    whole(case, abandoned=True)  # what the node's workers were writing may lie there
    for name, row in case.results().items():
        assert decoded(row.output) == decoded(other.results()[name].output)


@pytest.mark.slow
def test_all_workers_are_lost_and_one_is_added(case: Case) -> None:
    case.fake_jobs(**JOBS)
    write_script(case.work, lipsync=0.5)
    with cluster_of(cpus=0) as cluster:
        nodes = [add_node(cluster, cpus=2) for _ in range(2)]
        run = case.start("--address", cluster.address)
        until(lambda: len(case.markers()) >= 3, "3 parts", run)
        for node in nodes:
            lose_node(cluster, node)
        assert run.process.poll() is None, run.said
        add_node(cluster, cpus=4)
        assert run.wait() == EXIT_OK, run.said
    whole(case)
    check_texts(case)


@pytest.mark.slow
def test_no_gpu_ever(case: Case) -> None:
    case.fake_jobs(**JOBS)
    write_script(case.work)
    with cluster_of(cpus=2) as cluster:
        run = case.run("--address", cluster.address, "--device", "cuda", "--wait-gpu", "1")
    assert run.code == EXIT_DEPENDENCY, run.said
    assert f"[{Code.NO_GPU}]" in run.said
    assert steps(case.work) == []
    assert not list(case.root.glob("out/**/*")), "the lock lay there, and nothing else"


@pytest.mark.slow
def test_the_gpu_node_is_lost_and_the_run_stalls(case: Case) -> None:
    case.fake_jobs(**JOBS)
    write_script(case.work, lipsync=0.5)
    with cluster_of(cpus=2) as cluster:
        node = add_node(cluster, cpus=2, gpus=1)
        run = case.start("--address", cluster.address, "--device", "cuda", "--stall-timeout", "60")
        until(lambda: len(case.markers()) >= 3, "3 parts", run)
        lose_node(cluster, node)
        assert run.wait() == EXIT_SOME_FAILED, run.said
        whole(case)
        rows = case.results()
        assert {row.error_code for row in rows.values() if row.status != "ok"} == {Code.STALLED}
        kept = case.markers()
        assert 3 <= len(kept) < 16
        # The GPU comes back, and so does the run: with what was finished.
        add_node(cluster, cpus=2, gpus=1)
        again = case.run("--address", cluster.address, "--device", "cuda")
        assert again.code == EXIT_OK, again.said
    whole(case)
    check_texts(case)
    assert kept.items() <= case.markers().items()
