"""Workers that die: killed from outside, by their own chunk, by the memory killer."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

import pytest

from raydub.errors import EXIT_OK, EXIT_SOME_FAILED, Code
from tests.cluster_faults.faults import expected_text, steps, write_script
from tests.cluster_faults.harness import Case, attempts, cluster_of, until, whole
from tests.examples import slow


def check_texts(case: Case, **chunks: int) -> None:
    """The outputs hold what they hold without faults."""
    for name, n in chunks.items():
        assert (case.root / "out" / f"{name}.mp4").read_text() == expected_text(name, n)


@pytest.mark.slow
def test_three_workers_killed_in_mid_chunk(case: Case) -> None:
    jobs = {"a": 6, "b": 6, "c": 3}
    case.fake_jobs(**jobs)
    write_script(case.work, track=0.2, lipsync=0.4, render=0.3)
    with cluster_of() as cluster:
        run = case.start("--address", cluster.address)
        killed: list[tuple[str, int]] = []
        for stage in ("track", "lipsync", "render"):
            work, record = until(
                lambda stage=stage: next((c for c in attempts(case.work) if c[0].startswith(f"{stage}.")), None),
                f"a attempt of {stage}",
                run,
            )
            with suppress(ProcessLookupError):
                os.kill(record["pid"], signal.SIGKILL)
            killed.append((work, record["pid"]))
        assert run.wait() == EXIT_OK, run.said
    whole(case)
    check_texts(case, **jobs)
    assert len({pid for _, pid in killed}) == 3
    rows = case.results()
    assert {row.status for row in rows.values()} == {"ok"}
    # The killed pieces were done again, and that is known: a second attempt.
    assert max(row.attempts for row in rows.values()) == 2
    assert max(marker["about"]["attempt"] for marker in case.markers().values()) <= 2


@pytest.mark.parametrize(
    ("do", "ray"),
    [
        slow("segfault", True),
        slow("hog", False),
        slow("segfault", False),
        slow("hog", True),
    ],
    ids=["segfault-ray", "hog-plain", "segfault-plain", "hog-ray"],
)
def test_a_chunk_that_kills_its_worker_is_quarantined(case: Case, do: str, ray: bool) -> None:
    jobs = {"a": 3, "poison": 4, "c": 3}
    case.fake_jobs(**jobs)
    fault = {"do": do, "mb": 64, "stage": "lipsync", "job": "poison", "chunk": 2}
    write_script(case.work, fault, lipsync=0.1)
    run = case.run_on(ray)
    assert run.code == EXIT_SOME_FAILED, run.said
    whole(case)
    check_texts(case, a=3, c=3)
    rows = case.results()
    assert {name: row.status for name, row in rows.items()} == {"a": "ok", "poison": "quarantined", "c": "ok"}
    bad = rows["poison"]
    assert bad.error_code == Code.QUARANTINED
    assert bad.attempts == 2
    assert not (case.root / "out" / "poison.mp4").exists()
    # Where it was is said in words that a person can act on.
    message = bad.error_message or ""
    assert "lipsync" in message
    assert "20" in message
    assert len([step for step in steps(case.work) if step[:3] == ("lipsync", "poison", 2)]) == 2
